"""A flush or a shutdown: the reader's thread does it, and a caller waits for it, no longer than its deadline.

The whole of it is the thread's, the exporter's own ``force_flush`` or ``shutdown`` included, so that several readers
work side by side for one caller, also at interpreter exit, where no thread can be started. What the thread does not get
to in time the caller makes up for: an exporter is always shut down.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from exporter_core.errors import ContextCancelledError, DeadlineExceededError, ExporterShutdownError
from exporter_core.sync import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter_core.context import Context
    from exporter_core.reader.periodic import PeriodicReader

_RELEASE_PART = 0.25  # of a shutdown's time is kept for the exporter's own shutdown,
_RELEASE_MOST = 5.0  # and at most so many seconds


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one flush or shutdown of a reader."""

    points_handed_over: int
    """Data points that were collected and handed to the exporter."""
    points_accepted: int
    """Those of them that it accepted in time."""
    seconds: float
    """How long it took."""
    error: Exception | None
    """What failed, for the caller to raise or to report; None if all went well."""


class Phase(StrEnum):
    """How far a job has come, as its error says it when the time is up."""

    WAITING = "an earlier collection or export of this reader has not ended"
    BUSY = "the exporter is still busy with an earlier batch, so nothing was collected"
    COLLECTING = "collecting has not ended; it waits for a callback of an observable instrument"
    EXPORTING = "the export has not ended"
    FLUSHING = "the exporter's force_flush has not ended"
    RELEASING = "the exporter's shutdown has not ended"


class Job:
    """One flush or shutdown, to be done or over.

    Args:
        reader: whose it is.
        operation: which of the two.
        context: the caller's: the job fails when it is done.
    """

    def __init__(self, reader: PeriodicReader, operation: Literal["force_flush", "shutdown"], context: Context) -> None:
        self.reader = reader
        self.operation = operation
        self.until = context
        """Bounds the whole."""
        self.context: Context = context.child(timeout=_until_release(context)) if operation == "shutdown" else context
        """Bounds collecting and exporting."""
        self.phase = Phase.WAITING
        self.points_handed_over = 0
        self.points_accepted = 0
        self.over: bool = False
        self.released: bool = False
        """Whether the caller, in the place of the thread, has the exporter shut down."""
        self._clock = context._clock
        self._started = self._ended = self._clock.monotonic()
        self._errors: list[Exception] = []
        self._release_errors: list[Exception] = []
        self._done = Signal()
        self._ending = threading.Lock()  # taken once, by the thread that ends the job or the caller who gives it up
        self._releasing = threading.Lock()  # taken once, by whoever shuts the exporter down

    # --- the thread's side ---------------------------------------------------------------------------------------

    def take_release(self) -> bool:
        """Whether the exporter's shutdown falls to the one who asks."""
        return self._releasing.acquire(blocking=False)

    def late(self) -> DeadlineExceededError:
        """The error of a job whose time is up."""
        return self.reader._error(DeadlineExceededError, self.operation, f"not done in time: {self.phase}")

    def end(self, errors: list[Exception]) -> None:
        """The job is done, or has failed; what a caller who has left cannot raise is reported."""
        if self._ending.acquire(blocking=False):
            self._errors = errors
            self._ended = self._clock.monotonic()
            self.over = True
            self._done.set()
        else:
            self._report(errors)

    # --- the caller's side ---------------------------------------------------------------------------------------

    def wait(self, context: Context) -> None:
        """Wait for the end while the context lasts."""
        while not self.over and not context.done:
            self._clock.wait(self._done, context.remaining())

    def give_up(self) -> None:
        """The time is up: the job counts as failed, whatever its thread still does."""
        if self._ending.acquire(blocking=False):
            self._errors = [self.late()]
            self._ended = self._clock.monotonic()
            self.over = True

    def release(self, share: int) -> None:
        """Shut the exporter down in the place of the thread, in one of ``share`` parts of the time left.

        An export that runs is cancelled: it has had its time, what is left is for the exporter's shutdown.
        """
        self.give_up()
        self.released = True
        remaining = self.until.remaining()
        context = self.until.child(timeout=None if remaining is None else remaining / share)
        self.reader._cancel_export("the reader is being shut down", context)
        try:
            self.reader.exporter.shutdown(context)
        except Exception as error:  # noqa: BLE001 - it is part of the outcome; KeyboardInterrupt passes
            self._release_errors.append(error)
        finally:
            self.reader._worker.close()

    def abandon(self) -> None:
        """The caller was interrupted and leaves; the exporter is told to release, and nobody waits for it."""
        if not self._ending.acquire(blocking=False):
            errors, self._errors = self._errors, []  # it may be abandoned twice
            self._report(errors)
        self.over = True
        if self.operation == "shutdown" and self.take_release():
            self.released = True
            try:
                self.reader.exporter.shutdown(self.until.child(timeout=0))
            except Exception as error:  # noqa: BLE001 - there is no caller left to raise it to
                self._report([error])
            finally:
                self.reader._worker.close()

    def delivery(self) -> Delivery:
        """What came of it; of several failures the first, the others are reported."""
        errors = [*self._errors, *self._release_errors]
        self._report(errors[1:])
        return Delivery(
            points_handed_over=self.points_handed_over,
            points_accepted=self.points_accepted,
            seconds=self._ended - self._started,
            error=errors[0] if errors else None,
        )

    def _report(self, errors: Sequence[Exception]) -> None:
        """Report what has no caller, but for what only repeats that the time was up."""
        for error in errors:
            over = isinstance(error, DeadlineExceededError | ContextCancelledError | ExporterShutdownError)
            if not (over and (self.context.done or self.released)):
                self.reader._failures.report(error)


def finish(jobs: Sequence[Job]) -> list[Delivery]:
    """Wait for jobs that were begun, all at once, each until its own deadline; an exporter is always shut down."""
    try:
        for job in jobs:
            job.wait(job.context)
        late = [job for job in jobs if job.operation == "shutdown" and not job.over and job.take_release()]
        for number, job in enumerate(late):
            job.release(share=len(late) - number)
        for job in jobs:
            job.wait(job.until)
            job.give_up()
    except BaseException:
        for job in jobs:
            job.abandon()
        raise
    return [job.delivery() for job in jobs]


def _until_release(context: Context) -> float | None:
    """Seconds after which the exporter's own shutdown has to begin."""
    remaining = context.remaining()
    return None if remaining is None else remaining - min(_RELEASE_MOST, remaining * _RELEASE_PART)
