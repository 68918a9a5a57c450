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
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from exporter_core.guard.surroundings import enter_for_good

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LoopThread"]

_logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LoopThread:
    """Runs one event loop until it is closed."""

    def __init__(self, name: str, owner: object) -> None:
        self._loop = asyncio.new_event_loop()
        self._executor = _DaemonExecutor(name, owner)
        self._loop.set_default_executor(self._executor)
        threading.Thread(target=_run, args=(self._loop, owner), name=f"{name}-loop", daemon=True).start()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop itself."""
        return self._loop

    def call_soon(self, callback: Callable[..., object], *args: object) -> bool:
        """Have the loop call back; False if it is closed."""
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            return False
        return True

    def close(self) -> None:
        """Have the loop cancel what still runs, close, and end its thread. Does not wait."""
        self._executor.shutdown(wait=False)
        self.call_soon(self._loop.stop)


_GRACE_SECONDS = 1.0
"""How long what still runs when the loop is closed may take to end by itself, and then again to be cancelled."""


def _run(loop: asyncio.AbstractEventLoop, owner: object) -> None:
    enter_for_good(owner)
    asyncio.set_event_loop(loop)
    while True:
        try:
            loop.run_forever()
        except BaseException:
            # KeyboardInterrupt and SystemExit of a task that the exporter made itself come out here.
            _logger.exception("a task of an exporter ended its event loop, which goes on")
            continue
        break
    try:
        loop.run_until_complete(_wind_up())
    except BaseException:
        _logger.exception("an exporter's event loop could not be wound up")
    finally:
        loop.close()


async def _wind_up() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=_GRACE_SECONDS)
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_GRACE_SECONDS)
    await asyncio.get_running_loop().shutdown_asyncgens()


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
        self._mutex = threading.Lock()
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
        while (job := self._jobs.get()) is not None:
            job()
            del job
            with self._mutex:
                if self._jobs.empty():
                    self._idle += 1
