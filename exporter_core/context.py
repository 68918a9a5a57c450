"""One call's deadline and cancellation: Go's ``context.Context``, not OpenTelemetry's propagation context.

A context is *done* when its deadline has passed or it, or a context it descends from, was cancelled; whichever came
first is its error for good. Time is monotonic, in seconds. A child asks its parents rather than being told by them, so
that a long-lived parent keeps no dead child alive. The public shape of :class:`Context` is frozen with contract v1.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
from typing import TYPE_CHECKING

from exporter_core.clock import MONOTONIC, Clock, TimerHandle
from exporter_core.errors import ContextCancelledError, DeadlineExceededError
from exporter_core.forking import call_after_fork
from exporter_core.log import log
from exporter_core.sync import Signal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["Context", "DoneHandle"]

_logger = logging.getLogger(__name__)

_keys = itertools.count()

_new = object.__new__

# Reentrant, since a signal handler that cancels may interrupt a cancellation on the same thread.
_cancelling = threading.RLock()


def _renew_lock_after_fork() -> None:
    global _cancelling  # noqa: PLW0603 - the one lock of the module; its holder may not exist in the child
    _cancelling = threading.RLock()


call_after_fork(_renew_lock_after_fork)


class Context:
    """The deadline and cancellation of one call, handed to ``export``, ``force_flush`` and ``shutdown``.

    Make one with :meth:`background`, :meth:`with_timeout` or :meth:`child`. Every method may be called from any thread.
    """

    __slots__ = ("__weakref__", "_cancellation", "_clock", "_deadline", "_parent", "_watchers")

    def __init__(
        self, *, deadline: float | None = None, parent: Context | None = None, clock: Clock = MONOTONIC
    ) -> None:
        """Prefer the named constructors; ``deadline`` is in seconds on ``clock``. Raises ValueError for NaN."""
        self._deadline = None if deadline is None else _seconds(deadline)
        self._parent = parent
        self._clock = clock
        self._cancellation: _Cancellation | None = None
        self._watchers: dict[int, Callable[[], object]] = {}

    # --- making one ----------------------------------------------------------------------------------------------

    @classmethod
    def background(cls) -> Context:
        """A context of its own with no deadline, done only when it is cancelled."""
        return cls()

    @classmethod
    def with_timeout(cls, seconds: float) -> Context:
        """A context that is done ``seconds`` from here. Raises ValueError for NaN."""
        return cls(deadline=MONOTONIC.monotonic() + max(0.0, _seconds(seconds)))

    def child(self, *, timeout: float | None = None) -> Context:
        """A context that is done when this one is, or ``timeout`` seconds from here, or when it is itself cancelled.

        A timeout below zero is zero: what ended this context before ends the child too. Raises ValueError for NaN.
        """
        deadline = self._deadline
        if timeout is not None:
            own = self._clock.monotonic() + max(0.0, _seconds(timeout))
            deadline = own if deadline is None else min(deadline, own)
        return self._with_deadline(deadline)

    # --- asking --------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When the context is done at the latest, in ``time.monotonic()`` seconds; None for no deadline."""
        return self._deadline

    def remaining(self) -> float | None:
        """Seconds until the deadline, never negative; None for no deadline."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - self._clock.monotonic())

    @property
    def done(self) -> bool:
        """Whether the deadline has passed or the context was cancelled."""
        context: Context | None = self
        while context is not None:
            if context._cancellation is not None:
                return True
            context = context._parent
        return self._deadline is not None and self._clock.monotonic() >= self._deadline

    def error(self) -> DeadlineExceededError | ContextCancelledError | None:
        """Why the context is done, as a fresh exception with its cause chained; None while it is not done."""
        if not self.done:
            return None
        # Cancellations get their times under this lock. Behind it, every one that may have been first can be seen, so
        # that the answer never changes.
        with _cancelling:
            cancellation = self._first_cancellation()
        if cancellation is None or (self._deadline is not None and cancellation.at >= self._deadline):
            return DeadlineExceededError("the context's deadline has passed")
        return cancellation.error()

    def raise_if_done(self) -> None:
        """Raise :meth:`error` if the context is done. Raises DeadlineExceededError or ContextCancelledError."""
        error = self.error()
        if error is not None:
            raise error

    # --- waiting -------------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> bool:
        """Sleep ``seconds``, or until the context is done if that comes first; whether the context is done.

        For the back-off between two attempts: ``context.wait(backoff)``, then ``context.raise_if_done()``.
        """
        until = self._clock.monotonic() + _seconds(seconds)
        signal = Signal()
        stop = self._watch(signal.set)
        try:
            while not self.done:
                left = until - self._clock.monotonic()
                if left <= 0:
                    return False
                remaining = self.remaining()
                self._clock.wait(signal, left if remaining is None else min(left, remaining))
        finally:
            stop()
        return True

    async def sleep(self, seconds: float) -> bool:
        """:meth:`wait` for ``async def`` exporters: the event loop goes on meanwhile; whether the context is done."""
        import asyncio  # noqa: PLC0415 - 40 ms that only async exporters need to pay, and they have paid it

        until = self._clock.monotonic() + _seconds(seconds)
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        stop = self._watch(self._from_cancel(lambda: _call_soon(loop, woken.set)))
        try:
            while not self.done:
                left = until - self._clock.monotonic()
                if left <= 0:
                    return False
                remaining = self.remaining()
                bound = left if remaining is None else min(left, remaining)
                try:
                    async with asyncio.timeout(bound):
                        await woken.wait()
                except TimeoutError:
                    pass  # the loop goes round once more and finds out which of the two ended it
        finally:
            stop()
        return True

    def on_done(self, callback: Callable[[], object]) -> DoneHandle:
        """Call ``callback()`` once when the context is done; returns a handle whose ``unregister()`` takes it back.

        It runs on the thread that cancels, on a daemon timer thread when the deadline passes, or at once on the
        calling thread when the context is done already. It should return quickly; what it raises is logged. What an
        exporter registers on the context of a call ends with that call.
        """
        handle = DoneHandle(callback)
        if not self.done:
            handle._stop_watching = self._watch(self._from_cancel(handle._fire, handle))
        if self.done:
            handle._fire()
        elif self._deadline is not None and self._deadline < math.inf:
            handle._timer = self._clock.call_at(self._deadline, handle._fire)
        if not handle._callback:
            handle.unregister()  # it fired while it was being registered, and could not see all of that
        return handle

    # --- cancelling ----------------------------------------------------------------------------------------------

    def cancel(self, cause: BaseException | str | None = None) -> None:
        """End the context and its descendants; does nothing when it is done already.

        Args:
            cause: why; an exception is chained to every error that this context gives, a text becomes its message.
        """
        with _cancelling:
            if self.done:
                return
            cancellation = _Cancellation(self._clock.monotonic(), cause)
            if self._cancellation is not None:
                return  # a signal handler that interrupted this has cancelled first
            self._cancellation = cancellation
        # A watcher registers first and looks second, this sets first and looks second: one of the two sees the other.
        failure: BaseException | None = None
        for watcher in list(self._watchers.values()):
            try:
                watcher()
            except BaseException as error:  # noqa: BLE001 - Ctrl-C is passed on, but first everybody who waits is woken
                failure = error
        if failure is not None:
            raise failure

    # --- for the guard ---------------------------------------------------------------------------------------------

    def _for_call(self, now: float) -> Context:
        """A child for a call that begins at ``now``; raises :meth:`error` if this context is done.

        One look at the clock serves the caller too: a guard does this for every export.
        """
        deadline = self._deadline
        if deadline is not None and now >= deadline:
            self.raise_if_done()
        context: Context | None = self
        while context is not None:
            if context._cancellation is not None:
                self.raise_if_done()
            context = context._parent
        child = _new(CallContext)  # as below, without the call
        child._deadline = deadline
        child._parent = self
        child._clock = self._clock
        child._cancellation = None
        child._watchers = {}
        return child

    def _with_deadline(self, deadline: float | None) -> Context:
        # Past __init__, whose check this deadline has passed, in half the time.
        child = _new(type(self))
        child._deadline = deadline
        child._parent = self
        child._clock = self._clock
        child._cancellation = None
        child._watchers = {}
        return child

    # --- inside --------------------------------------------------------------------------------------------------

    def _first_cancellation(self) -> _Cancellation | None:
        """The earliest cancellation among this context and those it descends from."""
        first: _Cancellation | None = None
        context: Context | None = self
        while context is not None:
            found = context._cancellation
            if found is not None and (first is None or found.at < first.at):
                first = found
            context = context._parent
        return first

    def _watch(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back (perhaps more than once) when this or an ancestor is cancelled, deadlines apart; returns the undo.

        Calls back at once when that has happened already.
        """
        key = next(_keys)
        context: Context | None = self
        while context is not None:
            context._watchers[key] = callback
            context = context._parent
        if self._first_cancellation() is not None:
            callback()

        def stop() -> None:
            context: Context | None = self
            while context is not None:
                context._watchers.pop(key, None)
                context = context._parent

        return stop

    def _call_ended(self) -> None:
        """Do nothing: it is no call's. See :class:`CallContext`."""

    def _from_cancel(self, callback: Callable[[], None], handle: DoneHandle | None = None) -> Callable[[], object]:  # noqa: ARG002 - a call's has a use for it
        """What calls this callback when a context is cancelled."""
        return callback

    def __repr__(self) -> str:
        remaining = self.remaining()
        limit = "no deadline" if remaining is None else f"{remaining:.3f} s remaining"
        return f"<Context {'done' if self.done else 'active'}, {limit}>"


class CallContext(Context):
    """What a guard hands to an exporter: the thread that cancels it, for the exporter's callbacks, is a timer thread.

    Whoever cancels a call, or shuts the exporter down, is neither held up nor interrupted by what the exporter's
    callbacks do, nor by an event loop of the exporter's on which it sleeps.
    """

    __slots__ = ()

    def _from_cancel(self, callback: Callable[[], None], handle: DoneHandle | None = None) -> Callable[[], object]:
        MONOTONIC.prepare()
        return _OnTimerThread(callback, handle)

    def _call_ended(self) -> None:
        """Take back the exporter's callbacks, which this context's ancestors would keep, unless they are being made.

        Those registered on a descendant are watchers here, too. Who waits on another thread goes on waiting.
        """
        for watcher in list(self._watchers.values()):
            if type(watcher) is _OnTimerThread and watcher.handle is not None and not self.done:
                watcher.handle.unregister()


class _OnTimerThread:
    """Makes a callback on a timer thread."""

    __slots__ = ("callback", "handle")

    def __init__(self, callback: Callable[[], None], handle: DoneHandle | None) -> None:
        self.callback = callback
        self.handle = handle

    def __call__(self) -> None:
        MONOTONIC.call_soon(self.callback)


class DoneHandle:
    """A registered ``on_done`` callback."""

    __slots__ = ("_callback", "_stop_watching", "_timer")

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback: list[Callable[[], object]] = [callback]
        self._stop_watching: Callable[[], None] | None = None
        self._timer: TimerHandle | None = None

    def unregister(self) -> None:
        """Take the callback back; it is not called any more once this returns, unless it is running already."""
        self._callback.clear()
        if self._stop_watching is not None:
            self._stop_watching()
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        try:
            callback = self._callback.pop()  # atomic: of two threads that fire at once, one gets it
        except IndexError:
            return
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - a callback's failure is not the failure of whoever cancels
            name = getattr(callback, "__qualname__", type(callback).__qualname__)
            log(_logger, logging.ERROR, "the on_done callback %s raised %s", name, type(error).__qualname__)
        finally:
            self.unregister()


class _Cancellation:
    """That, when and why a context was cancelled."""

    __slots__ = ("at", "cause")

    def __init__(self, at: float, cause: BaseException | str | None) -> None:
        self.at = at
        self.cause = cause

    def error(self) -> ContextCancelledError:
        message = "the context was cancelled"
        if isinstance(self.cause, str) and self.cause:
            message = f"{message}: {self.cause}"
        error = ContextCancelledError(message)
        if isinstance(self.cause, BaseException):
            error.__cause__ = self.cause
        return error


def _seconds(value: float) -> float:
    """The duration, checked: NaN compares false with everything and would make a context that is never done."""
    if math.isnan(value):
        raise ValueError("a duration in seconds cannot be NaN")
    return value


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        pass  # the loop has closed: nobody sleeps on it any more
