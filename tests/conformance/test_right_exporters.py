"""Exporters that keep the contract in another way than the reference exporters do are not failed."""

import pytest

from exporter_core.conformance.clause import select
from exporter_core.conformance.reference import BufferingHarness, ReferenceExporter
from exporter_core.conformance.running import Run, Settings, run_clause
from exporter_core.conformance.subject import resolve
from exporter_core.conformance.verdicts import Verdict


class DeliversEarly(ReferenceExporter):
    """May hold data, and has delivered it before anybody asks for it."""

    conformance_harness = BufferingHarness


class FlushReturns(DeliversEarly):
    """Delivers nothing, and says in a flush that it has."""

    def export(self, context, metrics) -> None:
        pass


def _run(exporter: type[ReferenceExporter], clause: str) -> Run:
    (found,) = select([clause])
    subject = resolve(f"{__name__}:{exporter.__name__}")
    return run_clause(found, subject, "raw", Settings(patience=5), {})


@pytest.mark.parametrize("clause", ["FLU-01", "FLU-04"])
def test_what_is_delivered_before_a_flush_is_no_failure_of_the_flush(clause: str) -> None:
    run = _run(DeliversEarly, clause)
    assert (run.verdict, run.canary) == (Verdict.PASS, "died"), run.seen


@pytest.mark.parametrize("clause", ["FLU-01", "FLU-04"])
def test_what_is_never_delivered_is_one(clause: str) -> None:
    run = _run(FlushReturns, clause)
    assert run.verdict is Verdict.FAIL
    assert run.seen.startswith("it returned")
