"""One call's deadline and cancellation: Go's ``context.Context``, not OpenTelemetry's propagation context.

A context is *done* when its deadline has passed or it, or a context it descends from, was cancelled; whichever came
first is its error for good. Time is monotonic, in seconds. A child asks its parents rather than being told by them, so
that a long-lived parent keeps no dead child alive. The public shape of :class:`Context` is frozen with contract v1.
"""

from __future__ import annotations

import itertools
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from exporter_core.clock import MONOTONIC, Clock, TimerHandle
from exporter_core.errors import ContextCancelledError, DeadlineExceededError
from exporter_core.forking import call_after_fork
from exporter_core.log import log
from exporter_core.sync import RLock, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Context", "DoneHandle"]

_ContextT = TypeVar("_ContextT", bound="Context")

_logger = logging.getLogger(__name__)

_keys = itertools.count()

_new = object.__new__

# Reentrant, since a signal handler that cancels may interrupt a cancellation on the same thread.
_cancelling = RLock()


def _renew_lock_after_fork() -> None:
    global _cancelling  # noqa: PLW0603 - the one lock of the module; its holder may not exist in the child
    _cancelling = RLock()


call_after_fork(_renew_lock_after_fork)


class Context:
    """The deadline and cancellation of one call, handed to ``export``, ``force_flush`` and ``shutdown``.

    Make one with :meth:`background`, :meth:`with_timeout` or :meth:`child`. Every method may be called from any thread.
    """

    __slots__ = ("__weakref__", "_ancestors", "_cancellation", "_clock", "_deadline", "_watchers")

    def __init__(
        self, *, deadline: float | None = None, parent: Context | None = None, clock: Clock = MONOTONIC
    ) -> None:
        """Prefer the named constructors; ``deadline`` is in seconds on ``clock``. Raises ValueError for NaN."""
        self._deadline = None if deadline is None else _seconds(deadline)
        self._ancestors: tuple[Context, ...] = () if parent is None else (parent, *parent._ancestors)
        self._clock = clock
        self._cancellation: _Cancellation | None = None
        self._watchers: dict[int, Callable[[], object]] = {}

    # --- making one ----------------------------------------------------------------------------------------------

    @classmethod
    def background(cls) -> Context:
        """Return a context of its own with no deadline, done only when it is cancelled."""
        return cls()

    @classmethod
    def with_timeout(cls, seconds: float) -> Context:
        """Return a context that is done after ``seconds``. Raises ValueError for NaN."""
        return cls(deadline=MONOTONIC.monotonic() + max(0.0, _seconds(seconds)))

    def child(self, *, timeout: float | None = None) -> Context:
        """Return a context that is done when this one is, after ``timeout`` seconds, or when it is itself cancelled.

        A timeout below zero is zero: what ended this context before ends the child too. Raises ValueError for NaN.
        """
        deadline = self._deadline
        if timeout is not None:
            own = self._clock.monotonic() + max(0.0, _seconds(timeout))
            deadline = own if deadline is None else min(deadline, own)
        return self._descendant(type(self), deadline)

    # --- asking --------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """The time in ``time.monotonic()`` seconds at which the context is done at the latest; None for no deadline."""
        return self._deadline

    def remaining(self) -> float | None:
        """Return the seconds until the deadline, never negative; None for no deadline."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - self._clock.monotonic())

    @property
    def done(self) -> bool:
        """True once the deadline has passed or the context was cancelled."""
        return self._done_at(self._clock.monotonic())

    def error(self) -> DeadlineExceededError | ContextCancelledError | None:
        """Return why the context is done, as a fresh exception with its cause chained; None while it is not done."""
        if not self.done:
            return None
        # Cancellations get their times under this lock. Behind it, every one that may have been first can be seen, so
        # that the answer never changes.
        with _cancelling:
            found = [one._cancellation for one in (self, *self._ancestors) if one._cancellation is not None]
        first = min(found, key=lambda cancellation: cancellation.at, default=None)
        if first is None or (self._deadline is not None and first.at >= self._deadline):
            return DeadlineExceededError("the context's deadline has passed")
        return first.error()

    def raise_if_done(self) -> None:
        """Raise :meth:`error` if the context is done. Raises DeadlineExceededError or ContextCancelledError."""
        error = self.error()
        if error is not None:
            raise error

    # --- waiting -------------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> bool:
        """Sleep ``seconds``, or until the context is done if that comes first; return True if the context is done.

        For the back-off between two attempts: ``context.wait(backoff)``, then ``context.raise_if_done()``.
        """
        pause = self.child(timeout=seconds)
        signal = Signal()
        stop_watching = self._watch(signal.set)
        try:
            while not pause.done:
                self._clock.wait(signal, pause.remaining())
        finally:
            stop_watching()
        return self.done

    async def sleep(self, seconds: float) -> bool:
        """:meth:`wait` for ``async def`` exporters: the event loop goes on meanwhile."""
        import asyncio  # noqa: PLC0415 - 40 ms that only async exporters need to pay, and they have paid it

        pause = self.child(timeout=seconds)
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(woken.set)
            except RuntimeError:
                pass  # the loop has closed: nobody sleeps on it any more

        stop_watching = self._watch(self._on_cancel(wake))
        try:
            while not pause.done:
                try:
                    async with asyncio.timeout(pause.remaining()):
                        await woken.wait()
                except TimeoutError:
                    pass  # the loop's clock may be ahead of the context's: look once more
        finally:
            stop_watching()
        return self.done

    def on_done(self, callback: Callable[[], object]) -> DoneHandle:
        """Call ``callback()`` once when the context is done; returns a handle whose ``unregister()`` takes it back.

        It runs on the thread that cancels, on a daemon timer thread when the deadline passes, or at once on the
        calling thread when the context is done already. It should return quickly; what it raises is logged. What an
        exporter registers on the context of a call ends with that call.
        """
        handle = DoneHandle(callback)
        if not self.done:
            handle._stop_watching = self._watch(self._on_cancel(handle._fire, handle))
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
            cause: the reason; an exception is chained to every error that this context gives, a text becomes its
                message.
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

    # --- inside --------------------------------------------------------------------------------------------------

    def _descendant(self, kind: type[_ContextT], deadline: float | None) -> _ContextT:
        # Past __init__, whose check this deadline has passed, in half the time: every call of an exporter has one.
        child = _new(kind)
        child._deadline = deadline
        child._ancestors = (self,) + self._ancestors  # noqa: RUF005 - half the time of unpacking
        child._clock = self._clock
        child._cancellation = None
        child._watchers = {}
        return child

    def _done_at(self, now: float) -> bool:
        if self._cancellation is not None or (self._deadline is not None and now >= self._deadline):
            return True
        for ancestor in self._ancestors:  # noqa: SIM110 - any() takes three times as long, at every call of an exporter
            if ancestor._cancellation is not None:
                return True
        return False

    def _watch(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back (perhaps more than once) when this or an ancestor is cancelled; returns a function that ends this.

        Calls back at once when the context is done already, and not when its deadline passes later.
        """
        key = next(_keys)
        watched = (self, *self._ancestors)
        for context in watched:
            context._watchers[key] = callback
        if self.done:
            callback()

        def stop_watching() -> None:
            for context in watched:
                context._watchers.pop(key, None)

        return stop_watching

    def _on_cancel(self, callback: Callable[[], None], handle: DoneHandle | None = None) -> Callable[[], object]:  # noqa: ARG002 - a call's has a use for it
        """Return the watcher that makes this callback when the context is cancelled."""
        return callback

    def _call_ended(self) -> None:
        """Do nothing: only a :class:`CallContext` belongs to a call."""

    def _attempts_of_call(self) -> Attempts:
        """Return the attempts of the call that this context belongs to; those of nobody where no guard makes it."""
        for one in (self, *self._ancestors):
            if isinstance(one, CallContext) and hasattr(one, "_attempts"):
                one._attempts = one._attempts or Attempts()
                return one._attempts
        return Attempts()

    def __repr__(self) -> str:
        remaining = self.remaining()
        limit = "no deadline" if remaining is None else f"{remaining:.3f} s remaining"
        return f"<Context {'done' if self.done else 'active'}, {limit}>"


class CallContext(Context):
    """The context that a guard hands to an exporter: when it is cancelled, callbacks run on a timer thread.

    So the exporter's callbacks, and the event loop on which it may sleep, neither hold up nor interrupt the thread that
    cancels the call or shuts the exporter down.
    """

    __slots__ = ("_attempts",)

    _attempts: Attempts | None
    """The attempts of the call, once there is one to tell of. A guard sets it, at first to None, on what it hands out;
    the children of that, which are of this class too, lack it."""

    def _on_cancel(self, callback: Callable[[], None], handle: DoneHandle | None = None) -> Callable[[], object]:
        MONOTONIC.prepare()
        return _OnTimerThread(callback, handle)

    def _call_ended(self) -> None:
        """Take back the exporter's callbacks, which this context's ancestors would keep, unless they are being made.

        Those registered on a descendant are watchers here, too. A wait on another thread goes on.
        """
        for watcher in list(self._watchers.values()):
            if type(watcher) is _OnTimerThread and watcher.handle is not None and not self.done:
                watcher.handle.unregister()


@dataclass(frozen=True, slots=True)
class _OnTimerThread:
    """A watcher that makes its callback on a timer thread."""

    callback: Callable[[], None]
    handle: DoneHandle | None

    def __call__(self) -> None:
        MONOTONIC.call_soon(self.callback)


class Attempts:
    """The attempts of one call of an exporter that tries again: what it tells its guard, and the guard tells it.

    The exporter's thread writes, a caller that waits for the call, or shuts the exporter down, reads and ends.
    """

    def __init__(self) -> None:
        self.last_failure = ""
        """The last attempt's failure in one line; empty while none has failed."""
        self.repeated = 0
        """The number of requests that were sent again."""
        self._ended = False
        self._pause: Context | None = None

    def pause(self, context: Context, seconds: float) -> bool:
        """Wait before the next attempt; return False if there is none to be, since the exporter is being shut down.

        Raises the context's error once that is done.
        """
        # The wait is known first and looked at second, end() marks first and looks second: one sees the other.
        self._pause = pause = context.child()
        if not self._ended:
            pause.wait(seconds)
        context.raise_if_done()
        return not self._ended

    def end(self) -> None:
        """End the wait for the next attempt, and keep another from beginning."""
        self._ended = True
        if self._pause is not None:
            self._pause.cancel()


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


@dataclass(frozen=True, slots=True)
class _Cancellation:
    """A cancellation: its time and cause."""

    at: float
    cause: BaseException | str | None

    def error(self) -> ContextCancelledError:
        message = "the context was cancelled"
        if isinstance(self.cause, str) and self.cause:
            message = f"{message}: {self.cause}"
        error = ContextCancelledError(message)
        if isinstance(self.cause, BaseException):
            error.__cause__ = self.cause
        return error


def _seconds(value: float) -> float:
    """Return the duration, checked: NaN compares false with everything and would make a context that is never done."""
    if math.isnan(value):
        raise ValueError("a duration in seconds cannot be NaN")
    return value
