"""Wrong flushes and shutdowns, and what a Python process does not expect of a library."""

from __future__ import annotations

import math
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core.conformance.observe.tokens import flatten
from exporter_core.context import Context
from exporter_core.errors import ContextCancelledError, DeadlineExceededError, ExporterError, ExporterShutdownError
from kit.mutant import OWN_SECONDS, POLL, detached, is_calm, killed_by
from kit.reference import BufferingExporter, ReferenceConfig, ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Callable


class _Joins(ReferenceExporter):
    """Waits for the running export, whatever becomes of the context."""

    def _join(self, seconds: float | None = math.inf) -> None:
        until = time.monotonic() + (math.inf if seconds is None else seconds)
        while self._running is not None and not self._sink.is_closed and time.monotonic() < until:
            time.sleep(POLL)


@killed_by("FLU-01", "it returned while the gate was shut")
class FlushesEarly(BufferingExporter):
    """Starts a delivery in a flush, and returns when the backend is slow to answer."""

    def force_flush(self, context: Context) -> None:
        context.raise_if_done()
        detached(partial(super().force_flush, context), context, self._sink)


@killed_by("FLU-02", "it returned")
class FlushDoesNotLook(ReferenceExporter):
    """Returns from a flush with a context that is done."""

    def force_flush(self, context: Context) -> None:
        """Return: nothing is held."""


@killed_by("FLU-03", "force_flush had not ended")
class FlushWaits(_Joins):
    """Waits in a flush for the running export, however long that takes."""

    def force_flush(self, context: Context) -> None:
        super().force_flush(context)
        self._join()


@killed_by("FLU-03", "while the gate was shut, as it does without a deadline")
class FlushWaitsAWhile(_Joins):
    """Waits in a flush for the running export as long as it sees fit."""

    def force_flush(self, context: Context) -> None:
        super().force_flush(context)
        self._join(OWN_SECONDS)


@killed_by("FLU-03", "force_flush had not ended")
class FlushIgnoresCancel(_Joins):
    """Waits in a flush for the running export to its deadline, cancelled or not."""

    def force_flush(self, context: Context) -> None:
        super().force_flush(context)
        self._join(context.remaining())


@killed_by("FLU-04", "it returned")
class FlushSwallows(BufferingExporter):
    """Returns from a flush whose delivery was refused with 400."""

    def force_flush(self, context: Context) -> None:
        try:
            super().force_flush(context)
        except ExporterError:
            if not is_calm(context) or self._sink.script != ["status:400"]:
                raise


@killed_by("SHD-01", "lost")
class DropsBuffer(BufferingExporter):
    """Lets go of what is held in shutdown."""

    def _last(self, context: Context) -> None:
        self._buffer.clear()


@killed_by("SHD-01", "lost")
class DropsLast(BufferingExporter):
    """Lets go in shutdown of the last batch, if there are many."""

    def _last(self, context: Context) -> None:
        del self._buffer[4:]
        super()._last(context)


@killed_by("SHD-02", "socket")
class LeaksSocket(ReferenceExporter):
    """Never closes its sockets."""

    _kept: ClassVar[list[socket.socket]] = []

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._kept.extend(socket.socketpair())


@killed_by("SHD-03", "export afterwards: it returned")
class ShutdownLeavesEarly(ReferenceExporter):
    """Does not shut down with a context that is done."""

    def shutdown(self, context: Context) -> None:
        context.raise_if_done()
        super().shutdown(context)


@killed_by("SHD-03", "are open")
class KeepsConnection(ReferenceExporter):
    """Does not close its connection if it is shut down with a context that is done."""

    def shutdown(self, context: Context) -> None:
        if context.done:
            self._close_for_calls()
            context.raise_if_done()
        super().shutdown(context)


@killed_by("SHD-03", "socket")
class KeepsSocket(ReferenceExporter):
    """Does not close its sockets if it is shut down with a context that is done."""

    _kept: ClassVar[list[socket.socket]] = []

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._sockets = socket.socketpair()

    def shutdown(self, context: Context) -> None:
        if context.done:
            self._kept.extend(self._sockets)
        for one in () if context.done else self._sockets:
            one.close()
        super().shutdown(context)


@killed_by("SHD-04", "shutdown had not ended")
class ShutdownJoins(_Joins):
    """Waits in shutdown for the running export, however long that takes."""

    def shutdown(self, context: Context) -> None:
        self._join()
        super().shutdown(context)


@killed_by("SHD-04", "while the gate was shut, as it does without a deadline")
class ShutdownJoinsAWhile(ReferenceExporter):
    """Waits in shutdown for the running export as long as it sees fit."""

    def shutdown(self, context: Context) -> None:
        super().shutdown(context if context.done else Context.with_timeout(OWN_SECONDS))


@killed_by("SHD-04", "shutdown had not ended")
class ShutdownIgnoresCancel(_Joins):
    """Waits in shutdown for the running export to its deadline, cancelled or not."""

    def shutdown(self, context: Context) -> None:
        self._join(context.remaining())
        super().shutdown(context)


@killed_by("SHD-05", "points arrived")
class StillSends(ReferenceExporter):
    """Sends after its shutdown, then says that it did not."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self._is_shut_down and not context.done:
            for wait in self._exchange(tuple(flatten(metrics))):
                self._wait(context, wait)
            self._disconnect()
        super().export(context, metrics)


@killed_by("SHD-05", "points arrived")
class SendsLater(StillSends):
    """Sends on a thread of its own after its shutdown, and says that it does not."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self._is_shut_down and not context.done:
            threading.Thread(target=self._later, args=(super().export, context, metrics), daemon=True).start()
        self._refuse()
        super().export(context, metrics)

    def _later(self, export: Callable[[Context, MetricsData], None], context: Context, metrics: MetricsData) -> None:
        time.sleep(POLL)
        try:
            export(context, metrics)
        except ExporterShutdownError:
            pass  # it has been told already


@killed_by("SHD-06", "it returned")
class ReturnsAfterShutdown(ReferenceExporter):
    """Returns from an export after shutdown."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if not self._is_shut_down:
            super().export(context, metrics)


@killed_by("SHD-06", "it raised DeadlineExceededError")
class LooksAtContextFirst(ReferenceExporter):
    """Raises its context's error after shutdown, if that is done."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        context.raise_if_done()
        super().export(context, metrics)


@killed_by("SHD-07", "it returned")
class SecondShutdownReturns(ReferenceExporter):
    """Returns from every shutdown after a good one."""

    _timed_out = False

    def shutdown(self, context: Context) -> None:
        if self._is_shut_down and not self._timed_out:
            return
        try:
            super().shutdown(context)
        except (DeadlineExceededError, ContextCancelledError):
            self._timed_out = True
            raise


@killed_by("SHD-10", "it returned")
class Resurrects(ReferenceExporter):
    """Works again, when it is used, after a shutdown that timed out beside a running export."""

    _timed_out = False

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self._timed_out:
            self._is_shut_down = False
        super().export(context, metrics)

    def shutdown(self, context: Context) -> None:
        beside = self._running is not None
        try:
            super().shutdown(context)
        except DeadlineExceededError:
            self._timed_out = beside
            raise


@killed_by("PY-01", "had not ended")
class InheritsLock(ReferenceExporter):
    """Keeps the lock that a fork has copied."""

    def _renew_after_fork(self) -> None:
        if not hasattr(self, "_turn"):
            super()._renew_after_fork()


@killed_by("PY-02", "the child had not ended")
class NonDaemonThread(_Joins):
    """Has a thread that holds up the interpreter's exit while a request is under way."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        threading.Thread(target=self._join, args=(context.remaining(),), daemon=False).start()
        super()._deliver(context, metrics)


@killed_by("PY-03", "more: thread")
class ThreadPerExport(ReferenceExporter):
    """Starts a thread for each export, which only a shutdown ends."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        self._threads.append(threading.Thread(target=self._stop.wait, name="housekeeping", daemon=True))
        self._threads[-1].start()

    def shutdown(self, context: Context) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        super().shutdown(context)
