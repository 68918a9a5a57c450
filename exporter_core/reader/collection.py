"""``Collection``: the part of a reader that the SDK knows. It records, and collects when its readers ask for it.

A :class:`PeriodicReader` alone is its own collection. Several of one pipeline may share one: what is recorded is
recorded once, and collected once at each tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import Metric, MetricReader, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.semconv._incubating.attributes.otel_attributes import OtelComponentTypeValues

from exporter_core.contract import InstrumentKind
from exporter_core.instruments import INSTRUMENT_CLASSES, NO_CARDINALITY_LIMITS
from exporter_core.otlp.trust import mark_trusted
from exporter_core.reader import forking
from exporter_core.sync import Turn, thread_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource

    from exporter_core.clock import Clock
    from exporter_core.context import Context
    from exporter_core.guard import GuardedExporter
    from exporter_core.reader.periodic import PeriodicReader

_WITHOUT_LIMIT: Final = 86_400.0  # seconds; the SDK adds it to the wall clock
_new = object.__new__


class StillCollectingError(Exception):
    """Another reader's collection has not ended in time."""


class CollectedWhileForkingError(Exception):
    """The process forked while another thread collected: the SDK's lock stays locked in this child."""


@dataclass(eq=False)
class _Batch:
    """One collection, kept until each of its readers has had it or the next one is made."""

    began: float
    metrics: MetricsData | None
    readers: set[PeriodicReader]
    """Those that have not had it."""


class Collection(MetricReader):
    """Collects from the SDK for one or more periodic readers, which give it their preferences.

    Args:
        exporter: gives temporality and aggregation by kind.
        cardinality_limits: the most attribute sets of an instrument, by kind.
        resource: returns the resource of each batch; the provider's unless given.
        clock: tells the time at which collections begin.

    Raises:
        ValueError: limits are given that the SDK does not have.
    """

    def __init__(
        self,
        exporter: GuardedExporter,
        cardinality_limits: Mapping[InstrumentKind, int] | None,
        resource: Callable[[], Resource] | None,
        clock: Clock,
    ) -> None:
        if cardinality_limits and NO_CARDINALITY_LIMITS:
            raise ValueError(f"cardinality_limits: {NO_CARDINALITY_LIMITS}")
        limits = {INSTRUMENT_CLASSES[InstrumentKind(kind)]: limit for kind, limit in (cardinality_limits or {}).items()}
        given: dict[str, Any] = {"cardinality_limits": limits} if limits else {}  # Any: older SDKs lack the parameter
        super().__init__(
            preferred_temporality={cls: exporter.temporality(kind) for kind, cls in INSTRUMENT_CLASSES.items()},
            preferred_aggregation={cls: exporter.aggregation(kind) for kind, cls in INSTRUMENT_CLASSES.items()},
            otel_component_type=OtelComponentTypeValues.PERIODIC_METRIC_READER,
            **given,
        )
        self._resource = resource
        self._clock = clock
        self._moving = False
        self._begin_collecting(stuck=False)

    def _begin_collecting(self, *, stuck: bool) -> None:
        """Begin, as a new collection or in a forked child."""
        self.started = self._clock.monotonic()
        """The time from which the readers count their ticks."""
        self._gate = forking.CollectionGate()
        self._stuck = stuck
        self._turn = Turn()  # of the readers, to collect
        self._collecting: int | None = None  # the thread that does
        self._collected: MetricsData | None = None
        self._batch: _Batch | None = None

    # --- for its readers -----------------------------------------------------------------------------------------

    @property
    def readers(self) -> Sequence[PeriodicReader]:
        """The readers that it serves."""
        raise NotImplementedError

    @property
    def attached(self) -> bool:
        """True while a MeterProvider has it."""
        return self._collect is not None

    @property
    def source(self) -> object:
        """The SDK's object that it collects from, shared with the other readers of its provider."""
        return getattr(self._collect, "__self__", self)

    def take(
        self,
        reader: PeriodicReader,
        context: Context,
        since: float,
        select: Callable[[MetricsData], MetricsData | None] | None = None,
    ) -> MetricsData | None:
        """Return what has been recorded; None for nothing.

        It is in lists of the reader's own, unless its exporter promises to change none. A collection that another
        reader has made, no earlier than ``since``, will do. Of those that ask at the same time, one collects and the
        others wait.

        Args:
            reader: the one that asks; no collection is given to it twice.
            context: bounds the waiting and, as far as the SDK allows, the collecting.
            since: what was recorded before this time has to be in it.
            select: the reader's filter.

        Raises:
            MetricsTimeoutError: a callback took too long.
            StillCollectingError: another reader's collection did.
            CollectedWhileForkingError: the SDK cannot collect in this process.
        """
        if not self._turn.take(context):
            raise StillCollectingError
        try:
            batch = self._batch
            if batch is None or batch.began < since or reader not in batch.readers:
                batch = self._batch = self._collect_now(context)
            batch.readers.discard(reader)
            metrics = batch.metrics
            if not batch.readers:
                self._batch = None
            if metrics is not None and select is not None:
                metrics = select(metrics)
            if metrics is not None and len(self.readers) > 1 and not reader.exporter.keeps_metrics_unchanged:
                metrics = own_lists(metrics)
            return metrics if metrics is None else mark_trusted(metrics)  # encoders need not compare attributes
        finally:
            self._turn.give_back()

    def _collect_now(self, context: Context) -> _Batch:
        """Collect; the SDK checks its time-out by the wall clock, after each callback, and waits for each."""
        remaining = context.remaining()
        began, self._collected = self._clock.monotonic(), None
        with self._gate.collecting(self.source):
            if self._stuck:
                raise CollectedWhileForkingError
            self._collecting = thread_id()
            try:
                self.collect(timeout_millis=1000 * (_WITHOUT_LIMIT if remaining is None else remaining))
            finally:
                self._collecting = None
        metrics, self._collected = self._collected, None
        return _Batch(began, metrics, set(self.readers))

    def move(self, source: MeterProvider, target: MeterProvider) -> None:
        """Collect from another provider from here on, whose resource is that of the batches."""
        self._moving = True  # to remove a reader shuts it down
        try:
            source.remove_metric_reader(self)
            self._resource = None
            target.add_metric_reader(self)
        finally:
            self._moving = False

    # --- what the SDK calls --------------------------------------------------------------------------------------

    def _receive_metrics(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,
        **kwargs: Any,  # noqa: ARG002 # Any: the SDK's signature
    ) -> None:
        metrics = metrics_data if self._resource is None else _with_resource(metrics_data, self._resource())
        if self._collecting == thread_id():
            self._collected = metrics
            return
        for reader in self.readers:  # the application calls collect() itself
            reader.export_given(own_lists(metrics), timeout_millis / 1000)

    # --- in a forked child ---------------------------------------------------------------------------------------

    def _renew_collection(self) -> None:
        """Begin anew in a forked child, with nothing recorded: what the SDK holds is the parent's to deliver."""
        self._begin_collecting(stuck=forking.collecting_at_fork(self.source))
        if not self.attached or self._stuck:
            return
        consumer: Any = self.source  # Any: the SDK has no public name for it, and no way from a reader to its provider
        lock = getattr(consumer, "_lock", None)
        if lock is not None and lock.locked():  # by a reader that is not ours: in this child for ever
            self._stuck = True
            return
        consumer.remove_metric_reader(self)
        consumer.add_metric_reader(self)


def own_lists(metrics: MetricsData) -> MetricsData:
    """Return the batch with lists of its own, and the same data points and attributes in them."""
    return MetricsData(
        [
            ResourceMetrics(
                resource.resource,
                [
                    ScopeMetrics(scope.scope, [_own_list(metric) for metric in scope.metrics], scope.schema_url)
                    for scope in resource.scope_metrics
                ],
                resource.schema_url,
            )
            for resource in metrics.resource_metrics
        ]
    )


def _own_list(metric: Metric) -> Metric:
    # Past the constructors of frozen dataclasses, which take twice as long: every metric of every tick comes by here.
    data = metric.data
    own_data = _new(type(data))
    fields = own_data.__dict__
    fields.update(data.__dict__)
    fields["data_points"] = list(data.data_points)
    own = _new(Metric)
    fields = own.__dict__
    fields.update(metric.__dict__)
    fields["data"] = own_data
    return own


def _with_resource(metrics: MetricsData, resource: Resource) -> MetricsData:
    return MetricsData(
        [ResourceMetrics(resource, one.scope_metrics, resource.schema_url) for one in metrics.resource_metrics]
    )
