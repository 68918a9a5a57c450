"""One export at a time, and the shutdown that ends it: waits that end when a context is done."""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from exporter_core import Context, ContextCancelledError, DeadlineExceededError, ExporterShutdownError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Turn:
    """Whose turn it is to use what an exporter holds, until it is shut down.

    Args:
        release: gives up what the exporter holds; called by whoever has one of the last turns, perhaps by both.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self.reset_after_fork()
        self._shut_down = False

    def reset_after_fork(self) -> None:
        """Forget who holds what: the threads that held it do not exist in a forked child."""
        self._lock = threading.Lock()
        self._waiters: list[Context] = []
        self._state = threading.Lock()  # held for a moment only, and never while waiting
        self._running: Context | None = None

    @property
    def shut_down(self) -> bool:
        """Whether the shutdown has begun."""
        return self._shut_down

    def refuse_after_shutdown(self) -> None:
        """Raise ExporterShutdownError once the shutdown has begun."""
        if self._shut_down:
            raise ExporterShutdownError("the exporter has been shut down")

    @contextmanager
    def export(self, context: Context, seconds: float | None) -> Iterator[Context]:
        """Hold the turn; gives a child of the context that ends with it, after ``seconds``, or when shutdown says so.

        Raises:
            ExporterShutdownError: after shutdown, or when that ended the export.
            DeadlineExceededError, ContextCancelledError: the context is done before the turn has come.
        """
        self.refuse_after_shutdown()
        context.raise_if_done()
        running = context.child(timeout=seconds)
        while not self._take(running):
            running.raise_if_done()
        try:
            with self._state:
                self.refuse_after_shutdown()
                self._running = running
            yield running
        except ContextCancelledError as error:
            context.raise_if_done()
            raise ExporterShutdownError("shut down before the export was done") from error
        except DeadlineExceededError as error:
            if context.done:
                raise
            raise DeadlineExceededError(f"{error}, {seconds:g} s by the option timeout") from error
        finally:
            self._running = None
            self._give_back()
            if self._shut_down and self._lock.acquire(blocking=False):
                self._release_and_give_back()  # the shutdown could not wait, and left it to this export

    def shutdown(self, context: Context) -> None:
        """Let a running export end while the context lasts, then end it; release what is held.

        Raises ExporterShutdownError the second time, and the context's error if that is done; everything is released
        all the same, by the export that was ended if there is one.
        """
        with self._state:
            self.refuse_after_shutdown()
            self._shut_down = True
        if self._take(context):
            self._release_and_give_back()
        else:
            running = self._running
            if running is not None:
                running.cancel("the exporter is shutting down")
        context.raise_if_done()

    def _take(self, context: Context) -> bool:
        """Wait for the turn until the context is done; whether it was got. A free turn is got in any case."""
        while not self._lock.acquire(blocking=False):
            waiter = context.child()
            self._waiters.append(waiter)
            try:
                # The holder may have left before the waiter was listed; whoever leaves later wakes it.
                if self._lock.acquire(blocking=False):
                    return True
                waiter.wait(math.inf)
            finally:
                self._waiters.remove(waiter)
            if context.done:
                return self._lock.acquire(blocking=False)
        return True

    def _give_back(self) -> None:
        self._lock.release()
        for waiter in self._waiters.copy():
            waiter.cancel()

    def _release_and_give_back(self) -> None:
        try:
            self._release()
        finally:
            self._give_back()
