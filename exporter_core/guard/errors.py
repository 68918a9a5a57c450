"""Putting into words how a call came out: which error its caller gets, and what observers and counts are snapshot.

A plugin's own word counts for its failures alone. That a deadline passed, that a call was cancelled or came after
shutdown is believed only where the guard's own state agrees.
"""

from __future__ import annotations

import threading
from asyncio import CancelledError
from typing import TYPE_CHECKING, TypeVar

from exporter_core.errors import (
    ContextCancelledError,
    DeadlineExceededError,
    ExporterBusyError,
    ExporterError,
    ExporterShutdownError,
    PartialSuccessError,
)
from exporter_core.exporter import Destination
from exporter_core.guard.call import Call, Outcome
from exporter_core.masking import cause_of, describe
from exporter_core.observing import Observation
from exporter_core.untrusted import ErrorSnapshot, is_a, name_of_type

if TYPE_CHECKING:
    from exporter_core.context import Context
    from exporter_core.masking import Masker
    from exporter_core.observing import Observers

    ContextError = DeadlineExceededError | ContextCancelledError

_E = TypeVar("_E", bound=ExporterError)


def is_hosts_own(error: BaseException | None, *, inline: bool) -> bool:
    """Whether the error may be the host's, such as Ctrl-C: inline on the main thread it looks like a plugin's."""
    return (
        is_a(error, KeyboardInterrupt, SystemExit) and inline and threading.current_thread() is threading.main_thread()
    )


class Reporter:
    """Words for one exporter's outcomes.

    Args:
        name: the exporter's name in the configuration.
        masker: masks the config's secrets in every text.
        observers: snapshot of every operation, where there are any.
    """

    def __init__(self, name: str, masker: Masker, observers: Observers | None) -> None:
        self._name = name
        self._masker = masker
        self.observers = observers

    # --- for the caller ------------------------------------------------------------------------------------------

    def error_of(self, operation: str, call: Call, context: Context, *, active: bool) -> BaseException:
        """The error that a call which did not succeed raises.

        Args:
            operation: the contract operation.
            call: the call, over unless it was abandoned.
            context: the caller's context; the call's own is its child, which a shutdown cancels.
            active: whether the guard is still active.
        """
        over, outcome = context.error(), call.outcome
        if outcome is Outcome.BUSY:
            return self.error(ExporterBusyError, operation, "an earlier call was given up and is still running")
        if outcome is Outcome.WITHDRAWN:
            return self.shut_down(operation) if over is None else self._again(operation, over, "did not get its turn")
        if outcome is Outcome.ABANDONED:
            return self._abandoned(operation, over, active=active)
        if call.snapshot is None:
            kind = name_of_type(call.result)
            return self.error(ExporterError, operation, f"returned {kind}; it has to return None, or raise")
        raised = self._error_raised(operation, call.snapshot, call, over, active=active)
        raised.__cause__ = self.cause(call.snapshot)
        return raised

    def late(self, operation: str) -> DeadlineExceededError:
        """The error of an inline call that went well, but not in time."""
        text = "returned after its deadline, which the inline runner cannot keep"
        return DeadlineExceededError(f"exporter {self._name!r}: {operation} {text}")

    def _abandoned(self, operation: str, over: ContextError | None, *, active: bool) -> BaseException:
        if over is not None:
            return self._again(operation, over, "is still running")
        if active:
            return self.error(ExporterError, operation, "cancelled its own context, and is still running")
        return self.shut_down(operation, " while it was running; whether it was delivered is unknown")

    def _error_raised(
        self, operation: str, snapshot: ErrorSnapshot, call: Call, over: ContextError | None, *, active: bool
    ) -> BaseException:
        """What becomes of an error that the plugin raised."""
        error = snapshot.error
        if is_a(error, DeadlineExceededError, ContextCancelledError, CancelledError):
            if over is not None:
                return self._again(operation, over, "gave up")
            if call.context.done and not active:
                return self.shut_down(operation, " while it was running")
        if is_a(error, ExporterShutdownError) and operation == "export" and not active:
            return self.shut_down(operation)
        text = self.describe(snapshot)
        if is_a(error, PartialSuccessError):
            rejected = _rejected(snapshot, call.points)
            text = f"{text} ({rejected} data points were rejected)"
            return self.error(PartialSuccessError, operation, text, rejected_points=rejected)
        return self.error(ExporterError, operation, text, verb=" failed")

    def error(self, kind: type[_E], operation: str, text: str, *, verb: str = "", **more: object) -> _E:
        """An error that names the exporter and the operation."""
        message = f"exporter {self._name!r}: {operation}{verb}: {text}"
        return kind(message, exporter=self._name, operation=operation, **more)

    def shut_down(self, operation: str, more: str = "") -> ExporterShutdownError:
        """The error of a call that came after shutdown, or that a shutdown ended."""
        return self.error(ExporterShutdownError, operation, f"the exporter has been shut down{more}")

    def _again(self, operation: str, error: ContextError, how: str) -> BaseException:
        """The context's error, with the call that it ended."""
        again = type(error)(f"exporter {self._name!r}: {operation} {how}: {error}")
        again.__cause__ = None if error.__cause__ is None else self.cause(error.__cause__)
        return again

    def late_error(self, call: Call) -> tuple[str | None, int]:
        """The failure of a call that ended after its caller had given it up, and how many points it delivered."""
        points, snapshot = call.points or 0, call.snapshot
        if snapshot is not None:
            accepted = points - _rejected(snapshot, points) if is_a(snapshot.error, PartialSuccessError) else 0
            return self.describe(snapshot), accepted
        if call.result is not None:
            return f"returned {name_of_type(call.result)}; it has to return None, or raise", 0
        return None, points

    # --- for people and observers --------------------------------------------------------------------------------

    def describe(self, error: BaseException | ErrorSnapshot) -> str:
        """The error in one line, secrets masked; errors of our own without their type."""
        return describe(error, self._masker)

    def cause(self, error: BaseException | ErrorSnapshot) -> BaseException:
        """What may be chained to an error of ours: the error, or a masked stand-in where it tells a secret."""
        return cause_of(error, self._masker)

    def destination(self, place: Destination | None) -> Destination | None:
        """The place as it may be shown: an exporter may build it from options that hold secrets."""
        if place is None:
            return None
        return Destination(self._masker(place.location), None if place.command is None else self._masker(place.command))

    def tell(
        self, operation: str, seconds: float, *, points: int | None = None, error: str | None = None, late: bool = False
    ) -> None:
        """Tell the observers of one operation."""
        if self.observers is not None:
            self.observers.tell(Observation(self._name, operation, seconds, points, error, late))


def _rejected(snapshot: ErrorSnapshot, points: int | None) -> int:
    """How many points were rejected, as the plugin says it but within reason."""
    rejected = snapshot.rejected_points
    if rejected is None:
        return points or 0
    return rejected if points is None else min(rejected, points)
