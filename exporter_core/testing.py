"""Public helpers for testing exporters, readers and applications: a configurable fake exporter and a fake clock.

Nothing here sleeps: a fake exporter does what it is told, and time on a fake clock passes when a test says so.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from exporter_core.clock import TimerHandle
from exporter_core.context import Context
from exporter_core.errors import ExporterShutdownError
from exporter_core.exporter import Exporter, ExporterConfig
from exporter_core.guard.copying import copy_metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.contract import InstrumentKind
    from exporter_core.sync import Signal

__all__ = ["FakeClock", "FakeExporter"]

_TURN_SECONDS = 0.001  # real ones, after which a thread that waits on a fake clock looks at it again


class FakeExporter(Exporter[ExporterConfig]):
    """An exporter that keeps the contract and remembers what it was handed, unless a function field says otherwise.

    Args:
        on_export: called instead of accepting the batch.
        on_force_flush: called instead of returning.
        on_shutdown: called instead of shutting down.
        on_temporality: called instead of answering cumulative.
        on_aggregation: called instead of answering the SDK's default.
    """

    def __init__(
        self,
        config: ExporterConfig | None = None,
        *,
        on_export: Callable[[Context, MetricsData], object] | None = None,
        on_force_flush: Callable[[Context], object] | None = None,
        on_shutdown: Callable[[Context], object] | None = None,
        on_temporality: Callable[[InstrumentKind], AggregationTemporality] | None = None,
        on_aggregation: Callable[[InstrumentKind], Aggregation] | None = None,
    ) -> None:
        super().__init__(config or ExporterConfig())
        self.on_export = on_export
        self.on_force_flush = on_force_flush
        self.on_shutdown = on_shutdown
        self.on_temporality = on_temporality
        self.on_aggregation = on_aggregation
        self.calls: list[str] = []
        """The operations in the order they were entered."""
        self.exported: list[MetricsData] = []
        """Copies of the batches that were accepted."""
        self.is_shut_down: bool = False

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """Cumulative, or what ``on_temporality`` says."""
        return self.on_temporality(instrument_kind) if self.on_temporality else super().temporality(instrument_kind)

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """The SDK's default, or what ``on_aggregation`` says."""
        return self.on_aggregation(instrument_kind) if self.on_aggregation else super().aggregation(instrument_kind)

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Accept the batch, or do what ``on_export`` says and return what it returns."""
        self.calls.append("export")
        if self.on_export is not None:
            return self.on_export(context, metrics)  # type: ignore[return-value]  # a test may want a wrong answer
        if self.is_shut_down:
            raise ExporterShutdownError("the fake exporter has been shut down")
        context.raise_if_done()
        self.exported.append(copy_metrics(metrics))
        return None

    def force_flush(self, context: Context) -> None:
        """Return, since nothing is held, or do what ``on_force_flush`` says."""
        self.calls.append("force_flush")
        if self.on_force_flush is not None:
            return self.on_force_flush(context)  # type: ignore[return-value]  # a test may want a wrong answer
        if not self.is_shut_down:
            context.raise_if_done()
        return None

    def shutdown(self, context: Context) -> None:
        """Shut down, or do what ``on_shutdown`` says."""
        self.calls.append("shutdown")
        if self.on_shutdown is not None:
            return self.on_shutdown(context)  # type: ignore[return-value]  # a test may want a wrong answer
        if self.is_shut_down:
            raise ExporterShutdownError("the fake exporter has been shut down")
        self.is_shut_down = True
        context.raise_if_done()
        return None


class FakeClock:
    """A monotonic clock that stands still until :meth:`advance`; whoever waits on it is woken by that alone.

    Args:
        auto_advance: let every wait pass at once, moving the clock on to its end: for code that backs off and retries
            on one thread.
    """

    def __init__(self, *, auto_advance: bool = False) -> None:
        self._now = 0.0
        self._auto_advance = auto_advance
        self._condition = threading.Condition()
        self._sleepers: dict[object, tuple[Signal, float | None]] = {}  # with the time at which each is due
        self._timers: list[TimerHandle] = []
        self.waits: list[float | None] = []
        """The time-outs of all waits, in seconds, in the order they began."""

    def context(self, *, timeout: float | None = None) -> Context:
        """A context on this clock, done ``timeout`` seconds from here (None: when it is cancelled)."""
        return Context(deadline=None if timeout is None else self._now + timeout, clock=self)

    def monotonic(self) -> float:
        """The seconds that have been let pass."""
        return self._now

    def wait(self, signal: Signal, timeout: float | None) -> None:
        """Wait for the signal, or until the clock has been moved on by ``timeout`` seconds."""
        sleeper = object()
        with self._condition:
            self.waits.append(timeout)
            due = None if timeout is None else self._now + timeout
            if signal.is_set() or (due is not None and due <= self._now):
                return
            if due is None or not self._auto_advance:
                self._sleepers[sleeper] = signal, due
                self._condition.notify_all()
        if due is not None and self._auto_advance:
            self._advance_to(due)
            return
        try:
            # By turns, since a signal that time alone set could not be told from one that somebody gave.
            while sleeper in self._sleepers and not signal.wait(_TURN_SECONDS):
                pass
        finally:
            with self._condition:
                self._sleepers.pop(sleeper, None)

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Call back from :meth:`advance`, or at once if the clock is there already."""
        handle = TimerHandle(when, callback)
        with self._condition:
            self._timers.append(handle)
        self.advance(0)
        return handle

    def advance(self, seconds: float) -> None:
        """Let time pass: wakes whoever waited for it, and makes the calls that are due, on this thread."""
        self._advance_to(self._now + seconds)

    def await_sleepers(self, count: int = 1, *, timeout: float = 30.0) -> None:
        """Return when ``count`` or more threads wait on it; raises TimeoutError after ``timeout`` real seconds."""
        with self._condition:
            if not self._condition.wait_for(lambda: self._asleep() >= count, timeout):
                raise TimeoutError(f"{self._asleep()} of {count} threads wait on the clock after {timeout} s")

    def _asleep(self) -> int:
        """Return the number of threads that wait; one that has been woken does not, though it may not have left yet."""
        return sum(not signal.is_set() for signal, _ in self._sleepers.values())

    def _advance_to(self, now: float) -> None:
        with self._condition:
            due = self._move(now)
        for handle in due:
            handle.fire()

    def _move(self, now: float) -> list[TimerHandle]:
        self._now = now
        self._sleepers = {
            sleeper: (signal, due) for sleeper, (signal, due) in self._sleepers.items() if due is None or due > now
        }
        calls = [handle for handle in self._timers if handle.when <= now]
        self._timers = [handle for handle in self._timers if handle.when > now]
        return sorted(calls, key=lambda handle: handle.when)
