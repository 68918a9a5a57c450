"""One fault, one FAIL: a call that hangs fails the clause about its operation, and not the one that happened to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.case import DEADLINE_CLAUSES, WORKING_CLAUSES
from exporter_core.conformance.run.verdicts import Run, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable


def blame(runs: Iterable[Run]) -> None:
    """Fail the clause about each operation that overran, or that hung, in a clause that is not about it.

    Where one of the clauses about it has failed already, that says it.

    Args:
        runs: those of one mode.
    """
    by_clause = {run.id: run for run in runs}
    for run in by_clause.values():
        judges = DEADLINE_CLAUSES.get(run.overran, ()) or WORKING_CLAUSES.get(run.hung, ())
        known = [by_clause[one] for one in judges if one in by_clause]
        if known and not any(one.verdict is Verdict.FAIL for one in known):
            judge = known[0]
            promise = f"{run.overran} ends when its context does" if run.overran else f"{run.hung} ends by itself"
            judge.verdict, judge.expected = Verdict.FAIL, promise
            judge.seen, judge.shown_by = f"{run.seen.partition(', which ')[0]} (in {run.id})", run.id
            judge.timeline, judge.wire, judge.canary = run.timeline, run.wire, ""
            judge.where, judge.traceback = run.where, run.traceback
