import gc
import threading
import time
import warnings
import weakref
from collections.abc import Callable

import pytest
from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core.context import Context
from exporter_core.errors import (
    DeadlineExceededError,
    ExporterReentrancyError,
    PartialSuccessError,
)
from exporter_core.guard import GuardState
from exporter_core.pipeline import Pipeline
from exporter_core.reader import finish
from exporter_core.reader.thread import ReaderThread
from exporter_core.testing import FakeExporter

LONG = 30.0
SOON = 0.1  # seconds: a deadline that is meant to pass


def full(*_: object) -> None:
    raise OSError("the disk of https://user:hunter22@host is full")


def test_a_flush_reports_for_each_reader_what_was_handed_over_and_accepted(pipeline: Callable) -> None:
    def partial(context: Context, metrics: MetricsData) -> None:
        raise PartialSuccessError("too old", rejected_points=1)

    one = pipeline(good=FakeExporter(), partly=FakeExporter(on_export=partial), bad=FakeExporter(on_export=full))
    counter = one.meter_provider.get_meter("m").create_counter("c")
    for number in range(3):
        counter.add(1, {"number": number})
    report = one.flush(LONG)
    good, partly, bad = report.readers
    assert (good.name, good.points_handed_over, good.points_accepted, good.error) == ("0:good", 3, 3, None)
    assert (partly.name, partly.points_handed_over, partly.points_accepted) == ("1:partly", 3, 2)
    assert "1 data point was rejected" in partly.error
    assert (bad.name, bad.points_handed_over, bad.points_accepted) == ("2:bad", 3, 0)
    assert "https://***@host is full" in bad.error
    assert not report.ok
    assert (good.ok, partly.ok, bad.ok) == (True, False, False)
    assert report.seconds == max(reader.seconds for reader in report.readers)
    assert report.as_dict() == {
        "ok": False,
        "seconds": report.seconds,
        "readers": [
            {
                "name": reader.name,
                "points_handed_over": reader.points_handed_over,
                "points_accepted": reader.points_accepted,
                "seconds": reader.seconds,
                "error": reader.error,
            }
            for reader in report.readers
        ],
    }


def test_a_report_counts_this_flush_alone(pipeline: Callable) -> None:
    one = pipeline(good=FakeExporter())
    assert one.flush().readers[0].points_handed_over == 0
    one.meter_provider.get_meter("m").create_counter("c").add(1)
    assert one.flush().readers[0].points_accepted == 1
    assert one.flush().readers[0].points_accepted == 1
    assert one.stats()[0].exporter.points_accepted == 2


def test_two_readers_may_name_the_same_exporter(registry: Callable, config: Callable) -> None:
    with Pipeline.from_config(config("same", "same"), registry=registry(same=FakeExporter)) as one:
        assert [reader.name for reader in one.flush().readers] == ["0:same", "1:same"]


def test_a_flush_costs_the_slowest_reader_and_not_the_sum(pipeline: Callable) -> None:
    """Each export ends only when all eight are at it."""
    barrier = threading.Barrier(8)

    def export(context: Context, metrics: MetricsData) -> None:
        barrier.wait(LONG)

    exporters = {f"e{n}": FakeExporter(on_export=export) for n in range(8)}
    one = pipeline(**exporters)
    one.meter_provider.get_meter("m").create_counter("c").add(1)
    assert one.flush(LONG).ok


def test_a_shutdown_costs_the_slowest_reader_and_not_the_sum(pipeline: Callable) -> None:
    barrier = threading.Barrier(8)
    one = pipeline(
        **{f"e{n}": FakeExporter(on_shutdown=lambda context: (barrier.wait(LONG), None)[1]) for n in range(8)}
    )
    assert one.shutdown(LONG).ok


def test_a_hung_exporter_never_delays_another_reader(
    pipeline: Callable, hung: Callable, with_more_time: Callable
) -> None:
    slow, fast = FakeExporter(on_export=hung), FakeExporter()
    one = pipeline(slow=slow, fast=fast, parts={"interval": 10})
    one.meter_provider.get_meter("m").create_counter("c").add(1)
    assert hung.entered.wait(LONG)
    deadline = time.monotonic() + LONG
    while len(fast.exported) < 5:  # its ticks go on
        assert time.monotonic() < deadline
        time.sleep(0.001)

    def attempt(seconds: float) -> bool:
        slow_report, fast_report = one.flush(seconds).readers
        assert slow_report.error is not None
        return fast_report.ok

    with_more_time(attempt, SOON)
    hung.gate.set()


def test_a_flush_ends_on_time_though_an_exporter_hangs(
    pipeline: Callable, hung: Callable, with_more_time: Callable
) -> None:
    def attempt(seconds: float) -> bool:
        one = pipeline(slow=FakeExporter(on_export=hung), fast=FakeExporter())
        one.meter_provider.get_meter("m").create_counter("c").add(1)
        started = time.monotonic()
        slow, fast = one.flush(seconds).readers
        assert time.monotonic() - started < seconds + LONG / 2
        assert not slow.ok
        assert slow.points_accepted == 0
        return fast.ok and slow.points_handed_over == 1

    with_more_time(attempt, SOON)
    hung.gate.set()


def test_shutdown_delivers_and_shuts_every_exporter_down(pipeline: Callable) -> None:
    first, second = FakeExporter(), FakeExporter()
    one = pipeline(first=first, second=second)
    one.meter_provider.get_meter("m").create_counter("c").add(1)
    report = one.shutdown(LONG)
    assert report.ok
    assert [reader.points_accepted for reader in report.readers] == [1, 1]
    assert first.calls == second.calls == ["export", "shutdown"]
    assert [exporter.state for exporter in one.exporters] == [GuardState.SHUT_DOWN] * 2


def test_a_shutdown_ends_on_time_and_shuts_down_all_exporters_though_some_hang(
    pipeline: Callable, hung: Callable, with_more_time: Callable, until: Callable
) -> None:
    def attempt(seconds: float) -> bool:
        exporters = [FakeExporter(on_export=hung), FakeExporter(), FakeExporter(on_export=hung)]
        one = pipeline(a=exporters[0], b=exporters[1], c=exporters[2])
        one.meter_provider.get_meter("m").create_counter("c").add(1)
        started = time.monotonic()
        a, b, c = one.shutdown(seconds).readers
        assert time.monotonic() - started < seconds + LONG / 2
        assert not a.ok
        assert not c.ok
        until(lambda: all(exporter.calls[-1:] == ["shutdown"] for exporter in exporters))
        return b.ok

    with_more_time(attempt, 1.0)
    hung.gate.set()


def test_every_exporter_is_shut_down_though_a_callback_of_the_application_hangs(
    pipeline: Callable, hung: Callable, with_more_time: Callable
) -> None:
    def attempt(seconds: float) -> bool:
        entered = [threading.Event(), threading.Event()]
        first, second = (FakeExporter(on_shutdown=lambda _context, event=event: event.set()) for event in entered)
        one = pipeline(a=first, b=second)
        one.meter_provider.get_meter("m").create_observable_gauge("g", [lambda options: hung() or []])
        report = one.shutdown(seconds)
        assert [reader.ok for reader in report.readers] == [False, False]
        assert all(event.wait(LONG) for event in entered)  # the report is there in time, and does not wait for them
        return "the collection is still running" in report.readers[0].error

    with_more_time(attempt, SOON)
    hung.gate.set()


def test_a_second_shutdown_returns_the_first_ones_report(pipeline: Callable) -> None:
    exporter = FakeExporter(on_shutdown=full)
    one = pipeline(bad=exporter)
    first = one.shutdown()
    assert not first.ok
    assert one.shutdown() is first
    assert exporter.calls == ["shutdown"]


def test_a_concurrent_shutdown_waits_for_the_first_in_its_own_time(pipeline: Callable, hung: Callable) -> None:
    one = pipeline(slow=FakeExporter(on_shutdown=hung))
    reports = []
    first = threading.Thread(target=lambda: reports.append(one.shutdown(LONG)))
    first.start()
    assert hung.entered.wait(LONG)
    with pytest.raises(DeadlineExceededError, match="another thread's shutdown"):
        one.shutdown(SOON)
    hung.gate.set()
    assert one.shutdown(LONG).ok
    first.join(LONG)
    assert reports == [one.shutdown()]


def test_after_the_shutdown_the_providers_own_only_warns(pipeline: Callable, caplog: pytest.LogCaptureFixture) -> None:
    one = pipeline(a=FakeExporter())
    one.shutdown()
    one.meter_provider.shutdown()
    assert caplog.messages == ["reader '0:a' has been shut down already"]


def test_after_the_providers_own_shutdown_the_pipelines_is_fine(pipeline: Callable) -> None:
    exporter = FakeExporter()
    one = pipeline(a=exporter)
    one.meter_provider.shutdown()
    report = one.shutdown()
    assert report.ok
    assert [reader.name for reader in report.readers] == ["0:a"]
    assert exporter.calls == ["shutdown"]


def test_a_flush_after_the_shutdown_says_so(pipeline: Callable) -> None:
    one = pipeline(a=FakeExporter())
    one.shutdown()
    (reader,) = one.flush().readers
    assert reader.error == "reader '0:a': force_flush: it has been shut down"


def test_leaving_the_block_shuts_down_and_reports_what_failed(
    registry: Callable, config: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = FakeExporter(on_export=full)
    with Pipeline.from_config(config("bad"), registry=registry(bad=exporter)) as one:
        one.meter_provider.get_meter("m").create_counter("c").add(1)
    assert exporter.calls == ["export", "shutdown"]
    (line,) = caplog.messages
    assert line.startswith("reader '0:bad': exporter 'bad': export failed: OSError")
    assert "hunter22" not in line


def test_leaving_the_block_after_a_shutdown_says_nothing_more(
    registry: Callable, config: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    with Pipeline.from_config(config("bad"), registry=registry(bad=FakeExporter(on_shutdown=full))) as one:
        assert not one.shutdown().ok
    assert caplog.messages == []


def test_leaving_the_block_ends_within_the_shutdown_timeout(
    registry: Callable, config: Callable, hung: Callable
) -> None:
    started = time.monotonic()
    errors: list[Exception] = []
    with Pipeline.from_config(
        config("slow"),
        registry=registry(slow=FakeExporter(on_shutdown=hung)),
        shutdown_timeout=SOON,
        error_handler=errors.append,
    ):
        pass
    assert time.monotonic() - started < LONG / 2
    (error,) = errors
    assert isinstance(error, DeadlineExceededError)
    hung.gate.set()


@pytest.mark.parametrize("shutdown_timeout", [-1, float("nan")])
def test_a_negative_shutdown_timeout_is_refused(registry: Callable, config: Callable, shutdown_timeout: float) -> None:
    with pytest.raises(ValueError, match="shutdown_timeout: expected at least 0 seconds"):
        Pipeline.from_config(config("a"), registry=registry(a=FakeExporter), shutdown_timeout=shutdown_timeout)


def test_failures_of_the_schedule_go_to_the_error_handler(pipeline: Callable) -> None:
    told = threading.Event()
    errors: list[Exception] = []

    def handler(error: Exception) -> None:
        errors.append(error)
        told.set()

    exporter = FakeExporter(on_export=full)
    one = pipeline(bad=exporter, parts={"interval": 10}, options={"error_handler": handler})
    one.meter_provider.get_meter("m").create_counter("c").add(1)
    assert told.wait(LONG)
    exporter.on_export = None
    assert "is full" in str(errors[0])
    assert one.stats()[0].errors_reported >= 1
    assert one.stats()[0].as_dict()["last_error"] is not None


def test_a_shutdown_from_a_readers_own_thread_is_refused_and_changes_nothing(pipeline: Callable) -> None:
    raised: list[BaseException] = []

    def callback(options: object) -> list[object]:
        with pytest.raises(ExporterReentrancyError) as caught:
            one.shutdown()
        raised.append(caught.value)
        return []

    one = pipeline(a=FakeExporter(), b=FakeExporter(), parts={"exporter_core": {"share_collection": False}})
    one.meter_provider.get_meter("m").create_observable_gauge("g", [callback])
    assert one.flush(LONG).ok
    assert len(raised) == 2
    assert one.shutdown(LONG).ok


@pytest.mark.parametrize("through", ["pipeline", "provider"])
def test_a_flush_from_a_callback_is_refused_by_every_reader_and_waits_for_none(
    pipeline: Callable, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[object] = []
    raised: list[Exception] = []

    def callback(options: object) -> list[object]:
        with monkeypatch.context() as patch:
            patch.setattr(ReaderThread, "submit", lambda self, job: submitted.append(job) or job.settle([]))
            with pytest.raises(Exception, match="called from the reader's own thread") as caught:
                one.flush(LONG) if through == "pipeline" else one.meter_provider.force_flush(LONG * 1000)
        raised.append(caught.value)
        return []

    one = pipeline(a=FakeExporter(), b=FakeExporter())
    one.meter_provider.get_meter("m").create_observable_gauge("g", [callback])
    assert finish([one.readers[0].begin_flush(Context.with_timeout(LONG))])[0].error is None
    assert submitted == []
    (error,) = raised
    if through == "pipeline":
        assert isinstance(error, ExporterReentrancyError)
    else:
        assert str(error).count("ExporterReentrancyError") == 2
        assert "called by an instrument's callback, which another reader of the same provider waits for" in str(error)


def test_an_interrupted_shutdown_is_told_to_whoever_asks_later(
    pipeline: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exporter_core.reader.jobs import Job

    exporter = FakeExporter()
    one = pipeline(a=exporter)

    def interrupt(self: Job, context: Context) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Job, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            one.shutdown()
    assert not one.shutdown().ok
    assert one.shutdown().readers[0].error == "the shutdown was interrupted"


def test_a_dropped_pipeline_leaks_no_thread(registry: Callable, config: Callable) -> None:
    before = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the guard says that it was never shut down
        one = Pipeline.from_config(config("a"), registry=registry(a=FakeExporter))
        one.flush()
        threads = set(threading.enumerate()) - before
        assert threads
        gone = weakref.ref(one)
        del one
        for thread in threads:
            gc.collect()
            thread.join(LONG)
    assert gone() is None
    assert [thread.name for thread in threads if thread.is_alive()] == []


def test_whoever_keeps_the_provider_keeps_the_pipeline(registry: Callable, config: Callable) -> None:
    exporter = FakeExporter()
    provider = Pipeline.from_config(config("a"), registry=registry(a=exporter)).meter_provider
    gc.collect()
    provider.get_meter("m").create_counter("c").add(1)
    assert provider.force_flush()
    assert len(exporter.exported) == 1
    provider.shutdown()
