"""No PASS without a canary that died: a fault that does nothing makes the verdict UNOBSERVABLE."""

import pytest

from exporter_core.conformance.clause import clauses

REFERENCE = "kit.reference:ReferenceExporter"
BUFFERING = "kit.reference:BufferingExporter"
NEEDS_HELD_DATA = {"FLU-04"}


@pytest.mark.nightly
def test_a_canary_whose_fault_has_no_body_makes_its_clause_unobservable(in_children) -> None:
    found = in_children("harmless", REFERENCE, BUFFERING)
    for clause in clauses():
        run = found[BUFFERING if clause.id in NEEDS_HELD_DATA else REFERENCE][clause.id]
        if clause.canary is not None:
            assert (run.verdict, run.canary) == ("UNOBSERVABLE", "survived"), (clause.id, run.seen)
            assert "the canary survived: with its fault (Changes nothing.)" in run.seen
