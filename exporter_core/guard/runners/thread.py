"""The runners: where a guarded exporter's code executes. A lane makes the calls of one operation, one at a time.

``ThreadLane`` keeps deadlines whatever the exporter does, short of C code that holds the interpreter's lock.
``InlineLane`` is cooperative: the caller's own thread makes the call and cannot leave it. ``LoopLane`` is for
``async def`` operations: the exporter's own event loop makes the calls, as tasks that are really cancelled.
"""

from __future__ import annotations

import inspect
import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from exporter_core import forking
from exporter_core.errors import ContextCancelledError
from exporter_core.guard.call import Call, Outcome
from exporter_core.guard.reentrancy import context_inside, enter_for_good
from exporter_core.sync import Signal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from exporter_core.context import Context
    from exporter_core.guard.runners.loop import LoopThread

_INTERRUPTED = 16  # callers that may be interrupted at once before one of their calls is counted wrong


class Lane(Protocol):
    """Makes the calls of one operation, one at a time, in the order they came."""

    running: Context | None
    """The context of the call that is executing, its caller still waiting or not."""

    def perform(
        self,
        function: Callable[..., object],
        context: Context,
        arguments: Mapping[str, object],
        on_late: Callable[[Call], None] | None = None,
        points: int | None = None,
        *,
        certain: bool = False,
    ) -> Call | None:
        """Make a call, and wait for it until its context is done; None if it went well. For the arguments see Call."""
        ...

    def left_behind(self, context: Context) -> bool:
        """Whether the call with this context, whose caller has been interrupted, had begun and runs on without it."""
        ...

    def refuse(self) -> None:
        """From here on make no call that is not certain: withdraw those whose turn has not come, and those to come."""
        ...

    def close(self) -> None:
        """Let go of the thread once the calls handed in so far are over. Does not wait."""
        ...


class _OtherThreadLane:
    """What the lanes share whose callers hand a call over and wait."""

    def __init__(self) -> None:
        self.running: Context | None = None
        self.refusing = False
        self._overrun: Call | None = None
        self._left_behind: deque[Context] = deque(maxlen=_INTERRUPTED)

    def perform(
        self,
        function: Callable[..., object],
        context: Context,
        arguments: Mapping[str, object],
        on_late: Callable[[Call], None] | None = None,
        points: int | None = None,
        *,
        certain: bool = False,
    ) -> Call | None:
        """Hand the call over and wait."""
        call = Call(function, context, arguments, on_late, points, certain=certain)
        overrun = self._overrun
        if overrun is not None and not overrun.over:
            call.outcome = Outcome.BUSY
            return call
        try:
            self._submit(call)
            if self.refusing:  # looked at after handing over: whoever made the lane refuse may have seen no call
                call.withdraw()
            call.wait()
        except BaseException:
            call.give_up()  # Ctrl-C: the caller leaves, so the call may not begin any more
            if call.outcome is Outcome.ABANDONED:
                self._left_behind.append(context)
            raise
        finally:
            if call.outcome is Outcome.ABANDONED:
                if not call.over:  # else the next one may have been abandoned already
                    self._overrun = call
                self._abandoned(call)
        return None if call.went_well else call

    def left_behind(self, context: Context) -> bool:
        """Look for it among the last ones."""
        return any(one is context for one in list(self._left_behind))

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

    def refuse(self) -> None:
        """Empty the queue but for what is certain, racing the thread for each call in it."""
        self.refusing = True
        stays: list[tuple[ThreadLane, Call] | None] = []
        try:
            while True:
                item = self._queue.get_nowait()
                if item is None or not item[1].withdraw():
                    stays.append(item)
        except Empty:
            pass
        for item in stays:
            self._queue.put(item)

    def close(self) -> None:
        """Send the thread home, behind what is certain."""
        self.refuse()
        self._queue.put(None)

    def _submit(self, call: Call) -> None:
        self._queue.put((self, call))


def _work(queue: SimpleQueue[tuple[ThreadLane, Call] | None], owner: object) -> None:
    enter_for_good(owner)
    process = forking.process
    while (item := queue.get()) is not None:
        lane, call = item
        lane.running = call.context
        # Looked at when the call can be seen to run: a shutdown waits for it, or has made the lane refuse it.
        if not lane.refusing or not call.withdraw():
            call.run()
        lane.running = None
        del item, lane, call  # nothing may be kept alive by a thread that waits
        if forking.process is not process:
            return  # the call forked and has returned in the child, too, where the queue is the parent's to work on


class InlineLane:
    """The caller's own thread: the call is made here, however long it takes.

    A :class:`Call` is made of it only if there is something to tell, since this path is to be short.
    """

    running: Context | None = None

    def __init__(self, owner: object) -> None:
        self._owner = owner

    def perform(
        self,
        function: Callable[..., object],
        context: Context,
        arguments: Mapping[str, object],
        on_late: Callable[[Call], None] | None = None,  # noqa: ARG002 - nobody leaves a call before its end
        points: int | None = None,
        *,
        certain: bool = False,  # noqa: ARG002 - there is no turn to wait for
    ) -> Call | None:
        """Make the call."""
        result = raised = None
        try:
            result = context_inside(self._owner).run(function, **arguments)
        except BaseException as error:  # noqa: BLE001 - it is the guard's to raise
            raised = error
        if context._watchers:
            context._call_ended()
        if raised is None and result is None:
            return None
        call = Call(function, context, arguments, points=points)
        call.end(result, raised)
        return call

    def left_behind(self, context: Context) -> bool:  # noqa: ARG002 - nobody leaves a call before its end
        """No: an interrupted caller has ended the call."""
        return False

    def refuse(self) -> None:
        """Do nothing: no call waits."""

    def close(self) -> None:
        """Do nothing: there is no thread."""


class SerialInlineLane:
    """The caller's own thread, which waits for its turn, in time, and about in the order of coming."""

    def __init__(self, owner: object) -> None:
        self.running: Context | None = None
        self._refusing = False
        self._surroundings = context_inside(owner)  # one thread at a time can be in it: the one whose turn it is
        # By None the context of the call whose turn it is. No lock: one who is interrupted (Ctrl-C) right after taking
        # that could not know whether it has it.
        self._turn: dict[None, Context] = {}
        self._waiting: deque[Call] = deque()

    def perform(
        self,
        function: Callable[..., object],
        context: Context,
        arguments: Mapping[str, object],
        on_late: Callable[[Call], None] | None = None,  # noqa: ARG002 - nobody leaves a call before its end
        points: int | None = None,
        *,
        certain: bool = False,
    ) -> Call | None:
        """Wait for the turn and make the call."""
        turn = self._turn
        try:
            if turn.setdefault(None, context) is not context:
                waiting = Call(function, context, arguments)
                if not self._take_turn(waiting):
                    return waiting
            self.running = context
            result = raised = None
            try:
                # Looked at when the call can be seen to run: a shutdown waits for it, or has made the lane refuse it.
                if self._refusing and not certain:
                    return Call.withdrawn(function, context, arguments)
                result = self._surroundings.run(function, **arguments)
                if result is None:
                    return None
            except BaseException as error:  # noqa: BLE001 - it is the guard's to raise
                raised = error
        finally:
            # Nothing is called before the turn is given up, so that nobody can be interrupted who has it.
            try:
                mine = turn[None] is context
            except KeyError:
                mine = False
            if mine:
                self.running = None
                del turn[None]
                if self._waiting:
                    self._wake_next()
                if context._watchers:
                    context._call_ended()
        call = Call(function, context, arguments, points=points)
        call.end(result, raised)
        return call

    def left_behind(self, context: Context) -> bool:  # noqa: ARG002 - nobody leaves a call before its end
        """No: an interrupted caller has ended the call."""
        return False

    def refuse(self) -> None:
        """Withdraw those who wait for their turn."""
        self._refusing = True
        for call in list(self._waiting):
            call.withdraw()

    def close(self) -> None:
        """Do nothing: there is no thread."""

    def _take_turn(self, call: Call) -> bool:
        """Wait for the turn; False if the call was withdrawn before it came."""
        context, taken = call.context, False
        try:
            while not call.over:
                # It enters itself first and tries second, who leaves releases first and looks second: no wake-up is
                # lost.
                call.wake = Signal()
                self._waiting.append(call)
                stop_watching = context._watch(call.wake.set)
                try:
                    taken = self._turn.setdefault(None, context) is context
                    if taken:
                        return True
                    context._clock.wait(call.wake, context.remaining())
                finally:
                    stop_watching()
                    self._waiting.remove(call)
                if context.done:
                    call.withdraw()
            return False
        finally:
            if not taken:
                self._wake_next()  # the last wake-up may have been for the one that leaves

    def _wake_next(self) -> None:
        try:
            self._waiting[0].wake.set()
        except IndexError:
            pass  # nobody waits any more


class LoopLane(_OtherThreadLane):
    """A task on the exporter's event loop, really cancelled when the call's context is done."""

    def __init__(self, loop: LoopThread) -> None:
        super().__init__()
        self._loop = loop
        self._waiting: deque[Call] = deque()  # appended to by callers, taken from on the loop alone
        self._task: asyncio.Task[tuple[object, BaseException | None]] | None = None
        self._cancelled = False

    def refuse(self) -> None:
        """Withdraw those whose turn has not come."""
        self.refusing = True
        for call in list(self._waiting):
            call.withdraw()

    def close(self) -> None:
        """Take no more calls; the loop itself is closed by whoever made it."""
        self.refuse()

    def _submit(self, call: Call) -> None:
        self._waiting.append(call)
        if not self._loop.call_soon(self._next):
            call.withdraw()

    def _abandoned(self, call: Call) -> None:
        if not call.certain:
            self._loop.call_soon(self._cancel, call)

    def _next(self) -> None:
        while self.running is None and self._waiting:
            call = self._waiting.popleft()
            self.running = call.context  # before the look at refusing, as in _work
            if (self.refusing and call.withdraw()) or not call.begin():
                self.running = None
            else:
                self._start(call)

    def _start(self, call: Call) -> None:
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

        self._cancelled = False
        self._task = self._loop.loop.create_task(_outcome(call))
        self._task.add_done_callback(done)

    def _cancel(self, call: Call) -> None:
        # Once: a second cancellation would end what the exporter awaits in order to clean up.
        if self.running is call.context and self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()


async def _outcome(call: Call) -> tuple[object, BaseException | None]:
    """The result or the error; raises nothing, since a KeyboardInterrupt that leaves a task ends its event loop.

    That is done on purpose where the call forked and has returned in the child, too: the loop is the parent's.
    """
    process = forking.process
    outcome: tuple[object, BaseException | None]
    try:
        result = call.make()
        outcome = (await result if inspect.isawaitable(result) else result), None
    except BaseException as error:  # noqa: BLE001 - it is the caller's to raise
        outcome = None, error
    if forking.process is not process:
        raise SystemExit
    return outcome
