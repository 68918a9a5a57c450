"""What a run of a clause gives to the clause's function."""

from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

from exporter_core.conformance.case import Case
from exporter_core.conformance.clause import select
from exporter_core.conformance.run.verdicts import Failed, Settings
from exporter_core.conformance.subject import resolve
from exporter_core.context import Context
from kit.memory import MemoryHarness


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


def test_what_other_batches_of_a_run_had_is_not_told_beside_what_is_lost(tmp_path: Path) -> None:
    (clause,) = select(["EXP-01"])
    case = Case(clause, resolve("kit.reference:ReferenceExporter"), "raw", Settings(), tmp_path, canary=False)
    exporter, lost = case.exporter(), case.batch(1)
    case.accepted(exporter, case.batch())
    with pytest.raises(Failed, match=rf"^1 lost \({lost.tokens[0]}\)$") as caught:
        case.delivered(lost, expected="every point arrives")
    assert caught.value.expected == "every point arrives"
    case.close()


class Attributed(ConsoleMetricExporter):
    """An exporter of the SDK with a harness of its own."""

    conformance_harness = MemoryHarness


def test_the_harness_of_an_exporter_of_the_sdk_is_an_attribute_of_its_class_as_well() -> None:
    subject = resolve(f"{__name__}:Attributed")
    assert subject.of_the_sdk
    assert subject.harness is MemoryHarness


def test_the_exporters_of_a_run_share_what_their_class_has(tmp_path: Path) -> None:
    (clause,) = select(["EXP-20"])
    case = Case(clause, resolve("kit.reference:ReferenceExporter"), "raw", Settings(), tmp_path, canary=False)
    first, second = (getattr(case.exporter(), "exporter", None) for _ in range(2))
    assert first is not second
    assert type(first) is type(second)
    case.close()
