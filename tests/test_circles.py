"""The check that no modules import one another in a circle finds each kind of circle, and none in this project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / ".ci" / "circles.py"


def check(folder: Path, *packages: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM, *packages],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def package(folder: Path, **modules: str) -> None:
    (folder / "made").mkdir()
    for name, source in {"__init__": "", **modules}.items():
        (folder / "made" / f"{name}.py").write_text(source)


@pytest.mark.parametrize(
    "modules",
    [
        {"a": "from made import b", "b": "from made import a"},
        {"a": "def late():\n    from made.b import x", "b": "import made.c", "c": "from made.a import late"},
        {"__init__": "from made.a import x", "a": "from made import x"},
    ],
)
def test_a_circle_is_found_and_its_imports_are_shown(tmp_path, modules):
    package(tmp_path, **modules)
    done = check(tmp_path, "made")
    assert (done.returncode, done.stderr) == (1, "")
    assert "  made.a imports made" in done.stdout
    assert done.stdout.count(" imports ") == len(modules) + 1  # the headline says it too


def test_imports_for_type_checking_alone_make_no_circle(tmp_path):
    lazy = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made import a"
    package(tmp_path, a="from made import b", b=lazy, c="from made import a, b")
    assert check(tmp_path, "made").stdout == ""


def test_no_modules_of_this_project_import_one_another_in_a_circle():
    done = check(Path())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
