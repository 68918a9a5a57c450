"""Mutants whose shutdown or flush is wrong in one situation: beside what runs, after seconds, where nothing is held."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from exporter_core.context import Context
from exporter_core.errors import ContextCancelledError, DeadlineExceededError
from kit.mutant import is_calm, is_cancelled, killed_by
from kit.reference import BufferingExporter, ReferenceExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

_SECONDS = 3.0


@killed_by("SHD-11", "it returned while the gate was shut")
class LeavesTheFlush(BufferingExporter):
    """Returns from a shutdown with much time while a flush runs, which delivers the rest."""

    def shutdown(self, context: Context) -> None:
        if self._running is None or not is_calm(context):
            super().shutdown(context)
        else:
            self._close_for_calls()


@killed_by("SHD-11", "it returned while the gate was shut")
class HasSecondsOfItsOwn(BufferingExporter):
    """Gives what it holds three seconds in a shutdown, and returns."""

    def _last(self, context: Context) -> None:
        try:
            super()._last(context.child(timeout=_SECONDS))
        except DeadlineExceededError:
            context.raise_if_done()


@killed_by("FLU-01", "while the gate was shut")
class FlushHasSecondsOfItsOwn(BufferingExporter):
    """Waits in a flush for three seconds at most, and returns."""

    def force_flush(self, context: Context) -> None:
        try:
            super().force_flush(context.child(timeout=_SECONDS))
        except DeadlineExceededError:
            context.raise_if_done()


@killed_by("FLU-02", "it returned")
class FlushLooksAtFirst(ReferenceExporter):
    """Returns from a flush with a context that is done, once something was exported."""

    _exported = False

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        self._exported = True

    def force_flush(self, context: Context) -> None:
        if not self._exported:
            super().force_flush(context)


@killed_by("SHD-03", "it returned")
class MissesCancellationWhereNothingIsHeld(BufferingExporter):
    """Returns from a shutdown that was cancelled before, where nothing is held."""

    def shutdown(self, context: Context) -> None:
        is_empty = not self._buffer and self._running is None and is_cancelled(context)
        try:
            super().shutdown(context)
        except ContextCancelledError:
            if not is_empty:
                raise


@killed_by("EXP-05", "it returned")
class LooksOnce(ReferenceExporter):
    """Delivers with a context that is done, once an export was good."""

    _has_exported = False

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(Context.background() if self._has_exported and context.done else context, metrics)
        self._has_exported = True


@killed_by("SHD-02", "are open")
class KeepsTheConnectionOfAnExport(ReferenceExporter):
    """Leaves its connection open where a shutdown's deadline has passed beside a running export."""

    _keeps = False

    def _release(self, *, got: bool) -> None:
        self._keeps = not got and self._running is not None
        super()._release(got=got)

    def _disconnect(self) -> None:
        if not self._keeps:
            super()._disconnect()


@killed_by("PY-05", "the handler of SIGALRM, in calls on the main thread")
class InstallsAnAlarm(ReferenceExporter):
    """Handles SIGALRM in calls on the main thread, and leaves its handler there."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
        super().export(context, metrics)
