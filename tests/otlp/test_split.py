"""One batch as several requests, within limits of points and of bytes."""

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core.otlp import Encoder, JsonEncoder, decode, decode_json

relaxed = settings(suppress_health_check=list(HealthCheck), deadline=None)
CODINGS = [pytest.param(Encoder, decode, id="protobuf"), pytest.param(JsonEncoder, decode_json, id="json")]


def points_of(metrics, content):
    """Every point with all that it belongs to, in order."""
    return [
        (
            content(resource.resource),
            content(scope.scope),
            (metric.name, metric.description, metric.unit, type(metric.data).__name__),
            getattr(metric.data, "aggregation_temporality", None),
            getattr(metric.data, "is_monotonic", None),
            content(point),
        )
        for resource in metrics.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


@pytest.mark.parametrize(("encoder", "decode_one"), CODINGS)
@relaxed
@given(data=st.data())
def test_points_arrive_once_in_order_unless_too_long_and_no_request_is_beyond_its_limits(
    encoder, decode_one, data, metrics_data, content
):
    metrics = data.draw(metrics_data)
    max_points = data.draw(st.one_of(st.none(), st.integers(1, 4)))
    max_bytes = data.draw(st.one_of(st.none(), st.integers(200, 3000)))
    requests = encoder().split(metrics, max_points=max_points, max_bytes=max_bytes)
    arrived = []
    for request in requests:
        assert max_bytes is None or len(request.data) <= max_bytes
        points = points_of(decode_one(request.data), content)
        assert 1 <= request.points == len(points) <= (max_points or request.points)
        arrived += points
    given_points = points_of(metrics, content)
    assert requests.points == len(arrived) == len(given_points) - len(requests.dropped)
    assert max_bytes or not requests.dropped
    rest = iter(given_points)
    assert all(point in rest for point in arrived)  # in order: each is looked for behind the one before


def counters(build, count, metrics=2):
    return build.data(
        *(
            build.counter(*(build.point({"n": str(n)}, n) for n in range(count)), name=f"metric{number}")
            for number in range(metrics)
        )
    )


@pytest.mark.parametrize(("encoder", "decode_one"), CODINGS)
def test_requests_are_filled_across_metrics(build, encoder, decode_one):
    requests = list(encoder().split(counters(build, 5), max_points=3))
    assert [request.points for request in requests] == [3, 3, 3, 1]
    names = [
        [(metric.name, len(metric.data.data_points)) for metric in scope.metrics]
        for request in requests
        for scope in decode_one(request.data).resource_metrics[0].scope_metrics
    ]
    assert names == [[("metric0", 3)], [("metric0", 2), ("metric1", 1)], [("metric1", 3)], [("metric1", 1)]]


@pytest.mark.parametrize(("encoder", "decode_one"), CODINGS)
def test_requests_are_nearly_as_long_as_allowed(build, encoder, decode_one):
    del decode_one
    sizes = [len(request.data) for request in encoder().split(counters(build, 500), max_bytes=4096)]
    assert all(4096 - 200 < size <= 4096 for size in sizes[:-1])


@pytest.mark.parametrize(("encoder", "decode_one"), CODINGS)
def test_without_limits_there_is_one_request_as_from_encode(build, encoder, decode_one):
    del decode_one
    metrics = counters(build, 1000)
    (request,) = encoder().split(metrics)
    assert request.data == encoder().encode(metrics).data


@pytest.mark.parametrize(("encoder", "decode_one"), CODINGS)
def test_a_point_too_long_for_any_request_is_dropped_and_named(build, encoder, decode_one):
    metrics = build.sums({"a": "x"}, {"a": "x" * 1000}, {"a": "y"})
    requests = encoder().split(metrics, max_bytes=600)
    (dropped,) = requests.dropped
    assert dropped.metric == "requests"
    assert dropped.reason.startswith("a point of 1")
    assert dropped.reason.endswith("bytes does not fit a request of at most 600 bytes")
    kept = [point for request in requests for point in points_of(decode_one(request.data), str)]
    assert len(kept) == requests.points == 2


@pytest.mark.parametrize(("encoder", "decode_one"), CODINGS)
def test_what_has_no_points_makes_no_request(build, encoder, decode_one):
    del decode_one
    for metrics in (MetricsData([]), build.data(), build.data(build.counter())):
        assert list(encoder().split(metrics, max_points=1)) == []


def test_what_the_format_cannot_hold_is_told_for_the_whole(build):
    requests = Encoder().split(build.sums({"a": 1}, {"a": 2**64}, {"a": 3}), max_points=1)
    assert len(requests) == requests.points == 2
    assert [point.metric for point in requests.dropped] == ["requests"]


def test_requests_can_be_written_again(build):
    requests = Encoder().split(counters(build, 50), max_points=7)
    assert list(requests) == list(requests)


@pytest.mark.parametrize("limits", [{"max_points": 0}, {"max_bytes": -5}])
def test_a_limit_below_one_is_refused(build, limits):
    (name,) = limits
    with pytest.raises(ValueError, match=f"{name} is at least 1, not"):
        Encoder().split(build.data(), **limits)
