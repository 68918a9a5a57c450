"""The monotonic clock, and waiting on it: the one seam through which everything here tells and spends time.

Nothing in exporter-core reads the wall clock to decide something, and nothing sleeps: every wait is a wait for a
:class:`Signal` with a time-out, through a :class:`Clock`. ``exporter_core.testing.FakeClock`` is the other clock.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MONOTONIC", "Clock", "MonotonicClock", "Signal", "TimerHandle"]


class Signal:
    """A one-shot event: a tenth of the cost of ``threading.Event``, and safe to set from a signal handler.

    It is a raw lock that is born held; setting it releases it, and each waiter passes the release on.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake every present and future waiter. Setting it twice is fine."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # released already, and with it set; a check before the release would race

    def is_set(self) -> bool:
        """Whether it has been set."""
        return not self._lock.locked()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most ``timeout`` seconds (None: without limit); whether it is set."""
        # The longest wait a lock takes is some 292 years; a float from a config file may be more.
        limit = -1 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX)
        if not self._lock.acquire(timeout=limit):
            return False
        self.set()
        return True


class TimerHandle:
    """A call that a clock will make."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Take the call back; it lets go of the callback at once."""
        self.callback = None

    def fire(self) -> None:
        """Make the call, unless it was made or taken back."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class Clock(Protocol):
    """Tells monotonic time and waits on it."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean something."""
        ...

    def wait(self, signal: Signal, timeout: float | None) -> None:
        """Return when the signal is set or ``timeout`` seconds (None: without limit) have passed."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Call ``callback()``, which must neither raise nor block, when the clock has reached ``when``."""
        ...


class MonotonicClock:
    """The operating system's monotonic clock."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self._timer = _TimerThread()

    def wait(self, signal: Signal, timeout: float | None) -> None:
        """Block the calling thread on the signal."""
        signal.wait(timeout)

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Call on the process's one daemon timer thread, which is started by the first call that needs it."""
        return self._timer.call_at(when, callback)


class _TimerThread:
    """Makes calls at their times, on one daemon thread."""

    _COMPACT_ABOVE = 64  # entries taken back are dropped when they come due, or sooner where there are many

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._sequence = itertools.count()
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Make a new lock and forget the thread: a forked child has neither the thread nor the lock's holder."""
        self._lock = threading.Lock()
        self._wake = Signal()
        self._thread: threading.Thread | None = None

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        handle = TimerHandle(when, callback)
        with self._lock:
            if len(self._heap) > self._COMPACT_ABOVE:
                self._heap = [entry for entry in self._heap if entry[2].callback is not None]
                heapq.heapify(self._heap)
            heapq.heappush(self._heap, (when, next(self._sequence), handle))
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="exporter-core-timer", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    # From Python 3.12 no thread starts while the interpreter exits. Waits are bounded without a
                    # timer; only a callback for the deadline itself is not made any more.
                    return handle
                self._thread = thread
            else:
                self._wake.set()
        return handle

    def _run(self) -> None:
        while True:
            due: list[TimerHandle] = []
            with self._lock:
                now = time.monotonic()
                while self._heap and self._heap[0][0] <= now:
                    due.append(heapq.heappop(self._heap)[2])
                timeout = self._heap[0][0] - now if self._heap else None
                self._wake = wake = Signal()
            for handle in due:
                handle.fire()
            if not due:
                wake.wait(timeout)


MONOTONIC = MonotonicClock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=MONOTONIC._timer.reset_after_fork)
