"""One encoder over many exports, between which everything may change: structure, series, kinds, numbers, attributes."""

import copy
import enum
import gc
import threading

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from opentelemetry.attributes import BoundedAttributes
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

from exporter_core.otlp import Encoder, JsonEncoder, encode, few, is_trusted, mark_trusted

FEW = settings.default.max_examples // 2  # each is several batches
relaxed = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=FEW)
both = pytest.mark.parametrize("make_encoder", [Encoder, JsonEncoder])


class Status(enum.IntEnum):
    OK = 200


class Text(enum.StrEnum):
    ONE = "1"


TRAPS = st.sampled_from(
    [0, 1, True, False, 0.0, -0.0, 1.0, "", "1", "x", b"1", None, (1,), (True,), 200, 70_000, Status.OK, Text.ONE]
)
ANY_VALUE = st.one_of(TRAPS, st.builds(list, st.just((1,))), st.builds(str.lower, st.just("TEXT MADE ANEW")))
CONTENT = st.dictionaries(st.sampled_from("abc"), ANY_VALUE, max_size=3)
NUMBERS = st.sampled_from([0, 1, 1.0, -0.0, 300, 2**40, -5, float("inf")])
BOUNDS = [(1.0, 2.5), (0.0, 2.5), (-0.0, 2.5), (1, 2), (), (1.0, 2.5, 5.0)]
EXEMPLARS = st.sampled_from([[], [], [Exemplar({}, 1, 7, 2, 3)], [Exemplar({"a": "x"}, 1.5, 7)]])
RESOURCES = [Resource({"a": 1}), Resource({"a": True}, "url")]
SCOPES = [InstrumentationScope("s", "1"), InstrumentationScope("s", "1", "", {"k": "v"}), InstrumentationScope("t")]
TEMPORALITY = st.sampled_from([AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])


@st.composite
def numbers(draw, attributes, start):
    return NumberDataPoint(attributes, start, draw(st.sampled_from([7, 8])), draw(NUMBERS), draw(EXEMPLARS))


@st.composite
def histogram(draw, attributes):
    bounds = draw(st.sampled_from(BOUNDS))
    if draw(st.booleans()):
        bounds = tuple(list(bounds))  # noqa: C414 - another object
    counts = [draw(st.sampled_from([0, 1, 300])) for _ in range(len(bounds) + 1)]
    low = draw(st.sampled_from([None, 0.5]))
    return HistogramDataPoint(
        attributes, 1, 7, sum(counts), draw(st.sampled_from([None, 3, 2.5])), counts, bounds, low, low, draw(EXEMPLARS)
    )


@st.composite
def exponential(draw, attributes):
    buckets = Buckets(draw(st.sampled_from([-3, 0, 900])), draw(st.sampled_from([[], [1, 127], [128, 0, 2**40]])))
    return ExponentialHistogramDataPoint(
        attributes,
        1,
        7,
        2,
        1.5,
        draw(st.sampled_from([-1, 20])),
        1,
        buckets,
        Buckets(0, []),
        0,
        0.5,
        1.0,
        draw(EXEMPLARS),
    )


@st.composite
def metrics(draw, pool, least):
    attributes = draw(st.lists(st.sampled_from(pool), min_size=least, max_size=4, unique_by=id))
    kind = draw(st.sampled_from(["gauge", "sum", "histogram", "exponential"]))
    temporality = draw(TEMPORALITY)
    if kind == "gauge":
        data = Gauge([draw(numbers(mapping, None)) for mapping in attributes])
    elif kind == "sum":
        data = Sum([draw(numbers(mapping, 5)) for mapping in attributes], temporality, draw(st.booleans()))
    elif kind == "histogram":
        data = Histogram([draw(histogram(mapping)) for mapping in attributes], temporality)
    else:
        data = ExponentialHistogram([draw(exponential(mapping)) for mapping in attributes], temporality)
    return Metric(
        draw(st.sampled_from("mn")), draw(st.sampled_from(["", "d"])), draw(st.sampled_from(["1", "s"])), data
    )


@st.composite
def batches(draw, pool, least=0):
    resources = draw(st.lists(st.sampled_from(RESOURCES), max_size=2, unique_by=id))
    return MetricsData(
        [
            ResourceMetrics(
                resource,
                [
                    ScopeMetrics(scope, draw(st.lists(metrics(pool, least), max_size=4)), "")
                    for scope in draw(st.lists(st.sampled_from(SCOPES), max_size=3, unique_by=id))
                ],
                "",
            )
            for resource in resources
        ]
    )


def new_mapping(draw, mapping):
    """The same content, in another object or in this one; or another content."""
    what = draw(st.sampled_from(["same", "same", "copy", "other content", "content in place"]))
    if what == "copy":
        return dict(mapping)
    if what == "other content":
        return draw(CONTENT)
    if what == "content in place":
        mapping.clear()
        mapping.update(draw(CONTENT))
    return mapping


@both
@relaxed
@given(data=st.data())
def test_whatever_changes_between_exports_is_encoded_as_it_is(data, make_encoder):
    encoder = make_encoder()
    pool = data.draw(st.lists(CONTENT, min_size=4, max_size=6))
    batch = None
    for _ in range(data.draw(st.integers(2, 6))):
        few.FEW = data.draw(st.sampled_from([-1, 4, 16]))  # the fixture sets it back
        if batch is None or data.draw(st.booleans()):
            batch = data.draw(batches(pool))
        encoded = encoder.encode(batch)
        assert encoded == make_encoder().encode(batch)
        assert not encoded.dropped
        pool[:] = [new_mapping(data.draw, mapping) for mapping in pool]
        for mapping in pool:
            for value in mapping.values():
                if type(value) is list and data.draw(st.booleans()):
                    value.append(True)


@relaxed
@given(data=st.data())
def test_whatever_changes_parses_to_the_message_of_the_official_encoder(data, official, parse):
    encoder = Encoder()
    pool = data.draw(st.lists(CONTENT, min_size=4, max_size=6))
    for _ in range(3):
        batch = data.draw(batches(pool, least=1))
        for _ in range(2):
            assert str(parse(encoder.encode(batch).data)) == str(official(batch))
            pool[:] = [new_mapping(data.draw, mapping) for mapping in pool]


@relaxed
@given(data=st.data())
def test_a_marked_batch_is_encoded_as_it_is_if_mappings_do_not_change_in_place(data):
    encoder = Encoder()
    pool = data.draw(st.lists(CONTENT, min_size=4, max_size=6))
    for _ in range(4):
        batch = mark_trusted(data.draw(batches(pool)))
        assert encoder.encode(batch) == Encoder().encode(batch)
        pool[:] = [dict(mapping) if data.draw(st.booleans()) else mapping for mapping in pool]


def test_only_the_marked_batch_itself_is_trusted(build):
    mapping = {"a": "x"}
    marked, other = mark_trusted(build.sums(mapping)), build.sums(mapping)
    assert is_trusted(marked)
    assert not any(map(is_trusted, (other, copy.copy(marked), copy.deepcopy(marked))))
    encoder = Encoder()
    before = encoder.encode(marked).data
    mapping["a"] = "y"
    assert encoder.encode(marked).data == before
    assert encoder.encode(other).data == encode(other) != before


def test_the_mark_goes_with_the_batch(build):
    number = id(mark_trusted(build.sums({})))
    gc.collect()
    later = [build.sums({}) for _ in range(50)]
    assert not any(is_trusted(batch) for batch in later if id(batch) == number)


def test_points_of_an_export_are_not_kept_alive(build):
    points = [build.point({"n": str(number)}) for number in range(3)]
    point = build.point({})
    metrics = build.data(build.counter(*points, point))
    encoder = Encoder()
    encoder.encode(metrics)
    del metrics, points
    gc.collect()
    assert not [holder for holder in gc.get_referrers(point) if isinstance(holder, list)]


@pytest.mark.parametrize("change", ["name", "unit", "move", "empty", "more"])
@both
def test_one_change_among_many_metrics_is_seen(build, make_encoder, change):
    def batch(*, changed):
        names = [f"m{number}" for number in range(50)]
        units = ["1"] * 50
        counts = [number % 3 + 1 for number in range(50)]
        if changed and change == "name":
            names[25] = "other"
        elif changed and change == "unit":
            units[25] = "s"
        elif changed and change == "empty":
            counts[25] = 0
        elif changed and change == "more":
            counts[25] = 7
        cut = 30 if changed and change == "move" else 20
        made = [
            Metric(name, "d", unit, Gauge([build.point({"n": str(n)}, n) for n in range(count)]))
            for name, unit, count in zip(names, units, counts, strict=True)
        ]
        scopes = [ScopeMetrics(SCOPES[0], made[:cut], ""), ScopeMetrics(SCOPES[2], made[cut:], "")]
        return MetricsData([ResourceMetrics(RESOURCES[0], scopes, "")])

    encoder = make_encoder()
    for changed in (False, True, True, False, False):
        metrics = batch(changed=changed)
        assert encoder.encode(metrics) == make_encoder().encode(metrics)


@both
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("of", [dict, lambda attributes: BoundedAttributes(attributes=attributes)])
def test_where_most_series_are_new_the_first_of_each_metric_is_kept_alone_until_they_stay(
    build, make_encoder, trusted, of
):
    sources = [[of({"user": f"{turn}-{number}", "kind": "x"}) for number in range(40)] for turn in range(6)]

    def batch(turn):
        metrics = [build.counter(*map(build.point, part), name=f"{len(part)}") for part in (sources[turn], [])]
        return build.data(*metrics, build.counter(*map(build.point, sources[turn][:10]), name="ten"))

    encoder = make_encoder(trusted=trusted)
    kept = []
    for turn in (0, 1, 2, 2, 2, 3, 3, 4, 5):
        metrics = batch(turn)
        assert encoder.encode(metrics) == make_encoder().encode(metrics)
        kept.append(encoder.cached_series)
    stay = 50 if of is dict or trusted else 2  # other mappings may hand out what they like
    assert kept == [50, 2, 2, stay, stay, 2, stay, 2, 2]


@both
def test_metrics_that_come_and_go_while_most_series_are_new_are_encoded_as_they_are(build, make_encoder):
    encoder = make_encoder()
    for turn in range(12):
        metrics = build.data(
            *[
                build.counter(
                    *[build.point({"user": f"{turn // 2}-{at}"}) for at in range(at * turn % 5)], name=f"{at}"
                )
                for at in range(turn % 3, 9)
            ],
            *[build.counter(name="\ud800")] * (turn % 2),
        )
        assert encoder.encode(metrics) == make_encoder().encode(metrics)


def test_threads_with_batches_of_different_structure_get_what_they_handed_in(build):
    encoder = Encoder()
    sets = [
        build.data(
            *(build.counter(*(build.point({"w": w, "n": n}, n) for n in range(5)), name=f"m{m}") for m in range(w + 3))
        )
        for w in range(4)
    ]
    expected = [encode(metrics) for metrics in sets]
    wrong: list[int] = []
    start = threading.Barrier(4)

    def work(worker: int) -> None:
        start.wait(10)
        wrong.extend(worker for _ in range(50) if encoder.encode(sets[worker]).data != expected[worker])

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
