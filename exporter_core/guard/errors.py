"""The errors that an exporter's callers get.

A plugin's own word counts for its failures alone. Its deadline, cancellation or shutdown error is believed only where
the guard's own state agrees.
"""

from __future__ import annotations

import re
import sys
import threading
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
from exporter_core.guard.call import Call, Outcome, Result
from exporter_core.masking import cause_of, describe
from exporter_core.untrusted import ErrorSnapshot, is_a, name_of_type

if TYPE_CHECKING:
    from exporter_core.context import Context
    from exporter_core.masking import Masker

    ContextError = DeadlineExceededError | ContextCancelledError

_E = TypeVar("_E", bound=ExporterError)


def is_hosts_own(error: BaseException, *, inline: bool) -> bool:
    """Return True for an error that may be the host's.

    The inline runner lets ``KeyboardInterrupt`` and ``SystemExit`` of the main thread pass: they cannot be told from
    the host's.
    """
    return (
        is_a(error, KeyboardInterrupt, SystemExit) and inline and threading.current_thread() is threading.main_thread()
    )


def _cancelled_errors() -> tuple[type[BaseException], ...]:
    """Return asyncio's error of a cancelled task, which nothing can have raised before asyncio is imported."""
    error = getattr(sys.modules.get("asyncio.exceptions"), "CancelledError", None)
    return () if error is None else (error,)


class Errors:
    """Makes the errors of one exporter's calls. Each names the exporter and the operation, and shows no secret.

    Args:
        name: the exporter's name in the configuration.
        masker: masks the config's secrets in every text.
    """

    def __init__(self, name: str, masker: Masker) -> None:
        self._name = name
        self._masker = masker
        self._destination: Destination | None = None

    def error_of(self, call: Call, result: Result, context: Context, *, active: bool) -> BaseException:  # noqa: PLR0911 - an error for each outcome
        """Return the error that a call which did not succeed raises.

        Args:
            call: the call.
            result: its result.
            context: the caller's context; the call's own is its child, which a shutdown cancels.
            active: False once the guard is being shut down.
        """
        operation, over = call.operation, context.error()
        match result.outcome:
            case Outcome.BUSY:
                text = f" refused: an earlier {operation} still runs in the background"
                return self.new(ExporterBusyError, operation, text)
            case Outcome.LATE:
                text = " timed out: it returned after its deadline, which the inline runner cannot enforce"
                return DeadlineExceededError(self._message(operation, text))
            case Outcome.WITHDRAWN:
                return self.shut_down(operation) if over is None else self.over(operation, over, " before it began")
            case Outcome.ABANDONED if over is not None:
                return self.over(operation, over, "; it still runs in the background", self._after_attempt(call))
            case Outcome.ABANDONED if active:
                text = " cancelled its own context; it still runs in the background"
                return self.new(ExporterError, operation, text)
            case Outcome.ABANDONED:
                text = " while it was running; whether it was delivered is unknown"
                return self.shut_down(operation, f"{text}{self._after_attempt(call)}")
        if result.error is None:
            return self.new(ExporterError, operation, f" {_wrong_answer(result)}")
        raised = self._of_raised(call, result.error, over, active=active)
        raised.__cause__ = self.cause(result.error)
        return raised

    def _of_raised(
        self, call: Call, raised: ErrorSnapshot, over: ContextError | None, *, active: bool
    ) -> ExporterError | ContextError:
        operation, error = call.operation, raised.error
        if is_a(error, DeadlineExceededError, ContextCancelledError, *_cancelled_errors()):
            if over is not None:
                return self.over(operation, over, detail=self._own_words(call, raised))
            if call.context.done and not active:
                return self.shut_down(operation, f" while it was running{self._after_attempt(call)}")
        if is_a(error, ExporterShutdownError) and operation == "export" and not active:
            return self.shut_down(operation, self._after_attempt(call))
        text = self._without_place(operation, self.describe(raised))
        if is_a(error, PartialSuccessError):  # it stays what it is
            rejected = _rejected(raised, call.points)
            text = f" was accepted in part: {text} (rejected data points: {rejected})"
            return self.new(PartialSuccessError, operation, text, rejected_points=rejected)
        return self.new(ExporterError, operation, f" failed: {text}")

    def new(self, kind: type[_E], operation: str, text: str, **more: object) -> _E:
        """Return an error that names the exporter and the operation; the text follows on the operation's name."""
        return kind(self._message(operation, text), exporter=self._name, operation=operation, **more)

    def shut_down(self, operation: str, text: str = "") -> ExporterShutdownError:
        """Return the error of a call that came after shutdown, or that a shutdown ended."""
        return self.new(ExporterShutdownError, operation, f": the exporter has been shut down{text}")

    def over(self, operation: str, error: ContextError, text: str = "", detail: str = "") -> ContextError:
        """Return the error of a call that its context ended; the detail follows on the reason."""
        if is_a(error, DeadlineExceededError):
            return DeadlineExceededError(self._message(operation, f" timed out{text}{detail}"))
        _, colon, reason = str(error).partition(": ")
        cancelled = ContextCancelledError(self._message(operation, f" was cancelled{text}{colon}{reason}{detail}"))
        cancelled.__cause__ = None if error.__cause__ is None else self.cause(error.__cause__)
        return cancelled

    def last_attempt(self, call: Call) -> str | None:
        """Return the failure of the call's last attempt; None if it has had none."""
        failure = call.context._attempts_of_call().last_failure
        return self._without_place(call.operation, " ".join(self._masker(failure).split())) if failure else None

    def _after_attempt(self, call: Call) -> str:
        failure = self.last_attempt(call)
        return f"; the last attempt failed: {failure}" if failure else ""

    def _own_words(self, call: Call, raised: ErrorSnapshot) -> str:
        """Return the exporter's own words on its deadline or cancellation, as they follow on ours."""
        if not (raised.text and is_a(raised.error, DeadlineExceededError)):
            return self._after_attempt(call)
        text = self._without_place(call.operation, self.describe(raised)).removeprefix("timed out")
        if text.startswith("the context's deadline has passed"):  # which is what our words say
            return text.removeprefix("the context's deadline has passed")
        return text if text.startswith((" ", ";", ":")) or not text else f": {text}"

    def _without_place(self, operation: str, text: str) -> str:
        """Return the exporter's text without the place, which a message about an export names before."""
        place = self._destination
        if place is None or operation != "export":
            return text
        return re.sub(rf"(^|[:;] ){re.escape(place.location)}: ", r"\1", text)

    def late_error(self, call: Call, result: Result) -> tuple[str | None, int]:
        """Return the failure of an abandoned call that ended, None for success, and how many points it delivered."""
        points, raised = call.points or 0, result.error
        if raised is not None:
            accepted = points - _rejected(raised, points) if is_a(raised.error, PartialSuccessError) else 0
            return self.describe(raised), accepted
        if result.outcome is Outcome.RETURNED:
            return _wrong_answer(result), 0
        return None, points

    def describe(self, error: BaseException | ErrorSnapshot) -> str:
        """Return the error in one line, secrets masked; errors of our own without their type."""
        return describe(error, self._masker)

    def cause(self, error: BaseException | ErrorSnapshot) -> BaseException:
        """Return the error as it may be chained to one of ours.

        That is a masked stand-in where it, or its own chain, tells a secret or is too long to be searched for one.
        """
        return cause_of(error, self._masker)

    def name_destination(self, place: Destination | None) -> Destination | None:
        """Have errors name the place; return it with secrets masked, since an exporter may build it from options."""
        if place is not None:
            command = None if place.command is None else self._masker(place.command)
            self._destination = Destination(self._masker(place.location), command)
        return self._destination

    def _message(self, operation: str, text: str) -> str:
        place = self._destination
        where = f" to {place.location}" if place is not None and operation == "export" else ""
        return f"exporter {self._name!r}: {operation}{where}{text}"


def _wrong_answer(result: Result) -> str:
    return f"returned {name_of_type(result.value)}; it has to return None, or raise"


def _rejected(raised: ErrorSnapshot, points: int | None) -> int:
    """Return how many points were rejected: the plugin's number, if it can be."""
    rejected = raised.rejected_points
    if rejected is None:
        return points or 0
    return rejected if points is None else min(rejected, points)
