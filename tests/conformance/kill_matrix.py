"""Runs mutants against every clause, raw, each in a forked child of one process: a child costs no imports.

``python kill_matrix.py MODULE:CLASS ...`` writes a JSON line for each result.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
from time import monotonic

from exporter_core.conformance.clause import clauses
from exporter_core.conformance.mutants import racing
from exporter_core.conformance.running import SCHEDULES, Settings, run_clause
from exporter_core.conformance.subject import prepare, resolve
from exporter_core.conformance.verdicts import Verdict

PATIENCE = 2.0
"""Seconds: a mutant that hangs is given up then; what does not hang ends long before."""

FEW_SCHEDULES = 2
"""Seeds of the scheduled clauses for mutants that are wrong in plain order too."""

AT_ONCE = 8
_BOUND = 100.0  # seconds for one mutant


def main() -> None:
    waiting = sys.argv[1:]
    clauses()
    gc.freeze()  # what is imported need not be looked through by the collections of every clause
    running: dict[int, tuple[int, float, str]] = {}
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            target = waiting.pop(0)
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                _check(target, writing)
            os.close(writing)
            running[reading] = child, monotonic(), target
        for reading in select.select(list(running), [], [], 1.0)[0]:
            data = os.read(reading, 1 << 20)
            os.write(1, data)
            if not data:
                os.waitpid(running.pop(reading)[0], 0)
                os.close(reading)
        for child, began, _ in running.values():
            if monotonic() > began + _BOUND:
                os.kill(child, signal.SIGKILL)


def _check(target: str, writing: int) -> None:
    """Run every clause in this child, and end it."""
    subject = resolve(target)
    prepare()
    schedules = SCHEDULES if target.startswith(racing.__name__) else FEW_SCHEDULES
    settings = Settings(patience=PATIENCE, canaries=False, schedules=schedules)
    failed: dict[str, Verdict] = {}
    for clause in clauses():
        run = run_clause(clause, subject, "raw", settings, failed)
        if run.verdict is not Verdict.PASS:
            failed[clause.id] = run.verdict
        result = {"target": target, "clause": clause.id, "verdict": run.verdict, "seen": run.seen}
        os.write(writing, json.dumps(result).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
