"""Hands calls over to another thread, and waits for them no longer than their deadline.

The exporter overruns: ``DeadlineExceededError`` on time; the exporter keeps the batch until its call really ends; until
then the operation raises ``ExporterBusyError`` at once; the late end is counted and told to observers. An exporter that
keeps the deadline itself ends at the same moment: a short grace lets its own words come first.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from exporter_core.guard.call import Outcome, Result
from exporter_core.log import log
from exporter_core.sync import Lock, Signal, await_release

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.guard.call import Call

_logger = logging.getLogger(__name__)

SOON_SECONDS: Final = 0.005
"""Seconds for which a call is waited for before its caller looks for a cancellation, too. A kernel's timer that is due
before its next tick costs as much as the call."""
GRACE_SECONDS: Final = 0.005
"""Seconds for which a call that has begun is waited for after its context is done."""
HEEDED_SECONDS: Final = 0.05
"""The same if the exporter heeds its context: it waits on it, or makes its attempts by ``Retrying``."""

_WITHDRAWN: Final = Result(Outcome.WITHDRAWN)
_ABANDONED: Final = Result(Outcome.ABANDONED)
_BUSY: Final = Result(Outcome.BUSY)


class HandedOverCall:
    """A call that one thread makes while another waits for its result.

    Two races decide it, each by a lock that only the first to come can take: the runner begins it, or it is withdrawn
    (by its caller or a shutdown); the runner ends it, or its caller abandons it.
    """

    __slots__ = ("_begun", "_decided", "_ended", "call", "result", "wake")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.wake: Signal | None = None
        """Set when the caller has a reason to look; None while that waits for the end alone."""
        self.result: Result | None = None
        """The result for the caller; None until it is decided."""
        self._begun = Lock()
        self._decided = Lock()
        self._ended = Lock()
        self._ended.acquire()

    # --- the runner's side ---------------------------------------------------------------------------------------

    def begin(self) -> bool:
        """Take the call for running; return False if it was withdrawn."""
        return self._begun.acquire(False)

    def end(self, result: Result) -> None:
        """Hand the result to the caller; if that has left, tell of the late end."""
        if self._decided.acquire(False):
            self.result = result
            self._ended.release()
            if self.wake is not None:
                self.wake.set()
        elif self.call.on_late is not None:
            try:
                self.call.on_late(self.call, result)
            except BaseException as error:  # noqa: BLE001 - the runner has to go on
                log(_logger, logging.ERROR, "could not tell of a late end: %s", type(error).__qualname__)

    # --- the caller's side ---------------------------------------------------------------------------------------

    def wait(self, cancel: Callable[[Call], object]) -> Result:
        """Wait for the result until the call's context is done, and a moment longer; then withdraw or abandon the call.

        Args:
            cancel: does what can be done to end a call that has begun.
        """
        context = self.call.context
        limit = SOON_SECONDS
        if context._deadline is not None and context._deadline - self.call.started < limit:
            limit = context._deadline - self.call.started
        await_release(self._ended, limit)
        if (result := self.result) is not None:
            return result  # as nearly always: there was no need to look for a cancellation
        # This is set first and looks second, end() has its result first and looks second: one sees the other.
        self.wake = wake = Signal()
        stop_watching = context._watch(wake.set)
        try:
            while self.result is None:
                context._clock.wait(self.wake, context.remaining())
                if self.result is None and context.done:  # type: ignore[redundant-expr]  # another thread sets it
                    if self._begun.locked():
                        cancel(self.call)
                        self._await_late_end()
                    self.give_up()
        finally:
            stop_watching()
        return self.result

    def _await_late_end(self) -> None:
        # A cancellation has set the signal before. Real time: the exporter needs it, whatever clock the context is on.
        self.wake = Signal()
        context = self.call.context
        # One watcher is this caller's own.
        heeded = len(context._watchers) > 1 or getattr(context, "_attempts", None) is not None
        if self.result is None:
            self.wake.wait(HEEDED_SECONDS if heeded else GRACE_SECONDS)

    def give_up(self) -> None:
        """Withdraw the call, or abandon it if it has begun; do nothing if it has ended."""
        if not self.withdraw() and self._decided.acquire(False):
            self.call.abandoned = True
            self.result = _ABANDONED

    def withdraw(self) -> bool:
        """Keep the call from beginning; return False if it has begun, or must run."""
        if self.call.must_run or not self._begun.acquire(False):
            return False
        self.call.arguments = {}  # the batch is not kept for a call that is not made
        self.end(_WITHDRAWN)
        return True


class HandoverRunner:
    """Base of the runners whose callers hand a call over and wait."""

    def __init__(self) -> None:
        self.running: Call | None = None
        self._refusing = False
        self._waiting: deque[HandedOverCall] = deque()
        """The calls in the order they came; callers append to it, and only the runner's thread takes from it."""

    def perform(self, call: Call) -> Result:
        """Hand the call over and wait."""
        running = self.running
        if running is not None and running.abandoned:
            return _BUSY
        handed_over = HandedOverCall(call)
        try:
            self._waiting.append(handed_over)
            self._hand_over()
            if self._refusing:  # looked at after handing over: a shutdown that refuses calls may not have seen this one
                handed_over.withdraw()
            return handed_over.wait(self._cancel)
        except BaseException:
            handed_over.give_up()  # Ctrl-C: the caller leaves, so the call may not begin any more
            raise
        finally:
            if call.abandoned:
                self._cancel(call)

    def refuse(self) -> None:
        """Withdraw the calls whose turn has not come, racing the runner's thread for each."""
        self._refusing = True
        for handed_over in list(self._waiting):
            handed_over.withdraw()

    def _hand_over(self) -> None:
        """Have the runner's thread look for a call that waits."""
        raise NotImplementedError

    def _cancel(self, call: Call) -> None:
        """Do what can be done to end a call whose context is done, or whose caller has left."""

    # --- on the runner's thread ----------------------------------------------------------------------------------

    def _begin_next(self) -> HandedOverCall | None:
        """Begin the call that came first; return None if that was withdrawn."""
        handed_over = self._waiting.popleft()
        self.running = handed_over.call
        # Looked at when the call can be seen to run: a shutdown waits for it, or has made the runner refuse it.
        if (self._refusing and handed_over.withdraw()) or not handed_over.begin():
            self.running = None
            return None
        return handed_over
