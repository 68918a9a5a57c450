"""``PeriodicReader``: collects, exports, flushes and shuts down.

Its thread does the work, in ``_work`` and the methods after it; a caller hands it a job and waits. A failure is raised
to the caller, or reported if there is none; never both.
"""

from __future__ import annotations

import logging
import math
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics import MetricsTimeoutError

from exporter_core.clock import MONOTONIC, Clock
from exporter_core.context import Context
from exporter_core.errors import (
    ContextCancelledError,
    DeadlineExceededError,
    ExporterBusyError,
    ExporterCoreError,
    ExporterError,
    ExporterForkedError,
    ExporterReentrancyError,
    ExporterShutdownError,
)
from exporter_core.forking import renew_after_fork
from exporter_core.guard.stats import GuardState, count_points
from exporter_core.reader import forking
from exporter_core.reader.batches import batches_of
from exporter_core.reader.collection import CollectedWhileForkingError, Collection, StillCollectingError
from exporter_core.reader.failures import Failures
from exporter_core.reader.jobs import Job, Phase
from exporter_core.reader.schedule import Schedule
from exporter_core.reader.stats import ReaderStats
from exporter_core.reader.thread import ReaderThread
from exporter_core.sync import Once, Signal
from exporter_core.untrusted import name_of_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.resources import Resource

    from exporter_core.contract import InstrumentKind
    from exporter_core.guard import GuardedExporter
    from exporter_core.reader.shared import SharedCollection

_logger = logging.getLogger(__name__)

_SHORTEST_INTERVAL: Final = 0.001
_POLL: Final = 0.02  # seconds between two looks at a busy exporter, when a caller waits for it


def begin_flushes(readers: Sequence[PeriodicReader], context: Context) -> list[Job[PeriodicReader]]:
    """Have the readers' threads flush, and return at once; readers that share a collection make one for all."""
    jobs = [Job(reader, "force_flush", context) for reader in readers]
    for job in jobs:  # each is made before the first collection begins, which is therefore late enough for all
        job.reader.begin_job(job)
    return jobs


def finish(jobs: Sequence[Job[PeriodicReader]]) -> Sequence[Job[PeriodicReader]]:
    """Wait for jobs, side by side, each until its own deadline; return them. Exporters are always shut down."""
    try:
        for job in jobs:
            job.wait(job.delivery_context)
        late = [job for job in jobs if job.operation == "shutdown" and not job.over and job.release.take(job)]
        for number, job in enumerate(late):
            job.reader._release(job, share=len(late) - number)
        for job in jobs:
            job.wait(job.context)
            if not job.over:
                job.settle([job.reader._late(job)])
        for job in late:  # their threads go on, and find out what was not delivered
            job.context._clock.wait(job.counted, job.context.remaining())
    except BaseException:
        for job in jobs:
            job.reader._abandon(job)
        raise
    for job in jobs:
        job.reader._report(job, job.errors[1:])
    return jobs


class PeriodicReader(Collection):
    """Collects at start + n * interval and exports through a guard; give it to ``MeterProvider(metric_readers=[...])``.

    It collects on its own daemon thread only. A tick that takes longer than the interval misses the ticks that pass
    meanwhile. A tick does not collect while the exporter is busy, since collecting resets delta data.

    Args:
        exporter: the destination; the reader shuts it down with itself.
        interval: seconds between two exports; ``math.inf`` exports on flush and shutdown only.
        timeout: seconds that one scheduled collection, and one scheduled export, may take; None for no limit.
        name: the reader's name in messages; the exporter's name unless given.
        cardinality_limits: the most attribute sets of an instrument, by kind; the SDK's 2000 for kinds left out.
            OpenTelemetry SDKs before 1.45.2 have no limits.
        max_batch_size: the most data points of one export; what is collected is exported in parts. None for no limit.
        error_handler: called on the reader's thread with each failure that has no caller to be raised to; it should
            return quickly. By default each is one line of the log, and repeated ones are counted. The error's
            ``points_lost`` is the number of data points that are known to be lost, and that no earlier error had.
        select: returns the part of a batch that the exporter gets, None for nothing; everything unless given.
        resource: returns the resource of each batch; the provider's unless given.
        collection: the collection that it shares with other readers; it is given to the MeterProvider in place of them.
        clock: the clock of the schedule and the deadlines.

    Raises:
        TypeError: the exporter has no guard.
        ValueError: an argument is out of range, or limits are given that the SDK does not have.
    """

    def __init__(
        self,
        exporter: GuardedExporter,
        *,
        interval: float = 60.0,
        timeout: float | None = 30.0,
        name: str | None = None,
        cardinality_limits: Mapping[InstrumentKind, int] | None = None,
        max_batch_size: int | None = None,
        error_handler: Callable[[Exception], object] | None = None,
        select: Callable[[MetricsData], MetricsData | None] | None = None,
        resource: Callable[[], Resource] | None = None,
        collection: SharedCollection | None = None,
        clock: Clock = MONOTONIC,
    ) -> None:
        if not hasattr(exporter, "describe_error"):  # a guard has it, and what stands in for one
            raise TypeError(f"exporter: expected a GuardedExporter or load_exporter(...), not {name_of_type(exporter)}")
        if not interval >= _SHORTEST_INTERVAL:  # in this form it refuses NaN too
            raise ValueError(f"interval: expected at least {_SHORTEST_INTERVAL} seconds, not {interval!r}")
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout: expected more than 0 seconds, or None for no limit, not {timeout!r}")
        if max_batch_size is not None and not max_batch_size > 0:
            raise ValueError(f"max_batch_size: expected at least 1, or None for no limit, not {max_batch_size!r}")
        super().__init__(exporter, cardinality_limits, resource, clock)
        self._exporter = exporter
        self._interval = interval
        self._timeout = None if timeout is None or math.isinf(timeout) else timeout
        self._max_batch_size = max_batch_size
        self._name = exporter.name if name is None else name
        self._error_handler = error_handler
        self._select = select
        self._shared = collection
        self.keeps: object = None
        """Kept alive with the reader: the pipeline that it belongs to."""
        self._start(closed=False)
        renew_after_fork(self)
        if collection is not None:
            collection.add(self)

    def _start(self, *, closed: bool) -> None:
        """Begin, as a new reader or in a forked child."""
        self._closing = Once()  # taken by the first shutdown
        self._running_export: tuple[Context, Signal] | None = None  # with the signal of its end
        self._unprepared = False
        self._collections = 0
        self._skipped = 0
        self._failures = Failures(self._name, self._exporter, self._error_handler)
        self._schedule = Schedule(self.collection.started, self._interval)
        if closed:
            self._closing.take(self)
            return
        self._thread = ReaderThread(weakref.ref(self), self._name, self._clock)
        self._finalizer = weakref.finalize(self, self._thread.close)
        self._finalizer.atexit = False
        self._thread.start()

    # --- what the SDK calls --------------------------------------------------------------------------------------

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect, export, and flush the exporter; True when all of it is delivered.

        Waits while an earlier export is still running. The time-out is in milliseconds, as the SDK has it.

        Raises:
            DeadlineExceededError: the time was up first.
            ExporterShutdownError: the reader has been shut down.
            ExporterError: the exporter failed, or no MeterProvider has this reader.
        """
        (job,) = finish([self.begin_flush(self._context(timeout_millis / 1000))])
        if job.error is not None:
            raise job.error
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:  # noqa: ARG002 # Any: the SDK's signature
        """Collect and export once more, then shut the exporter down, whatever happens before.

        A quarter of the time, at most 5 seconds, is kept for the exporter's own shutdown. A second call logs a warning
        and returns. The time-out is in milliseconds, as the SDK has it.

        Raises:
            DeadlineExceededError: the time was up first.
            ExporterError: the last export, or the exporter's shutdown, failed.
        """
        if self._moving:
            return
        job = self.begin_shutdown(self._context(timeout_millis / 1000))
        if job is None:
            _logger.warning("reader %r has been shut down already", self._name)
            return
        finish([job])
        if job.error is not None:
            raise job.error

    # --- for collections -----------------------------------------------------------------------------------------

    @property
    def readers(self) -> Sequence[PeriodicReader]:
        """Itself: the reader that its own collection serves."""
        return (self,)

    def export_given(self, metrics: MetricsData, timeout: float) -> None:
        """Export a batch that the application has collected by itself."""
        selected = metrics if self._select is None else self._select(metrics)
        if selected is not None:
            self._exporter.export(self._context(timeout), selected)

    # --- for pipelines -------------------------------------------------------------------------------------------

    def begin_flush(self, context: Context) -> Job[PeriodicReader]:
        """Have the reader's thread flush, and return at once. :func:`finish` waits for it."""
        return begin_flushes([self], context)[0]

    def begin_job(self, flush: Job[PeriodicReader]) -> None:
        """Have the reader's thread do this flush; it fails at once where it cannot be begun."""
        try:
            self._admit_flush(flush.context)
        except (ExporterError, DeadlineExceededError) as refusal:
            flush.settle([refusal])
        else:
            self._thread.submit(flush)

    def begin_shutdown(self, context: Context) -> Job[PeriodicReader] | None:
        """Have the reader's thread shut down, and return at once; None unless it is the first call.

        Raises:
            ExporterReentrancyError: called from the reader's own thread, or from inside the exporter.
        """
        self._refuse_reentry("shutdown")
        job = Job(self, "shutdown", context)
        try:
            return job if self.begin(job) else None
        except BaseException:  # Ctrl-C
            self.give_up(job)
            raise

    def begin(self, shutdown: Job[PeriodicReader]) -> bool:
        """Have the reader's thread do this shutdown; return False unless it is the first."""
        first = self._closing.take(shutdown)
        if first:
            self._thread.submit(shutdown)
        return first

    def give_up(self, shutdown: Job[PeriodicReader]) -> None:
        """Shut the exporter down without waiting, if this shutdown is the first: its caller was interrupted."""
        if self._closing.take(shutdown):
            self._abandon(shutdown)

    def report(self, error: Exception) -> None:
        """Report a failure that has no caller to be raised to."""
        self._failures.report(error)

    def conclude(self, shutdown: Job[PeriodicReader], *, told: bool) -> None:
        """Report every point that is not delivered and that no report has named; nothing comes after this.

        Args:
            shutdown: the last job.
            told: True if its caller gets its result.
        """
        unsettled = self._exporter.stats().points_unsettled
        if told:
            of_job = shutdown.points_handed_over - shutdown.points_accepted - shutdown.points_lost
            self._failures.lose(max(0, unsettled - of_job))  # an export that nobody has given up yet is not unsettled
        elif shutdown.error is not None:
            self._failures.report(shutdown.error, shutdown.points_lost + unsettled)
        self._failures.report_suppressed()

    def prepare(self) -> None:
        """Have the reader's thread build the exporter, in a forked child that has not used it yet. Does not wait."""
        if self._exporter.state is GuardState.FORKED:
            self._unprepared = True
            self._thread.wake()

    # --- beside the contract -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The reader's name in messages."""
        return self._name

    @property
    def exporter(self) -> GuardedExporter:
        """The exporter that it exports to."""
        return self._exporter

    def stats(self) -> ReaderStats:
        """Return the counts so far."""
        return ReaderStats(
            name=self._name,
            collections=self._collections,
            ticks_skipped=self._skipped,
            ticks_missed=self._schedule.missed,
            errors_reported=self._failures.count,
            last_error=self._failures.last,
            exporter=self._exporter.stats(),
        )

    def __repr__(self) -> str:
        every = "on flush only" if math.isinf(self._interval) else f"every {self._interval:g} s"
        return f"<PeriodicReader {self._name!r}, {every}>"

    # --- the thread's work ---------------------------------------------------------------------------------------

    def _work(self) -> float:
        """Do the jobs, and the tick if it is due; return the time of the next one."""
        if self._unprepared:
            self._unprepared = False
            with suppress(ExporterCoreError):  # the export that needs the exporter reports it
                self._exporter.rebuild(self._context(self._timeout))
        while self._thread.jobs:
            self._perform(self._thread.jobs.popleft())
        if self._clock.monotonic() >= self._schedule.due and not self._closing.taken:
            try:
                self._tick()
            except BaseException as error:  # noqa: BLE001 - whatever is raised, by whomever, the schedule goes on
                self._failures.report(self._failures.named(error))
            self._schedule.advance(self._clock.monotonic())
        return self._schedule.due

    def _tick(self) -> None:
        if not self.collection.attached:
            return  # no provider has taken the reader yet
        if self._exporter.busy:
            self._skipped += 1
            raise self._failures.error(ExporterBusyError, "export", f" skipped: {Phase.BUSY}")
        metrics = self._collect_metrics(self._context(self._timeout), self._schedule.due)
        if metrics is not None:
            self._export(self._context(self._timeout), metrics)
            self._failures.success()

    def _perform(self, job: Job[PeriodicReader]) -> None:
        if job.over:
            self._count_uncollected(job)
            return  # nobody waits for it
        errors: list[Exception] = []
        try:
            self._deliver(job)
        except BaseException as error:  # noqa: BLE001 - it is the caller's to raise
            errors.append(self._failures.named(error))
        try:
            if job.operation == "force_flush" and not (errors and (job.context.done or self._closing.taken)):
                job.phase = Phase.FLUSHING
                self._exporter.force_flush(job.context)
            elif job.operation == "shutdown" and job.release.take(self._thread):
                job.phase = Phase.RELEASING
                self._exporter.shutdown(job.context)
        except BaseException as error:  # noqa: BLE001 - it is the caller's to raise
            errors.append(self._failures.named(error))
        if job.operation == "shutdown":
            self._thread.close()
        if not errors:
            self._failures.success()
        if not job.settle(errors):
            self._report(job, errors)  # the caller has left
        job.counted.set()

    def _refuse(self, job: Job[PeriodicReader]) -> None:
        """Fail a job that came too late for the thread, or count what is lost by one whose caller has left."""
        if job.over:
            self._count_uncollected(job)
        else:
            job.settle([self._failures.error(ExporterShutdownError, job.operation, ": it has been shut down")])

    def _deliver(self, job: Job[PeriodicReader]) -> None:
        """Collect and export for a job, once the exporter is free."""
        if not self.collection.attached:
            return  # a reader that no provider has (any more) shuts down all the same
        job.phase = Phase.BUSY
        while self._exporter.busy:
            if job.delivery_context.done:
                self._count_uncollected(job)
                raise self._late(job)
            self._clock.wait(Signal(), _POLL)
        job.phase = Phase.COLLECTING
        metrics = self._collect_metrics(job.delivery_context, job.began)
        if metrics is None:
            return
        job.points_handed_over = count_points(metrics)
        job.phase = Phase.EXPORTING
        # What is collected would be lost if it were not exported: rather too late for the caller than never.
        context = self._context(self._timeout) if job.delivery_context.done else job.delivery_context
        self._failures.lose()  # of earlier exports, which is not this job's to tell
        accepted = self._exporter.stats().points_accepted
        try:
            self._export(context, metrics)
        finally:
            job.points_accepted = self._exporter.stats().points_accepted - accepted
            job.points_lost = self._failures.newly_lost()

    def _count_uncollected(self, job: Job[PeriodicReader]) -> None:
        """Collect what a shutdown had no time to export, so that its error can say how much it is."""
        if job.operation == "shutdown":
            with suppress(Exception):  # the shutdown itself has failed, and says why
                metrics = self._collect_metrics(job.context, job.began)
                points = 0 if metrics is None else count_points(metrics)
                job.points_handed_over += points
                job.points_lost += points
        job.counted.set()

    def _collect_metrics(self, context: Context, since: float) -> MetricsData | None:
        """Return what was recorded, as collected at this time or later; None for nothing."""
        try:
            metrics = self.collection.take(self, context, since, self._select)
        except MetricsTimeoutError as error:
            text = " timed out: a callback of an observable instrument took too long, so nothing was collected"
            raise self._failures.error(DeadlineExceededError, "collect", text) from error
        except StillCollectingError:
            text = f" timed out: {Phase.COLLECTING}"
            raise self._failures.error(DeadlineExceededError, "collect", text) from None
        except CollectedWhileForkingError:
            text = ": the process forked while metrics were collected: the SDK cannot collect in this child"
            raise self._failures.error(ExporterForkedError, "collect", text) from None
        finally:
            self._collections += 1
        return metrics

    def _export(self, context: Context, metrics: MetricsData) -> None:
        """Export the metrics, in parts if they have too many points; raise the first error once all were tried."""
        child, ended = context.child(), Signal()
        self._running_export = child, ended
        failures: dict[str, Exception] = {}
        try:
            for batch in batches_of(metrics, self._max_batch_size):
                try:
                    self._exporter.export(child, batch)
                except Exception as error:  # noqa: BLE001 - raised or reported below
                    failures.setdefault(self._exporter.describe_error(error), error)
        finally:
            self._running_export = None
            ended.set()
        if failures:
            first, *others = failures.values()
            for other in others:
                self._failures.report(other)
            raise first

    # --- the callers' side of a job ------------------------------------------------------------------------------

    def _late(self, job: Job[PeriodicReader]) -> DeadlineExceededError:
        """Return the error of a job whose time is up."""
        failure = self._exporter.last_failed_attempt
        attempt = "" if failure is None else f"; the last attempt failed: {failure}"
        return self._failures.error(DeadlineExceededError, job.operation, f" timed out: {job.phase}{attempt}")

    def _release(self, job: Job[PeriodicReader], share: int) -> None:
        """Shut the exporter down in place of the thread, in one of ``share`` parts of the time left.

        A running export is cancelled: it has had its time, and the rest is for the exporter's shutdown.
        """
        job.settle([self._late(job)])
        remaining = job.context.remaining()
        context = job.context.child(timeout=None if remaining is None else remaining / share)
        if (running := self._running_export) is not None:
            export_context, ended = running
            export_context.cancel("the reader is being shut down")
            # With the inline runner nobody knows when it ends: half of the time is kept for the exporter's shutdown.
            remaining = context.remaining()
            self._clock.wait(ended, None if remaining is None else remaining / 2)
        self._shut_down_exporter(job, context)

    def _abandon(self, job: Job[PeriodicReader]) -> None:
        """Let an interrupted caller leave; the exporter is shut down, and nobody waits for it."""
        if job.settle([]) and job.operation == "shutdown":
            text = " was interrupted: what was not delivered by then may be lost"
            self._failures.report(self._failures.error(ExporterError, "shutdown", text))
        if job.operation == "shutdown" and job.release.take(job):
            self._shut_down_exporter(job, job.context.child(timeout=0))
        self._report(job, job.errors)
        job.errors.clear()  # it may be abandoned twice

    def _shut_down_exporter(self, job: Job[PeriodicReader], context: Context) -> None:
        try:
            self._exporter.shutdown(context)
        except Exception as error:  # noqa: BLE001 - it is part of the result; KeyboardInterrupt passes
            job.errors.append(error)
        finally:
            self._thread.close()

    def _report(self, job: Job[PeriodicReader], errors: Sequence[Exception]) -> None:
        """Report errors that have no caller, except those that only repeat that the time was up."""
        expected = job.delivery_context.done or job.release.owner is job
        for error in errors:
            over = isinstance(error, DeadlineExceededError | ContextCancelledError | ExporterShutdownError)
            if not (over and expected):
                self._failures.report(error)

    # --- inside --------------------------------------------------------------------------------------------------

    def _context(self, seconds: float | None) -> Context:
        """Return a context on the reader's clock."""
        deadline = None if seconds is None else self._clock.monotonic() + max(0.0, seconds)
        return Context(deadline=deadline, clock=self._clock)

    def _admit_flush(self, context: Context) -> None:
        """Raise where a flush cannot be begun."""
        self._refuse_reentry("force_flush")
        if self._closing.taken:
            raise self._failures.error(ExporterShutdownError, "force_flush", ": it has been shut down")
        if not self.collection.attached:
            text = ": no MeterProvider has this reader, so there is nothing to collect; pass it in metric_readers"
            raise self._failures.error(ExporterError, "force_flush", text)
        if context.done:
            raise self._failures.error(DeadlineExceededError, "force_flush", " timed out: no time was left to begin")

    def _refuse_reentry(self, operation: str) -> None:
        """Raise where the caller would wait for itself."""
        if self._thread.is_current:
            text = ": called from the reader's own thread, by an instrument's callback or the error handler"
            raise self._failures.error(ExporterReentrancyError, operation, text)
        if forking.collecting_here(
            self.collection.source
        ):  # the reader's thread would wait for the lock that this one holds
            text = ": called by an instrument's callback, which another reader of the same provider waits for"
            raise self._failures.error(ExporterReentrancyError, operation, text)
        self._exporter._refuse_reentry(operation)

    @property
    def collection(self) -> Collection:
        """The collection that serves it."""
        return self if self._shared is None else self._shared

    def _renew_after_fork(self) -> None:
        """Go on in a forked child, which does not have the parent's threads."""
        self._thread.closed = True  # should it be this very thread that forked, in a callback
        self._finalizer.detach()
        if self._shared is None:
            self._renew_collection()
        self._start(closed=self._closing.taken)
