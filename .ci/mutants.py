"""Run every clause on the project's own wrong exporters, print the kill rate, and list those that survive."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
KIT = ROOT / "tests" / "conformance"
RESULTS = ROOT / "docs" / "mutants.json"


def main() -> None:
    """Print the rate, and write it."""
    sys.path.insert(0, str(KIT))
    from exporter_core.conformance.clause import clauses  # noqa: PLC0415 - once the path is there
    from exporter_core.conformance.run.messages import decode  # noqa: PLC0415 - as above
    from exporter_core.conformance.run.verdicts import Run, Verdict  # noqa: PLC0415 - as above
    from kit.mutants import MUTANTS  # noqa: PLC0415 - as above

    targets = {mutant.target: mutant.clause for mutant in MUTANTS}
    command = [sys.executable, str(KIT / "in_children.py"), "mutants", *targets]
    done = subprocess.run(command, capture_output=True, check=False, text=True)  # whose threads die of their faults
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])} failed:\n{done.stderr}")
    said = done.stdout
    killers: dict[str, set[str]] = {target: set() for target in targets}
    for line in said.splitlines():
        target, _, message = line.partition(" ")
        run = decode(message)
        if isinstance(run, Run) and run.verdict is Verdict.FAIL:
            killers[target].add(run.id)
    survivors = [target for target, clause in targets.items() if clause not in killers[target]]
    lonely = [clause for target, clause in targets.items() if killers[target] == {clause}]
    without = sorted({clause.id for clause in clauses()}.difference(lonely))
    killed, alone = len(targets) - len(survivors), len(lonely)
    print(f"{killed} of {len(targets)} mutants killed by their clause ({100 * killed / len(targets):.1f} %)")
    print(f"{alone} of them by that clause alone")
    print(f"clauses without a mutant that they alone kill: {', '.join(without) or 'none'}")
    for target in survivors:
        print(f"survives: {target} ({targets[target]})")
    found = {"mutants": len(targets), "killed": killed, "alone": alone, "without": without, "survivors": survivors}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
