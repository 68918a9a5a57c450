"""The reference exporters keep every clause, raw and guarded, and every canary dies."""

import jsonschema
import pytest

from exporter_core.conformance.clause import clauses
from exporter_core.conformance.engine import check
from exporter_core.conformance.mutants import MUTANTS
from exporter_core.conformance.report import as_json, json_schema
from exporter_core.conformance.running import Settings
from exporter_core.conformance.verdicts import Verdict

EXPORTERS = ("ReferenceExporter", "BufferingExporter", "AsyncExporter")
NOT_REGISTERED = {"INT-02"}
HOLDS_NOTHING = {"FLU-04"}
ON_A_LOOP = {(one.id, mode) for one in clauses() if one.technique == "P" for mode in ("raw", "guarded")} - {
    ("KND-04", "raw")  # temporality and aggregation are plain functions
}

FEW = Settings(schedules=8)
"""Fewer interleavings than by default; the false-alarm run makes them all."""


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_reference_exporter_keeps_every_clause(exporter: str) -> None:
    report = check(f"exporter_core.conformance.reference:{exporter}", settings=FEW)
    jsonschema.Draft202012Validator(json_schema()).validate(as_json(report))
    unseen = ON_A_LOOP if exporter == "AsyncExporter" else set()
    assert {key for key, run in report.runs.items() if run.verdict is Verdict.UNOBSERVABLE} == unseen
    other = {
        (clause, mode): (run.verdict, run.seen)
        for (clause, mode), run in report.runs.items()
        if run.verdict is not Verdict.PASS and (clause, mode) not in unseen
    }
    absent = NOT_REGISTERED if exporter == "BufferingExporter" else NOT_REGISTERED | HOLDS_NOTHING
    assert {clause for clause, _ in other} == absent, other
    assert {verdict for verdict, _ in other.values()} == {Verdict.NOT_APPLICABLE}


def test_every_pass_rests_on_a_canary_that_died_or_is_static_by_design() -> None:
    report = check("exporter_core.conformance.reference:ReferenceExporter", modes=["raw"], settings=FEW)
    canaries = {clause: run.canary for (clause, _), run in report.runs.items() if run.verdict is Verdict.PASS}
    assert {clause for clause, canary in canaries.items() if canary == "static"} == {"INT-01"}
    assert {canary for clause, canary in canaries.items() if clause != "INT-01"} == {"died"}


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_canary_dies_for_the_reason_that_its_clause_kills_mutants_for(exporter: str) -> None:
    report = check(f"exporter_core.conformance.reference:{exporter}", modes=["raw"], settings=FEW)
    words = {clause.id: [mutant.seen for mutant in MUTANTS if mutant.clause == clause.id] for clause in clauses()}
    words["FLU-01"].append("lost")  # of an exporter that holds nothing
    words["CON-01"].append("lost")  # it has no mutant: the contract does not ask for it
    wrong = {
        clause: run.canary_seen
        for (clause, _), run in report.runs.items()
        if run.canary == "died" and not any(seen in run.canary_seen for seen in words[clause])
    }
    assert not wrong


def test_every_pass_has_evidence_and_every_call_is_in_its_timeline() -> None:
    report = check("exporter_core.conformance.reference:ReferenceExporter", modes=["raw"], patterns=["EXP-*"])
    for run in report.runs.values():
        assert run.observations
        assert {"call", "return"} <= {event["kind"] for event in run.timeline}


def test_every_clause_says_what_it_is() -> None:
    for clause in clauses():
        assert clause.promise
        assert clause.words
        assert clause.check
        assert clause.function.__doc__, clause.id
        assert clause.canary is None or clause.canary.__doc__, clause.id
