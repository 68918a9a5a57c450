"""Context: the first of deadline and cancellation wins and stays, waits end early, nothing is kept alive."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import threading
import time
import weakref
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from exporter_core.clock import MONOTONIC, TimerHandle
from exporter_core.context import Context
from exporter_core.errors import ContextCancelledError, DeadlineExceededError
from exporter_core.sync import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND = 30.0  # seconds; ends a failing run, never decides a passing one


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until another thread has made it true."""
    until = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.001)


class ManualClock:
    """A clock that moves when the test says so; a wait moves it to the wait's end."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[TimerHandle] = []

    def monotonic(self) -> float:
        return self.now

    def wait(self, signal: Signal, timeout: float | None) -> None:
        if not signal.is_set():
            assert timeout is not None, "this wait would never end"
            self.advance(timeout)

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        handle = TimerHandle(when, callback)
        self.timers.append(handle)
        return handle

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer.when <= self.now]
        self.timers = [timer for timer in self.timers if timer.when > self.now]
        for timer in due:
            timer.fire()


# --- the law ---------------------------------------------------------------------------------------------------------


class Contexts(RuleBasedStateMachine):
    """A tree of contexts beside the plainest model of it: each node's end, decided the moment it comes."""

    contexts = Bundle("contexts")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.parent: dict[Context, Context | None] = {}
        self.deadline: dict[Context, float] = {}
        self.end: dict[Context, str] = {}  # "deadline", or the cause of the cancellation that was first
        self.called: dict[Context, list[int]] = {}

    def add(self, context: Context, parent: Context | None, deadline: float) -> Context:
        self.parent[context], self.deadline[context] = parent, deadline
        self.called[context] = []
        if parent is not None and parent in self.end:
            self.end[context] = self.end[parent]
        self.settle()
        return context

    def settle(self) -> None:
        for context, deadline in self.deadline.items():
            if self.clock.now >= deadline:
                self.end.setdefault(context, "deadline")

    @rule(target=contexts, timeout=st.none() | st.floats(-2, 10) | st.sampled_from([math.inf, 1e300]))
    def make_root(self, timeout: float | None) -> Context:
        deadline = None if timeout is None else self.clock.now + timeout
        return self.add(Context(deadline=deadline, clock=self.clock), None, math.inf if deadline is None else deadline)

    @rule(
        target=contexts,
        parent=contexts,
        timeout=st.none() | st.floats(-2, 10) | st.sampled_from([math.inf, -math.inf]),
    )
    def make_child(self, parent: Context, timeout: float | None) -> Context:
        own = math.inf if timeout is None else self.clock.now + max(0.0, timeout)
        return self.add(parent.child(timeout=timeout), parent, min(own, self.deadline[parent]))

    @rule(context=contexts, cause=st.uuids())
    def cancel(self, context: Context, cause: object) -> None:
        context.cancel(str(cause))
        doomed = {context}
        for other, parent in self.parent.items():  # parents come before their children
            if parent in doomed:
                doomed.add(other)
        if context not in self.end:
            for other in doomed:
                self.end.setdefault(other, str(cause))
        self.advance(0.001)  # no two events are simultaneous on a real clock

    @rule(seconds=st.floats(0, 5))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.settle()

    @rule(context=contexts, seconds=st.floats(0, 5))
    def wait(self, context: Context, seconds: float) -> None:
        start = self.clock.now
        done_before = context in self.end
        is_done = context.wait(seconds)
        self.settle()
        assert is_done == (context in self.end)
        if done_before:
            assert self.clock.now == start
        else:
            assert self.clock.now <= max(start, min(start + seconds, self.deadline[context])) + 1e-9

    @rule(context=contexts, unregister=st.booleans())
    def watch(self, context: Context, unregister: bool) -> None:
        calls = self.called[context]
        calls.append(0)
        index = len(calls) - 1

        def count() -> None:
            calls[index] += 1

        handle = context.on_done(count)
        if unregister and context not in self.end:
            handle.unregister()
            handle.unregister()
            calls[index] = -1  # and stays so: it is not called any more

    @invariant()
    def the_first_end_wins_and_stays(self) -> None:
        for context in self.parent:
            error = context.error()
            end = self.end.get(context)
            assert context.done == (end is not None)
            if end is None:
                assert error is None
                context.raise_if_done()
            elif end == "deadline":
                assert isinstance(error, DeadlineExceededError)
            else:
                assert isinstance(error, ContextCancelledError)
                assert end in str(error)

    @invariant()
    def a_child_never_outlives_its_parent(self) -> None:
        for context, parent in self.parent.items():
            if parent is not None:
                assert context.done or not parent.done
                if parent.deadline is not None:
                    assert context.deadline is not None
                    assert context.deadline <= parent.deadline

    @invariant()
    def every_callback_is_called_exactly_once_when_done(self) -> None:
        for context, calls in self.called.items():
            assert set(calls) <= ({1, -1} if context in self.end else {0, -1})

    @invariant()
    def remaining_is_what_is_left(self) -> None:
        for context, deadline in self.deadline.items():
            remaining = context.remaining()
            if context.deadline is None:
                assert remaining is None
                assert deadline == math.inf
            else:
                assert remaining == max(0.0, deadline - self.clock.now)

    @invariant()
    def only_callbacks_that_may_still_be_called_are_kept(self) -> None:
        kept = dict.fromkeys(self.parent, 0)
        for context, calls in self.called.items():
            ancestor: Context | None = context
            while ancestor is not None:
                kept[ancestor] += calls.count(0)
                ancestor = self.parent[ancestor]
        assert {context: len(context._watchers) for context in self.parent} == kept


TestContexts = Contexts.TestCase


# --- making one and asking -------------------------------------------------------------------------------------------


def test_a_background_context_is_not_done_and_has_no_deadline() -> None:
    context = Context.background()
    assert context.deadline is None
    assert context.remaining() is None
    assert not context.done
    assert context.error() is None
    context.raise_if_done()
    assert repr(context) == "<Context active, no deadline>"


def test_with_timeout_is_done_that_many_monotonic_seconds_from_here() -> None:
    before = time.monotonic()
    context = Context.with_timeout(3600)
    assert context.deadline is not None
    assert before + 3600 <= context.deadline <= time.monotonic() + 3600
    assert not context.done


@pytest.mark.parametrize("seconds", [0, -1, -math.inf, -1e308])
def test_a_timeout_of_nothing_or_less_is_done_at_once(seconds: float) -> None:
    context = Context.with_timeout(seconds)
    assert context.done
    assert context.remaining() == 0.0
    assert context.wait(BOUND)
    with pytest.raises(DeadlineExceededError):
        context.raise_if_done()
    with pytest.raises(TimeoutError):
        context.raise_if_done()


@pytest.mark.parametrize("seconds", [math.inf, 1e308, 1e18])
def test_a_huge_timeout_can_be_waited_on_watched_and_cancelled(seconds: float) -> None:
    context, called = Context.with_timeout(seconds), Signal()
    context.on_done(called.set)
    threading.Timer(0.01, context.cancel).start()
    assert context.wait(seconds)
    assert called.wait(BOUND)
    assert isinstance(context.error(), ContextCancelledError)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Context(deadline=math.nan),
        lambda: Context.with_timeout(math.nan),
        lambda: Context.background().child(timeout=math.nan),
        lambda: Context.with_timeout(1).child(timeout=math.nan),
        lambda: Context.background().wait(math.nan),
        lambda: asyncio.run(Context.background().sleep(math.nan)),
    ],
)
def test_not_a_number_is_refused_everywhere(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="NaN"):
        make()


def test_a_child_of_a_done_parent_is_done_with_its_error() -> None:
    parent = Context.background()
    parent.cancel("closing")
    child = parent.child(timeout=5)
    assert child.done
    with pytest.raises(ContextCancelledError, match="closing"):
        child.raise_if_done()


def test_a_childs_cancellation_leaves_its_parent_alone() -> None:
    parent = Context.background()
    child = parent.child()
    child.cancel()
    assert child.done
    assert not parent.done


# --- errors ----------------------------------------------------------------------------------------------------------


def test_each_error_is_a_fresh_one_with_the_same_cause() -> None:
    cause = OSError("connection lost")
    context = Context.background()
    context.cancel(cause)
    first, second = context.error(), context.error()
    assert first is not None
    assert second is not None
    assert first is not second
    assert first.__cause__ is cause
    assert second.__cause__ is cause
    assert "connection lost" not in str(first)


def test_a_cause_given_as_text_is_in_the_message() -> None:
    context = Context.background()
    context.cancel("the host is stopping")
    assert str(context.error()) == "the context was cancelled: the host is stopping"


@pytest.mark.parametrize("cause", [None, ""])
def test_a_cancellation_needs_no_cause(cause: str | None) -> None:
    context = Context.background()
    context.cancel(cause)
    assert str(context.error()) == "the context was cancelled"


def test_the_first_cancellation_is_the_one_that_counts() -> None:
    context = Context.background()
    context.cancel("first")
    context.cancel("second")
    assert "first" in str(context.error())


def test_a_cancellation_that_interrupts_another_on_its_thread_wins_for_good() -> None:
    class Interrupting(ManualClock):
        context: Context | None = None

        def monotonic(self) -> float:
            context, self.context = self.context, None
            if context is not None:  # as a signal handler does in the middle of cancel()
                context.cancel("handler")
            return super().monotonic()

    clock = Interrupting()
    context = Context(clock=clock)
    clock.context = context
    context.cancel("interrupted")
    assert "handler" in str(context.error())


def test_an_error_asked_for_in_the_middle_of_a_cancellation_is_the_final_one() -> None:
    stamped, resume = Signal(), Signal()

    class Slow(ManualClock):
        """Lets the deadline pass when a cancellation has read its time and has not stored it."""

        readings = 0

        def monotonic(self) -> float:
            now = super().monotonic()
            if threading.current_thread() is canceller:
                self.readings += 1
                if self.readings == 2:  # the first asks whether the context is done already
                    stamped.set()
                    assert resume.wait(BOUND)
            return now

    clock = Slow()
    context = Context(deadline=clock.now + 10, clock=clock)
    errors: list[BaseException | None] = []
    canceller = threading.Thread(target=context.cancel, args=("in time",))
    asker = threading.Thread(target=lambda: errors.append(context.error()))
    canceller.start()
    assert stamped.wait(BOUND)
    clock.now += 11
    asker.start()
    asker.join(0.1)  # it must not answer before the cancellation is stored; here it would have the time to
    resume.set()
    canceller.join(BOUND)
    asker.join(BOUND)
    assert isinstance(errors[0], ContextCancelledError)
    assert isinstance(context.error(), ContextCancelledError)


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_wait_sleeps_its_seconds_and_says_that_the_context_goes_on() -> None:
    clock = ManualClock()
    context = Context(deadline=clock.now + 10, clock=clock)
    assert context.wait(4) is False
    assert clock.now == 104


def test_wait_ends_at_the_deadline() -> None:
    clock = ManualClock()
    context = Context(deadline=clock.now + 3, clock=clock)
    assert context.wait(60) is True
    assert clock.now == 103


def test_wait_of_nothing_only_asks() -> None:
    clock = ManualClock()
    context = Context(clock=clock)
    assert context.wait(0) is False
    assert context.wait(-5) is False
    assert clock.now == 100


@pytest.mark.parametrize("generation", [0, 1, 3])
def test_wait_ends_when_another_thread_cancels_the_context_or_an_ancestor(generation: int) -> None:
    ancestor = context = Context.background()
    for _ in range(generation):
        context = context.child()
    threading.Timer(0.01, ancestor.cancel).start()
    start = time.monotonic()
    assert context.wait(BOUND)
    assert time.monotonic() - start < BOUND
    assert not ancestor._watchers


def test_wait_can_be_interrupted_and_leaves_nothing_behind() -> None:
    class Interrupted(ManualClock):
        def wait(self, signal: Signal, timeout: float | None) -> None:
            raise KeyboardInterrupt

    context = Context(clock=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        context.wait(5)
    assert not context._watchers


def test_sleep_lets_the_event_loop_go_on() -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def other() -> None:
            seen.append("other")

        task = asyncio.create_task(other())
        seen.append(f"slept {await Context.background().sleep(0.01)}")
        await task
        return seen

    assert asyncio.run(main()) == ["other", "slept False"]


@pytest.mark.parametrize("generation", [0, 2])
def test_sleep_ends_when_another_thread_cancels(generation: int) -> None:
    ancestor = context = Context.background()
    for _ in range(generation):
        context = context.child()
    threading.Timer(0.01, ancestor.cancel).start()
    assert asyncio.run(asyncio.wait_for(context.sleep(BOUND), BOUND)) is True
    assert not ancestor._watchers


def test_sleep_ends_at_the_deadline() -> None:
    context = Context.with_timeout(0.01)
    assert asyncio.run(asyncio.wait_for(context.sleep(BOUND), BOUND)) is True
    assert isinstance(context.error(), DeadlineExceededError)


def test_sleep_in_a_done_context_returns_at_once() -> None:
    assert asyncio.run(asyncio.wait_for(Context.with_timeout(0).sleep(math.inf), BOUND)) is True


def test_a_task_cancelled_in_its_sleep_is_cancelled_and_leaves_nothing_behind() -> None:
    context = Context.background()

    async def main() -> None:
        task = asyncio.create_task(context.sleep(BOUND))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not context._watchers


def test_a_loop_that_has_closed_is_no_trouble_for_whoever_cancels() -> None:
    context = Context.background()
    loop = asyncio.new_event_loop()
    coroutine = context.sleep(BOUND)
    task = loop.create_task(coroutine)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    context.cancel()
    assert context.done
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # the test leaves the task behind on purpose
    coroutine.close()


# --- on_done ---------------------------------------------------------------------------------------------------------


def test_a_callback_runs_on_the_thread_that_cancels() -> None:
    context, threads = Context.background(), []
    context.child().on_done(lambda: threads.append(threading.current_thread()))
    canceller = threading.Thread(target=context.cancel)
    canceller.start()
    canceller.join(BOUND)
    assert threads == [canceller]


def test_a_callback_runs_on_a_daemon_timer_thread_when_the_deadline_passes() -> None:
    called, threads = Signal(), []
    Context.with_timeout(0.01).on_done(lambda: (threads.append(threading.current_thread()), called.set()))
    assert called.wait(BOUND)
    assert threads[0].name == "exporter-core-timer"
    assert threads[0].daemon


def test_a_callback_of_a_done_context_runs_at_once_on_the_calling_thread() -> None:
    context, threads = Context.with_timeout(0), []
    context.on_done(lambda: threads.append(threading.current_thread()))
    assert threads == [threading.current_thread()]


def test_a_callback_that_raises_is_logged_without_its_message_and_stops_nobody(caplog) -> None:
    def fail() -> None:
        raise ValueError("https://user:secret@host")

    context, calls = Context.background(), []
    context.on_done(fail)
    context.on_done(lambda: calls.append(1))
    with caplog.at_level(logging.ERROR):
        context.cancel()
    assert calls == [1]
    assert "fail" in caplog.text
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_an_interrupt_in_a_callback_reaches_the_canceller_after_everybody_was_woken() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    context, calls = Context.background(), []
    context.on_done(interrupt)
    context.on_done(lambda: calls.append(1))
    with pytest.raises(KeyboardInterrupt):
        context.cancel()
    assert calls == [1]
    assert not context._watchers


@pytest.mark.parametrize("attempt", range(50))
def test_racing_threads_call_a_callback_exactly_once(attempt: int) -> None:
    parent = Context.background()
    context = parent.child(timeout=0.002)
    calls: list[int] = []
    barrier = threading.Barrier(3)

    def register() -> None:
        for number in range(20):
            context.on_done(lambda number=number: calls.append(number))

    def race(end: Callable[[], object]) -> None:
        barrier.wait(BOUND)
        end()

    threads = [threading.Thread(target=race, args=(end,)) for end in (context.cancel, parent.cancel, register)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    # The timer thread may still be in the middle of one that it has taken.
    eventually(lambda: len(calls) >= 20 and not parent._watchers and not context._watchers)
    assert sorted(calls) == list(range(20))


def test_a_callback_may_cancel_and_register_again() -> None:
    context, calls = Context.background(), []

    def again() -> None:
        context.cancel("again")
        context.on_done(lambda: calls.append("inner"))
        calls.append("outer")

    context.on_done(again)
    context.cancel("first")
    assert calls == ["inner", "outer"]
    assert "first" in str(context.error())


# --- what is kept alive ----------------------------------------------------------------------------------------------


def _children(parent: Context) -> list[weakref.ref[Context]]:
    """One child for each way in which a context ends or is dropped."""
    dropped = parent.child()
    cancelled = parent.child()
    cancelled.on_done(lambda: None)
    cancelled.cancel()
    late = parent.child()
    late.cancel()
    late.on_done(lambda: None)
    unregistered = parent.child(timeout=3600)
    unregistered.on_done(lambda: None).unregister()
    waited = parent.child(timeout=0.001)
    waited.wait(1)
    timed = parent.child(timeout=0.001)
    called = Signal()
    timed.on_done(called.set)
    assert called.wait(BOUND)
    eventually(lambda: not parent._watchers)  # the timer thread tidies up after the callback
    grandchild = unregistered.child(timeout=0.001)
    return [weakref.ref(child) for child in (dropped, cancelled, late, unregistered, waited, timed, grandchild)]


def test_a_long_lived_parent_keeps_no_dead_child_alive() -> None:
    parent = Context.background()
    children = _children(parent)
    eventually(lambda: gc.collect() >= 0 and not any(child() for child in children))
    assert not parent._watchers


def test_a_callback_is_let_go_once_it_was_called_or_taken_back() -> None:
    class Target:
        def call(self) -> None:
            pass

    context = Context.with_timeout(3600)
    called, taken_back = Target(), Target()
    targets = [weakref.ref(called), weakref.ref(taken_back)]
    child = context.child()
    handles = [child.on_done(called.call), context.on_done(taken_back.call)]
    child.cancel()
    handles[1].unregister()
    del called, taken_back
    gc.collect()
    assert [target() for target in targets] == [None, None]


def test_a_context_dropped_by_everybody_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        parent = Context.background()
        child = weakref.ref(parent.child(timeout=5))
        assert child() is None
    finally:
        gc.enable()


# --- forks -----------------------------------------------------------------------------------------------------------


def test_a_forked_child_uses_contexts_while_another_thread_held_the_locks(run_python) -> None:
    printed = run_python(
        """
import os, threading
from exporter_core import context as module
from exporter_core.clock import MONOTONIC
from exporter_core.context import Context
from exporter_core.errors import DeadlineExceededError

held, release = threading.Event(), threading.Event()

def hold():
    with module._cancelling, MONOTONIC._timer._starting:
        held.set()
        release.wait(60)

holder = threading.Thread(target=hold)
holder.start()
assert held.wait(30)
inherited = Context.background()
child = os.fork()
if child == 0:
    own, called = Context.with_timeout(0.02), threading.Event()
    own.on_done(called.set)
    fine = called.wait(30) and isinstance(own.error(), DeadlineExceededError)
    inherited.cancel("in the child")
    fine = fine and "in the child" in str(inherited.error()) and inherited.child().wait(30)
    os._exit(0 if fine else 1)
status = os.waitpid(child, 0)[1]
release.set()
holder.join(30)
assert status == 0
assert not inherited.done
print("fine")
""",
        options=("-W", "ignore::DeprecationWarning"),
    )
    assert printed == "fine\n"


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_a_childs_deadline_is_the_earlier_of_its_own_and_its_parents(parent: float, own: float) -> None:
    clock = ManualClock()
    deadline = Context(deadline=parent, clock=clock).child(timeout=own).deadline
    assert deadline == min(parent, clock.now + max(0.0, own))


def test_the_default_clock_is_the_monotonic_one() -> None:
    assert Context.background()._clock is MONOTONIC
