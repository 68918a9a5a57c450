"""A scheduled thread, and the things that it can wait for."""

from __future__ import annotations

import _thread
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from exporter_core.conformance.scheduler.results import Waiting

if TYPE_CHECKING:
    import threading
    from types import FrameType

_STANDARD = frozenset(
    sys.modules[name].__file__ for name in ("threading", "queue") if name in sys.modules
)  # what builds on locks there is one operation for a reader
_OWN = str(Path(__file__).parent)


def is_machinery(filename: str) -> bool:
    """True if a source file is the scheduler's own, or builds the standard library's primitives on locks."""
    return filename in _STANDARD or filename.startswith(_OWN)


class State(Enum):
    """The state of a scheduled thread."""

    RUNNABLE = "runnable"
    BLOCKED = "blocked"
    ENDED = "ended"


class Awaited:
    """Something that threads wait for, with the waiting ones in the order in which they began."""

    __slots__ = ("waiters",)

    def __init__(self) -> None:
        self.waiters: list[ScheduledThread] = []

    @property
    def holder(self) -> ScheduledThread | None:
        """The thread that has to act, if it is known."""
        return None

    def describe(self) -> str:
        """A noun for messages."""
        raise NotImplementedError


class ScheduledThread(Awaited):
    """One thread of a schedule; others can wait for its end. The first, of index 0, is the one that opened it."""

    __slots__ = ("awaited", "baton", "ended", "error", "ident", "index", "name", "rest", "state", "thread", "until")

    _UNWINDING_STEPS = 2000  # instructions of the subject that an abandoned thread may spend on cleaning up

    def __init__(self, index: int, name: str, thread: threading.Thread | None = None) -> None:
        super().__init__()
        self.index = index
        self.name = name
        self.thread = thread
        self.ident: int | None = None
        self.state = State.RUNNABLE
        self.awaited: Awaited | None = None
        self.until: float | None = None
        self.error: BaseException | None = None
        self.rest = self._UNWINDING_STEPS
        self.baton = _held_lock()
        """Released by the thread that lets this one run; a real lock, as ``ended`` is."""
        self.ended = _held_lock()

    @property
    def holder(self) -> ScheduledThread | None:
        """Itself: it has to end."""
        return self

    def describe(self) -> str:
        """Its end."""
        return f"the end of {self.name!r}"

    def waiting(self) -> Waiting:
        """A description of its wait and the place, read off its stack."""
        frame = sys._current_frames().get(self.ident or 0)
        operation, where = operation_of(frame)
        awaited = self.awaited
        if awaited is not None:
            operation = f"{operation} on {awaited.describe()}" if operation else f"a wait for {awaited.describe()}"
        holder = awaited.holder if awaited is not None else None
        return Waiting(
            thread=self.name,
            operation=operation or "time.sleep",
            place=where,
            holder=None if holder is None else holder.name,
        )


def operation_of(frame: FrameType | None) -> tuple[str, str]:
    """The outermost of the standard library's blocking operations on top of a stack, and the place of its caller."""
    operation = ""
    while frame is not None and is_machinery(frame.f_code.co_filename):
        if frame.f_code.co_name == "_recorded":
            return operation, "the function that was run itself"
        owner = frame.f_locals.get("self")
        if owner is not None and (frame.f_code.co_filename in _STANDARD or not operation):
            name = type(owner).__name__
            if name not in ("Schedule", "Conductor", "ScheduledThread"):
                operation = f"{name.removeprefix('Cooperative').lstrip('_')}.{frame.f_code.co_name.strip('_')}"
        frame = frame.f_back
    return operation, "an unknown place" if frame is None else _location(frame)


def place_of(depth: int) -> str:
    """The place of the code that called into the machinery, ``depth`` frames up or further."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and is_machinery(frame.f_code.co_filename):
        frame = frame.f_back
    return "an unknown place" if frame is None else _location(frame)


def _location(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _held_lock() -> _thread.LockType:
    lock = _thread.allocate_lock()
    lock.acquire()
    return lock
