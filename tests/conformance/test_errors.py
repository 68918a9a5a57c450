"""What the report says of an exporter's errors: secrets masked, whatever the error is."""

import os
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality

from exporter_core.conformance.clause import select
from exporter_core.conformance.run.engine import check
from exporter_core.conformance.run.run_clause import run_clause
from exporter_core.conformance.run.verdicts import Run, Settings, Verdict
from exporter_core.conformance.subject import Mode, resolve
from exporter_core.contract import InstrumentKind
from exporter_core.errors import ExporterShutdownError
from kit.memory import MemoryHarness
from kit.reference import ReferenceExporter

TOLD = "s3cr3t  with two spaces"


class Harness(MemoryHarness):
    secret = None

    def config(self):
        return {**super().config(), "token": TOLD}


class Tells(ReferenceExporter):
    """Has its secret where a message that is cut off would end."""

    conformance_harness = Harness
    before = ""

    def export(self, context, metrics) -> None:
        raise RuntimeError(self.before + self.config.token.get_secret_value())


class TellsAtThe200th(Tells):
    before = "x" * 190


class TellsAtTheEnd(Tells):
    before = "x" * 990


class TellsFarOut(Tells):
    before = "x" * 16380


class AnswersForCounters(ReferenceExporter):
    def temporality(self, instrument_kind):
        return {InstrumentKind.COUNTER: AggregationTemporality.DELTA}[instrument_kind]


class AnswersNothing(ReferenceExporter):
    def temporality(self, instrument_kind):
        return None


class AnswersUntilShutdown(ReferenceExporter):
    def aggregation(self, instrument_kind):
        if self._is_shut_down:
            raise ExporterShutdownError("it is shut down")
        return super().aggregation(instrument_kind)


class AnswersOnce(ReferenceExporter):
    asked = False

    def aggregation(self, instrument_kind):
        if self.asked:
            raise RuntimeError("asked before")
        self.asked = True
        return super().aggregation(instrument_kind)


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class RaisesTheUnspeakable(ReferenceExporter):
    def export(self, context, metrics) -> None:
        raise UnspeakableError


class CannotBeBuiltAgain(ReferenceExporter):
    def __init__(self, config) -> None:
        try:
            Path(os.environ["BUILT"]).touch(exist_ok=False)
        except FileExistsError:
            raise UnspeakableError from None
        super().__init__(config)


def _run(exporter: type[ReferenceExporter], clause: str, mode: Mode = "raw") -> Run:
    (found,) = select([clause])
    subject = resolve(f"{__name__}:{exporter.__name__}")
    return run_clause(found, subject, mode, Settings(patience=5), {})


@pytest.mark.parametrize("exporter", [Tells, TellsAtThe200th, TellsAtTheEnd, TellsFarOut])
def test_a_secret_is_masked_before_anything_is_cut_off(exporter: type[ReferenceExporter]) -> None:
    run = _run(exporter, "EXP-01")
    assert run.verdict is Verdict.FAIL
    assert run.seen.startswith("it raised RuntimeError: ")
    assert "s3c" not in str(run)
    assert len(run.seen) < 1100


def test_an_error_without_words_fails_the_clause_all_the_same() -> None:
    run = _run(RaisesTheUnspeakable, "EXP-01")
    assert run.verdict is Verdict.FAIL
    assert run.seen == "it raised UnspeakableError: (its message cannot be shown)"


def test_an_error_without_words_in_the_constructor_ends_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("BUILT", str(tmp_path / "built"))
    report = check(f"{Path(__file__).stem}:CannotBeBuiltAgain", patterns=["EXP-04"], modes=["raw"])
    run = report.run("EXP-04", "raw")
    assert run.verdict is Verdict.INCONCLUSIVE
    assert run.seen == "the exporter cannot be built: UnspeakableError: (its message cannot be shown)"


@pytest.mark.parametrize(
    ("exporter", "clause", "mode", "expected"),
    [
        (AnswersForCounters, "KND-01", "raw", "an answer of temporality(up_down_counter)"),
        (AnswersForCounters, "KND-01", "guarded", "an answer of temporality(up_down_counter)"),
        (AnswersNothing, "KND-01", "guarded", "temporality(counter) is CUMULATIVE or DELTA"),
        (AnswersUntilShutdown, "KND-02", "raw", "an answer of temporality and aggregation after shutdown"),
        (AnswersOnce, "KND-03", "raw", "an answer of aggregation(counter) once more"),
    ],
)
def test_an_error_or_nothing_instead_of_an_answer_fails_the_clause(
    exporter: type[ReferenceExporter], clause: str, mode: Mode, expected: str
) -> None:
    run = _run(exporter, clause, mode)
    assert (run.verdict, run.expected) == (Verdict.FAIL, expected)
    assert run.seen.startswith("it is None" if exporter is AnswersNothing else "it raised ")


def test_the_guard_answers_after_a_shutdown_for_an_exporter_that_does_not() -> None:
    assert _run(AnswersUntilShutdown, "KND-02", "guarded").verdict is Verdict.PASS
