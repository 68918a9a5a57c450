"""shutdown: refuses at once, lets the running export finish, always reaches the exporter, and is final."""

from __future__ import annotations

import asyncio
import threading

import pytest

from exporter_core.context import Context
from exporter_core.errors import (
    ContextCancelledError,
    DeadlineExceededError,
    ExporterBusyError,
    ExporterError,
    ExporterShutdownError,
)
from exporter_core.testing import FakeClock, FakeExporter

runners = pytest.mark.parametrize("runner", ["thread", "inline"])


def dead_context(kind: str) -> Context:
    context = Context.with_timeout(0 if kind == "deadline" else 30)
    if kind == "cancelled":
        context.cancel("too late")
    return context


def shutting_down(guard):
    return lambda: guard.state == "shutting_down"


@runners
def test_shutdown_is_called_once_and_nothing_after_it(guarded, runner, context, metrics):
    exporter = FakeExporter()
    guard = guarded(exporter, runner=runner)
    guard.export(context, metrics)
    assert guard.shutdown(context) is None
    assert guard.state == "shut_down"
    for _ in range(2):
        with pytest.raises(ExporterShutdownError, match="exporter 'fake': shutdown: the exporter has been shut down"):
            guard.shutdown(context)
        with pytest.raises(ExporterShutdownError):
            guard.export(context, metrics)
        guard.force_flush(context)
    assert exporter.calls == ["export", "shutdown"]


@runners
def test_the_exporter_is_handed_a_child_of_the_shutdowns_context(guarded, runner, context):
    handed = []
    guard = guarded(FakeExporter(on_shutdown=handed.append), runner=runner)
    guard.shutdown(context)
    assert handed[0].deadline == context.deadline
    handed[0].cancel()
    assert not context.done


@runners
def test_new_exports_are_refused_at_once(guarded, runner, context, clock, gate, metrics, in_thread, until):
    exporter = FakeExporter(on_shutdown=gate.hold)
    guard = guarded(exporter, runner=runner)
    shutdown = in_thread(guard.shutdown, context)
    gate.await_entered()
    with pytest.raises(ExporterShutdownError):
        guard.export(clock.context(), metrics)
    assert not shutdown.done()
    gate.open()
    shutdown.result(30)
    assert exporter.calls == ["shutdown"]


@runners
def test_the_running_export_may_finish(guarded, runner, context, gate, metrics, in_thread, until):
    exporter = FakeExporter(on_export=gate.hold)
    guard = guarded(exporter, runner=runner)
    export = in_thread(guard.export, context, metrics)
    gate.await_entered()
    shutdown = in_thread(guard.shutdown, context)
    until(shutting_down(guard))
    with pytest.raises(ExporterShutdownError):
        guard.export(context, metrics)
    assert exporter.calls == ["export"]
    gate.open()
    export.result(30)
    shutdown.result(30)
    assert exporter.calls == ["export", "shutdown"]
    assert guard.stats().exports_ok == 1


@runners
def test_exports_that_wait_are_refused(guarded, runner, context, clock, gate, metrics, in_thread, until):
    exporter = FakeExporter(on_export=gate.hold)
    guard = guarded(exporter, runner=runner)
    running = in_thread(guard.export, context, metrics)
    gate.await_entered()
    waiting = [in_thread(guard.export, clock.context(), metrics) for _ in range(3)]
    clock.await_sleepers(3)
    shutdown = in_thread(guard.shutdown, context)
    for one in waiting:
        with pytest.raises(ExporterShutdownError, match="export: the exporter has been shut down"):
            one.result(30)
    assert not running.done()
    gate.open()
    running.result(30)
    shutdown.result(30)
    assert exporter.calls == ["export", "shutdown"]


@runners
def test_an_export_that_outlasts_the_shutdown_is_cancelled(guarded, runner, clock, context, metrics, in_thread, until):
    started = []

    def export(its, metrics):
        started.append(its)
        its.wait(1e9)  # as an exporter that backs off and honours its context
        its.raise_if_done()

    exporter = FakeExporter(on_export=export)
    guard = guarded(exporter, runner=runner)
    running = in_thread(guard.export, context, metrics)
    until(lambda: started)
    shutdown = in_thread(guard.shutdown, clock.context(timeout=5))
    until(shutting_down(guard))
    clock.await_sleepers()
    assert not started[0].done
    clock.advance(5)
    with pytest.raises(ExporterShutdownError, match="export: the exporter has been shut down while it was running"):
        running.result(30)
    with pytest.raises(DeadlineExceededError):
        shutdown.result(30)
    until(lambda: exporter.calls == ["export", "shutdown"])
    assert not context.done


def test_the_caller_of_an_export_that_ignores_its_cancellation_is_let_go(
    guarded, clock, context, gate, metrics, in_thread, until
):
    guard = guarded(FakeExporter(on_export=gate.hold))
    running = in_thread(guard.export, context, metrics)
    gate.await_entered()
    shutdown = in_thread(guard.shutdown, clock.context(timeout=5))
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(ExporterShutdownError, match="while it was running; whether it was delivered is unknown"):
        running.result(30)
    with pytest.raises(DeadlineExceededError):
        shutdown.result(30)
    assert guard.stats().exports_abandoned == 1


def test_the_exporters_shutdown_runs_beside_a_hung_export(guarded, clock, gate, metrics, in_thread, until):
    exporter = FakeExporter(on_export=gate.hold)
    guard = guarded(exporter)
    running = in_thread(guard.export, clock.context(), metrics)
    gate.await_entered()
    shutdown = in_thread(guard.shutdown, clock.context(timeout=5))
    clock.await_sleepers(2)
    clock.advance(5)
    with pytest.raises(DeadlineExceededError, match="exporter 'fake': shutdown"):
        shutdown.result(30)
    until(lambda: exporter.is_shut_down)
    with pytest.raises(ExporterShutdownError):
        running.result(30)
    assert gate.entered == 1
    assert guard.state == "shut_down"


def test_an_export_that_was_given_up_is_not_waited_for(guarded, clock, context, gate, metrics, in_thread):
    exporter = FakeExporter(on_export=gate.hold)
    guard = guarded(exporter)
    export = in_thread(guard.export, clock.context(timeout=5), metrics)
    gate.await_entered()
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError):
        export.result(30)
    guard.shutdown(clock.context())
    assert exporter.calls == ["export", "shutdown"]


@runners
@pytest.mark.parametrize("kind", ["deadline", "cancelled"])
def test_a_dead_context_still_releases_the_exporter(guarded, runner, kind, until):
    exporter = FakeExporter(on_shutdown=lambda context: seen.append(context.done))
    seen = []
    guard = guarded(exporter, runner=runner)
    try:
        guard.shutdown(dead_context(kind))
    except (DeadlineExceededError, ContextCancelledError):
        pass
    else:  # a thread may be quicker than its caller's look; inline, what is only cancelled went well
        assert (runner, kind) != ("inline", "deadline")
    assert guard.state == "shut_down"
    until(lambda: exporter.calls == ["shutdown"])
    assert seen == [True]


@runners
@pytest.mark.parametrize("kind", ["deadline", "cancelled"])
def test_a_dead_context_releases_the_exporter_beside_a_running_export(
    guarded, runner, kind, context, gate, metrics, in_thread, until
):
    exporter = FakeExporter(on_export=gate.hold)
    guard = guarded(exporter, runner=runner)
    export = in_thread(guard.export, context, metrics)
    gate.await_entered()
    try:
        guard.shutdown(dead_context(kind))
    except (DeadlineExceededError, ContextCancelledError):
        pass  # or the exporter's own was quicker
    until(lambda: exporter.calls == ["export", "shutdown"])
    if runner == "inline":
        gate.open()
        export.result(30)
    else:
        with pytest.raises(ExporterShutdownError):
            export.result(30)


def test_a_hung_shutdown_ends_on_time_and_is_final(guarded, clock, context, gate, metrics, in_thread):
    exporter = FakeExporter(on_shutdown=gate.hold)
    guard = guarded(exporter)
    shutdown = in_thread(guard.shutdown, clock.context(timeout=5))
    gate.await_entered()
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError, match="shutdown timed out; it still runs in the background"):
        shutdown.result(30)
    assert guard.state == "shut_down"
    with pytest.raises(ExporterShutdownError):
        guard.shutdown(context)
    with pytest.raises(ExporterShutdownError):
        guard.export(context, metrics)
    assert exporter.calls == ["shutdown"]


@runners
@pytest.mark.parametrize("error", [OSError("disk full"), GeneratorExit(), ExporterShutdownError("twice")])
def test_a_shutdown_that_fails_is_an_error_and_final(guarded, runner, error, context, metrics):
    def shutdown(context):
        raise error

    exporter = FakeExporter(on_shutdown=shutdown)
    guard = guarded(exporter, runner=runner)
    with pytest.raises(ExporterError, match="exporter 'fake': shutdown failed: ") as caught:
        guard.shutdown(context)
    assert type(caught.value) is ExporterError
    assert caught.value.__cause__ is error
    assert guard.stats().last_error == str(caught.value)
    with pytest.raises(ExporterShutdownError):
        guard.shutdown(context)
    assert guard.state == "shut_down"
    assert exporter.calls == ["shutdown"]


@runners
def test_a_concurrent_shutdown_waits_for_the_first(guarded, runner, context, gate, in_thread, clock):
    exporter = FakeExporter(on_shutdown=gate.hold)
    guard = guarded(exporter, runner=runner)
    first = in_thread(guard.shutdown, context)
    gate.await_entered()
    second = in_thread(guard.shutdown, clock.context(timeout=5))
    clock.await_sleepers()
    assert not second.done()
    gate.open()
    assert first.result(30) is None
    with pytest.raises(ExporterShutdownError):
        second.result(30)
    assert exporter.calls == ["shutdown"]


@runners
def test_a_concurrent_shutdown_waits_no_longer_than_its_own_context(guarded, runner, context, gate, in_thread, clock):
    guard = guarded(FakeExporter(on_shutdown=gate.hold), runner=runner)
    first = in_thread(guard.shutdown, context)
    gate.await_entered()
    second = in_thread(guard.shutdown, clock.context(timeout=5))
    third_context = clock.context()
    third = in_thread(guard.shutdown, third_context)
    clock.await_sleepers(2)
    clock.advance(5)
    with pytest.raises(DeadlineExceededError):
        second.result(30)
    third_context.cancel("enough")
    with pytest.raises(ContextCancelledError):
        third.result(30)
    gate.open()
    first.result(30)


@runners
def test_of_many_shutdowns_one_is_the_first(guarded, runner, context, in_thread):
    exporter = FakeExporter()
    guard = guarded(exporter, runner=runner)
    answers = [future.exception(30) for future in [in_thread(guard.shutdown, context) for _ in range(16)]]
    assert answers.count(None) == 1
    assert {type(answer) for answer in answers} == {type(None), ExporterShutdownError}
    assert exporter.calls == ["shutdown"]


@runners
def test_flush_runs_beside_a_hung_export_and_a_shutdown(guarded, runner, context, gates, metrics, in_thread, until):
    exports, shutdowns = gates(), gates()
    exporter = FakeExporter(on_export=exports.hold, on_shutdown=shutdowns.hold)
    guard = guarded(exporter, runner=runner)
    export = in_thread(guard.export, context, metrics)
    exports.await_entered()
    guard.force_flush(context)
    shutdown = in_thread(guard.shutdown, context)
    until(shutting_down(guard))
    guard.force_flush(context)
    exports.open()
    export.result(30)
    shutdowns.await_entered()
    guard.force_flush(context)
    shutdowns.open()
    shutdown.result(30)
    guard.force_flush(context)
    assert exporter.calls.count("force_flush") == 3


ENDED = {"cancel": ContextCancelledError, "shutdown": ExporterShutdownError}


def end(ending, guard, call):
    if ending == "cancel":
        call.cancel()
    else:
        with pytest.raises(DeadlineExceededError):
            guard.shutdown(Context.with_timeout(0))


@pytest.mark.parametrize("ending", ENDED)
def test_whoever_ends_a_call_runs_none_of_the_exporters_callbacks(guarded, gate, metrics, in_thread, ending, until):
    ran_on = []

    def callback():
        ran_on.append(threading.current_thread())
        raise SystemExit(3)

    def export(context, metrics):
        context.child().on_done(callback)
        gate.hold()

    guard, call = guarded(FakeExporter(on_export=export)), Context.background()
    exporting = in_thread(guard.export, call, metrics)
    gate.await_entered()
    end(ending, guard, call)
    until(lambda: ran_on)
    assert ran_on[0] is not threading.current_thread()
    with pytest.raises(ENDED[ending]):
        exporting.result(30)


@pytest.mark.parametrize("ending", ENDED)
def test_whoever_ends_a_call_does_not_wake_the_exporters_own_event_loop(
    guarded, gate, metrics, in_thread, ending, until
):
    woken_on, asleep = [], threading.Event()

    class Loop(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, callback, *args, **more):
            woken_on.append(threading.current_thread())
            return super().call_soon_threadsafe(callback, *args, **more)

    async def sleep(context):
        asyncio.get_running_loop().call_soon(asleep.set)
        await context.child().sleep(3600)

    def export(context, metrics):
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(sleep(context))
        gate.hold()

    guard, call = guarded(FakeExporter(on_export=export)), Context.background()
    exporting = in_thread(guard.export, call, metrics)
    assert asleep.wait(30)
    end(ending, guard, call)
    until(lambda: woken_on)
    assert woken_on[0] is not threading.current_thread()
    with pytest.raises(ENDED[ending]):
        exporting.result(30)


def test_a_flush_that_waits_behind_a_hung_one_is_let_go(guarded, clock, context, gate, in_thread):
    exporter = FakeExporter(on_force_flush=gate.hold)
    guard = guarded(exporter)
    hung = in_thread(guard.force_flush, context)
    gate.await_entered()
    waiting = in_thread(guard.force_flush, clock.context())
    clock.await_sleepers()
    guard.shutdown(context)
    with pytest.raises(ExporterShutdownError, match="force_flush"):
        waiting.result(30)
    gate.open()
    hung.result(30)
    assert exporter.calls == ["force_flush", "shutdown"]


@runners
def test_a_dead_context_flushes_nothing(guarded, runner):
    exporter = FakeExporter()
    guard = guarded(exporter, runner=runner)
    with pytest.raises(DeadlineExceededError):
        guard.force_flush(dead_context("deadline"))
    with pytest.raises(ContextCancelledError):
        guard.force_flush(dead_context("cancelled"))
    assert exporter.calls == []


@runners
def test_a_flush_that_fails_is_an_error_that_names_it(guarded, runner, context):
    def flush(context):
        raise OSError("no route")

    guard = guarded(FakeExporter(on_force_flush=flush), runner=runner)
    with pytest.raises(ExporterError, match="exporter 'fake': force_flush failed: OSError: no route") as caught:
        guard.force_flush(context)
    assert caught.value.operation == "force_flush"
    assert guard.state == "active"


@pytest.mark.parametrize("runner", ["thread", "inline"])
def test_an_interrupted_shutdown_still_releases_the_exporter(guarded, runner, context, gate, metrics, in_thread, until):
    class Interrupted(FakeClock):
        """Ctrl-C comes while shutdown waits for the running export."""

        def wait(self, signal, timeout):
            raise KeyboardInterrupt

    exporter = FakeExporter(on_export=gate.hold)
    guard = guarded(exporter, runner=runner)
    export = in_thread(guard.export, context, metrics)
    gate.await_entered()
    with pytest.raises(KeyboardInterrupt):
        guard.shutdown(Interrupted().context())
    until(lambda: exporter.calls == ["export", "shutdown"])
    assert guard.state == "shut_down"
    gate.open()
    assert export.exception(30) is None


def test_busy_and_abandoned_flushes_do_not_keep_shutdown(guarded, clock, context, gate, in_thread):
    exporter = FakeExporter(on_force_flush=gate.hold)
    guard = guarded(exporter)
    flush = in_thread(guard.force_flush, clock.context(timeout=5))
    gate.await_entered()
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError):
        flush.result(30)
    with pytest.raises(ExporterBusyError):
        guard.force_flush(context)
    guard.shutdown(context)
    assert exporter.calls == ["force_flush", "shutdown"]
