import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core.context import Context
from exporter_core.errors import (
    DeadlineExceededError,
    ExporterBusyError,
    ExporterCoreError,
    ExporterError,
    ExporterReentrancyError,
    ExporterShutdownError,
    PartialSuccessError,
)
from exporter_core.reader import finish

LONG = 30.0
SOON = 50  # milliseconds: a deadline that is meant to pass


def full(context: Context, *_: object) -> None:
    raise OSError("the disk is full")


@pytest.fixture
def hung() -> Iterator[Callable[..., None]]:
    """A function that hangs until the test is over."""
    gate = threading.Event()

    def hang(*_: object) -> None:
        assert gate.wait(LONG)

    hang.gate = gate
    yield hang
    gate.set()


def test_a_flush_is_true_when_everything_is_exported_and_flushed(rig: Callable) -> None:
    one = rig()
    one.meter.create_counter("c").add(7)
    assert one.reader.force_flush() is True
    assert one.exporter.calls == ["export", "force_flush"]
    assert one.values() == [7]


def test_a_flush_with_nothing_to_export_flushes_the_exporter(rig: Callable) -> None:
    one = rig()
    assert one.reader.force_flush() is True
    assert one.exporter.calls == ["force_flush"]


def test_a_flush_raises_what_the_export_raised_and_does_not_report_it_too(rig: Callable) -> None:
    one = rig(on_export=full)
    one.meter.create_counter("c").add(1)
    with pytest.raises(ExporterError, match="exporter 'fake': export failed: OSError: the disk is full") as caught:
        one.reader.force_flush()
    assert isinstance(caught.value.__cause__, OSError)
    assert one.reported == []


def test_a_flush_raises_what_the_exporters_flush_raised(rig: Callable) -> None:
    one = rig(on_force_flush=full)
    with pytest.raises(ExporterError, match="force_flush failed: OSError: the disk is full"):
        one.reader.force_flush()
    assert one.reported == []


def test_a_flush_flushes_the_exporter_after_a_failed_export_too_and_both_failures_are_told_once(rig: Callable) -> None:
    def flush(context: Context) -> None:
        raise OSError("held data is lost")

    one = rig(on_export=full, on_force_flush=flush)
    one.meter.create_counter("c").add(1)
    with pytest.raises(ExporterError, match="the disk is full"):
        one.reader.force_flush()
    (other,) = one.reported
    assert "held data is lost" in str(other)


def test_a_flush_raises_a_partial_success(rig: Callable) -> None:
    def export(context: Context, metrics: MetricsData) -> None:
        raise PartialSuccessError("too old", rejected_points=2)

    one = rig(on_export=export)
    counter = one.meter.create_counter("c")
    for number in range(5):
        counter.add(1, {"number": number})
    (delivery,) = finish([one.reader.begin_flush(Context.with_timeout(LONG))])
    assert isinstance(delivery.error, PartialSuccessError)
    assert (delivery.points_handed_over, delivery.points_accepted) == (5, 3)


def test_a_flush_of_a_hung_exporter_ends_on_time_and_says_so(rig: Callable, hung: Callable) -> None:
    one = rig(on_export=hung, gate=hung.gate)
    one.meter.create_counter("c").add(1)
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="export"):
        one.reader.force_flush(SOON)
    assert time.monotonic() - started < LONG / 2
    hung.gate.set()
    one.reader.shutdown()
    assert one.reported == []  # it was raised


def test_a_flush_ends_on_time_while_a_callback_hangs_and_says_so(
    rig: Callable, hung: Callable, with_more_time: Callable
) -> None:
    entered = threading.Event()

    def attempt(seconds: float) -> tuple[Any, str] | None:
        one = rig(gate=hung.gate)
        one.meter.create_observable_gauge("g", [lambda options: entered.set() or hung() or []])
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError) as caught:
            one.reader.force_flush(seconds * 1000)
        assert time.monotonic() - started < seconds + LONG / 2
        return (one, str(caught.value)) if entered.is_set() else None

    one, said = with_more_time(attempt, SOON / 1000)
    assert said == (
        "reader '0:fake': force_flush timed out: the collection is still running; "
        "it waits for a callback of an observable instrument"
    )
    hung.gate.set()
    one.reader.shutdown()
    assert one.reported == []


def test_a_flush_behind_a_hung_collection_says_that_it_waited(rig: Callable, hung: Callable) -> None:
    entered = threading.Event()
    one = rig(gate=hung.gate)
    one.meter.create_observable_gauge("g", [lambda options: entered.set() or hung() or []])
    first = one.reader.begin_flush(Context.with_timeout(LONG))
    assert entered.wait(LONG)
    with pytest.raises(DeadlineExceededError, match="an earlier collection or export is still running"):
        one.reader.force_flush(SOON)
    hung.gate.set()
    (delivery,) = finish([first])
    assert delivery.error is None


def test_a_callback_that_takes_longer_than_the_flush_loses_no_data(rig: Callable, until: Callable) -> None:
    one = rig(delta=True)
    one.meter.create_counter("c").add(7)
    gate = threading.Event()
    one.meter.create_observable_gauge("g", [lambda options: (gate.wait(LONG), [])[1]])
    with pytest.raises(DeadlineExceededError):
        one.reader.force_flush(SOON)
    gate.set()
    assert one.reader.force_flush()
    assert one.values() == [7]
    assert one.reported == []


def test_what_was_collected_too_late_for_the_caller_is_exported_all_the_same(rig: Callable, until: Callable) -> None:
    """The SDK looks at the time after each callback; what happens after the last look it collects, and resets."""
    one = rig(delta=True)
    one.meter.create_counter("c").add(7)
    job = one.reader.begin_flush(Context.with_timeout(LONG))
    finish([job])
    one.meter.create_counter("c").add(5)

    class Late(Context):
        """Done as soon as it has been asked how much time is left to collect."""

        __slots__ = ("asked",)

        def remaining(self) -> float | None:
            self.asked = True
            return LONG

        @property
        def done(self) -> bool:
            return getattr(self, "asked", False)

    late = one.reader.begin_flush(Late())
    until(lambda: late.over)
    assert one.values() == [7, 5]


def test_a_clock_that_was_set_makes_a_collection_fail_and_lose_nothing(
    rig: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.sdk.metrics._internal import measurement_consumer

    one = rig(delta=True)
    one.meter.create_counter("c").add(7)
    one.meter.create_observable_gauge("g", [lambda options: []])
    hour = 3600 * 10**9
    times = iter(range(10))
    with monkeypatch.context() as patch:
        patch.setattr(measurement_consumer, "time_ns", lambda: next(times) * hour)
        with pytest.raises(DeadlineExceededError, match="so nothing was collected"):
            one.reader.force_flush(LONG * 1000)
    assert one.reader.force_flush()
    assert one.values() == [7]


def test_a_flush_waits_for_an_exporter_that_is_busy(rig: Callable, gated: Callable, with_more_time: Callable) -> None:
    entered, gate, accepted = threading.Event(), threading.Event(), []
    one = rig(delta=True, gate=gate, on_export=gated(entered, gate, accepted))
    counter = one.meter.create_counter("c")
    counter.add(1)

    def attempt(seconds: float) -> bool:
        with pytest.raises(DeadlineExceededError):
            one.reader.force_flush(seconds * 1000)
        return entered.is_set()

    with_more_time(attempt, SOON / 1000)
    counter.add(2)
    # On a busy machine its time is up before it can ask whether an export is running.
    said = "an earlier (export is still running, so nothing was collected|collection or export is still running$)"
    with pytest.raises(DeadlineExceededError, match=said):
        one.reader.force_flush(SOON)
    waiting = one.reader.begin_flush(Context.with_timeout(LONG))
    gate.set()
    (delivery,) = finish([waiting])
    assert delivery.error is None
    assert [batch.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].value for batch in accepted] == [
        1,
        2,
    ]


def test_flushes_from_many_threads_are_all_delivered(rig: Callable) -> None:
    one = rig(delta=True)
    counter = one.meter.create_counter("c")
    count, barrier, failures = 20, threading.Barrier(20), []

    def flush() -> None:
        barrier.wait(LONG)
        counter.add(1)
        try:
            one.reader.force_flush(LONG * 1000)
        except ExporterCoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=flush) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert failures == []
    assert sum(one.values()) == count


def test_an_unattached_flush_is_an_error(rig: Callable) -> None:
    one = rig(attach=False)
    with pytest.raises(ExporterError, match="reader '0:fake': force_flush: no MeterProvider has this reader") as caught:
        one.reader.force_flush()
    assert caught.value.exporter == "fake"
    assert one.exporter.calls == []


def test_a_flush_after_shutdown_is_an_error(rig: Callable) -> None:
    one = rig()
    one.reader.shutdown()
    with pytest.raises(ExporterShutdownError, match="reader '0:fake'"):
        one.reader.force_flush()


@pytest.mark.parametrize("timeout", [0, -1000])
def test_a_flush_without_time_does_not_collect(timeout: float, rig: Callable) -> None:
    one = rig()
    with pytest.raises(DeadlineExceededError):
        one.reader.force_flush(timeout)
    assert one.reader.stats().collections == 0


def test_a_flush_from_a_callback_is_refused_instead_of_waiting_for_itself(rig: Callable) -> None:
    one = rig()
    raised: list[BaseException] = []

    def callback(options: object) -> list[object]:
        for call in (one.reader.force_flush, one.reader.shutdown):
            with pytest.raises(ExporterReentrancyError, match="from the reader's own thread") as caught:
                call(LONG * 1000)
            raised.append(caught.value)
        return []

    one.meter.create_observable_gauge("g", [callback])
    assert one.reader.force_flush(LONG * 1000)
    assert len(raised) == 2


def test_a_flush_from_inside_the_exporter_is_refused_instead_of_waiting_for_itself(rig: Callable) -> None:
    raised: list[BaseException] = []

    def export(context: Context, metrics: MetricsData) -> None:
        for call in (one.reader.force_flush, one.reader.shutdown):
            with pytest.raises(ExporterReentrancyError, match="from inside one of the exporter's own") as caught:
                call(LONG * 1000)
            raised.append(caught.value)

    one = rig(on_export=export)
    one.meter.create_counter("c").add(1)
    assert one.reader.force_flush(LONG * 1000)
    assert len(raised) == 2


def test_an_application_that_collects_by_itself_delivers_and_gets_the_error(rig: Callable) -> None:
    one = rig()
    one.meter.create_counter("c").add(1)
    one.reader.collect()
    assert one.values() == [1]
    one.exporter.on_export = full
    with pytest.raises(ExporterError, match="the disk is full"):
        one.reader.collect()


def test_the_providers_flush_raises_what_the_reader_raised(rig: Callable) -> None:
    one = rig(on_export=full)
    one.meter.create_counter("c").add(1)
    with pytest.raises(Exception, match="the disk is full"):
        one.provider.force_flush()
    one.exporter.on_export = None
    assert one.provider.force_flush() is True
    assert one.reported == []


def test_an_interrupted_flush_passes_the_interruption_on_and_reports_what_comes_of_it(
    rig: Callable, until: Callable
) -> None:
    entered, gate = threading.Event(), threading.Event()

    def export(context: Context, metrics: MetricsData) -> None:
        entered.set()
        gate.wait(LONG)
        raise OSError("the disk is full")

    one = rig(on_export=export, gate=gate)
    one.meter.create_counter("c").add(1)
    job = one.reader.begin_flush(Context.with_timeout(LONG))
    assert entered.wait(LONG)

    def interrupt(context: Context) -> None:
        raise KeyboardInterrupt

    job.wait = interrupt
    with pytest.raises(KeyboardInterrupt):
        finish([job])
    gate.set()
    until(lambda: one.reported)
    (error,) = one.reported
    assert "the disk is full" in str(error)


def test_an_export_that_is_busy_by_another_hand_is_an_error_that_is_told(rig: Callable, hung: Callable) -> None:
    """Another user of the same guard may take it between the reader's look and its export."""
    one = rig(timeout=0.05, on_export=hung, gate=hung.gate)
    metrics = MetricsData(resource_metrics=[])
    with pytest.raises(DeadlineExceededError):
        one.reader.exporter.export(Context.with_timeout(0.01), metrics)
    with pytest.raises(ExporterBusyError):
        one.reader.exporter.export(Context.with_timeout(1), metrics)
    with pytest.raises(DeadlineExceededError, match="nothing was collected"):
        one.reader.force_flush(SOON)


def test_two_readers_of_one_provider_flush_though_one_exporter_hangs(rig: Callable, hung: Callable) -> None:
    slow, fast = rig(on_export=hung, gate=hung.gate, attach=False), rig(attach=False)
    provider = MeterProvider([slow.reader, fast.reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("c").add(3)
    first = slow.reader.begin_flush(Context.with_timeout(LONG))
    assert fast.reader.force_flush(LONG * 1000)
    assert fast.values() == [3]
    assert not first.over
    hung.gate.set()
