"""Metrics of every shape that the SDK's types can have, and a way to compare them by content."""

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core.otlp import few, json_decoder

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.one_of(st.none(), st.booleans(), TEXT, INT64, st.floats(), st.binary(max_size=8))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(TEXT, VALUES, max_size=4)
NUMBERS = st.one_of(INT64, st.floats())
TEMPORALITY = st.sampled_from(AggregationTemporality)
OPTIONAL = st.one_of(st.none(), st.floats(), st.integers(-(2**53), 2**53))
COUNTS = st.lists(UINT64, max_size=5).map(tuple)


def _exemplar(attributes, value, time, ids):
    return Exemplar(attributes, value, time, *ids)


EXEMPLARS = st.lists(
    st.builds(
        _exemplar,
        ATTRIBUTES,
        st.one_of(INT64, st.floats()),
        UINT64,
        st.one_of(st.just((None, None)), st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**128 - 1))),
    ),
    max_size=2,
)
NUMBER_POINTS = st.builds(NumberDataPoint, ATTRIBUTES, UINT64, UINT64, NUMBERS, EXEMPLARS)
GAUGE_POINTS = st.builds(NumberDataPoint, ATTRIBUTES, st.none(), UINT64, NUMBERS, EXEMPLARS)
HISTOGRAM_POINTS = st.builds(
    HistogramDataPoint,
    ATTRIBUTES,
    UINT64,
    UINT64,
    UINT64,
    OPTIONAL,
    COUNTS,
    st.lists(st.floats(), max_size=5).map(tuple),
    OPTIONAL,
    OPTIONAL,
    EXEMPLARS,
)
INT32 = st.integers(-(2**31), 2**31 - 1)
BUCKETS = st.one_of(
    st.just(Buckets(0, ())), st.builds(Buckets, INT32, st.lists(UINT64, min_size=1, max_size=5).map(tuple))
)
EXPONENTIAL_POINTS = st.builds(
    ExponentialHistogramDataPoint,
    ATTRIBUTES,
    UINT64,
    UINT64,
    UINT64,
    OPTIONAL,
    INT32,
    UINT64,
    BUCKETS,
    BUCKETS,
    st.integers(0, 2**32 - 1),
    OPTIONAL,
    OPTIONAL,
    EXEMPLARS,
)
DATA = st.one_of(
    st.builds(Gauge, st.lists(GAUGE_POINTS, min_size=1, max_size=4)),
    st.builds(Sum, st.lists(NUMBER_POINTS, min_size=1, max_size=4), TEMPORALITY, st.booleans()),
    st.builds(Histogram, st.lists(HISTOGRAM_POINTS, min_size=1, max_size=3), TEMPORALITY),
    st.builds(ExponentialHistogram, st.lists(EXPONENTIAL_POINTS, min_size=1, max_size=3), TEMPORALITY),
)
METRICS = st.builds(Metric, TEXT, TEXT, TEXT, DATA)
# What the SDK itself lets into a resource or a scope.
PLAIN = st.dictionaries(TEXT.filter(bool), st.one_of(st.booleans(), TEXT, INT64, st.floats()), max_size=3)


def _scope_metrics(name, version, url, attributes, metrics):
    return ScopeMetrics(InstrumentationScope(name, version, url, attributes), metrics, url)


def _resource_metrics(attributes, url, scopes):
    return ResourceMetrics(Resource(attributes, url), scopes, url)


SCOPE_METRICS = st.builds(
    _scope_metrics, TEXT, st.one_of(st.none(), TEXT.filter(bool)), TEXT, PLAIN, st.lists(METRICS, max_size=3)
)
RESOURCE_METRICS = st.builds(
    _resource_metrics, PLAIN, TEXT, st.lists(SCOPE_METRICS, max_size=2, unique_by=lambda s: hash(s.scope))
)
METRICS_DATA = st.builds(MetricsData, st.lists(RESOURCE_METRICS, max_size=2, unique_by=lambda r: r.resource.to_json()))


def plain(value):
    """A value as what can be compared by content: types of numbers told apart, NaN equal to itself."""
    if isinstance(value, bool | str | bytes) or value is None:
        return type(value).__name__, value
    if isinstance(value, int):
        return "int", int(value)
    if isinstance(value, float):
        return "float", "nan" if math.isnan(value) else (value, math.copysign(1, value))
    if hasattr(value, "items"):
        return "map", {key: plain(item) for key, item in value.items()}
    return "list", [plain(item) for item in value]


@pytest.fixture(scope="session")
def metrics_data() -> st.SearchStrategy[MetricsData]:
    return METRICS_DATA


@pytest.fixture
def build() -> SimpleNamespace:
    """Builders of small metrics data, for examples."""

    def data(*metrics: Metric) -> MetricsData:
        scope = ScopeMetrics(InstrumentationScope("scope", "1"), list(metrics), "")
        return MetricsData([ResourceMetrics(Resource({"service.name": "test"}), [scope], "")])

    def counter(*points: NumberDataPoint, name: str = "requests") -> Metric:
        return Metric(name, "how many", "1", Sum(list(points), AggregationTemporality.CUMULATIVE, is_monotonic=True))

    def point(attributes: object, value: float = 1) -> NumberDataPoint:
        return NumberDataPoint(attributes, 1_000, 2_000, value)

    def sums(*attributes: object) -> MetricsData:
        return data(counter(*map(point, attributes)))

    return SimpleNamespace(data=data, counter=counter, point=point, sums=sums)


@pytest.fixture
def official() -> Callable[[MetricsData], object]:
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

    return encode_metrics


@pytest.fixture
def parse() -> Callable[[bytes], object]:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    return ExportMetricsServiceRequest.FromString


@pytest.fixture
def content() -> Callable[[object], object]:
    """What metrics data says, comparable: class names, fields and values."""
    doubles = {"sum", "min", "max"}

    def of(value: object) -> object:
        if dataclasses.is_dataclass(value):
            fields = {}
            for field in dataclasses.fields(value):
                item = getattr(value, field.name)
                if field.name in doubles and isinstance(item, int):
                    item = float(item)  # OTLP holds these as doubles
                fields[field.name] = of(item)
            return type(value).__name__, fields
        if isinstance(value, Resource | InstrumentationScope):
            own = getattr(value, "name", None), getattr(value, "version", None)
            return own, value.schema_url, plain(value.attributes)
        if isinstance(value, list | tuple):
            return [of(item) for item in value]
        return plain(value)

    return of


@pytest.fixture(autouse=True)
def few_points(monkeypatch) -> None:
    """Layouts and columns are used although the examples are small; `test_few.py` has the other way of writing."""
    monkeypatch.setattr(few, "FEW", -1)
    monkeypatch.setattr(json_decoder, "LONG", 0)
