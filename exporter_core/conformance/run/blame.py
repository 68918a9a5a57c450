"""One fault, one FAIL: a call that ignores its context fails the clause about its operation's deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.case import DEADLINE_CLAUSES
from exporter_core.conformance.run.verdicts import Run, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable


def blame(runs: Iterable[Run]) -> None:
    """Fail the clause about the deadline of each operation that overran in a clause that is not about it.

    Where one of the clauses about its deadline has failed already, that says it.

    Args:
        runs: those of one mode.
    """
    by_clause = {run.id: run for run in runs}
    for run in by_clause.values():
        judges = DEADLINE_CLAUSES.get(run.overran, ())
        known = [by_clause[one] for one in judges if one in by_clause]
        if known and not any(one.verdict is Verdict.FAIL for one in known):
            judge = known[0]
            judge.verdict, judge.expected = Verdict.FAIL, f"{run.overran} ends when its context does"
            judge.seen, judge.shown_by = f"{run.seen.partition(', which ')[0]} (in {run.id})", run.id
            judge.timeline, judge.wire, judge.canary = run.timeline, run.wire, ""
            judge.where, judge.traceback = run.where, run.traceback
