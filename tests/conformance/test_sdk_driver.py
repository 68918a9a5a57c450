"""An exporter of the SDK by itself: nothing of ours answers for it, and it owes what the SDK's interface has."""

import logging

import pytest
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult

from exporter_core.conformance.clause import select
from exporter_core.conformance.run.run_clause import run_clause
from exporter_core.conformance.run.verdicts import Run, Settings, Verdict
from exporter_core.conformance.sdk import SPECIFICATION, WITHOUT_CHANNEL
from exporter_core.conformance.subject import resolve
from exporter_core.context import Context
from exporter_core.errors import PartialSuccessError
from kit.memory import MemoryHarness
from kit.reference import ReferenceConfig, ReferenceExporter

SECRET = "t0p-s3cret-of-the-options"  # noqa: S105 - it must not be in a log


class Harness(MemoryHarness):
    secret = None

    def config(self):
        return {**super().config(), "token": SECRET}


class Plain(MetricExporter):
    """Delivers, keeps its deadline, and refuses after its shutdown."""

    def __init__(self, sink: str, token: str = "") -> None:
        super().__init__()
        self.token = token
        self.inner = ReferenceExporter(ReferenceConfig(sink=sink, token=token))

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        try:
            self.inner.export(Context.with_timeout(timeout_millis / 1000), metrics_data)
        except Exception as error:  # noqa: BLE001 - whatever it is
            return self.failed(error)
        return MetricExportResult.SUCCESS

    def failed(self, error: Exception) -> MetricExportResult:
        return MetricExportResult.FAILURE

    def force_flush(self, timeout_millis=10_000) -> bool:
        return True

    def shutdown(self, timeout_millis=30_000, **kwargs) -> None:
        if not self.inner._is_shut_down:
            self.inner.shutdown(Context.with_timeout(timeout_millis / 1000))


class SaysSuccessAfterShutdown(Plain):
    def failed(self, error):
        return MetricExportResult.SUCCESS if self.inner._is_shut_down else MetricExportResult.FAILURE


class SendsAfterShutdown(Plain):
    def shutdown(self, timeout_millis=30_000, **kwargs):
        pass


class Raises(Plain):
    def failed(self, error):
        raise error


class Releases(Plain):
    """Releases twice when it is shut down twice."""

    def shutdown(self, timeout_millis=30_000, **kwargs):
        self.inner._disconnect()
        self.inner._connected = True


class LogsPartialSuccess(Plain):
    def failed(self, error):
        if isinstance(error, PartialSuccessError):
            logging.getLogger("some.exporter").warning("%s", error)
            return MetricExportResult.SUCCESS
        return MetricExportResult.FAILURE


class SaysNothingOfPartialSuccess(Plain):
    def failed(self, error):
        partial = isinstance(error, PartialSuccessError)
        return MetricExportResult.SUCCESS if partial else MetricExportResult.FAILURE


class LogsSecret(Plain):
    def failed(self, error):
        logging.getLogger("some.exporter").debug("refused with %s", self.token)
        return MetricExportResult.FAILURE


class AnswersNothing(Plain):
    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        super().export(metrics_data, timeout_millis)


class StaysOpen(Plain):
    def shutdown(self, timeout_millis=30_000, **kwargs):
        if timeout_millis > 1000:
            super().shutdown(timeout_millis)


def run(exporter: type[Plain], clause: str) -> Run:
    (found,) = select([clause])
    subject = resolve(f"{__name__}:{exporter.__name__}", harness=Harness)
    return run_clause(found, subject, "raw", Settings(patience=5, schedules=2, points=2_003), {})


@pytest.mark.parametrize("clause", sorted(WITHOUT_CHANNEL))
def test_what_the_interface_has_no_channel_for_is_not_judged(clause: str) -> None:
    verdict = run(Plain, clause)
    assert (verdict.verdict, verdict.seen) == WITHOUT_CHANNEL[clause]


@pytest.mark.parametrize("clause", ["EXP-01", "EXP-06", "EXP-14", "EXP-16", "HND-01", "SHD-02", "SHD-05", "SHD-06"])
def test_an_exporter_that_does_what_the_specification_asks_passes_with_evidence(clause: str) -> None:
    found = run(Plain, clause)
    assert (found.verdict, found.canary) == (Verdict.PASS, "died"), found.seen


def test_failure_and_an_exception_are_both_failures_after_shutdown_and_success_is_none() -> None:
    assert run(Plain, "SHD-06").observations == ["export returned a failure after shutdown, with time left"]
    assert run(Raises, "SHD-06").observations == ["export raised ExporterShutdownError after shutdown, with time left"]
    found = run(SaysSuccessAfterShutdown, "SHD-06")
    assert (found.verdict, found.seen) == (Verdict.FAIL, "it returned")
    assert found.expected == "export raises an error or returns a failure after shutdown, with time left"
    assert run(SaysSuccessAfterShutdown, "SHD-05").verdict is Verdict.PASS


def test_what_arrives_after_shutdown_is_seen_and_nothing_of_ours_stops_it() -> None:
    found = run(SendsAfterShutdown, "SHD-05")
    assert (found.verdict, found.seen) == (Verdict.FAIL, "3 of its 3 points arrived")


def test_the_winner_of_several_shutdowns_is_inexpressible_and_a_double_release_is_not() -> None:
    assert run(Plain, "SHD-08").verdict is Verdict.INEXPRESSIBLE
    found = run(Releases, "SHD-08")
    assert (found.verdict, found.expected) == (Verdict.FAIL, "every connection is closed once")


def test_a_shutdown_whose_time_is_up_owes_no_error_and_the_release_all_the_same() -> None:
    found = run(Plain, "SHD-03")
    assert (found.verdict, found.canary) == (Verdict.PASS, "died"), found.seen
    assert run(StaysOpen, "SHD-03").verdict is Verdict.FAIL


def test_partial_success_is_surfaced_by_a_failure_or_by_a_warning_without_a_count() -> None:
    for exporter in (Plain, Raises, LogsPartialSuccess):
        found = run(exporter, "EXP-16")
        assert (found.verdict, found.canary) == (Verdict.PASS, "died"), (exporter, found.seen)
    found = run(SaysNothingOfPartialSuccess, "EXP-16")
    assert (found.verdict, found.seen) == (Verdict.FAIL, "it returned, and logged nothing")


def test_a_secret_of_the_options_is_looked_for_in_logs_of_every_level() -> None:
    assert run(Plain, "HND-02").verdict is Verdict.PASS
    found = run(LogsSecret, "HND-02")
    assert (found.verdict, found.seen) == (
        Verdict.FAIL,
        "the secret of the options is in what was logged, warned of or printed",
    )
    assert SECRET not in str(found)


def test_the_timeline_shows_the_exporters_own_entry_and_none_where_it_was_not_called() -> None:
    found = run(Plain, "SHD-06")
    assert [event["text"] for event in found.timeline if event["kind"] == "enter"][:2] == ["shutdown", "export"]
    assert "export returned a failure" in [event["text"] for event in found.timeline]


def test_each_sentence_of_the_specification_is_about_a_clause_and_has_its_place() -> None:
    known = {one.id for one in select()}
    for clause, (text, url) in SPECIFICATION.items():
        assert clause in known
        assert text.endswith(".")
        assert url.startswith("https://opentelemetry.io/docs/specs/otel/metrics/sdk/#")


def test_an_answer_that_the_interface_does_not_have_is_no_success() -> None:
    found = run(AnswersNothing, "EXP-01")
    assert found.verdict is Verdict.FAIL
    assert found.seen == "it returned None; expected MetricExportResult.SUCCESS or FAILURE"
