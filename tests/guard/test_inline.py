"""The inline runner is cooperative: on the caller's thread, its deadline looked at when a call returns."""

from __future__ import annotations

import threading

import pytest

from exporter_core.context import Context
from exporter_core.errors import DeadlineExceededError, ExporterError
from exporter_core.guard.call import SUCCESS, Call, Outcome
from exporter_core.guard.runners.inline import SerialInlineRunner
from exporter_core.testing import FakeClock, FakeExporter


def test_every_operation_runs_on_the_callers_thread(guarded, context, metrics):
    threads = []

    def note(*_):
        threads.append(threading.current_thread())

    guard = guarded(FakeExporter(on_export=note, on_force_flush=note, on_shutdown=note), runner="inline")
    guard.export(context, metrics)
    guard.force_flush(context)
    guard.shutdown(context)
    assert threads == [threading.current_thread()] * 3


def test_it_starts_no_thread(guarded, context, metrics):
    before = set(threading.enumerate())
    guard = guarded(runner="inline")
    guard.export(context, metrics)
    assert set(threading.enumerate()) <= before  # threads of earlier tests may end


@pytest.mark.parametrize("operation", ["export", "force_flush", "shutdown"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=lambda value: type(value).__name__)
def test_the_hosts_interrupt_passes_on_the_main_thread(guarded, operation, error, context, metrics):
    def interrupted(*_):
        raise error

    assert threading.current_thread() is threading.main_thread()
    guard = guarded(FakeExporter(**{f"on_{operation}": interrupted}), runner="inline")
    arguments = (context, metrics) if operation == "export" else (context,)
    with pytest.raises(type(error)) as caught:
        getattr(guard, operation)(*arguments)
    assert caught.value is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=lambda value: type(value).__name__)
def test_on_another_thread_it_is_the_plugins(guarded, error, context, metrics, in_thread):
    def raising(*_):
        raise error

    guard = guarded(FakeExporter(on_export=raising), runner="inline")
    with pytest.raises(ExporterError, match=f"export failed: {type(error).__name__}"):
        in_thread(guard.export, context, metrics).result(30)


def test_the_exporter_goes_on_after_an_interrupt(guarded, context, metrics):
    errors = [KeyboardInterrupt()]

    def export(context, metrics):
        if errors:
            raise errors.pop()

    guard = guarded(FakeExporter(on_export=export), runner="inline")
    with pytest.raises(KeyboardInterrupt):
        guard.export(context, metrics)
    guard.export(context, metrics)
    assert (guard.stats().exports_ok, guard.stats().exports_failed) == (1, 1)


def test_an_export_that_returns_late_is_a_deadline_error_and_counted_as_late(
    guarded, clock, metrics, recorder, observers
):
    guard = guarded(
        FakeExporter(on_export=lambda context, metrics: clock.advance(7)), runner="inline", observers=observers
    )
    with pytest.raises(
        DeadlineExceededError,
        match="exporter 'fake': export timed out: it returned after its deadline, which the inline runner cannot",
    ):
        guard.export(clock.context(timeout=5), metrics)
    stats = guard.stats()
    assert (stats.exports_ok, stats.exports_failed, stats.exports_abandoned, stats.exports_late_ok) == (0, 1, 1, 1)
    assert (stats.points_handed_over, stats.points_accepted, stats.last_export_seconds) == (3, 3, 7)
    assert "returned after its deadline" in recorder.await_heard(lambda one: one.operation == "export").error
    assert not guard.busy


@pytest.mark.parametrize("operation", ["force_flush", "shutdown"])
def test_other_operations_that_return_late_are_deadline_errors(guarded, operation, clock):
    guard = guarded(FakeExporter(**{f"on_{operation}": lambda context: clock.advance(7)}), runner="inline")
    with pytest.raises(DeadlineExceededError, match=f"{operation} timed out: it returned after its deadline"):
        getattr(guard, operation)(clock.context(timeout=5))


def test_a_late_failure_is_the_failure(guarded, clock, metrics):
    def export(context, metrics):
        clock.advance(7)
        raise OSError("no route")

    guard = guarded(FakeExporter(on_export=export), runner="inline")
    with pytest.raises(ExporterError, match="failed: OSError: no route"):
        guard.export(clock.context(timeout=5), metrics)


class HeldClock(FakeClock):
    """Keeps whoever has been woken from going on, until the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.woken, self.go_on = threading.Event(), threading.Event()

    def wait(self, signal, timeout):
        super().wait(signal, timeout)
        self.woken.set()
        assert self.go_on.wait(30)


def test_a_wake_up_is_passed_on_by_one_whose_call_was_withdrawn(gate, in_thread, until):
    """As when a shutdown withdraws a waiting export just as the running one ends."""
    runner = SerialInlineRunner(object())
    held = HeldClock()
    running = in_thread(runner.perform, Call("export", gate.hold, Context.background(), {}))
    gate.await_entered()
    withdrawn = in_thread(runner.perform, Call("export", gate.hold, held.context(), {}))
    held.await_sleepers()
    runner.refuse()
    assert held.woken.wait(30)
    # The shutdown's own call queues up behind the withdrawn one, whose thread has not gone on yet.
    certain = in_thread(runner.perform, Call("export", lambda: None, Context.background(), {}, must_run=True))
    until(lambda: len(runner._queue) == 3)
    gate.open()
    assert running.result(30) is SUCCESS
    held.go_on.set()
    assert withdrawn.result(30).outcome is Outcome.WITHDRAWN
    assert certain.result(30) is SUCCESS
