"""The canary that every other one is made from, and the shapes that several share.

A canary stands outside, around the raw or the guarded exporter. One whose fault holds something up says so for as long
as it does: the clause, which waits for just that, need not wait to the end of its patience, and nothing that is only
slow is taken for the fault.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context
    from exporter_core.contract import InstrumentKind


class Canary:
    """Passes everything on; each subclass changes one thing."""

    def __init__(self, case: Case, inner: Driven) -> None:
        self.case = case
        self.inner = inner
        self.released = threading.Event()
        self._held: list[Callable[[], bool]] = []

    @contextmanager
    def holding(self, is_holding: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Say that the fault holds up the calling thread inside the block, at times when ``is_holding`` says so."""
        self._held.append(is_holding)
        try:
            yield
        finally:
            self._held.remove(is_holding)

    @property
    def is_holding(self) -> bool:
        """Whether the fault, and not the machine, keeps a call or a process from ending at this moment."""
        return any(is_holding() for is_holding in tuple(self._held))

    @property
    def is_leaking(self) -> bool:
        """Whether the fault keeps something open at this moment that nothing but :meth:`release` closes."""
        return False

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

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the lock."""
        with self.holding():
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        with self.turn():
            return call(context)


class Holds(Canary):
    """Accepts every batch without handing it on, whatever the exporter does."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self.held: list[MetricsData] = []

    def export(self, context: Context, metrics: MetricsData) -> object:  # noqa: ARG002 - that is the fault
        self.held.append(metrics)
        return None
