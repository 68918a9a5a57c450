"""What a Python process does not expect of a library."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from exporter_core.conformance.canaries.base import Canary, Serialised

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context


class InheritsLock(Serialised):
    """Exports under a lock that a forked child inherits."""


class NonDaemonThread(Canary):
    """Starts a thread in an export that holds up the interpreter's exit."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        threading.Thread(target=self._stay, daemon=False).start()
        return self.inner.export(context, metrics)

    def _stay(self) -> None:
        with self.holding():
            self.released.wait()
