"""A transport that obeys a context: http.client over a socket that never blocks longer than the context lasts."""

from __future__ import annotations

import email.utils
import functools
import http.client
import io
import ipaddress
import random
import select
import socket
import ssl
import threading
from datetime import UTC, datetime
from urllib.parse import urlsplit

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk.metrics.export import MetricsData
from pydantic import Field, SecretStr

from exporter_core import Context, ExporterConfig, ExporterError, PartialSuccessError
from exporter_core.otlp import Encoder

TRANSIENT = frozenset({429, 502, 503, 504})


def encode(metrics: MetricsData) -> bytes:
    """Encode; ExporterError for points that have no form in OTLP."""
    encoded = Encoder().encode(metrics)
    if encoded.dropped:
        raise ExporterError(f"{len(encoded.dropped)} points have no form in OTLP: {encoded.dropped[0]}")
    return encoded.data


class HttpConfig(ExporterConfig):
    endpoint: str = Field(description="The URL.")
    token: SecretStr = Field(default=SecretStr(""), description="The bearer token.")


class Transient(ExporterError):
    """Worth another attempt."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ContextSocket:
    """A socket whose every wait ends with the context."""

    def __init__(self, sock: socket.socket, context: Context) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.context = context
        self.readers = 0
        self.closed = False

    def wait(self, events: int) -> None:
        poller = select.poll()
        poller.register(self.sock, events)
        while True:
            self.context.raise_if_done()
            if poller.poll(5):
                return

    def call(self, function, events: int):
        while True:
            try:
                return function()
            except ssl.SSLWantReadError:
                self.wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self.wait(select.POLLOUT)
            except BlockingIOError:
                self.wait(events)

    def sendall(self, data) -> None:
        view = memoryview(data).cast("B")
        while view:
            self.context.raise_if_done()
            part = view[:65536]
            view = view[self.call(lambda p=part: self.sock.send(p), select.POLLOUT) :]

    def recv_into(self, buffer) -> int:
        self.context.raise_if_done()
        return self.call(lambda: self.sock.recv_into(buffer), select.POLLIN)

    def makefile(self, mode: str, *args, **kwargs):
        self.readers += 1
        return io.BufferedReader(_Reader(self))

    def setsockopt(self, *args) -> None:
        self.sock.setsockopt(*args)

    def close(self) -> None:
        self.closed = True
        self._maybe()

    def _maybe(self) -> None:
        if self.closed and not self.readers:
            self.sock.close()

    def kill(self) -> None:
        self.sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, owner: ContextSocket) -> None:
        self.owner = owner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self.owner.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self.owner.readers -= 1
            self.owner._maybe()


def literal(host: str, port: int) -> list:
    """The address itself, if the host is one: nothing is looked up."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return []
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return [(family, socket.SOCK_STREAM, 0, "", (host, port))]


def look_up(context: Context, host: str, port: int) -> list:
    numeric = literal(host, port)
    if numeric:
        return numeric
    found: list = []
    done = threading.Event()

    def ask() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.append(error)
        done.set()

    threading.Thread(target=ask, daemon=True, name="look-up").start()
    while not done.wait(0.01):
        context.raise_if_done()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def connect(context: Context, host: str, port: int, tls: bool = False) -> ContextSocket:
    error: OSError = OSError("no address")
    for family, kind, proto, _, address in look_up(context, host, port):
        raw = socket.socket(family, kind, proto)
        made = ContextSocket(raw, context)
        try:
            code = raw.connect_ex(address)
            if code not in (0, 115):
                raise OSError(code, "cannot connect")
            made.wait(select.POLLOUT)
            code = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, "cannot connect")
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                made.sock = trust().wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
                made.call(made.sock.do_handshake, select.POLLIN)
        except OSError as problem:
            made.kill()
            if isinstance(problem, ssl.SSLError):
                raise
            context.raise_if_done()
            error = problem
            continue
        except BaseException:
            made.kill()
            raise
        return made
    raise error


@functools.cache
def trust() -> ssl.SSLContext:
    """Reading the certificates takes a while: once."""
    return ssl.create_default_context()


class Answer:
    def __init__(self, status: int, headers, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


class Transport:
    """One kept connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.tls = parts.scheme == "https"
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or (443 if self.tls else 80)
        self.path = parts.path or "/"
        self.connection: http.client.HTTPConnection | None = None

    def request(self, context: Context, body: bytes, headers: dict) -> Answer:
        try:
            if self.connection is None or self.connection.sock is None:
                self.connection = http.client.HTTPConnection(self.host, self.port)
                self.connection.sock = connect(context, self.host, self.port, self.tls)
            self.connection.sock.context = context
            self.connection.request("POST", self.path, body, headers)
            response = self.connection.getresponse()
            try:
                return Answer(response.status, response.headers, response.read())
            finally:
                if response.will_close:
                    response.close()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            sock = connection.sock
            connection.close()
            if sock is not None:
                sock.kill()


def retry_after(headers) -> float | None:
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def judge(answer: Answer) -> None:
    """Raise for everything but OTLP's success."""
    if answer.status in TRANSIENT:
        raise Transient(f"status {answer.status}", retry_after(answer.headers))
    if answer.status != 200:
        raise ExporterError(f"status {answer.status}")
    if answer.headers.get("Content-Type", "").partition(";")[0].strip() != "application/x-protobuf":
        raise ExporterError("the answer is not OTLP's")
    try:
        parsed = ExportMetricsServiceResponse.FromString(answer.body)
    except Exception as error:
        raise ExporterError("the answer is not OTLP's") from error
    rejected = parsed.partial_success.rejected_data_points
    if rejected:
        raise PartialSuccessError("points were rejected", rejected_points=rejected)


class Sender:
    """Attempts with pauses; its methods are what the wrong ones change."""

    first_pause = 0.2
    longest_pause = 3.0
    attempts = 12
    transport_class = Transport
    content_type = "application/x-protobuf"

    def __init__(self, config: HttpConfig) -> None:
        self.config = config
        self.transport = self.transport_class(config.endpoint)

    def headers(self) -> dict:
        headers = {"Content-Type": self.content_type}
        if self.config.token.get_secret_value():
            headers["Authorization"] = "Bearer " + self.config.token.get_secret_value()
        return headers

    def judge(self, answer: Answer) -> None:
        judge(answer)

    def attempt(self, context: Context, body: bytes) -> None:
        try:
            answer = self.transport.request(context, body, self.headers())
        except http.client.IncompleteRead as error:
            raise ExporterError("the answer was cut short") from error
        except ssl.SSLError as error:
            raise ExporterError("TLS failed") from error
        except ConnectionError as error:  # RemoteDisconnected included
            raise Transient("the connection failed: " + type(error).__name__) from error
        except http.client.HTTPException as error:
            raise ExporterError("the answer is not HTTP") from error
        except TimeoutError:
            raise
        except OSError as error:
            raise Transient("the network failed: " + type(error).__name__) from error
        self.judge(answer)

    def wait(self, context: Context, seconds: float) -> None:
        context.wait(seconds)
        context.raise_if_done()

    def send(self, context: Context, body: bytes) -> None:
        pause = self.first_pause
        for number in range(self.attempts):
            context.raise_if_done()
            try:
                return self.attempt(context, body)
            except Transient as failure:
                if number == self.attempts - 1:
                    raise ExporterError("gave up: " + str(failure)) from failure
                seconds = pause * random.uniform(0.75, 1.25)
                if failure.retry_after is not None:
                    seconds = max(seconds, failure.retry_after)
                self.wait(context, seconds)
                pause = min(pause * 2, self.longest_pause)

    def close(self) -> None:
        self.transport.close()

    def inherited(self) -> list:
        connection = self.transport.connection
        return [] if connection is None else [connection, connection.sock]
