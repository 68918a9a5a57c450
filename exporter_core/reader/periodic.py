"""The reader: when and how it collects, exports, flushes and shuts down.

What its thread does stands in ``_work`` and below; what callers do is to hand it a job and to wait. A failure is
raised to the caller there is, else reported; never both.
"""

from __future__ import annotations

import logging
import math
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry.sdk.metrics import MetricsTimeoutError
from opentelemetry.sdk.metrics.export import MetricReader

from exporter_core.clock import MONOTONIC, Clock
from exporter_core.context import Context
from exporter_core.errors import (
    DeadlineExceededError,
    ExporterBusyError,
    ExporterCoreError,
    ExporterError,
    ExporterForkedError,
    ExporterReentrancyError,
    ExporterShutdownError,
    PartialSuccessError,
)
from exporter_core.guard.stats import count_points
from exporter_core.masking import Masker, cause_of
from exporter_core.reader import forking
from exporter_core.reader.failures import Failures
from exporter_core.reader.instruments import aggregations, cardinality_limits as sdk_cardinality_limits, temporalities
from exporter_core.reader.jobs import Job, Phase, finish
from exporter_core.reader.schedule import Schedule
from exporter_core.reader.stats import ReaderStats
from exporter_core.reader.worker import Worker
from exporter_core.sync import Once, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.contract import InstrumentKind
    from exporter_core.guard import GuardedExporter

_logger = logging.getLogger(__name__)

_ErrorT = TypeVar("_ErrorT", bound=ExporterCoreError)

_SHORTEST_INTERVAL: Final = 0.001
_COLLECT_WITHOUT_LIMIT: Final = 86_400.0  # seconds; the SDK adds it to the wall clock
_POLL: Final = 0.02  # seconds between two looks at a busy exporter, when a caller waits for it


class _Collecting(threading.local):
    """What the calling thread collects from just now, for whichever reader: it holds the SDK's lock of it."""

    source: object = None


_collecting = _Collecting()


class PeriodicReader(MetricReader):
    """Collects at start + n * interval and exports through a guard; give it to ``MeterProvider(metric_readers=[...])``.

    It collects on a daemon thread of its own alone. A tick that outlasts the interval misses those that pass meanwhile;
    one whose exporter is still busy does not collect, since collecting resets delta data.

    Args:
        exporter: where to; the reader shuts it down with itself.
        interval: seconds between two exports; ``math.inf`` exports on flush and shutdown only.
        timeout: seconds that one scheduled collection, and one scheduled export, may take; None for no limit.
        name: what messages call the reader; the exporter's name unless given.
        cardinality_limits: attribute sets that an instrument of a kind may have; the SDK's 2000 for kinds left out.
        error_handler: called with each failure that has no caller to be raised to, on the reader's thread, and should
            return quickly; by default each is one line of the log, repeated ones are counted.
        clock: what the schedule and the deadlines count in.

    Raises:
        ValueError: an argument is out of range.
    """

    _closing: Once  # taken by the first shutdown
    _batch: MetricsData | None
    _exporting: Context | None
    _export_ended: Signal  # of the export that runs, or ran last
    _worker: Worker

    def __init__(
        self,
        exporter: GuardedExporter,
        *,
        interval: float = 60.0,
        timeout: float | None = 30.0,
        name: str | None = None,
        cardinality_limits: Mapping[InstrumentKind, int] | None = None,
        error_handler: Callable[[Exception], object] | None = None,
        clock: Clock = MONOTONIC,
    ) -> None:
        if not interval >= _SHORTEST_INTERVAL:  # in this form it refuses NaN too
            raise ValueError(f"interval: expected at least {_SHORTEST_INTERVAL} seconds, not {interval!r}")
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout: expected more than 0 seconds, or None for no limit, not {timeout!r}")
        super().__init__(
            preferred_temporality=temporalities(exporter),
            preferred_aggregation=aggregations(exporter),
            cardinality_limits=sdk_cardinality_limits(cardinality_limits or {}),
        )
        self._exporter = exporter
        self._interval = interval
        self._timeout = None if timeout is None or math.isinf(timeout) else timeout
        self._name = exporter.name if name is None else name
        self._error_handler = error_handler
        self._clock = clock
        self.keeps: object = None
        """What is not to be collected before the reader is, such as the pipeline that it belongs to."""
        self._start(closed=False, stuck=False)
        forking.register(self)

    # --- what the SDK calls --------------------------------------------------------------------------------------

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect, export, and flush the exporter; True when all of it is delivered.

        Waits for an exporter that is busy with an earlier batch. The time-out is in milliseconds, as the SDK has it.

        Raises:
            DeadlineExceededError: the time was up first.
            ExporterShutdownError: the reader has been shut down.
            ExporterError: the exporter failed, or no MeterProvider has this reader.
        """
        (delivery,) = finish([self.begin_flush(self._context(timeout_millis / 1000))])
        if delivery.error is not None:
            raise delivery.error
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:  # noqa: ARG002 # Any: the SDK's signature
        """Collect and export once more, then shut the exporter down, which is done whatever happens before.

        At most 5 seconds, and a quarter of the time, are kept for the exporter's own shutdown. A second call logs a
        warning and returns. The time-out is in milliseconds, as the SDK has it.

        Raises:
            DeadlineExceededError: the time was up first.
            ExporterError: the last export, or the exporter's shutdown, failed.
        """
        job = self.begin_shutdown(self._context(timeout_millis / 1000))
        if job is None:
            _logger.warning("reader %r has been shut down already", self._name)
            return
        (delivery,) = finish([job])
        if delivery.error is not None:
            raise delivery.error

    def _receive_metrics(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,
        **kwargs: Any,  # noqa: ARG002 # Any: the SDK's signature
    ) -> None:
        if self._worker.is_current:
            self._batch = metrics_data
        else:  # the application calls collect() itself
            self._exporter.export(self._context(timeout_millis / 1000), metrics_data)

    # --- for pipelines -------------------------------------------------------------------------------------------

    def begin_flush(self, context: Context) -> Job:
        """Have the reader's thread flush; returns at once. :func:`finish` waits for it."""
        job = Job(self, "force_flush", context)
        refusal = self._refusal(context)
        if refusal is None:
            self._worker.submit(job)
        else:
            job.end([refusal])
        return job

    def begin_shutdown(self, context: Context) -> Job | None:
        """Have the reader's thread shut down; returns at once, None unless it is the first call.

        Raises:
            ExporterReentrancyError: called from the reader's own thread, or from inside the exporter.
        """
        self._refuse_reentry("shutdown")
        job = self.shutdown_job(context)
        try:
            return job if self.begin(job) else None
        except BaseException:  # Ctrl-C
            self.give_up(job)
            raise

    def shutdown_job(self, context: Context) -> Job:
        """A shutdown, for :meth:`begin`."""
        return Job(self, "shutdown", context)

    def begin(self, job: Job) -> bool:
        """Have the reader's thread do this shutdown, if it is the first."""
        first = self._closing.take(job)
        if first:
            self._worker.submit(job)
        return first

    def give_up(self, job: Job) -> None:
        """Have the exporter released at once, if this shutdown is the first: its caller was interrupted, and leaves."""
        if self._closing.take(job):
            job.abandon()

    def report(self, error: Exception) -> None:
        """Report a failure that there is no caller to raise to."""
        self._failures.report(error)

    # --- beside the contract -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What messages call the reader."""
        return self._name

    @property
    def exporter(self) -> GuardedExporter:
        """Where it exports to."""
        return self._exporter

    def stats(self) -> ReaderStats:
        """What has been counted so far."""
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
        """Do the jobs, and the tick if it is due; returns when the next one is."""
        while self._worker.jobs:
            self._perform(self._worker.jobs.popleft())
        if self._clock.monotonic() >= self._schedule.due and not self._closing.taken:
            try:
                self._tick()
            except BaseException as error:  # noqa: BLE001 - whatever is raised, by whomever, the schedule goes on
                self._failures.report(self._reported(error))
            self._schedule.advance(self._clock.monotonic())
        return self._schedule.due

    def _tick(self) -> None:
        if self._collect is None:
            return  # no provider has taken the reader yet
        if self._exporter.busy:
            self._skipped += 1
            raise self._error(ExporterBusyError, "export", str(Phase.BUSY))
        batch = self._collected(self._context(self._timeout))
        if batch is not None:
            self._export(self._context(self._timeout), batch)
            self._failures.success()

    def _perform(self, job: Job) -> None:
        if job.over:
            return  # nobody waits for it
        errors: list[Exception] = []
        try:
            self._deliver(job)
        except BaseException as error:  # noqa: BLE001 - it is the caller's to raise
            errors.append(self._reported(error))
        try:
            if job.operation == "force_flush" and not (errors and (job.context.done or self._closing.taken)):
                job.phase = Phase.FLUSHING
                self._exporter.force_flush(job.until)
            elif job.operation == "shutdown" and job.take_release():
                job.phase = Phase.RELEASING
                self._exporter.shutdown(job.until)
        except BaseException as error:  # noqa: BLE001 - it is the caller's to raise
            errors.append(self._reported(error))
        if job.operation == "shutdown":
            self._worker.close()
        if not errors:
            self._failures.success()
        job.end(errors)

    def _deliver(self, job: Job) -> None:
        """Collect and export for a job, once the exporter is free."""
        if self._collect is None:
            return  # a reader that no provider has (any more) shuts down all the same
        job.phase = Phase.BUSY
        while self._exporter.busy:
            if job.context.done:
                raise job.late()
            self._clock.wait(Signal(), _POLL)
        job.phase = Phase.COLLECTING
        batch = self._collected(job.context)
        if batch is None:
            return
        job.points_handed_over = count_points(batch)
        job.phase = Phase.EXPORTING
        # What is collected would be lost if it were not exported: rather too late for the caller than never.
        context = self._context(self._timeout) if job.context.done else job.context
        try:
            self._export(context, batch)
        except PartialSuccessError as error:
            job.points_accepted = max(0, job.points_handed_over - error.rejected_points)
            raise
        job.points_accepted = job.points_handed_over

    def _collected(self, context: Context) -> MetricsData | None:
        """What the SDK has, None for nothing.

        The SDK measures its time-out by the wall clock, after each callback; one that does not return, it waits for.
        """
        remaining = context.remaining()
        self._batch = None
        try:
            with self._gate:
                if self._stuck:
                    text = "the process forked while metrics were collected: the SDK cannot collect in this child"
                    raise self._error(ExporterForkedError, "collect", text)
                self._collections += 1
                _collecting.source = self._source()
                try:
                    self.collect(timeout_millis=1000 * (_COLLECT_WITHOUT_LIMIT if remaining is None else remaining))
                finally:
                    _collecting.source = None
        except MetricsTimeoutError as error:
            text = "a callback of an observable instrument took too long, so nothing was collected"
            raise self._error(DeadlineExceededError, "collect", text) from error
        batch, self._batch = self._batch, None
        return batch

    def _export(self, context: Context, batch: MetricsData) -> None:
        self._export_ended = Signal()
        self._exporting = child = context.child()
        try:
            self._exporter.export(child, batch)
        finally:
            self._exporting = None
            self._export_ended.set()

    # --- inside --------------------------------------------------------------------------------------------------

    def _context(self, seconds: float | None) -> Context:
        """A context on the reader's clock."""
        deadline = None if seconds is None else self._clock.monotonic() + max(0.0, seconds)
        return Context(deadline=deadline, clock=self._clock)

    def _error(self, kind: type[_ErrorT], operation: str, text: str, *, verb: str = "") -> _ErrorT:
        """An error that names the reader and the operation."""
        message = f"reader {self._name!r}: {operation}{verb}: {text}"
        if issubclass(kind, ExporterError):
            return kind(message, exporter=self._exporter.name, operation=operation)
        return kind(message)

    def _reported(self, error: BaseException) -> Exception:
        """The error as it is raised or reported: one of ours, which names the reader or the exporter."""
        if isinstance(error, ExporterCoreError):
            return error
        ours = self._error(ExporterError, "collect", self._exporter.describe_error(error), verb=" failed")
        ours.__cause__ = cause_of(error, Masker())
        return ours

    def _cancel_export(self, cause: str, context: Context) -> None:
        """End the export that the reader's thread waits for, if there is one; waits until the guard has let it go.

        With the inline runner nobody knows when that will be: half of the time is the exporter's shutdown's.
        """
        exporting, ended = self._exporting, self._export_ended
        if exporting is not None:
            exporting.cancel(cause)
            remaining = context.remaining()
            self._clock.wait(ended, None if remaining is None else remaining / 2)

    def _refusal(self, context: Context) -> Exception | None:
        """Why a flush cannot be begun."""
        try:
            self._refuse_reentry("force_flush")
        except ExporterReentrancyError as error:
            return error
        if self._closing.taken:
            return self._error(ExporterShutdownError, "force_flush", "it has been shut down")
        if self._collect is None:
            text = "no MeterProvider has this reader, so there is nothing to collect; pass it in metric_readers"
            return self._error(ExporterError, "force_flush", text)
        if context.done:
            return self._error(DeadlineExceededError, "force_flush", "there was no time left to begin")
        return None

    def _refuse_reentry(self, operation: str) -> None:
        """Raise where the caller would wait for itself."""
        if self._worker.is_current:
            text = "called from the reader's own thread, by an instrument's callback or the error handler"
            raise self._error(ExporterReentrancyError, operation, text)
        if _collecting.source is self._source():  # the reader's thread would wait for the lock that this one holds
            text = "called by an instrument's callback, which another reader of the same provider waits for"
            raise self._error(ExporterReentrancyError, operation, text)
        self._exporter._refuse_reentry(operation)

    def _start(self, *, closed: bool, stuck: bool) -> None:
        """Begin, as a new reader or anew in a forked child."""
        self._closing = Once()
        self._gate = threading.RLock()  # reentrant, since a callback may fork
        self._stuck = stuck
        self._batch = None
        self._exporting = None
        self._export_ended = Signal()
        self._collections = 0
        self._skipped = 0
        self._failures = Failures(self._name, self._exporter.describe_error, self._error_handler)
        self._schedule = Schedule(self._clock.monotonic(), self._interval)
        if closed:
            self._closing.take(self)
            return
        self._worker = Worker(weakref.ref(self), self._name, self._clock)
        self._finalizer = weakref.finalize(self, self._worker.close)
        self._finalizer.atexit = False
        self._worker.start()

    def _source(self) -> object:
        """What it collects from, and shares the SDK's lock of with the other readers of its provider."""
        return getattr(self._collect, "__self__", self)

    def _renew_after_fork(self) -> None:
        """Go on in a forked child, where the parent's threads are not."""
        self._worker.closed = True  # should it be this very thread that forked, in a callback
        self._finalizer.detach()
        self._start(closed=self._closing.taken, stuck=forking.collecting_at_fork(self._source()))
