from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData

from exporter_core.context import Context
from exporter_core.errors import ExporterError, PartialSuccessError
from exporter_core.guard import GuardedExporter
from exporter_core.guard.stats import count_points
from exporter_core.otlp import is_trusted, mark_trusted
from exporter_core.reader import PeriodicReader, finish
from exporter_core.reader.batches import batches_of
from exporter_core.testing import FakeExporter

Point = tuple[str, str, str, Any]


def points_of(metrics: MetricsData) -> list[Point]:
    """Every point, with the scope and the metric that it is in."""
    return [
        (scope.scope.name, metric.name, type(metric.data).__name__, point)
        for resource in metrics.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


def collected(shape: list[list[int]]) -> MetricsData:
    """What the SDK hands over for so many series of each metric, in each scope."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    for scope, metrics in enumerate(shape):
        for metric, series in enumerate(metrics):
            meter = provider.get_meter(f"scope {scope}")
            counter, histogram = meter.create_counter(f"c{metric}"), meter.create_histogram(f"h{metric}")
            for number in range(series):
                counter.add(1, {"n": number})
                histogram.record(1, {"n": number})
    return reader.get_metrics_data() or MetricsData([])


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3), max_size=3), st.integers(1, 12))
def test_the_parts_have_all_points_in_order_and_none_has_too_many(shape: list[list[int]], most: int) -> None:
    whole = collected(shape)
    parts = list(batches_of(whole, most))
    assert [point for part in parts for point in points_of(part)] == points_of(whole)
    assert all(count_points(part) == most for part in parts[:-1])
    assert count_points(parts[-1]) <= most
    for part in parts:
        scopes = [scope.scope.name for resource in part.resource_metrics for scope in resource.scope_metrics]
        assert len(part.resource_metrics) <= 1
        assert len(scopes) == len(set(scopes))


def test_a_batch_that_fits_is_handed_on_as_it_is() -> None:
    whole = collected([[3]])
    assert next(batches_of(whole, 6)) is whole
    assert next(batches_of(whole, None)) is whole
    assert len(list(batches_of(whole, 5))) == 2


def test_the_parts_of_a_trusted_batch_are_trusted() -> None:
    whole = collected([[3]])
    assert not any(map(is_trusted, batches_of(whole, 2)))
    assert all(map(is_trusted, batches_of(mark_trusted(whole), 2)))


def record(rig: Any, points: int) -> None:
    counter = rig.meter.create_counter("c")
    for number in range(points):
        counter.add(number, {"n": number})


def test_a_reader_exports_in_parts(rig: Callable[..., Any]) -> None:
    one = rig(max_batch_size=2)
    record(one, 5)
    assert one.reader.force_flush()
    assert [count_points(batch) for batch in one.exporter.exported] == [2, 2, 1]
    assert one.values() == [0, 1, 2, 3, 4]


def test_a_part_that_fails_keeps_no_other_from_going_and_each_failure_is_told_once(rig: Callable[..., Any]) -> None:
    sizes: list[int] = []

    def export(context: Any, metrics: MetricsData) -> None:
        sizes.append(count_points(metrics))
        if len(sizes) == 1:
            raise ExporterError("the first is too hot")
        if len(sizes) in {2, 3}:
            raise PartialSuccessError("one is too old", rejected_points=1)

    one = rig(max_batch_size=2, on_export=export)
    record(one, 7)
    (job,) = finish([one.reader.begin_flush(Context.with_timeout(30))])
    assert sizes == [2, 2, 2, 1]
    assert "the first is too hot" in str(job.error)
    assert [str(error).rpartition(": ")[2] for error in one.reported] == ["one is too old (rejected data points: 1)"]
    assert (job.points_handed_over, job.points_accepted) == (7, 3)


def test_a_batch_size_is_at_least_one() -> None:
    expected = "max_batch_size: expected at least 1, or None for no limit, not 0"
    with GuardedExporter(FakeExporter(), name="fake") as guard, pytest.raises(ValueError, match=expected):
        PeriodicReader(guard, max_batch_size=0)
