"""The OTLP/HTTP sink with the official exporter, and what comes back from it."""

from __future__ import annotations

import base64
import gzip
import json
import math

import pytest
import requests
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics.export import MetricExportResult

from exporter_core.conformance.sinks import OtlpHttpSink

PROTOBUF = "application/x-protobuf"


@pytest.fixture(scope="module")
def running():
    with OtlpHttpSink() as sink:
        yield sink


@pytest.fixture
def sink(running):
    running.script()
    running.clear()
    return running


def send(sink, metrics, **options):
    exporter = OTLPMetricExporter(sink.endpoint, timeout=20, **options)
    try:
        return exporter.export(metrics)
    finally:
        exporter.shutdown()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_the_official_exporter_delivers_every_point_with_its_identity(sink, metrics, compression):
    assert send(sink, metrics, compression=compression) is MetricExportResult.SUCCESS
    points = {point.metric: point for point in sink.points()}
    assert list(points) == ["orders", "load", "latency"]
    orders = points["orders"]
    assert (orders.kind, orders.value, orders.monotonic, orders.temporality) == ("sum", 3, True, "cumulative")
    assert (orders.unit, orders.description) == ("1", "Orders")
    assert orders.attributes == {"paid": True, "tags": ["a", "b"]}
    assert orders.resource["service.name"] == "shop"
    assert (orders.scope, orders.scope_version, orders.scope_attributes) == ("checkout", "1.2", {"team": "x"})
    assert (points["load"].kind, points["load"].value) == ("gauge", 0.5)
    assert points["latency"].value == {
        "count": 1,
        "sum": 1.5,
        "min": 1.5,
        "max": 1.5,
        "bucket_counts": [0, 1, 0],
        "explicit_bounds": [1.0, 2.0],
    }
    sent = metrics.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
    assert (orders.time_unix_nano, orders.start_time_unix_nano) == (sent.time_unix_nano, sent.start_time_unix_nano)
    (request,) = sink.requests()
    assert all(point.stored == request.stored and point.request == request.number for point in points.values())
    assert len({point.identity for point in points.values()}) == 3


def test_the_official_exporter_retries_what_the_script_has_fail(sink, metrics):
    sink.script("status:503")
    assert send(sink, metrics) is MetricExportResult.SUCCESS
    assert [request.status for request in sink.requests()] == [503, 200]
    assert len(sink.points()) == 3
    first, second = sink.requests()
    assert [point.identity for point in first.points] == [point.identity for point in second.points]
    assert {point.stored for point in first.points} == {None}


def test_a_partial_success_says_how_many_and_stores_the_rest(sink, metrics):
    sink.script("partial:2", "partial:0")
    body = encode_metrics(metrics).SerializeToString()
    first, second = (
        requests.post(sink.endpoint, body, headers={"Content-Type": PROTOBUF}, timeout=30) for _ in range(2)
    )
    answer = ExportMetricsServiceResponse.FromString(first.content)
    assert answer.partial_success.rejected_data_points == 2
    assert ExportMetricsServiceResponse.FromString(second.content).HasField("partial_success")
    assert [point.metric for point in sink.points()] == ["orders", "orders", "load", "latency"]


def test_a_partial_success_need_not_say_why(sink, metrics):
    sink.script("partial:2:silent")
    body = encode_metrics(metrics).SerializeToString()
    answer = requests.post(sink.endpoint, body, headers={"Content-Type": PROTOBUF}, timeout=30)
    told = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert (told.rejected_data_points, told.error_message) == (2, "")


def as_json(message: ExportMetricsServiceRequest) -> bytes:
    from google.protobuf.json_format import MessageToDict

    value = MessageToDict(message, use_integers_for_enums=True)
    exemplar = value["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["sum"]["dataPoints"][0]["exemplars"][0]
    for name in ("traceId", "spanId"):
        exemplar[name] = base64.b64decode(exemplar[name]).hex()
    return json.dumps(value | {"unknownField": 1}).encode()


def test_json_and_protobuf_give_equal_points(sink, metrics):
    message = encode_metrics(metrics)
    scope = message.resource_metrics[0].scope_metrics[0]
    point = scope.metrics[0].sum.data_points[0]
    point.exemplars.add(trace_id=bytes(range(16)), span_id=bytes(range(8)), as_double=1.5, time_unix_nano=7)
    point.attributes.add(key="bytes").value.bytes_value = b"\x00\xff"
    point.attributes.add(key="map").value.kvlist_value.values.add(key="x").value.double_value = math.inf
    point.attributes.add(key="none")
    exponential = scope.metrics.add(name="exp").exponential_histogram.data_points.add(count=3, scale=1, zero_count=1)
    exponential.positive.offset = -2
    exponential.positive.bucket_counts.extend([1, 1])
    summary = scope.metrics.add(name="summary").summary.data_points.add(count=2, sum=5)
    summary.quantile_values.add(quantile=0.5, value=2.5)
    scope.metrics.add(name="nan").gauge.data_points.add(as_double=math.nan)
    scope.metrics.add(name="large").gauge.data_points.add(as_int=-(2**63))
    for kind, body in ((PROTOBUF, message.SerializeToString()), ("application/json", as_json(message))):
        headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
        answer = requests.post(sink.endpoint, gzip.compress(body), headers=headers, timeout=30)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)
    first, second = sink.requests()
    assert [point.identity for point in first.points] == [point.identity for point in second.points]
    assert [point.exemplars for point in first.points] == [point.exemplars for point in second.points]
    points = {point.metric: point for point in second.points}
    assert points["orders"].exemplars[0]["trace_id"] == bytes(range(16)).hex()
    assert points["orders"].attributes["bytes"] == b"\x00\xff"
    assert points["orders"].attributes["map"] == {"x": math.inf}
    assert points["orders"].attributes["none"] is None
    assert points["exp"].value["positive"] == {"offset": -2, "bucket_counts": [1, 1]}
    assert points["exp"].value["sum"] is None
    assert points["summary"].value["quantiles"] == [[0.5, 2.5]]
    assert points["large"].value == -(2**63)


def test_identities_tell_types_apart(sink):
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    for field, value in (("int_value", 1), ("bool_value", True), ("double_value", 1.0), ("string_value", "1")):
        point = metric.gauge.data_points.add(as_int=1)
        setattr(point.attributes.add(key="a").value, field, value)
    requests.post(sink.endpoint, message.SerializeToString(), headers={"Content-Type": PROTOBUF}, timeout=30)
    assert len({point.identity for point in sink.points()}) == 4


@pytest.mark.parametrize(
    ("kind", "encoding", "body", "status", "problem"),
    [
        (PROTOBUF, "", b"\xff\xff", 400, "not an ExportMetricsServiceRequest"),
        ("application/json", "", b"{", 400, "not an ExportMetricsServiceRequest"),
        ("application/json", "", b"[]", 400, "not an ExportMetricsServiceRequest"),
        ("application/json", "", b'{"resourceMetrics": 1}', 400, "not an ExportMetricsServiceRequest"),
        (PROTOBUF, "gzip", b"no gzip", 400, "the body is not gzip"),
        (PROTOBUF, "gzip", gzip.compress(b"x" * 100, mtime=0)[:-12], 400, "cut short"),
        (PROTOBUF, "zstd", b"", 400, "'zstd' is not supported"),
        ("text/plain", "", b"", 415, "neither application/x-protobuf nor"),
    ],
)
def test_what_breaks_the_protocol_is_refused_and_noted(sink, kind, encoding, body, status, problem):
    headers = {"Content-Type": kind} | ({"Content-Encoding": encoding} if encoding else {})
    assert requests.post(sink.endpoint, body, headers=headers, timeout=30).status_code == status
    (request,) = sink.requests()
    assert problem in request.problems[0]
    assert request.stored is None
    assert sink.points() == []


def test_another_path_or_method_is_no_matter_of_the_script(sink):
    sink.script("status:503")
    assert requests.post(f"http://{sink.address}/v1/traces", b"", timeout=30).status_code == 404
    assert requests.get(sink.endpoint, timeout=30).status_code == 405
    assert requests.post(sink.endpoint, b"", headers={"Content-Type": PROTOBUF}, timeout=30).status_code == 503


def test_errors_are_a_status_message_in_the_request_s_format(sink):
    sink.script("status:400", "retry-after:1")
    from google.rpc.status_pb2 import Status

    first = requests.post(sink.endpoint, b"", headers={"Content-Type": PROTOBUF}, timeout=30)
    assert Status.FromString(first.content).message == "scripted"
    second = requests.post(sink.endpoint, b"{}", headers={"Content-Type": "application/json"}, timeout=30)
    assert second.json()["message"] == "scripted"
    assert second.headers["Retry-After"] == "1"
