"""A careful HTTP transport: every wait ends with a context. The exporters here differ in what they do with it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from exporter_core import Context, DeadlineExceededError, ExporterConfig, ExporterError, PartialSuccessError
from exporter_core.otlp import JsonEncoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Condition

    from opentelemetry.sdk.metrics.export import MetricsData

TRANSIENT = frozenset({429, 502, 503, 504})


class HttpConfig(ExporterConfig):
    """Options of the exporters over HTTP."""

    endpoint: str
    """The URL that OTLP's JSON is posted to."""
    token: SecretStr = SecretStr("")
    """The bearer token."""


@dataclass(frozen=True)
class Answer:
    """An HTTP response that was read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """A TCP connection whose every wait ends with a context: at its deadline, and at once when it is cancelled."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.socket = socket.socket()
        self.socket.setblocking(False)

    def connect(self, context: Context) -> None:
        """Connect, or raise OSError."""
        code = self.socket.connect_ex(self.address)
        if code == errno.EINPROGRESS:
            self.wait(context, select.POLLOUT)
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    def send(self, context: Context, data: bytes) -> None:
        """Send everything."""
        view = memoryview(data)
        while view:
            context.raise_if_done()
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                self.wait(context, select.POLLOUT)

    def receive(self, context: Context) -> bytes:
        """Return some bytes; none at the end."""
        while True:
            context.raise_if_done()
            try:
                return self.socket.recv(65536)
            except BlockingIOError:
                self.wait(context, select.POLLIN)

    def wait(self, context: Context, events: int) -> None:
        """Wait until the socket is ready, or raise the context's error."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            handle = context.on_done(lambda: wake(theirs))
            try:
                poll = select.poll()
                poll.register(self.socket, events)
                poll.register(ours, select.POLLIN)
                remaining = context.remaining()
                poll.poll(None if remaining is None else max(0, remaining) * 1000 + 1)
            finally:
                handle.unregister()
        context.raise_if_done()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def wake(end: socket.socket) -> None:
    """Wake the poll at the other end."""
    with contextlib.suppress(OSError):
        end.send(b"!")


def address_of(endpoint: str) -> tuple[str, int]:
    """Return host and port of a URL."""
    parts = urlsplit(endpoint)
    return parts.hostname or "", parts.port or 80


def request_bytes(endpoint: str, body: bytes, token: str = "", *, keep: bool = False) -> bytes:
    """Return a POST request."""
    lines = [
        f"POST {urlsplit(endpoint).path or '/'} HTTP/1.1",
        f"Host: {urlsplit(endpoint).netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def read_answer(read: Callable[[], bytes]) -> Answer:
    """Read a response to its end, or raise OSError."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = read()
        if not more:
            raise ConnectionResetError("the connection was closed before an answer")
        data += more
        if not data.startswith(b"HTTP/1."[: len(data)]):
            raise ExporterError("the answer is not HTTP")
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    try:
        status = int(first.split(" ")[1])
    except (IndexError, ValueError) as error:
        raise ExporterError("the answer is not HTTP") from error
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    length = headers.get("content-length")
    while length is None or len(body) < int(length):
        more = read()
        if not more:
            if length is not None:
                raise ExporterError("the answer was cut short: nobody knows what was taken")
            break
        body += more
    return Answer(status, headers, body)


def exchange(context: Context, endpoint: str, body: bytes, token: str = "") -> Answer:
    """Post a body over a connection of its own, and return the answer."""
    wire = Wire(address_of(endpoint))
    try:
        wire.connect(context)
        wire.send(context, request_bytes(endpoint, body, token))
        return read_answer(lambda: wire.receive(context))
    finally:
        wire.close()


class RefusedError(ExporterError):
    """The backend did not take a batch."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"the backend answered {answer.status}")
        self.answer = answer
        self.transient = answer.status in TRANSIENT


def judge(answer: Answer) -> None:
    """Raise unless the answer is OTLP's success, and for its partial success."""
    if answer.status != 200:
        raise RefusedError(answer)
    try:
        document = json.loads(answer.body or b"{}")
        partial = document.get("partialSuccess") or {}
        rejected = int(partial.get("rejectedDataPoints") or 0)
    except (ValueError, AttributeError, TypeError) as error:
        raise ExporterError("the answer is not OTLP's JSON") from error
    if rejected:
        raise PartialSuccessError("the backend refused some points", rejected_points=rejected)


def retry_after(answer: Answer) -> float:
    """Return the seconds that the backend asks to wait."""
    asked = answer.headers.get("retry-after", "0")
    try:
        return float(asked)
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except ValueError:
        return 0.0


def post(context: Context, attempt: Callable[[Context], Answer], *, attempts: int = 5, pause: float = 0.1) -> None:
    """Deliver with retries: ``attempt`` sends the request once, and the context bounds everything."""
    for number in range(1, attempts + 1):
        asked = 0.0
        failure: Exception
        try:
            return judge(attempt(context))
        except RefusedError as error:
            if not error.transient or number == attempts:
                raise
            asked, failure = retry_after(error.answer), error
        except TimeoutError:
            raise
        except OSError as error:
            if number == attempts:
                raise ExporterError(f"the backend cannot be reached: {error.strerror or error}") from error
            failure = error
        wait = max(asked, pause)
        remaining = context.remaining()
        if remaining is not None and wait >= remaining:
            raise DeadlineExceededError("no time is left for another attempt") from failure
        context.wait(wait)
        context.raise_if_done()
        pause *= 2
    return None


def encode(metrics: MetricsData) -> bytes:
    """Return the batch as OTLP's JSON; ExporterError for points that have no form there."""
    encoded = JsonEncoder().encode(metrics)
    if encoded.dropped:
        raise ExporterError(f"{len(encoded.dropped)} points have no form in OTLP: {encoded.dropped[0]}")
    return encoded.data


def wait_until(condition: Condition, context: Context, predicate: Callable[[], bool]) -> bool:
    """Wait, with the condition's lock held, until the predicate is true or the context is done."""

    def notify() -> None:
        with condition:
            condition.notify_all()

    if predicate() or context.done:
        return predicate()
    condition.release()
    try:
        handle = context.on_done(notify)
    finally:
        condition.acquire()
    try:
        while not predicate() and not context.done:
            condition.wait(context.remaining())
    finally:
        handle.unregister()
    return predicate()
