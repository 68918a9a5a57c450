"""The guard: keeps the exporter contract for an exporter, whatever that exporter does.

``guarded`` is the state machine; ``assembly`` builds and ``verifier`` checks the exporter; ``call`` is one call and its
result, ``runners`` make calls and wait for them; ``errors`` makes the errors of those that failed, ``stats`` counts.
docs/guard.md names the module of each rule.
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
