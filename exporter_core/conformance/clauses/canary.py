"""Canaries: wrappers that break one promise each, on the user's own exporter; here those that families share.

A clause that its canary survives proved nothing there. A canary stands outside, around the raw or the guarded exporter.
One whose fault holds a call up says so for as long as it does: the clause, which waits for just that, need not wait to
the end of its patience, and nothing that is only slow is taken for the fault.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context
    from exporter_core.contract import InstrumentKind

_BETWEEN = 0.01  # seconds


class Fault:
    """Holds calls up or keeps something open, until the clause is over."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self._held_up: list[Callable[[], bool]] = []

    @contextmanager
    def holding(self, is_holding: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Say that the fault holds up the calling thread inside the block, at times when ``is_holding`` says so."""
        self._held_up.append(is_holding)
        try:
            yield
        finally:
            self._held_up.remove(is_holding)

    def hold(self) -> None:
        """Hold the calling thread up until the clause is over."""
        with self.holding():
            self.released.wait()

    @property
    def is_holding(self) -> bool:
        """True while the fault, and not the machine, keeps a call or a process from ending."""
        return any(is_holding() for is_holding in tuple(self._held_up))

    @property
    def is_leaking(self) -> bool:
        """True while the fault keeps something open that nothing but :meth:`release` closes."""
        return False

    def release(self) -> None:
        """Let go of what the fault holds: the clause is over."""
        self.released.set()


class Canary(Fault):
    """Passes everything on; each subclass changes one thing."""

    seed: ClassVar[int | None] = None
    """A seed that has found the fault, if it is a race: a scheduled clause tries it first."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__()
        self.case = case
        self.inner = inner

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        """Make an export or a flush."""
        return call(context)

    def between(self) -> None:
        """Stand between two steps that should be one; on real threads, long enough for others to come between."""
        if self.case.on_real_threads:
            time.sleep(_BETWEEN)

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        return self.inner.temporality(instrument_kind)

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        return self.inner.aggregation(instrument_kind)

    def export(self, context: Context, metrics: MetricsData) -> object:
        return self.around(context, lambda own: self.inner.export(own, metrics))

    def force_flush(self, context: Context) -> object:
        return self.around(context, self.inner.force_flush)

    def shutdown(self, context: Context) -> object:
        return self.inner.shutdown(context)


class IgnoresContext(Canary):
    """Hands the exporter a context without deadline or cancellation."""

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        with self.holding(lambda: context.done):
            return call(self.case.background_context())


class Swallows(Canary):
    """Returns as if nothing had failed."""

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        try:
            return call(context)
        except Exception:  # noqa: BLE001 - that is the fault
            return None


class Serialised(Canary):
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


class HoldsUntilFlush(Holds):
    """Hands on what it has accepted in a flush or a shutdown."""

    def force_flush(self, context: Context) -> object:
        while self.held:
            self.inner.export(context, self.held.pop(0))
        return self.inner.force_flush(context)

    def shutdown(self, context: Context) -> object:
        self.force_flush(context)
        return self.inner.shutdown(context)


class Leaks(Canary):
    """Opens a pair of sockets and starts a thread for each export, and keeps them."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._sockets: list[socket.socket] = []

    def export(self, context: Context, metrics: MetricsData) -> object:
        self._sockets += socket.socketpair()
        threading.Thread(target=self.released.wait, name="leaked", daemon=True).start()
        return self.inner.export(context, metrics)

    @property
    def is_leaking(self) -> bool:
        return bool(self._sockets) and not self.released.is_set()

    def release(self) -> None:
        super().release()
        for one in self._sockets:
            one.close()
