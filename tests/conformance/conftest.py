"""What the tests of the checker share."""

import subprocess
import sys
from pathlib import Path

import pytest

from exporter_core.conformance.run import verdicts
from exporter_core.conformance.run.messages import decode
from exporter_core.conformance.run.verdicts import Run

FEW_POINTS = 2_003
"""Points of the largest batch, where a test is not about that."""
PROGRAM = Path(__file__).with_name("in_children.py")


@pytest.fixture(scope="package", autouse=True)
def few_points():
    """Every check has smaller batches than a user's, so that many can be made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "POINTS", FEW_POINTS)
        yield


@pytest.fixture(scope="session")
def in_children():
    """Runs every clause, raw, on each of the subjects; their runs by target and clause. See the program."""

    def run(what: str, *targets: str) -> dict[str, dict[str, Run]]:
        command = [sys.executable, str(PROGRAM), what, *targets]
        found: dict[str, dict[str, Run]] = {}
        for line in subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines():
            target, _, message = line.partition(" ")
            result = decode(message)
            assert isinstance(result, Run)
            found.setdefault(target, {})[result.id] = result
        return found

    return run
