"""The differences from OpenTelemetry's own encoder, each as docs/otlp-codec.md has it."""

from decimal import Decimal
from importlib.metadata import version

import pytest
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
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

from exporter_core.otlp import Encoder

PROTOBUF = int(version("protobuf").partition(".")[0])
CUMULATIVE = AggregationTemporality.CUMULATIVE


def point(attributes=None, value=1, *, exemplars=()):
    return NumberDataPoint(attributes or {}, 1, 2, value, list(exemplars))


def total(*points, name="m"):
    return Metric(name, "", "", Sum(list(points), CUMULATIVE, is_monotonic=True))


def batch(*metrics, url=""):
    scope = ScopeMetrics(InstrumentationScope("s"), list(metrics), url)
    return MetricsData([ResourceMetrics(Resource({}), [scope], url)])


@pytest.fixture
def sent(parse):
    """The metrics of a request, each as text, and the reasons for which points were dropped."""

    def encode(metrics):
        encoded = Encoder().encode(metrics)
        return shown(parse(encoded.data)), [each.reason for each in encoded.dropped]

    return encode


def shown(request):
    return [
        str(metric)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


def test_the_start_time_of_a_gauge_is_sent(sent, official):
    metrics = batch(Metric("m", "", "", Gauge([point()])))
    assert "start_time_unix_nano: 1" in sent(metrics)[0][0]
    assert "start_time_unix_nano" not in shown(official(metrics))[0]


def test_a_metric_without_points_has_its_kind(sent, official):
    metrics = batch(total())
    assert "sum {" in sent(metrics)[0][0]
    assert "sum {" not in shown(official(metrics))[0]


def test_a_schema_url_that_the_resource_or_scope_does_not_have_is_sent(official, parse):
    metrics = batch(total(point()), url="https://schema")
    assert str(parse(Encoder().encode(metrics).data)).count("https://schema") == 2
    assert "https://schema" not in str(official(metrics))


@pytest.mark.parametrize(("ids", "kept"), [((5, None), "span_id"), ((None, 5), "trace_id")])
def test_one_id_of_an_exemplar_is_sent_without_the_other(sent, official, ids, kept):
    metrics = batch(total(point(exemplars=[Exemplar({}, 1, 7, *ids)])))
    assert kept in sent(metrics)[0][0]
    assert kept not in shown(official(metrics))[0]


@pytest.mark.parametrize("place", ["point", "exemplar"])
@pytest.mark.parametrize("value", [Decimal(1), 1 << 63, "\ud800"])
def test_a_point_is_dropped_whose_attributes_do_not_fit(sent, official, place, value):
    attributes = {"a": value}
    faulty = point(attributes) if place == "point" else point(exemplars=[Exemplar(attributes, 1, 7)])
    metrics = batch(total(faulty, point({"b": 2})))
    (metric,), (reason,) = sent(metrics)
    assert metric.count("data_points {") == 1
    assert reason.startswith("attribute 'a': ")
    assert shown(official(metrics))[0].count("data_points {") == 2


@pytest.mark.parametrize("value", [None, 1 << 63, "1"])
def test_a_point_is_dropped_whose_number_does_not_fit(sent, official, value):
    metrics = batch(total(point(value=value), point({"b": 2})))
    (metric,), (reason,) = sent(metrics)
    assert metric.count("data_points {") == 1
    assert reason.startswith("value: ")
    with pytest.raises(Exception, match="NumberDataPoint"):
        official(metrics)


def test_a_histogram_point_without_a_count_is_dropped(sent, official):
    lost = HistogramDataPoint({}, 1, 2, None, 1.0, [1], [], 0.5, 0.5)  # type: ignore[arg-type] # on purpose
    metrics = batch(Metric("m", "", "", Histogram([lost], CUMULATIVE)))
    assert sent(metrics) == ([], ["count: None does not fit its 64-bit field"])
    assert "sum: 1" in shown(official(metrics))[0]


def test_a_boolean_is_sent_as_an_integer(sent, official):
    metrics = batch(total(point(value=True)))
    assert "as_int: 1" in sent(metrics)[0][0]
    if PROTOBUF < 7:
        assert "as_int: 1" in shown(official(metrics))[0]
    else:
        with pytest.raises(Exception, match="boolean"):
            official(metrics)


def test_a_metric_whose_name_is_no_text_is_dropped(sent, official):
    metrics = batch(total(point(), name=b"m"))
    assert sent(metrics) == ([], ["expected a text, not bytes"])
    assert 'name: "m"' in shown(official(metrics))[0]
