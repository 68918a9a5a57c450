"""A call that overruns: its caller gets its error on time, the exporter keeps the data, the late outcome is told of."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from exporter_core.context import Context
from exporter_core.errors import (
    ContextCancelledError,
    DeadlineExceededError,
    ExporterBusyError,
    ExporterError,
    PartialSuccessError,
)
from exporter_core.guard import GuardedExporter
from exporter_core.testing import FakeClock, FakeExporter


def overrun(guard: GuardedExporter, clock: FakeClock, metrics, in_thread, gate) -> None:
    """Have an export give up at its deadline while the exporter hangs at the gate."""
    export = in_thread(guard.export, clock.context(timeout=5), metrics)
    gate.await_entered()
    clock.await_sleepers()
    clock.advance(4.9)
    assert not export.done()
    clock.advance(0.1)
    with pytest.raises(
        DeadlineExceededError, match="exporter 'fake': export timed out; it still runs in the background"
    ):
        export.result(30)


def test_a_hung_export_raises_at_the_deadline_and_not_before(guarded, clock, gate, metrics, in_thread):
    guard = guarded(FakeExporter(on_export=gate.hold))
    overrun(guard, clock, metrics, in_thread, gate)
    assert guard.busy
    stats = guard.stats()
    assert (stats.exports_failed, stats.exports_abandoned, stats.last_export_seconds) == (1, 1, 5)


def test_a_hung_export_raises_when_it_is_cancelled(guarded, clock, gate, metrics, in_thread):
    guard = guarded(FakeExporter(on_export=gate.hold))
    parent = clock.context()
    export = in_thread(guard.export, parent.child(timeout=60), metrics)
    gate.await_entered()
    clock.await_sleepers()
    parent.cancel(cause := KeyError("why"))
    with pytest.raises(ContextCancelledError, match="export was cancelled; it still runs in the background") as caught:
        export.result(30)
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("chained", [False, True])
def test_an_error_whose_message_hangs_raises_at_the_deadline(guarded, clock, gate, metrics, in_thread, chained):
    class StuckError(Exception):
        def __str__(self):
            gate.hold()
            return "at last"

    def export(context, metrics):
        if chained:
            raise OSError("of the backend") from StuckError()
        raise StuckError

    overrun(guarded(FakeExporter(on_export=export)), clock, metrics, in_thread, gate)


@pytest.mark.parametrize("operation", ["export", "force_flush", "shutdown"])
def test_no_method_of_an_error_is_called_on_the_callers_thread(guarded, context, metrics, operation):
    threads = []

    class WatchedError(PartialSuccessError):
        def __init__(self):
            super().__init__(rejected_points=1)

        def __str__(self):
            threads.append(threading.current_thread())
            return "watched"

    def fail(*_):
        raise WatchedError

    guard = guarded(FakeExporter(**{f"on_{operation}": fail}))
    with pytest.raises(ExporterError, match="watched"):
        guard.export(context, metrics) if operation == "export" else getattr(guard, operation)(context)
    assert threads
    assert threading.current_thread() not in threads


def test_further_exports_are_refused_at_once_until_the_abandoned_one_ends(
    guarded, clock, context, gate, metrics, in_thread, until
):
    guard = guarded(FakeExporter(on_export=gate.hold))
    overrun(guard, clock, metrics, in_thread, gate)
    for _ in range(3):
        with pytest.raises(ExporterBusyError, match="export refused: an earlier export still runs in the background"):
            guard.export(clock.context(), metrics)  # without a deadline: it would wait for ever
    assert gate.entered == 1
    gate.open()
    until(lambda: not guard.busy)
    guard.export(context, metrics)
    assert gate.entered == 2


def test_operations_other_than_the_abandoned_one_go_on(guarded, clock, context, gate, metrics, in_thread):
    exporter = FakeExporter(on_export=gate.hold)
    guard = guarded(exporter)
    overrun(guard, clock, metrics, in_thread, gate)
    guard.force_flush(context)
    assert exporter.calls == ["export", "force_flush"]


def test_those_who_wait_behind_an_abandoned_export_get_their_turn_when_it_ends(
    guarded, clock, context, gate, metrics, in_thread, until
):
    guard = guarded(FakeExporter(on_export=gate.hold))
    first = in_thread(guard.export, clock.context(timeout=5), metrics)
    gate.await_entered()
    second = in_thread(guard.export, context, metrics)
    until(lambda: len(guard._assembly.runners["export"]._waiting) == 1)
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError):
        first.result(30)
    assert not second.done()
    gate.open()
    second.result(30)
    assert gate.entered == 2


def test_a_late_success_is_counted_and_told_to_observers(
    guarded, clock, gate, metrics, in_thread, observers, recorder, until
):
    guard = guarded(FakeExporter(on_export=gate.hold), observers=observers)
    overrun(guard, clock, metrics, in_thread, gate)
    given_up = recorder.await_heard(lambda observation: not observation.late)
    assert (given_up.operation, given_up.seconds, given_up.points) == ("export", 5, 3)
    assert "it still runs in the background" in given_up.error
    gate.open()
    late = recorder.await_heard(lambda observation: observation.late)
    assert (late.exporter, late.operation, late.points, late.error) == ("fake", "export", 3, None)
    assert late.seconds >= 0
    stats = guard.stats()
    assert (stats.exports_ok, stats.exports_failed, stats.exports_late_ok) == (0, 1, 1)
    assert (stats.points_handed_over, stats.points_accepted) == (3, 3)


@pytest.mark.parametrize(
    ("ending", "text", "accepted"),
    [
        (OSError("broken pipe"), "OSError: broken pipe", 0),
        (PartialSuccessError("two were old", rejected_points=2), "two were old", 1),
        (SystemExit(2), "SystemExit: 2", 0),
        (True, "returned bool; it has to return None, or raise", 0),
        (DeadlineExceededError("gave up"), "gave up", 0),
    ],
)
def test_a_late_failure_is_told_to_observers(
    ending, text, accepted, guarded, clock, gate, metrics, in_thread, observers, recorder
):
    def export(context, metrics):
        gate.hold()
        if isinstance(ending, BaseException):
            raise ending
        return ending

    guard = guarded(FakeExporter(on_export=export), observers=observers)
    overrun(guard, clock, metrics, in_thread, gate)
    gate.open()
    assert recorder.await_heard(lambda observation: observation.late).error == text
    stats = guard.stats()
    assert (stats.exports_late_ok, stats.points_accepted) == (0, accepted)


def test_a_coroutine_that_comes_late_is_closed(guarded, clock, gate, metrics, in_thread, observers, recorder):
    async def answer(): ...

    def export(context, metrics):
        gate.hold()
        return answer()

    guard = guarded(FakeExporter(on_export=export), observers=observers)
    overrun(guard, clock, metrics, in_thread, gate)
    gate.open()
    assert "returned coroutine" in recorder.await_heard(lambda observation: observation.late).error
    gc.collect()  # a coroutine that nobody awaited warns, and warnings are errors


def test_an_observer_of_a_late_end_that_fails_does_not_end_the_runner(
    guarded, clock, context, gate, metrics, in_thread, until, monkeypatch
):
    guard = guarded(FakeExporter(on_export=gate.hold))
    overrun(guard, clock, metrics, in_thread, gate)

    def tell(*_, **__):
        raise SystemExit("told")

    monkeypatch.setattr(guard, "_tell", tell)
    gate.open()
    until(lambda: not guard.busy)
    monkeypatch.undo()
    guard.export(context, metrics)


def test_the_exporter_owns_the_data_until_its_call_ends(guarded, clock, gate, batch, in_thread, until):
    class Batch:
        resource_metrics = ()

    guard = guarded(FakeExporter(on_export=lambda context, metrics: gate.hold()))
    data = Batch()
    dead = weakref.ref(data)
    overrun(guard, clock, data, in_thread, gate)
    del data
    gc.collect()
    assert dead() is not None
    gate.open()
    until(lambda: not guard.busy)
    until(lambda: gc.collect() >= 0 and dead() is None)  # the threads of both sides may still be letting go of it


def test_a_late_failure_does_not_keep_the_data(guarded, clock, gate, in_thread, until):
    class Batch:
        resource_metrics = ()

    def export(context, metrics):
        gate.hold()
        raise OSError("too late")

    guard = guarded(FakeExporter(on_export=export))
    data = Batch()
    dead = weakref.ref(data)
    overrun(guard, clock, data, in_thread, gate)
    del data
    gate.open()
    until(lambda: not guard.busy)
    until(lambda: gc.collect() >= 0 and dead() is None)  # the threads of both sides may still be letting go of it


def test_a_flush_that_overruns_is_given_up_too(guarded, clock, gate, in_thread, until, observers, recorder):
    guard = guarded(FakeExporter(on_force_flush=gate.hold), observers=observers)
    flush = in_thread(guard.force_flush, clock.context(timeout=5))
    gate.await_entered()
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError, match="force_flush timed out; it still runs in the background"):
        flush.result(30)
    with pytest.raises(ExporterBusyError) as caught:
        guard.force_flush(clock.context())
    assert caught.value.operation == "force_flush"
    assert guard.stats().exports_abandoned == 0
    gate.open()
    late = recorder.await_heard(lambda observation: observation.late)
    assert (late.operation, late.points, late.error) == ("force_flush", None, None)
    assert guard.stats().exports_late_ok == 0


def test_an_export_that_ends_in_time_is_a_success_though_the_deadline_has_passed_since(guarded, clock, metrics):
    guard = guarded(FakeExporter(on_export=lambda context, metrics: clock.advance(10)))
    try:
        guard.export(clock.context(timeout=5), metrics)
    except DeadlineExceededError:
        assert guard.stats().exports_failed == 1
    else:
        assert guard.stats().exports_ok == 1


@pytest.mark.parametrize("timeout", [1e12, float("inf")])
def test_a_deadline_beyond_what_a_lock_can_wait_is_no_error(guarded, clock, timeout, metrics, context):
    guard = guarded()
    far = Context.with_timeout(timeout)
    guard.export(far, metrics)
    guard.force_flush(far)
    guard.shutdown(far)
    with pytest.raises(ExporterError):
        guard.shutdown(far)


class InterruptedClock(FakeClock):
    """Ctrl-C comes while the caller waits, when the test says so."""

    def __init__(self, when) -> None:
        super().__init__()
        self.when = when

    def wait(self, signal, timeout):
        self.when()
        raise KeyboardInterrupt


def test_a_call_whose_caller_was_interrupted_counts_as_abandoned(
    guarded, clock, gate, metrics, until, observers, recorder
):
    guard = guarded(FakeExporter(on_export=gate.hold), observers=observers)
    with pytest.raises(KeyboardInterrupt):
        guard.export(InterruptedClock(gate.await_entered).context(), metrics)
    with pytest.raises(ExporterBusyError):
        guard.export(clock.context(), metrics)
    gate.open()
    assert recorder.await_heard(lambda observation: observation.late).error is None
    stats = guard.stats()
    assert (stats.exports_failed, stats.points_accepted) == (2, 3)
    assert (stats.exports_abandoned, stats.exports_late_ok) == (1, 1)


def test_a_call_whose_caller_was_interrupted_does_not_begin_any_more(guarded, context, gate, metrics, in_thread):
    exporter = FakeExporter(on_export=gate.hold)
    guard = guarded(exporter)
    first = in_thread(guard.export, context, metrics)
    gate.await_entered()
    with pytest.raises(KeyboardInterrupt):
        guard.export(InterruptedClock(gate.await_entered).context(), metrics)
    gate.open()
    first.result(30)
    guard.export(context, metrics)
    assert exporter.calls == ["export", "export"]
    stats = guard.stats()
    assert (stats.exports_ok, stats.exports_failed) == (2, 1)
    assert stats.exports_abandoned == 0  # it never began
