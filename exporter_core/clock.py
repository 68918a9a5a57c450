"""The monotonic clock, and waiting on it: the one seam through which everything here tells and spends time.

Nothing in exporter-core reads the wall clock to decide something, and nothing sleeps: every wait is a wait for a
:class:`Signal` with a time-out, through a :class:`Clock`. ``exporter_core.testing.FakeClock`` is the other clock.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from exporter_core import forking
from exporter_core.log import log
from exporter_core.sync import Lock, Signal, start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

TIMER_THREAD: Final = "exporter-core-timer"
"""The name of the thread that makes calls at their times."""

_logger = logging.getLogger(__name__)


class TimerHandle:
    """A call that a clock will make."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when: float = when
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

    def __init__(self) -> None:
        self._timer = _TimerThread()
        self.monotonic: Callable[[], float] = time.monotonic

    def wait(self, signal: Signal, timeout: float | None) -> None:
        """Block the calling thread on the signal."""
        signal.wait(timeout)

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Call on a daemon timer thread; one that does not return holds up no other call."""
        return self._timer.call_at(when, callback)

    def prepare(self) -> None:
        """Have the timer thread exist, for a :meth:`call_soon` at interpreter exit, where none can be started."""
        self._timer.start()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call on a daemon timer thread at once; on the calling one where no thread can be started any more."""
        handle = self._timer.call_at(-math.inf, callback)
        if not self._timer.started:
            _fire(handle)


class _TimerThread:
    """Makes calls at their times, on a daemon thread that has a successor take its place before it makes one.

    Calls come in through a deque and nothing here waits for a lock, since a signal handler may interrupt any of it.
    """

    _COMPACT_ABOVE = 64  # calls taken back are dropped when they come due, or sooner where there are many

    def __init__(self) -> None:
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Forget the thread and its calls: a forked child lacks the thread, and the calls are its parent's to make."""
        self._incoming: deque[TimerHandle] = deque()
        self._asleep_until = math.inf
        self._wake = Signal()
        self._starting = Lock()
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._sequence = itertools.count()
        self.started = False
        """True once there is a thread."""

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        handle = TimerHandle(when, callback)
        self._incoming.append(handle)
        self.start()
        if when < self._asleep_until or len(self._incoming) > self._COMPACT_ABOVE:
            self._wake.set()
        return handle

    def start(self) -> None:
        """Start the thread, if there is none yet and there can be one."""
        if self.started or not self._starting.acquire(blocking=False):
            return  # another thread is at it, or the very code that a signal handler has interrupted
        try:
            if not self.started:  # another thread has, meanwhile
                self._start_thread()
                self.started = True
        except RuntimeError:
            # From Python 3.12 no thread starts while the interpreter exits. Waits are bounded without a timer; only
            # a callback for the deadline itself is not made any more.
            pass
        finally:
            self._starting.release()

    def _start_thread(self) -> None:
        start_thread(self._run, name=TIMER_THREAD)

    def _run(self) -> None:
        heap, sequence = self._heap, self._sequence
        compact_above = self._COMPACT_ABOVE
        while True:
            # In this order: a call that comes in after the deque was emptied finds the signal that is waited for.
            self._wake = wake = Signal()
            self._asleep_until = math.inf
            while self._incoming:
                handle = self._incoming.popleft()
                heapq.heappush(heap, (handle.when, next(sequence), handle))
            if len(heap) > compact_above:
                heap[:] = [entry for entry in heap if entry[2].callback is not None]
                heapq.heapify(heap)
                compact_above = max(self._COMPACT_ABOVE, 2 * len(heap))
            now = time.monotonic()
            while heap and (heap[0][0] <= now or heap[0][2].callback is None):
                handle = heapq.heappop(heap)[2]
                if handle.callback is None:
                    continue
                try:
                    self._start_thread()
                except RuntimeError:
                    _fire(handle)  # none can be started any more: this one goes on by itself
                else:
                    _fire(handle)
                    return
            self._asleep_until = until = heap[0][0] if heap else math.inf
            wake.wait(until - time.monotonic())


def _fire(handle: TimerHandle) -> None:
    try:
        handle.fire()
    except BaseException as error:  # noqa: BLE001 - the thread serves every context of the process and has to go on
        log(_logger, logging.ERROR, "a timer's callback raised %s", type(error).__qualname__)


MONOTONIC: Final = MonotonicClock()

forking.call_after_fork(MONOTONIC._timer.reset_after_fork)
