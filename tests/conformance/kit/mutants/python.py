"""What a Python process does not expect of a library."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from kit.mutants.waiting import POLL
from kit.reference import ReferenceConfig, ReferenceExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context


class InheritsLock(ReferenceExporter):
    """Keeps the lock that a fork has copied."""

    def _renew(self) -> None:
        if not hasattr(self, "_turn"):
            super()._renew()


class NonDaemonThread(ReferenceExporter):
    """Has a thread that holds up the interpreter's exit while a request is under way."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        threading.Thread(target=self._watch, args=(context,), daemon=False).start()
        super()._deliver(context, metrics)

    def _watch(self, context: Context) -> None:
        while self._running is not None and not context.done and not self._sink.is_closed:
            time.sleep(POLL)


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
