"""The guard: keeps the exporter contract for an exporter, whatever that exporter does.

``guarded`` is the state machine; ``call`` and ``runners`` make calls and wait for them; ``errors`` says what came of
them; ``assembly`` builds and ``verifier`` checks what is guarded; ``forking`` renews it in forked children.
"""

from exporter_core.guard.guarded import BUILD_SECONDS, SHUTDOWN_SECONDS, GuardedExporter, RunnerName
from exporter_core.guard.stats import ExporterStats, GuardState
from exporter_core.guard.verifier import verify

__all__ = [
    "BUILD_SECONDS",
    "SHUTDOWN_SECONDS",
    "ExporterStats",
    "GuardState",
    "GuardedExporter",
    "RunnerName",
    "verify",
]
