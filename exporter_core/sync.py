"""Waiting and taking turns between threads: a signal, a latch, a once and a turn; and what they are made of.

Each wait ends when a context is done, cancellation included. Nothing here tells the time: that is :mod:`.clock`.

Threads, locks and queues are taken from here by the whole package. They are the operating system's, also where gevent
has put greenlets in the place of threads, before this is imported or later: deadlines hold beside a greenlet that never
lets another one run. A caller in a greenlet waits for a signal as greenlets do, and the others go on.
"""

from __future__ import annotations

import _thread
import sys
import threading
from _queue import SimpleQueue
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from exporter_core.context import Context

__all__ = [  # some of them are re-exported
    "Latch", "Lock", "Once", "RLock", "Signal", "SimpleQueue", "ThreadLocal", "Turn", "blocking", "start_thread",
    "thread_id",
]  # fmt: skip

_LONGEST_GREEN: Final = 1e8  # seconds; a longer wait is one of three years after the other


def _native(module: ModuleType, name: str) -> Any:  # Any: functions and types of several modules
    """Return what the module has by itself, without what gevent has put in its place."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(module, name) if monkey is None else monkey.get_original(module.__name__, name)


if TYPE_CHECKING:
    from threading import Lock, RLock, get_ident as thread_id, local as ThreadLocal  # noqa: N812 - a type
else:
    Lock, RLock, ThreadLocal, thread_id = (
        _native(_thread, name) for name in ("allocate_lock", "RLock", "_local", "get_ident")
    )
_start_native: Final = _native(_thread, "start_new_thread")


class _Here(ThreadLocal):
    """The calling thread's own."""

    ours = False
    """True in the threads that are started here: no greenlet but their own runs there."""


_here = _Here()


def blocking(module: ModuleType, name: str) -> Any:  # Any: functions of several modules
    """Return the module's function that blocks: its own on a thread started here, elsewhere what others have put there.

    gevent's would run an event loop on our thread. CPython 3.12.1 has crashed where such a thread ended while the
    interpreter did.
    """
    return _native(module, name) if _here.ours else getattr(module, name)


def start_thread(function: Callable[..., object], *arguments: object, name: str) -> None:
    """Call the function on a daemon thread of its own. Raises RuntimeError where no thread can be started."""
    if _patched():  # threading.Thread would make a greenlet
        _start_native(_run, (function, arguments))
    else:
        threading.Thread(target=_run, args=(function, arguments), name=name, daemon=True).start()


def _run(function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    _here.ours = True
    function(*arguments)


def _patched() -> bool:
    """Return True where gevent has put greenlets in the place of threads."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _in_greenlet() -> bool:
    """Return True where the calling thread has greenlets that go on while this one waits, if gevent is imported."""
    return not _here.ours and (_patched() or sys.modules["gevent"].getcurrent().parent is not None)


def await_release(lock: Lock, seconds: float) -> None:
    """Wait until the lock is released, at most ``seconds``; where greenlets would be held up, not at all."""
    if "gevent" not in sys.modules and seconds > 0:
        lock.acquire(True, seconds)


class Signal:
    """A one-shot event: a tenth of the cost of ``threading.Event``, and safe to set from a signal handler.

    A flag, and a raw lock that is born held: setting the flag releases the lock, and each waiter passes the release on.
    A waiter that is a greenlet waits for its event loop instead, which the setter wakes.
    """

    __slots__ = ("_flag", "_lock", "_loops")

    def __init__(self) -> None:
        self._flag = False
        self._lock = Lock()
        self._lock.acquire()
        self._loops: tuple[Callable[[], object], ...] = ()  # of greenlets that wait: each wakes one

    def set(self) -> None:
        """Wake every present and future waiter. Setting it twice is fine."""
        self._flag = True
        try:
            self._lock.release()
        except RuntimeError:
            pass  # released already; a check before the release would race
        for wake in self._loops:
            try:
                wake()
            except Exception:  # noqa: BLE001, S112 - the greenlet has left, and its event loop may have ended
                continue

    def is_set(self) -> bool:
        """Return True once it has been set."""
        return self._flag

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most ``timeout`` seconds (None: without limit); return True if it is set."""
        # The longest wait a lock takes is some 292 years; a float from a config file may be more.
        limit = -1 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX)
        if "gevent" in sys.modules and limit and not self._flag and _in_greenlet():
            return self._wait_in_greenlet(limit)
        try:
            self._lock.acquire(timeout=limit)
        finally:
            if self._flag:
                self.set()  # also when Ctrl-C arrives just here: the other waiters depend on it
        return self._flag

    def _wait_in_greenlet(self, limit: float) -> bool:
        """Wait while other greenlets run; -1 is no limit."""
        woken = import_module("gevent.event").Event()
        watcher = sys.modules["gevent"].get_hub().loop.async_()
        watcher.start(woken.set)  # before the setter can see it: a wake-up that comes earlier is lost
        try:
            with _joining:
                self._loops = (*self._loops, watcher.send)
            while not self._flag:
                woken.wait(None if limit < 0 else min(limit, _LONGEST_GREEN))
                if 0 <= limit < _LONGEST_GREEN:
                    break
        finally:
            with _joining:
                self._loops = tuple(wake for wake in self._loops if wake != watcher.send)
            watcher.close()
        return self._flag


_joining: Final = Lock()  # held while a greenlet joins or leaves the waiters of a signal, for a moment


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


class _Held:
    """Holds a turn in a block; every export enters one, and a generator would cost more."""

    __slots__ = ("_context", "_turn")

    def __init__(self, turn: Turn, context: Context) -> None:
        self._turn, self._context = turn, context

    def __enter__(self) -> None:
        while not self._turn.take(self._context):
            self._context.raise_if_done()

    def __exit__(self, *_: object) -> None:
        self._turn.give_back()


class Turn:
    """A lock whose waiters give up when their context is done."""

    __slots__ = ("_lock", "_waiters")

    def __init__(self) -> None:
        self._lock = Lock()
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

    def held(self, context: Context) -> _Held:
        """Hold the turn in the block; raises the context's error when that is done before the turn is free."""
        return _Held(self, context)
