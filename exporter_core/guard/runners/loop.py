"""An event loop of an exporter's own, on a daemon thread of its own, for its ``async def`` operations.

Its default executor runs on daemon threads too: the standard one's are joined at interpreter exit, for as long as the
slowest of them takes.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from exporter_core import forking
from exporter_core.guard.reentrancy import context_inside, enter_for_good
from exporter_core.log import log
from exporter_core.sync import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LoopThread:
    """Runs one event loop until it is closed."""

    def __init__(self, name: str, owner: object) -> None:
        self._loop = asyncio.new_event_loop()
        self._closing = Signal()
        # A callback runs in a copy of its submitter's context variables unless it is given others: these say that it
        # runs inside the exporter, and tasks and asyncio.to_thread inherit them.
        self._surroundings = context_inside(owner)
        arguments = (self._loop, self._closing, owner)
        thread = threading.Thread(target=_run, args=arguments, name=f"{name}-loop", daemon=True)
        try:
            self._loop.set_default_executor(_DaemonExecutor(name, owner))
            thread.start()
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
            self._loop.call_soon_threadsafe(callback, *args, context=self._surroundings)
        except RuntimeError:
            return False
        return True

    def close(self) -> None:
        """Have the loop cancel what still runs, close, and end its thread. Does not wait."""
        self.call_soon(_stop, self._loop, self._closing)


_GRACE_SECONDS = 1.0
"""How long what still runs when the loop is closed may take to end by itself, and then again to be cancelled."""


def _run(loop: asyncio.AbstractEventLoop, closing: Signal, owner: object) -> None:
    enter_for_good(owner)
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

    def __init__(self, name: str, owner: object) -> None:
        super().__init__(max_workers=1)  # its own threads are never started
        self._name = name
        self._owner = owner
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # Reentrant: shutdown may be called by the garbage collector, which may interrupt any of this.
        self._mutex = threading.RLock()
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
        threading.Thread(target=self._work, name=f"{self._name}-executor", daemon=True).start()
        self._count += 1

    def _work(self) -> None:
        enter_for_good(self._owner)
        process = forking.process
        while (job := self._jobs.get()) is not None:
            job()
            del job
            if forking.process is not process:
                return  # the job forked and has returned in the child, too, where the others are the parent's
            with self._mutex:
                if self._jobs.empty():
                    self._idle += 1
