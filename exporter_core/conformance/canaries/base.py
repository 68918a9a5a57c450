"""The canary that every other one is made from, and the shapes that several share.

A canary stands outside, around the raw or the guarded exporter.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context
    from exporter_core.contract import InstrumentKind

__all__ = ["Around", "Canary", "Holds", "Serialised"]


class Canary:
    """Passes everything on; each subclass changes one thing."""

    def __init__(self, case: Case, inner: Driven) -> None:
        self.case = case
        self.inner = inner
        self.released = threading.Event()

    def temporality(self, kind: InstrumentKind) -> AggregationTemporality:
        return self.inner.temporality(kind)

    def aggregation(self, kind: InstrumentKind) -> Aggregation:
        return self.inner.aggregation(kind)

    def export(self, context: Context, metrics: MetricsData) -> object:
        return self.inner.export(context, metrics)

    def force_flush(self, context: Context) -> object:
        return self.inner.force_flush(context)

    def shutdown(self, context: Context) -> object:
        return self.inner.shutdown(context)

    def release(self) -> None:
        """Let go of what the fault holds: the clause is over."""
        self.released.set()


class Around(Canary):
    """Does something around each export and each flush."""

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        """Make the call, with the fault."""
        return call(context)

    def export(self, context: Context, metrics: MetricsData) -> object:
        return self.around(context, lambda own: self.inner.export(own, metrics))

    def force_flush(self, context: Context) -> object:
        return self.around(context, self.inner.force_flush)


class Serialised(Around):
    """Exports and flushes under a lock, which a subclass takes elsewhere as well."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._lock = threading.Lock()

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        with self._lock:
            return call(context)


class Holds(Canary):
    """Accepts every batch without handing it on, whatever the exporter does."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self.held: list[MetricsData] = []

    def export(self, context: Context, metrics: MetricsData) -> object:  # noqa: ARG002 - that is the fault
        self.held.append(metrics)
        return None
