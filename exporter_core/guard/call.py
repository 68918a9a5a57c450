"""One call of an exporter's operation, and its result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from exporter_core.untrusted import ErrorSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter_core.context import CallContext


class Outcome(Enum):
    """The ways in which a call can come out for its caller."""

    SUCCEEDED = "succeeded"
    """It returned None."""
    RETURNED = "returned"
    """It returned something else, which is ``Result.value``."""
    RAISED = "raised"
    """It raised ``Result.error``."""
    LATE = "late"
    """It returned None after its deadline, on its caller's thread."""
    WITHDRAWN = "withdrawn"
    """It never began: its context was done, or the exporter shut down, before its turn came."""
    ABANDONED = "abandoned"
    """It still runs, and nobody waits for it any more."""
    BUSY = "busy"
    """It was not made, since an abandoned call of the same operation still runs."""


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a call, with what it returned or raised."""

    outcome: Outcome
    value: object = None
    error: ErrorSnapshot | None = None


SUCCESS: Final = Result(Outcome.SUCCEEDED)


@dataclass(slots=True, eq=False)
class Call:
    """One call: built by the guard, made by a runner."""

    operation: str
    """The contract operation, or what else the exporter's code is run for."""
    function: Callable[..., object]
    context: CallContext
    """The context that the exporter is given, a child of the caller's."""
    arguments: Mapping[str, object]
    """By name, what the function is called with."""
    started: float = 0.0
    """The time at which the caller began to wait, in seconds on the context's clock."""
    points: int | None = None
    """The number of data points that it hands over; None for operations other than export."""
    on_late: Callable[[Call, Result], None] | None = None
    """Told of the result when the call ends after its caller has abandoned it."""
    must_run: bool = False
    """Make it even if its context is done, or its runner refuses calls, before its turn comes."""
    abandoned: bool = False
    """Set when its caller has left while it runs."""

    def run(self) -> Result:
        """Make the call on this thread; never raises what the exporter raises."""
        try:
            value = self.function(**self.arguments)
        except BaseException as error:  # noqa: BLE001 - it is the caller's to raise, and not the end of this thread
            return self.ended(error=error)
        if value is None and not self.context._watchers:
            return SUCCESS  # the short way, which nearly every call takes
        return self.ended(value)

    def ended(self, value: object = None, error: BaseException | None = None) -> Result:
        """Return the result; on the exporter's own thread, since this runs code of the exporter's too.

        When a call ends, so do the ``on_done`` callbacks that the exporter has not taken back.
        """
        if self.context._watchers:
            self.context._call_ended()
        if error is not None:
            return Result(Outcome.RAISED, error=ErrorSnapshot.of(error))
        return SUCCESS if value is None else Result(Outcome.RETURNED, value)
