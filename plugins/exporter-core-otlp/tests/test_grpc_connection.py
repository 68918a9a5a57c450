"""What a server does on the level of HTTP/2: windows, resets, farewells, and answers that are no gRPC."""

import base64
import gzip
import logging
import socket
import struct
import threading

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack
import pytest
from exporter_core_otlp.grpc.frames import Farewell, Frames
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hyperframe.frame import GoAwayFrame, PingFrame
from hypothesis import given, strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from exporter_core import Context, ContextCancelledError, ExporterError, PartialSuccessError

ONE_ATTEMPT = {"enabled": False}
HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
TRAILERS = [("grpc-status", "0")]
LAST = 2**31 - 1
WINDOW = 65_535  # bytes, as long as a server does not say more


def message(body=b"", *, compressed=False):
    return struct.pack("!BI", compressed, len(body)) + body


class Call:
    """A call as the server sees it."""

    def __init__(self, server, stream, headers):
        self.server, self.stream = server, stream
        self.headers = {name.decode(): value.decode() for name, value in headers}
        self.raw = headers
        self.body = b""

    def answer(self, body=None, headers=HEADERS, trailers=TRAILERS):
        http = self.server.http
        http.send_headers(self.stream, headers, end_stream=body is None and trailers is None)
        if body:
            http.send_data(self.stream, body, end_stream=trailers is None)
        if trailers is not None:
            http.send_headers(self.stream, trailers, end_stream=True)
        self.server.flush()


class Http2:
    """Speaks HTTP/2 on a connection; ``answer(call)`` is called for each call that is there as a whole."""

    def __init__(self, connection, answer, *, settings=None, window=True):
        self.connection, self._answer, self._window = connection, answer, window
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.http.initiate_connection()
        if settings is not None:
            self.http.update_settings(settings)
        self.flush()
        self.calls = {}
        self.seen = lambda event: None

    def flush(self):
        self.connection.sendall(self.http.data_to_send())

    def run(self):
        while data := self.connection.recv(65536):
            for event in self.http.receive_data(data):
                self.seen(event)
                if isinstance(event, h2.events.RequestReceived):
                    self.calls[event.stream_id] = Call(self, event.stream_id, event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    self.calls[event.stream_id].body += event.data
                    if self._window:
                        self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self.flush()
                    self._answer(self.calls[event.stream_id])
            self.flush()


@pytest.fixture
def answering(serve):
    """Starts a server that does ``answer(call, number of the connection)`` with every call."""

    def start(answer, **options):
        return serve(lambda connection, number: Http2(connection, lambda call: answer(call, number), **options).run())

    return start


@pytest.fixture
def exporter_to(make_grpc_exporter):
    def make(server, **options):
        return make_grpc_exporter(f"http://127.0.0.1:{server.port}", **options)

    return make


@pytest.fixture
def failure(exporter_to, context, data):
    """The error of one attempt, without the server's name."""

    def of(server):
        exporter = exporter_to(server, retry=ONE_ATTEMPT)
        with pytest.raises(ExporterError) as caught:
            exporter.export(context, data)
        return str(caught.value).removeprefix(f"http://127.0.0.1:{server.port}: ")

    return of


def test_headers_are_sent_never_to_be_indexed_and_are_in_no_log_line(answering, exporter_to, context, data, caplog):
    calls = []

    def answer(call, number):
        calls.append(call.raw)
        call.answer(message(), headers=[*HEADERS, ("echo", "s3cret")])

    exporter = exporter_to(answering(answer), headers=[{"name": "api-key", "value": "s3cret"}])
    with caplog.at_level(logging.DEBUG):
        exporter.export(context, data)
        exporter.export(context, data)
    for headers in calls:
        kinds = {header[0]: type(header) for header in headers}
        assert kinds[b"api-key"] is hpack.NeverIndexedHeaderTuple
        assert kinds[b"user-agent"] is hpack.HeaderTuple
    # The server's own end logs here, too; its lines come from its thread.
    ours = [record for record in caplog.records if record.thread == threading.get_ident()]
    assert not [record for record in ours if record.name.startswith("hpack")]
    logging.getLogger("hpack.hpack").warning("others write")
    assert caplog.messages[-1] == "others write"


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_call_has_the_headers_that_grpc_asks_for(answering, exporter_to, context, data, compression):
    calls = []
    server = answering(lambda call, _: (calls.append(call), call.answer(message())))
    exporter_to(server, compression=compression, headers=[{"name": "Api-Key", "value": "s3cret"}]).export(context, data)
    (call,) = calls
    timeout = call.headers.pop("grpc-timeout")
    assert timeout.endswith("u")
    assert 0 < int(timeout[:-1]) <= 10_100_000
    assert call.headers == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        ":authority": f"127.0.0.1:{server.port}",
        "te": "trailers",
        "content-type": "application/grpc",
        "grpc-accept-encoding": "identity,gzip",
        "user-agent": "exporter-core-otlp/1.0.0",
        "api-key": "s3cret",
        **({"grpc-encoding": "gzip"} if compression == "gzip" else {}),
    }
    compressed, length = struct.unpack("!BI", call.body[:5])
    assert compressed == (compression == "gzip")
    body = call.body[5:]
    assert len(body) == length
    assert (
        len(ExportMetricsServiceRequest.FromString(gzip.decompress(body) if compressed else body).resource_metrics) == 1
    )


@pytest.mark.parametrize(
    ("seconds", "unit"), [(50, "u"), (1_000, "m"), (200_000, "S"), (200_000_000, None), (None, None)]
)
def test_the_server_is_told_how_long_it_has_in_eight_digits(answering, exporter_to, data, seconds, unit):
    timeouts = []
    server = answering(lambda call, _: (timeouts.append(call.headers.get("grpc-timeout")), call.answer(message())))
    context = Context.background() if seconds is None else Context.with_timeout(seconds)
    exporter_to(server, timeout=0).export(context, data)
    (timeout,) = timeouts
    if unit is None:
        assert timeout is None
    else:
        assert timeout.endswith(unit)
        assert len(timeout) <= 9
        left = int(timeout[:-1]) / {"u": 1e6, "m": 1e3, "S": 1}[unit]
        assert seconds - 30 < left <= seconds + 1.1


def test_a_request_larger_than_the_servers_windows_goes_as_these_open(answering, exporter_to, context, data_of):
    received = []
    server = answering(
        lambda call, _: (received.append(call.body), call.answer(message())),
        settings={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000},
    )
    exporter = exporter_to(server, max_request_bytes=10_000_000, timeout=0)  # hundreds of round trips take their time
    for _ in range(2):
        exporter.export(context, data_of(range(20_000)))
    assert len(received[0]) > 500_000
    assert len(received[0]) == len(received[1])
    assert server.connections == 1


def test_a_window_that_never_opens_is_waited_for_no_longer_than_the_context_lasts(serve, exporter_to, data_of):
    context = Context.with_timeout(30)

    def receiving(connection, _number):
        received = []

        def seen(event):
            if isinstance(event, h2.events.DataReceived):
                received.append(event.flow_controlled_length)
                if sum(received) == WINDOW:
                    context.cancel("the window is full")

        http = Http2(connection, None, window=False)
        http.seen = seen
        http.run()

    with pytest.raises(ContextCancelledError, match="the window is full"):
        exporter_to(serve(receiving)).export(context, data_of(range(20_000)))


def test_an_answer_that_comes_before_the_request_is_sent_ends_it_and_the_connection(
    serve, exporter_to, context, data_of, data
):
    def refusing(connection, number):
        http = Http2(connection, lambda call: call.answer(message()), window=False)
        if number == 1:
            while not http.calls:
                for event in http.http.receive_data(connection.recv(65536)):
                    if isinstance(event, h2.events.RequestReceived):
                        http.calls[event.stream_id] = Call(http, event.stream_id, event.headers)
            http.calls[1].answer(
                headers=[*HEADERS, ("grpc-status", "16"), ("grpc-message", "who%20are you?")], trailers=None
            )
        http.run()

    server = serve(refusing)
    exporter = exporter_to(server)
    with pytest.raises(ExporterError, match=r": UNAUTHENTICATED: who are you\?$"):
        exporter.export(context, data_of(range(20_000)))
    exporter.export(context, data)
    assert server.connections == 2


def test_success_that_is_said_before_the_request_is_there_is_none(serve, exporter_to, context, data_of):
    def rash(connection, _number):
        def seen(event):
            if isinstance(event, h2.events.RequestReceived):
                Call(http, event.stream_id, event.headers).answer(message())

        http = Http2(connection, None, window=False)
        http.seen = seen
        http.run()

    with pytest.raises(ExporterError, match=r": OK, but before the server has the whole request$"):
        exporter_to(serve(rash)).export(context, data_of(range(20_000)))


def test_nothing_of_a_request_that_was_refused_too_early_goes_before_the_next_one(
    serve, exporter_to, context, data_of, data
):
    """Neither what the server's windows held back nor what its buffers did."""

    def refusing(connection, number):
        def seen(event):
            if number == 1 and isinstance(event, h2.events.RequestReceived):
                Call(http, event.stream_id, event.headers).answer(
                    headers=[*HEADERS, ("grpc-status", "3")], trailers=None
                )
                over.wait()  # and reads no more

        http = Http2(connection, lambda call: call.answer(message()))
        http.seen = seen
        http.http.increment_flow_control_window(LAST - WINDOW)
        http.http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: LAST})
        http.flush()
        http.run()

    over = threading.Event()
    server = serve(refusing)
    exporter = exporter_to(server, max_request_bytes=50_000_000)
    with pytest.raises(ExporterError, match="INVALID_ARGUMENT"):
        exporter.export(context, data_of([1], "m" * 16_000_000))
    exporter.export(context, data)
    over.set()
    assert server.connections == 2


# --- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_may_be_compressed_as_the_request_was(answering, exporter_to, context, data):
    rejected = ExportMetricsServiceResponse(
        partial_success=ExportMetricsPartialSuccess(rejected_data_points=1, error_message="full")
    ).SerializeToString()
    headers = [*HEADERS, ("grpc-encoding", "gzip")]
    server = answering(lambda call, _: call.answer(message(gzip.compress(rejected), compressed=True), headers))
    with pytest.raises(PartialSuccessError, match="1 of 1 points were not taken: full"):
        exporter_to(server, compression="gzip").export(context, data)


@pytest.mark.parametrize(
    ("encoding", "body", "said"),
    [
        (
            "gzip",
            gzip.compress(bytes(5 * 1024 * 1024)),
            "it is cut short, or longer than 4194304 bytes (max_response_size)",
        ),
        ("gzip", gzip.compress(b"\n")[:-1], "it is cut short, or longer than 4194304 bytes (max_response_size)"),
        ("gzip", b"nonsense", "it is not gzip"),
        ("snappy", b"nonsense", "it is compressed by 'snappy'"),
    ],
    ids=["too long", "cut short", "no gzip", "unknown"],
)
def test_what_cannot_be_decompressed_is_an_error(answering, failure, encoding, body, said):
    headers = [*HEADERS, ("grpc-encoding", encoding)]
    server = answering(lambda call, _: call.answer(message(body, compressed=True), headers))
    assert failure(server) == f"OK, but the answer is not OTLP: {said}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, "it holds no message"),
        (message()[:4], "it holds no message"),
        (message(b"12")[:-1], "it does not hold one whole message"),
        (message() * 2, "it does not hold one whole message"),
    ],
)
def test_an_answer_holds_one_message(answering, failure, body, said):
    assert failure(answering(lambda call, _: call.answer(body))) == f"OK, but the answer is not OTLP: {said}"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("400", "INTERNAL"),
        ("401", "UNAUTHENTICATED"),
        ("403", "PERMISSION_DENIED"),
        ("404", "UNIMPLEMENTED"),
        ("302", "UNKNOWN"),
        ("500", "UNKNOWN"),
    ],
)
def test_a_status_of_http_stands_for_one_of_grpc(answering, failure, status, said):
    server = answering(lambda call, _: call.answer(b"<h1>Who?</h1>", [(":status", status)], None))
    assert failure(server) == f"{said}: HTTP status {status}: <h1>Who?</h1>"


@pytest.mark.parametrize("status", ["429", "502", "503", "504"])
def test_a_proxy_that_is_busy_is_asked_again(answering, exporter_to, context, data, status):
    calls = []

    def answer(call, _):
        calls.append(call)
        if len(calls) == 1:
            call.answer(headers=[(":status", status)], trailers=None)
        else:
            call.answer(message())

    server = answering(answer)
    exporter_to(server).export(context, data)
    assert len(calls) == 2
    assert server.connections == 1


@pytest.mark.parametrize(
    ("trailers", "said"),
    [
        ([("grpc-status", "42"), ("grpc-message", "what")], "status 42: what"),
        ([("grpc-status", "-1"), ("grpc-message", "what")], "UNKNOWN: status '-1': what"),
        ([("grpc-status", "7"), ("grpc-message", "%E2%82%AC%zz%0A%FF")], "PERMISSION_DENIED: €%zz �"),
        ([("x", "y")], "UNKNOWN: the answer is not gRPC: it has no status"),
    ],
)
def test_a_status_is_shown_whatever_it_is(answering, failure, trailers, said):
    assert failure(answering(lambda call, _: call.answer(message(), trailers=trailers))) == said


@pytest.mark.parametrize("details", ["\xff\xfe", "A", "////"])
def test_details_that_cannot_be_read_are_passed_over(answering, exporter_to, context, data, details):
    calls = []

    def answer(call, _):
        calls.append(call)
        status = [("grpc-status", "14"), ("grpc-status-details-bin", details.encode("latin-1"))]
        call.answer(message(), trailers=status if len(calls) == 1 else TRAILERS)

    exporter_to(answering(answer)).export(context, data)
    assert len(calls) == 2


def test_details_of_a_status_may_come_without_padding(answering, exporter_to, context, data):
    info = RetryInfo()
    info.retry_delay.FromMilliseconds(1)
    calls = []

    def answer(call, _):
        calls.append(call)
        if len(calls) > 3:
            return call.answer(message())
        status = Status(message="x" * len(calls))  # of each length modulo 3
        status.details.add().Pack(info)
        details = base64.b64encode(status.SerializeToString()).decode().rstrip("=")
        return call.answer(trailers=[("grpc-status", "8"), ("grpc-status-details-bin", details)])

    exporter_to(answering(answer)).export(context, data)
    assert len(calls) == 4


def test_a_server_that_speaks_http_1_is_said_to_do_so(serve, failure):
    def speaking(connection, _number):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert failure(serve(speaking)) == "the server speaks HTTP/1, not gRPC; is that the port for otlp_http?"


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("REFUSED_STREAM", "UNAVAILABLE"),
        ("CANCEL", "CANCELLED"),
        ("ENHANCE_YOUR_CALM", "RESOURCE_EXHAUSTED"),
        ("INADEQUATE_SECURITY", "PERMISSION_DENIED"),
        ("PROTOCOL_ERROR", "INTERNAL"),
    ],
)
def test_a_call_that_the_server_breaks_off_has_the_status_for_that(answering, failure, code, said):
    def answer(call, _):
        call.server.http.reset_stream(call.stream, h2.errors.ErrorCodes[code])
        call.server.flush()

    assert failure(answering(answer)) == f"{said}: the server broke off the call ({code})"


def goaway(server, last, said=b""):
    frame = GoAwayFrame(0, last_stream_id=last, error_code=0, additional_data=said)
    server.connection.sendall(frame.serialize())


def test_a_server_that_says_farewell_still_answers_and_is_connected_to_anew(answering, exporter_to, context, data):
    """As servers do that limit the age of a connection."""

    def answer(call, number):
        if number == 1:
            goaway(call.server, LAST)
            call.server.connection.sendall(PingFrame(0, b"12345678").serialize())
            goaway(call.server, call.stream)
        call.answer(message())

    server = answering(answer)
    exporter = exporter_to(server, retry=ONE_ATTEMPT)
    for _ in range(3):
        exporter.export(context, data)
    assert server.connections == 2


def test_a_call_that_crossed_the_servers_farewell_is_made_again_at_once(answering, exporter_to, context, data):
    calls = []

    def answer(call, number):
        calls.append(number)
        if len(calls) == 2:
            goaway(call.server, call.stream - 2)
        else:
            call.answer(message())

    server = answering(answer)
    exporter = exporter_to(server, retry=ONE_ATTEMPT)
    exporter.export(context, data)
    exporter.export(context, data)
    assert calls == [1, 1, 2]


def test_a_call_that_the_server_took_before_its_farewell_is_not_made_again_by_itself(
    answering, exporter_to, context, data
):
    calls = []

    def answer(call, _):
        calls.append(call.stream)
        if len(calls) == 1:
            call.answer(message())
        else:
            goaway(call.server, call.stream)
            call.server.connection.shutdown(socket.SHUT_RDWR)

    exporter = exporter_to(answering(answer), retry=ONE_ATTEMPT)
    exporter.export(context, data)
    with pytest.raises(ExporterError, match=r"closed the connection without an answer \(NO_ERROR\)$"):
        exporter.export(context, data)
    assert calls == [1, 3]


def test_what_a_server_says_at_its_farewell_is_in_the_error(answering, failure):
    def answer(call, _):
        goaway(call.server, 0, b"too\nmany pings")

    assert failure(answering(answer)) == (
        "the server closed the connection without an answer (NO_ERROR: too many pings)"
    )


def test_pings_and_settings_that_come_at_rest_are_answered_with_the_next_call(serve, exporter_to, context, data):
    acknowledged = []

    def pinging(connection, _number):
        def answer(call):
            call.answer(message())
            call.server.http.ping(b"12345678")
            call.server.http.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1})
            call.server.flush()

        http = Http2(connection, answer)
        http.seen = acknowledged.append
        http.run()

    server = serve(pinging)
    exporter = exporter_to(server)

    def count(kind):
        return sum(isinstance(event, kind) for event in acknowledged)

    while count(h2.events.PingAckReceived) < 2 or count(h2.events.SettingsAcknowledged) < 3:
        exporter.export(context, data)
    assert server.connections == 1


def test_a_server_that_takes_no_more_calls_is_connected_to_anew(answering, exporter_to, context, data):
    def answer(call, number):
        if number == 1:
            call.server.http.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 0})
        call.answer(message())

    server = answering(answer)
    exporter = exporter_to(server, retry=ONE_ATTEMPT)
    exporter.export(context, data)
    exporter.export(context, data)
    assert server.connections == 2


# --- frames -----------------------------------------------------------------------------------------------------------

FRAMES = st.lists(st.tuples(st.sampled_from([0, 1, 4, 6, 7]), st.binary(min_size=8, max_size=40)))


@given(FRAMES, st.data())
def test_frames_pass_in_whatever_pieces_they_come_and_a_farewell_does_not(frames, draw):
    wire = [len(payload).to_bytes(3) + bytes((kind, 0)) + bytes(4) + payload for kind, payload in frames]
    data = b"".join(wire)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)))))
    split = Frames()
    passed = [split.feed(data[begin:end]) for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert b"".join(passed) == b"".join(frame for frame, (kind, _) in zip(wire, frames, strict=True) if kind != 7)
    assert not split.cut_short
    farewells = [payload for kind, payload in frames if kind == 7]
    if farewells:
        assert isinstance(split.farewell, Farewell)
        assert split.farewell.last_stream == int.from_bytes(farewells[-1][:4]) & LAST
    else:
        assert split.farewell is None
