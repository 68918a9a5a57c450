"""The conclusion of a report: one sentence and an exit code for each mode, and for the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter_core.conformance.clause import Clause, in_order
from exporter_core.conformance.run.verdicts import Report, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


CONFORMANT, FAILED, INCOMPLETE, KIT_FAILED = 0, 1, 3, 4

_WITHOUT_MEANING = (Verdict.NOT_APPLICABLE, Verdict.INEXPRESSIBLE)
_NAMED = 3  # clauses that a sentence names


@dataclass(frozen=True)
class Conclusion:
    """The conclusion for one mode, or for all of them."""

    sentence: str
    exit_code: int
    """0 conformant, 1 a MUST failed, 3 incomplete, 4 the checker failed."""


def deciding(clauses: Iterable[Clause], *, strict: bool = False) -> list[Clause]:
    """Those of the clauses that decide about conformance: MUST, with ``strict`` SHOULD, without hygiene."""
    levels = ("MUST", "SHOULD") if strict else ("MUST",)
    return [one for one in clauses if one.level in levels and not one.hygiene]


def conclude(report: Report, mode: str | None = None, *, strict: bool = False) -> Conclusion:
    """The conclusion for a mode, or for all modes together: the worst of theirs.

    Args:
        report: the results.
        mode: raw or guarded; None for all.
        strict: let a SHOULD decide as a MUST does.
    """
    if mode is None:
        order = (FAILED, KIT_FAILED, INCOMPLETE, CONFORMANT)
        return min(
            (conclude(report, one, strict=strict) for one in report.modes), key=lambda c: order.index(c.exit_code)
        )
    decide = in_order(deciding(report.clauses, strict=strict))
    left_out = deciding(report.unselected, strict=strict)
    verdicts = {one.id: run.verdict for one in decide if (run := report.runs.get((one.id, mode))) is not None}
    failed = _with(verdicts, Verdict.FAIL)
    passed = _with(verdicts, Verdict.PASS)
    broken = [run.id for run in report.runs.values() if run.mode == mode and run.verdict is Verdict.KIT_ERROR]
    unrun = [one.id for one in decide if one.id not in verdicts]
    unseen = [clause for clause in verdicts if clause not in (*passed, *_with(verdicts, *_WITHOUT_MEANING))]
    word = "MUST or SHOULD" if strict else "MUST"
    if failed:
        return Conclusion(f"not conformant: {_count(failed, word)} failed", FAILED)
    if broken:
        return Conclusion(f"the checker failed on {_count(broken)} ({_named(broken)})", KIT_FAILED)
    if unseen or unrun or left_out:
        missing = {"not observed": unseen, "not run": unrun}
        rest = "".join(f", {len(ids)} {why} ({_named(ids)})" for why, ids in missing.items() if ids)
        rest += f", {len(left_out)} not selected" * bool(left_out)
        of = len(passed) + len(unseen) + len(unrun) + len(left_out)
        return Conclusion(f"incomplete: {len(passed)} of {of} {word} clauses kept{rest}", INCOMPLETE)
    if not passed:
        return Conclusion(f"no {word} clause was checked", INCOMPLETE)
    return Conclusion(f"conformant: {_count(passed, word)} kept", CONFORMANT)


def _with(verdicts: Mapping[str, Verdict], *wanted: Verdict) -> list[str]:
    """The clauses that have one of these verdicts."""
    return [clause for clause, verdict in verdicts.items() if verdict in wanted]


def _count(clauses: Sequence[str], word: str = "") -> str:
    return f"{len(clauses)} {word and word + ' '}clause{'s' * (len(clauses) != 1)}"


def _named(clauses: Sequence[str]) -> str:
    return ", ".join([*clauses[:_NAMED], *["..."] * (len(clauses) > _NAMED)])
