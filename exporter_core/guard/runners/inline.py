"""The ``inline`` runner: calls run on their caller's thread, however long they take.

It is cooperative: the guard looks at the deadline when the call returns.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from exporter_core.guard.call import Outcome, Result
from exporter_core.guard.reentrancy import marked_context
from exporter_core.sync import Signal

if TYPE_CHECKING:
    from exporter_core.guard.call import Call

_WITHDRAWN: Final = Result(Outcome.WITHDRAWN)


class InlineRunner:
    """Runs calls at once, beside each other."""

    def __init__(self, guard: object) -> None:
        self.running: Call | None = None
        self._guard = guard

    def perform(self, call: Call) -> Result:
        """Make the call."""
        return marked_context(self._guard).run(call.run)

    def refuse(self) -> None:
        """Do nothing: no call waits."""

    def close(self) -> None:
        """Do nothing: there is no thread."""


class SerialInlineRunner(InlineRunner):
    """Runs one call at a time; its callers wait for their turn, in time and in the order of coming."""

    def __init__(self, guard: object) -> None:
        super().__init__(guard)
        self._marked = marked_context(guard)  # one thread at a time can be in it: the one whose turn it is
        self._refusing = False
        self._queue: deque[Call] = deque()
        """The calls in the order they came; the first one has the turn."""
        self._wakes: dict[Call, Signal] = {}
        """By call that waits, what is set when its caller has a reason to look."""

    def perform(self, call: Call) -> Result:
        """Wait for the turn and make the call."""
        queue = self._queue
        try:
            queue.append(call)
            if queue[0] is not call and not self._await_turn(call):
                return _WITHDRAWN
            self.running = call
            # Looked at when the call can be seen to run: a shutdown waits for it, or has made the runner refuse it.
            if self._refusing and not call.must_run:
                return _WITHDRAWN
            return self._marked.run(call.run)
        finally:
            # Until the call has left the queue nothing is called after which Ctrl-C could come.
            if call in queue:
                if queue[0] is call:
                    self.running = None
                    queue.popleft()
                else:
                    queue.remove(call)
                if queue:
                    self._wake_first()

    def refuse(self) -> None:
        """Withdraw the calls that wait for their turn."""
        self._refusing = True
        for wake in list(self._wakes.values()):
            wake.set()

    def _wake_first(self) -> None:
        try:
            self._wakes[self._queue[0]].set()
        except (IndexError, KeyError):
            pass  # it has left, or is about to look

    def _await_turn(self, call: Call) -> bool:
        """Wait for the turn; return False if the context was done, or the exporter shut down, before it came."""
        context = call.context
        while True:
            # A caller sets its signal first and looks second, one that leaves the queue leaves first and looks for the
            # signal second: no wake-up is lost.
            self._wakes[call] = wake = Signal()
            stop_watching = context._watch(wake.set)
            try:
                if context.done or (self._refusing and not call.must_run):
                    return False
                if self._queue[0] is call:
                    return True
                context._clock.wait(wake, context.remaining())
            finally:
                stop_watching()
                self._wakes.pop(call, None)
