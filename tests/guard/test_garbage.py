"""A guard that is dropped leaks no thread, says so, and making and ending many of them leaves nothing behind."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable

import pytest

from exporter_core.context import Context
from exporter_core.errors import DeadlineExceededError
from exporter_core.guard import GuardedExporter
from exporter_core.testing import FakeExporter

runners = pytest.mark.parametrize("runner", ["thread", "inline"])


class AsyncExporter(FakeExporter):
    async def export(self, context, metrics): ...

    async def shutdown(self, context): ...


kinds = pytest.mark.parametrize(
    ("runner", "exporter_class"), [("thread", FakeExporter), ("thread", AsyncExporter), ("inline", FakeExporter)]
)


def threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if f"-{name}" in thread.name]


def drop(guards: list[GuardedExporter], *then: Callable[[], object]) -> None:
    """Let go of the guards: their threads may do so a moment later, when they are done with the last call."""
    guards.clear()
    for step in then:
        step()


@kinds
def test_a_guard_that_is_dropped_ends_its_threads_and_warns(runner, exporter_class, context, metrics, until):
    exporter = exporter_class()
    guards = [GuardedExporter(exporter, name="dropped", runner=runner)]
    guards[0].export(context, metrics)
    dead = weakref.ref(guards[0])
    assert bool(threads_of("dropped")) == (runner == "thread")
    with pytest.warns(ResourceWarning, match=r"^exporter 'dropped' was never shut down$"):
        drop(guards, lambda: until(lambda: gc.collect() >= 0 and dead() is None))
    until(lambda: not threads_of("dropped"))
    assert "shutdown" not in exporter.calls
    freed = weakref.ref(exporter)
    del exporter
    until(lambda: gc.collect() >= 0 and freed() is None)


def test_a_guard_that_is_dropped_in_mid_export_ends_its_threads_when_the_export_ends(
    clock, gate, metrics, in_thread, until
):
    guards = [GuardedExporter(FakeExporter(on_export=gate.hold), name="midway")]
    call = in_thread(guards[0].export, clock.context(timeout=5), metrics)
    gate.await_entered()
    clock.await_sleepers()
    clock.advance(5)
    with pytest.raises(DeadlineExceededError):
        call.result(30)
    del call
    with pytest.warns(ResourceWarning, match="'midway' was never shut down"):
        drop(guards, gate.open, lambda: until(lambda: gc.collect() >= 0 and not threads_of("midway")))


@runners
def test_a_guard_that_was_shut_down_warns_of_nothing(runner, context, until):
    guard = GuardedExporter(FakeExporter(), name="closed", runner=runner)
    guard.shutdown(context)
    dead = weakref.ref(guard)
    del guard
    until(lambda: gc.collect() >= 0 and dead() is None)
    until(lambda: not threads_of("closed"))


def test_a_hung_exporters_other_threads_end_at_shutdown(gate, metrics, in_thread, until, context):
    guard = GuardedExporter(FakeExporter(on_export=gate.hold), name="hung")
    call = in_thread(guard.export, context, metrics)
    gate.await_entered()
    with pytest.raises(DeadlineExceededError):
        guard.shutdown(Context.with_timeout(0.01))
    assert call.exception(30) is not None  # its caller has left before the exporter is let go
    until(lambda: len(threads_of("hung")) == 1)
    gate.open()
    until(lambda: not threads_of("hung"))


@kinds
def test_many_cycles_leave_nothing(runner, exporter_class, context, metrics, until):
    dead = []
    for _ in range(50):
        exporter = exporter_class()
        with GuardedExporter(exporter, name="cycle", runner=runner) as guard:
            guard.export(context, metrics)
        dead += [weakref.ref(guard), weakref.ref(exporter)]
    del guard, exporter
    until(lambda: not threads_of("cycle"))
    until(lambda: gc.collect() >= 0 and not any(reference() for reference in dead))


class Target:
    def call(self):
        raise AssertionError("nothing ended the call's context")


class Registering(FakeExporter):
    """Takes none of its callbacks back."""

    def __init__(self):
        super().__init__()
        self.targets = []

    def export(self, context, metrics):
        for one in (context, context.child(timeout=3600)):
            target = Target()
            self.targets.append(weakref.ref(target))
            one.on_done(target.call)


class AsyncRegistering(Registering):
    async def export(self, context, metrics):
        super().export(context, metrics)


@pytest.mark.parametrize(
    ("runner", "exporter_class"), [("thread", Registering), ("thread", AsyncRegistering), ("inline", Registering)]
)
def test_callbacks_that_an_exporter_does_not_take_back_end_with_the_call(
    guarded, runner, exporter_class, metrics, until
):
    parent, exporter = Context.background(), exporter_class()
    guard = guarded(exporter, runner=runner)
    guard.export(parent, metrics)
    assert not parent._watchers
    until(lambda: gc.collect() >= 0 and not any(target() for target in exporter.targets))


@runners
def test_callbacks_of_a_shutdown_end_with_it(runner):
    def register(context):
        context.on_done(Target().call)

    parent, exporter = Context.background(), FakeExporter(on_shutdown=register)
    GuardedExporter(exporter, name="registers", runner=runner).shutdown(parent)
    assert not parent._watchers


def test_what_an_exporter_still_waits_for_when_its_call_has_ended_is_told(guarded, metrics, in_thread, until):
    waiting = []

    def export(context, metrics):
        waiting.append(in_thread(context.wait, 3600))
        until(lambda: len(context._watchers) > 1)  # the guard's own is the other one

    parent = Context.background()
    guarded(FakeExporter(on_export=export)).export(parent, metrics)
    parent.cancel()
    assert waiting[0].result(30) is True


def test_a_callback_is_made_where_the_call_ends_as_soon_as_it_is_cancelled(guarded, gate, metrics, in_thread):
    called = threading.Event()

    def export(context, metrics):
        context.on_done(called.set)
        gate.hold()

    parent = Context.background()
    exporting = in_thread(guarded(FakeExporter(on_export=export)).export, parent, metrics)
    gate.await_entered()
    parent.cancel()
    gate.open()
    exporting.exception(30)
    assert called.wait(30)
