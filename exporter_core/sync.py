"""Waiting and taking turns between threads: a signal, a latch, a once and a turn.

Each wait ends when a context is done, cancellation included. Nothing here tells the time: that is :mod:`.clock`.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter_core.context import Context


class Signal:
    """A one-shot event: a tenth of the cost of ``threading.Event``, and safe to set from a signal handler.

    A flag, and a raw lock that is born held: setting the flag releases the lock, and each waiter passes the release on.
    """

    __slots__ = ("_flag", "_lock")

    def __init__(self) -> None:
        self._flag = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake every present and future waiter. Setting it twice is fine."""
        self._flag = True
        try:
            self._lock.release()
        except RuntimeError:
            pass  # released already; a check before the release would race

    def is_set(self) -> bool:
        """Return True once it has been set."""
        return self._flag

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most ``timeout`` seconds (None: without limit); return True if it is set."""
        # The longest wait a lock takes is some 292 years; a float from a config file may be more.
        limit = -1 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX)
        try:
            self._lock.acquire(timeout=limit)
        finally:
            if self._flag:
                self.set()  # also when Ctrl-C arrives just here: the other waiters depend on it
        return self._flag


class Once:
    """Something that one caller may take, and only one.

    It is no lock: a caller interrupted (Ctrl-C) right after acquiring a lock cannot know whether it holds it, and a
    caller interrupted here asks again.
    """

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first: dict[None, object] = {}

    @property
    def taken(self) -> bool:
        """True once somebody has taken it."""
        return bool(self._first)

    @property
    def owner(self) -> object:
        """The caller that took it; None for nobody."""
        return self._first.get(None)

    def take(self, who: object) -> bool:
        """Take it for ``who``; return True for the first caller, however often that one asks."""
        return self._first.setdefault(None, who) is who

    def give_back(self, who: object) -> bool:
        """Let the next caller take it; return False if ``who`` does not have it."""
        if self._first.get(None) is not who:
            return False
        del self._first[None]
        return True


class _Waiters:
    """The signals of threads that wait for one event, each for as long as its context lasts."""

    __slots__ = ("_signals",)

    def __init__(self) -> None:
        self._signals: dict[Signal, None] = {}

    @contextmanager
    def join(self, context: Context) -> Iterator[Signal]:
        """Give a signal that is set by :meth:`wake` and by a cancellation of the context."""
        signal = Signal()
        self._signals[signal] = None
        stop_watching = context._watch(signal.set)
        try:
            yield signal
        finally:
            stop_watching()
            self._signals.pop(signal, None)

    def wake(self) -> None:
        """Wake every thread that waits."""
        for signal in list(self._signals):
            signal.set()


class Latch:
    """An event that happens once, and that any number of threads can wait for."""

    __slots__ = ("_open", "_waiters")

    def __init__(self) -> None:
        self._open = False
        self._waiters = _Waiters()

    def open(self) -> None:
        """Let every present and future waiter through."""
        # A waiter joins first and looks second, this sets first and wakes second: one of the two sees the other.
        self._open = True
        self._waiters.wake()

    def wait(self, context: Context) -> bool:
        """Wait until it is open; return False if the context was done before."""
        with self._waiters.join(context) as signal:
            while not self._open:
                if context.done:
                    return False
                context._clock.wait(signal, context.remaining())
        return True


class Turn:
    """A lock whose waiters give up when their context is done."""

    __slots__ = ("_lock", "_waiters")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters = _Waiters()

    def take_if_free(self) -> bool:
        """Take the turn if nobody has it; return True if it was taken."""
        return self._lock.acquire(blocking=False)

    def take(self, context: Context) -> bool:
        """Wait for the turn until the context is done; return True if it was taken. A free turn is always taken."""
        while not self.take_if_free():
            with self._waiters.join(context) as signal:
                # The holder may have left before the waiter joined; a holder that leaves later wakes it.
                if self.take_if_free():
                    return True
                if not context.done:
                    context._clock.wait(signal, context.remaining())
            if context.done:
                return self.take_if_free()
        return True

    def give_back(self) -> None:
        """End the turn, and wake the threads that wait for it."""
        self._lock.release()
        self._waiters.wake()

    @contextmanager
    def held(self, context: Context) -> Iterator[None]:
        """Hold the turn in the block; raises the context's error when that is done before the turn is free."""
        while not self.take(context):
            context.raise_if_done()
        try:
            yield
        finally:
            self.give_back()
