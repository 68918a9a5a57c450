"""Servers, proxies and certificates for the tests of exporter_core.net and of plugins that are built on it."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import ssl
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from exporter_core import Context, ExporterShutdownError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter_core.conformance.sinks import SinkHost

ExporterT = TypeVar("ExporterT")


# How long an example takes depends on what else the machine does; the time-out of the whole test is bound enough.
# make nightly takes more examples of each property: a property that needs fewer or more than others says so as a
# fraction or a multiple of the profile's.
COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=20)
settings.register_profile("exporter-core", COMMON)
settings.register_profile("thorough", COMMON, max_examples=300)
settings.load_profile("exporter-core")

# Not the user's own: the tests look for plugins along many paths, each with an index of its own.
os.environ.setdefault("EXPORTER_CORE_CACHE", str(Path(__file__).parent / ".pytest_cache" / "exporter-core"))


# No plugin of pydantic's is installed; each process that looks for one reads the metadata of all distributions.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")

# What takes longest, by the time that it takes beside the rest. Whole checks, which start processes of their own, stand
# apart from one another.
LONGEST = (
    "exporter-core-prometheus/tests/test_conformance.py",
    "tests/bridge/test_configurator.py",
    "tests/cli/test_run.py",
    "tests/conformance/test_references.py",
    "tests/docs/test_documents.py",
    "tests/conformance/report/test_html.py",
    "tests/conformance/scheduler/test_guard.py",
    "tests/test_gevent.py",
    "exporter-core-otlp/tests/test_conformance.py",
    "tests/conformance/test_mutants.py",
    "tests/conformance/test_scheduled.py",
    "tests/services/test_services.py",
    "tests/conformance/test_wrong_input.py",
    "tests/cli/test_program.py",
    "exporter-core-sqlite/tests/test_conformance.py",
    "tests/zoo/test_process.py",
    "tests/conformance/scheduler/test_races.py",
    "exporter-core-sqlite/tests/test_retention.py",
    "tests/conformance/test_sdk_driver.py",
    "exporter-core-prometheus/tests/test_pull_prometheus.py",
    "exporter-core-console/tests/test_conformance.py",
    "tests/pipeline/test_exit.py",
    "tests/conformance/test_right_exporters.py",
    "tests/conformance/test_truth.py",
    "tests/packaging/test_third_party.py",
)

GENEROUS_SECONDS = 100.0


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for garbage neither while tests are collected nor, in each test, among all that they have imported."""
    gc.disable()
    yield
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest modules first: the processes of pytest-xdist that end before the last one have nothing to do.

    The others follow by their number of tests.
    """
    number = Counter(item.path for item in items)
    place = {path: index for path in number for index, end in enumerate(LONGEST) if path.as_posix().endswith(end)}
    items.sort(key=lambda item: (place.get(item.path, len(LONGEST)), -number[item.path]))


@pytest.fixture
def warm_python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python programs that a test starts are forked from one that has imported the libraries, but nothing of ours.

    A test of what is imported has the mark ``fresh_python``: its programs get interpreters of their own.
    """
    if request.node.get_closest_marker("fresh_python") is None:
        import warm_python

        warm_python.prepare()
        monkeypatch.setattr("subprocess.Popen", warm_python.Popen)


@pytest.fixture
def no_proxy_of_the_machine(monkeypatch):
    """The machine's own proxies are no part of a test."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "grpc_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def context() -> Context:
    """A context that ends only failing tests."""
    return Context.with_timeout(GENEROUS_SECONDS)


@pytest.fixture
def with_more_time() -> Callable[..., Any]:
    """Calls ``attempt(seconds)``, in which a time is meant to run out, with more and more until it comes far enough.

    On a busy machine a time can run out before that begins which a test is about: the attempt then returns nothing.
    """

    def call(attempt: Callable[[float], Any], seconds: float = 0.05) -> Any:
        while not (found := attempt(seconds)):
            seconds *= 4
            if seconds > GENEROUS_SECONDS:
                raise TimeoutError("it never came far enough")
        return found

    return call


@pytest.fixture(scope="session")
def sinks() -> Iterator[SinkHost]:
    """The process that all sinks of a test run are in."""
    from exporter_core.conformance.sinks import SinkHost

    with contextlib.closing(SinkHost()) as host:
        yield host


@pytest.fixture
def shut_down_later() -> Iterator[Callable[[ExporterT], ExporterT]]:
    """Returns the exporter that it is given, which is shut down after the test."""
    made: list[Any] = []

    def keep(exporter: ExporterT) -> ExporterT:
        made.append(exporter)
        return exporter

    yield keep
    for exporter in made:
        with contextlib.suppress(ExporterShutdownError):
            exporter.shutdown(Context.with_timeout(GENEROUS_SECONDS))


class Server:
    """Accepts connections and lets ``serve(connection, number)`` do with each what a test wants."""

    def __init__(
        self,
        serve: Callable[[socket.socket, int], None],
        wrap: Callable[[socket.socket], socket.socket],
        host: str,
    ):
        self._serve, self._wrap = serve, wrap
        self._listening = socket.create_server((host, 0))
        self.port: int = self._listening.getsockname()[1]
        self.connections = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._run, args=(connection, self.connections), daemon=True).start()

    def _run(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            connection = self._wrap(connection)
            self._open.append(connection)
            self._serve(connection, number)
        with contextlib.suppress(OSError):
            connection.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def request_of(connection: socket.socket) -> bytes:
    """Head and body of the next request on a connection; empty at its end."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return b""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            return b""
        body += piece
    return head + b"\r\n\r\n" + body


@pytest.fixture
def read_request() -> Callable[[socket.socket], bytes]:
    return request_of


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers: ``serve(function)``, or ``serve(answers=[...])`` for an answer to each request."""
    started: list[Server] = []

    def start(
        function: Callable[[socket.socket, int], None] | None = None,
        answers: list[bytes] | None = None,
        wrap: Callable[[socket.socket], socket.socket] = lambda connection: connection,
        host: str = "127.0.0.1",
    ) -> Server:
        coming = iter(answers or [])

        def answering(connection: socket.socket, number: int) -> None:
            while request_of(connection):
                answer = next(coming, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                connection.sendall(answer)
                if b"connection: close" in answer.lower():
                    return

        started.append(Server(function or answering, wrap, host))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def proxy(serve, read_request):
    """A proxy that connects (``CONNECT``) and passes on (``POST http://...``); ``requests`` are what it was asked."""

    def passing(connection, number):
        while True:
            request = read_request(connection)
            if not request:
                return None
            requests.append(request)
            method, target, _ = request.split(b"\r\n")[0].split(b" ")
            if method == b"CONNECT":
                return tunnel(connection, target)
            host = target.split(b"/")[2]
            with connect(host) as server:
                server.sendall(request.replace(target, b"/" + target.split(b"/", 3)[3]))
                connection.sendall(server.recv(65536))

    def tunnel(connection, target):
        with connect(target) as server:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=copy, args=(server, connection))
            back.start()
            copy(connection, server)
            back.join()

    def connect(target):
        host, _, port = target.decode().rpartition(":")
        return socket.create_connection((host, int(port)))

    def copy(source, destination):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                destination.sendall(piece)
            destination.shutdown(socket.SHUT_WR)

    requests = []
    server = serve(passing)
    server.requests = requests
    return server


class Certificates:
    """A certificate authority with a server and a client."""

    def __init__(self, directory: Path) -> None:
        import trustme
        from cryptography.hazmat.primitives import serialization

        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1", "localhost")
        client = authority.issue_cert("client")
        self.ca_file = str(directory / "ca.pem")
        self.client_cert_file = str(directory / "client.pem")
        self.client_key_file = str(directory / "client-key.pem")
        self.encrypted_key_file = str(directory / "encrypted-key.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        client.cert_chain_pems[0].write_to_path(self.client_cert_file)
        client.private_key_pem.write_to_path(self.client_key_file)
        key = serialization.load_pem_private_key(client.private_key_pem.bytes(), None)
        encrypted = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
        Path(self.encrypted_key_file).write_bytes(encrypted)
        self.server_key = server.private_key_pem.bytes()
        self.server_chain = b"".join(pem.bytes() for pem in server.cert_chain_pems)
        self._plain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.configure_cert(self._plain)
        self._mutual = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.configure_cert(self._mutual)
        authority.configure_trust(self._mutual)
        self._mutual.verify_mode = ssl.CERT_REQUIRED
        self.seen: list[str] = []
        """The names in the clients' certificates."""

    def wrap(self, connection: socket.socket) -> socket.socket:
        return self._plain.wrap_socket(connection, server_side=True)

    def wrap_mutual(self, connection: socket.socket) -> socket.socket:
        wrapped = self._mutual.wrap_socket(connection, server_side=True)
        certificate = wrapped.getpeercert() or {}
        self.seen += [str(name) for kind, name in certificate["subjectAltName"] if kind == "DNS"]  # type: ignore[misc]  # pairs
        return wrapped


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))
