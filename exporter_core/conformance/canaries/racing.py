"""Canaries of the scheduled clauses: each works in plain order, and breaks when calls come in between."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar

from exporter_core.conformance.canaries.base import Canary, Holds
from exporter_core.contract import InstrumentKind
from exporter_core.errors import ExporterShutdownError

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context


class Racing(Canary):
    """Breaks in some interleavings."""

    seed: ClassVar[int]
    """One that has found the fault: it is tried first."""


class HalfBuiltCache(Racing):
    """Answers from a cache that another caller may still be filling."""

    seed = 2
    _cache: dict[InstrumentKind, AggregationTemporality] | None = None

    def temporality(self, kind: InstrumentKind) -> AggregationTemporality:
        if self._cache is None:
            self._cache = {}
            for one in InstrumentKind:
                self._cache[one] = self.inner.temporality(one)
        return self._cache[kind]


class UnlockedSwap(Holds, Racing):
    """Holds batches, and forgets those that arrive between the delivery of the others and the new, empty list."""

    seed = 38

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._flushing = threading.Lock()

    def force_flush(self, context: Context) -> object:
        with self._flushing:
            for metrics in self.held:
                self.inner.export(context, metrics)
            self.held = []
        return self.inner.force_flush(context)

    def shutdown(self, context: Context) -> object:
        self.force_flush(context)
        return self.inner.shutdown(context)


class CheckThenSet(Racing):
    """Looks whether it is shut down, and only then says that it is."""

    seed = 1
    _down = False

    def shutdown(self, context: Context) -> object:
        if self._down:
            raise ExporterShutdownError("shut down already")
        self._down = True
        try:
            return self.inner.shutdown(context)
        except ExporterShutdownError:
            return None


class FlagAfterDrain(Holds, Racing):
    """Holds batches, delivers them in shutdown, and accepts more until that is done."""

    seed = 3
    _down = False

    def export(self, context: Context, metrics: MetricsData) -> object:
        if self._down:
            raise ExporterShutdownError("shut down")
        return super().export(context, metrics)

    def force_flush(self, context: Context) -> object:
        while self.held:
            self.inner.export(context, self.held.pop(0))
        return self.inner.force_flush(context)

    def shutdown(self, context: Context) -> object:
        for metrics in self.held:
            self.inner.export(context, metrics)
        self._down = True
        return self.inner.shutdown(context)


class LosesUpdate(Holds, Racing):
    """Holds batches, and adds each to the list as it was when the export began."""

    seed = 1

    def export(self, context: Context, metrics: MetricsData) -> object:  # noqa: ARG002 - it is only held
        self.held = [*self.held, metrics]
        return None

    def force_flush(self, context: Context) -> object:
        while self.held:
            self.inner.export(context, self.held.pop(0))
        return self.inner.force_flush(context)

    def shutdown(self, context: Context) -> object:
        self.force_flush(context)
        return self.inner.shutdown(context)
