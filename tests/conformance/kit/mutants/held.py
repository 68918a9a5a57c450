"""Mutants whose shutdown is wrong after a flush that failed, about what is refused in part, or beside another call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from exporter_core.errors import DeadlineExceededError, PartialSuccessError
from kit.mutant import cancellation_only, killed_by
from kit.reference import BufferingExporter, ReferenceExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context

_ROOM = 300  # batches
_NEVER = 60.0  # seconds


@killed_by("SHD-01", "lost")
class ForgetsWhatAFlushLeft(BufferingExporter):
    """Delivers in a shutdown nothing of what a flush has left at its deadline."""

    _left = False

    def force_flush(self, context: Context) -> None:
        self._left = False
        try:
            super().force_flush(context)
        except DeadlineExceededError:
            self._left = True
            raise

    def _last(self, context: Context) -> None:
        if not self._left:
            super()._last(context)


@killed_by("SHD-01", "it returned")
class ShutdownSwallowsPartialSuccess(BufferingExporter):
    """Returns from a shutdown whose delivery was refused in part."""

    def _last(self, context: Context) -> None:
        try:
            super()._last(context)
        except PartialSuccessError:
            pass


@killed_by("SHD-04", "shutdown had not ended")
class SecondShutdownWaits(ReferenceExporter):
    """Waits in a second shutdown until the first one is over."""

    def _renew_after_fork(self) -> None:
        super()._renew_after_fork()
        self._door = threading.Lock()

    def shutdown(self, context: Context) -> None:
        with self._door:
            super().shutdown(context)


@killed_by("SHD-04", "export had not ended")
class ExportWaitsForShutdown(BufferingExporter):
    """Waits in an export until a shutdown that has begun is over."""

    def _renew_after_fork(self) -> None:
        super()._renew_after_fork()
        self._door = threading.Lock()

    def export(self, context: Context, metrics: MetricsData) -> None:
        with self._door:
            pass
        super().export(context, metrics)

    def shutdown(self, context: Context) -> None:
        if self._is_shut_down:
            self._refuse()
        with self._door:
            super().shutdown(context)


@killed_by("EXP-06", "export had not ended")
class HasRoomForSome(BufferingExporter):
    """Waits for room beyond some hundreds of batches without a deadline; a cancellation ends it."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if len(self._buffer) >= _ROOM:
            cancellation_only(context).wait(_NEVER)
        super().export(context, metrics)
