"""The JSON Lines: strict, self-contained, and nothing lost."""

import base64
import json
import math
import re
from datetime import UTC, datetime

import pytest
from exporter_core_console.json_lines import json_lines
from hypothesis import given, strategies as st
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

from exporter_core import Context, ContextCancelledError, ExporterError

# --- reading back ----------------------------------------------------------------------------------------------------


def parsed(text):
    """The objects of the lines, read as strictly as JSON is defined."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert text.isascii()
    assert text == "" or text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def is_same(original, read):
    """Whether the text read says what the original was."""
    if isinstance(original, bytes):
        return base64.b64decode(read, validate=True) == original
    if isinstance(original, float) and not math.isfinite(original):
        name = "NaN" if math.isnan(original) else "Infinity" if original > 0 else "-Infinity"
        return read == name
    if isinstance(original, dict):
        return original.keys() == read.keys() and all(is_same(original[key], read[key]) for key in original)
    if isinstance(original, list | tuple):
        return len(original) == len(read) and all(map(is_same, original, read))
    return type(original) is type(read) and original == read


def nanoseconds(time):
    if time is None:
        return 0
    seconds, fraction = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z", time).groups()
    moment = datetime.fromisoformat(seconds).replace(tzinfo=UTC)
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 10**9 + int(fraction)


# --- every kind of point ---------------------------------------------------------------------------------------------

# A high surrogate before a low one is one character to every JSON reader; each by itself stays what it is.
texts = st.text(st.characters(exclude_categories=[]), max_size=8).filter(
    lambda text: not re.search("[\ud800-\udbff][\udc00-\udfff]", text)
)
integers = st.integers(-(2**63), 2**64 - 1)
scalars = st.none() | texts | st.booleans() | integers | st.floats() | st.binary(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
attributes = st.dictionaries(texts, values, max_size=3)
times = st.integers(0, 2**64 - 1)
numbers = integers | st.floats()
counts = st.integers(0, 2**64 - 1)
exemplars = st.lists(
    st.builds(
        Exemplar,
        attributes,
        numbers,
        times,
        st.none() | st.integers(0, 2**64 - 1),
        st.none() | st.integers(0, 2**128 - 1),
    ),
    max_size=2,
)
temporalities = st.sampled_from([AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])
number_points = st.lists(st.builds(NumberDataPoint, attributes, times, times, numbers, exemplars), max_size=2)
buckets = st.builds(Buckets, st.integers(-(2**31), 2**31 - 1), st.lists(counts, max_size=4))
histogram_points = st.builds(
    HistogramDataPoint,
    attributes,
    times,
    times,
    counts,
    numbers,
    st.lists(counts, max_size=4),
    st.lists(st.floats(), max_size=3),
    numbers,
    numbers,
    exemplars,
)
exponential_points = st.builds(
    ExponentialHistogramDataPoint,
    attributes,
    times,
    times,
    counts,
    numbers,
    st.integers(-10, 20),
    counts,
    buckets,
    buckets,
    st.integers(0, 1),
    numbers,
    numbers,
    exemplars,
)
data = (
    st.builds(Gauge, number_points)
    | st.builds(Sum, number_points, temporalities, st.booleans())
    | st.builds(Histogram, st.lists(histogram_points, max_size=2), temporalities)
    | st.builds(ExponentialHistogram, st.lists(exponential_points, max_size=2), temporalities)
)
metrics = st.builds(Metric, texts, st.none() | texts, st.none() | texts, data)
scopes = st.builds(InstrumentationScope, texts, st.none() | texts, st.none() | texts, st.just({"a": 1}) | st.none())
scope_metrics = st.builds(ScopeMetrics, scopes, st.lists(metrics, max_size=3), texts)
resources = st.builds(
    Resource, st.dictionaries(st.text("abc.", min_size=1), st.text("xyz") | st.integers(), max_size=2)
)
batches = st.builds(
    MetricsData, st.lists(st.builds(ResourceMetrics, resources, st.lists(scope_metrics, max_size=2), texts), max_size=2)
)
KINDS = {Gauge: "gauge", Sum: "sum", Histogram: "histogram", ExponentialHistogram: "exponential_histogram"}


def flat(batch):
    for resource_metrics in batch.resource_metrics:
        for scope in resource_metrics.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    yield resource_metrics, scope, metric, point


@given(batches)
def test_every_point_reads_back_from_its_own_line_as_it_was(batch):
    points = list(flat(batch))
    before = repr([point for *_, point in points])
    lines = parsed(json_lines(Context.background(), batch))
    assert repr([point for *_, point in points]) == before
    assert len(lines) == len(points)
    for line, (resource_metrics, scope, metric, point) in zip(lines, points, strict=True):
        assert nanoseconds(line["time"]) == point.time_unix_nano
        assert nanoseconds(line["start_time"]) == point.start_time_unix_nano
        assert line["resource"] == {
            "attributes": dict(resource_metrics.resource.attributes),
            "schema_url": resource_metrics.schema_url,
        }
        assert line["scope"] == {
            "name": scope.scope.name,
            "version": scope.scope.version or "",
            "attributes": dict(scope.scope.attributes),
            "schema_url": scope.schema_url,
        }
        assert (line["metric"], line["unit"]) == (metric.name, metric.unit or "")
        assert line["description"] == (metric.description or "")
        assert line["kind"] == KINDS[type(metric.data)]
        temporality = getattr(metric.data, "aggregation_temporality", None)
        assert line["temporality"] == (temporality and temporality.name.lower())
        assert line["monotonic"] == getattr(metric.data, "is_monotonic", None)
        assert is_same(point.attributes, line["attributes"])
        for exemplar, read in zip(point.exemplars, line["exemplars"], strict=True):
            assert is_same(exemplar.filtered_attributes, read["attributes"])
            assert is_same(exemplar.value, read["value"])
            assert nanoseconds(read["time"]) == exemplar.time_unix_nano
            assert read["trace_id"] is None or len(read["trace_id"]) == 32
            assert (read["trace_id"] and int(read["trace_id"], 16)) == exemplar.trace_id
            assert read["span_id"] is None or len(read["span_id"]) == 16
            assert (read["span_id"] and int(read["span_id"], 16)) == exemplar.span_id
        if isinstance(point, NumberDataPoint):
            assert is_same(point.value, line["value"])
            continue
        for field in ("count", "sum", "min", "max"):
            assert is_same(getattr(point, field), line[field])
        if isinstance(point, HistogramDataPoint):
            assert is_same(point.explicit_bounds, line["bounds"])
            assert line["bucket_counts"] == point.bucket_counts
            continue
        assert (line["scale"], line["zero_count"], line["flags"]) == (point.scale, point.zero_count, point.flags)
        for side in ("positive", "negative"):
            assert line[side]["offset"] == getattr(point, side).offset
            assert line[side]["bucket_counts"] == getattr(point, side).bucket_counts


def line_of(value, batch):
    (line,) = json_lines(Context.background(), batch(("m", value, {}))).splitlines()
    return line


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53 + 1, "9007199254740993"),
        (-(2**63), "-9223372036854775808"),
        (0.1, "0.1"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (math.nan, '"NaN"'),
        (math.inf, '"Infinity"'),
        (-math.inf, '"-Infinity"'),
    ],
)
def test_a_number_is_written_as_otlp_json_writes_it_or_as_json_number(value, text, batch):
    assert f'"value":{text},' in line_of(value, batch)


def test_an_integer_with_more_digits_than_python_writes_is_hexadecimal(batch):
    assert f'"value":"{hex(-(10**5000))}",' in line_of(-(10**5000), batch)


def test_numbers_that_are_neither_int_nor_float_are_still_numbers(batch):
    class Index:
        def __index__(self):
            return 7

    class Real:
        def __float__(self):
            return 0.5

    assert '"value":7,' in line_of(Index(), batch)
    assert '"value":0.5,' in line_of(Real(), batch)


def test_hand_made_data_may_lack_its_scope_and_exemplars():
    point = NumberDataPoint({}, None, 1, 1, exemplars=None)
    scope = ScopeMetrics(None, [Metric("m", "", "", Gauge([point]))], "")
    (line,) = json_lines(Context.background(), MetricsData([ResourceMetrics(Resource({}), [scope], "")])).splitlines()
    assert json.loads(line)["scope"]["name"] == ""
    assert json.loads(line)["exemplars"] == []


def test_a_lone_surrogate_survives_as_its_escape(batch):
    text = json_lines(Context.background(), batch(("m", 1, {"file": "a\udcffb"})))
    assert r'"file":"a\udcffb"' in text
    assert json.loads(text)["attributes"] == {"file": "a\udcffb"}


def test_line_separators_of_unicode_do_not_end_a_line(batch):
    assert len(json_lines(Context.background(), batch(("m", 1, {"a": "x\u2028y\x85z\n"}))).splitlines()) == 1


def test_an_absent_sum_minimum_or_maximum_is_null(batch):
    point = HistogramDataPoint({}, 0, 1, 1, None, [1], [], None, None)
    metric = Metric("h", "", "", Histogram([point], AggregationTemporality.DELTA))
    line = json.loads(json_lines(Context.background(), batch(metric)))
    assert (line["sum"], line["min"], line["max"], line["start_time"]) == (None, None, None, None)


def test_data_of_an_unknown_kind_is_an_error_that_names_the_metric(batch):
    class Summary:
        data_points = ()

    with pytest.raises(ExporterError, match=r"'odd'.*Summary"):
        json_lines(Context.background(), batch(Metric("odd", "", "", Summary())))


def test_rendering_ends_when_its_context_does(batch):
    context = Context.background()

    class Points(list):
        def __iter__(self):
            for position, point in enumerate(super().__iter__()):
                if position == 10:
                    context.cancel("enough")
                yield point

    points = Points([NumberDataPoint({}, 1, 2, 3)] * 5000)
    with pytest.raises(ContextCancelledError, match="enough"):
        json_lines(context, batch(Metric("m", "", "", Gauge(points))))
