"""``exporter-core check`` on a terminal; what it says and its exit codes are in ``tests/conformance``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from exporter_core.cli.check_output import Progress
from exporter_core.conformance.run.verdicts import Run, Verdict

SGR = re.compile(r"\x1b\[[0-9;]*m")
REFERENCE = "kit.reference:ReferenceExporter"


@pytest.fixture(autouse=True)
def kit(surroundings, monkeypatch):
    """The exporters of the checker's own tests can be imported."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "conformance"))


def test_a_terminal_gets_a_bar_that_counts_and_goes_away_and_then_the_report_in_colour(on_terminal):
    done = on_terminal("check", REFERENCE, "--raw", "--clause", "KND-0[12]", columns=100)
    shown = SGR.sub("", done.out)
    assert done.code == 3, "incomplete: the other clauses are not selected"
    assert re.search(r"ReferenceExporter .* [012]/2 +0:00:\d\d", shown)
    report = done.out.rpartition("\x1b[2K")[2]  # what follows the last line that was erased
    assert "\x1b[32mPASS" in report
    assert "0:00:0" not in report


@pytest.mark.nightly
def test_nothing_of_it_is_left_where_nobody_watches(program):
    done = program("check", REFERENCE, "--raw", "--clause", "SHD-07")
    assert (done.code, done.err) == (3, "")
    assert "\x1b" not in done.out


def test_an_html_report_without_what_it_needs_is_one_line_before_anything_is_checked(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert cli("check", REFERENCE, "--format", "html") == (
        2,
        "",
        "error: an HTML report needs Jinja2: pip install 'exporter-core[conformance]'\n",
    )


def test_a_check_without_the_extra_says_what_to_install(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    assert cli("check", REFERENCE) == (
        2,
        "",
        "error: check needs hypothesis, of an extra: pip install 'exporter-core[conformance]'\n",
    )


def test_progress_counts_results_and_names_the_clause_at_work_in_each_mode():
    shown: list[tuple[int, str]] = []
    progress = Progress(lambda done, now: shown.append((done, now)))
    progress.begun("EXP-01", "raw")
    progress.begun("EXP-02", "guarded")
    progress.ended(Run("EXP-01", "raw", Verdict.PASS))
    assert shown == [(0, "raw EXP-01"), (0, "raw EXP-01  guarded EXP-02"), (1, "raw EXP-01  guarded EXP-02")]
