"""``conformance_suite`` in a project of its own: an item a clause, one check a run, failures that can be read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from exporter_core.conformance import conformance_suite

EXPORTER = """
    import os
    from kit.mutants.shutdown import SecondShutdownReturns
    from kit.memory import MemoryHarness

    class CountedHarness(MemoryHarness):
        def setup(self, directory, stamp):
            super().setup(directory, stamp)
            with open("workers", "a") as file:
                file.write(f"{os.getpid()}\\n")

    class Mine(SecondShutdownReturns):
        conformance_harness = CountedHarness
"""
SUITE = """
    from exporter_core.conformance import conformance_suite

    CLAUSES = ["SHD-0[567]"]
    ACCEPTED = {"SHD-07": ("FAIL", "it is forgiving"), "SHD-05": ("UNOBSERVABLE", "nobody looked")}

    class TestMine(conformance_suite("mine_exporter:Mine", clauses=CLAUSES, points=21)):
        def test_more(self, report):
            assert report.target == "mine_exporter:Mine"

    TestAccepted = conformance_suite("mine_exporter:Mine", clauses=CLAUSES, points=21, accepted=ACCEPTED)
"""


@pytest.fixture
def run_suite(tmp_path: Path):
    """Runs pytest on the suite of an exporter whose second shutdown returns; its exit code and what it said."""

    def run(*arguments: str, folder: str = ".") -> tuple[int, str]:
        project = tmp_path / folder
        project.mkdir(exist_ok=True)
        (project / "mine_exporter.py").write_text(textwrap.dedent(EXPORTER))
        (project / "test_mine.py").write_text(textwrap.dedent(SUITE))
        (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -W error\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "no:cacheprovider",
                "-q",
                "-rA",
                *arguments,
                f"{folder}/test_mine.py",
            ],
            cwd=tmp_path,
            env={
                **kept,
                "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parent}",
                "COLUMNS": "100",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def outcomes(said: str) -> dict[str, str]:
    found = re.findall(r"^(PASSED|FAILED|ERROR) test_mine.py::(\S+)", said, re.MULTILINE)
    return {name: outcome for outcome, name in found}


def test_each_clause_is_an_item_that_says_what_was_seen_unless_that_is_accepted(run_suite, tmp_path: Path) -> None:
    code, said = run_suite()
    assert code == 1
    assert outcomes(said) == {
        "TestMine::test_clause[SHD-05-raw]": "PASSED",
        "TestMine::test_clause[SHD-06-raw]": "PASSED",
        "TestMine::test_clause[SHD-07-raw]": "FAILED",
        "TestMine::test_more": "PASSED",
        "TestAccepted::test_clause[SHD-05-raw]": "FAILED",  # it passes, so that the list is not true
        "TestAccepted::test_clause[SHD-06-raw]": "PASSED",
        "TestAccepted::test_clause[SHD-07-raw]": "PASSED",
    }
    assert "FAIL SHD-07 raw [MUST] a second shutdown raises the shutdown error" in said
    assert "  look at    raise ExporterShutdownError in every shutdown but the first" in said
    assert "  reproduce  exporter-core check mine_exporter:Mine --clause SHD-07 --raw --seed 1" in said
    assert "PASS SHD-05 raw [MUST]" in said
    assert "  accepted   UNOBSERVABLE: nobody looked" in said
    assert "Traceback" not in said
    # One check for both: twice as many would be two. How many workers share it depends on how busy the machine is.
    assert len((tmp_path / "workers").read_text().split()) == 7


def test_an_exporter_beside_its_test_is_imported_from_wherever_pytest_was_started(run_suite) -> None:
    _, said = run_suite("-k", "TestAccepted and SHD-07", folder="project")
    assert "1 passed" in said


@pytest.mark.nightly
def test_processes_of_xdist_share_one_check(run_suite, tmp_path: Path) -> None:
    code, said = run_suite("-p", "xdist", "-n", "2", "--dist", "each")  # every process runs every item
    assert code == 1
    assert len(re.findall(r"FAILED test_mine.py::TestMine::test_clause", said)) == 2
    alone = tmp_path / "workers"
    assert len(set(alone.read_text().split())) == 1  # one worker of the checker's, of one check


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accepted": {"EXP-99": ("PASS", "")}}, "accepted: no clause matches 'EXP-99'"),
        ({"accepted": {"EXP-01": ("MAYBE", "")}}, "'MAYBE' is not a valid Verdict"),
        ({"clauses": ["NOPE"]}, "no clause matches NOPE"),
    ],
)
def test_a_suite_that_cannot_be_meant_is_an_error_when_it_is_collected(options, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        conformance_suite("sqlite", **options)
