"""No PASS without a canary that died: a fault that does nothing makes the verdict UNOBSERVABLE."""

import dataclasses

import pytest

from exporter_core.conformance.canaries import Canary
from exporter_core.conformance.clause import clauses
from exporter_core.conformance.running import Settings, run_clause
from exporter_core.conformance.subject import resolve
from exporter_core.conformance.verdicts import Verdict

WITH_CANARY = [one for one in clauses() if one.canary is not None and not one.id.startswith("PY-")]


class Harmless(Canary):
    """Changes nothing."""


@pytest.mark.parametrize("clause", WITH_CANARY, ids=lambda one: one.id)
def test_a_canary_whose_fault_has_no_body_makes_the_clause_unobservable(clause) -> None:
    name = "BufferingExporter" if clause.id == "FLU-04" else "ReferenceExporter"
    subject = resolve(f"exporter_core.conformance.reference:{name}")
    harmless = dataclasses.replace(clause, canary=Harmless)
    run = run_clause(harmless, subject, "raw", Settings(schedules=4), {})
    assert run.verdict is Verdict.UNOBSERVABLE, run.seen
    assert run.canary == "survived"
    assert "the canary survived" in run.seen
