"""What the tests of the checker share."""

import subprocess
import sys
from pathlib import Path

import pytest

from exporter_core.conformance.run.messages import decode
from exporter_core.conformance.run.verdicts import Run

PROGRAM = Path(__file__).with_name("in_children.py")


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
