"""Runs every clause, raw, on subjects in forked children: ``python in_children.py HOW TARGET ...``

HOW is ``mutants`` (what hangs is given up after two seconds, no canaries), ``canaries``, or ``harmless``, which takes
the faults out of the canaries. Writes a line for each run: the subject, a space, and the run as a message.
"""

import dataclasses
import sys

from exporter_core.conformance import clause
from exporter_core.conformance.clauses.canary import Canary
from exporter_core.conformance.run.messages import encode
from exporter_core.conformance.run.verdicts import SCHEDULES, Settings
from kit.forked import Candidate, run_all
from kit.mutants import racing

FEW = 2
"""Seeds of the scheduled clauses for what no race is looked for in."""

POINTS = 5_021
"""Points of the largest batch, so that many exporters can be checked."""


class Harmless(Canary):
    """Changes nothing."""


how, *targets = sys.argv[1:]


def settings(target: str) -> Settings:
    schedules = SCHEDULES if target.startswith(racing.__name__) else FEW
    if how == "mutants":
        return Settings(patience=2, canaries=False, schedules=schedules, points=POINTS)
    return Settings(schedules=FEW, points=POINTS)


if how == "harmless":
    for one in clause.clauses():
        if one.canary is not None:
            clause._clauses[one.id] = dataclasses.replace(one, canary=Harmless)
for candidate, runs in run_all([Candidate(target, "raw", settings(target)) for target in targets], at_once=8):
    for run in runs:
        sys.stdout.write(f"{candidate.target} {encode(run).decode()}")
