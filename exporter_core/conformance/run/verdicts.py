"""The verdicts of the checker, and the exceptions with which a clause gives one other than PASS."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What came of one clause for one subject."""

    PASS = "PASS"  # noqa: S105 - a verdict
    """There is positive evidence, and the clause's canary died."""
    FAIL = "FAIL"
    """The promise was seen broken."""
    NOT_APPLICABLE = "NOT_APPLICABLE"
    """The subject has no such part."""
    UNOBSERVABLE = "UNOBSERVABLE"
    """Nothing shows whether the promise is kept."""
    INEXPRESSIBLE = "INEXPRESSIBLE"
    """The subject's interface has no channel for it."""
    BLOCKED = "BLOCKED"
    """A clause that this one builds on failed first."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """The clause could not be brought to its point."""
    KIT_ERROR = "KIT_ERROR"
    """The checker itself, or the harness, failed."""


class VerdictError(Exception):
    """Ends a clause with a verdict.

    Args:
        verdict: what came of it.
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
