"""Further wrong exporters: locks and caches, preferences, input, and the beginnings and ends of an exporter's life."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.metrics.view import Aggregation, ExplicitBucketHistogramAggregation

from exporter_core import (
    Context,
    ContextCancelledError,
    DeadlineExceededError,
    ExporterShutdownError,
    InstrumentKind,
)
from third_party.right import LockedFileExporter, LoopExporter, PlainExporter, PooledExporter
from third_party.transport import encode

if TYPE_CHECKING:
    from third_party.transport import HttpConfig


# --- locks and caches -------------------------------------------------------------------------------------------------

_one_at_a_time = threading.Lock()


class OneLockForAll(PlainExporter):
    """A lock of the module is held while an export runs, by whichever exporter, and forked children inherit it."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        while not _one_at_a_time.acquire(timeout=0.01):
            context.raise_if_done()
        try:
            super().deliver(context, metrics)
        finally:
            _one_at_a_time.release()


class LosesSlots(PlainExporter):
    """Four requests may be on their way at once, and one that fails never gives its slot back."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.slots = threading.Semaphore(4)

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        while not self.slots.acquire(timeout=0.01):
            context.raise_if_done()
        super().deliver(context, metrics)
        self.slots.release()


class CachesMethod(PooledExporter):
    """A cache over a method keeps each exporter for ever, with its connections where nobody shuts it down."""

    def take(self, context: Context) -> Any:
        self.endpoint()
        return super().take(context)

    @functools.lru_cache(maxsize=None)  # noqa: B019, UP033 - the fault
    def endpoint(self) -> str:
        """Return the endpoint without a slash at its end."""
        return self.config.endpoint.rstrip("/")


class LoopOfTheParent(LoopExporter):
    """The event loop is used in a forked child too, where the thread that ran it does not exist."""

    def __init__(self, config: HttpConfig) -> None:
        self.is_new = True
        super().__init__(config)

    def begin_anew(self) -> None:
        if self.is_new:
            super().begin_anew()
        self.is_new = False


class LoopHoldsTheExit(LoopExporter):
    """The event loop's thread is no daemon: an interpreter without a shutdown of the exporter never exits."""

    def start(self) -> asyncio.AbstractEventLoop:
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            self.thread = threading.Thread(target=self.run, args=[self.loop])
            self.thread.start()
        return self.loop

    def release(self, context: Context) -> None:
        if self.loop is not None and self.thread is not None:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop = self.thread = None


# --- the interface and preferences ------------------------------------------------------------------------------------


class OtherArgumentNames(PlainExporter):
    """The arguments of export have other names than the contract's."""

    def export(self, ctx: Context, data: MetricsData) -> None:  # type: ignore[override]
        super().export(ctx, data)


class KnowsSynchronousKinds(PlainExporter):
    """The table of temporalities has no observable instruments: for these it raises KeyError."""

    table = {  # noqa: RUF012 - never changed
        InstrumentKind.COUNTER: AggregationTemporality.DELTA,
        InstrumentKind.UP_DOWN_COUNTER: AggregationTemporality.CUMULATIVE,
        InstrumentKind.HISTOGRAM: AggregationTemporality.DELTA,
        InstrumentKind.GAUGE: AggregationTemporality.CUMULATIVE,
    }

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        return self.table[instrument_kind]


class BuildsItsTableLazily(LockedFileExporter):
    """The table of temporalities is filled by the first caller: another one at the same time finds it half full."""

    table: dict[InstrumentKind, AggregationTemporality] | None = None

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        if self.table is None:
            self.table = {}
            for kind in InstrumentKind:
                self.table[kind] = super().temporality(kind)
        return self.table.get(instrument_kind, AggregationTemporality.CUMULATIVE)


class AggregationIsAClass(PlainExporter):
    """The aggregation of histograms is the class instead of an instance."""

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        if instrument_kind is InstrumentKind.HISTOGRAM:
            return ExplicitBucketHistogramAggregation  # type: ignore[return-value]
        return super().aggregation(instrument_kind)


class SharesBoundaries(PlainExporter):
    """The aggregation of histograms is one object of the class, whose list of boundaries everybody gets."""

    buckets = ExplicitBucketHistogramAggregation([1, 5, 25, 125])

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        if instrument_kind is InstrumentKind.HISTOGRAM:
            return self.buckets
        return super().aggregation(instrument_kind)


class TemporalityIsAText(PlainExporter):
    """The temporality is "delta", as the option of OpenTelemetry's has it, instead of the SDK's value."""

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        return "delta"  # type: ignore[return-value]


# --- input ------------------------------------------------------------------------------------------------------------


def points_of(metrics: MetricsData) -> list[Any]:
    """Return all data points."""
    return [
        point
        for resource in metrics.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


class FillsInUnits(PlainExporter):
    """A metric without a unit gets the unit 1, in the caller's own object."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        for resource in metrics.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if not metric.unit:
                        object.__setattr__(metric, "unit", "1")
        super().deliver(context, metrics)


class AddsUpBuckets(PlainExporter):
    """Once sent, a histogram's counts are added up in place, for the statistics that the exporter keeps."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        super().deliver(context, metrics)
        for point in points_of(metrics):
            counts = getattr(point, "bucket_counts", None)
            if isinstance(counts, list):
                for number in range(1, len(counts)):
                    counts[number] += counts[number - 1]


class TakesExemplars(PlainExporter):
    """Exemplars are taken out of the caller's points once they are sent, so that none is sent twice."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        super().deliver(context, metrics)
        for point in points_of(metrics):
            if isinstance(point.exemplars, list):
                point.exemplars.clear()


class TakesAnAttribute(PlainExporter):
    """A point's first attribute is out of the caller's mapping while the export runs: a failure loses it."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        body = encode(metrics)
        taken = []
        for point in points_of(metrics):
            if isinstance(point.attributes, dict) and point.attributes:
                key = next(iter(point.attributes))
                taken.append((point.attributes, key, point.attributes.pop(key)))
        self.send(context, body)
        for attributes, key, value in taken:
            attributes[key] = value


# --- contexts, beginnings and ends ------------------------------------------------------------------------------------


class TriesOnceAnyway(PlainExporter):
    """An export whose context is already done is given a second all the same, and sends."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(Context.with_timeout(1) if context.done else context, metrics)


class FlushDoesNothing(PlainExporter):
    """There is nothing to flush, and so force_flush does nothing: it returns with a context that is done, too."""

    def force_flush(self, context: Context) -> None:
        """Do nothing."""


class FlushTakesTheLock(PlainExporter):
    """A flush takes the lock that an export holds, to be sure that none runs, and has no time-out for it."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.begin_anew()

    def begin_anew(self) -> None:
        self.lock = threading.Lock()

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        with self.lock:
            super().deliver(context, metrics)

    def force_flush(self, context: Context) -> None:
        super().force_flush(context)
        with self.lock:
            pass


class ShutdownNeverRaises(PlainExporter):
    """A shutdown with a context that is done releases everything, and returns as if there had been time."""

    def shutdown(self, context: Context) -> None:
        with contextlib.suppress(DeadlineExceededError, ContextCancelledError):
            super().shutdown(context)


class SecondShutdownRaisesOther(PlainExporter):
    """A second shutdown raises RuntimeError."""

    def shutdown(self, context: Context) -> None:
        try:
            super().shutdown(context)
        except ExporterShutdownError as error:
            raise RuntimeError("the exporter is closed") from error


class LogsAfterShutdown(PlainExporter):
    """An export after the shutdown is a warning in the log, and returns."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.is_shut_down:
            logging.getLogger(__name__).warning("the exporter has been shut down")
            return
        super().export(context, metrics)


class OpensAgain(PlainExporter):
    """An export after the shutdown makes a new exporter with the same options, and sends with that."""

    successor: OpensAgain | None = None

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.is_shut_down:
            if self.successor is None:
                self.successor = OpensAgain(self.config)
            self.successor.export(context, metrics)
        else:
            super().export(context, metrics)
