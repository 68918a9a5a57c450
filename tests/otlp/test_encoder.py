"""What the encoder sends, beside the official encoder of OpenTelemetry."""

import math
import threading
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
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

from exporter_core.otlp import DroppedPoint, Encoder, JsonEncoder, encode

relaxed = settings(suppress_health_check=list(HealthCheck), deadline=None)


both = pytest.mark.parametrize("make_encoder", [Encoder, JsonEncoder])


def text_of(message):
    """A message as text: NaN equals itself there."""
    return str(message)


@relaxed
@given(data=st.data())
def test_any_metrics_parse_to_the_message_of_the_official_encoder(data, metrics_data, official, parse):
    metrics = data.draw(metrics_data)
    assert text_of(parse(encode(metrics))) == text_of(official(metrics))


@pytest.mark.parametrize("trusted", [False, True])
@relaxed
@given(data=st.data())
def test_one_encoder_used_again_and_again_sends_what_a_fresh_one_would(data, metrics_data, trusted):
    encoder = Encoder(trusted=trusted)
    for metrics in data.draw(st.lists(metrics_data, max_size=3)):
        first = encoder.encode(metrics)
        assert not first.dropped
        assert first.data == encoder.encode(metrics).data == encode(metrics)


SCALARS = st.sampled_from([0, 1, True, False, 0.0, -0.0, 1.0, "", "1", b"", b"1", None, (1,), (True,), [1], [True]])


@relaxed
@given(
    versions=st.lists(st.lists(st.dictionaries(st.sampled_from("abc"), SCALARS), min_size=3, max_size=3), max_size=5)
)
def test_mappings_changed_in_place_are_encoded_as_they_are(build, official, parse, versions):
    mappings = [{}, {}, {}]
    metrics = build.sums(*mappings)
    encoder = Encoder()
    for version in versions:
        for mapping, content in zip(mappings, version, strict=True):
            mapping.clear()
            mapping.update(content)
        assert parse(encoder.encode(metrics).data) == official(metrics)


def test_values_swapped_between_reordered_keys_are_seen(build, official, parse):
    mapping = {"a": 1, "b": True}
    metrics = build.sums(mapping)
    encoder = Encoder()
    encoder.encode(metrics)
    mapping.clear()
    mapping.update({"b": 1, "a": True})
    assert parse(encoder.encode(metrics).data) == official(metrics)


def test_a_list_inside_an_attribute_changed_in_place_is_seen(build, official, parse):
    inner = [1, {"deep": [2]}]
    metrics = build.sums({"a": inner}, {"b": "text"})
    encoder = Encoder()
    encoder.encode(metrics)
    inner[1]["deep"].append(3)
    assert parse(encoder.encode(metrics).data) == official(metrics)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([{"a": 1}, {}], [{}, {"a": 1}]),
        ([{"a": 1, "b": 2}, {}], [{"a": 1}, {"b": 2}]),
        ([{"a": 1}, {"a": 2, "b": 3}], [{"a": 1}, {"b": 3, "a": 2}]),
        ([{"a": "x"}, {"a": "y"}], [{"a": "y"}, {"a": "x"}]),
        ([{"a": "x"}, {"a": "y"}], [{"b": "x"}, {"b": "y"}]),
        ([{"a": "x"}, {"a": "y"}], [{"a": "x"}, {"a": ["y"]}]),
        ([{"a": "x"}, {"a": "y"}], [{"a": "x", "b": "y"}, {}]),
        ([{}, {}], [{"a": 1}, {}]),
    ],
)
def test_what_moves_between_mappings_is_seen(build, official, parse, before, after):
    mappings = [{}, {}]
    metrics = build.sums(*mappings)
    encoder = Encoder()
    for contents in (before, after, before):
        for mapping, content in zip(mappings, contents, strict=True):
            mapping.clear()
            mapping.update(content)
        assert parse(encoder.encode(metrics).data) == official(metrics)


def test_equal_texts_in_other_mappings_are_encoded_alike(build):
    encoder = Encoder()
    for _ in range(2):
        metrics = build.sums(*({"n": f"text {n}"} for n in range(3)))
        assert encoder.encode(metrics).data == encode(metrics)


@pytest.mark.parametrize("joint", ["", "\0", " "])
@pytest.mark.parametrize("after", [("x", "yz"), ("xy", 0), ("xy", "z", "")])
def test_texts_made_anew_at_each_export_are_told_apart_wherever_they_are_cut(build, official, parse, joint, after):
    def made(*values):
        anew = [joint.join(value) if isinstance(value, str) else value for value in values]
        return build.sums(dict(zip("abc", anew, strict=False)), {"a": "other text"})

    encoder = Encoder()
    for values in (("xy", "z"), ("xy", "z"), ("xy", "z"), after, after, after, ("xy", "z")):
        metrics = made(*values)
        assert parse(encoder.encode(metrics).data) == official(metrics)


class Liar:
    """Equals everything."""

    def __eq__(self, other):
        return True

    __hash__ = None  # type: ignore[assignment]


def test_a_value_that_only_claims_to_be_equal_is_seen(build):
    mapping = {"a": "x"}
    encoder = Encoder()
    encoder.encode(build.sums(mapping))
    mapping["a"] = Liar()
    (dropped,) = encoder.encode(build.sums(mapping)).dropped
    assert dropped.reason == "attribute 'a': a value of type Liar has no OTLP form"


def surrounded(resource, scope, metric):
    """A point within these."""
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, [metric], "")], "")])


@both
def test_whatever_changes_around_the_points_is_encoded_as_it_is(build, make_encoder):
    def summed(**changes):
        fields = {"description": "d", "unit": "u", "temporality": AggregationTemporality.DELTA, "monotonic": True}
        fields |= changes
        total = Sum([build.point({})], fields["temporality"], fields["monotonic"])
        return Metric("m", fields["description"], fields["unit"], total)

    resource, scope = Resource({"a": 1}), InstrumentationScope("s", "1")
    versions = [
        surrounded(resource, scope, summed()),
        surrounded(Resource({"a": True}), scope, summed()),
        surrounded(Resource({"a": 1}, "url"), scope, summed()),
        surrounded(resource, InstrumentationScope("s", "2"), summed()),
        surrounded(resource, InstrumentationScope("s", "1", "", {"x": "y"}), summed()),
        surrounded(resource, scope, summed(description="other")),
        surrounded(resource, scope, summed(unit="")),
        surrounded(resource, scope, summed(temporality=AggregationTemporality.CUMULATIVE)),
        surrounded(resource, scope, summed(monotonic=False)),
        surrounded(resource, scope, Metric("m", "d", "u", Gauge([build.point({})]))),
    ]
    encoder = make_encoder()
    for metrics in (*versions, *reversed(versions)):
        assert encoder.encode(metrics).data == make_encoder().encode(metrics).data


@both
def test_scopes_of_one_name_with_metrics_of_one_name_are_kept_apart(build, make_encoder):
    def metrics(tenants):
        scopes = [
            ScopeMetrics(InstrumentationScope("s", "1", "", {"tenant": tenant}), [build.counter(build.point({}))], "")
            for tenant in tenants
        ]
        return MetricsData([ResourceMetrics(Resource({}), scopes, "")])

    encoder = make_encoder()
    for tenants in ("abc", "abc", "bc", "cb"):
        assert encoder.encode(metrics(tenants)).data == make_encoder().encode(metrics(tenants)).data


def test_a_metric_without_a_temporality_is_dropped_point_by_point(build):
    metric = Metric("odd", "", "", Sum([build.point({})], None, is_monotonic=True))
    encoded = Encoder().encode(build.data(metric, build.counter(build.point({}))))
    assert [point.metric for point in encoded.dropped] == ["odd"]
    assert encoded.points == 1


def test_a_resource_attribute_changed_in_place_is_seen(build, official, parse):
    metrics = build.sums({})
    inner = metrics.resource_metrics[0].resource._attributes._dict
    encoder = Encoder()
    for value in ("a", "b", 1, True, ("x",)):
        inner["key"] = value
        assert parse(encoder.encode(metrics).data) == official(metrics)


BOUNDS = (1.0, 2.5)


@relaxed
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 2**64 - 1),
            st.one_of(st.none(), st.floats(allow_nan=False), st.just(3)),
            st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=3),
        ),
        min_size=2,
        max_size=5,
    )
)
def test_histograms_of_one_metric_alike_or_not_parse_to_the_official_message(build, official, parse, rows):
    points = [
        HistogramDataPoint({"n": n}, time, 5, time, number, counts, BOUNDS, number, number)
        for n, (time, number, counts) in enumerate(rows)
    ]
    metrics = build.data(Metric("h", "", "", Histogram(points, AggregationTemporality.DELTA)))
    encoder = Encoder()
    for _ in range(2):
        assert text_of(parse(encoder.encode(metrics).data)) == text_of(official(metrics))


@pytest.mark.parametrize("odd", ["nothing", "time", "value", "start", "exemplar", "attributes"])
def test_more_points_than_are_written_at_once_parse_to_the_official_message(build, official, parse, odd):
    points = [NumberDataPoint({"n": str(n)}, n, 7, n) for n in range(1100)]
    at = points[700]
    if odd == "time":
        points[700] = NumberDataPoint(at.attributes, at.start_time_unix_nano, 8, 1)
    elif odd == "value":
        points[700] = NumberDataPoint(at.attributes, at.start_time_unix_nano, 7, 1.5)
    elif odd == "start":
        points[700] = NumberDataPoint(at.attributes, None, 7, 1)
    elif odd == "exemplar":
        at.exemplars.append(Exemplar({"e": 1}, 1, 2, 3, 4))
    elif odd == "attributes":
        at.attributes["more"] = [1]
    metrics = build.data(build.counter(*points))
    encoder = Encoder()
    for _ in range(2):
        assert parse(encoder.encode(metrics).data) == official(metrics)


def test_a_trusting_encoder_takes_the_same_mapping_for_the_same_content(build):
    mapping = {"a": "x"}
    metrics = build.sums(mapping)
    encoder = Encoder(trusted=True)
    before = encoder.encode(metrics).data
    mapping["a"] = "y"
    assert encoder.encode(metrics).data == before


def test_a_trusting_encoder_does_not_confuse_mappings(build):
    encoder = Encoder(trusted=True)
    for value in range(50):
        metrics = build.sums({"a": value}, {"b": value})
        assert encoder.encode(metrics).data == encode(metrics)


def test_series_that_come_go_and_change_places_are_encoded_as_they_are(build):
    a, b, c = {"s": "a"}, {"s": 2}, {"s": "c"}
    encoder = Encoder()
    for order in ([a, b, c], [c, a], [b], [a, b, c], [c, b, a], []):
        metrics = build.sums(*order)
        assert encoder.encode(metrics).data == encode(metrics)


def test_series_that_are_not_seen_are_forgotten(build):
    encoder = Encoder()
    encoder.encode(build.sums({"a": "1"}, {"a": "2"}))
    assert encoder.cached_series == 2
    encoder.encode(build.sums({"a": "3"}))
    assert encoder.cached_series == 1
    encoder.encode(MetricsData([]))
    assert encoder.cached_series == 0


def test_no_more_series_are_kept_than_allowed(build):
    encoder = Encoder(max_series=3)
    two = [build.counter(build.point({"a": "1"}), build.point({"a": "2"}), name=name) for name in ("x", "y")]
    metrics = build.data(*two)
    assert encoder.encode(metrics).data == encoder.encode(metrics).data == encode(metrics)
    assert encoder.cached_series == 2


def test_two_metrics_of_one_name_are_both_sent(build, official, parse):
    metrics = build.data(build.counter(build.point({"a": "1"})), build.counter(build.point({"a": "2"})))
    encoder = Encoder()
    encoder.encode(metrics)
    assert parse(encoder.encode(metrics).data) == official(metrics)


def kinds_of_data(attributes):
    """One point of each kind, all with the same attributes."""
    cumulative = AggregationTemporality.CUMULATIVE
    number = NumberDataPoint(attributes, 1, 2, 3)
    histogram = HistogramDataPoint(attributes, 1, 2, 1, 3.0, [1, 0], [5.0], 3.0, 3.0)
    buckets = Buckets(0, [1])
    exponential = ExponentialHistogramDataPoint(attributes, 1, 2, 1, 3.0, 0, 0, buckets, buckets, 0, 3.0, 3.0)
    return [
        Sum([number], cumulative, is_monotonic=True),
        Gauge([number]),
        Histogram([histogram], cumulative),
        ExponentialHistogram([exponential], cumulative),
    ]


@both
@pytest.mark.parametrize(("first", "second"), list(permutations(range(4), 2)))
def test_a_metric_that_becomes_one_of_another_kind_is_encoded_as_that(build, make_encoder, first, second):
    """As happens with delta temporality, where a counter and a histogram of one name are reported in turn."""
    attributes = {"branch": "north"}
    data = kinds_of_data(attributes)
    encoder = make_encoder()
    for position in (first, second, first):
        metrics = build.data(Metric("duration", "", "", data[position]))
        assert encoder.encode(metrics).data == make_encoder().encode(metrics).data


DEEP: list = []
for _ in range(200):
    DEEP = [DEEP]
ENDLESS: dict = {}
ENDLESS["again"] = ENDLESS


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"big": 2**63}, "attribute 'big': 9223372036854775808 does not fit a signed 64-bit integer"),
        ({"huge": 10**5000}, "attribute 'huge': an integer of 16610 bits does not fit a signed 64-bit integer"),
        ({"cut": "\ud800"}, "attribute 'cut': a text with a lone surrogate has no UTF-8 form"),
        ({"\udfff": 1}, "attribute '\\udfff': a text with a lone surrogate has no UTF-8 form"),
        ({"odd": {1, 2}}, "attribute 'odd': a value of type set has no OTLP form"),
        ({"in": [{"x": object}]}, "attribute 'in': a value of type type has no OTLP form"),
        ({7: "x"}, "attribute 7: a key is a text, not int"),
        ({"deep": DEEP}, "attribute 'deep': values are nested deeper than 30 levels"),
        (ENDLESS, "attribute 'again': values are nested deeper than 30 levels"),
        ("text", "attributes are not a readable mapping: 'str' object has no attribute 'items'"),
    ],
)
@both
def test_a_point_whose_attributes_have_no_place_in_the_format_is_dropped_and_named(
    build, make_encoder, attributes, reason
):
    good = {"good": "yes"}
    encoder = make_encoder()
    for _ in range(2):
        encoded = encoder.encode(build.sums(good, attributes, good))
        assert encoded.dropped == (DroppedPoint("requests", reason),)
        assert encoded.points == 2
        assert encoded.data == make_encoder().encode(build.sums(good, good)).data


@pytest.mark.parametrize("bad", ["cut \ud800", 2**63, object, {1, 2}])
@both
def test_a_bad_value_among_many_good_ones_costs_its_own_point_alone(build, make_encoder, bad):
    good = [{"n": f"text {n}" if n % 3 else n, "same": True} for n in range(60)]
    mixed = [*good[:40], {"n": bad, "same": True}, {"odd": [1]}, *good[40:]]
    encoder = make_encoder()
    for _ in range(2):
        encoded = encoder.encode(build.sums(*mixed))
        assert [point.reason.split(":")[0] for point in encoded.dropped] == ["attribute 'n'"]
        assert encoded.data == make_encoder().encode(build.sums(*good[:40], {"odd": [1]}, *good[40:])).data
    mixed[41]["odd"].append(2)
    assert encoder.encode(build.sums(*mixed)).data == make_encoder().encode(build.sums(*mixed)).data


@both
def test_metrics_and_points_that_cannot_be_sent_leave_the_requests_of_the_others_whole(build, make_encoder):
    metrics = build.data(
        build.counter(build.point({}), name="\ud800"),
        build.counter(build.point({"a": 2**64}), name="all bad"),
        build.counter(*(build.point({"n": n}, n) for n in range(5)), name="good"),
        Metric("odd", "", "", "data"),
    )
    good = build.data(build.counter(*(build.point({"n": n}, n) for n in range(5)), name="good"))
    encoder = make_encoder()
    for _ in range(2):
        requests = encoder.split(metrics, max_points=2)
        assert [request.data for request in requests] == [
            request.data for request in make_encoder().split(good, max_points=2)
        ]
        assert sorted(point.metric for point in requests.dropped) == ["all bad", "odd", "\ud800"]


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400, "text", None])
@both
def test_a_point_whose_value_does_not_fit_is_dropped_and_named(build, make_encoder, value):
    points = [build.point({"a": "x"}, 5), build.point({"a": "y"}, value)]
    encoded = make_encoder().encode(build.data(build.counter(*points)))
    assert [(point.metric, point.reason.split(":")[0]) for point in encoded.dropped] == [("requests", "value")]
    assert encoded.data == make_encoder().encode(build.data(build.counter(points[0]))).data


def test_a_metric_all_of_whose_points_are_dropped_is_not_sent(build):
    encoded = Encoder().encode(build.data(build.counter(build.point({"a": 2**64})), build.counter(name="kept")))
    assert len(encoded.dropped) == 1
    assert encoded.data == encode(build.data(build.counter(name="kept")))


@both
def test_a_metric_whose_name_has_no_utf8_form_is_dropped_point_by_point(build, make_encoder):
    encoded = make_encoder().encode(build.data(build.counter(build.point({}), build.point({"a": "b"}), name="\ud800")))
    assert len(encoded.dropped) == 2
    assert encoded.points == 0


@both
def test_a_metric_without_points_whose_name_has_no_utf8_form_is_left_out_of_every_export(build, make_encoder):
    full = build.counter(*[build.point({"number": number}) for number in range(20)])
    encoder = make_encoder()
    for _ in range(3):
        encoded = encoder.encode(build.data(full, build.counter(name="\ud800")))
        assert encoded.data == make_encoder().encode(build.data(full)).data


def test_data_of_an_unknown_type_is_reported(build):
    encoded = Encoder().encode(build.data(Metric("odd", "", "", "data")))
    assert encoded.dropped == (DroppedPoint("odd", "data of type str has no OTLP form"),)


@both
def test_a_resource_attribute_that_does_not_fit_is_left_out_and_the_points_are_sent(build, make_encoder):
    metrics = build.sums({"a": "x"})
    metrics.resource_metrics[0].resource._attributes._dict["big"] = 2**70
    encoder = make_encoder()
    for _ in range(2):
        encoded = encoder.encode(metrics)
        assert encoded.omitted == (
            "resource: attribute 'big': an integer of 71 bits does not fit a signed 64-bit integer",
        )
        assert encoded.points == 1
        assert encoded.data == make_encoder().encode(build.sums({"a": "x"})).data


def test_extreme_numbers_are_sent_exactly(build, parse):
    values = [2**63 - 1, -(2**63), math.inf, -math.inf, 5e-324, -0.0]
    points = [build.point({"n": str(number)}, value) for number, value in enumerate(values)]
    request = parse(encode(build.data(Metric("g", "", "", Gauge(points)))))
    sent = request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    assert [repr(getattr(point, point.WhichOneof("value"))) for point in sent] == [repr(value) for value in values]


@both
def test_threads_sharing_an_encoder_get_what_they_handed_in(build, make_encoder):
    encoder = make_encoder()
    datasets = [build.sums(*({"worker": worker, "n": str(n)} for n in range(50))) for worker in range(4)]
    expected = [make_encoder().encode(metrics).data for metrics in datasets]
    wrong: list[int] = []
    start = threading.Barrier(4)

    def work(worker: int) -> None:
        start.wait(10)
        wrong.extend(worker for _ in range(100) if encoder.encode(datasets[worker]).data != expected[worker])

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
