"""One call of one operation: who runs it, who waits for it, and whose its outcome is.

Two races decide a call, each by a lock that only one side can take: has it *begun* (the lane) or been withdrawn (the
caller, or a shutdown); has it *ended* for its caller (the lane) or been abandoned (the caller, at its deadline).
"""

from __future__ import annotations

import logging
import threading
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING

from exporter_core.log import log
from exporter_core.sync import Signal
from exporter_core.untrusted import ErrorSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter_core.context import Context

_logger = logging.getLogger(__name__)

_NOTHING: Mapping[str, object] = {}


class Outcome(Enum):
    """How a call came out for the one who waited for it."""

    ENDED = "ended"
    """It ran to its end; ``Call.result`` and ``Call.error`` hold."""
    WITHDRAWN = "withdrawn"
    """It never began: its context was done, or the exporter shut down, before its turn came."""
    ABANDONED = "abandoned"
    """It is still running, and nobody waits for it any more."""
    BUSY = "busy"
    """It was not made: an abandoned call of the same operation is still running."""


class Call:
    """One call, in flight or over.

    Args:
        function: what is called; with its arguments it is let go of when the call is over.
        context: the context that the exporter is given, a child of the caller's.
        arguments: what ``function`` is called with, by name.
        on_late: snapshot of the call when it ends after its caller has abandoned it.
        points: how many data points it hands over.
        certain: whether it is made even if its context is done, or its lane refuses calls, before its turn comes.
    """

    __slots__ = (
        "_arguments",
        "_begin",
        "_end",
        "_function",
        "_on_late",
        "certain",
        "context",
        "error",
        "outcome",
        "over",
        "points",
        "result",
        "snapshot",
        "started",
        "wake",
    )

    def __init__(
        self,
        function: Callable[..., object],
        context: Context,
        arguments: Mapping[str, object],
        on_late: Callable[[Call], None] | None = None,
        points: int | None = None,
        *,
        certain: bool = False,
    ) -> None:
        self._function: Callable[..., object] | None = function
        self._arguments = arguments
        self._on_late = on_late
        self.context = context
        self.certain = certain
        self.points = points
        self.started = monotonic()
        self.outcome = Outcome.ENDED
        self.result: object = None
        self.error: BaseException | None = None
        self.snapshot: ErrorSnapshot | None = None
        """The error's words, taken down by the lane."""
        self.over = False
        self.wake = Signal()
        """Set when the caller has a reason to look."""
        self._begin = threading.Lock()
        self._end = threading.Lock()

    @classmethod
    def withdrawn(cls, function: Callable[..., object], context: Context, arguments: Mapping[str, object]) -> Call:
        """A call that is not made."""
        call = cls(function, context, arguments)
        call.withdraw()
        return call

    # --- the lane's side -----------------------------------------------------------------------------------------

    def begin(self) -> bool:
        """Take the call for running; False if it was withdrawn."""
        return self._begin.acquire(blocking=False)

    def end(self, result: object = None, error: BaseException | None = None) -> None:
        """Record how the call came out, and tell whoever is concerned."""
        # Before the end, since it runs code of the exporter's too.
        self.snapshot = None if error is None else ErrorSnapshot.of(error)
        self._let_go()  # the exporter owned the data until here
        if self.context._watchers:
            self.context._call_ended()  # here, as letting go of the exporter's callbacks may run code of its own
        self.result = result
        self.error = error
        self.over = True
        on_late, self._on_late = self._on_late, None
        if self._end.acquire(blocking=False):
            self.wake.set()
            return
        try:
            if on_late is not None:
                on_late(self)
        except BaseException as failure:  # noqa: BLE001 - the lane has to go on
            log(_logger, logging.ERROR, "a late end could not be snapshot of: %s", type(failure).__qualname__)
        self.result = self.error = self.snapshot = None  # nobody asks any more, and a traceback keeps the data alive

    def make(self) -> object:
        """Make the call, which has begun."""
        assert self._function is not None  # noqa: S101 - for the type checker; it is let go of when the call is over
        return self._function(**self._arguments)

    def run(self) -> None:
        """Make the call on this thread, unless it was withdrawn. Never raises."""
        if not self.begin():
            return
        try:
            result = self.make()
        except BaseException as error:  # noqa: BLE001 - it is the caller's to raise, and not the end of this thread
            self.end(error=error)
        else:
            self.end(result)

    @property
    def went_well(self) -> bool:
        """Whether it ended as the contract has it: without an error, returning None."""
        return self.outcome is Outcome.ENDED and self.error is None and self.result is None

    # --- the caller's side ---------------------------------------------------------------------------------------

    def withdraw(self) -> bool:
        """Keep the call from beginning; False if it has begun, or is certain."""
        if self.certain or not self._begin.acquire(blocking=False):
            return False
        self._let_go()
        self._on_late = None
        self.outcome = Outcome.WITHDRAWN
        self.over = True
        self.wake.set()
        return True

    def wait(self) -> None:
        """Wait for the end, at most until the call's context is done; a call that overruns is abandoned."""
        context, wake = self.context, self.wake
        clock = context._clock
        stop_watching = context._watch(wake.set)
        try:
            while not self.over:
                clock.wait(wake, context.remaining())
                if context.done:
                    self.give_up()
                    break
        finally:
            stop_watching()

    def give_up(self) -> None:
        """Withdraw or abandon the call, unless it is over: ended at this very moment, or withdrawn by a shutdown."""
        if not self.over and not self.withdraw() and self._end.acquire(blocking=False):
            self.outcome = Outcome.ABANDONED

    def _let_go(self) -> None:
        self._function = None
        self._arguments = _NOTHING
