"""Wrong shutdowns."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, ClassVar

from exporter_core.conformance.observe.tokens import flatten
from exporter_core.context import Context
from exporter_core.errors import ContextCancelledError, DeadlineExceededError, ExporterShutdownError
from kit.mutants.waiting import OWN_SECONDS, POLL
from kit.reference import BufferingExporter, ReferenceConfig, ReferenceExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData


class DropsBuffer(BufferingExporter):
    """Lets go of what is held in shutdown."""

    def _last(self, context: Context) -> None:
        self._buffer.clear()


class DropsLast(BufferingExporter):
    """Lets go in shutdown of the last batch, if there are many."""

    def _last(self, context: Context) -> None:
        del self._buffer[4:]
        super()._last(context)


class LeaksSocket(ReferenceExporter):
    """Never closes its sockets."""

    _kept: ClassVar[list[socket.socket]] = []

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._kept.extend(socket.socketpair())


class ShutdownLeavesEarly(ReferenceExporter):
    """Does not shut down with a context that is done."""

    def shutdown(self, context: Context) -> None:
        context.raise_if_done()
        super().shutdown(context)


class ShutdownJoins(ReferenceExporter):
    """Waits in shutdown for the running export, however long that takes."""

    def shutdown(self, context: Context) -> None:
        while self._running is not None and not self._sink.is_closed:
            time.sleep(POLL)
        super().shutdown(context)


class ShutdownJoinsAWhile(ReferenceExporter):
    """Waits in shutdown for the running export as long as it sees fit."""

    def shutdown(self, context: Context) -> None:
        super().shutdown(context if context.done else Context.with_timeout(OWN_SECONDS))


class StillSends(ReferenceExporter):
    """Sends after its shutdown, then says that it did not."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self._is_shut_down and not context.done:
            for wait in self._sink.connect():
                self._wait(context, wait)
            for wait in self._sink.request(tuple(flatten(metrics))):
                self._wait(context, wait)
            self._sink.disconnect()
        super().export(context, metrics)


class ReturnsAfterShutdown(ReferenceExporter):
    """Returns from an export after shutdown."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if not self._is_shut_down:
            super().export(context, metrics)


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


class Resurrects(ReferenceExporter):
    """Works again after a shutdown that timed out beside a running export."""

    def shutdown(self, context: Context) -> None:
        beside = self._running is not None
        try:
            super().shutdown(context)
        except DeadlineExceededError:
            self._is_shut_down = not beside
            raise


class KeepsConnection(ReferenceExporter):
    """Does not close its connection if it is shut down with a context that is done."""

    def shutdown(self, context: Context) -> None:
        if context.done:
            self._close_for_calls()
            context.raise_if_done()
        super().shutdown(context)


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


class ShutdownIgnoresCancel(ReferenceExporter):
    """Waits in shutdown for the running export to its deadline, cancelled or not."""

    def shutdown(self, context: Context) -> None:
        while self._running is not None and not self._sink.is_closed and (context.remaining() or 1) > 0:
            time.sleep(POLL)
        super().shutdown(context)


class SendsLater(StillSends):
    """Sends on a thread of its own after its shutdown, and says that it does not."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self._is_shut_down and not context.done:
            threading.Thread(target=self._later, args=(context, metrics), daemon=True).start()
        ReferenceExporter.export(self, context, metrics)

    def _later(self, context: Context, metrics: MetricsData) -> None:
        time.sleep(POLL)
        try:
            StillSends.export(self, context, metrics)
        except ExporterShutdownError:
            pass  # it has been told already


class LooksAtContextFirst(ReferenceExporter):
    """Raises its context's error after shutdown, if that is done."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        context.raise_if_done()
        super().export(context, metrics)
