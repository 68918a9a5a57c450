"""The counts of a guard."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from exporter_core.sync import RLock

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData


class GuardState(StrEnum):
    """The life of a guarded exporter; it only ever goes forward, except that a fork starts it anew."""

    ACTIVE = "active"
    SHUTTING_DOWN = "shutting_down"
    SHUT_DOWN = "shut_down"
    FORKED = "forked"
    """In a forked child: active, the exporter to be rebuilt at first use."""


@dataclass(frozen=True, slots=True)
class ExporterStats:
    """Counts since the guard was made (or, in a forked child, since the fork)."""

    name: str
    runner: str
    state: GuardState
    exports_ok: int
    exports_failed: int
    points_handed_over: int
    """Data points of all exports, the failed ones included."""
    points_accepted: int
    """Data points of the exports that succeeded, in part or late ones included."""
    points_unsettled: int
    """Data points of an abandoned export that still runs: neither accepted nor lost so far."""
    exports_abandoned: int
    """Exports given up at their deadline or by an interrupted caller, of which ``exports_late_ok`` succeeded later."""
    exports_late_ok: int
    requests_repeated: int
    """Requests that were sent again: after a failed attempt, or since the server had closed the connection that was
    kept. The backend may have their data twice. Exporters on ``exporter_core.authoring.Retrying`` are counted."""
    last_export_seconds: float | None
    """Seconds that the last caller of export waited."""
    last_error: str | None
    """The last failure of any operation in one line, secrets masked."""
    busy: bool
    """True while an export is running, an abandoned one too."""

    @property
    def points_lost(self) -> int:
        """Data points that were handed over and not accepted; those of an export that still runs may yet be."""
        return self.points_handed_over - self.points_accepted - self.points_unsettled

    def as_dict(self) -> dict[str, object]:
        """Return the counts as values that JSON has."""
        return asdict(self)


def count_points(metrics: MetricsData) -> int:
    """Return the number of data points in the batch."""
    count = 0
    for resource_metrics in metrics.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                count += len(metric.data.data_points)
    return count


class Tally:
    """The counts behind :class:`ExporterStats`; safe from any thread."""

    MANY = 1024

    def __init__(self) -> None:
        self.succeeded: deque[tuple[int, float]] = deque()
        """Points and seconds of exports that succeeded and are yet to be counted: appending them takes no lock."""
        self.mutex = RLock()
        """Held while a count changes. Reentrant: a signal handler may interrupt the thread that holds it."""
        self._ok = self._points_ok = self._failed = self._points_failed = self._abandoned = self._late_ok = 0
        self._repeated = 0
        self._points_accepted_beside = 0  # of exports that raised: in part, or late
        self._points_unsettled = 0
        self._last_export_seconds: float | None = None
        self._last_error: str | None = None

    def fold(self) -> None:
        """Count the exports that succeeded; at the latest when there are :attr:`MANY`."""
        with self.mutex:
            while self.succeeded:
                points, self._last_export_seconds = self.succeeded.popleft()
                self._ok += 1
                self._points_ok += points

    def export_failed(
        self, points: int, seconds: float, error: str, *, abandoned: bool, still_runs: bool = False
    ) -> None:
        """Count an export that raised; its accepted points, if any, are counted by :meth:`accepted_beside`."""
        with self.mutex:
            self.fold()
            self._failed += 1
            self._points_failed += points
            self._abandoned += abandoned
            self._points_unsettled += points * still_runs
            self._last_export_seconds = seconds
            self._last_error = error

    def accepted_beside(self, points: int, *, late_ok: bool, settled: int = 0) -> None:
        """Count points that were accepted although their export raised: in part, or late.

        Args:
            points: their number.
            late_ok: True for an export that succeeded after its deadline.
            settled: all points of an abandoned export that has ended.
        """
        with self.mutex:
            self._points_accepted_beside += points
            self._points_unsettled -= settled
            self._late_ok += late_ok

    def count_repeated(self, requests: int) -> None:
        """Count requests that were sent again."""
        with self.mutex:
            self._repeated += requests

    def note_error(self, error: str) -> None:
        """Remember the failure of another operation."""
        self._last_error = error

    def snapshot(self, *, name: str, runner: str, state: GuardState, busy: bool) -> ExporterStats:
        """Return the counts of one moment."""
        with self.mutex:
            self.fold()
            return ExporterStats(
                name=name,
                runner=runner,
                state=state,
                exports_ok=self._ok,
                exports_failed=self._failed,
                points_handed_over=self._points_ok + self._points_failed,
                points_accepted=self._points_ok + self._points_accepted_beside,
                points_unsettled=self._points_unsettled,
                exports_abandoned=self._abandoned,
                exports_late_ok=self._late_ok,
                requests_repeated=self._repeated,
                last_export_seconds=self._last_export_seconds,
                last_error=self._last_error,
                busy=busy,
            )
