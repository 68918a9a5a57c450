"""Replacements of ``threading``, ``queue`` and ``time`` for the threads of a schedule, and their installation.

Locks, SimpleQueue, threads and times are all that is replaced: Condition, Event, Semaphore, Barrier and Queue are
Python code of the standard library, which asks ``threading`` for its locks and so becomes cooperative as it is. Any
thread that is not of the schedule gets the real thing from the same names.
"""

from __future__ import annotations

import _thread
import queue
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from exporter_core.clock import MONOTONIC, _TimerThread
from exporter_core.conformance.scheduler.results import ScheduleError
from exporter_core.conformance.scheduler.threads import Awaited, ScheduledThread, State, is_machinery, place_of
from exporter_core.conformance.scheduler.unscheduled import UNSEEN_SOCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from exporter_core.conformance.scheduler.conductor import Conductor

_FOREVER: Final = 10 * 365 * 86400.0
"""Seconds from which a time-out counts as none; ``threading.TIMEOUT_MAX`` is 292 years."""

_OUTSIDE_SECONDS: Final = 5.0  # how long a thread outside the schedule waits for a lock whose holder may never run

_LOCKS: Final = _thread.LockType, _thread.RLock

_UNTOUCHED: Final = frozenset({"_thread", "_queue", "importlib._bootstrap", "_frozen_importlib"})

_real_join: Final = threading.Thread.join
_real_sleep: Final = time.sleep


class CooperativeLock(Awaited):
    """A ``threading.Lock`` whose waiters hand over. Waiters are not served in turn: the first that runs gets it."""

    __slots__ = ("__weakref__", "_holder", "_inner", "_made", "_schedule")

    def __init__(self, schedule: Conductor) -> None:
        super().__init__()
        self._schedule = schedule
        self._inner = _thread.allocate_lock()
        self._holder: ScheduledThread | None = None
        self._made = place_of(2)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, like ``threading.Lock.acquire``; the seconds are virtual."""
        inner, schedule = self._inner, self._schedule
        if not blocking or (timeout != -1 and not 0 <= timeout <= threading.TIMEOUT_MAX):
            taken = inner.acquire(blocking, timeout)  # at once, or a wrong argument's error
        else:
            taken = inner.acquire(blocking=False)
        member = schedule.participant()
        if not taken and blocking and timeout != 0:
            if member is None:
                taken = self._acquire_outside(timeout)
            else:
                until = None if timeout == -1 or timeout >= _FOREVER else schedule.now + timeout
                taken = schedule.wait(member, self, until, lambda: inner.acquire(blocking=False))
        if taken:
            self._holder = member
        return taken

    def release(self) -> None:
        """Release the lock, like ``threading.Lock.release``."""
        self._holder = None
        self._inner.release()
        if self.waiters:
            self._schedule.wake(self)

    def locked(self) -> bool:
        """True if it is held."""
        return self._inner.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def holder(self) -> ScheduledThread | None:
        """The thread that took it."""
        return self._holder

    def describe(self) -> str:
        """Its kind, and the place where it was made."""
        return f"the lock made at {self._made}"

    def _at_fork_reinit(self) -> None:
        self._inner = _thread.allocate_lock()
        self._holder = None

    def _acquire_outside(self, timeout: float) -> bool:
        name = threading.current_thread().name
        self._schedule.note_unseen(f"the thread {name!r} outside the schedule waited for its locks")
        limit = _OUTSIDE_SECONDS if timeout == -1 else min(timeout, _OUTSIDE_SECONDS)
        if self._inner.acquire(timeout=limit):
            return True
        if timeout == -1 or timeout > _OUTSIDE_SECONDS:
            raise ScheduleError(
                f"{self.describe()} is held by a thread of a schedule, and was not released in {_OUTSIDE_SECONDS:g} s; "
                f"use the subject inside its schedule's with block"
            )
        return False

    def __repr__(self) -> str:
        return f"<{'locked' if self.locked() else 'unlocked'} cooperative lock made at {self._made}>"


class CooperativeRLock(threading._PyRLock):  # type: ignore[name-defined,misc]  # the Python version, over our locks
    """A ``threading.RLock``."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, like ``threading.RLock.acquire``, but check the arguments of a re-entry too."""
        if (not blocking and timeout != -1) or (timeout != -1 and not 0 <= timeout <= threading.TIMEOUT_MAX):
            _thread.allocate_lock().acquire(blocking, timeout)  # raises the error
        return bool(super().acquire(blocking, timeout))

    __enter__ = acquire


# Modules that have none of the names, with how many names they have: nearly all modules, and there may be thousands,
# which a schedule would take longer to look through than to run. A module that gains a name is looked through again.
_without: dict[str, tuple[int, int]] = {}


class Shims:
    """Puts the cooperative names in place, and the original ones back.

    Args:
        schedule: its threads get the cooperative names.
        modules: idle locks in their globals and classes are replaced too.
    """

    def __init__(self, schedule: Conductor, modules: list[ModuleType]) -> None:
        self._schedule = schedule
        self._modules = modules
        self._undo: list[tuple[Any, str, object, object]] = []  # any object that has attributes
        self._names: dict[int, tuple[object, object]] = {}

    def install(self) -> None:
        """Replace the names wherever a module has them."""
        replacements = [*_primitives(self._schedule), *_times(self._schedule)]
        self._names = {id(original): (original, replacement) for original, replacement in replacements}
        self._rename({key: replacement for key, (_, replacement) in self._names.items()}, remember=True)
        for name, method in _thread_methods(self._schedule).items():
            self._set(threading.Thread, name, method)
        self._set(socket.socket, "__init__", _noting_sockets(self._schedule))
        self._set(MONOTONIC, "monotonic", time.monotonic)
        self._set(MONOTONIC, "_timer", _TimerThread())  # the process's own has a thread, which lives in real time
        for module in self._modules:
            self._replace_locks_of(module)
            for value in list(vars(module).values()):
                if isinstance(value, type) and value.__module__ == module.__name__:
                    self._replace_locks_of(value)

    def remove(self) -> None:
        """Put everything back, also what modules imported meanwhile have picked up."""
        for owner, name, original, replacement in reversed(self._undo):
            if vars(owner).get(name) is replacement:
                setattr(owner, name, original)
        self._undo.clear()
        self._rename({id(replacement): original for original, replacement in self._names.values()})
        self._undo.clear()

    def join_for_real(self, thread: threading.Thread, seconds: float) -> None:
        """Wait for the end of a thread that has nothing more to do."""
        _real_join(thread, seconds)

    def _rename(self, replacements: dict[int, object], *, remember: bool = False) -> None:
        wanted = replacements.keys()
        for module_name, module in sys.modules.copy().items():
            names = getattr(module, "__dict__", None)
            if not isinstance(names, dict) or _without.get(module_name) == (id(module), len(names)):
                continue
            if wanted.isdisjoint(map(id, names.copy().values())):
                if remember:
                    _without[module_name] = id(module), len(names)
                continue
            if module_name in _UNTOUCHED or is_machinery_module(module):
                continue
            held = names.copy()
            for name in [name for name, key in zip(held, map(id, held.values()), strict=True) if key in wanted]:
                self._set(module, name, replacements[id(held[name])])

    def _set(self, owner: Any, name: str, replacement: object) -> None:
        self._undo.append((owner, name, vars(owner)[name], replacement))
        setattr(owner, name, replacement)

    def _replace_locks_of(self, owner: ModuleType | type) -> None:
        for name, value in list(vars(owner).items()):
            if not isinstance(value, _LOCKS):
                continue
            if not value.acquire(blocking=False):
                self._schedule.note_unseen(f"{owner.__name__}.{name} is held, and stays a real lock")
                continue
            value.release()
            self._set(owner, name, threading.Lock() if isinstance(value, _thread.LockType) else threading.RLock())


def is_machinery_module(module: ModuleType) -> bool:
    """True if the module is the scheduler's own; ``threading`` and ``queue`` get the names."""
    return module not in (threading, queue) and is_machinery(getattr(module, "__file__", None) or "")


def _primitives(schedule: Conductor) -> Iterator[tuple[object, object]]:
    real_lock, real_allocate, real_rlock = threading.Lock, threading._allocate_lock, threading.RLock  # type: ignore[attr-defined]  # the name threading's own code uses
    real_queue = queue.SimpleQueue
    python_queue = queue._PySimpleQueue  # type: ignore[attr-defined]  # the Python version, over our locks

    def chosen(real: Any, make: Callable[[], object]) -> type:  # Any: a function or a class
        class Chosen:
            """Makes the real thing, or the cooperative one for the schedule's threads.

            A class, since annotations may be evaluated, and one may write ``Lock | None`` or ``SimpleQueue[int]``.
            """

            def __new__(cls) -> Any:  # Any: as the calling thread needs it
                return real() if schedule.participant() is None else make()

            def __class_getitem__(cls, item: object) -> object:
                return real.__class_getitem__(item)

        return Chosen

    for real in dict.fromkeys((real_lock, real_allocate)):  # two objects from Python 3.13 on
        yield real, chosen(real, lambda: CooperativeLock(schedule))
    yield real_rlock, chosen(real_rlock, CooperativeRLock)
    yield real_queue, chosen(real_queue, python_queue)


def _times(schedule: Conductor) -> Iterator[tuple[object, object]]:
    def virtual(real: Callable[[], Any], unit: int) -> Callable[[], Any]:
        start = real()

        def tell() -> Any:  # Any: seconds, or whole nanoseconds
            if schedule.participant() is None:
                return real()
            return start + (schedule.now if unit == 1 else int(schedule.now * unit))

        return tell

    def sleep(seconds: float) -> None:
        member = schedule.participant()
        if member is None or not seconds >= 0:
            _real_sleep(seconds)  # or a wrong argument's error
        elif seconds == 0:
            schedule.give_way(member)
        else:
            until = None if seconds >= _FOREVER else schedule.now + seconds
            schedule.wait(member, None, until, lambda: False)

    yield time.sleep, sleep
    for real in (time.monotonic, time.time, time.perf_counter):
        yield real, virtual(real, 1)
    for real_ns in (time.monotonic_ns, time.time_ns, time.perf_counter_ns):
        yield real_ns, virtual(real_ns, 1_000_000_000)


def _noting_sockets(schedule: Conductor) -> Callable[..., None]:
    real_init = socket.socket.__init__

    def init(self: socket.socket, *arguments: Any, **named: Any) -> None:  # Any: whatever a socket is made of
        if schedule.participant() is not None:
            schedule.note_unseen(UNSEEN_SOCKETS)
        real_init(self, *arguments, **named)

    return init


def _thread_methods(schedule: Conductor) -> dict[str, Callable[..., object]]:
    real_start, real_is_alive = threading.Thread.start, threading.Thread.is_alive

    def start(self: threading.Thread) -> None:
        if schedule.participant() is None or self._started.is_set():  # type: ignore[attr-defined]  # as start() asks
            real_start(self)  # or the error for starting it twice
        else:
            schedule.adopt(self, real_start)

    def join(self: threading.Thread, timeout: float | None = None) -> None:
        caller, member = schedule.participant(), schedule.member_of(self)
        if caller is None or member is None or member is caller:
            _real_join(self, timeout)
            return
        until = None if timeout is None or timeout >= _FOREVER else schedule.now + max(timeout, 0.0)
        if schedule.wait(caller, member, until, lambda: member.state is State.ENDED):
            _real_join(self, _OUTSIDE_SECONDS)  # it has only its last few instructions before it

    def is_alive(self: threading.Thread) -> bool:
        member = schedule.member_of(self)
        return real_is_alive(self) if member is None else member.state is not State.ENDED

    return {"start": start, "join": join, "is_alive": is_alive}
