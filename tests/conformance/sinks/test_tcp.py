"""The raw TCP sink."""

from __future__ import annotations

import socket

import pytest

from exporter_core.conformance.sinks import TcpSink, stamp

BOUND = 30


def fill(client: socket.socket) -> None:
    while True:
        client.send(b"x" * 65536)


@pytest.fixture(scope="module")
def running():
    with TcpSink() as sink:
        yield sink


@pytest.fixture
def sink(running):
    running.script()
    running.await_closed()
    running.clear()
    return running


def connect(sink) -> socket.socket:
    return socket.create_connection(("127.0.0.1", sink.port), timeout=BOUND)


def test_bytes_are_kept_in_their_order(sink):
    before = stamp()
    data = bytes(range(256)) * 4000
    with connect(sink) as client:
        client.sendall(data)
    sink.await_closed()
    sink.await_stored()
    assert sink.content() == data
    (connection,) = sink.connections()
    assert connection.bytes_received == len(data)
    assert connection.closed_by == "peer"
    assert before < connection.opened < sink.requests()[0].received
    assert sum(request.body_size for request in sink.requests()) == len(data)


def test_the_bytes_of_connections_that_are_open_at_once_are_kept_apart(sink):
    with connect(sink) as first, connect(sink) as second:
        for number, client in enumerate((first, second, first, second), start=1):
            client.sendall(b"%d" % number)
            sink.await_stored(number)
    assert sink.content() == b"1324"


def test_reset_truncate_and_garbage_are_due_with_the_first_bytes_of_a_connection(sink):
    sink.script("reset", "truncate", "garbage", "ok")
    with connect(sink) as client:
        client.sendall(b"1")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with connect(sink) as client:
        client.sendall(b"2")
        assert client.recv(1) == b""
    with connect(sink) as client:
        client.sendall(b"3")
        assert b"no answer in any protocol" in client.recv(100)
    with connect(sink) as client:
        client.sendall(b"4")
        sink.await_stored(3)
    assert sink.content() == b"234"


def test_refuse_and_blackhole_stop_new_connections(sink):
    sink.script(then="refuse")
    with pytest.raises(ConnectionRefusedError):
        connect(sink)
    sink.script(then="blackhole")
    with pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", sink.port), timeout=0.1)
    sink.script()
    connect(sink).close()


def test_silence_accepts_connections_and_reads_nothing_until_another_script_resets_them(sink, until):
    sink.script(then="silence")
    with connect(sink) as client:
        client.settimeout(10)
        client.sendall(b"a TLS handshake")
        until(sink.count_open)
        sink.script()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert sink.requests() == []


@pytest.mark.parametrize("how", ["hang", "gate"])
def test_a_sink_that_does_not_read_blocks_the_writer(sink, how):
    gate = sink.shut() if how == "gate" else None
    if gate is None:
        sink.script(then="hang")
    with connect(sink) as client:
        client.sendall(b"x")
        if gate is not None:
            gate.await_entered()
        else:
            sink.await_requests()
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            fill(client)
        assert sink.content() == b""
        if gate is not None:
            client.settimeout(BOUND)
            gate.open()
            client.sendall(b"y" * 65536)
    if gate is not None:
        sink.await_closed()
        assert sink.content().startswith(b"x")
        assert all(request.stored > gate.opened_at for request in sink.requests())


def test_a_hung_connection_is_seen_to_close_and_a_new_script_resets_it(sink):
    sink.script(then="hang")
    with connect(sink) as client:
        client.sendall(b"x")
        sink.await_requests()
    sink.await_closed()
    assert sink.connections()[0].closed_by == "peer"
    with connect(sink) as client:
        client.sendall(b"x")
        sink.await_requests(2)
        sink.script()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert sink.connections()[1].closed_by == "sink"


def test_what_a_peer_has_sent_before_it_left_the_gate_arrives(sink):
    with sink.shut() as gate, connect(sink) as client:
        client.sendall(b"last words")
        gate.await_entered()
        client.close()
    sink.await_stored()
    assert sink.content() == b"last words"


def test_there_is_nothing_to_answer(sink):
    with pytest.raises(ValueError, match="this sink knows blackhole, garbage, hang"):
        sink.script("status:503")
    assert sink.endpoint == f"tcp://127.0.0.1:{sink.port}"
