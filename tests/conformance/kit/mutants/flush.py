"""Wrong flushes."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from exporter_core.errors import ExporterError
from kit.mutants.waiting import OWN_SECONDS, POLL, detached, is_calm
from kit.reference import BufferingExporter, ReferenceExporter

if TYPE_CHECKING:
    from exporter_core.context import Context


class FlushesEarly(BufferingExporter):
    """Starts a delivery in a flush, and returns when the backend is slow to answer."""

    def force_flush(self, context: Context) -> None:
        context.raise_if_done()
        detached(partial(super().force_flush, context), context, self._sink)


class FlushDoesNotLook(ReferenceExporter):
    """Returns from a flush with a context that is done."""

    def force_flush(self, context: Context) -> None:
        """Return: nothing is held."""


class FlushWaits(ReferenceExporter):
    """Waits in a flush for the running export, however long that takes."""

    def force_flush(self, context: Context) -> None:
        super().force_flush(context)
        self._turn._lock.acquire()
        self._turn.give_back()


class FlushWaitsAWhile(ReferenceExporter):
    """Waits in a flush for the running export as long as it sees fit."""

    def force_flush(self, context: Context) -> None:
        super().force_flush(context)
        until = time.monotonic() + OWN_SECONDS
        while self._running is not None and not self._sink.is_closed and time.monotonic() < until:
            time.sleep(POLL)


class FlushSwallows(BufferingExporter):
    """Returns from a flush whose delivery was refused with 400."""

    def force_flush(self, context: Context) -> None:
        try:
            super().force_flush(context)
        except ExporterError:
            if not is_calm(context) or self._sink.script != ["status:400"]:
                raise


class FlushIgnoresCancel(ReferenceExporter):
    """Waits in a flush for the running export to its deadline, cancelled or not."""

    def force_flush(self, context: Context) -> None:
        super().force_flush(context)
        while self._running is not None and not self._sink.is_closed and (context.remaining() or 1) > 0:
            time.sleep(POLL)
