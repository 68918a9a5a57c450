"""HTTP/1.1 by h11: a client that posts requests to one URL, and what their answers mean."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import h11

from exporter_core.authoring.retry import RetryableError, retry_after_seconds
from exporter_core.errors import ExporterError
from exporter_core.masking import Masker
from exporter_core.net.address import parse_proxy, parse_url, proxy_for
from exporter_core.net.client import Client, ClosedError, Connection
from exporter_core.net.connecting import Route, connect
from exporter_core.net.messages import (
    RETRYABLE_STATUSES,
    answer_too_long,
    first_of_each,
    gzipped,
    masked_line,
)
from exporter_core.net.options import AuthOptions, CompressionOptions, HttpOptions, ProxyOptions
from exporter_core.net.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter_core.context import Context
    from exporter_core.net.sockets import Waiter, Wire

_SETTINGS: Final = b"\x04"  # the type of the frame that an HTTP/2 server begins with

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to post."""

    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A server's whole answer."""

    status: int
    reason: str
    headers: dict[str, str]
    """By lower-case name; of several with one name, the first."""
    body: bytes
    mask: Masker = field(default_factory=Masker, repr=False, compare=False)
    """Keeps the client's secrets out of messages: a server may echo them."""

    @property
    def ok(self) -> bool:
        """True for the statuses of success, 200 to 299."""
        return self.status // 100 == 2  # noqa: PLR2004 - 2xx

    @property
    def retry_after(self) -> float | None:
        """Seconds that the header ``Retry-After`` asks to wait; None without it."""
        header = self.headers.get("retry-after")
        return None if header is None else retry_after_seconds(header, self.headers.get("date"))

    def failure(
        self, text: str | None = None, *, retryable: bool = False, retry_after: float | None = None
    ) -> ExporterError:
        """Return the error that says what the server answered, for a policy to raise.

        Args:
            text: what the server says; the body unless given.
            retryable: make it a RetryableError.
            retry_after: seconds to wait before the next attempt, where there is no header ``Retry-After``.
        """
        said = f"{self.status} {self._shown(self.reason)}".rstrip()
        if self.status // 100 == 3:  # noqa: PLR2004 - 3xx
            location = self._shown(self.headers.get("location", "an unknown place"))
            return ExporterError(f"{said}: the redirect to {location} is not followed; change endpoint")
        text = self._shown(self.body if text is None else text)
        message = f"{said}: {text}" if text else said
        return (
            RetryableError(message, retry_after=self.retry_after or retry_after)
            if retryable
            else ExporterError(message)
        )

    def _shown(self, said: str | bytes) -> str:
        return masked_line(said, self.mask)


def raise_for_status(answer: HttpAnswer) -> None:
    """Raise for every status but success; RetryableError for those of RETRYABLE_STATUSES. The policy of a client."""
    if not answer.ok:
        raise answer.failure(retryable=answer.status in RETRYABLE_STATUSES)


class HttpClient(Client[HttpRequest, HttpAnswer]):
    """Posts requests to the URL of the option ``endpoint``, over one connection that is kept.

    A call ends at its context's deadline, and at once on cancellation, whatever the network does. For one thread at a
    time, which a NetworkExporter sees to, as it does to the option ``timeout``. The options may have the mixins
    CompressionOptions, AuthOptions and ProxyOptions.

    Args:
        options: the exporter's.
        user_agent: such as ``exporter-core-mine/1.0``.
        policy: raises RetryableError or ExporterError for an answer to a request that the server did not take; see
            :meth:`HttpAnswer.failure`.
    """

    def __init__(
        self, options: HttpOptions, *, user_agent: str, policy: Callable[[HttpAnswer], None] = raise_for_status
    ) -> None:
        url = self._url = parse_url(options.endpoint)
        super().__init__(options, str(url))
        self._policy = policy
        self._tls = tls_context(options.tls, "http/1.1") if url.scheme == "https" else None
        self._compressed = isinstance(options, CompressionOptions) and options.compression == "gzip"
        own_proxy = options.proxy if isinstance(options, ProxyOptions) else None
        self._own_proxy = None if own_proxy is None else parse_proxy(own_proxy.get_secret_value())
        authorization = (options.authorization if isinstance(options, AuthOptions) else None) or url.authorization
        self._secrets = (*url.secrets, (authorization or "").partition(" ")[2])
        self.keep_secret(*self._secrets)
        usual = {"Host": url.authority, "User-Agent": user_agent}
        if self._compressed:
            usual["Content-Encoding"] = "gzip"
        if authorization is not None:
            usual["Authorization"] = authorization
        self._headers = _by_lower_name(usual) | _by_lower_name(options.header_values())

    def post(
        self, context: Context, body: bytes, *, content_type: str, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """Post a body, compressed by the option ``compression`` if there is one, and return the answer.

        Args:
            context: bounds all of it: looking up the host, connecting, TLS, every attempt, every wait.
            body: what is posted; each attempt posts the same bytes.
            content_type: the header ``Content-Type``.
            headers: further ones, for this request alone; they override those of the options.

        Raises:
            ExporterError: the server did not take it; the message has the URL and the server's words, without secrets.
            DeadlineExceededError, ContextCancelledError: as soon as the context is done.
        """
        own = _by_lower_name({"Content-Type": content_type, **(headers or {})})
        request = HttpRequest([*(self._headers | own).values()], gzipped(body) if self._compressed else body)
        return self.send(context, request)

    def connect(self, context: Context, waiter: Waiter) -> HttpConnection:
        """Connect to the server, or to the proxy for it."""
        url, tls = self._url, self._tls
        proxy = self._own_proxy or proxy_for(url.host, url.port, url.scheme, "all")
        self.keep_secret(*self._secrets, *(() if proxy is None else proxy.secrets))
        wire = connect(context, waiter, Route(url.host, url.port, tls=tls, proxy=proxy, tunnelled=tls is not None))
        if proxy is None or tls is not None:
            return HttpConnection(wire, url.target, [], self.mask, self._options.max_response_size)
        authorization = proxy.authorization
        headers = [] if authorization is None else [(b"Proxy-Authorization", authorization.encode())]
        return HttpConnection(wire, url.absolute, headers, self.mask, self._options.max_response_size)

    def check(self, answer: HttpAnswer) -> None:
        """Apply the policy."""
        self._policy(answer)


class HttpConnection(Connection[HttpRequest, HttpAnswer]):
    """A connection to an HTTP server, or to a proxy that passes requests on.

    Args:
        wire: what the bytes go over.
        target: what every request asks for.
        headers: what every request has beside its own.
        mask: for the answers.
        limit: bytes of an answer that are received.
    """

    def __init__(self, wire: Wire, target: str, headers: Headers, mask: Masker, limit: int) -> None:
        super().__init__(wire)
        self._limit = limit
        self._target = target
        self._headers = headers
        self._mask = mask
        self._http = h11.Connection(h11.CLIENT)

    def idle(self) -> bool:
        """Return True if the server has it open and silent; one that speaks unasked leaves nothing to rely on."""
        try:
            return self.wire.read() is None
        except ssl.SSLError:
            return False

    def exchange(self, context: Context, request: HttpRequest) -> HttpAnswer:
        """Post a request and read its answer, which ends the writing."""
        http, body = self._http, request.body
        headers = [*request.headers, *self._headers, (b"Content-Length", b"%d" % len(body))]
        head = http.send(h11.Request(method="POST", target=self._target, headers=headers)) or b""
        http.send_with_data_passthrough(h11.Data(body))
        http.send(h11.EndOfMessage())
        unsent = [memoryview(head), memoryview(body)]
        reader = _AnswerReader(http, self._limit)
        while True:
            # A server that refuses a request may close before it has read all of it: its answer may be there.
            closed = not self.wire.write(unsent)
            if not closed:
                self.wire.wait(context, writing=bool(unsent))
            if self._take(context, reader, last=closed):
                return self._finished(reader, whole=not unsent)

    def _take(self, context: Context, reader: _AnswerReader, *, last: bool) -> bool:
        """Take in what has come, ``last`` where nothing more can; return True if the answer is whole."""
        while True:
            context.raise_if_done()  # a server may send without end
            data = self.wire.read()
            if data is None and not last:
                return False
            # An answer may have no other end than the connection's, which must then be a proper one.
            if (data or (data is not None and not self.wire.torn)) and reader.feed(data):
                return True
            if not data:
                raise reader.closed()

    def _finished(self, reader: _AnswerReader, *, whole: bool) -> HttpAnswer:
        """Return the answer, with the connection made ready for the next request if it can be."""
        http = self._http
        answer = reader.answer(self._mask)
        if not whole and answer.ok:
            raise ExporterError(f"the server says {answer.status} before it has the whole request")
        done = http.our_state is h11.DONE and http.their_state is h11.DONE
        self.reusable = whole and done and not http.trailing_data[0]  # which would be taken for the next answer
        if self.reusable:
            http.start_next_cycle()
        return answer


class _AnswerReader:
    """Puts one answer together."""

    def __init__(self, http: h11.Connection, limit: int) -> None:
        self._http = http
        self._limit = limit
        self._response: h11.Response | None = None
        self._body: list[bytes] = []
        self._left = limit
        self._anything = False

    def feed(self, data: bytes) -> bool:
        """Take bytes, or the end of all bytes; return True if the answer is whole."""
        self._anything = self._anything or bool(data)
        try:
            self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                    return False
                if isinstance(event, h11.Response):
                    self._response = event
                elif isinstance(event, h11.Data):
                    self._left -= len(event.data)
                    if self._left < 0:
                        raise answer_too_long(self._limit)
                    self._body.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    return True
        except h11.RemoteProtocolError as error:
            if not data:
                return False  # the end, in the middle of an answer
            if data[3:4] == _SETTINGS:
                raise ExporterError("the server speaks HTTP/2, not HTTP/1.1; is that a port for gRPC?") from error
            raise ExporterError(f"the answer is not HTTP: {error}") from error

    def closed(self) -> Exception:
        """Return the error of a connection that ended before the answer was whole."""
        if self._response is not None and self._response.status_code // 100 == 2:  # noqa: PLR2004 - 2xx
            # Sent again, the points would most likely arrive twice.
            return ExporterError(f"the answer is cut short, after status {self._response.status_code}")
        if self._anything:
            return ClosedError("the answer is cut short")
        return ClosedError("the server closed the connection without an answer", unanswered=True)

    def answer(self, mask: Masker) -> HttpAnswer:
        """Return the whole answer."""
        response = self._response
        assert response is not None  # noqa: S101 - for mypy: no answer is whole without
        headers = first_of_each(response.headers)
        return HttpAnswer(response.status_code, response.reason.decode("latin-1"), headers, b"".join(self._body), mask)


def _by_lower_name(headers: Mapping[str, str]) -> dict[str, tuple[bytes, bytes]]:
    return {name.lower(): (name.encode(), value.encode()) for name, value in headers.items()}
