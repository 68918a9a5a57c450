"""The HTTP sink with an ordinary client, and every fault of HTTP."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import urllib.request
from email.utils import parsedate_to_datetime

import pytest
import requests

from exporter_core.conformance.sinks import HttpSink, SinkTimeoutError, stamp


@pytest.fixture(scope="module")
def running():
    with HttpSink(secrets=["hunter22"]) as sink:
        yield sink


@pytest.fixture
def sink(running):
    running.script()
    running.await_closed()
    running.clear()
    return running


def test_a_request_is_recorded_with_its_body(sink, post):
    assert post(sink, b"hello", X_One="1").status == 200
    (request,) = sink.requests()
    assert (request.method, request.path, request.body) == ("POST", "/some/path?x=1", b"hello")
    assert request.header("x-one") == "1"
    assert (request.status, request.fault, request.body_size, request.problems) == (200, "ok", 5, ())


def test_gzip_is_undone_and_the_size_is_that_on_the_wire(sink, post):
    compressed = gzip.compress(b"x" * 10000)
    post(sink, compressed, Content_Encoding="gzip")
    (request,) = sink.requests()
    assert request.body == b"x" * 10000
    assert request.body_size == len(compressed)


def test_a_body_that_is_not_gzip_is_kept_and_noted(sink, post):
    post(sink, b"plain", Content_Encoding="gzip")
    (request,) = sink.requests()
    assert request.body == b"plain"
    assert "not gzip" in request.problems[0]


def test_chunked_bodies_and_other_methods_are_understood(sink):
    connection = http.client.HTTPConnection(sink.address, timeout=30)
    connection.request(
        "PUT", "/x", body=iter([b"one", b"two"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    assert connection.getresponse().read() == b""
    connection.close()
    (request,) = sink.requests()
    assert (request.method, request.body) == ("PUT", b"onetwo")


def test_connections_are_kept_alive_and_their_end_is_seen(sink):
    with requests.Session() as session:
        for _ in range(3):
            assert session.post(sink.endpoint, data=b"x", timeout=30).status_code == 200
        (connection,) = sink.connections()
        assert connection.closed is None
    sink.await_closed()
    (connection,) = sink.connections()
    assert connection.closed_by == "peer"
    assert [request.connection for request in sink.requests()] == [connection.number] * 3
    assert connection.opened < sink.requests()[0].received < sink.requests()[2].answered < connection.closed
    assert connection.bytes_received > 0


def test_urllib_gets_an_answer(sink):
    with urllib.request.urlopen(sink.endpoint, data=b"x", timeout=30) as answer:  # noqa: S310 - the sink's own URL
        assert answer.status == 200


def test_secrets_are_masked_wherever_a_record_is_shown(sink):
    headers = {"Authorization": "Bearer abc.def", "X-Api-Key": "k-1", "X-Note": "it is hunter22", "X-Plain": "seen"}
    requests.post(f"{sink.endpoint}/p?token=t-12345", headers=headers, timeout=30)
    (request,) = sink.requests()
    assert request.header("authorization") == "***"
    assert request.header("x-plain") == "seen"
    shown = repr(request) + json.dumps(request.as_dict())
    for secret in ("abc.def", "k-1", "hunter22", "t-12345"):
        assert secret not in shown


def test_a_secret_header_can_be_compared(sink, post):
    post(sink, Authorization="Bearer abc.def")
    (request,) = sink.requests()
    assert request.sent_header("authorization", "Bearer abc.def")
    assert not request.sent_header("authorization", "Bearer other")


def test_a_script_runs_through_its_sequence_and_goes_on_with_then(sink, post):
    sink.script("status:503", "ok", "status:400", then="status:429")
    assert [post(sink).status for _ in range(5)] == [503, 200, 400, 429, 429]
    assert [request.stored is not None for request in sink.requests()] == [False, True, False, False, False]


def test_retry_after_comes_in_seconds_and_as_a_date(sink, post):
    sink.script("retry-after:7", "retry-after:0:429", "retry-after-date:3600")
    first, second, third = post(sink), post(sink), post(sink)
    assert (first.status, first.headers["Retry-After"]) == (503, "7")
    assert (second.status, second.headers["Retry-After"]) == (429, "0")
    assert parsedate_to_datetime(third.headers["Retry-After"]).tzinfo is not None


def test_hang_takes_the_request_and_never_answers(sink):
    sink.script(then="hang")
    with socket.create_connection(("127.0.0.1", sink.port), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        sink.await_requests()
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
    sink.await_closed()
    (request,) = sink.requests()
    assert request.entered is not None
    assert (request.stored, request.answered, request.status) == (None, None, None)
    assert sink.connections()[0].closed_by == "peer"


def test_refuse_means_that_nothing_listens(sink, post):
    post(sink)
    sink.script(then="refuse")
    with pytest.raises(ConnectionRefusedError):
        post(sink)
    sink.script()
    assert post(sink).status == 200
    assert len(sink.requests()) == 2


def test_refuse_after_a_sequence_also_ends_the_connections_that_exist(sink):
    sink.script("status:503", then="refuse")
    connection = http.client.HTTPConnection(sink.address, timeout=30)
    connection.request("POST", "/", body=b"x")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (503, b"scripted\n")
    sink.await_closed()
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):  # noqa: PT012 - either may notice it
        connection.request("POST", "/", body=b"x")
        connection.getresponse()
    connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sink.port), timeout=30)


def test_a_black_hole_answers_no_connection(sink, post):
    sink.script(then="blackhole")
    with pytest.raises(TimeoutError):
        post(sink, timeout=0.1)
    sink.script(then="blackhole")
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", sink.port))
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x02"  # SYN-SENT
    sink.script()
    assert post(sink).status == 200


def test_a_request_can_be_stored_before_the_reset(sink, post):
    sink.script("reset:stored")
    with pytest.raises(ConnectionError):
        post(sink)
    (request,) = sink.requests()
    assert request.stored is not None
    assert request.answered is None


def test_reset_is_a_reset(sink, post):
    sink.script("reset")
    with pytest.raises(ConnectionResetError):
        post(sink)
    assert sink.connections()[0].closed_by == "sink"
    assert sink.requests()[0].stored is None
    assert post(sink).status == 200


def read_available(client: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        got += client.recv(count - len(got))
    return got


def test_a_stepped_drip_sends_a_byte_a_step_and_stores_when_finished(sink):
    sink.script("drip:step")
    with socket.create_connection(("127.0.0.1", sink.port), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        sink.await_requests()
        sink.step(3)
        assert read_available(client, 3) == b"HTT"
        sink.step()
        assert read_available(client, 1) == b"P"
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        client.settimeout(30)
        assert sink.requests()[0].stored is None
        sink.finish()
        answer = b"HTTP"
        while not answer.endswith(b"\r\n\r\n"):
            answer += client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        (request,) = sink.requests()
        assert request.stored < request.answered


def test_a_drip_in_time_goes_on_for_as_long_as_the_client_stays(sink):
    sink.script(then="drip:0.001")
    with socket.create_connection(("127.0.0.1", sink.port), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert b"\r\n\r\n" not in read_available(client, 100)
    sink.await_closed()
    assert sink.requests()[0].stored is None


def test_a_finished_drip_is_a_whole_answer_for_a_client(sink, post, aside):
    sink.script("drip:0.001")
    call = aside(lambda: post(sink))
    sink.await_requests()
    sink.finish()
    assert call.result().status == 200


def test_a_stall_sends_the_head_of_the_answer_alone(sink):
    sink.script("stall")
    with socket.create_connection(("127.0.0.1", sink.port), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Length: 64\r\n" in answer
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
    sink.await_closed()
    assert sink.requests()[0].stored is None


def test_truncate_cuts_the_answer(sink, post):
    sink.script("truncate")
    with pytest.raises(http.client.IncompleteRead):
        post(sink)
    assert sink.requests()[0].stored is None


def test_a_redirect_leads_to_a_page_that_stores_nothing(sink):
    sink.script("redirect", "redirect:302")
    for _ in range(2):
        answer = requests.post(sink.endpoint, data=b"x", timeout=30)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
    assert [(request.method, request.status) for request in sink.requests()] == [
        ("POST", 307),
        ("POST", 200),
        ("POST", 302),
        ("GET", 200),
    ]
    assert not any(request.stored for request in sink.requests())


def test_garbage_is_not_http_and_html_is_not_the_protocol(sink, post):
    sink.script("garbage", "garbage:html")
    with pytest.raises(http.client.BadStatusLine):
        post(sink)
    answer = post(sink)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html")
    assert not any(request.stored for request in sink.requests())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("explode", "this sink knows blackhole, drip,"),
        ("status", "expected status:CODE"),
        ("status:", "expected status:CODE"),
        ("status:99", "expected status:CODE"),
        ("status:UNAVAILABLE", "expected status:CODE"),
        ("retry-after:-1", "expected retry-after:SECONDS"),
        ("retry-after:inf", "expected retry-after:SECONDS"),
        ("drip:0", "expected drip"),
        ("hang:1", "expected hang"),
        ("partial:1", "this sink knows"),
        ("garbage:xml", "expected garbage"),
        ("refuse", "use script\\(then='refuse'\\)"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_the_way_out(sink, fault, message):
    with pytest.raises(ValueError, match=message):
        sink.script(fault)


def test_a_shut_gate_holds_what_has_entered_until_it_is_opened(sink, post, aside):
    with sink.shut() as gate:
        calls = [aside(lambda: post(sink)) for _ in range(2)]
        entered = gate.await_entered(2)
        before = sink.requests()
        opened = gate.open()
    assert [call.result().status for call in calls] == [200, 200]
    assert all(request.entered < entered and request.stored is None for request in before)
    assert gate.shut_at < entered < opened
    assert all(opened < request.stored < request.answered for request in sink.requests())


def test_a_gate_counts_from_when_it_was_shut(sink, post):
    post(sink)
    with sink.shut() as gate, pytest.raises(SinkTimeoutError, match="0 of 1 entered"):
        gate.await_entered(timeout=0.01)


def test_the_script_also_holds_behind_the_gate(sink, post, aside):
    sink.script("status:503")
    with sink.shut() as gate:
        call = aside(lambda: post(sink))
        gate.await_entered()
    assert call.result().status == 503


def test_a_request_whose_sender_has_left_the_gate_is_dropped(sink):
    with sink.shut() as gate:
        with socket.create_connection(("127.0.0.1", sink.port), timeout=30) as client:
            client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            gate.await_entered()
        gate.open()
    sink.await_closed()
    assert sink.requests()[0].stored is None


def test_stored_comes_before_answered_and_both_before_the_client_has_the_answer(sink, post):
    before = stamp()
    post(sink)
    after = stamp()
    (request,) = sink.requests()
    assert before < request.received < request.entered < request.stored < request.answered < after
    sequence = [request.received, request.entered, request.stored, request.answered]
    assert [item.sequence for item in sequence] == sorted({item.sequence for item in sequence})


def test_what_does_not_come_is_a_timeout_that_says_what_was_there(sink, post):
    post(sink)
    with pytest.raises(SinkTimeoutError, match="1 of 2 requests arrived"):
        sink.await_requests(2, timeout=0.01)
    with pytest.raises(SinkTimeoutError, match="1 of 2 requests were stored"):
        sink.await_stored(2, timeout=0.01)
    with socket.create_connection(("127.0.0.1", sink.port), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        sink.await_requests(2)
        with pytest.raises(SinkTimeoutError, match="1 connections are open"):
            sink.await_closed(timeout=0.01)


def test_clear_forgets_requests_and_closed_connections(sink, post):
    post(sink)
    sink.await_closed()
    (first,) = sink.requests()
    sink.clear()
    assert (sink.requests(), sink.connections()) == ([], [])
    post(sink)
    assert [request.number for request in sink.requests()] == [first.number + 1]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01 not http\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nxxxxxxxx",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n",
    ],
)
def test_nonsense_is_answered_400_and_does_not_end_the_sink(sink, post, nonsense):
    with socket.create_connection(("127.0.0.1", sink.port), timeout=30) as client:
        client.sendall(nonsense)
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    assert post(sink).status == 200
    assert len(sink.requests()) == 1
