"""The one-shot signal and the timer thread."""

from __future__ import annotations

import gc
import math
import threading
import time

import pytest
from hypothesis import given, strategies as st

from exporter_core.clock import MonotonicClock, TimerHandle
from exporter_core.sync import Signal

BOUND = 30.0  # seconds; ends a failing run, never decides a passing one


def test_a_signal_that_is_not_set_lets_a_wait_run_out() -> None:
    signal = Signal()
    assert not signal.wait(0)
    assert not signal.wait(0.001)
    assert not signal.wait(-math.inf)
    assert not signal.is_set()


def test_a_signal_stays_set_and_may_be_set_again() -> None:
    signal = Signal()
    signal.set()
    signal.set()
    assert signal.is_set()
    assert signal.wait(0)
    assert signal.wait(None)
    assert signal.wait(math.inf)


@given(st.floats(allow_nan=False))
def test_a_set_signal_ends_a_wait_of_any_length(timeout: float) -> None:
    signal = Signal()
    signal.set()
    assert signal.wait(timeout)


def test_a_signal_wakes_every_waiter() -> None:
    signal, woken = Signal(), []
    threads = [threading.Thread(target=lambda: woken.append(signal.wait(BOUND))) for _ in range(8)]
    for thread in threads:
        thread.start()
    signal.set()
    for thread in threads:
        thread.join(BOUND)
    assert woken == [True] * 8


def test_a_set_signal_is_seen_as_set_while_others_pass_it_on() -> None:
    signal, stop, unseen = Signal(), threading.Event(), []
    signal.set()

    def pass_on() -> None:
        while not stop.is_set():
            signal.wait(0)

    threads = [threading.Thread(target=pass_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        unseen = [number for number in range(20_000) if not (signal.is_set() and signal.wait(0))]
    finally:
        stop.set()
        for thread in threads:
            thread.join(BOUND)
    assert not unseen


def test_a_wait_interrupted_after_it_got_the_lock_passes_the_signal_on() -> None:
    class Interrupted(Signal):
        __slots__ = ()

    signal = Interrupted()
    inner = signal._lock

    class Lock:
        release = staticmethod(inner.release)

        def acquire(self, timeout: float) -> bool:
            inner.acquire(timeout=timeout)
            raise KeyboardInterrupt

    signal._lock = Lock()  # type: ignore[assignment]  # Ctrl-C at the worst moment
    signal.set()
    with pytest.raises(KeyboardInterrupt):
        signal.wait(BOUND)
    signal._lock = inner
    assert inner.acquire(timeout=BOUND)


def test_a_timer_handle_calls_once_and_not_when_cancelled() -> None:
    calls: list[str] = []
    handle = TimerHandle(0.0, lambda: calls.append("called"))
    handle.fire()
    handle.fire()
    assert calls == ["called"]
    cancelled = TimerHandle(0.0, lambda: calls.append("cancelled"))
    cancelled.cancel()
    cancelled.fire()
    assert calls == ["called"]


def test_the_clock_calls_in_the_order_of_time_not_of_asking(monkeypatch) -> None:
    clock, calls, done = MonotonicClock(), [], Signal()

    def start_none() -> None:
        raise RuntimeError("no thread can be started")

    # One thread makes all calls, and only once all are asked for: two that are due would else have a thread each.
    monkeypatch.setattr(clock._timer, "_start_thread", start_none)
    start = clock.monotonic()
    clock.call_at(start + 0.06, done.set)
    for delay in (0.04, 0.02, 0.03, 0.01):
        clock.call_at(start + delay, lambda delay=delay: calls.append(delay))
    threading.Thread(target=clock._timer._run, daemon=True).start()
    assert done.wait(BOUND)
    assert calls == [0.01, 0.02, 0.03, 0.04]


def test_a_call_is_never_early() -> None:
    clock, done, late = MonotonicClock(), Signal(), []
    when = clock.monotonic() + 0.02
    clock.call_at(when, lambda: (late.append(clock.monotonic() - when), done.set()))
    assert done.wait(BOUND)
    assert late[0] >= 0


def test_an_earlier_call_overtakes_one_that_the_thread_sleeps_for() -> None:
    clock, first, second = MonotonicClock(), Signal(), Signal()
    clock.call_at(clock.monotonic(), first.set)
    assert first.wait(BOUND)
    clock.call_at(clock.monotonic() + 3600, first.set)
    clock.call_at(clock.monotonic(), second.set)
    assert second.wait(BOUND)


def test_a_call_at_infinity_is_never_made_and_holds_up_no_other() -> None:
    clock, never, done = MonotonicClock(), Signal(), Signal()
    clock.call_at(math.inf, never.set)
    clock.call_at(-math.inf, done.set)
    assert done.wait(BOUND)
    assert not never.is_set()


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_the_timer_thread_survives_a_callback_that_raises(error: type[BaseException], caplog) -> None:
    def fail() -> None:
        raise error("a secret in a message")

    clock, done = MonotonicClock(), Signal()
    clock.call_at(clock.monotonic(), fail)
    clock.call_at(clock.monotonic(), done.set)
    assert done.wait(BOUND)
    until = time.monotonic() + BOUND
    while not caplog.text and time.monotonic() < until:
        time.sleep(0.001)  # another thread has made that call
    assert error.__name__ in caplog.text
    assert "secret" not in caplog.text


def test_calls_taken_back_are_dropped_long_before_they_are_due() -> None:
    clock, done = MonotonicClock(), Signal()
    far = clock.monotonic() + 3600
    for _ in range(20_000):
        clock.call_at(far, lambda: None).cancel()
    clock.call_at(clock.monotonic(), done.set)
    assert done.wait(BOUND)
    # By its type: isinstance() would ask objects of other tests, such as proxies of what is gone.
    kept = sum(type(kept) is TimerHandle and kept.when == far for kept in gc.get_objects())
    assert kept <= 2 * clock._timer._COMPACT_ABOVE


def test_calls_from_many_threads_are_all_made() -> None:
    clock, barrier, made = MonotonicClock(), threading.Barrier(8), threading.Semaphore(0)

    def ask() -> None:
        barrier.wait(BOUND)
        for _ in range(200):
            clock.call_at(clock.monotonic() + 0.001, made.release)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert all(made.acquire(timeout=BOUND) for _ in range(1600))
    assert sum(thread.name == "exporter-core-timer" for thread in threading.enumerate()) >= 1


def test_a_call_that_does_not_return_holds_up_no_other() -> None:
    clock, gate, entered, called = MonotonicClock(), threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        gate.wait(BOUND)

    for _ in range(3):
        clock.call_at(clock.monotonic(), hang)
    assert entered.wait(BOUND)
    clock.call_at(clock.monotonic() + 0.01, called.set)
    assert called.wait(BOUND)
    gate.set()


def test_where_no_thread_can_be_started_a_call_at_once_is_made_by_whoever_asks(monkeypatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    clock, threads = MonotonicClock(), []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        clock.call_soon(lambda: threads.append(threading.current_thread()))
    assert threads == [threading.current_thread()]


def test_a_call_asked_for_while_the_thread_is_being_started_needs_no_lock() -> None:
    clock, done = MonotonicClock(), Signal()
    timer = clock._timer
    with timer._starting:  # as a signal handler finds it that interrupts the start
        clock.call_at(clock.monotonic(), done.set)
    clock.call_at(clock.monotonic(), lambda: None)
    assert done.wait(BOUND)


def test_a_forked_child_makes_its_own_calls_and_none_of_its_parent(run_python) -> None:
    printed = run_python(
        """
import os, threading, time
from exporter_core.clock import MONOTONIC
from exporter_core.sync import Signal

called_in, inherited, started = [], Signal(), Signal()
MONOTONIC.call_at(MONOTONIC.monotonic(), started.set)
assert started.wait(30)
MONOTONIC.call_at(MONOTONIC.monotonic() + 0.05, lambda: (called_in.append(os.getpid()), inherited.set()))
MONOTONIC._timer._starting.acquire()  # held by "another thread" at the moment of the fork
child = os.fork()
if child == 0:
    own = Signal()
    MONOTONIC.call_at(MONOTONIC.monotonic() + 0.1, own.set)
    os._exit(0 if own.wait(30) and os.getpid() not in called_in else 1)
assert os.waitpid(child, 0)[1] == 0
assert inherited.wait(30)
print("fine")
""",
        options=("-W", "ignore::DeprecationWarning"),
    )
    assert printed == "fine\n"


def test_the_monotonic_clock_is_the_system_clock_of_that_name() -> None:
    before = time.monotonic()
    assert before <= MonotonicClock().monotonic() <= time.monotonic()
