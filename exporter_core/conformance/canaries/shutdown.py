"""Shutdowns that lose data, keep resources, or do not end."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from exporter_core.conformance.canaries.base import Canary, Holds, Serialised
from exporter_core.conformance.canaries.retrying import Swallows
from exporter_core.errors import ExporterShutdownError

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context


class DropsBuffer(Holds):
    """Accepts everything, and lets go of it in shutdown."""


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


class ShutdownLeavesEarly(Canary):
    """Does not shut down with a context that is done."""

    def shutdown(self, context: Context) -> object:
        context.raise_if_done()
        return self.inner.shutdown(context)


class ShutdownJoins(Serialised):
    """Waits in shutdown for the running export, however long it takes."""

    def shutdown(self, context: Context) -> object:
        with self.turn():
            return self.inner.shutdown(context)


class StillSends(Canary):
    """Sends after its shutdown, and says that it did not."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        try:
            return self.inner.export(context, metrics)
        except ExporterShutdownError:
            other = self.case.plain_exporter()
            other.export(context, metrics)
            other.shutdown(context)
            raise


class ReturnsAfterShutdown(Swallows):
    """Returns from an export after shutdown."""


class SecondShutdownReturns(Canary):
    """Returns from every shutdown."""

    def shutdown(self, context: Context) -> object:
        try:
            return self.inner.shutdown(context)
        except ExporterShutdownError:
            return None


class Resurrects(Canary):
    """Works again after a shutdown that failed."""

    def shutdown(self, context: Context) -> object:
        try:
            return self.inner.shutdown(context)
        except Exception:
            self.inner = self.case.plain_exporter()
            raise
