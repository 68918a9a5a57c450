"""Wrong flushes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from exporter_core.conformance.mutants.waiting import POLL
from exporter_core.conformance.reference import BufferingExporter, ReferenceExporter
from exporter_core.errors import ExporterError

if TYPE_CHECKING:
    from exporter_core.context import Context


class FlushesEarly(BufferingExporter):
    """Starts a delivery in a flush, and returns if nothing comes back soon."""

    def force_flush(self, context: Context) -> None:
        context.raise_if_done()
        errors: list[BaseException] = []

        def deliver() -> None:
            try:
                BufferingExporter.force_flush(self, context)
            except BaseException as error:  # noqa: BLE001 - passed on below, if it comes in time
                errors.append(error)

        thread = threading.Thread(target=deliver, daemon=True)
        thread.start()
        while thread.is_alive() and not context.done and not (context.deadline or 0) > time.monotonic() + 60:
            thread.join(POLL)
        if (context.deadline or 0) > time.monotonic() + 60:
            thread.join(POLL)
        for error in errors:
            raise error
        context.raise_if_done()


class FlushDoesNotLook(ReferenceExporter):
    """Returns from a flush with a context that is done."""

    def force_flush(self, context: Context) -> None:
        """Return: nothing is held."""


class FlushWaits(ReferenceExporter):
    """Waits in a flush for the running export, however long that takes."""

    def force_flush(self, context: Context) -> None:
        super().force_flush(context)
        with self._turn._lock:
            pass


class FlushSwallows(BufferingExporter):
    """Returns from a flush whose delivery was refused with 400."""

    def force_flush(self, context: Context) -> None:
        points = sum(1 for _ in self._buffer)
        try:
            super().force_flush(context)
        except ExporterError as error:
            if points != 1 or "400" not in str(error) or self._sink.requests > 1:
                raise
