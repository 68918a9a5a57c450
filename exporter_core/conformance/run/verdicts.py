"""The verdicts of the checker, the exceptions that end a clause with one, and the results of a check."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter_core.conformance.clause import Clause

PATIENCE = 7.0
"""Seconds after which a clause that still waits has failed. Most exporters that ignore a deadline give up by themselves
after 10 seconds; fewer here, so that they cannot seem to have kept it."""

SCHEDULES = 53
"""The seeds that each scheduled clause tries: a race that one in twelve finds is missed once in a hundred times."""

POINTS = 50_021
"""The points of the largest batch: more than the limits that backends have, and no multiple of anything."""


class Verdict(StrEnum):
    """The result of one clause for one exporter, in one word."""

    PASS = "PASS"  # noqa: S105 - a verdict
    """There is positive evidence, and the clause's canary died."""
    FAIL = "FAIL"
    """The promise was seen broken."""
    NOT_APPLICABLE = "NOT_APPLICABLE"
    """The exporter has no such part."""
    UNOBSERVABLE = "UNOBSERVABLE"
    """Nothing shows whether the promise is kept."""
    INEXPRESSIBLE = "INEXPRESSIBLE"
    """The exporter's interface has no channel for it."""
    BLOCKED = "BLOCKED"
    """A clause that this one builds on failed first."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """The situation that the clause needs did not come about."""
    KIT_ERROR = "KIT_ERROR"
    """The checker itself, or the harness, failed."""


class VerdictError(Exception):
    """Ends a clause with a verdict.

    Args:
        verdict: the verdict.
        seen: what was seen, or the reason, in one line.
        expected: what the clause asks for, in one line.
    """

    def __init__(self, verdict: Verdict, seen: str, expected: str = "") -> None:
        super().__init__(seen)
        self.verdict = verdict
        self.seen = seen
        self.expected = expected


class Failed(VerdictError):  # noqa: N818 - reads as what it says where it is raised
    """The promise was seen broken."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(Verdict.FAIL, seen, expected)


@dataclass(frozen=True)
class Settings:
    """Seed and bounds for running clauses."""

    seed: int = 1
    schedules: int = SCHEDULES
    patience: float = PATIENCE
    canaries: bool = True
    points: int = field(default_factory=lambda: POINTS)
    """The points of the largest batch."""


@dataclass
class Run:
    """The result of one clause in one mode, with everything that was seen."""

    id: str
    mode: str
    verdict: Verdict
    expected: str = ""
    seen: str = ""
    where: str = ""
    """The place in the exporter's own code where it raised or waited."""
    traceback: str = ""
    """The whole traceback of the error, or the stack of the call that waited."""
    observations: list[str] = field(default_factory=list)
    canary: str = ""
    """``died``, ``survived``, ``undecided``, ``static`` or ``not run``; empty where the clause did not pass."""
    canary_seen: str = ""
    timeline: list[dict[str, Any]] = field(default_factory=list)
    wire: list[dict[str, Any]] = field(default_factory=list)
    """The requests that the backend got, with their answers."""
    seconds: float = 0.0
    tainted: bool = False
    """True if something of this run still ran after its end."""
    seed: int | None = None
    """The seed that shows a failure at once, if it is another than that of the settings."""
    never_delivers: bool = False
    """True if nothing of any export arrived."""
    overran: str = ""
    """The operation that went on although its context was done, where the clause is not about that."""
    hung: str = ""
    """The operation that hung until it was cancelled, where the clause is not about that."""
    shown_by: str = ""
    """The clause in which a failure was seen, if it is another one."""
    dump: str = ""
    """The stacks of all threads, if the run hung."""

    def give(self, error: VerdictError) -> None:
        """Take over the verdict, and the reason for it."""
        self.verdict, self.expected, self.seen = error.verdict, error.expected, error.seen


@dataclass
class Report:
    """The results of a check, by clause and mode."""

    target: str
    modes: tuple[str, ...]
    """Raw and guarded; of readers, their names."""
    settings: Settings
    clauses: tuple[Clause, ...]
    origin: str | None = None
    tier: str = "none"
    runs: dict[tuple[str, str], Run] = field(default_factory=dict)
    """By clause and mode; not every one if the check was stopped."""
    options: Mapping[str, Any] | None = None  # Any: the exporter's options
    """The exporter's options, secrets masked."""
    harness: str | None = None
    """``module:Class`` of the harness that was named."""
    sink: str | None = None
    """The sink that the options point at."""
    readers: bool = False
    """True if it is about readers, not about an exporter."""
    unselected: tuple[Clause, ...] = ()
    """The clauses that were left out."""
    of_the_sdk: bool = False
    """True for an exporter of the OpenTelemetry SDK, which by itself owes what the SDK's specification says."""
    stopped: bool = False
    """True if the check ended before every clause had its result."""
    seconds: float = 0.0

    def run(self, clause: str, mode: str) -> Run:
        """The result of this clause in this mode."""
        return self.runs[clause, mode]
