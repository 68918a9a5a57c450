"""What reaches a server, and what an export makes of its answer."""

import json
import logging

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)

from exporter_core import Context, ExporterCoreError, ExporterError, PartialSuccessError


def answer(status, body=b"", content_type="application/x-protobuf", *more):
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", f"Content-Type: {content_type}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_points_arrive_in_each_encoding_and_compression(sink, make_exporter, context, data_of, encoding, compression):
    exporter = make_exporter(sink.endpoint, encoding=encoding, compression=compression)
    exporter.export(context, data_of([1, 2.5, float("inf")]))
    assert [point.value for point in sink.points()] == [1, 2.5, float("inf")]
    (request,) = sink.requests()
    assert request.problems == ()
    assert request.header("content-type") == f"application/{'x-protobuf' if encoding == 'protobuf' else 'json'}"
    assert request.header("content-encoding") == ("gzip" if compression == "gzip" else None)


def test_headers_are_sent_and_go_before_the_usual_ones(sink, make_exporter, context, data):
    make_exporter(
        sink.endpoint,
        headers=[{"name": "User-Agent", "value": "mine"}, {"name": "api-key", "value": "s3cret"}],
        headers_list="Api-Key=other,tenant=grün".replace("ü", "%C3%BC"),
    ).export(context, data)
    (request,) = sink.requests()
    assert request.header("user-agent") == "mine"
    assert request.sent_header("api-key", "s3cret")
    assert request.header("tenant").encode("latin-1").decode() == "grün"
    assert request.header("host") == sink.address


def test_a_user_and_password_in_the_endpoint_are_basic_authentication_and_are_not_shown(
    sink, make_exporter, context, data
):
    sink.script(then="status:401")
    exporter = make_exporter(sink.endpoint.replace("://", "://alice:pass%20word@"))
    with pytest.raises(ExporterError, match=r"/v1/metrics: 401 Unauthorized: scripted$") as caught:
        exporter.export(context, data)
    assert "pass" not in str(caught.value)
    assert "pass" not in exporter.destination().location
    (request,) = sink.requests()
    assert request.sent_header("authorization", "Basic YWxpY2U6cGFzcyB3b3Jk")


@pytest.mark.parametrize("fault", ["status:400", "status:503", "refuse", "blackhole", "hang"])
def test_a_key_in_the_query_of_the_endpoint_is_sent_and_not_shown(sink, make_exporter, data, fault):
    sink.script(then=fault)
    exporter = make_exporter(f"{sink.endpoint}?key=s3cret", timeout=100)
    with pytest.raises(ExporterCoreError, match=r"/v1/metrics\?\*\*\*: ") as caught:
        exporter.export(Context.background(), data)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in exporter.destination().location
    assert all(request.path == "/v1/metrics?key=s3cret" for request in sink.requests())


def test_exports_share_one_connection(sink, make_exporter, context, data):
    exporter = make_exporter(sink.endpoint)
    for _ in range(5):
        exporter.export(context, data)
    assert len(sink.points()) == 5
    assert len(sink.connections()) == 1
    exporter.shutdown(context)
    sink.await_closed()


def test_a_batch_without_points_is_not_sent(sink, make_exporter, context, data_of):
    make_exporter(sink.endpoint).export(context, data_of([]))
    assert sink.requests() == []


def test_a_large_batch_is_sent_as_several_requests(sink, make_exporter, context, data_of):
    make_exporter(sink.endpoint, max_request_points=4).export(context, data_of(range(10)))
    assert [len(request.points) for request in sink.requests()] == [4, 4, 2]
    assert [point.value for point in sink.points()] == list(range(10))
    sink.clear()
    make_exporter(sink.endpoint, max_request_bytes=1024, compression="gzip").export(context, data_of(range(100)))
    sizes = [len(request.body) for request in sink.requests()]
    assert len(sizes) > 2
    assert max(sizes) <= 1024
    assert [point.value for point in sink.points()] == list(range(100))


def test_one_refused_request_of_several_does_not_keep_the_others_from_going(sink, make_exporter, context, data_of):
    sink.script("ok", "status:400", "partial:1", then="ok")
    exporter = make_exporter(sink.endpoint, max_request_points=2)
    with pytest.raises(PartialSuccessError, match=r"3 of 8 points were not taken: .* 400 Bad Request: scr") as caught:
        exporter.export(context, data_of(range(8)))
    assert caught.value.rejected_points == 3
    assert [point.value for point in sink.points()] == [0, 1, 4, 6, 7]


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_points_that_the_server_refuses_are_counted(sink, make_exporter, context, data_of, encoding):
    sink.script(then="partial:2")
    with pytest.raises(PartialSuccessError, match="2 of 3 points were not taken: scripted") as caught:
        make_exporter(sink.endpoint, encoding=encoding).export(context, data_of([1, 2, 3]))
    assert caught.value.rejected_points == 2


def test_when_there_is_no_time_for_another_attempt_the_requests_that_follow_are_not_tried(
    sink, make_exporter, context, data_of
):
    sink.script("ok", then="retry-after:3600")
    exporter = make_exporter(sink.endpoint, max_request_points=2)
    with pytest.raises(PartialSuccessError, match=r"6 of 8 points .* gave up: no time left") as caught:
        exporter.export(context, data_of(range(8)))
    assert caught.value.rejected_points == 6
    assert len(sink.requests()) == 2


def test_without_retrying_a_request_that_fails_for_now_does_not_keep_the_others_from_going(
    sink, make_exporter, context, data_of
):
    sink.script("status:503", then="ok")
    exporter = make_exporter(sink.endpoint, max_request_points=2, retry={"enabled": False})
    with pytest.raises(PartialSuccessError, match="2 of 6 points were not taken: "):
        exporter.export(context, data_of(range(6)))
    assert [point.value for point in sink.points()] == [2, 3, 4, 5]


def test_a_server_cannot_refuse_more_points_than_there_are(serve, make_exporter, context, data):
    refused = ExportMetricsPartialSuccess(
        rejected_data_points=10**12, error_message="a\nforged\x1b[31m line" + 999 * "x"
    )
    body = ExportMetricsServiceResponse(partial_success=refused).SerializeToString()
    exporter = make_exporter(f"http://127.0.0.1:{serve(answers=[answer('200 OK', body)]).port}/")
    with pytest.raises(PartialSuccessError) as caught:
        exporter.export(context, data)
    assert caught.value.rejected_points == 1
    assert str(caught.value).startswith("1 of 1 points were not taken: a forged [31m linexxx")
    assert len(str(caught.value)) < 600


def test_points_that_otlp_cannot_hold_are_counted_and_named_and_the_others_go(sink, make_exporter, context, data_of):
    exporter = make_exporter(sink.endpoint)
    with pytest.raises(PartialSuccessError, match="1 of 2 points were not taken: metric 'metric': ") as caught:
        exporter.export(context, data_of([2**64, 1]))
    assert caught.value.rejected_points == 1
    assert [point.value for point in sink.points()] == [1]


def test_advice_of_a_server_that_took_everything_is_logged_once(serve, make_exporter, context, data, caplog):
    advice = json.dumps({"partialSuccess": {"errorMessage": "use gzip"}}).encode()
    server = serve(answers=[answer("200 OK", advice, "application/json")] * 2)
    exporter = make_exporter(f"http://127.0.0.1:{server.port}")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            exporter.export(context, data)
    assert [record.message for record in caplog.records] == ["the server says: use gzip"]


STATUS = Status(code=3, message="no  such\ttenant\n s3cret")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (answer("400 Bad Request", STATUS.SerializeToString()), "400 Bad Request: no such tenant ***"),
        (
            answer("400 Bad Request", b'{"code": 3, "message": "no such tenant"}', "application/json; charset=utf-8"),
            "400 Bad Request: no such tenant",
        ),
        (answer("413 Too Large", b"too large: s3cret", "text/plain"), r"413 Too Large: too large: \*\*\*"),
        (answer("400 Bad Request", b"\xff\x00 plain \xc3\xbc", "application/x-protobuf"), "400 Bad Request: � plain ü"),
        (
            answer("404 Not Found"),
            "404 Not Found; endpoint: the URL does not end in /v1/metrics, .* added to it$",
        ),
        (answer("500 Oops", b"x" * 5000, "text/plain"), r"500 Oops: x{500}\.\.\.$"),
        (answer("301 Moved", b"", "text/html", "Location: http://other/?token=abc"), r"to http://other/\?token=\*\*\*"),
        (answer("200 OK", b"OK", "text/plain"), "200, but the answer is not OTLP: it has the type text/plain"),
        (answer("200 OK", b"\xff\xff"), "200, but the answer is not OTLP: not a ExportMetricsServiceResponse"),
        (answer("200 OK", b"[", "application/json"), "200, but the answer is not OTLP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n1", "is cut short, after status 200"),
        (answer("200 OK", b"\x0a" * (4 * 1024 * 1024 + 1)), "the answer is longer than 4194304 bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000, "the answer is not HTTP"),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else "",
)
def test_what_a_server_refuses_is_said_in_its_own_words_without_secrets(
    serve, make_exporter, context, data, given, shown
):
    server = serve(answers=[given])
    exporter = make_exporter(f"http://127.0.0.1:{server.port}/", headers=[{"name": "key", "value": "s3cret"}])
    with pytest.raises(ExporterError, match=shown.replace("***", r"\*\*\*") if "\\" not in shown else shown) as caught:
        exporter.export(context, data)
    assert str(caught.value).startswith(f"http://127.0.0.1:{server.port}/: ")
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.connections == 1, "it is final"
    exporter.export(context, data)  # and leaves nothing behind


@pytest.mark.parametrize("echo", ["x" * 495 + "s3cret  of two", "s3cret  of two", "cGVwcGVyOnVzZXI=", "user"])
def test_no_piece_of_a_secret_is_shown_wherever_the_server_puts_it(serve, make_exporter, context, data, echo):
    server = serve(answers=[answer(f"400 {echo}", echo.encode(), "text/plain", f"Location: {echo}")])
    exporter = make_exporter(
        f"http://pepper:user@127.0.0.1:{server.port}/", headers=[{"name": "api-key", "value": "s3cret  of two"}]
    )
    with pytest.raises(ExporterError) as caught:
        exporter.export(context, data)
    message = str(caught.value)
    assert "***" in message
    assert "s3c" not in message
    assert "cGVw" not in message
    assert "user" not in message


def test_an_empty_answer_is_success_and_so_are_informational_ones_before_it(serve, make_exporter, context, data):
    answers = [
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer("200 OK", b""),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n",
        answer("200 OK", b"{}", "application/json"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ]
    server = serve(answers=answers)
    exporter = make_exporter(f"http://127.0.0.1:{server.port}")
    for _ in answers:
        exporter.export(context, data)
    assert server.connections == 2, "all but that of HTTP/1.0 keep the connection"


@pytest.mark.parametrize("status", ["201 Created", "202 Accepted", "204 No Content", "207 Multi-Status"])
def test_a_status_of_success_other_than_200_is_no_success_of_otlp(serve, make_exporter, context, data, status):
    length = b"" if status.startswith("204") else b"Content-Length: 0\r\n"
    server = serve(answers=[b"HTTP/1.1 %s\r\n%s\r\n" % (status.encode(), length)])
    endpoint = f"http://127.0.0.1:{server.port}/v1/metrics"
    with pytest.raises(ExporterError) as caught:
        make_exporter(endpoint).export(context, data)
    assert str(caught.value) == f"{endpoint}: {status}; an OTLP server answers 200 when it has taken the points"


@pytest.mark.parametrize(("limit", "fits"), [(100, True), (99, False)])
def test_the_option_max_response_size_bounds_an_answer(serve, make_exporter, context, data, limit, fits):
    body = json.dumps({"unknown": "x" * 85}).encode()
    assert len(body) == 100
    server = serve(answers=[answer("200 OK", body, "application/json")])
    exporter = make_exporter(f"http://127.0.0.1:{server.port}/", max_response_size=limit)
    if fits:
        exporter.export(context, data)
    else:
        with pytest.raises(ExporterError, match=r"the answer is longer than 99 bytes \(max_response_size\)$"):
            exporter.export(context, data)


def test_a_delay_in_the_status_of_an_error_is_kept_to(serve, make_exporter, data):
    status = Status(code=14, message="later")
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=3600)))
    server = serve(answers=[answer("503 Later", status.SerializeToString())])
    with pytest.raises(ExporterError, match=r"later; gave up: no time left to retry before the deadline$"):
        make_exporter(f"http://127.0.0.1:{server.port}").export(Context.with_timeout(20), data)


@pytest.mark.parametrize("fault", ["status:429", "status:502", "status:503", "status:504", "reset", "retry-after:0"])
def test_what_is_transient_is_sent_again_with_the_same_bytes(sink, make_exporter, context, data, fault):
    sink.script(fault, fault, then="ok")
    make_exporter(sink.endpoint).export(context, data)
    bodies = [request.body for request in sink.requests()]
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
    assert len(sink.points()) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 500, 501])
def test_what_is_not_transient_is_sent_once(sink, make_exporter, context, data, status):
    sink.script(then=f"status:{status}")
    with pytest.raises(ExporterError, match=str(status)):
        make_exporter(sink.endpoint).export(context, data)
    assert len(sink.requests()) == 1


def test_without_retrying_one_attempt_is_all(sink, make_exporter, context, data):
    sink.script(then="status:503")
    with pytest.raises(ExporterError, match=r"503 Service Unavailable: scripted$"):
        make_exporter(sink.endpoint, retry={"enabled": False}).export(context, data)
    assert len(sink.requests()) == 1
