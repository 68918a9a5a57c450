"""A look at what threads wait for: where none of them goes on by itself, waiting longer shows nothing.

Only waits are known whose time-out can be read: those of ``threading`` and of the core, and an event loop's without a
timer. A thread in any other place may go on at any time, such as one that reads from a socket, or sleeps.
"""

from __future__ import annotations

import selectors
import sys
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from exporter_core.conformance.scheduler.unscheduled import unseen_threads
from exporter_core.sync import Signal

if TYPE_CHECKING:
    from types import FrameType

_WAITS: Final = frozenset({threading.Condition.wait.__code__, Signal.wait.__code__})
_LOOPS: Final = frozenset({selectors.DefaultSelector.select.__code__})
_FAR: Final = 60.0  # seconds of a time-out, of which few have passed, that ends after anything is waited for here
_STEADY: Final = 0.2  # seconds for which all threads stay where they are: one that was just woken has gone on


class AtRest:
    """Tells when all threads but the calling one have come to rest."""

    def __init__(self) -> None:
        self._seen: object = None
        self._since = monotonic()

    def __call__(self) -> bool:
        """True if none goes on unless something new happens, and none has moved for a while."""
        waits = _waits_for_others()
        if waits is None or waits != self._seen:
            self._seen, self._since = waits, monotonic()
            return False
        return monotonic() - self._since > _STEADY and unseen_threads() is None


def _waits_for_others() -> dict[int, tuple[int, int]] | None:
    """The place at which each thread waits for another one; None if some thread may go on by itself."""
    if "greenlet" in sys.modules:  # one thread's greenlets wait in places of their own
        return None
    frames = sys._current_frames()
    del frames[threading.get_ident()]
    if not all(map(_never_ends, frames.values())):
        return None
    return {thread: (id(frame), frame.f_lasti) for thread, frame in frames.items()}


def _never_ends(frame: FrameType) -> bool:
    if frame.f_code not in _WAITS | _LOOPS:
        return False
    timeout = frame.f_locals["timeout"]
    return timeout in (None, -1) if frame.f_code in _LOOPS else timeout is None or timeout > _FAR
