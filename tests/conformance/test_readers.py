"""The promises of readers: this package's keeps them, what the SDK's does is said, and each clause can fail."""

import json
import re
from pathlib import Path
from threading import Event

import jsonschema
import pytest

from exporter_core.cli import main
from exporter_core.conformance import check_readers
from exporter_core.conformance.clause import Clause
from exporter_core.conformance.readers import reader_clauses, rig, run_reader_clause
from exporter_core.conformance.report import as_json, as_junit, as_text, conclude, json_schema
from exporter_core.conformance.report.html import as_html
from exporter_core.conformance.run.verdicts import Report, Settings, Verdict

# What the SDK's reader does, as far as it is not what a reader promises; regular expressions.
SEEN = {
    "RDR-01": "0 reports",
    "RDR-02": "there was none",
    "RDR-03": "it returned True",
    "RDR-05": "force_flush had not ended 2 s later while the exporter was held up",
    "RDR-08": "it returned",
    "RDR-09": "it was given 30 s",
    "RDR-11": "it exported; it returned bool",
    "RDR-12": "3 exports failed, and 0 failures were told",
    "RDR-14": "a second one began while the first was held up",
    "RDR-15": r"\d+ ms is the shortest of \d+ pauses|a machine that was \d+ ms late itself",
    "RDR-17": "(force_flush|the child) had not ended 2 s later",
}


@pytest.fixture(scope="module")
def report() -> Report:
    return check_readers(settings=Settings(patience=2))


def test_this_packages_reader_keeps_every_promise_and_every_canary_dies() -> None:
    for clause in reader_clauses():
        run = run_reader_clause(clause, "exporter_core", Settings())
        if clause.id == "RDR-15" and run.verdict is Verdict.INCONCLUSIVE:
            continue  # on a machine too busy to tell
        assert (run.verdict, run.canary) == (Verdict.PASS, "died"), (clause.id, run)
        assert run.observations


def test_what_the_sdks_reader_does_is_said(report: Report) -> None:
    failed = {
        clause: run.seen for (clause, name), run in report.runs.items() if name == "sdk" and run.verdict != "PASS"
    }
    assert failed.keys() == SEEN.keys()
    for clause, seen in failed.items():
        assert re.fullmatch(SEEN[clause], seen), (clause, seen)
    assert conclude(report, "sdk").exit_code == 1


@pytest.mark.parametrize("clause", reader_clauses(), ids=lambda clause: clause.id)
def test_a_clause_about_readers_says_what_it_is(clause: Clause) -> None:
    assert clause.promise
    assert clause.words
    assert clause.check
    assert clause.how
    assert clause.fault


def test_the_report_has_the_form_of_every_other(report: Report) -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(as_json(report))
    assert "RDR-03  MUST" in as_text(report)
    assert "RDR-03" in as_junit(report)
    assert "PeriodicExportingMetricReader" in as_html(report)
    (one,) = [clause for clause in as_json(report)["clauses"] if clause["id"] == "RDR-03"]
    assert one["results"]["sdk"]["reproduce"] == "exporter-core check --readers --clause RDR-03"


def test_the_command_checks_readers_and_tells_of_their_clauses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "readers.json"
    assert main(["check", "--readers", "--clause", "RDR-06", "--json", "-o", str(file)]) == 3
    assert json.loads(file.read_text())["modes"] == ["exporter_core", "sdk"]
    assert main(["check", "--readers", "--list"]) == 0
    assert main(["check", "--explain", "rdr-03"]) == 0
    out = capsys.readouterr().out
    assert "RDR-11  MUST" in out
    assert "Returns True from every flush." in out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["console"], "--readers takes no exporter, --config, --harness, --sink, --raw or --guarded"),
        (["--raw"], "--readers takes no exporter, --config, --harness, --sink, --raw or --guarded"),
        (["--clause", "SHD-*"], "no clause matches SHD-*; exporter-core check --readers --list shows them all"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--readers", *arguments]) == 2
    assert capsys.readouterr().err == f"error: {line}\n"


def test_a_reader_that_is_late_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(self: object, seconds: float) -> bool:
        Event().wait(seconds + 0.8)
        return False

    monkeypatch.setattr(rig._Ours, "flush", late)
    (clause,) = [one for one in reader_clauses() if one.id == "RDR-05"]
    run = run_reader_clause(clause, "exporter_core", Settings())
    assert run.verdict is not Verdict.PASS  # on a machine that is as late itself nothing can be said
    assert "it ended" in run.seen
