"""The reference exporters keep every clause, raw and guarded, on a busy machine too, and every canary dies."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from exporter_core.conformance.clause import clauses
from exporter_core.conformance.report import as_json, conclude, json_schema
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.verdicts import Settings
from exporter_core.conformance.subject import Mode
from kit.false_alarms import EXPORTERS, main
from kit.mutants import MUTANTS

RUNS, SCHEDULES = 5, 2
TARGETS = [f"kit.reference:{exporter}" for exporter in EXPORTERS]
NOT_APPLICABLE = {
    "INT-02": "a class that no entry point registers",
    "FLU-04": "it holds nothing, so that no flush delivers anything",
}


TWO, REST = TARGETS[:2], TARGETS[2:]
"""Checked by make test, one that holds data among them, and by make nightly."""

each_target = pytest.mark.parametrize("target", [*TWO, *(pytest.param(one, marks=pytest.mark.nightly) for one in REST)])


@pytest.fixture(scope="module")
def runs_of(in_children):
    @cache
    def of(*targets: str):
        return in_children("canaries", *targets)

    return lambda target: of(*(TWO if target in TWO else REST))[target]


@pytest.mark.nightly
@pytest.mark.timeout(600)  # it keeps every core busy itself, beside whatever else does
def test_the_reference_exporters_give_no_false_alarm_run_after_run_nor_on_a_busy_machine() -> None:
    command = [sys.executable, "-m", "kit.false_alarms", str(RUNS), str(SCHEDULES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for exporter in EXPORTERS:
        for mode in ("raw", "guarded"):
            assert re.search(rf"^{exporter} +{mode} +3 +0 +2 +0$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith(f"no false alarms of {len(clauses())} clauses\n")


@pytest.mark.parametrize("wanted", ["0", "-1", "many"])
def test_a_wrong_number_of_runs_is_one_line(
    wanted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["false_alarms", wanted])
    assert main() == 2
    assert capsys.readouterr() == (
        "",
        f"error: expected a number of runs, and perhaps one of schedules, not {wanted!r}\n",
    )


@each_target
def test_what_does_not_apply_to_a_reference_exporter_is_told_and_everything_else_passes(runs_of, target: str) -> None:
    other = {clause: (run.verdict, run.seen) for clause, run in runs_of(target).items() if run.verdict != "PASS"}
    absent = {"INT-02"} if target.endswith("BufferingExporter") else NOT_APPLICABLE.keys()
    assert other == {clause: ("NOT_APPLICABLE", NOT_APPLICABLE[clause]) for clause in absent}
    assert runs_of(target).keys() == {clause.id for clause in clauses()}


@each_target
def test_every_pass_rests_on_a_canary_that_died_or_is_static_by_design(runs_of, target: str) -> None:
    canaries = {clause: run.canary for clause, run in runs_of(target).items() if run.verdict == "PASS"}
    assert {clause for clause, canary in canaries.items() if canary == "static"} == {"INT-01"}
    assert {canary for clause, canary in canaries.items() if clause != "INT-01"} == {"died"}


@each_target
def test_a_canary_dies_for_the_reason_that_its_clause_kills_mutants_for(runs_of, target: str) -> None:
    words = {clause.id: [mutant.seen for mutant in MUTANTS if mutant.clause == clause.id] for clause in clauses()}
    words["FLU-01"].append("lost")  # of an exporter that holds nothing
    words["CON-01"].append("lost")  # it has no mutant: the contract does not ask for it
    wrong = {
        clause: run.canary_seen
        for clause, run in runs_of(target).items()
        if run.canary == "died" and not any(seen in run.canary_seen for seen in words[clause])
    }
    assert not wrong


@pytest.mark.parametrize("mode", [pytest.param("raw", marks=pytest.mark.nightly), "guarded"])
def test_a_whole_report_fits_its_schema_and_says_conformant(mode: Mode) -> None:
    report = check(TARGETS[0], modes=[mode], settings=Settings(schedules=SCHEDULES))
    jsonschema.Draft202012Validator(json_schema()).validate(as_json(report))
    assert conclude(report, mode).exit_code == 0


def test_every_pass_has_evidence_and_every_call_of_an_export_is_in_its_timeline(runs_of) -> None:
    for clause, run in runs_of(TARGETS[0]).items():
        assert bool(run.observations) == (run.verdict == "PASS"), clause
        if clause.startswith("EXP"):
            assert {"call", "return"} <= {event["kind"] for event in run.timeline}, clause
