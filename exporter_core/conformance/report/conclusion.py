"""What the verdicts amount to: one sentence and an exit code for each mode, and for the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter_core.conformance.run.verdicts import Verdict

if TYPE_CHECKING:
    from exporter_core.conformance.clause import Clause
    from exporter_core.conformance.run.verdicts import Report

CONFORMANT, FAILED, PARTIAL, KIT_FAILED = 0, 1, 3, 4

_WITHOUT_MEANING = (Verdict.NOT_APPLICABLE, Verdict.INEXPRESSIBLE)


@dataclass(frozen=True)
class Conclusion:
    """What one mode, or all of them, amount to."""

    sentence: str
    exit_code: int
    """0 conformant, 1 a MUST failed, 3 partial or inconclusive, 4 the kit failed."""


def deciding(report: Report, *, strict: bool = False) -> list[Clause]:
    """The clauses that decide whether the exporter is conformant: MUST, with ``strict`` SHOULD, without hygiene."""
    levels = ("MUST", "SHOULD") if strict else ("MUST",)
    return [one for one in report.clauses if one.level in levels and not one.hygiene]


def conclude(report: Report, mode: str | None = None, *, strict: bool = False) -> Conclusion:
    """The conclusion for a mode, or for all modes together: the worst of theirs.

    Args:
        report: what came of the clauses.
        mode: raw or guarded; None for all.
        strict: whether a SHOULD decides as a MUST does.
    """
    if mode is None:
        order = (FAILED, KIT_FAILED, PARTIAL, CONFORMANT)
        return min(
            (conclude(report, one, strict=strict) for one in report.modes), key=lambda c: order.index(c.exit_code)
        )
    decide = deciding(report, strict=strict)
    verdicts = [run.verdict for one in decide if (run := report.runs.get((one.id, mode))) is not None]
    failed = verdicts.count(Verdict.FAIL)
    broken = [run for (_, of_mode), run in report.runs.items() if of_mode == mode and run.verdict is Verdict.KIT_ERROR]
    observable = [one for one in verdicts if one not in _WITHOUT_MEANING]
    passed = observable.count(Verdict.PASS)
    word = "MUST or SHOULD" if strict else "MUST"
    if failed:
        return Conclusion(f"not conformant: {failed} {word} clause{'s' * (failed != 1)} failed", FAILED)
    if broken:
        return Conclusion(f"the checker failed on {len(broken)} clause{'s' * (len(broken) != 1)}", KIT_FAILED)
    missing = len(decide) - len(verdicts)
    if missing or passed < len(observable):
        rest = f"{missing} were not run" if missing else "the others say nothing"
        return Conclusion(f"conformant on {passed} of {len(observable) + missing} {word} clauses; {rest}", PARTIAL)
    if not observable:
        return Conclusion(f"no {word} clause was checked", CONFORMANT)
    return Conclusion(f"conformant: {passed} {word} clause{'s' * (passed != 1)} kept", CONFORMANT)
