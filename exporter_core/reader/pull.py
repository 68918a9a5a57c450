"""``PullReader``: collects when a pull exporter asks for the metrics, once for all who ask at the same time."""

from __future__ import annotations

import copy
import math
import weakref
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core.clock import MONOTONIC, Clock
from exporter_core.errors import (
    ExporterCoreError,
    ExporterError,
    ExporterForkedError,
    ExporterReentrancyError,
    ExporterShutdownError,
)
from exporter_core.reader.periodic import PeriodicReader
from exporter_core.sync import Latch, Lock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.resources import Resource

    from exporter_core.context import Context
    from exporter_core.contract import InstrumentKind
    from exporter_core.guard import GuardedExporter
    from exporter_core.reader.jobs import Job

_ATTEMPTS: Final = 5  # to serve in a forked child: a parent that is about to end still holds its address
_PAUSE: Final = 1.0  # seconds between two of them


class _Collection:
    """One collection, and all who wait for it."""

    def __init__(self) -> None:
        self.waiting = 0
        self.ended = Latch()
        self.metrics: MetricsData | None = None
        self.error: ExporterCoreError | None = None


class Scrapes:
    """Gives a pull exporter the metrics (:class:`exporter_core.Collect`), one collection at a time.

    It is made before the reader, which needs the exporter, which needs this.
    """

    def __init__(self) -> None:
        self._reader: weakref.ref[PullReader] | None = None
        self._closed = False
        self.renew()

    def renew(self) -> None:
        """Begin without a collection, as in a forked child."""
        self._mutex = Lock()
        self._current: _Collection | None = None

    def attach(self, reader: PullReader) -> None:
        """Collect through this reader from here on, which is not kept alive."""
        self._reader = weakref.ref(reader)

    def __call__(self, context: Context) -> MetricsData:
        """Return the metrics of this moment; see :class:`exporter_core.Collect`."""
        reader = self._reader() if self._reader is not None else None
        if reader is None:
            raise ExporterError("collect: the pipeline is being built, or is gone; try again")
        reader.refuse_itself()
        with self._mutex:
            if self._closed:
                raise reader.error(ExporterShutdownError, ": it has been shut down")
            collection = self._current
            first = collection is None
            if collection is None:
                collection = self._current = _Collection()
            collection.waiting += 1
        if first:
            reader.wake()
        del reader  # a scrape that waits does not keep the pipeline
        if not collection.ended.wait(context):
            with self._mutex:
                collection.waiting -= 1
            context.raise_if_done()
        if collection.error is not None:
            # An error of its own for each: raising one adds to its traceback.
            raise copy.copy(collection.error) from collection.error.__cause__
        return collection.metrics if collection.metrics is not None else MetricsData([])

    def report(self, error: Exception) -> None:
        """Report a failure that has no caller to be raised to."""
        reader = self._reader() if self._reader is not None else None
        if reader is not None:
            reader.report(error)

    # --- on the reader's thread ----------------------------------------------------------------------------------

    def serve(self, collect: Callable[[], MetricsData | None]) -> ExporterCoreError | None:
        """Do the collection that is asked for, if any; return its error if nobody waits for it any more."""
        collection = self._current
        if collection is None:
            return None
        try:
            collection.metrics = collect()
        except ExporterCoreError as error:
            collection.error = error
        return self._end(collection)

    def close(self, error: ExporterShutdownError) -> None:
        """Refuse what comes, and the collection that has not begun."""
        with self._mutex:
            self._closed = True
            collection = self._current
        if collection is not None:
            collection.error = error
            self._end(collection)

    def _end(self, collection: _Collection) -> ExporterCoreError | None:
        with self._mutex:
            self._current = None
            waited_for = collection.waiting > 0
        collection.ended.open()
        return None if waited_for else collection.error


class PullReader(PeriodicReader):
    """Collects when its exporter asks, on its own thread; give it to ``MeterProvider(metric_readers=[...])``.

    A flush has nothing to deliver. In a forked child the exporter begins to serve at the first measurement; where the
    parent has the address that it is to serve on, that is a failure, reported once.

    Args:
        exporter: the pull exporter, which was given ``scrapes``; the reader shuts it down with itself.
        scrapes: passes its requests on.
        name: the reader's name in messages; the exporter's name unless given.
        cardinality_limits: as for :class:`PeriodicReader`.
        error_handler: as for :class:`PeriodicReader`.
        select: as for :class:`PeriodicReader`.
        resource: as for :class:`PeriodicReader`.
        clock: the clock of the deadlines.

    Raises:
        ValueError: limits are given that the SDK does not have.
    """

    def __init__(
        self,
        exporter: GuardedExporter,
        scrapes: Scrapes,
        *,
        name: str | None = None,
        cardinality_limits: Mapping[InstrumentKind, int] | None = None,
        error_handler: Callable[[Exception], object] | None = None,
        select: Callable[[MetricsData], MetricsData | None] | None = None,
        resource: Callable[[], Resource] | None = None,
        clock: Clock = MONOTONIC,
    ) -> None:
        self._scrapes = scrapes
        super().__init__(
            exporter,
            interval=math.inf,
            timeout=None,
            name=name,
            cardinality_limits=cardinality_limits,
            error_handler=error_handler,
            select=select,
            resource=resource,
            clock=clock,
        )
        scrapes.attach(self)

    def wake(self) -> None:
        """Have the reader's thread look for a collection to do."""
        self._thread.wake()

    def refuse_itself(self) -> None:
        """Raise where a scrape would wait for itself."""
        if self._thread.is_current:
            raise self.error(
                ExporterReentrancyError, ": called by an instrument's callback, on the reader's own thread"
            )

    def error(self, kind: type[Any], text: str) -> Any:  # Any: an error of the kind
        """Return an error of a collection that names the reader."""
        return self._failures.error(kind, "collect", text)

    def __repr__(self) -> str:
        return f"<PullReader {self._name!r}>"

    # --- the thread's work ---------------------------------------------------------------------------------------

    def _start(self, *, closed: bool) -> None:
        self._attempts_left = 0
        self._next_attempt = math.inf
        super()._start(closed=closed)

    def _work(self) -> float:
        if self._unprepared:
            self._unprepared, self._attempts_left, self._next_attempt = False, _ATTEMPTS, self._clock.monotonic()
        if self._clock.monotonic() >= self._next_attempt:
            self._serve_in_child()
        if not self._closing.taken:
            error = self._scrapes.serve(self._collect_for_scrapes)
            if error is not None:
                self._failures.report(error)
        return min(super()._work(), self._next_attempt)

    def _serve_in_child(self) -> None:
        """Have the exporter serve in a forked child; try again later, or report the failure of the last attempt."""
        self._attempts_left -= 1
        self._next_attempt = self._clock.monotonic() + _PAUSE if self._attempts_left else math.inf
        try:
            self._exporter.rebuild(self._context(None))
        except ExporterCoreError as error:
            if self._attempts_left == 0 and not self._closing.taken:
                text = f": this forked process serves nothing: {self._exporter.describe_error(error)}"
                self._failures.report(self._failures.error(ExporterForkedError, "start", text))
        else:
            self._attempts_left, self._next_attempt = 0, math.inf

    def _collect_for_scrapes(self) -> MetricsData | None:
        if not self.attached:
            raise self.error(ExporterError, ": no MeterProvider has this reader; pass it in metric_readers")
        try:
            # Without an end: those who wait have deadlines of their own.
            return self._collect_metrics(self._context(None), self._clock.monotonic())
        except BaseException as error:  # noqa: BLE001 - of a callback; raised to those who wait
            named = self._failures.named(error)
            raise named from named.__cause__

    def _perform(self, job: Job[PeriodicReader]) -> None:
        if job.operation == "shutdown":  # no scrape that the exporter is to answer first waits for this thread
            self._scrapes.close(self.error(ExporterShutdownError, ": it has been shut down"))
        super()._perform(job)

    def _deliver(self, job: Job[PeriodicReader]) -> None:
        """Do nothing: metrics are delivered when they are asked for."""

    def _count_uncollected(self, job: Job[PeriodicReader]) -> None:
        """Count nothing: what nobody has asked for is not lost."""
        job.counted.set()

    def _renew_after_fork(self) -> None:
        self._scrapes.renew()
        super()._renew_after_fork()
