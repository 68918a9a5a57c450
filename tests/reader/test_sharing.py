"""Readers that share one collection: what they have in common, and what stays each one's own."""

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.metrics.view import (
    DefaultAggregation,
    ExplicitBucketHistogramAggregation,
    LastValueAggregation,
)

from exporter_core.clock import MONOTONIC, Clock
from exporter_core.context import Context
from exporter_core.contract import InstrumentKind
from exporter_core.errors import DeadlineExceededError, ExporterBusyError
from exporter_core.guard import GuardedExporter
from exporter_core.reader import PeriodicReader, SharedCollection, begin_flushes, finish, sharing_key
from exporter_core.routing import MetricFilter
from exporter_core.testing import FakeClock, FakeExporter

LONG = 30.0


class Lanes:
    """Readers of one collection under a real provider; counts the collections of the SDK."""

    def __init__(self, exporters: list[FakeExporter], clock: Clock, options: list[dict[str, Any]]) -> None:
        guards = [GuardedExporter(one, name=f"fake{number}") for number, one in enumerate(exporters)]
        self.exporters = exporters
        self.shared = SharedCollection(guards[0], clock=clock)
        self.reported: list[list[Exception]] = [[] for _ in exporters]
        self.readers = [
            PeriodicReader(
                guard,
                name=f"{number}:{guard.name}",
                error_handler=self.reported[number].append,
                collection=self.shared,
                clock=clock,
                **{"interval": math.inf, "timeout": LONG, **options[number]},
            )
            for number, guard in enumerate(guards)
        ]
        self.provider = MeterProvider([self.shared], shutdown_on_exit=False)
        self.collections = 0
        self.meter = self.provider.get_meter("test")
        self.meter.create_observable_gauge("g", [self._count])
        self.meter.create_counter("c").add(1)

    def _count(self, _: object) -> list[object]:
        self.collections += 1
        return []


@pytest.fixture
def lanes() -> Iterator[Callable[..., Lanes]]:
    made: list[Lanes] = []

    def make(*exporters: FakeExporter, clock: Clock = MONOTONIC, options: list[dict[str, Any]] | None = None) -> Lanes:
        made.append(Lanes(list(exporters), clock, options or [{} for _ in exporters]))
        return made[-1]

    yield make
    for one in made:
        jobs = [reader.begin_shutdown(Context.with_timeout(LONG)) for reader in one.readers]
        finish([job for job in jobs if job])


def names(exporter: FakeExporter) -> list[list[str]]:
    return [
        [one.name for resource in batch.resource_metrics for scope in resource.scope_metrics for one in scope.metrics]
        for batch in exporter.exported
    ]


def test_one_collection_serves_every_reader_of_a_flush(lanes):
    one = lanes(FakeExporter(), FakeExporter(), FakeExporter())
    jobs = finish(begin_flushes(one.readers, Context.with_timeout(LONG)))
    assert [(job.error, job.points_handed_over, job.points_accepted) for job in jobs] == [(None, 1, 1)] * 3
    assert one.collections == 1
    assert [names(exporter) for exporter in one.exporters] == [[["c"]]] * 3


def test_a_flush_has_what_was_recorded_before_it(lanes):
    one = lanes(FakeExporter(), FakeExporter())
    counter = one.meter.create_counter("later")
    for number in range(3):
        counter.add(1, {"number": number})
        assert one.readers[number % 2].force_flush(LONG * 1000)
    assert one.collections == 3
    assert names(one.exporters[1]) == [["c", "later"]]


def test_the_readers_tick_together_and_collect_once(lanes, until):
    clock = FakeClock()
    one = lanes(FakeExporter(), FakeExporter(), FakeExporter(), clock=clock, options=[{"interval": 10.0}] * 3)
    for tick in (1, 2):
        clock.await_sleepers(3)
        clock.advance(10.0)
        until(lambda tick=tick: [len(exporter.exported) for exporter in one.exporters] == [tick] * 3)
        assert one.collections == tick
    assert [reader.stats().collections for reader in one.readers] == [2] * 3
    assert [reader.stats().ticks_missed for reader in one.readers] == [0] * 3


def test_an_exporter_that_changes_the_lists_of_its_batch_changes_nothing_for_the_others(lanes):
    def spoil(context: Context, metrics: MetricsData) -> None:
        for resource in metrics.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    metric.data.data_points.reverse()
                    metric.data.data_points.clear()
                scope.metrics.clear()
            resource.scope_metrics.clear()
        metrics.resource_metrics.clear()

    one = lanes(*(FakeExporter(on_export=spoil if number != 1 else None) for number in range(3)))
    for number in range(5):
        one.meter.create_counter("points").add(1, {"number": number})
    jobs = finish(begin_flushes(one.readers, Context.with_timeout(LONG)))
    assert [job.error for job in jobs] == [None] * 3
    (batch,) = one.exporters[1].exported
    (resource,) = batch.resource_metrics
    (scope,) = resource.scope_metrics
    assert [(metric.name, len(metric.data.data_points)) for metric in scope.metrics] == [("c", 1), ("points", 5)]
    assert [point.attributes["number"] for point in scope.metrics[1].data.data_points] == [0, 1, 2, 3, 4]
    assert one.collections == 1


def test_a_batch_is_copied_only_for_exporters_that_do_not_promise_to_leave_it_alone(lanes):
    class Promising(FakeExporter):
        keeps_metrics_unchanged = True

    got: dict[str, MetricsData] = {}

    def exporter(kind: type[FakeExporter], name: str) -> FakeExporter:
        return kind(on_export=lambda context, metrics: got.update({name: metrics}))

    one = lanes(exporter(Promising, "a"), exporter(FakeExporter, "b"), exporter(Promising, "c"))
    finish(begin_flushes(one.readers, Context.with_timeout(LONG)))
    a, b, c = (got[name].resource_metrics[0].scope_metrics[0].metrics[0] for name in "abc")
    assert a is c is not b
    assert a == b
    assert a.data.data_points[0] is b.data.data_points[0]


def test_each_reader_has_its_own_outcome(lanes):
    def fail(context: Context, metrics: MetricsData) -> None:
        raise OSError("no route")

    one = lanes(FakeExporter(on_export=fail), FakeExporter())
    bad, good = finish(begin_flushes(one.readers, Context.with_timeout(LONG)))
    assert "no route" in str(bad.error)
    assert (bad.points_accepted, bad.points_lost, good.error, good.points_accepted) == (0, 1, None, 1)
    assert [reader.stats().exporter.exports_failed for reader in one.readers] == [1, 0]


def test_a_hung_exporter_misses_its_ticks_alone(lanes, until):
    clock, entered, gate = FakeClock(), threading.Event(), threading.Event()

    def hang(context: Context, metrics: MetricsData) -> None:
        entered.set()
        assert gate.wait(LONG)

    one = lanes(
        FakeExporter(on_export=hang), FakeExporter(), clock=clock, options=[{"interval": 10.0, "timeout": 5.0}] * 2
    )
    try:
        clock.await_sleepers(2)
        clock.advance(10.0)
        assert entered.wait(LONG)
        until(lambda: len(one.exporters[1].exported) == 1)
        clock.await_sleepers(2)
        clock.advance(5.0)  # the deadline of the hung one
        until(lambda: one.reported[0])
        clock.await_sleepers(2)
        clock.advance(5.0)
        until(lambda: len(one.exporters[1].exported) == 2 and len(one.reported[0]) == 2)
        assert [type(error) for error in one.reported[0]] == [DeadlineExceededError, ExporterBusyError]
        assert one.reported[1] == []
        assert one.readers[0].stats().ticks_skipped == 1
        assert one.collections == 2
    finally:
        gate.set()
        until(lambda: not one.readers[0].exporter.busy)  # a shutdown would wait for it on a clock that stands still


def test_a_reader_waits_for_anothers_collection_no_longer_than_its_own_timeout(lanes):
    entered, gate = threading.Event(), threading.Event()
    one = lanes(FakeExporter(), FakeExporter())

    def callback(_: object) -> list[object]:
        entered.set()
        assert gate.wait(LONG)
        return []

    one.meter.create_observable_gauge("slow", [callback])
    first = one.readers[0].begin_flush(Context.with_timeout(LONG))
    assert entered.wait(LONG)
    try:
        with pytest.raises(DeadlineExceededError, match="callback of an observable instrument"):
            one.readers[1].force_flush(50)
    finally:
        gate.set()
    assert finish([first])[0].error is None


def test_a_filter_chooses_for_its_own_reader_alone(lanes):
    one = lanes(FakeExporter(), FakeExporter(), options=[{"select": MetricFilter(["x*"])}, {}])
    one.meter.create_counter("x.y").add(1)
    first, second = finish(begin_flushes(one.readers, Context.with_timeout(LONG)))
    assert (first.points_handed_over, second.points_handed_over) == (1, 2)
    assert [names(exporter) for exporter in one.exporters] == [[["x.y"]], [["c", "x.y"]]]


def test_the_provider_flushes_and_shuts_down_every_reader(lanes):
    one = lanes(FakeExporter(), FakeExporter())
    assert one.provider.force_flush(LONG * 1000)
    one.provider.shutdown(LONG * 1000)
    assert [exporter.calls for exporter in one.exporters] == [["export", "force_flush", "export", "shutdown"]] * 2
    assert one.collections == 2


def test_a_batch_is_not_kept_once_every_reader_has_had_it(lanes):
    one = lanes(FakeExporter(), FakeExporter())
    assert one.readers[0].force_flush(LONG * 1000)
    assert one.shared._batch is not None
    finish(begin_flushes(one.readers, Context.with_timeout(LONG)))
    assert one.shared._batch is None


def key(**functions: Any) -> object:
    with GuardedExporter(FakeExporter(**functions), name="fake") as guard:
        return sharing_key(guard, 60.0)


def test_cumulative_exporters_with_the_default_aggregation_share():
    assert key() == key(on_aggregation=lambda kind: DefaultAggregation()) is not None


def test_the_same_aggregation_object_is_shared_and_an_equal_one_is_not():
    one = {InstrumentKind.HISTOGRAM: ExplicitBucketHistogramAggregation()}
    other = {InstrumentKind.HISTOGRAM: ExplicitBucketHistogramAggregation()}
    of = lambda given: key(on_aggregation=lambda kind: given.get(kind, DefaultAggregation()))  # noqa: E731
    assert of(one) == of(one)
    assert len({of(one), of(other), key()}) == 3


@pytest.mark.parametrize("kind", InstrumentKind)
def test_an_exporter_of_delta_data_shares_with_nobody(kind):
    temporality = {kind: AggregationTemporality.DELTA}
    assert key(on_temporality=lambda kind: temporality.get(kind, AggregationTemporality.CUMULATIVE)) is None
    assert key(on_aggregation=lambda one: LastValueAggregation() if one is kind else DefaultAggregation()) != key()
