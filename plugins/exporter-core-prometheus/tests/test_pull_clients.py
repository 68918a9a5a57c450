"""Clients that mean no good: slow, half-open, too many, too large. Scrapers are answered all the same."""

import contextlib
import http.client
import io
import queue
import resource
import socket
import threading

import pytest
from exporter_core_prometheus.pull import server as bounds
from exporter_core_prometheus.pull.server import CONNECTIONS, Server

from exporter_core import Context

GENEROUS_SECONDS = 30.0
BODY = b"x" * 8_000_000  # more than the kernel takes for a client that does not read


CLOSING_REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def application(environ, start_response):
    if environ["PATH_INFO"] == "/large":
        start_response("200 OK", [("Content-Length", str(len(BODY)))])
        return environ["wsgi.file_wrapper"](io.BytesIO(BODY))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


@pytest.fixture
def server():
    made = Server(application, "127.0.0.1", 0)
    made.start()
    yield made
    made.stop(Context.with_timeout(GENEROUS_SECONDS))


@pytest.fixture
def connect(server):
    with contextlib.ExitStack() as open_ones:

        def make(data=b"", **options):
            client = socket.create_connection(server.address, timeout=GENEROUS_SECONDS)
            open_ones.callback(client.close)
            if options.get("receive_buffer"):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["receive_buffer"])
            client.sendall(data)
            return client

        yield make


def scrape(server, path="/"):
    connection = http.client.HTTPConnection(*server.address, timeout=GENEROUS_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read()


def answer(client):
    """Whatever comes until the server closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            found += data
    return found


def test_a_request_that_does_not_end_is_closed_and_meanwhile_others_are_answered(server, connect, monkeypatch):
    monkeypatch.setattr(bounds, "REQUEST_SECONDS", 0.3)
    slow = [connect(b"GET /"), connect(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")]
    ended = threading.Event()

    def drip():
        with contextlib.suppress(OSError):
            while not ended.wait(0.02):
                slow[1].sendall(b"y")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        assert scrape(server) == b"ok"
        assert [answer(client) for client in slow] == [b"", b""]
    finally:
        ended.set()
        dripping.join()
    assert scrape(server) == b"ok"


def test_an_idle_connection_is_closed(server, connect, monkeypatch):
    silent = connect()
    used = connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    found = b""
    while not found.endswith(b"ok"):
        found += used.recv(65536)
    monkeypatch.setattr(bounds, "IDLE_SECONDS", 0.3)
    assert answer(used) == b""
    assert answer(silent) == b""


def test_a_client_that_does_not_take_its_answer_is_closed(server, connect, monkeypatch):
    monkeypatch.setattr(bounds, "ANSWER_SECONDS", 0.5)
    client = connect(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", receive_buffer=4096)
    assert client.recv(15) == b"HTTP/1.1 200 OK"
    while server._waitress.active_channels:
        threading.Event().wait(0.02)  # until the next look
    assert scrape(server) == b"ok"


def test_clients_that_hold_every_connection_shut_nobody_out(server, connect):
    holders = [connect(b"GET / HTTP/1.1\r\n") for _ in range(CONNECTIONS + 20)]
    assert scrape(server) == b"ok"
    assert len(server._waitress.active_channels) <= CONNECTIONS
    assert answer(holders[0]) == b""  # the oldest made room


@pytest.fixture
def in_the_next_round(server, monkeypatch):
    """Has something done in the server's thread once, when the connections that are late have just been closed."""
    maintain = server._waitress.maintenance

    def arrange(act):
        def maintain_and_act(now):
            maintain(now)
            monkeypatch.setattr(server._waitress, "maintenance", maintain)
            act()

        monkeypatch.setattr(server._waitress, "maintenance", maintain_and_act)

    return arrange


def test_a_client_that_comes_while_a_late_one_is_closed_is_answered(server, connect, monkeypatch, in_the_next_round):
    late = connect(b"GET /")
    assert scrape(server) == b"ok"  # so the server has it
    # Made before, lest it take the number that the server's socket for it shall get.
    with socket.socket() as client:
        client.settimeout(GENEROUS_SECONDS)
        in_the_next_round(lambda: client.connect(server.address))
        monkeypatch.setattr(bounds, "REQUEST_SECONDS", 0.0)
        assert answer(late) == b""
        assert scrape(server) == b"ok"  # a round later
        client.sendall(CLOSING_REQUEST)
        assert answer(client).endswith(b"ok")


def test_a_client_for_whom_one_that_sends_makes_room_is_answered(server, connect, in_the_next_round):
    holders = [connect(b"GET / HTTP/1.1\r\n") for _ in range(CONNECTIONS)]
    came = queue.SimpleQueue()

    def come_while_the_oldest_sends():
        holders[0].sendall(b"X: y\r\n")
        came.put(connect())

    while len(server._waitress.active_channels) < CONNECTIONS:
        threading.Event().wait(0.02)
    in_the_next_round(come_while_the_oldest_sends)
    client = came.get(timeout=GENEROUS_SECONDS)
    assert answer(holders[0]) == b""
    assert scrape(server) == b"ok"  # a round later
    client.sendall(CLOSING_REQUEST)
    assert answer(client).endswith(b"ok")


def test_thousands_of_connections_grow_nothing(server, connect):
    for _ in range(2000):
        connect().close()
    slow = [connect(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", receive_buffer=4096) for _ in range(20)]
    assert len(scrape(server, "/large")) == len(BODY)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slow += [connect(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", receive_buffer=4096) for _ in range(60)]
    assert scrape(server) == b"ok"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 20 * len(BODY)  # copies for each would be 60
    assert len(server._waitress.active_channels) <= CONNECTIONS
    assert len(slow) == 80


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", b"431"),
        (b"GET /" + b"y" * 100_000 + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"5000\r\n" + b"y" * 30_000, b"413"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n : x\r\n\r\n", b"400"),
    ],
    ids=["header", "headers", "path", "body", "chunks", "tls", "length", "name"],
)
def test_what_is_too_large_or_no_request_is_refused(server, connect, request_, status):
    client = connect()
    with contextlib.suppress(OSError):
        client.sendall(request_)
        client.shutdown(socket.SHUT_WR)
    found = answer(client)
    assert found.split(b" ")[1:2] in ([status], []), found[:100]  # or cut off while it still sent
    assert scrape(server) == b"ok"


def test_clients_that_go_away_are_nobodys_error(server, connect, caplog):
    for data in (b"", b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HT"):
        client = connect(data)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()  # with a reset
    assert scrape(server) == b"ok"
    assert caplog.records == []


def test_several_requests_in_one_connection_are_answered_in_order(server, connect):
    client = connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + CLOSING_REQUEST)
    assert answer(client).count(b"\r\n\r\nok") == 3


def test_stopping_twice_or_before_the_start_is_fine():
    unstarted = Server(application, "127.0.0.1", 0)
    unstarted.stop(Context.with_timeout(1))
    with socket.create_server(unstarted.address):
        pass
    started = Server(application, "127.0.0.1", 0)
    started.start()
    started.stop(Context.with_timeout(0))
    with socket.create_server(started.address):
        pass


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_it_serves_on_addresses_of_both_families(host):
    try:
        server = Server(application, host, 0)
    except Exception:
        if host != "::1":
            raise
        pytest.skip("this machine has no IPv6")
    server.start()
    assert scrape(server) == b"ok"
    server.stop(Context.with_timeout(GENEROUS_SECONDS))
