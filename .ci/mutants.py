"""Run every clause on the project's own wrong exporters, print the kill rate, and list those that survive.

The wrong exporter of INT-02 is a registration, not a class: it has a check of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
KIT = ROOT / "tests" / "conformance"
RESULTS = ROOT / "docs" / "mutants.json"


def registered_late() -> set[str]:
    """The clauses that fail for an exporter that is registered under a version of the contract that does not exist."""
    from exporter_core.conformance.run.engine import check  # noqa: PLC0415 - as in main
    from exporter_core.conformance.run.verdicts import Settings, Verdict  # noqa: PLC0415 - as in main

    with tempfile.TemporaryDirectory() as folder:
        metadata = Path(folder) / "late-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
        registration = "[exporter_core.exporters.v99]\nlate = kit.reference:ReferenceExporter\n"
        (metadata / "entry_points.txt").write_text(registration)
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, str(KIT)])
        try:
            report = check(
                "late", modes=["raw"], settings=Settings(patience=2, canaries=False, schedules=2, points=521)
            )
        finally:
            del os.environ["PYTHONPATH"]
    return {run.id for run in report.runs.values() if run.verdict is Verdict.FAIL}


def main() -> None:
    """Print the rate, and write it."""
    sys.path.insert(0, str(KIT))
    from exporter_core.conformance.clause import clauses  # noqa: PLC0415 - once the path is there
    from exporter_core.conformance.run.messages import decode  # noqa: PLC0415 - as above
    from exporter_core.conformance.run.verdicts import Run, Verdict  # noqa: PLC0415 - as above
    from kit.mutants import MUTANTS  # noqa: PLC0415 - as above

    targets = {mutant.target: mutant.clause for mutant in MUTANTS}
    killers: dict[str, set[str]] = {target: set() for target in targets}
    targets["late"], killers["late"] = "INT-02", registered_late()
    command = [sys.executable, str(KIT / "in_children.py"), "mutants", *(mutant.target for mutant in MUTANTS)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)  # whose threads die of their faults
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])} failed:\n{done.stderr}")
    said = done.stdout
    for line in said.splitlines():
        target, _, message = line.partition(" ")
        run = decode(message)
        if isinstance(run, Run) and run.verdict is Verdict.FAIL:
            killers[target].add(run.id)
    survivors = [target for target, clause in targets.items() if clause not in killers[target]]
    lonely = [clause for target, clause in targets.items() if killers[target] == {clause}]
    judging = {clause.id for clause in clauses() if clause.level != "INFO"}  # the others never fail an exporter
    without = sorted(judging.difference(lonely))
    killed, alone = len(targets) - len(survivors), len(lonely)
    print(f"{killed} of {len(targets)} mutants killed by their clause ({100 * killed / len(targets):.1f} %)")
    print(f"{alone} of them by that clause alone")
    print(f"clauses without a mutant that they alone kill: {', '.join(without) or 'none'}")
    for target, clause in targets.items():
        if beside := sorted(killers[target] - {clause}):
            print(f"killed by others too: {target} ({clause}; {', '.join(beside)})")
    for target in survivors:
        print(f"survives: {target} ({targets[target]})")
    found = {"mutants": len(targets), "killed": killed, "alone": alone, "without": without, "survivors": survivors}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
