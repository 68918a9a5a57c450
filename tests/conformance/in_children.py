"""Runs clauses on subjects in forked children: ``python in_children.py HOW TARGET ...``

HOW is ``mutants`` (every clause, raw; what hangs is given up after two seconds, no canaries), ``kills`` or
``guarded-kills`` (the same, with the clause alone that is a mutant's own), ``canaries``, or ``harmless``, which takes
the faults out of the canaries. Writes a line for each run: the subject, a space, and the run as a message.
"""

import dataclasses
import sys

from exporter_core.conformance import clause
from exporter_core.conformance.clauses.canary import Canary
from exporter_core.conformance.run.messages import encode
from exporter_core.conformance.run.verdicts import SCHEDULES, Settings
from exporter_core.conformance.subject import Mode
from kit.forked import Candidate, run_all
from kit.mutants import MUTANTS, racing

FEW = 2
"""Seeds of the scheduled clauses for what no race is looked for in."""

POINTS = 5_021
"""Points of the largest batch, so that many exporters can be checked."""


class Harmless(Canary):
    """Changes nothing."""


how, *targets = sys.argv[1:]
own = {mutant.target: mutant.clause for mutant in MUTANTS} if how.endswith("kills") else {}


def settings(target: str) -> Settings:
    schedules = SCHEDULES if target.startswith(racing.__name__) else FEW
    if how == "mutants" or own:
        return Settings(patience=2, canaries=False, schedules=schedules, points=POINTS)
    return Settings(schedules=FEW, points=POINTS)


if how == "harmless":
    for one in clause.clauses():
        if one.canary is not None:
            clause._clauses[one.id] = dataclasses.replace(one, canary=Harmless)
mode: Mode = "guarded" if how == "guarded-kills" else "raw"
candidates = [Candidate(target, mode, settings(target), own.get(target, "")) for target in targets]
for candidate, runs in run_all(candidates, at_once=8):
    for run in runs:
        sys.stdout.write(f"{candidate.target} {encode(run).decode()}")
