"""Async exporters run on an event loop of their own; deadline and cancellation are real task cancellation."""

from __future__ import annotations

import asyncio
import threading

import pytest

from exporter_core.context import Context
from exporter_core.errors import ContextCancelledError, DeadlineExceededError, ExporterError, ExporterShutdownError
from exporter_core.testing import FakeExporter

pytestmark = pytest.mark.usefixtures("warm_python")


class AsyncExporter(FakeExporter):
    """Does what it is told, in coroutines."""

    def __init__(self, *, export=None, force_flush=None, shutdown=None) -> None:
        super().__init__()
        self.async_export, self.async_force_flush, self.async_shutdown = export, force_flush, shutdown

    async def export(self, context, metrics):
        self.calls.append("export")
        if self.async_export is not None:
            return await self.async_export(context)
        return None

    async def force_flush(self, context):
        self.calls.append("force_flush")
        if self.async_force_flush is not None:
            await self.async_force_flush(context)

    async def shutdown(self, context):
        self.calls.append("shutdown")
        if self.async_shutdown is not None:
            await self.async_shutdown(context)


class Sleeper:
    """A coroutine function that waits for ever and says how it ended."""

    def __init__(self, *, clean_up=None) -> None:
        self.entered, self.ended = threading.Event(), threading.Event()
        self.error = None
        self._clean_up = clean_up

    async def __call__(self, context):
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            self.error = error
            if self._clean_up is not None:
                await self._clean_up()
            raise
        finally:
            self.ended.set()


def test_every_operation_runs_on_one_loop_of_its_own(guarded, context, metrics):
    loops = []

    async def note(context):
        loops.append((asyncio.get_running_loop(), threading.current_thread()))

    guard = guarded(AsyncExporter(export=note, force_flush=note, shutdown=note))
    guard.export(context, metrics)
    guard.force_flush(context)
    guard.shutdown(context)
    assert len(set(loops)) == 1
    assert loops[0][1].daemon
    assert loops[0][1] is not threading.current_thread()


def test_a_plain_operation_beside_async_ones_runs_on_a_thread(guarded, context, metrics):
    class Mixed(AsyncExporter):
        def force_flush(self, context):
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            self.calls.append("force_flush")

    exporter = Mixed()
    guard = guarded(exporter)
    guard.export(context, metrics)
    guard.force_flush(context)
    assert exporter.calls == ["export", "force_flush"]


@pytest.mark.parametrize("answer", [True, 3])
def test_an_answer_other_than_none_is_a_failure(guarded, answer, context, metrics):
    async def export(context):
        return answer

    guard = guarded(AsyncExporter(export=export))
    with pytest.raises(ExporterError, match=f"export returned {type(answer).__name__}"):
        guard.export(context, metrics)


@pytest.mark.parametrize(
    "error",
    [
        OSError("no"),
        KeyboardInterrupt(),
        SystemExit(2),
        GeneratorExit(),
        asyncio.CancelledError(),
        StopAsyncIteration(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_task_raises_is_an_exporter_error_and_the_loop_goes_on(guarded, error, context, metrics):
    raised = [error]

    async def export(context):
        if raised:
            raise raised.pop()

    guard = guarded(AsyncExporter(export=export))
    with pytest.raises(ExporterError, match="exporter 'fake': export failed") as caught:
        guard.export(context, metrics)
    assert caught.value.__cause__ is error
    guard.export(context, metrics)


def test_exports_go_in_one_at_a_time(guarded, context, metrics, in_thread):
    inside = most = 0

    async def export(context):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1

    guard = guarded(AsyncExporter(export=export))
    for future in [in_thread(guard.export, context, metrics) for _ in range(30)]:
        future.result(30)
    assert most == 1
    assert guard.stats().exports_ok == 30


def test_the_deadline_cancels_the_task(guarded, clock, context, metrics, in_thread):
    sleeper = Sleeper()
    exporter = AsyncExporter(export=sleeper)
    guard = guarded(exporter)
    export = in_thread(guard.export, clock.context(timeout=5), metrics)
    assert sleeper.entered.wait(30)
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError, match="exporter 'fake': export timed out"):
        export.result(30)
    assert sleeper.ended.wait(30)
    assert isinstance(sleeper.error, asyncio.CancelledError)


def test_cancelling_the_context_cancels_the_task(guarded, context, metrics, in_thread, until):
    sleeper = Sleeper()
    guard = guarded(AsyncExporter(export=sleeper))
    caller = context.child()
    export = in_thread(guard.export, caller, metrics)
    assert sleeper.entered.wait(30)
    caller.cancel("enough")
    with pytest.raises(ContextCancelledError, match="enough"):
        export.result(30)
    assert sleeper.ended.wait(30)
    assert isinstance(sleeper.error, asyncio.CancelledError)
    until(lambda: not guard.busy)


@pytest.mark.parametrize("how", ["deadline", "cancel", "shutdown"])
def test_cleaning_up_after_the_cancellation_is_not_cancelled_again(
    guarded, how, clock, context, metrics, in_thread, monkeypatch
):
    monkeypatch.setattr("exporter_core.guard.runners.loop._GRACE_SECONDS", 30.0)
    cleaned = threading.Event()
    go_on = threading.Event()

    async def clean_up():
        await asyncio.to_thread(go_on.wait, 30)
        cleaned.set()

    sleeper = Sleeper(clean_up=clean_up)
    guard = guarded(AsyncExporter(export=sleeper))
    caller = clock.context(timeout=5)
    export = in_thread(guard.export, caller, metrics)
    assert sleeper.entered.wait(30)
    clock.await_sleepers()
    if how == "deadline":
        clock.advance(5)
    elif how == "cancel":
        caller.cancel()
    else:
        hurried = Context.background()
        hurried.cancel()
        try:
            guard.shutdown(hurried)
        except ContextCancelledError:
            pass  # or the exporter's own was quicker
    with pytest.raises((DeadlineExceededError, ContextCancelledError, ExporterShutdownError)):
        export.result(30)
    go_on.set()
    assert cleaned.wait(30)


def test_a_task_that_ignores_its_cancellation_keeps_the_next_export_out(
    guarded, clock, context, metrics, in_thread, until
):
    go_on = threading.Event()
    entered = threading.Event()

    async def export(context):
        entered.set()
        while not go_on.is_set():
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                pass

    exporter = AsyncExporter(export=export)
    guard = guarded(exporter)
    first = in_thread(guard.export, clock.context(timeout=5), metrics)
    assert entered.wait(30)
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError):
        first.result(30)
    with pytest.raises(ExporterError, match="an earlier export still runs in the background"):
        guard.export(context, metrics)
    go_on.set()
    until(lambda: not guard.busy)
    guard.export(context, metrics)
    assert exporter.calls == ["export", "export"]


def test_a_blocking_coroutine_is_given_up_on_time(guarded, clock, context, gate, metrics, in_thread, until):
    async def export(context):
        gate.hold()

    exporter = AsyncExporter(export=export)
    guard = guarded(exporter)
    call = in_thread(guard.export, clock.context(timeout=5), metrics)
    gate.await_entered()
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError):
        call.result(30)
    shutdown = in_thread(guard.shutdown, clock.context(timeout=5))
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError):
        shutdown.result(30)
    gate.open()
    until(lambda: exporter.calls == ["export", "shutdown"])


def test_context_sleep_ends_when_the_context_does(guarded, context, metrics, in_thread):
    answers = []
    entered = threading.Event()

    async def export(context):
        answers.append(await context.sleep(0))
        entered.set()
        answers.append(await context.sleep(1e6))
        context.raise_if_done()

    guard = guarded(AsyncExporter(export=export))
    caller = context.child()
    call = in_thread(guard.export, caller, metrics)
    assert entered.wait(30)
    caller.cancel()
    with pytest.raises(ContextCancelledError):
        call.result(30)
    assert answers[0] is False


def test_a_stray_task_that_would_end_the_loop_does_not(guarded, context, metrics, caplog, until):
    strays = [SystemExit(3), KeyboardInterrupt()]

    async def stray(error):
        raise error

    async def export(context):
        if strays:
            tasks.append(asyncio.get_running_loop().create_task(stray(strays.pop())))

    tasks = []
    guard = guarded(AsyncExporter(export=export))
    for _ in range(3):
        guard.export(context, metrics)
    until(lambda: len([one for one in caplog.records if "would have ended the loop" in one.message]) == 2)
    guard.export(context, metrics)
    assert all(task.exception() for task in tasks)
    assert all(record.exc_info is None for record in caplog.records)


def test_a_loop_that_the_exporter_stops_goes_on(guarded, context, metrics):
    async def export(context):
        asyncio.get_running_loop().stop()

    guard = guarded(AsyncExporter(export=export))
    for _ in range(3):
        guard.export(context, metrics)
    guard.shutdown(context)


def test_what_goes_wrong_beside_the_calls_is_logged_without_traceback(guarded, context, metrics, caplog, until):
    async def stray():
        raise OSError("https://me:sesame@host/")

    async def export(context):
        asyncio.get_running_loop().create_task(stray())
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    guard = guarded(AsyncExporter(export=export))
    guard.export(context, metrics)
    guard.shutdown(context)
    until(lambda: "OSError" in caplog.text)
    assert "sesame" not in caplog.text


def test_the_loops_executor_runs_on_daemon_threads(guarded, context, metrics):
    threads = []

    async def export(context):
        await asyncio.gather(*(asyncio.to_thread(lambda: threads.append(threading.current_thread())) for _ in range(5)))

    guard = guarded(AsyncExporter(export=export))
    guard.export(context, metrics)
    assert len(threads) == 5
    assert all(thread.daemon for thread in threads)


def test_the_executor_grows_with_what_waits_and_passes_errors_on(guarded, context, metrics):
    together = threading.Barrier(8)

    def fail():
        raise LookupError("in a thread")

    async def export(context):
        await asyncio.gather(*(asyncio.to_thread(together.wait, 30) for _ in range(8)))
        with pytest.raises(LookupError):
            await asyncio.to_thread(fail)

    guarded(AsyncExporter(export=export)).export(context, metrics)


@pytest.mark.parametrize("round_", range(20))
def test_shutdown_with_a_dead_context_still_runs_the_exporters(guarded, round_, caplog, until):
    """Also where the loop's thread has not come so far as to run the loop."""
    finished = threading.Event()

    async def shutdown(context):
        await asyncio.sleep(0)
        finished.set()

    guard = guarded(AsyncExporter(shutdown=shutdown))
    try:
        guard.shutdown(Context.with_timeout(0))
    except DeadlineExceededError:
        pass  # or the exporter's own was quicker
    assert finished.wait(30)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.endswith("fake-loop")])
    assert not caplog.records


def test_the_running_export_may_finish(guarded, context, metrics, in_thread, until):
    go_on, entered = threading.Event(), threading.Event()

    async def export(context):
        entered.set()
        await asyncio.to_thread(go_on.wait, 30)

    exporter = AsyncExporter(export=export)
    guard = guarded(exporter)
    call = in_thread(guard.export, context, metrics)
    assert entered.wait(30)
    shutdown = in_thread(guard.shutdown, context)
    until(lambda: guard.state == "shutting_down")
    assert exporter.calls == ["export"]
    go_on.set()
    assert call.result(30) is None
    assert shutdown.result(30) is None
    assert exporter.calls == ["export", "shutdown"]


def test_a_running_export_is_cancelled_by_a_shutdown_that_runs_out(guarded, clock, context, metrics, in_thread, until):
    sleeper = Sleeper()
    exporter = AsyncExporter(export=sleeper)
    guard = guarded(exporter)
    export = in_thread(guard.export, context, metrics)
    assert sleeper.entered.wait(30)
    shutdown = in_thread(guard.shutdown, clock.context(timeout=5))
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(ExporterShutdownError):
        export.result(30)
    assert isinstance(shutdown.exception(30), DeadlineExceededError | None)  # None: the exporter's own was quicker
    assert sleeper.ended.wait(30)
    until(lambda: exporter.calls == ["export", "shutdown"])


def test_a_hung_shutdown_is_wound_up_with_the_loop(guarded, clock, in_thread, until):
    sleeper = Sleeper()
    guard = guarded(AsyncExporter(shutdown=sleeper), name="hangs")
    shutdown = in_thread(guard.shutdown, clock.context(timeout=5))
    assert sleeper.entered.wait(30)
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError):
        shutdown.result(30)
    assert sleeper.ended.wait(30)
    assert isinstance(sleeper.error, asyncio.CancelledError)
    until(lambda: not [thread for thread in threading.enumerate() if "-hangs" in thread.name])


def test_threads_and_descriptors_are_released_by_shutdown(run_python):
    printed = run_python(
        """
import os, threading
from exporter_core import Context, Exporter, ExporterConfig
from exporter_core.guard import GuardedExporter
import asyncio, opentelemetry.sdk.metrics.export as e

class Async(Exporter[ExporterConfig]):
    async def export(self, context, metrics):
        await asyncio.to_thread(int)
    async def shutdown(self, context): ...

def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("exporter-core-cycle")]

def cycle():
    guard = GuardedExporter(Async(ExporterConfig()), name="cycle")
    context = Context.with_timeout(30)
    guard.export(context, e.MetricsData([]))
    guard.shutdown(context)
    for thread in threads():
        thread.join(30)

cycle()
before = len(os.listdir("/proc/self/fd"))
for _ in range(50):
    cycle()
print(len(os.listdir("/proc/self/fd")) - before, len(threads()))
"""
    )
    assert printed == "0 0\n"
