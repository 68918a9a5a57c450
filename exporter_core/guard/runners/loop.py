"""The runner of ``async def`` operations: tasks on an event loop of the exporter's own, really cancelled in time.

The loop has a daemon thread of its own. Its default executor runs on daemon threads too: the standard one's are joined
at interpreter exit, for as long as the slowest of them takes.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from exporter_core import forking
from exporter_core.errors import ContextCancelledError
from exporter_core.guard.reentrancy import mark_thread, marked_context
from exporter_core.guard.runners.handover import HandoverRunner
from exporter_core.log import log
from exporter_core.sync import RLock, Signal, SimpleQueue, start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.guard.call import Call, Result
    from exporter_core.guard.runners.handover import HandedOverCall

_logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LoopRunner(HandoverRunner):
    """Runs each call as a task on the exporter's event loop, and cancels the task when the call's context is done."""

    def __init__(self, loop: LoopThread) -> None:
        super().__init__()
        self._loop = loop
        self._task: asyncio.Task[Result] | None = None
        self._cancelled = False

    def close(self) -> None:
        """Take no more calls; the loop itself is closed by whoever made it."""
        self.refuse()

    def _hand_over(self) -> None:
        if not self._loop.call_soon(self._start_next):
            self.refuse()  # the loop is closed

    def _cancel(self, call: Call) -> None:
        # A call that must run (a shutdown) is to release: it is cancelled only when the loop is closed.
        if not call.must_run:
            self._loop.call_soon(self._cancel_task, call)

    # --- on the loop's thread ------------------------------------------------------------------------------------

    def _start_next(self) -> None:
        while self.running is None and self._waiting:
            if (handed_over := self._begin_next()) is not None:
                self._start(handed_over)

    def _start(self, handed_over: HandedOverCall) -> None:
        call = handed_over.call
        # Only a shutdown cancels a call's own context; a caller that gives up has the task cancelled by perform().
        stop_watching = call.context._watch(lambda: self._cancel(call))

        def done(task: asyncio.Task[Result]) -> None:
            stop_watching()
            self._task = None
            if task.cancelled():  # before its first step
                result = call.ended(error=ContextCancelledError("cancelled before it began"))
            else:
                result = task.result()
            self.running = None
            handed_over.end(result)
            self._start_next()

        self._cancelled = False
        self._task = self._loop.loop.create_task(_make(call))
        self._task.add_done_callback(done)

    def _cancel_task(self, call: Call) -> None:
        # Once: a second cancellation would end what the exporter awaits in order to clean up.
        if self.running is call and self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()


async def _make(call: Call) -> Result:
    """Make the call; raises nothing, since a KeyboardInterrupt that leaves a task ends its event loop.

    That is done on purpose where the call forked and has returned in the child, too: the loop is the parent's.
    """
    process = forking.process
    try:
        value = call.function(**call.arguments)
        result = call.ended(await value if inspect.isawaitable(value) else value)
    except BaseException as error:  # noqa: BLE001 - it is the caller's to raise
        result = call.ended(error=error)
    if forking.process is not process:
        raise SystemExit
    return result


class LoopThread:
    """Runs one event loop until it is closed."""

    def __init__(self, name: str, guard: object) -> None:
        self._loop = asyncio.new_event_loop()
        self._closing = Signal()
        # A callback runs in a copy of its submitter's context variables unless it is given others: these say that it
        # runs inside the exporter, and tasks and asyncio.to_thread inherit them.
        self._marked = marked_context(guard)
        try:
            self._loop.set_default_executor(_DaemonExecutor(name, guard))
            start_thread(_run, self._loop, self._closing, guard, name=f"{name}-loop")
        except RuntimeError:
            self._loop.close()
            raise

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop itself."""
        return self._loop

    def call_soon(self, callback: Callable[..., object], *args: object) -> bool:
        """Have the loop call back; False if it is closed."""
        try:
            self._loop.call_soon_threadsafe(callback, *args, context=self._marked)
        except RuntimeError:
            return False
        return True

    def close(self) -> None:
        """Have the loop cancel what still runs, close, and end its thread. Does not wait."""
        self.call_soon(_stop, self._loop, self._closing)


_GRACE_SECONDS = 1.0
"""Seconds that tasks may take, when the loop is closed, to end by themselves, and then again to be cancelled."""


def _run(loop: asyncio.AbstractEventLoop, closing: Signal, guard: object) -> None:
    mark_thread(guard)
    process = forking.process
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(_report)
    while not closing.is_set():  # whoever else stops the loop, it goes on
        try:
            loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt or SystemExit of a task that the exporter made
            if forking.process is process:
                _report(loop, {"message": "a task would have ended the loop", "exception": error})
        if forking.process is not process:
            return  # a call forked; closing the loop in the child would take from the parent's what it polls
    try:
        loop.run_until_complete(_wind_up())
    except BaseException as error:  # noqa: BLE001 - as above; the loop is closed all the same
        _report(loop, {"message": "it could not be wound up", "exception": error})
    finally:
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop, closing: Signal) -> None:
    closing.set()
    loop.stop()


def _report(_: asyncio.AbstractEventLoop, happened: dict[str, Any]) -> None:  # Any: asyncio's own type
    """Log what went wrong on the loop outside any call. One line: a traceback may hold secrets."""
    error = happened.get("exception")
    what = happened.get("message") if error is None else f"{happened.get('message')}: {type(error).__qualname__}"
    log(_logger, logging.ERROR, "%s: %s", threading.current_thread().name, what)


async def _wind_up() -> None:
    """Let what still runs end, have it cancelled, and wait; a call that ends may let the next one begin."""
    loop = asyncio.get_running_loop()
    cancelled: set[asyncio.Task[Any]] = set()  # Any: tasks of the exporter's own return what they like
    for cancel in (False, True):
        until = loop.time() + _GRACE_SECONDS
        while (left := await _other_tasks()) and loop.time() < until:
            for task in left - cancelled if cancel else ():
                task.cancel()
                cancelled.add(task)
            await asyncio.wait(left, timeout=until - loop.time())
    while left := await _other_tasks():
        # One that does not end stays with its thread, as any call does that does not end. Collected as garbage it would
        # go on wherever that is done: in the host's main thread, perhaps for ever.
        await asyncio.wait(left)
    await loop.shutdown_asyncgens()


async def _other_tasks() -> set[asyncio.Task[Any]]:  # Any: as above
    me = asyncio.current_task()
    if asyncio.all_tasks() == {me}:
        await asyncio.sleep(0)  # for the callbacks of one that has just ended, which may begin another
    return asyncio.all_tasks() - {me}


class _DaemonExecutor(ThreadPoolExecutor):
    """A thread pool whose threads never hold up the interpreter's exit.

    A ThreadPoolExecutor in name, since event loops accept no other; one thread exists beforehand, since from
    Python 3.12 none can be started at exit.
    """

    _MOST_THREADS = 16

    def __init__(self, name: str, guard: object) -> None:
        super().__init__(max_workers=1)  # its own threads are never started
        self._name = name
        self._guard = guard
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # Reentrant: shutdown may be called by the garbage collector, which may interrupt any of this.
        self._mutex = RLock()
        self._idle = 1
        self._count = 0
        self._closed = False
        self._add_thread()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run the function on a daemon thread; raises RuntimeError after shutdown."""
        future: Future[_T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - it is the future's to raise
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._mutex:
            if self._closed:
                raise RuntimeError("the exporter's executor has been shut down")
            if self._idle:
                self._idle -= 1
            elif self._count < self._MOST_THREADS:
                try:
                    self._add_thread()
                except RuntimeError:
                    pass  # the interpreter is exiting: the threads that exist take it in turn
            self._jobs.put(job)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - the base's signature; a daemon thread is not waited for
        """Send the threads home."""
        with self._mutex:
            self._closed = True
            for _ in range(self._count):
                self._jobs.put(None)

    def _add_thread(self) -> None:
        start_thread(self._work, name=f"{self._name}-executor")
        self._count += 1

    def _work(self) -> None:
        mark_thread(self._guard)
        process = forking.process
        while (job := self._jobs.get()) is not None:
            job()
            del job
            if forking.process is not process:
                return  # the job forked and has returned in the child, too, where the others are the parent's
            with self._mutex:
                if self._jobs.empty():
                    self._idle += 1
