"""The runners: where a guarded exporter's code executes. A lane makes the calls of one operation, one at a time.

``ThreadLane`` keeps deadlines whatever the exporter does, short of C code that holds the interpreter's lock.
``InlineLane`` is cooperative: the caller's own thread makes the call and cannot leave it. ``LoopLane`` is for
``async def`` operations: the exporter's own event loop makes the calls, as tasks that are really cancelled.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol, cast

from exporter_core.errors import ContextCancelledError
from exporter_core.guard.calls import Call, Outcome
from exporter_core.guard.surroundings import enter, enter_for_good, leave

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from exporter_core.context import Context
    from exporter_core.guard.loop import LoopThread

__all__ = ["InlineLane", "Lane", "LoopLane", "ThreadLane"]


class Lane(Protocol):
    """Makes the calls of one operation, one at a time, in the order they came."""

    running: Context | None
    """The context of the call that is executing, its caller still waiting or not."""

    def perform(
        self,
        function: Callable[[], object],
        context: Context,
        *,
        on_late: Callable[[Call], None] | None = None,
        certain: bool = False,
        points: int | None = None,
    ) -> Call | None:
        """Make a call, and wait for it until its context is done; None if it went well. For the arguments see Call."""
        ...

    def withdraw_waiting(self) -> None:
        """Withdraw every call whose turn has not come."""
        ...

    def close(self) -> None:
        """Let go of the thread once the calls handed in so far are over. Does not wait."""
        ...


class _OtherThreadLane:
    """What the lanes share whose callers hand a call over and wait."""

    def __init__(self) -> None:
        self.running: Context | None = None
        self._overrun: Call | None = None
        self._closed = False

    def perform(
        self,
        function: Callable[[], object],
        context: Context,
        *,
        on_late: Callable[[Call], None] | None = None,
        certain: bool = False,
        points: int | None = None,
    ) -> Call | None:
        """Hand the call over and wait."""
        call = Call(function, context, on_late=on_late, certain=certain, points=points)
        overrun = self._overrun
        if overrun is not None:
            if not overrun.over:
                call.outcome = Outcome.BUSY
                return call
            self._overrun = None
        self._submit(call)
        if self._closed:  # looked at after handing over: whoever closed the lane before this may not have seen the call
            call.withdraw()
        call.wait()
        if call.outcome is Outcome.ABANDONED:
            self._overrun = call
            self._abandoned(call)
        return None if call.went_well else call

    def _submit(self, call: Call) -> None:
        raise NotImplementedError

    def _abandoned(self, call: Call) -> None:
        """Do what can be done about a call that nobody waits for any more."""


class ThreadLane(_OtherThreadLane):
    """A daemon thread of its own, started at once: from Python 3.12 none can be started at interpreter exit.

    The queue is both the hand-over and the turn: whoever waits in it has not entered the exporter.
    The thread refers to the lane only while it makes a call, so that a dropped guard can be collected.
    """

    def __init__(self, name: str, owner: object) -> None:
        super().__init__()
        self._queue: SimpleQueue[tuple[ThreadLane, Call] | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._queue, owner), name=name, daemon=True).start()

    def withdraw_waiting(self) -> None:
        """Empty the queue, racing the thread for each call in it."""
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                return
            if item is None:
                self._queue.put(None)
                return
            item[1].withdraw()

    def close(self) -> None:
        """Send the thread home, behind whatever waits."""
        self._closed = True
        self._queue.put(None)

    def _submit(self, call: Call) -> None:
        self._queue.put((self, call))


def _work(queue: SimpleQueue[tuple[ThreadLane, Call] | None], owner: object) -> None:
    enter_for_good(owner)
    while (item := queue.get()) is not None:
        lane, call = item
        lane.running = call.context
        call.run()
        lane.running = None
        del item, lane, call  # nothing may be kept alive by a thread that waits


class InlineLane:
    """The caller's own thread, which waits its turn, in time, and then makes the call, however long it takes.

    Args:
        owner: what identifies the guard to calls that come back to it.
        serial: whether callers take turns, in the order they came.
    """

    def __init__(self, owner: object, *, serial: bool) -> None:
        self.running: Context | None = None
        self._owner = owner
        self._serial = serial
        self._mutex = threading.Lock()
        self._taken = False
        self._waiting: deque[Call] = deque()

    def perform(
        self,
        function: Callable[[], object],
        context: Context,
        *,
        on_late: Callable[[Call], None] | None = None,
        certain: bool = False,
        points: int | None = None,
    ) -> Call | None:
        """Make the call here. A :class:`Call` is made of it only if there is something to tell: this path is short."""
        if self._serial:
            waited = self._take_turn(function, context)
            if waited is not None and waited.outcome is Outcome.WITHDRAWN:
                return waited
            self.running = context
        result, raised = None, None
        tokens = enter(self._owner)
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - it is the guard's to raise
            raised = error
        finally:
            leave(tokens)
            if self._serial:
                self.running = None
                self._pass_turn()
        late = context.remaining() == 0
        if raised is None and result is None and not late:
            return None
        call = Call(function, context, certain=certain, points=points)
        call.end(result, raised)
        if late and call.went_well:
            call.outcome = Outcome.LATE
            if on_late is not None:
                on_late(call)
        return call

    def withdraw_waiting(self) -> None:
        """Withdraw those who wait for their turn."""
        with self._mutex:
            while self._waiting:
                self._waiting.popleft().withdraw()

    def close(self) -> None:
        """Do nothing: there is no thread."""

    def _take_turn(self, function: Callable[[], object], context: Context) -> Call | None:
        """Wait for the turn; the call that waited, withdrawn if the turn did not come, or None if none had to wait."""
        with self._mutex:
            if not self._taken:
                self._taken = True
                return None
            call = Call(function, context)
            self._waiting.append(call)
        stop_watching = context._watch(call.wake.set)
        try:
            while True:
                context._clock.wait(call.wake, context.remaining())
                with self._mutex:
                    if call in self._waiting and context.done:
                        self._waiting.remove(call)
                        call.withdraw()
                    if call not in self._waiting:
                        return call
        finally:
            stop_watching()

    def _pass_turn(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().wake.set()
            else:
                self._taken = False


class LoopLane(_OtherThreadLane):
    """A task on the exporter's event loop, really cancelled when the call's context is done."""

    def __init__(self, loop: LoopThread) -> None:
        super().__init__()
        self._loop = loop
        self._waiting: deque[Call] = deque()  # appended to by callers, taken from on the loop alone
        self._task: asyncio.Task[tuple[object, BaseException | None]] | None = None

    def withdraw_waiting(self) -> None:
        """Withdraw those whose turn has not come."""
        for call in list(self._waiting):
            call.withdraw()

    def close(self) -> None:
        """Take no more calls; the loop itself is closed by whoever made it."""
        self._closed = True

    def _submit(self, call: Call) -> None:
        self._waiting.append(call)
        self._loop.call_soon(self._next)

    def _abandoned(self, call: Call) -> None:
        if not call.certain:
            self._loop.call_soon(self._cancel, call)

    def _next(self) -> None:
        while self.running is None and self._waiting:
            call = self._waiting.popleft()
            function = call.function
            if function is not None and call.begin():
                self._start(call, function)

    def _start(self, call: Call, function: Callable[[], object]) -> None:
        self.running = call.context
        # Only a shutdown cancels a call's own context; when the caller gives up, perform() cancels the task. What is
        # certain to run (a shutdown) is cancelled by neither, but when the loop is wound up: it is to release.
        stop_watching = call.context._watch(lambda: self._abandoned(call))

        def done(task: asyncio.Task[tuple[object, BaseException | None]]) -> None:
            stop_watching()
            self.running = self._task = None
            if task.cancelled():  # before its first step
                call.end(error=ContextCancelledError("cancelled before it began"))
            else:
                call.end(*task.result())
            self._next()

        self._task = self._loop.loop.create_task(_outcome(function))
        self._task.add_done_callback(done)

    def _cancel(self, call: Call) -> None:
        if self.running is call.context and self._task is not None:
            self._task.cancel()


async def _outcome(function: Callable[[], object]) -> tuple[object, BaseException | None]:
    """The result or the error; raises nothing, since a KeyboardInterrupt that leaves a task ends its event loop."""
    try:
        return await cast("Awaitable[object]", function()), None
    except BaseException as error:  # noqa: BLE001 - it is the caller's to raise
        return None, error
