"""The record of one flush or shutdown. It does nothing itself: the reader's thread does the job, a caller waits.

The reader's thread does all of it, the exporter's own ``force_flush`` or ``shutdown`` included, so that several readers
work side by side for one caller, also at interpreter exit, where no thread can be started.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, Literal, NamedTuple, TypeVar

from exporter_core.sync import Once, Signal

if TYPE_CHECKING:
    from exporter_core.context import Context

_RELEASE_PART: Final = 0.25  # of a shutdown's time is kept for the exporter's own shutdown,
_RELEASE_MOST: Final = 5.0  # and at most so many seconds

_ReaderT = TypeVar("_ReaderT")


class Phase(StrEnum):
    """A job's progress, in the words of its error when the time is up."""

    WAITING = "an earlier collection or export is still running"
    BUSY = "an earlier export is still running, so nothing was collected"
    COLLECTING = "the collection is still running; it waits for a callback of an observable instrument"
    EXPORTING = "the export is still running"
    FLUSHING = "the exporter's force_flush is still running"
    RELEASING = "the exporter's shutdown is still running"


class _End(NamedTuple):
    errors: list[Exception]
    seconds: float


@dataclass(eq=False)
class Job(Generic[_ReaderT]):
    """One flush or shutdown of one reader, and its result."""

    reader: _ReaderT
    operation: Literal["force_flush", "shutdown"]
    context: Context
    """The caller's: bounds the whole."""
    delivery_context: Context = field(init=False)
    """Bounds collecting and exporting: a shutdown keeps some time for the exporter's own."""
    phase: Phase = Phase.WAITING
    points_handed_over: int = 0
    """Data points that were collected for the exporter."""
    points_accepted: int = 0
    """Those of them that the exporter accepted in time."""
    points_lost: int = 0
    """Those of them that are known not to be delivered; an export that still runs may succeed."""
    release: Once = field(default_factory=Once)
    """Taken by the one that shuts the exporter down: the reader's thread, or the job's caller in its place."""
    counted: Signal = field(default_factory=Signal)
    """Set when the thread is done with it: the points above are final."""
    _end: Once = field(default_factory=Once)  # taken with an _End
    _wake: Signal = field(default_factory=Signal)

    def __post_init__(self) -> None:
        self.began = self.context._clock.monotonic()
        """The time at which it was asked for, in seconds on the context's clock."""
        self.delivery_context = self.context
        if self.operation == "shutdown" and (remaining := self.context.remaining()) is not None:
            kept = min(_RELEASE_MOST, remaining * _RELEASE_PART)
            self.delivery_context = self.context.child(timeout=remaining - kept)

    @property
    def over(self) -> bool:
        """True once it is done, has failed, or its time was up."""
        return self._end.taken

    @property
    def errors(self) -> list[Exception]:
        """The errors that it was settled with."""
        return end.errors if isinstance(end := self._end.owner, _End) else []

    @property
    def error(self) -> Exception | None:
        """The failure for the caller to raise or to report; None if all went well."""
        return next(iter(self.errors), None)

    @property
    def seconds(self) -> float:
        """The time that it took; 0 unless it was begun and is over."""
        return end.seconds if isinstance(end := self._end.owner, _End) else 0.0

    def settle(self, errors: list[Exception]) -> bool:
        """Record the end and wake the caller; return False if that was done before."""
        first = self._end.take(_End(errors, self.context._clock.monotonic() - self.began))
        self._wake.set()
        return first

    def wait(self, context: Context) -> None:
        """Wait for the end while the context lasts."""
        while not self.over and not context.done:
            context._clock.wait(self._wake, context.remaining())
