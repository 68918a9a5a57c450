"""Runs every clause, raw, on subjects in forked children: ``python in_children.py HOW TARGET ...``

HOW is ``mutants`` (what hangs is given up after two seconds, no canaries), ``canaries``, or ``harmless``, which takes
the faults out of the canaries. Writes a JSON line for each subject, with its runs by clause.
"""

import dataclasses
import json
import sys

from exporter_core.conformance import clause
from exporter_core.conformance.clauses.canary import Canary
from exporter_core.conformance.run.run_clause import SCHEDULES, Settings
from kit.forked import Candidate, run_all
from kit.mutants import racing

FEW = 2
"""Seeds of the scheduled clauses for what no race is looked for in."""


class Harmless(Canary):
    """Changes nothing."""


how, *targets = sys.argv[1:]


def settings(target: str) -> Settings:
    schedules = SCHEDULES if target.startswith(racing.__name__) else FEW
    return Settings(patience=2, canaries=False, schedules=schedules) if how == "mutants" else Settings(schedules=FEW)


if how == "harmless":
    for one in clause.clauses():
        if one.canary is not None:
            clause._clauses[one.id] = dataclasses.replace(one, canary=Harmless)
for candidate, runs in run_all([Candidate(target, "raw", settings(target)) for target in targets], at_once=8):
    print(json.dumps({"target": candidate.target, "runs": {run["id"]: run for run in runs}}), flush=True)  # noqa: T201 - a program that prints
