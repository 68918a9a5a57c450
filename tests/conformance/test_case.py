"""What a run of a clause gives to the clause's function."""

from pathlib import Path

from exporter_core.conformance.case import Case
from exporter_core.conformance.clause import select
from exporter_core.conformance.run.verdicts import Settings
from exporter_core.conformance.subject import resolve
from exporter_core.context import Context


def test_what_is_to_happen_before_a_deadline_is_done_again_if_it_came_too_late(tmp_path: Path) -> None:
    (clause,) = select(["EXP-12"])
    subject = resolve("kit.reference:ReferenceExporter")
    case = Case(clause, subject, "raw", Settings(patience=30, schedules=1), tmp_path, canary=False)
    deadlines: list[Context] = []

    def act() -> None:
        deadlines.append(case._contexts[-1])
        if len(deadlines) == 1:
            assert deadlines[0].wait(60)

    case.shut()
    _, call = case.blocked_at_gate(act)
    case.ends(call, "export ends")
    case.close()
    assert len(deadlines) == 2
    assert deadlines[0] is not deadlines[1]


def test_patience_with_a_call_begins_at_a_deadline_that_is_meant_to_pass(tmp_path: Path) -> None:
    (clause,) = select(["EXP-08"])
    subject = resolve("kit.reference:ReferenceExporter")
    case = Case(clause, subject, "raw", Settings(patience=0.2, schedules=1), tmp_path, canary=False)
    case.shut()
    call = case.send(case.exporter(), case.batch(), case.short_context(0.5))
    case.ends(call, "export ends")
    assert call.error is not None
    case.close()
