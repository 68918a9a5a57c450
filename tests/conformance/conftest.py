"""What the tests of the checker share."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("in_children.py")


@pytest.fixture(scope="session")
def in_children():
    """Runs every clause, raw, on each of the subjects; their runs by target and clause. See the program."""

    def run(what: str, *targets: str) -> dict[str, dict[str, dict[str, object]]]:
        told = subprocess.run([sys.executable, str(PROGRAM), what, *targets], stdout=subprocess.PIPE, check=True).stdout
        return {line["target"]: line["runs"] for line in map(json.loads, told.splitlines())}

    return run
