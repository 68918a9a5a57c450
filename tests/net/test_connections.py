"""Connections: kept, renewed when the server has closed them, bounded in everything, gone after shutdown."""

import math
import socket
import struct
import subprocess
import sys
import textwrap
import threading

import pytest

from exporter_core import Context, ContextCancelledError, DeadlineExceededError, ExporterError, ExporterShutdownError
from exporter_core.conformance.sinks import TcpSink
from exporter_core.net import Waiter, Wire, resolving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ONE_ATTEMPT = {"enabled": False}
LONG_BODY = b"m" * 16_000_000  # more than the buffers of a connection take


def loopback_hosts():
    """The addresses of this machine's loopback interface, as they stand in URLs."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return ["127.0.0.1"]
    return ["127.0.0.1", "[::1]"]


def url(server):
    return f"http://127.0.0.1:{server.port}/v1/metrics"


@pytest.fixture
def resolved(monkeypatch):
    """Gives host names the addresses that a test wants, or does what it says."""
    hosts = {}

    def getaddrinfo(host, port, *args, **kwargs):
        found = hosts[host]
        if callable(found):
            found = found()
        return [(family, socket.SOCK_STREAM, 6, "", address) for family, address in found]

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    return hosts


def ipv4(port, host="127.0.0.1"):
    return socket.AF_INET, (host, port)


def test_a_connection_that_the_server_closed_meanwhile_is_renewed(serve, make_exporter, context, data, read_request):
    closed = threading.Semaphore(0)

    def once(connection, number):
        read_request(connection)
        connection.sendall(OK)
        connection.close()
        closed.release()

    server = serve(once)
    exporter = make_exporter(url(server), retry=ONE_ATTEMPT)
    for _ in range(3):
        exporter.export(context, data)
        closed.acquire()
    assert server.connections == 3


def test_a_request_that_crossed_the_servers_closing_is_sent_again_at_once(
    serve, make_exporter, context, data, read_request
):
    requests = []

    def closing(connection, number):
        requests.append(read_request(connection))
        connection.sendall(OK)
        if number == 1:
            requests.append(read_request(connection))  # and no answer: as if it had closed before it came
        else:
            read_request(connection)

    server = serve(closing)
    exporter = make_exporter(url(server))
    exporter.export(context, data)
    exporter.export(context, data)
    assert (server.connections, len(requests)) == (2, 3)
    assert requests[1] == requests[2]


def test_without_retries_a_request_that_got_no_answer_is_never_sent_again(
    serve, make_exporter, context, data, read_request
):
    requests = []

    def closing(connection, number):
        requests.append(read_request(connection))
        connection.sendall(OK)
        requests.append(read_request(connection))  # and no answer: it may have taken it all the same

    server = serve(closing)
    exporter = make_exporter(url(server), retry=ONE_ATTEMPT)
    exporter.export(context, data)
    with pytest.raises(ExporterError, match=r"the server closed the connection without an answer$"):
        exporter.export(context, data)
    assert (server.connections, len(requests)) == (1, 2)


def test_a_fresh_connection_that_is_closed_without_an_answer_is_a_failed_attempt(
    serve, make_exporter, context, data, read_request
):
    server = serve(lambda connection, number: read_request(connection))
    with pytest.raises(ExporterError, match=r"the server closed the connection without an answer$"):
        make_exporter(url(server), retry=ONE_ATTEMPT).export(context, data)
    assert server.connections == 1


def test_it_survives_a_restart_of_the_server(serve, make_exporter, context, data, read_request):
    def answering(connection, number):
        while read_request(connection):
            connection.sendall(OK)

    first = serve(answering)
    exporter = make_exporter(url(first), retry=ONE_ATTEMPT)
    exporter.export(context, data)
    first.close()
    with pytest.raises(ExporterError, match=r"cannot connect: Connection refused$"):
        exporter.export(context, data)
    second = socket.create_server(("127.0.0.1", first.port))

    def serve_again():
        connection, _ = second.accept()
        answering(connection, 1)
        connection.close()

    thread = threading.Thread(target=serve_again)
    thread.start()
    exporter.export(context, data)
    exporter.shutdown(context)
    thread.join()
    second.close()


def test_what_follows_an_answer_unasked_is_not_taken_for_the_next_one(
    serve, make_exporter, context, data, read_request
):
    def talking(connection, number):
        while read_request(connection):
            connection.sendall(OK + OK if number == 1 else b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")

    server = serve(talking)
    exporter = make_exporter(url(server))
    exporter.export(context, data)
    with pytest.raises(ExporterError, match=r": 400 Bad$"):
        exporter.export(context, data)
    assert server.connections == 2


def test_success_that_is_said_before_the_request_is_there_is_none(serve, make_exporter, context):
    def rash(connection, number):
        connection.recv(1000)
        connection.sendall(OK)
        kept.append(connection)

    kept = []
    with pytest.raises(ExporterError, match=r"the server says 200 before it has the whole request$"):
        make_exporter(url(serve(rash))).export(context, LONG_BODY)


@pytest.mark.parametrize("status", ["200 OK", "503 Busy"])
def test_an_answer_whose_end_is_torn_off_is_not_whole(serve, make_exporter, context, data, read_request, status):
    """Without a length, the end of the connection is that of the answer; a reset is none."""

    def tearing(connection, _number):
        read_request(connection)
        connection.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with pytest.raises(ExporterError, match="the answer is cut short"):
        make_exporter(url(serve(tearing)), retry=ONE_ATTEMPT).export(context, data)


def test_many_pieces_go_over_a_wire_in_several_turns():
    here, there = socket.socketpair()
    here.setblocking(False)
    wire = Wire(here, Waiter())
    unsent = [memoryview(b"x")] * 3000
    with there:
        assert wire.write(unsent)
        assert unsent == []
        assert there.recv(4000) == b"x" * 3000
    wire.close()


def test_an_answer_that_comes_while_the_request_is_written_ends_the_writing(
    serve, make_exporter, context, read_request
):
    def refusing(connection, number):
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.recv(1)  # and reads no further, until the other end closes
        while connection.recv(1 << 20):
            pass

    server = serve(refusing)
    with pytest.raises(ExporterError, match="413 Too Large"):
        make_exporter(url(server)).export(context, LONG_BODY)


@pytest.mark.parametrize("host", loopback_hosts())
def test_both_versions_of_ip_are_spoken(make_exporter, context, data, host, read_request):
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    listening = socket.create_server((host.strip("[]"), 0), family=family)
    port = listening.getsockname()[1]
    requests = []

    def answer():
        connection, _ = listening.accept()
        with connection:
            requests.append(read_request(connection))
            connection.sendall(OK)
            read_request(connection)

    thread = threading.Thread(target=answer)
    thread.start()
    exporter = make_exporter(f"http://{host}:{port}/")
    exporter.export(context, data)
    exporter.shutdown(context)
    thread.join()
    listening.close()
    assert f"Host: {host}:{port}\r\n".encode() in requests[0]


def test_addresses_are_tried_in_turn_until_one_answers(serve, make_exporter, context, data, resolved):
    server = serve()
    with TcpSink() as refusing:
        refusing.script(then="refuse")
        resolved["several.test"] = lambda: [ipv4(refusing.port), ipv4(server.port)]
        # The port comes from the address here, as it does for no real name.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resolving, "_at_port", lambda address, port: address)
            make_exporter("http://several.test/").export(context, data)
    assert server.connections == 1


def test_an_address_that_does_not_answer_is_not_waited_for_long(serve, make_exporter, context, data, resolved):
    server = serve()
    with TcpSink() as silent:
        silent.script(then="blackhole")
        resolved["slow.test"] = lambda: [ipv4(silent.port), ipv4(server.port)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resolving, "_at_port", lambda address, port: address)
            make_exporter("http://slow.test/").export(context, data)
    assert server.connections == 1


def test_families_take_turns():
    v4, v6 = [(socket.AF_INET, (str(n),)) for n in range(3)], [(socket.AF_INET6, (str(n),)) for n in range(2)]
    assert resolving.in_turn([*v6, *v4]) == [v6[0], v4[0], v6[1], v4[1], v4[2]]
    assert resolving.in_turn([]) == []


def test_a_host_that_is_not_found_is_an_error(make_exporter, resolved, data):
    def missing():
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolved["missing.test"] = missing
    with pytest.raises(ExporterError, match=r"^http://missing.test/: the host is not found: Name or service not known"):
        make_exporter("http://missing.test/", retry=ONE_ATTEMPT).export(Context.with_timeout(20), data)


def test_a_lookup_that_hangs_ends_at_the_deadline_and_is_not_begun_twice(serve, make_exporter, context, data, resolved):
    server = serve()
    entered, leave = [], threading.Event()

    def hanging():
        entered.append(1)
        leave.wait()
        return [ipv4(server.port)]

    resolved["hanging.test"] = hanging
    exporter = make_exporter(f"http://hanging.test:{server.port}/")
    for _ in range(3):
        with pytest.raises(DeadlineExceededError, match="timed out while connecting"):
            exporter.export(Context.with_timeout(0.05), data)
    assert len(entered) == 1
    assert not leave.is_set()
    leave.set()
    exporter.export(context, data)


def cancelled_while_waiting(exporter, data, waiting):
    """Cancel an export once it waits for the server, and give back its error."""
    context, errors = Context.background(), []

    def export():
        try:
            exporter.export(context, data)
        except ContextCancelledError as error:
            errors.append(error)

    thread = threading.Thread(target=export)
    thread.start()
    waiting()
    context.cancel("by the test")
    thread.join(30)
    assert not thread.is_alive()
    return errors


def test_a_lookup_that_hangs_is_left_behind_when_the_export_is_cancelled(make_exporter, data, resolved):
    entered, leave = threading.Event(), threading.Event()

    def hanging():
        entered.set()
        leave.wait()
        return []

    resolved["cancelled.test"] = hanging
    exporter = make_exporter("http://cancelled.test/", timeout=0)
    assert cancelled_while_waiting(exporter, data, entered.wait)
    assert not leave.is_set()
    leave.set()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_cancelling_ends_a_wait_for_a_server_that_says_nothing(make_exporter, data, scheme):
    with TcpSink() as silent:
        silent.script(then="hang")
        exporter = make_exporter(f"{scheme}://{silent.address}/", timeout=0)
        assert cancelled_while_waiting(exporter, data, silent.await_requests)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("fault", ["hang", "blackhole"])
def test_a_server_that_says_nothing_ends_no_later_than_the_option_timeout(make_exporter, context, data, scheme, fault):
    with TcpSink() as silent:
        silent.script(then=fault)
        exporter = make_exporter(f"{scheme}://{silent.address}/", timeout=50)
        with pytest.raises(DeadlineExceededError, match=r"timed out while .* \(timeout: 0.05 s\)$"):
            exporter.export(context, data)
        assert not context.done


def test_cancelling_ends_the_writing_to_a_server_that_stops_reading(serve, make_exporter):
    read, leave = threading.Event(), threading.Event()

    def stopping(connection, number):
        connection.recv(1)
        read.set()
        leave.wait()

    exporter = make_exporter(url(serve(stopping)), timeout=0)
    assert cancelled_while_waiting(exporter, LONG_BODY, read.wait)
    leave.set()


@pytest.mark.parametrize("seconds", [10.0**9, math.inf])
def test_a_deadline_may_be_as_far_away_as_one_likes(sink, make_exporter, data, seconds):
    make_exporter(sink.endpoint, timeout=9_223_372_036_000).export(Context.with_timeout(seconds), data)
    assert len(sink.requests()) == 1


def test_a_server_that_talks_without_end_ends_at_the_deadline(serve, make_exporter, data):
    def talking(connection, number):
        while True:
            connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)

    with pytest.raises(DeadlineExceededError):
        make_exporter(url(serve(talking))).export(Context.with_timeout(0.1), data)


def test_shutdown_ends_an_export_when_its_context_is_done(sink, make_exporter, context, data):
    exporter = make_exporter(sink.endpoint, timeout=0)
    errors = []

    def export():
        try:
            exporter.export(Context.background(), data)
        except ExporterShutdownError as error:
            errors.append(str(error))

    with sink.shut() as gate:
        thread = threading.Thread(target=export)
        thread.start()
        gate.await_entered()
        with pytest.raises(DeadlineExceededError):
            exporter.shutdown(Context.with_timeout(0))
        thread.join(30)
    assert errors == ["the exporter was shut down before the export was done"]
    sink.await_closed()
    with pytest.raises(ExporterShutdownError):
        exporter.export(context, data)
    exporter.force_flush(context)


def test_shutdown_lets_a_running_export_end(sink, make_exporter, context, data):
    exporter = make_exporter(sink.endpoint)
    with sink.shut() as gate:
        exporting = threading.Thread(target=exporter.export, args=(context, data))
        exporting.start()
        gate.await_entered()
        stopping = threading.Thread(target=exporter.shutdown, args=(context,))
        stopping.start()
        while not exporter.is_shut_down:
            context.wait(0.001)
        gate.open()
        exporting.join(30)
        stopping.join(30)
    assert len(sink.requests()) == 1
    sink.await_closed()


def test_exports_from_several_threads_take_turns(sink, make_exporter, context, data):
    exporter = make_exporter(sink.endpoint)
    threads = [threading.Thread(target=exporter.export, args=(context, data)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(sink.requests()) == 8
    assert len(sink.connections()) == 1
    assert math.isfinite(context.remaining())


FORKING = """
    import os, sys, warnings
    from exporter_core import Context
    from exporter_core.net import HttpClient, HttpOptions

    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, from 3.12
    client = HttpClient(HttpOptions(endpoint=sys.argv[1], tls={"ca_file": sys.argv[2]}), user_agent="forking/1")

    def post():
        client.post(Context.with_timeout(30), b"data", content_type="text/plain")

    post()
    child = os.fork()
    if child == 0:
        post()
        client.close()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    post()
    client.close()
    sys.exit(status)
"""


def test_after_a_fork_the_child_connects_anew_and_the_parents_tls_connection_goes_on(serve, certificates, read_request):
    requests = []

    def answering(connection, number):
        while read_request(connection):
            requests.append(number)
            connection.sendall(OK)

    server = serve(answering, wrap=certificates.wrap)
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(FORKING),
        f"https://127.0.0.1:{server.port}/",
        certificates.ca_file,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert requests == [1, 2, 1]
