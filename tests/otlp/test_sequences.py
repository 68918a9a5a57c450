"""Sequences of exports that programs make, each through one encoder, beside the official encoder."""

import math
import threading
from http import HTTPStatus
from socket import AddressFamily

import pytest
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

from exporter_core.otlp import Encoder, few

DELTA, CUMULATIVE = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE
RESOURCE, OTHER_RESOURCE = Resource({"service.name": "shop"}), Resource({"service.name": "till"})
SCOPE, OTHER_SCOPE = InstrumentationScope("a", "1"), InstrumentationScope("b", "2", "", {"k": "v"})


@pytest.fixture(autouse=True, params=[-1, 16], ids=["with layouts", "point by point"])
def few_points(request, monkeypatch):
    monkeypatch.setattr(few, "FEW", request.param)


def point(attributes, value=1, start=1, exemplars=()):
    return NumberDataPoint(attributes, start, 2, value, list(exemplars))


def total(*points, name="sum", temporality=CUMULATIVE):
    return Metric(name, "d", "1", Sum(list(points), temporality, is_monotonic=True))


def gauge(*points, name="gauge"):
    return Metric(name, "", "", Gauge(list(points)))


def histogram(attributes, counts, bounds=(1.0, 2.0), name="histogram"):
    low = 0.5 if sum(counts) else None
    points = [HistogramDataPoint(attributes, 1, 2, sum(counts), 1.5, counts, bounds, low, low)]
    return Metric(name, "", "s", Histogram(points, CUMULATIVE))


def exponential(attributes, counts, name="exponential"):
    buckets = Buckets(-3, counts)
    points = [
        ExponentialHistogramDataPoint(attributes, 1, 2, sum(counts), 1.5, 4, 0, buckets, Buckets(0, [0]), 0, 0.5, 1.0)
    ]
    return Metric(name, "", "s", ExponentialHistogram(points, CUMULATIVE))


def batch(*metrics, scope=SCOPE, resource=RESOURCE):
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, list(metrics), "")], "")])


def scopes(*parts):
    return MetricsData(
        [ResourceMetrics(RESOURCE, [ScopeMetrics(each, list(metrics), "") for each, metrics in parts], "")]
    )


def values_of_one_key():
    for value in (True, 1, 1.0, "1", b"1", None, (1,), [1], (True,), {"n": 1}, 0.0, -0.0, 2**63 - 1, -(2**63), True):
        yield batch(total(point({"a": value, "b": "x"}), point({"a": "x", "b": value})))


class Loud(str):
    __slots__ = ()

    def encode(self, *_arguments):
        return b"LOUD"


def texts_and_numbers_of_other_classes():
    for value in (HTTPStatus.OK, 200, AddressFamily.AF_INET, 2, HTTPStatus.NOT_FOUND, Loud("x"), "x", Loud("y")):
        yield batch(total(point({"a": value, "b": "x"}), point({"a": "x", "b": value})))


def data_that_changes_its_type():
    attributes = {"a": "x"}
    for metric in (
        gauge(point(attributes, start=None), name="m"),
        total(point(attributes), name="m"),
        total(point(attributes), name="m", temporality=DELTA),
        histogram(attributes, [1, 2, 3], name="m"),
        exponential(attributes, [1, 2], name="m"),
        gauge(point(attributes, start=None), name="m"),
    ):
        yield batch(metric, gauge(point(attributes, start=None)))


def a_scope_that_goes_and_returns():
    first, second = [total(point({"a": 1}))], [total(point({"a": 2}))]
    both, one = scopes((SCOPE, first), (OTHER_SCOPE, second)), scopes((OTHER_SCOPE, second))
    yield from (both, one, both, scopes((OTHER_SCOPE, second), (SCOPE, first)), both)


def one_name_in_several_scopes():
    for value in (1, 2):
        yield scopes(
            *((each, [total(point({"a": "x"}, value)), total(point({"a": "y"}))]) for each in (SCOPE, OTHER_SCOPE))
        )


def several_resources():
    one, other = (batch(total(point({"a": n})), resource=each) for n, each in enumerate((RESOURCE, OTHER_RESOURCE)))
    both = MetricsData([*one.resource_metrics, *other.resource_metrics])
    yield from (both, one, both, MetricsData([*other.resource_metrics, *one.resource_metrics]), other, MetricsData([]))


def scopes_without_metrics():
    yield from (scopes((SCOPE, [])), scopes((SCOPE, []), (OTHER_SCOPE, [total(point({}))])), scopes((SCOPE, [])))


def series_in_another_order():
    points = [point({"n": n, "kind": "x"}, n) for n in range(6)]
    for order in (points, points[::-1], points[3:] + points[:3], points):
        yield batch(total(*order))


def series_gone_from_the_middle():
    points = [point({"n": str(n)}, n) for n in range(8)]
    for gone in ((), (3,), (3, 4), (0, 7), ()):
        yield batch(total(*(one for n, one in enumerate(points) if n not in gone)), gauge(points[2]))


def series_that_swap_their_attributes():
    one, other = {"a": "x"}, {"a": "y"}
    for mappings in ((one, other), (other, one), (one, one), (other, other)):
        yield batch(total(*map(point, mappings)))


def keys_in_another_order():
    mapping = {"a": 1, "b": 2, "c": 3}
    metrics = batch(total(point(mapping), point(mapping)))
    for key in "abcab":
        mapping[key] = mapping.pop(key)
        yield metrics


def an_attribute_that_comes_and_goes():
    mapping = {"a": 1}
    metrics = batch(total(point(mapping), point({"a": 1})))
    for content in ({}, {"b": 2}, {}, {"a": 1}):
        yield metrics
        mapping.clear()
        mapping.update(content)
    yield metrics


def lists_inside_attributes():
    inner, deep = [1], {"k": [True]}
    metrics = batch(total(point({"a": inner, "b": [None, [1, [deep]]]}), point({"a": ["x"]})))
    for value in (True, None, "x", 1.5):
        yield metrics
        inner.append(value)
        deep["k"].append(value)
    inner.clear()
    yield metrics


def bucket_counts_changed_in_place():
    counts, exponents = [1, 0, 0], [1, 2]
    metrics = batch(histogram({"a": "x"}, counts), exponential({"a": "x"}, exponents), histogram({"a": "y"}, (3, 0, 1)))
    for number in (0, 127, 128, 300, 2**40):
        yield metrics
        counts[1] = number
        exponents.append(number)
    yield metrics


def bounds_that_change():
    for bounds in ((1.0, 2.0), (1, 2), (0.0, 2.0), (-0.0, 2.0), (1.0,), (), (1.0, 2.0), (-math.inf, 2.0)):
        yield batch(
            histogram({"a": "x"}, [1] * (len(bounds) + 1), tuple(list(bounds))),  # noqa: C414 - another object
            histogram({"a": "y"}, [2, 1, 1]),
        )


def extreme_numbers():
    values = [2**63 - 1, -(2**63), math.inf, -math.inf, math.nan, 5e-324, -0.0, 0, 1.0, 1]
    yield batch(gauge(*(point({"n": str(n)}, value, None) for n, value in enumerate(values))))
    for value in values:
        yield batch(gauge(point({"n": "x"}, value, None), point({"n": "y"}, 1.5, None)))


def times_that_come_and_go():
    for start in (1, None, 2**64 - 1, 0, 1):
        yield batch(total(point({"a": 1}, start=start), point({"a": 2}, start=1)))


def exemplars_of_every_kind():
    plain, sampled = Exemplar({}, 1.5, 7), Exemplar({}, 3, 7, 2**64 - 1, 2**128 - 1)
    filtered = Exemplar({"user": "x", "list": [1]}, 2, 7, 5, 6)
    for exemplars in ([], [plain], [sampled], [sampled, sampled], [filtered], [plain, sampled], []):
        yield batch(total(point({"a": "x" * 120}, 1, 1, exemplars), point({"a": "y"}, 1, 1, exemplars[:1]), point({})))


def exemplars_with_attributes():
    for value in ("x", "y" * 200, 1, True, None, ["x"], {"n": 1}):
        yield batch(
            total(*(point({"n": n}, 1, 1, [Exemplar({"user": str(n), "v": value}, n, 7, n, 6)]) for n in range(6))),
            total(*(point({"n": n}, 1, 1, [Exemplar({"user": value}, n, 7)] * (n % 3)) for n in range(6))),
            total(*(point({"n": n}, 1, 1, [Exemplar({"n": n} if n else None, 0.5, 7)]) for n in range(6))),
        )


def texts_of_every_length_and_script():
    for text in ("", "x", "größe", "漢" * 60, "x" * 127, "x" * 128, "x" * 20_000, "\0", "😀"):
        yield batch(total(point({text: text, "k": text})), scope=InstrumentationScope(text, text or None))


def what_is_said_of_a_metric():
    for name, description, unit in (("m", "d", "1"), ("m", "", "1"), ("m", "d", ""), ("ü", "d", "1"), ("m", "d", "1")):
        yield batch(Metric(name, description, unit, Sum([point({})], DELTA, is_monotonic=False)), total(point({})))


def metrics_added_and_removed():
    for count in (1, 2, 5, 4, 9, 1):
        yield batch(*(total(point({"n": n}), point({}), name=f"m{n}") for n in range(count)))


def resource_attributes_changed_in_place():
    resource = Resource({"service.name": "shop"})
    for value in ("a", 1, True, 1.0, ("x", "y"), "a"):
        resource.attributes._dict["key"] = value
        yield batch(total(point({})), resource=resource)


SEQUENCES = [
    values_of_one_key,
    texts_and_numbers_of_other_classes,
    data_that_changes_its_type,
    a_scope_that_goes_and_returns,
    one_name_in_several_scopes,
    several_resources,
    scopes_without_metrics,
    series_in_another_order,
    series_gone_from_the_middle,
    series_that_swap_their_attributes,
    keys_in_another_order,
    an_attribute_that_comes_and_goes,
    lists_inside_attributes,
    bucket_counts_changed_in_place,
    bounds_that_change,
    extreme_numbers,
    times_that_come_and_go,
    exemplars_of_every_kind,
    exemplars_with_attributes,
    texts_of_every_length_and_script,
    what_is_said_of_a_metric,
    metrics_added_and_removed,
    resource_attributes_changed_in_place,
]


def without_gauge_starts(request):
    """The official encoder leaves out the start time of a gauge."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for each in metric.gauge.data_points if metric.HasField("gauge") else ():
                    each.start_time_unix_nano = 0
    return str(request)


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_each_export_of_a_sequence_is_the_official_message(sequence, official, parse):
    encoder = Encoder()
    for metrics in sequence():
        for _ in range(2):
            assert without_gauge_starts(parse(encoder.encode(metrics).data)) == without_gauge_starts(official(metrics))


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_trusting_encoder_and_parts_say_the_same(sequence, official, parse):
    encoder = Encoder()
    for metrics in sequence():
        whole = encoder.encode(metrics)
        assert sum(part.points for part in encoder.split(metrics, max_points=2)) == whole.points
        assert Encoder(trusted=True).encode(metrics) == whole


def test_sequences_in_turn_through_one_encoder_are_the_official_messages(official, parse):
    encoder = Encoder()
    for batches in zip(series_in_another_order(), metrics_added_and_removed(), strict=False):
        for metrics in batches:
            assert parse(encoder.encode(metrics).data) == official(metrics)


def test_sequences_in_two_threads_through_one_encoder_are_the_official_messages(official, parse):
    encoder = Encoder()
    wrong: list[str] = []
    start = threading.Barrier(2)

    def work(sequence) -> None:
        start.wait(10)
        for metrics in [each for each in sequence() for _ in range(10)]:
            sent = without_gauge_starts(parse(encoder.encode(metrics).data))
            wrong.extend([sequence.__name__] if sent != without_gauge_starts(official(metrics)) else [])

    sequences = series_gone_from_the_middle, times_that_come_and_go
    threads = [threading.Thread(target=work, args=(each,)) for each in sequences]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
