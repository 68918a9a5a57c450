"""What stands around every call: calls that come back are refused, instrumentation is held off."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY, get_value

from exporter_core.errors import ExporterReentrancyError
from exporter_core.testing import FakeExporter

runners = pytest.mark.parametrize("runner", ["thread", "inline"])
OPERATIONS = ["export", "force_flush", "shutdown"]


def suppressed() -> list[object]:
    return [get_value(_SUPPRESS_INSTRUMENTATION_KEY), get_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY)]


class AsyncExporter(FakeExporter):
    """Awaits one coroutine in every operation."""

    def __init__(self, coroutine) -> None:
        super().__init__()
        self.coroutine = coroutine

    async def export(self, context, metrics):
        await self.coroutine(context)

    async def force_flush(self, context):
        await self.coroutine(context)

    async def shutdown(self, context):
        await self.coroutine(context)


def call(guard, operation, context, metrics):
    return guard.export(context, metrics) if operation == "export" else getattr(guard, operation)(context)


class Reentering:
    """Calls every operation of the guard that it is called by, and notes the answers."""

    def __init__(self, context, metrics) -> None:
        self.guard = None
        self.answers = []
        self._arguments = context, metrics

    def __call__(self, *_) -> None:
        if self.guard is None:
            return
        for operation in OPERATIONS:
            try:
                call(self.guard, operation, *self._arguments)
            except BaseException as error:  # noqa: BLE001 - it is the test's
                self.answers.append((operation, type(error), str(error)))

    async def task(self, context) -> None:
        self()

    async def subtask(self, context) -> None:
        await asyncio.get_running_loop().create_task(self.task(context))

    async def in_thread(self, context) -> None:
        await asyncio.to_thread(self)

    async def in_executor(self, context) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self)


def expected(operations=OPERATIONS):
    text = "exporter 'fake': {}: called from inside one of the exporter's own operations"
    return [(operation, ExporterReentrancyError, text.format(operation)) for operation in operations]


@runners
@pytest.mark.parametrize("operation", ["export", "force_flush"])
def test_a_call_that_comes_back_is_an_error_at_once(guarded, runner, operation, context, metrics):
    again = Reentering(context, metrics)
    again.guard = guard = guarded(FakeExporter(**{f"on_{operation}": again}), runner=runner)
    call(guard, operation, context, metrics)
    assert again.answers == expected()
    assert guard.state == "active"


@runners
def test_a_shutdown_that_comes_back_from_shutdown_is_an_error_at_once(guarded, runner, context, metrics):
    again = Reentering(context, metrics)
    again.guard = guard = guarded(FakeExporter(on_shutdown=again), runner=runner)
    guard.shutdown(context)
    assert [type_ for operation, type_, _ in again.answers if operation != "export"] == [ExporterReentrancyError] * 2
    assert guard.state == "shut_down"


@pytest.mark.parametrize("way", ["task", "subtask", "in_thread", "in_executor"])
@pytest.mark.parametrize("operation", ["export", "force_flush"])
def test_a_call_that_comes_back_from_a_task_is_an_error_at_once(guarded, way, operation, context, metrics):
    again = Reentering(context, metrics)
    guard = guarded(AsyncExporter(getattr(again, way)))
    again.guard = guard
    call(guard, operation, context, metrics)
    again.guard = None
    assert again.answers == expected()


@runners
def test_a_call_that_comes_back_says_so_in_the_error_of_the_outer_one(guarded, runner, context, metrics):
    guard = guarded(FakeExporter(on_export=lambda its, _: guard.export(its, metrics)), runner=runner)
    with pytest.raises(Exception, match="export failed: exporter 'fake': export: called from inside one of the"):
        guard.export(context, metrics)


@pytest.mark.parametrize("inner", ["thread", "inline"])
@runners
def test_an_exporter_may_call_another_guard(guarded, runner, inner, context, metrics):
    last = FakeExporter()
    second = guarded(last, runner=inner)
    first = guarded(FakeExporter(on_export=second.export), runner=runner)
    first.export(context, metrics)
    assert last.calls == ["export"]
    second.export(context, metrics)  # the host is inside neither


@runners
def test_a_thread_of_the_hosts_is_not_inside(guarded, runner, context, metrics, gate, in_thread):
    guard = guarded(FakeExporter(on_export=gate.hold), runner=runner)
    export = in_thread(guard.export, context, metrics)
    gate.await_entered()
    guard.force_flush(context)
    gate.open()
    export.result(30)


@runners
@pytest.mark.parametrize("operation", OPERATIONS)
def test_instrumentation_is_held_off_inside_and_only_there(guarded, runner, operation, context, metrics):
    seen = []
    guard = guarded(FakeExporter(**{f"on_{operation}": lambda *_: seen.extend(suppressed())}), runner=runner)
    call(guard, operation, context, metrics)
    assert seen == [True, True]
    assert suppressed() == [None, None]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_instrumentation_is_held_off_in_tasks_and_their_threads(guarded, operation, context, metrics):
    seen = []

    async def look(context):
        seen.append(suppressed())
        seen.append(await asyncio.get_running_loop().create_task(asyncio.to_thread(suppressed)))
        seen.append(await asyncio.get_running_loop().run_in_executor(None, suppressed))

    call(guarded(AsyncExporter(look)), operation, context, metrics)
    assert seen == [[True, True]] * 3


def test_instrumentation_is_held_off_while_an_exporter_is_built(guarded):
    seen = []

    def factory():
        seen.extend(suppressed())
        return FakeExporter()

    guarded(factory=factory)
    guarded(factory=factory, runner="inline")
    assert seen == [True] * 4
