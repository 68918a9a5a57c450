"""What is read back is what was exported, value by value and type by type."""

import copy
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from exporter_core_sqlite import SqliteConfig, SqliteExporter, read
from hypothesis import given, strategies as st
from opentelemetry.sdk.metrics import Exemplar, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.sdk.version import __version__ as sdk_version

from exporter_core import Context

INT64 = st.integers(-(2**63), 2**63 - 1)
NANOSECONDS = st.integers(0, 2**63 - 1)
COUNTS = st.lists(st.integers(0, 2**64), max_size=5)
NUMBERS = st.one_of(INT64, st.floats())
TEXTS = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(
    ["", "$float", "$map", "$items", "\ud800", "\ud83d\ude00", "\0", "é", "CPU ⚙"]
)
NAMES = TEXTS.filter(bool)


def values(keys: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.binary(max_size=5))
    return st.recursive(
        scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3))
    )


def mappings(keys: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(keys, values(keys), max_size=3)


# The SDK's own containers of resource and scope attributes drop empty keys.
NAMED = mappings(NAMES)
ATTRIBUTES = mappings(TEXTS)
EXEMPLARS = st.lists(
    st.builds(
        Exemplar,
        filtered_attributes=st.none() | ATTRIBUTES,
        value=NUMBERS,
        time_unix_nano=NANOSECONDS,
        span_id=st.none() | st.integers(0, 2**64 - 1),
        trace_id=st.none() | st.integers(0, 2**128 - 1),
    ),
    max_size=2,
)
COMMON = {
    "attributes": ATTRIBUTES,
    "start_time_unix_nano": st.none() | NANOSECONDS,
    "time_unix_nano": NANOSECONDS,
    "exemplars": EXEMPLARS,
}
SUMMARY = {"count": NANOSECONDS, "sum": NUMBERS, "min": st.none() | NUMBERS, "max": st.none() | NUMBERS}
NUMBER_POINTS = st.lists(st.builds(NumberDataPoint, **COMMON, value=NUMBERS), max_size=3)
HISTOGRAM_POINTS = st.lists(
    st.builds(
        HistogramDataPoint, **COMMON, **SUMMARY, bucket_counts=COUNTS, explicit_bounds=st.lists(NUMBERS, max_size=3)
    ),
    max_size=3,
)
BUCKETS = st.builds(Buckets, offset=st.integers(-(2**31), 2**31 - 1), bucket_counts=COUNTS)
EXPONENTIAL_POINTS = st.lists(
    st.builds(
        ExponentialHistogramDataPoint,
        **COMMON,
        **SUMMARY,
        scale=st.integers(-10, 20),
        zero_count=NANOSECONDS,
        positive=BUCKETS,
        negative=BUCKETS,
        flags=st.integers(0, 1),
    ),
    max_size=3,
)
TEMPORALITIES = st.sampled_from(AggregationTemporality)
DATA = st.one_of(
    st.builds(Gauge, NUMBER_POINTS),
    st.builds(Sum, NUMBER_POINTS, TEMPORALITIES, st.booleans()),
    st.builds(Histogram, HISTOGRAM_POINTS, TEMPORALITIES),
    st.builds(ExponentialHistogram, EXPONENTIAL_POINTS, TEMPORALITIES),
)
METRICS = st.lists(st.builds(Metric, TEXTS, st.none() | TEXTS, st.none() | TEXTS, DATA), max_size=3)
SCOPES = st.builds(InstrumentationScope, TEXTS, st.none() | TEXTS, TEXTS, NAMED)
SCOPE_METRICS = st.lists(st.builds(ScopeMetrics, SCOPES, METRICS, TEXTS), max_size=2)
RESOURCES = st.builds(Resource, NAMED, TEXTS)
METRICS_DATA = st.builds(MetricsData, st.lists(st.builds(ResourceMetrics, RESOURCES, SCOPE_METRICS, TEXTS), max_size=2))


def exact(value: object) -> object:
    """A form that is equal only for values equal in type too, where NaN equals itself and 0.0 is not -0.0."""
    if isinstance(value, Mapping):
        return sorted((key, exact(item)) for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [exact(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return [exact(getattr(value, field)) for field in value.__dataclass_fields__]
    return type(value).__name__, repr(value)


def content(data: MetricsData) -> list[object]:
    """Every point of the data with all that describes it, in order."""
    return [
        exact(
            (
                of_resource.resource.attributes,
                of_resource.resource.schema_url,
                of_resource.schema_url,
                of_scope.scope.name,
                of_scope.scope.version,
                of_scope.scope.schema_url,
                of_scope.scope.attributes,
                of_scope.schema_url,
                metric.name,
                metric.description,
                metric.unit,
                type(metric.data).__name__,
                str(getattr(metric.data, "aggregation_temporality", None)),
                getattr(metric.data, "is_monotonic", None),
                point,
            )
        )
        for of_resource in data.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
        for point in metric.data.data_points
    ]


@given(st.lists(METRICS_DATA, min_size=1, max_size=3))
def test_what_is_read_back_equals_what_was_exported_and_that_is_left_unchanged(batches):
    before = [content(data) for data in copy.deepcopy(batches)]
    with TemporaryDirectory() as directory:
        path = Path(directory, "metrics.db")
        exporter = SqliteExporter(SqliteConfig(path=path, synchronous="off"))
        for data in batches:
            exporter.export(Context.with_timeout(30), data)
        exporter.shutdown(Context.with_timeout(30))
        assert [content(data) for data in read(path)] == [points for points in before if points]
    assert [content(data) for data in batches] == before


LIST = (1, 2) if sdk_version.startswith("1.44.") else [1, 2]  # 1.44 takes no lists as values of attributes


def test_what_the_sdk_collects_reads_back_equal(path, make_exporter, context):
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("meter", "1.0", "https://schema", {"a": 1})
    meter.create_counter("counter", "1", "counts").add(3, {"list": LIST, "flag": True})
    meter.create_up_down_counter("up_down").add(-0.5)
    meter.create_gauge("gauge").set(1.5, {"host": "ünï"})
    meter.create_histogram("histogram", "ms").record(12)
    data = reader.get_metrics_data()
    make_exporter().export(context, data)
    assert list(read(path)) == [data]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 0.0, 0, 1.0, 1, 2**63 - 1, -(2**63), 5e-324])
def test_a_value_keeps_its_type_sign_and_every_bit(value, path, make_exporter, context, data_of):
    make_exporter().export(context, data_of([value]))
    ((found,),) = [batch.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points for batch in read(path)]
    assert exact(found.value) == exact(value)


def test_values_that_python_calls_equal_are_different_series(make_exporter, context, data_of, point, query):
    alike = [1, True, 1.0, 0.0, -0.0, "1", b"1", (1,), (True,), None]
    exporter = make_exporter()
    for _ in range(2):
        exporter.export(context, data_of([point(attributes={"k": value}) for value in alike]))
    assert query("SELECT count(*), count(DISTINCT attributes) FROM series") == [(len(alike), len(alike))]


def test_bounds_that_python_calls_equal_are_different_series(make_exporter, context, data_of, query):
    alike = [(0.0, 5.0), (-0.0, 5.0), (0, 5.0), (0, True), (0, 1), [0.0, 5.0]]
    points = [HistogramDataPoint({}, 1, 2, 3, 4.0, (1, 1, 1), bounds, 1.0, 2.0) for bounds in alike]
    make_exporter().export(context, data_of(Histogram(points, AggregationTemporality.DELTA)))
    bounds = query("SELECT explicit_bounds FROM points JOIN series ON series.id = series_id ORDER BY points.id")
    texts = ["[0.0,5.0]", "[-0.0,5.0]", "[0,5.0]", "[0,true]", "[0,1]", "[0.0,5.0]"]
    assert [found for (found,) in bounds] == texts
    assert query("SELECT count(*) FROM series") == [(5,)]


def test_the_order_of_attributes_does_not_make_another_series(make_exporter, context, data_of, point, query):
    exporter = make_exporter()
    exporter.export(context, data_of([point(attributes={"a": "1", "b": 2}), point(attributes={"b": 2, "a": "1"})]))
    assert query("SELECT attributes FROM series") == [('{"a":"1","b":2}',)]


def test_a_mapping_that_is_changed_and_used_again_is_another_series(path, make_exporter, context, data_of):
    exporter = make_exporter()
    attributes = {"k": "first", "nested": {"n": [1]}}
    sample = NumberDataPoint(attributes, 1, 2, 3)
    exporter.export(context, data_of([sample]))
    attributes["k"] = "second"
    attributes["nested"]["n"].append(2)
    exporter.export(context, data_of([sample]))
    found = [
        batch.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].attributes for batch in read(path)
    ]
    assert found == [{"k": "first", "nested": {"n": (1,)}}, {"k": "second", "nested": {"n": (1, 2)}}]


def test_absent_attributes_read_back_as_empty_ones(path, make_exporter, context, data_of):
    make_exporter().export(context, data_of([NumberDataPoint(None, 1, 2, 3)]))
    (batch,) = read(path)
    assert batch.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].attributes == {}


@pytest.mark.nightly
def test_a_batch_of_many_thousand_points_is_stored_whole_and_in_order(path, make_exporter, context, data_of, point):
    points = [point(number, {"k": number % 7}, at=number) for number in range(45_000)]
    make_exporter().export(context, data_of(points))
    (batch,) = read(path)
    assert content(batch) == content(data_of(points))


def test_data_without_points_makes_a_database_and_no_batch(path, make_exporter, context, data_of, query):
    make_exporter().export(context, MetricsData([]))
    make_exporter().export(context, data_of([]))
    assert list(read(path)) == []
    assert query("SELECT count(*) FROM batches") == [(0,)]


class NumpyInteger:
    """An integer as numpy's are: no int."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value

    def __float__(self) -> float:
        return float(self._value)


def test_what_stands_for_a_number_is_stored_as_that_number(path, make_exporter, context, data_of):
    odd = NumpyInteger(2**53 + 1)
    numbers = [NumberDataPoint({}, odd, odd, odd, [Exemplar({}, odd, odd)]), Decimal("2.5"), Fraction(1, 4)]
    histogram = HistogramDataPoint({}, 1, 2, odd, Decimal("0.5"), [odd, 0], [NumpyInteger(3)], Fraction(1, 2), odd)
    side = Buckets(NumpyInteger(3), [odd])
    exponential = ExponentialHistogramDataPoint(
        {}, 1, 2, odd, odd, odd, odd, side, side, NumpyInteger(0), Decimal("nan"), Decimal("inf")
    )
    exporter = make_exporter()
    exporter.export(context, data_of(numbers))
    exporter.export(context, data_of(Histogram([histogram], AggregationTemporality.DELTA)))
    exporter.export(context, data_of(ExponentialHistogram([exponential], AggregationTemporality.DELTA)))
    first, second, third = (
        batch.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points for batch in read(path)
    )
    odd = 2**53 + 1
    assert [point.value for point in first] == [odd, 2.5, 0.25]
    assert first[0] == NumberDataPoint({}, odd, odd, odd, [Exemplar({}, odd, odd)])
    assert second == [HistogramDataPoint({}, 1, 2, odd, 0.5, (odd, 0), (3,), 0.5, odd)]
    assert (third[0].scale, third[0].positive, third[0].max) == (odd, Buckets(3, (odd,)), math.inf)
    assert math.isnan(third[0].min)


def test_what_is_none_is_stored_as_nothing(path, make_exporter, context):
    points = [
        Gauge([NumberDataPoint(None, None, 1, 1, None)]),
        Histogram([HistogramDataPoint(None, 1, 2, 3, 4, None, None, 1, 2, None)], AggregationTemporality.DELTA),
        ExponentialHistogram(
            [ExponentialHistogramDataPoint(None, 1, 2, 3, 4, 0, 0, None, None, 0, 1, 2, None)],
            AggregationTemporality.DELTA,
        ),
    ]
    metrics = [Metric("metric", None, None, data) for data in points]
    make_exporter().export(context, MetricsData([ResourceMetrics(None, [ScopeMetrics(None, metrics, None)], None)]))
    (batch,) = read(path)
    (resource,) = batch.resource_metrics
    (scope,) = resource.scope_metrics
    assert (resource.resource, scope.scope) == (Resource({}), InstrumentationScope(""))
    gauge, histogram, exponential = (metric.data.data_points[0] for metric in scope.metrics)
    assert (gauge.value, gauge.attributes, gauge.exemplars) == (1, {}, [])
    assert (histogram.bucket_counts, histogram.explicit_bounds) == ((), ())
    assert exponential.positive == exponential.negative == Buckets(0, ())
