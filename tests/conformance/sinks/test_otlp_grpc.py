"""The OTLP/gRPC sink with grpcio and the official exporter, and every fault of gRPC."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.sdk.metrics.export import MetricExportResult

from exporter_core.conformance.sinks import OtlpGrpcSink, stamp

BOUND = 30


@pytest.fixture(scope="module")
def running():
    with OtlpGrpcSink() as sink:
        yield sink


@pytest.fixture
def sink(running):
    running.script()
    running.await_closed()
    running.clear()
    return running


def open_channel(sink):
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    return grpc.insecure_channel(sink.address, options=options)


@pytest.fixture
def call(sink, metrics):
    """One export on a channel that no other test shares."""
    message = encode_metrics(metrics)
    with open_channel(sink) as channel:
        stub = MetricsServiceStub(channel)
        yield lambda timeout=BOUND, **more: stub.Export(message, timeout=timeout, **more)


@pytest.fixture
def begin(sink, metrics):
    """The same without waiting for the answer: a future."""
    message = encode_metrics(metrics)
    with open_channel(sink) as channel:
        yield lambda: MetricsServiceStub(channel).Export.future(message, timeout=BOUND)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_the_official_exporter_delivers_every_point(sink, metrics, compression):
    exporter = OTLPMetricExporter(sink.endpoint, insecure=True, timeout=20, compression=compression)
    assert exporter.export(metrics) is MetricExportResult.SUCCESS
    exporter.shutdown()
    points = sink.points()
    assert [(point.metric, point.kind) for point in points] == [
        ("orders", "sum"),
        ("load", "gauge"),
        ("latency", "histogram"),
    ]
    assert points[0].resource["service.name"] == "shop"
    (request,) = sink.requests()
    assert (request.status, request.fault, request.problems) == ("OK", "ok", ())
    assert request.path == "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
    assert request.header("user-agent").startswith("OTel-OTLP-Exporter-Python")
    sink.await_closed()
    (connection,) = sink.connections()
    assert (connection.closed_by, connection.number) == ("peer", request.connection)


def test_stamps_are_in_order(sink, call):
    before = stamp()
    call(metadata=(("authorization", "Bearer abc"),))
    after = stamp()
    (request,) = sink.requests()
    assert before < request.received < request.entered < request.stored < request.answered < after
    assert request.header("authorization") == "***"
    assert request.sent_header("authorization", "Bearer abc")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("status:UNAVAILABLE", grpc.StatusCode.UNAVAILABLE),
        ("status:RESOURCE_EXHAUSTED", grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("status:DEADLINE_EXCEEDED", grpc.StatusCode.DEADLINE_EXCEEDED),
        ("status:3", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_a_status_code_is_what_the_client_gets(sink, call, fault, code):
    sink.script(fault)
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is code
    assert caught.value.details() == "scripted"
    (request,) = sink.requests()
    assert (request.status, request.stored) == (code.name, None)
    assert sink.points() == []
    call()
    assert len(sink.points()) == 3


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("retry-after:1.5", grpc.StatusCode.UNAVAILABLE),
        ("retry-after:1.5:RESOURCE_EXHAUSTED", grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_retry_after_is_a_retry_info(sink, call, fault, code):
    sink.script(fault)
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is code
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    status = Status.FromString(details)
    info = RetryInfo()
    assert status.code == code.value[0]
    assert status.details[0].Unpack(info)
    assert info.retry_delay.ToTimedelta().total_seconds() == 1.5


def test_a_partial_success_says_how_many_and_stores_the_rest(sink, call):
    sink.script("partial:2")
    assert call().partial_success.rejected_data_points == 2
    assert [point.metric for point in sink.points()] == ["orders"]


def test_a_partial_success_need_not_say_why(sink, call):
    sink.script("partial:2:silent")
    told = call().partial_success
    assert (told.rejected_data_points, told.error_message) == (2, "")


def test_an_answer_can_be_ok_with_a_message_that_is_none(sink, call):
    sink.script("garbage:html", "ok")
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    (request,) = sink.requests()
    assert (request.stored, request.status) == (None, "OK")
    assert call() is not None


def test_hang_never_answers(sink, begin):
    sink.script("hang")
    running = begin()
    sink.await_requests()
    assert not running.done()
    running.cancel()
    (request,) = sink.requests()
    assert request.entered is not None
    assert (request.stored, request.status) == (None, None)


@pytest.mark.parametrize("fault", ["reset", "truncate", "garbage"])
def test_a_broken_connection_is_an_error_and_stores_nothing(sink, call, fault):
    sink.script(fault)
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
    (request,) = sink.requests()
    assert request.stored is None
    assert sink.connections()[0].closed_by == "sink"


@pytest.mark.parametrize("fault", ["refuse", "blackhole"])
def test_a_sink_that_cannot_be_reached_can_be_reached_again(sink, call, fault, metrics):
    sink.script(then=fault)
    with pytest.raises(grpc.RpcError) as caught:
        call(timeout=0.3)
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    sink.script()
    assert sink.requests() == []
    assert call(wait_for_ready=True) is not None


def test_a_drip_ends_when_it_is_finished_and_is_stored_then(sink, call, aside):
    sink.script("drip:step")
    running = aside(call)
    sink.await_requests()
    sink.step(5)
    assert sink.requests()[0].stored is None
    sink.finish()
    running.result()
    assert len(sink.points()) == 3


def test_a_drip_in_time_goes_on_for_as_long_as_the_client_stays(sink, begin):
    sink.script("drip:0.001")
    running = begin()
    sink.await_requests()
    assert not running.done()
    running.cancel()
    assert sink.points() == []


def test_a_shut_gate_holds_what_has_entered(sink, call, aside):
    with sink.shut() as gate:
        running = aside(call)
        entered = gate.await_entered()
        assert sink.points() == []
        opened = gate.open()
    running.result()
    (request,) = sink.requests()
    assert request.entered < entered < opened < request.stored < request.answered


def test_http_faults_are_refused(sink):
    with pytest.raises(ValueError, match="this sink knows"):
        sink.script("redirect")
    with pytest.raises(ValueError, match="expected status:CODE"):
        sink.script("status:503")
