"""The timeline of a clause, and calls on threads of their own that a clause can look at while they run."""

from __future__ import annotations

import threading
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from exporter_core.untrusted import ErrorSnapshot, name_of_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.context import Context

LOGGED: Final = 100
"""Requests, and connections, of a run that its report shows."""
_LOOK = 0.01  # seconds
_LOOKS = 10
_NANOSECONDS = 1_000_000_000


class Event(NamedTuple):
    """Something that happened, in the order in which it did."""

    seconds: float
    """On the monotonic clock."""
    kind: str
    """``call``, ``enter``, ``leave``, ``return``, ``wire``, ``gate``, ``note`` or ``verdict``."""
    text: str


class Exchange(NamedTuple):
    """One request to the backend and its answer, as a wire log shows them. Seconds are on the monotonic clock."""

    seconds: float
    """The time of its arrival."""
    request: str
    """Such as ``"POST /v1/metrics"``."""
    headers: tuple[tuple[str, str], ...] = ()
    size: int = 0
    """Bytes of the body, as they were sent."""
    points: int = 0
    """Data points in it."""
    connection: int | None = None
    """The number of the connection that it came on."""
    fault: str = "ok"
    """The step of the fault script that it met."""
    stored: float | None = None
    """The time at which the backend had its data; None if it took none."""
    answered: float | None = None
    """The time at which the answer was complete; None if it never was."""
    answer: str | None = None
    """The status that was sent."""
    problems: tuple[str, ...] = ()
    """Violations of its protocol, a line each."""
    digests: tuple[tuple[str, str], ...] = ()
    """Name and :func:`~exporter_core.conformance.sinks.records.digest` of each header, to compare secret ones by; no
    report shows them."""


class Journal:
    """The events of a clause, in order. Appending takes no lock, so that a fork can never leave it locked."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.spies: dict[type, type] = {}
        """The classes that stamp what is entered, by those of the exporters."""

    def stamp(self, kind: str, text: str, seconds: float | None = None) -> int:
        """Add an event of this moment, or of an earlier one; the number of events."""
        self.events.append(Event(monotonic() if seconds is None else seconds, kind, text))
        return len(self.events)

    @property
    def is_idle(self) -> bool:
        """True if every operation that was entered has been left, also after its caller gave up."""
        kinds = [event.kind for event in self.events]
        return kinds.count("enter") == kinds.count("leave")


class ObservedCall:
    """A call that runs on a daemon thread of its own.

    Args:
        function: the function to call.
        name: its name in the timeline.
        journal: gets its beginning and end.
        context: the context that the function gets, to measure how late the call ends.
    """

    def __init__(
        self, function: Callable[[], object], name: str, journal: Journal, context: Context | None = None
    ) -> None:
        self.name = name
        self.result: object = None
        self.error: BaseException | None = None
        self.context = context
        """The context that the function gets."""
        self.waited = 0.0
        """The seconds for which its thread could have run and did not, where Linux tells; once it is over."""
        self._cancelled: float | None = None
        self._ended = 0.0
        self._function = function
        self._journal = journal
        self._over = threading.Event()
        journal.stamp("call", name)
        self._began = monotonic()
        self.thread = threading.Thread(target=self._run, name=f"conformance-{name}", daemon=True)
        self.thread.start()

    @property
    def over(self) -> bool:
        """True if it has ended."""
        return self._over.is_set()

    @property
    def succeeded(self) -> bool:
        """True if it has ended without an error."""
        return self.over and self.error is None

    @property
    def due(self) -> bool:
        """True if its context is done, so that it has to end."""
        return self.context is not None and self.context.done

    @property
    def overrun(self) -> bool:
        """True if it ended with an error and its context is done."""
        return self.error is not None and self.due

    def cancel(self) -> None:
        """Cancel its context."""
        assert self.context is not None  # noqa: S101 - who cancels a call has handed it a context
        self._cancelled = monotonic()
        self.context.cancel("by the clause")

    @property
    def was_cancelled(self) -> bool:
        """True if :meth:`cancel` was called."""
        return self._cancelled is not None

    @property
    def cancelled_after(self) -> float:
        """Seconds from its beginning to its cancellation; 0 if it was not cancelled."""
        return 0.0 if self._cancelled is None else self._cancelled - self._began

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self._ended - self._began

    @property
    def lateness(self) -> float:
        """Seconds from its cancellation or its deadline to its end; 0 if it ended before, or has none."""
        end = self._cancelled
        if end is None and self.context is not None:
            end = self.context.deadline
        return 0.0 if end is None else max(0.0, self._ended - end)

    @property
    def late(self) -> str:
        """Its lateness in words; empty if it ended before its cancellation or its deadline, or has none."""
        if not self.lateness:
            return ""
        return f", {self.lateness * 1000:.0f} ms after its {'cancellation' if self.was_cancelled else 'deadline'}"

    def wait(self, seconds: float) -> bool:
        """Wait for its end; True if it has ended."""
        if self._over.wait(seconds):
            self.thread.join(seconds)
            return True
        return False

    def ends_unasked(self) -> bool:
        """Watch for a moment if a call ends that has to wait.

        Many short waits, each of which lets other threads run: a busy machine takes longer for them.
        """
        return any(self.wait(_LOOK) for _ in range(_LOOKS))

    def _run(self) -> None:
        waited = _waited_to_run()
        try:
            self.result = self._function()
        except BaseException as error:  # noqa: BLE001 - what was raised is what the clause looks at
            self.error = error
        self._ended = monotonic()
        self.waited = _waited_to_run() - waited
        del self._function  # which holds what was exported, and the case
        self._journal.stamp("return", f"{self.name} {outcome_of(self.error)}")
        self._over.set()


def _waited_to_run() -> float:
    """The seconds for which this thread could have run and did not; 0 where nobody counts them."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / _NANOSECONDS
    except (OSError, ValueError, IndexError):
        return 0.0


class AnsweredFailure(Exception):  # noqa: N818 - an answer, and no error of anybody's
    """An answer that stands for a failure, such as ``MetricExportResult.FAILURE``; its text says what was returned."""


class UnknownAnswer(AnsweredFailure):
    """An answer that stands for neither: nobody can tell if the call succeeded."""


def outcome_of(error: BaseException | None) -> str:
    """The end of a call in two words or three."""
    if error is None:
        return "returned"
    if isinstance(error, AnsweredFailure):
        return "returned something else" if isinstance(error, UnknownAnswer) else "returned a failure"
    return f"raised {name_of_type(error)}"


def words_of(error: BaseException) -> str:
    """The error's type and message; never runs its ``__str__`` unguarded.

    White space stays as it is, and nothing is cut off that a secret could end in: mask the text first, then shorten it.
    """
    name, text = name_of_type(error), ErrorSnapshot.of(error).text
    return f"{name}: {text}" if text.strip() else name
