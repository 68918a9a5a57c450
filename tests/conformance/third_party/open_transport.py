"""A small HTTP/1.1 client over plain sockets, and what the exporters share."""

from __future__ import annotations

import gzip
import logging
import random
import socket
import ssl
import threading
import zlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from pydantic import SecretStr

from exporter_core import (
    Context,
    ExporterConfig,
    ExporterError,
)
from exporter_core.authoring import keep_untouched
from exporter_core.conformance import SinkHarness

log = logging.getLogger("open.http")
RETRYABLE = frozenset({429, 502, 503, 504})


class HttpConfig(ExporterConfig):
    """Options."""

    endpoint: str
    """Where to send to."""
    token: SecretStr = SecretStr("")
    """Sent as a bearer token."""


class HttpHarness(SinkHarness):
    kind = "otlp_http"
    secret = "tok-5f1c9e7b2a8d4033"  # noqa: S105 - not one

    def config(self):
        return {"endpoint": self.endpoint, "token": self.secret}


class Again(ExporterError):  # noqa: N818 - it asks for something
    """An attempt that failed, of which another may succeed."""

    def __init__(self, message, retry_after=None):
        super().__init__(message)
        self.retry_after = retry_after


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


class HttpClient:
    """One connection that is kept alive; requests one at a time."""

    max_attempts = 6
    first_pause = 0.1
    longest_pause = 5.0
    longest_retry_after = 300.0
    gzip = True

    def __init__(self, config: HttpConfig) -> None:
        url = urlsplit(config.endpoint)
        self.scheme, self.host = url.scheme, url.hostname or ""
        self.port = url.port or (443 if url.scheme == "https" else 80)
        self.path = url.path or "/"
        self.token = config.token
        self.sock: socket.socket | None = None

    # --- connecting
    def resolve(self, context: Context):
        """Addresses of the host; the look-up is on a daemon thread, since it cannot be ended."""
        try:
            return socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            pass
        box: list = []
        finished = threading.Event()

        def look_up():
            try:
                box.append(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
            except BaseException as error:  # noqa: BLE001 - whoever waits is told
                box.append(error)
            finished.set()

        threading.Thread(target=look_up, daemon=True, name="look-up").start()
        handle = context.on_done(finished.set)
        try:
            finished.wait()
        finally:
            handle.unregister()
        if not box:
            context.raise_if_done()
        if isinstance(box[0], BaseException):
            raise Again("the host is not found") from box[0]
        return box[0]

    def connect(self, context: Context) -> None:
        last: BaseException | None = None
        for family, kind, proto, _, address in self.resolve(context):
            context.raise_if_done()
            sock = socket.socket(family, kind, proto)
            try:
                self.connect_socket(context, sock, address)
            except OSError as error:
                sock.close()
                context.raise_if_done()
                last = error
                continue
            except BaseException:
                sock.close()
                raise
            if self.scheme == "https":
                sock = self.start_tls(context, sock)
            self.sock = sock
            return
        raise Again("no connection") from last

    def connect_socket(self, context, sock, address):
        """Non-blocking, with a poll, so that a cancellation is seen."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wake_in, wake_out = socket.socketpair()
        handle = context.on_done(lambda: _quietly(wake_out.send, b"x"))
        try:
            sock.setblocking(False)
            code = sock.connect_ex(address)
            import errno
            import select

            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
            poll = select.poll()
            poll.register(sock, select.POLLOUT)
            poll.register(wake_in, select.POLLIN)
            while not poll.poll():
                pass
            context.raise_if_done()
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, "connect")
            sock.setblocking(True)
        finally:
            handle.unregister()
            wake_in.close()
            wake_out.close()

    def start_tls(self, context, sock):
        handle = context.on_done(lambda: _quietly(sock.shutdown, socket.SHUT_RDWR))
        tls = ssl.create_default_context().wrap_socket(sock, server_hostname=self.host, do_handshake_on_connect=False)
        handle.unregister()
        handle = context.on_done(lambda: _quietly(tls.shutdown, socket.SHUT_RDWR))
        try:
            tls.do_handshake()
        except ssl.SSLError as error:
            tls.close()
            context.raise_if_done()
            raise ExporterError("TLS fails") from error
        except OSError as error:
            tls.close()
            context.raise_if_done()
            raise Again("the connection broke in the TLS handshake") from error
        except BaseException:
            tls.close()
            raise
        finally:
            handle.unregister()
        return tls

    # --- a request
    def headers(self, body: bytes) -> list[str]:
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "Content-Type: application/x-protobuf",
            f"Content-Length: {len(body)}",
            "User-Agent: open/1",
        ]
        if self.gzip:
            lines.append("Content-Encoding: gzip")
        if self.token.get_secret_value():
            lines.append(f"Authorization: Bearer {self.token.get_secret_value()}")
        return lines

    def compress(self, body: bytes) -> bytes:
        return gzip.compress(body, 5) if self.gzip else body

    def request(self, context: Context, body: bytes) -> Answer:
        """One request, on the open connection if it still is; raises OSError, or the context's error."""
        reused = self.sock is not None
        if reused and self.is_stale():
            self.close()
        if self.sock is None:
            self.connect(context)
        sock = self.sock
        handle = context.on_done(lambda: _quietly(sock.shutdown, socket.SHUT_RDWR))
        try:
            self.write(context, sock, ("\r\n".join(self.headers(body)) + "\r\n\r\n").encode() + body)
            answer, keep = self.read_answer(context, sock)
        except BaseException:
            self.drop()
            raise
        finally:
            handle.unregister()
        if not keep:
            self.close()
        return answer

    def drop(self):
        self.close()

    def is_stale(self) -> bool:
        import select

        return bool(select.select([self.sock], [], [], 0)[0])

    def write(self, context, sock, content):
        sock.sendall(content)

    def read_answer(self, context, sock) -> tuple[Answer, bool]:
        file = sock.makefile("rb")
        try:
            line = file.readline(65537)
            if not line:
                raise ConnectionResetError("closed before an answer")
            parts = line.decode("latin-1").split(None, 2)
            if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit() or len(parts[1]) != 3:
                raise ExporterError("the answer is not HTTP")
            headers: dict[str, str] = {}
            while True:
                line = file.readline(65537)
                if line in (b"\r\n", b"\n"):
                    break
                if not line:
                    raise ExporterError("the answer is cut short")
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
            status = int(parts[1])
            body, keep = self.read_body(file, status, headers)
            if headers.get("content-encoding") == "gzip":
                body = zlib.decompress(body, 31)
            return Answer(status, headers, body), keep and headers.get("connection", "").lower() != "close"
        except (ValueError, zlib.error) as error:
            raise ExporterError("the answer is not HTTP") from error
        finally:
            file.close()

    def read_body(self, file, status, headers) -> tuple[bytes, bool]:
        if status in (204, 304):
            return b"", True
        if headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while size := int(file.readline(1000).split(b";")[0], 16):
                parts.append(self.read_exactly(file, size))
                self.read_exactly(file, 2)
            while file.readline(65537) not in (b"\r\n", b"\n", b""):
                pass
            return b"".join(parts), True
        if "content-length" in headers:
            return self.read_exactly(file, int(headers["content-length"])), True
        return file.read(), False

    def read_exactly(self, file, size):
        data = file.read(size)
        if len(data) != size:
            raise ExporterError("the answer is cut short")
        return data

    # --- what an answer means
    def attempt(self, context: Context, body: bytes) -> int:
        """The number of rejected points."""
        try:
            answer = self.request(context, body)
        except OSError as error:
            context.raise_if_done()
            raise Again(f"the connection broke: {type(error).__name__}") from error
        return self.judge(answer)

    def judge(self, answer: Answer) -> int:
        if answer.status in RETRYABLE:
            raise Again(f"the server answered {answer.status}", self.retry_after(answer.headers))
        if answer.status != 200:
            raise ExporterError(f"the server answered {answer.status}")
        kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        if answer.body and kind != "application/x-protobuf":
            raise ExporterError("the answer is none of OTLP's")
        try:
            response = ExportMetricsServiceResponse.FromString(answer.body)
        except DecodeError as error:
            raise ExporterError("the answer is none of OTLP's") from error
        partial = response.partial_success
        if partial.error_message and not partial.rejected_data_points:
            log.warning("the server warns of a batch that it took")
        return partial.rejected_data_points

    def retry_after(self, headers) -> float | None:
        value = headers.get("retry-after")
        if value is None:
            return None
        if value.strip().isdigit():
            return float(value)
        try:
            date = parsedate_to_datetime(value)
            now = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
            return max(0.0, (date - now).total_seconds())
        except (ValueError, TypeError):
            return None

    def pause(self, number: int, retry_after: float | None) -> float:
        own = min(self.longest_pause, self.first_pause * 2**number) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        return max(own, retry_after or 0.0)

    def send(self, context: Context, body: bytes) -> int:
        """Deliver, trying again; returns the number of points that were rejected."""
        body = self.compress(body)
        number = 0
        while True:
            context.raise_if_done()
            try:
                return self.attempt(context, body)
            except Again as error:
                number += 1
                if number >= self.max_attempts or (error.retry_after or 0) > self.longest_retry_after:
                    raise ExporterError(f"gave up after {number} attempts: {error}") from error
                pause = self.pause(number - 1, error.retry_after)
                remaining = context.remaining()
                if remaining is not None and pause >= remaining:
                    raise ExporterError(f"no time for another attempt: {error}") from error
                context.wait(pause)
                context.raise_if_done()

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def forget(self) -> None:
        """In a forked child."""
        keep_untouched(self.sock)
        self.sock = None


def _quietly(function, *arguments):
    try:
        function(*arguments)
    except OSError:
        pass
