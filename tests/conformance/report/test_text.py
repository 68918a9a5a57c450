"""The text report: failing first, 80 columns, colour if asked for, and nothing that a terminal would act on."""

from __future__ import annotations

import re

import pytest

from exporter_core.conformance.clause import TECHNIQUES, in_order, select
from exporter_core.conformance.report import as_text
from exporter_core.conformance.report.text import explained, listed
from exporter_core.conformance.run.verdicts import Report

SGR = re.compile(r"\x1b\[[0-9;]*m")


def too_long(text: str, width: int) -> list[str]:
    """The lines that are too long, but for commands and stacks, which are to be copied."""
    lines = SGR.sub("", text).splitlines()
    return [line for line in lines if len(line) > width and not line.startswith(("  reproduce", "    "))]


@pytest.mark.parametrize("width", [70, 80, 110])
def test_no_line_is_longer_than_the_width(report: Report, width: int) -> None:
    assert too_long(as_text(report, width=width, colour=True), width) == []
    assert too_long(listed(in_order(select()), width=width), width) == []
    for one in select():
        assert too_long(explained(one, TECHNIQUES[one.technique], width=width), width) == []


def test_failures_come_first_then_what_broke_then_what_came_to_nothing_then_the_matrix(report: Report) -> None:
    text = as_text(report)
    places = [
        text.index(f"\n{head}")
        for head in ("FAIL EXP-01 raw", "FAIL PY-01 raw", "KIT_ERROR SHD-05 raw", "INCONCLUSIVE SHD-04 raw", "Export")
    ]
    assert places == sorted(places)


def test_the_matrix_has_every_clause_and_shows_each_verdict_raw_beside_guarded(report: Report) -> None:
    matrix = as_text(report).rpartition("\n\n  ")[0] + as_text(report)
    rows = re.findall(r"^  ([A-Z]+-\d\d) +\S+ +(n/a|not run|[a-zA-Z_]+) +([A-Z]+)", matrix, re.MULTILINE)
    found = {clause: (raw, guarded) for clause, raw, guarded in rows}
    assert set(found) == {one.id for one in report.clauses}
    assert found["EXP-01"] == ("FAIL", "PASS")
    assert found["EXP-08"] == ("n/a", "PASS")
    assert found["EXP-10"] == ("inexpressible", "PASS")
    assert found["SHD-07"] == ("not run", "PASS")


def test_a_terminal_gets_no_control_character_from_an_exporter(report: Report) -> None:
    assert not [line for line in as_text(report).splitlines() if not line.isprintable()]
    assert "\\x1b[31mred" in as_text(report)


def test_colour_changes_nothing_but_the_look(report: Report) -> None:
    coloured = as_text(report, colour=True)
    assert "\x1b[1;31mFAIL\x1b[0m" in coloured
    assert SGR.sub("", coloured) == as_text(report)


def test_an_exporter_without_a_harness_is_told_so(report: Report) -> None:
    report.tier = "none"
    assert "There is no harness" in as_text(report)


def test_the_timeline_shows_what_decided_and_not_what_came_after_the_verdict(report: Report) -> None:
    events = [
        ("call", "build"),
        ("return", "build returned"),
        ("gate", "shut"),
        ("note", "a deadline of 0.03 s"),
        ("call", "export"),
        ("wire", "connection 1 opened"),
        ("wire", "request 1: POST /"),
        ("note", "export still runs"),
        ("verdict", "FAIL"),
        ("gate", "opened"),
        ("return", "export returned"),
    ]
    run = report.runs["EXP-01", "raw"]
    run.timeline = [{"seconds": at / 1000, "kind": kind, "text": text} for at, (kind, text) in enumerate(events)]
    text = as_text(report)
    shown = text[text.index("FAIL EXP-01 raw") : text.index("--clause EXP-01")]
    for kept in ("gate: shut", "note: a deadline of 0.03 s", "call: export", "wire: request 1", "export still runs"):
        assert kept in shown
    for left_out in ("build", "connection 1", "gate: opened", "export returned", "verdict"):
        assert left_out not in shown


def test_the_line_of_the_exporters_code_stands_beside_what_was_seen(report: Report) -> None:
    run = report.runs["EXP-01", "raw"]
    run.seen, run.where, run.traceback = "it raised X", "mine.py:3, in export", "Traceback\n  File mine.py\n"
    assert "seen       it raised X (mine.py:3, in export)" in as_text(report)
    assert "File mine.py" not in as_text(report)
    assert "File mine.py" in as_text(report, verbose=True)
