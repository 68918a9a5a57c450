"""Few data points, which are written point by point: the same requests as with a layout, whatever changes."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    Sum,
)

from exporter_core.otlp import DroppedPoint, Encoder, JsonEncoder, few, mark_trusted

relaxed = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=25)
both = pytest.mark.parametrize("make_encoder", [Encoder, JsonEncoder])
MANY = few.FEW + 5
VALUES = st.sampled_from([0, 1, True, 0.0, -0.0, 1.0, "", "1", b"1", None, (1,), (True,), [1], [True]])


@pytest.fixture(autouse=True)
def few_points(monkeypatch):
    monkeypatch.setattr(few, "FEW", 16)


@contextmanager
def laid_out():
    """Encoders write everything with layouts in here."""
    before, few.FEW = few.FEW, -1
    try:
        yield
    finally:
        few.FEW = before


def of_layout(make_encoder, metrics):
    with laid_out():
        return make_encoder().encode(metrics)


@both
@relaxed
@given(data=st.data())
def test_any_few_points_are_written_as_with_a_layout(data, metrics_data, make_encoder):
    metrics = data.draw(metrics_data)
    assert make_encoder().encode(metrics) == of_layout(make_encoder, metrics)


@both
@relaxed
@given(versions=st.lists(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), min_size=2, max_size=2), max_size=5))
def test_few_mappings_changed_in_place_are_encoded_as_they_are(build, make_encoder, versions):
    mappings = [{}, {}]
    metrics = build.sums(*mappings)
    encoder = make_encoder()
    for version in versions:
        for mapping, content in zip(mappings, version, strict=True):
            mapping.clear()
            mapping.update(content)
        assert encoder.encode(metrics) == of_layout(make_encoder, metrics)


@both
def test_few_points_and_many_take_turns(build, make_encoder):
    encoder = make_encoder()
    sizes = [1, MANY, 2, 0, MANY, MANY, 3, 3, MANY + 1]
    for size in sizes:
        metrics = build.sums(*({"n": n} for n in range(size)))
        assert encoder.encode(metrics) == of_layout(make_encoder, metrics)
        assert encoder.cached_series == size


@both
def test_whatever_is_said_of_few_metrics_is_encoded_as_it_is(build, make_encoder):
    point = build.point({"a": 1})
    delta, cumulative = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE
    encoder = make_encoder()
    for name, unit, data in (
        ("m", "1", Sum([point], delta, is_monotonic=True)),
        ("m", "1", Sum([point], delta, is_monotonic=False)),
        ("m", "1", Sum([point], cumulative, is_monotonic=False)),
        ("m", "s", Sum([point], cumulative, is_monotonic=False)),
        ("n", "s", Gauge([point])),
        ("n", "s", Gauge([])),
    ):
        metrics = build.data(Metric(name, "", unit, data))
        assert encoder.encode(metrics) == of_layout(make_encoder, metrics)


@both
def test_a_marked_batch_of_few_points_is_trusted(build, make_encoder):
    mapping = {"a": "x"}
    marked, other = mark_trusted(build.sums(mapping)), build.sums(mapping)
    encoder = make_encoder()
    before = encoder.encode(marked)
    mapping["a"] = "y"
    assert encoder.encode(marked) == before
    assert encoder.encode(other) == make_encoder().encode(other) != before


@both
def test_one_mapping_of_points_of_several_kinds_is_written_for_each(build, make_encoder):
    mapping = {"a": "x"}
    points = [build.point(mapping), build.point(mapping, 2.5)]
    metrics = build.data(Metric("g", "", "", Gauge(points)), build.counter(*points))
    encoder = make_encoder()
    for _ in range(2):
        assert encoder.encode(metrics) == of_layout(make_encoder, metrics)


class NoTruth(dict):
    """Attributes that cannot be asked if there are any."""

    def __bool__(self):
        raise ValueError("neither")


@both
def test_many_metrics_without_attributes_are_written_as_with_a_layout(build, make_encoder):
    encoder = make_encoder()
    cumulative = AggregationTemporality.CUMULATIVE

    def batch(*sources, value):
        number = build.point({}, value)
        gauge = replace(build.point({}, value / 2), start_time_unix_nano=None)
        histogram = HistogramDataPoint({}, 1, 2, 3, 4.5, (1, 2), (0.5,), value, None if value % 2 else 7)
        metrics = [
            Metric(f"{at}", "text", "s", data)
            for at in range(10)
            for data in (Sum([number], cumulative, at % 2 == 0), Gauge([gauge]), Histogram([histogram], cumulative))
        ]
        return build.data(*metrics, *[build.counter(build.point(source)) for source in sources])

    for turn, sources in enumerate(([], [], [{}], [{"a": "x"}], [], [NoTruth(a=1)], [{}], [{}] * MANY * 2, [])):
        metrics = batch(*sources, value=turn)
        encoded = encoder.encode(metrics)
        assert encoded == of_layout(make_encoder, metrics)
        assert encoder.cached_series == encoded.points == 30 + len(sources) - len(encoded.dropped)


@both
def test_any_number_of_metrics_without_attributes_are_few_in_the_first_encoding_alone(build, make_encoder):
    def batch(value, unit="1"):
        return build.data(
            *[replace(build.counter(build.point({}, value), name=f"{number}"), unit=unit) for number in range(200)]
        )

    encoder = make_encoder()
    for value, unit in enumerate(("1", "1", "s", "s")):
        metrics = batch(value, unit)
        few_points = few.has_few_points(metrics, encoder._kept, 200)
        assert few_points == (value == 0)
        assert encoder.encode(metrics) == of_layout(make_encoder, metrics)
    assert encoder._kept.layout is not None


@both
def test_no_more_metrics_without_attributes_are_few_than_may_be_kept(build, make_encoder):
    metrics = build.data(*[build.counter(build.point({}), name=f"{number}") for number in range(200)])
    encoder = make_encoder(max_series=199)
    assert encoder.encode(metrics) == of_layout(make_encoder, metrics)
    assert encoder.cached_series <= 199


@both
def test_a_metric_whose_name_is_no_text_is_dropped_alike_before_and_after_few(build, make_encoder):
    good = [build.counter(build.point({}), name=f"{number}") for number in range(200)]
    encoder = make_encoder()
    encoder.encode(build.data(*good))
    metrics = build.data(*good, build.counter(build.point({}), name=["list"]))
    assert encoder.encode(metrics) == of_layout(make_encoder, metrics)


@pytest.mark.parametrize("attributes", [{"big": 2**63}, {"cut": "\ud800"}, {7: "x"}, "text"])
@both
def test_a_point_among_few_that_has_no_place_in_the_format_is_dropped(build, make_encoder, attributes):
    metrics = build.sums({"good": "yes"}, attributes)
    encoded = make_encoder().encode(metrics)
    assert encoded == of_layout(make_encoder, metrics)
    assert len(encoded.dropped) == encoded.points == 1


def test_data_of_an_unknown_type_among_few_is_reported(build):
    encoded = Encoder().encode(build.data(Metric("odd", "", "", "data"), build.counter(build.point({}))))
    assert encoded.dropped == (DroppedPoint("odd", "data of type str has no OTLP form"),)
    assert encoded.points == 1


@both
def test_few_points_are_split_where_a_limit_asks_for_it(build, make_encoder):
    metrics = build.sums({"n": 1}, {"n": 2}, {"n": 3})
    encoder = make_encoder()
    whole = encoder.encode(metrics).data
    assert [one.data for one in encoder.split(metrics, max_points=3, max_bytes=len(whole))] == [whole]
    assert [one.points for one in encoder.split(metrics, max_points=2)] == [2, 1]
    assert [one.points for one in encoder.split(metrics, max_bytes=len(whole) - 1)] == [2, 1]
    assert not len(encoder.split(MetricsData([])))


@both
def test_threads_with_few_points_and_many_get_what_they_handed_in(build, make_encoder):
    encoder = make_encoder()
    sets = [build.sums(*({"worker": worker, "n": n} for n in range(size))) for worker, size in enumerate((1, 3, MANY))]
    expected = [make_encoder().encode(metrics) for metrics in sets]
    wrong: list[int] = []
    start = threading.Barrier(3)

    def work(worker: int) -> None:
        start.wait(10)
        wrong.extend(worker for _ in range(50) if encoder.encode(sets[worker]) != expected[worker])

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
