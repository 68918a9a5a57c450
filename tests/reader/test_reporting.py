"""Every failure is raised to the caller there is, or reported; exactly once."""

import logging
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given, strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core.context import Context
from exporter_core.errors import ExporterError
from exporter_core.guard import GuardedExporter
from exporter_core.masking import Masker
from exporter_core.reader import PeriodicReader
from exporter_core.reader.failures import Failures
from exporter_core.testing import FakeClock, FakeExporter

LOGGER = "exporter_core.reader"


class Exporter:
    """The part of a guarded exporter that failures ask."""

    name = "fake"
    describe_error = str

    def __init__(self, lost: list[int]) -> None:
        self.lost = lost

    def stats(self) -> SimpleNamespace:
        return SimpleNamespace(points_lost=self.lost[-1])


def failures(handler: Callable[[Exception], object] | None = None, lost: list[int] | None = None) -> Failures:
    return Failures("0:fake", Exporter(lost or [0]), handler)  # type: ignore[arg-type]


def test_a_failure_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    failures().report(OSError("the disk is full"))
    (record,) = caplog.records
    assert (record.name, record.levelno) == (LOGGER, logging.ERROR)
    assert record.getMessage() == "reader '0:fake': the disk is full"
    assert record.exc_info is None


def test_a_failure_that_names_the_reader_itself_does_so_once(caplog: pytest.LogCaptureFixture) -> None:
    failures().report(OSError("reader '0:fake': collect failed"))
    assert caplog.messages == ["reader '0:fake': collect failed"]


def test_repeated_failures_are_counted_instead_of_flooding(caplog: pytest.LogCaptureFixture) -> None:
    one = failures()
    for _ in range(1234):
        one.report(OSError("full"))
    assert caplog.messages == [
        "reader '0:fake': full",
        "reader '0:fake': full (10 times in a row)",
        "reader '0:fake': full (100 times in a row)",
        "reader '0:fake': full (1000 times in a row)",
    ]
    assert (one.count, one.last) == (1234, "full")


def test_another_failure_is_a_line_of_its_own_and_each_is_logged_once_until_a_success(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = failures()
    for text in ("full", "full", "broken", "full"):
        one.report(OSError(text))
    assert caplog.messages == ["reader '0:fake': full", "reader '0:fake': broken"]
    one.success()
    one.report(OSError("full"))
    assert caplog.messages[2:] == [
        "reader '0:fake': delivers again, after 4 failures in a row",
        "reader '0:fake': full",
    ]


def test_lines_that_differ_in_durations_and_attempts_alone_are_the_same(caplog: pytest.LogCaptureFixture) -> None:
    one = failures()
    for number in range(1, 11):
        one.report(OSError(f"503; gave up after {number} attempts, in {number}.15 s and {number} ms"))
    one.report(OSError("504; gave up after 1 attempt, in 1.15 s and 1 ms"))
    assert caplog.messages == [
        "reader '0:fake': 503; gave up after 1 attempts, in 1.15 s and 1 ms",
        "reader '0:fake': 503; gave up after 10 attempts, in 10.15 s and 10 ms (10 times in a row)",
        "reader '0:fake': 504; gave up after 1 attempt, in 1.15 s and 1 ms",
    ]


def test_texts_without_end_are_remembered_within_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    one = failures()
    for number in range(300):
        one.report(OSError(f"request {number} failed"))
    assert len(one._row) == 100


def test_the_lines_together_name_every_lost_point_once(caplog: pytest.LogCaptureFixture) -> None:
    lost = [0]
    one = failures(lost=lost)
    for count in (3, 5, 5):
        lost.append(count)
        one.report(OSError("full"))
    for count in (6, 7):
        lost.append(count)
        one.success()
    lost.append(9)
    one.report_suppressed()
    one.report_suppressed()
    assert caplog.messages == [
        "reader '0:fake': full; 3 data points were not delivered",
        "reader '0:fake': delivers again, after 3 failures in a row; 3 data points were not delivered",
        "reader '0:fake': an export that had timed out did not succeed; 1 data point was not delivered",
        "reader '0:fake': an export that had timed out did not succeed; 2 data points were not delivered",
    ]


def test_the_error_tells_a_handler_how_many_points_it_cost() -> None:
    got: list[ExporterError] = []
    lost = [0]
    one = failures(got.append, lost)
    for count in (3, 5):
        lost.append(count)
        one.report(ExporterError("full"))
    assert [error.points_lost for error in got] == [3, 2]
    assert ExporterError("full").points_lost == 0


def test_success_ends_a_row_and_says_how_long_it_was(caplog: pytest.LogCaptureFixture) -> None:
    one = failures()
    one.success()
    for _ in range(3):
        one.report(OSError("full"))
    one.success()
    one.success()
    one.report(OSError("full"))
    one.success()
    assert caplog.messages == [
        "reader '0:fake': full",
        "reader '0:fake': delivers again, after 3 failures in a row",
        "reader '0:fake': full",
        "reader '0:fake': delivers again, after 1 failure",
    ]


def test_a_handler_gets_each_error_itself_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    got: list[Exception] = []
    one = failures(got.append)
    errors = [OSError("full"), OSError("full")]
    for error in errors:
        one.report(error)
    assert got == errors
    assert caplog.records == []


def test_a_secret_of_the_config_is_in_no_line(caplog: pytest.LogCaptureFixture, until: Callable) -> None:
    def export(context: Context, metrics: MetricsData) -> None:
        raise OSError("cannot reach https://user:hunter22@host with key-4711")

    clock = FakeClock()
    guard = GuardedExporter(FakeExporter(on_export=export), name="fake", runner="inline", masker=Masker(["key-4711"]))
    reader = PeriodicReader(guard, interval=10.0, clock=clock)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("c").add(1)
    clock.await_sleepers()
    clock.advance(10.0)
    clock.await_sleepers()
    (line,) = caplog.messages
    assert "hunter22" not in line
    assert "key-4711" not in line
    assert "cannot reach https://***@host with ***" in line
    guard_error = reader.stats().last_error
    assert guard_error is not None
    assert "hunter22" not in guard_error
    with pytest.raises(Exception, match=r"with \*\*\*") as caught:
        reader.shutdown()
    assert "hunter22" not in str(caught.value)


@pytest.fixture
def raising_log_handler() -> Iterator[None]:
    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit(3)

    logger, handler = logging.getLogger(LOGGER), Raising()
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@pytest.mark.usefixtures("raising_log_handler")
def test_the_ticker_survives_a_log_handler_that_raises() -> None:
    def export(context: Context, metrics: MetricsData) -> None:
        raise OSError(f"{len(exporter.calls)}")

    clock = FakeClock()
    exporter = FakeExporter(on_export=export)
    reader = PeriodicReader(GuardedExporter(exporter, name="fake", runner="inline"), interval=10.0, clock=clock)
    MeterProvider([reader], shutdown_on_exit=False).get_meter("test").create_counter("c").add(1)
    for _ in range(3):
        clock.await_sleepers()
        clock.advance(10.0)
    clock.await_sleepers()
    assert reader.stats().errors_reported == 3
    with pytest.raises(ExporterError):
        reader.shutdown()


STEPS = st.sampled_from(
    ["tick", "flush", "sdk_flush", "tick_fails", "flush_fails", "sdk_flush_fails", "both_fail", "tick_escapes"]
)


@given(st.lists(STEPS, max_size=12), st.sets(st.sampled_from(["export", "shutdown"])))
def test_in_any_sequence_every_failure_is_raised_or_reported_exactly_once(steps: list[str], end: set[str]) -> None:
    failing: dict[str, str] = {}
    injected: list[str] = []

    def perhaps_fail(operation: str) -> None:
        if operation in failing:
            injected.append(f"failure {len(injected)};")
            kind = SystemExit if failing[operation] == "escapes" else OSError
            raise kind(injected[-1])

    clock, reported, raised = FakeClock(), [], []
    exporter = FakeExporter(
        on_export=lambda context, metrics: perhaps_fail("export"),
        on_force_flush=lambda context: perhaps_fail("force_flush"),
        on_shutdown=lambda context: perhaps_fail("shutdown"),
    )
    guard = GuardedExporter(exporter, name="fake", runner="inline")
    reader = PeriodicReader(guard, interval=10.0, error_handler=reported.append, clock=clock)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("c").add(1)

    def attempt(function: Callable[[], object]) -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - the SDK's provider raises nothing more precise
            raised.append(error)

    for step in steps:
        failing.clear()
        if "fail" in step or "escapes" in step:
            failing["export"] = "escapes" if "escapes" in step else "fails"
        if step == "both_fail":
            failing["force_flush"] = "fails"
        clock.await_sleepers()
        if step.startswith("tick"):
            clock.advance(10.0)
            clock.await_sleepers()
        else:
            attempt(provider.force_flush if step.startswith("sdk") else reader.force_flush)
    failing.clear()
    failing.update(dict.fromkeys(end, "fails"))
    clock.await_sleepers()
    attempt(provider.shutdown)

    told = [str(error) for error in [*reported, *raised]]
    for failure in injected:
        assert sum(text.count(failure) for text in told) == 1, (failure, told)
    assert len(told) == len(injected)


@pytest.mark.parametrize("fails", [False, True])
def test_points_of_an_export_that_outlasts_its_deadline_are_lost_only_if_it_fails_in_the_end(
    fails: bool, caplog: pytest.LogCaptureFixture, until: Callable
) -> None:
    entered, gate, clock = threading.Event(), threading.Event(), FakeClock()

    def export(context: Context, metrics: MetricsData) -> None:
        if not entered.is_set():
            entered.set()
            assert gate.wait(30)
            if fails:
                raise OSError("the disk is full")

    exporter = FakeExporter(on_export=export)
    guard = GuardedExporter(exporter, name="fake")
    reader = PeriodicReader(guard, interval=10.0, timeout=5.0, name="0:fake", clock=clock)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    counter = provider.get_meter("test").create_counter("c")
    for number in range(3):
        counter.add(1, {"number": number})
    clock.await_sleepers()
    clock.advance(10.0)
    assert entered.wait(30)
    clock.await_sleepers()
    clock.advance(5.0)
    until(lambda: caplog.messages)
    assert reader.stats().exporter.points_unsettled == 3
    gate.set()
    until(lambda: not guard.busy and reader.stats().exporter.points_unsettled == 0)
    clock.await_sleepers()
    clock.advance(5.0)
    until(lambda: len(caplog.messages) == 2)
    reader.shutdown()
    late, again = caplog.messages
    assert late.endswith("timed out; it still runs in the background")
    assert again.startswith("reader '0:fake': delivers again, after 1 failure")
    assert again.endswith("; 3 data points were not delivered") is fails
    assert reader.stats().exporter.points_accepted == (6 if fails else 9)
