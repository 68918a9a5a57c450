"""The public test helpers: a fake exporter that keeps the contract, and a clock that moves when it is told to."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData, ResourceMetrics
from opentelemetry.sdk.metrics.view import SumAggregation
from opentelemetry.sdk.resources import Resource

from exporter_core.context import Context
from exporter_core.contract import InstrumentKind
from exporter_core.errors import ContextCancelledError, DeadlineExceededError, ExporterShutdownError
from exporter_core.guard import verify
from exporter_core.sync import Signal
from exporter_core.testing import FakeClock, FakeExporter

PATIENCE = 30.0


def batch() -> MetricsData:
    return MetricsData([ResourceMetrics(Resource({"service.name": "tests"}), [], "")])


def started(function, *arguments) -> tuple[threading.Thread, list[object]]:
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(function(*arguments)), daemon=True)
    thread.start()
    return thread, answers


# --- FakeExporter ----------------------------------------------------------------------------------------------------


def test_the_fake_exporter_fits_the_contract():
    assert verify(FakeExporter) is FakeExporter


def test_it_remembers_what_it_accepted_and_was_asked():
    exporter, context, metrics = FakeExporter(), Context.background(), batch()
    exporter.export(context, metrics)
    exporter.force_flush(context)
    exporter.shutdown(context)
    assert exporter.exported == [metrics]
    assert exporter.calls == ["export", "force_flush", "shutdown"]


def test_what_it_keeps_is_a_copy_since_the_data_may_be_reused():
    exporter, metrics = FakeExporter(), batch()
    exporter.export(Context.background(), metrics)
    metrics.resource_metrics[0].resource.attributes._dict["service.name"] = "reused"
    assert exporter.exported == [batch()]


def test_after_shutdown_export_and_a_second_shutdown_are_refused_and_a_flush_returns():
    exporter, context = FakeExporter(), Context.background()
    exporter.shutdown(context)
    with pytest.raises(ExporterShutdownError):
        exporter.export(context, batch())
    with pytest.raises(ExporterShutdownError):
        exporter.shutdown(context)
    context.cancel()
    assert exporter.force_flush(context) is None
    assert exporter.exported == []


def test_it_honours_its_context_and_releases_all_the_same():
    exporter, context = FakeExporter(), Context.background()
    context.cancel()
    for operation in (lambda: exporter.export(context, batch()), lambda: exporter.force_flush(context)):
        with pytest.raises(ContextCancelledError):
            operation()
    with pytest.raises(ContextCancelledError):
        exporter.shutdown(context)
    assert exporter.is_shut_down
    assert exporter.exported == []


def test_function_fields_take_the_place_of_every_operation():
    aggregation = SumAggregation()
    exporter = FakeExporter(
        on_export=lambda context, metrics: "export",
        on_force_flush=lambda context: "flush",
        on_shutdown=lambda context: "shutdown",
        on_temporality=lambda kind: AggregationTemporality.DELTA,
        on_aggregation=lambda kind: aggregation,
    )
    context = Context.background()
    assert exporter.export(context, batch()) == "export"
    assert exporter.force_flush(context) == "flush"
    assert exporter.shutdown(context) == "shutdown"
    assert exporter.temporality(InstrumentKind.GAUGE) is AggregationTemporality.DELTA
    assert exporter.aggregation(InstrumentKind.GAUGE) is aggregation
    assert exporter.exported == []
    assert not exporter.is_shut_down


# --- FakeClock -------------------------------------------------------------------------------------------------------


def test_time_stands_still_until_it_is_let_pass():
    clock = FakeClock()
    assert clock.monotonic() == clock.monotonic() == 0.0
    clock.advance(2.5)
    assert clock.monotonic() == 2.5


def test_a_context_on_it_is_done_when_its_time_has_passed():
    clock = FakeClock()
    context, endless = clock.context(timeout=5), clock.context()
    clock.advance(4.9)
    assert not context.done
    clock.advance(0.1)
    assert isinstance(context.error(), DeadlineExceededError)
    assert not endless.done


def test_who_waits_is_woken_when_the_time_has_passed_and_not_before():
    clock, signal = FakeClock(), Signal()
    thread, _ = started(clock.wait, signal, 5)
    clock.await_sleepers()
    clock.advance(4)
    assert thread.is_alive()
    clock.advance(1)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert clock.waits == [5]


def test_a_signal_is_not_set_because_time_has_passed():
    clock, signal = FakeClock(), Signal()
    thread, _ = started(clock.wait, signal, 5)
    clock.await_sleepers()
    clock.advance(5)
    thread.join(PATIENCE)
    assert not signal.is_set()


def test_who_waits_is_woken_by_the_signal():
    clock, signal = FakeClock(), Signal()
    thread, _ = started(clock.wait, signal, None)
    clock.await_sleepers()
    clock.advance(1e9)
    assert thread.is_alive()
    signal.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_several_may_wait_for_one_signal_each_for_its_own_time():
    clock, signal = FakeClock(), Signal()
    short, _ = started(clock.wait, signal, 1)
    long, _ = started(clock.wait, signal, 10)
    clock.await_sleepers(2)
    clock.advance(1)
    short.join(PATIENCE)
    assert not short.is_alive()
    assert long.is_alive()
    clock.await_sleepers(1)
    clock.advance(9)
    long.join(PATIENCE)
    assert not long.is_alive()


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_wait_without_time_returns_at_once(seconds):
    FakeClock().wait(Signal(), seconds)


def test_a_wait_for_what_has_happened_returns_at_once():
    signal = Signal()
    signal.set()
    FakeClock().wait(signal, None)


def test_a_backing_off_loop_runs_on_one_thread_when_time_advances_by_itself():
    clock = FakeClock(auto_advance=True)
    context = clock.context(timeout=10)
    attempts = 0
    while not context.wait(3):
        attempts += 1
    assert attempts == 3
    assert clock.waits == [3, 3, 3, 1]
    assert clock.monotonic() == 10


def test_calls_that_come_due_while_time_advances_by_itself_are_made():
    clock, called = FakeClock(auto_advance=True), []
    clock.call_at(2, lambda: called.append(clock.monotonic()))
    clock.wait(Signal(), 5)
    assert called == [5]


def test_calls_are_made_in_the_order_of_their_times():
    clock, called = FakeClock(), []
    for when in (3, 1, 2, 9):
        clock.call_at(when, lambda when=when: called.append(when))
    clock.advance(5)
    assert called == [1, 2, 3]
    clock.advance(5)
    assert called == [1, 2, 3, 9]


def test_a_call_that_was_taken_back_is_not_made():
    clock, called = FakeClock(), []
    handle = clock.call_at(1, lambda: called.append(1))
    handle.cancel()
    clock.advance(5)
    assert called == []


def test_a_call_for_the_past_is_made_at_once():
    clock, called = FakeClock(), []
    clock.advance(5)
    clock.call_at(3, lambda: called.append(3))
    assert called == [3]


def test_a_call_may_use_the_clock():
    clock, called = FakeClock(), []
    clock.call_at(1, lambda: clock.call_at(clock.monotonic(), lambda: called.append("again")))
    clock.advance(1)
    assert called == ["again"]


def test_sleepers_that_never_come_are_a_timeout_error():
    with pytest.raises(TimeoutError, match=r"0 of 2 threads wait on the clock after 0\.01 s"):
        FakeClock().await_sleepers(2, timeout=0.01)
