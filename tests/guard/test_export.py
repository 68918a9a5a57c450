"""export while active: one at a time in the order of coming, a context of its own, counted; look-ups beside it."""

from __future__ import annotations

import threading

import pytest

from exporter_core.context import Context
from exporter_core.contract import InstrumentKind
from exporter_core.errors import ContextCancelledError, DeadlineExceededError, ExporterShutdownError
from exporter_core.testing import FakeExporter

runners = pytest.mark.parametrize("runner", ["thread", "inline"])


@runners
def test_the_exporter_is_handed_the_batch_itself(guarded, runner, context, metrics):
    handed = []
    guard = guarded(FakeExporter(on_export=lambda context, metrics: handed.append(metrics)), runner=runner)
    assert guard.export(context, metrics) is None
    assert handed[0] is metrics


@runners
def test_the_exporter_is_handed_a_child_of_the_callers_context(guarded, runner, context, metrics):
    handed = []

    def export(its, metrics):
        handed.append((its, its.deadline))
        its.cancel("the exporter cancels its own")

    guard = guarded(FakeExporter(on_export=export), runner=runner)
    guard.export(context, metrics)
    guard.export(context, metrics)
    assert [deadline for _, deadline in handed] == [context.deadline] * 2
    assert handed[0][0] is not handed[1][0]
    assert not context.done


@runners
def test_an_exporter_that_takes_less_is_handed_less(guarded, runner, context, metrics):
    class Terse(FakeExporter):
        def export(self, context):
            self.calls.append(context)

        def shutdown(self): ...

    exporter = Terse()
    guard = guarded(exporter, runner=runner)
    guard.export(context, metrics)
    assert len(exporter.calls) == 1
    guard.shutdown(context)


@runners
def test_concurrent_exports_go_in_one_at_a_time(guarded, runner, context, batch, in_thread):
    callers = 12
    together = threading.Barrier(callers)
    inside = []
    most = []

    def export(context, metrics):
        inside.append(metrics)
        most.append(len(inside))
        inside.remove(metrics)

    guard = guarded(FakeExporter(on_export=export), runner=runner)

    def call(number):
        together.wait(30)
        for _ in range(20):
            guard.export(context, batch(number))

    for done in [in_thread(call, number) for number in range(callers)]:
        done.result(30)
    assert set(most) == {1}
    assert guard.stats().exports_ok == callers * 20


def waiting_for(guard) -> int:
    """How many callers wait for their turn."""
    runner = guard._assembly.runners["export"]
    return len(runner._queue) - 1 if guard.runner == "inline" else len(runner._waiting)


@runners
def test_exports_go_in_in_the_order_of_coming(guarded, runner, context, batch, gate, in_thread, until):
    order = []

    def export(context, metrics):
        gate.hold()
        order.append(len(metrics.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points))

    guard = guarded(FakeExporter(on_export=export), runner=runner)
    calls = [in_thread(guard.export, context, batch(1))]
    gate.await_entered()
    for number in range(2, 9):
        calls.append(in_thread(guard.export, context, batch(number)))
        until(lambda wanted=number - 1: waiting_for(guard) == wanted)
    assert gate.entered == 1
    gate.open()
    for call in calls:
        call.result(30)
    assert order == list(range(1, 9))


@runners
def test_a_caller_waits_for_its_turn_no_longer_than_its_deadline(
    guarded, runner, context, clock, gate, metrics, in_thread
):
    guard = guarded(FakeExporter(on_export=gate.hold), runner=runner)
    first = in_thread(guard.export, context, metrics)
    gate.await_entered()
    second = in_thread(guard.export, clock.context(timeout=5), metrics)
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError, match="exporter 'fake': export timed out before it began"):
        second.result(30)
    gate.open()
    first.result(30)
    assert gate.entered == 1
    guard.export(context, metrics)
    assert gate.entered == 2


@runners
def test_a_caller_that_is_cancelled_waits_for_its_turn_no_longer(
    guarded, runner, context, clock, gate, metrics, in_thread
):
    guard = guarded(FakeExporter(on_export=gate.hold), runner=runner)
    first = in_thread(guard.export, context, metrics)
    gate.await_entered()
    impatient = clock.context()
    second = in_thread(guard.export, impatient, metrics)
    clock.await_sleepers()
    impatient.cancel("no time")
    with pytest.raises(ContextCancelledError, match="was cancelled before it began: no time"):
        second.result(30)
    gate.open()
    first.result(30)
    assert gate.entered == 1


@runners
def test_a_dead_context_is_its_error_and_the_exporter_is_not_called(guarded, runner, clock, metrics):
    exporter = FakeExporter()
    guard = guarded(exporter, runner=runner)
    with pytest.raises(DeadlineExceededError):
        guard.export(clock.context(timeout=0), metrics)
    cancelled = Context.background()
    cancelled.cancel(cause := ValueError("the reason"))
    with pytest.raises(ContextCancelledError) as caught:
        guard.export(cancelled.child(), metrics)
    assert caught.value.__cause__ is cause
    assert exporter.calls == []


@runners
@pytest.mark.parametrize("kind", ["live", "dead", "cancelled"])
def test_export_after_shutdown_is_refused_whatever_the_context(guarded, runner, context, kind, metrics):
    exporter = FakeExporter()
    guard = guarded(exporter, runner=runner)
    guard.shutdown(context)
    its = Context.with_timeout(0 if kind == "dead" else 30)
    if kind == "cancelled":
        its.cancel()
    with pytest.raises(
        ExporterShutdownError, match="exporter 'fake': export: the exporter has been shut down"
    ) as caught:
        guard.export(its, metrics)
    assert (caught.value.exporter, caught.value.operation) == ("fake", "export")
    assert exporter.calls == ["shutdown"]


@runners
def test_busy_says_that_an_export_runs(guarded, runner, context, gate, metrics, in_thread, until):
    guard = guarded(FakeExporter(on_export=gate.hold), runner=runner)
    assert not guard.busy
    export = in_thread(guard.export, context, metrics)
    gate.await_entered()
    assert guard.busy
    assert guard.stats().busy
    gate.open()
    export.result(30)
    until(lambda: not guard.busy)


@runners
def test_look_ups_answer_beside_a_hung_export_and_after_shutdown(guarded, runner, context, gate, metrics, in_thread):
    asked = []
    exporter = FakeExporter(on_export=gate.hold)
    exporter.on_temporality = lambda kind: asked.append(kind) or FakeExporter().temporality(kind)
    guard = guarded(exporter, runner=runner)
    answers = [(guard.temporality(kind), guard.aggregation(kind)) for kind in InstrumentKind]
    export = in_thread(guard.export, context, metrics)
    gate.await_entered()
    # No lock at all: every one that the guard has is held.
    with guard._mutex, guard._tally.mutex:
        assert [(guard.temporality(kind), guard.aggregation(kind)) for kind in InstrumentKind] == answers
    gate.open()
    export.result(30)
    guard.shutdown(context)
    assert [(guard.temporality(kind), guard.aggregation(kind)) for kind in InstrumentKind] == answers
    assert asked == list(InstrumentKind)


@runners
def test_what_was_exported_is_counted(guarded, runner, context, batch):
    def export(context, metrics):
        if metrics is bad:
            raise OSError("no route")

    bad = batch(2)
    guard = guarded(FakeExporter(on_export=export), runner=runner, name="net")
    guard.export(context, batch(3))
    guard.export(context, batch(0))
    with pytest.raises(Exception, match="no route"):
        guard.export(context, bad)
    stats = guard.stats()
    assert stats.last_export_seconds >= 0
    assert stats.as_dict() == {
        "name": "net",
        "runner": runner,
        "state": "active",
        "exports_ok": 2,
        "exports_failed": 1,
        "points_handed_over": 5,
        "points_accepted": 3,
        "points_unsettled": 0,
        "exports_abandoned": 0,
        "exports_late_ok": 0,
        "requests_repeated": 0,
        "last_export_seconds": stats.last_export_seconds,
        "last_error": "exporter 'net': export failed: OSError: no route",
        "busy": False,
    }


@runners
@pytest.mark.parametrize("kind", ["deadline", "cancelled"])
def test_an_export_with_a_dead_context_is_counted_and_told_to_observers(
    guarded, runner, kind, metrics, observers, recorder
):
    exporter = FakeExporter()
    guard = guarded(exporter, runner=runner, observers=observers)
    dead = Context.with_timeout(0 if kind == "deadline" else 30)
    if kind == "cancelled":
        dead.cancel("not wanted")
    with pytest.raises((ContextCancelledError, DeadlineExceededError)) as caught:
        guard.export(dead, metrics)
    stats = guard.stats()
    assert exporter.calls == []
    assert (stats.exports_ok, stats.exports_failed, stats.points_handed_over, stats.points_accepted) == (0, 1, 3, 0)
    assert stats.last_error == str(caught.value)
    heard = recorder.await_heard(lambda observation: observation.operation == "export")
    assert (heard.points, heard.error) == (3, str(caught.value))


@runners
def test_counts_stay_right_when_nobody_asks_for_them(guarded, runner, context, batch):
    guard, two = guarded(FakeExporter(on_export=lambda *_: None), runner=runner), batch(2)
    for _ in range(3000):
        guard.export(context, two)
    assert len(guard._tally.succeeded) <= 1025
    stats = guard.stats()
    assert (stats.exports_ok, stats.points_handed_over, stats.points_accepted) == (3000, 6000, 6000)
    assert stats.last_export_seconds >= 0


@runners
def test_leaving_the_block_shuts_down(guarded, runner, context, metrics):
    exporter = FakeExporter()
    with guarded(exporter, runner=runner) as guard:
        guard.export(context, metrics)
    assert exporter.calls == ["export", "shutdown"]
    with guarded(exporter := FakeExporter(), runner=runner) as guard:
        guard.shutdown(context)
    assert exporter.calls == ["shutdown"]
    assert guard.state == "shut_down"
