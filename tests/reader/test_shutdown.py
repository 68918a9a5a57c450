import gc
import logging
import threading
import time
import warnings
import weakref
from collections.abc import Callable

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core.context import Context
from exporter_core.errors import ContextCancelledError, DeadlineExceededError, ExporterError, ExporterShutdownError
from exporter_core.guard import GuardedExporter, GuardState
from exporter_core.reader import PeriodicReader, finish
from exporter_core.reader.jobs import Job, Phase
from exporter_core.testing import FakeClock, FakeExporter

LONG = 30.0
SOON = 100  # milliseconds: a deadline that is meant to pass


def test_shutdown_exports_what_there_is_before_it_shuts_the_exporter_down(rig: Callable) -> None:
    one = rig()
    one.meter.create_counter("c").add(7)
    one.reader.shutdown()
    assert one.exporter.calls == ["export", "shutdown"]
    assert one.values() == [7]
    assert one.reader.exporter.state is GuardState.SHUT_DOWN


def test_a_second_shutdown_only_warns_on_a_thread_that_has_the_number_of_the_readers(rig: Callable) -> None:
    one = rig()
    one.reader.shutdown()
    one.reader._thread.ended.wait(LONG)
    raised: list[BaseException] = []

    def again() -> None:
        try:
            one.reader.shutdown()
        except Exception as error:  # noqa: BLE001 - looked at below
            raised.append(error)

    for _ in range(20):  # the number of a thread that has ended is given to one of the next
        thread = threading.Thread(target=again)
        thread.start()
        thread.join(LONG)
    assert raised == []


def test_a_second_shutdown_only_warns(rig: Callable, caplog: pytest.LogCaptureFixture) -> None:
    one = rig()
    one.reader.shutdown()
    one.reader.shutdown()
    one.provider.shutdown()
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["reader '0:fake' has been shut down already"] * 2
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert one.exporter.calls == ["shutdown"]


def test_shutdown_raises_what_the_last_export_raised_and_shuts_down_all_the_same(rig: Callable) -> None:
    def export(context: Context, metrics: MetricsData) -> None:
        raise OSError("the disk is full")

    one = rig(on_export=export)
    one.meter.create_counter("c").add(1)
    with pytest.raises(ExporterError, match="the disk is full"):
        one.reader.shutdown()
    assert one.exporter.calls == ["export", "shutdown"]
    assert one.reported == []


def test_shutdown_raises_what_the_exporters_shutdown_raised(rig: Callable) -> None:
    def shutdown(context: Context) -> None:
        raise OSError("the connection broke")

    one = rig(on_shutdown=shutdown)
    with pytest.raises(ExporterError, match="shutdown failed: OSError: the connection broke"):
        one.reader.shutdown()
    assert one.reported == []


def test_the_providers_shutdown_raises_what_the_reader_raised(rig: Callable) -> None:
    def shutdown(context: Context) -> None:
        raise OSError("the connection broke")

    one = rig(on_shutdown=shutdown)
    with pytest.raises(Exception, match="the connection broke"):
        one.provider.shutdown()


def test_the_exporter_is_shut_down_on_time_though_a_callback_hangs(
    rig: Callable, until: Callable, with_more_time: Callable
) -> None:
    gate, entered = threading.Event(), threading.Event()

    def attempt(seconds: float) -> bool:
        one = rig(gate=gate)
        one.meter.create_observable_gauge("g", [lambda options: (entered.set(), gate.wait(LONG), [])[2]])
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError) as caught:
            one.reader.shutdown(seconds * 1000)
        assert time.monotonic() - started < seconds + LONG / 2
        until(lambda: one.exporter.is_shut_down)
        return "the collection is still running" in str(caught.value)

    with_more_time(attempt, SOON / 1000)
    assert entered.is_set()
    gate.set()


def test_the_exporter_is_shut_down_on_time_though_its_export_hangs(rig: Callable, until: Callable) -> None:
    gate, entered, cancelled = threading.Event(), threading.Event(), threading.Event()

    def export(context: Context, metrics: MetricsData) -> None:
        entered.set()
        while not gate.wait(0.001):
            if context.done:
                cancelled.set()

    one = rig(gate=gate, on_export=export)
    one.meter.create_counter("c").add(1)
    running = one.reader.begin_flush(Context.with_timeout(LONG))
    assert entered.wait(LONG)
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        one.reader.shutdown(SOON)
    assert time.monotonic() - started < LONG / 2
    assert cancelled.wait(LONG)
    until(lambda: one.exporter.calls == ["export", "shutdown"])
    (delivery,) = finish([running])
    assert isinstance(delivery.error, ContextCancelledError)
    assert "the reader is being shut down" in str(delivery.error)


def test_the_exporter_is_shut_down_on_time_though_an_abandoned_export_hangs(
    rig: Callable, gated: Callable, until: Callable, with_more_time: Callable
) -> None:
    gate = threading.Event()

    def attempt(seconds: float) -> bool:
        entered = threading.Event()
        one = rig(gate=gate, on_export=gated(entered, gate, []))
        one.meter.create_counter("c").add(1)
        with pytest.raises(DeadlineExceededError):
            one.reader.force_flush(seconds * 1000)
        if not entered.is_set():
            return False
        with pytest.raises(DeadlineExceededError) as caught:
            one.reader.shutdown(seconds * 1000)
        until(lambda: one.exporter.calls == ["export", "shutdown"])
        return "an earlier export is still running" in str(caught.value)

    with_more_time(attempt, SOON / 1000)
    gate.set()


def test_points_recorded_during_a_hung_tick_are_counted_though_its_thread_is_closed_meanwhile(rig: Callable) -> None:
    entered, closed = threading.Event(), threading.Event()

    def export(context: Context, metrics: MetricsData) -> None:
        entered.set()
        assert context.wait(LONG)
        raise ExporterError("cancelled")

    one = rig(interval=0.01, delta=True, on_export=export)
    thread, close = one.reader._thread, one.reader._thread.close
    thread.close = lambda: (close(), closed.set())
    one.reader._failures._handler = lambda error: closed.wait(LONG)  # the thread goes on once it is closed
    counter = one.meter.create_counter("c")
    counter.add(1, {"number": 1})
    assert entered.wait(LONG)
    for number in (2, 3):
        counter.add(1, {"number": number})
    shutdown = one.reader.begin_shutdown(Context.with_timeout(LONG))
    shutdown.delivery_context.cancel("no time is left to deliver")
    finish([shutdown])
    assert shutdown.points_lost == 2


def test_a_shutdown_without_time_still_shuts_the_exporter_down(rig: Callable, until: Callable) -> None:
    one = rig()
    one.meter.create_counter("c").add(1)
    with pytest.raises(DeadlineExceededError):
        one.reader.shutdown(0)
    until(lambda: "shutdown" in one.exporter.calls)


def test_an_unattached_reader_shuts_its_exporter_down(rig: Callable) -> None:
    one = rig(attach=False)
    one.reader.shutdown()
    assert one.exporter.calls == ["shutdown"]


def test_a_reader_can_be_added_to_a_provider_and_removed_which_shuts_it_down(rig: Callable) -> None:
    one = rig(attach=False)
    one.provider.add_metric_reader(one.reader)
    one.meter.create_counter("c").add(7)
    assert one.reader.force_flush()
    assert one.values() == [7]
    one.provider.remove_metric_reader(one.reader)
    assert one.exporter.is_shut_down


def test_an_interrupted_shutdown_passes_the_interruption_on_and_lets_the_exporter_release(
    rig: Callable, until: Callable
) -> None:
    gate, entered = threading.Event(), threading.Event()
    one = rig(gate=gate)
    one.meter.create_observable_gauge("g", [lambda options: (entered.set(), gate.wait(LONG), [])[2]])
    job = one.reader.begin_shutdown(Context.with_timeout(LONG))
    assert job is not None
    assert entered.wait(LONG)

    def interrupt(context: Context) -> None:
        raise KeyboardInterrupt

    job.wait = interrupt
    with pytest.raises(KeyboardInterrupt):
        finish([job])
    text = "reader '0:fake': shutdown was interrupted: what was not delivered by then may be lost"
    assert [str(error) for error in one.reported] == [text]
    until(lambda: one.exporter.is_shut_down)
    gate.set()


def test_flushes_that_come_with_the_shutdown_are_done_or_refused(rig: Callable) -> None:
    one = rig(delta=True)
    counter, stop = one.meter.create_counter("c"), threading.Event()
    done, refused = [], []

    def flush() -> None:
        while not stop.is_set():
            counter.add(1)
            try:
                done.append(one.reader.force_flush(LONG * 1000))
            except ExporterShutdownError as error:
                refused.append(error)
                return

    threads = [threading.Thread(target=flush) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(done) < 20:
        time.sleep(0.001)
    one.reader.shutdown()
    for thread in threads:
        thread.join(LONG)
    stop.set()
    assert len(refused) == len(threads)
    assert all(done)


def test_a_flush_that_comes_too_late_for_the_thread_fails_at_once(rig: Callable) -> None:
    one = rig()
    one.reader.shutdown()
    late = Job(one.reader, "force_flush", Context.with_timeout(LONG))
    one.reader._thread.submit(late)
    (delivery,) = finish([late])
    assert isinstance(delivery.error, ExporterShutdownError)


def test_points_of_an_export_that_nobody_has_given_up_when_all_ends_are_named_by_the_shutdowns_result_alone(
    rig: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    one = rig()
    job = Job(one.reader, "shutdown", Context.with_timeout(LONG))
    job.points_handed_over = 3  # by the reader's thread, whose export goes on
    one.reader.conclude(job, told=True)
    assert caplog.messages == []


def test_exporters_that_the_caller_has_to_shut_down_share_the_time_that_is_left(rig: Callable, until: Callable) -> None:
    clock, gate = FakeClock(), threading.Event()
    left: list[float | None] = []

    def shutdown(context: Context) -> None:
        left.append(context.remaining())

    readers = [rig(clock=clock, gate=gate, attach=False, on_shutdown=shutdown).reader for _ in range(2)]
    provider = MeterProvider(readers, shutdown_on_exit=False)
    provider.get_meter("test").create_observable_gauge("g", [lambda options: (gate.wait(LONG), [])[1]])
    jobs = [reader.begin_shutdown(clock.context(timeout=10.0)) for reader in readers]
    # A reader's thread that begins only once the time is up would shut its exporter down itself.
    until(lambda: all(job.phase is Phase.COLLECTING for job in jobs))
    caller = threading.Thread(target=finish, args=(jobs,))
    caller.start()
    clock.await_sleepers()
    clock.advance(7.5)  # a quarter is kept for the exporters' own shutdown
    until(lambda: len(left) == 2)
    gate.set()  # the threads' counts of what is not delivered are waited for, too
    caller.join(LONG)
    assert left == [1.25, 2.5]


def test_a_dropped_reader_leaks_no_thread() -> None:
    before = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the guard says that it was never shut down
        reader = PeriodicReader(GuardedExporter(FakeExporter(), name="fake"), interval=3600)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        provider.get_meter("test").create_counter("c").add(1)
        provider.force_flush()
        threads = set(threading.enumerate()) - before
        assert any(thread.name == "exporter-core-reader-fake" for thread in threads)
        gone = weakref.ref(reader)
        del reader, provider
        gc.collect()
        for thread in threads:
            thread.join(LONG)
            gc.collect()
    assert gone() is None
    assert [thread.name for thread in threads if thread.is_alive()] == []
