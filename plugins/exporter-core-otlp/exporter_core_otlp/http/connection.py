"""HTTP/1.1 by h11: one request, and its answer."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import h11

from exporter_core import ExporterError
from exporter_core_otlp.answers import LONGEST_ANSWER, first_of_each, too_long
from exporter_core_otlp.transport.link import ClosedError, Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter_core import Context
    from exporter_core_otlp.transport.wire import Wire

_OK: Final = range(200, 300)
_SETTINGS: Final = b"\x04"  # the type of the frame that an HTTP/2 server begins with


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer."""

    status: int
    reason: str
    headers: dict[str, str]
    """By lower-case name; of several, the first."""
    body: bytes


class HttpConnection(Connection[HttpAnswer]):
    """A connection to an HTTP server, or to a proxy.

    Args:
        wire: what the bytes go over.
        target: what is asked for, always.
        headers: what every request has, besides the length of its body.
    """

    def __init__(self, wire: Wire, target: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
        super().__init__(wire)
        self._target = target
        self._headers = headers
        self._http = h11.Connection(h11.CLIENT)

    def idle(self) -> bool:
        """Whether the server has it open and silent still: one that speaks unasked leaves nothing to rely on."""
        try:
            return self._wire.read() is None
        except ssl.SSLError:
            return False

    def exchange(self, context: Context, body: bytes) -> HttpAnswer:
        """Send a request and read its answer, which ends the writing."""
        http = self._http
        headers = [*self._headers, (b"Content-Length", b"%d" % len(body))]
        head = http.send(h11.Request(method="POST", target=self._target, headers=headers)) or b""
        http.send_with_data_passthrough(h11.Data(body))
        http.send(h11.EndOfMessage())
        unsent = [memoryview(head), memoryview(body)]
        reader = _AnswerReader(http)
        while True:
            # A server that refuses a request may close before it has read all of it: its answer may be there.
            closed = not self._wire.write(unsent)
            if not closed:
                self._wire.wait(context, writing=bool(unsent))
            if self._take(context, reader, last=closed):
                return self._finished(reader, whole=not unsent)

    def _take(self, context: Context, reader: _AnswerReader, *, last: bool) -> bool:
        """Take in what has come, ``last`` where nothing more can; whether the answer is whole."""
        while True:
            context.raise_if_done()  # a server may send without end
            data = self._wire.read()
            if data is None and not last:
                return False
            # An answer may have no other end than the connection's, which must then be a proper one.
            if (data or (data is not None and not self._wire.torn)) and reader.feed(data):
                return True
            if not data:
                raise reader.closed()

    def _finished(self, reader: _AnswerReader, *, whole: bool) -> HttpAnswer:
        """The answer, with the connection made ready for the next request if it can be."""
        http = self._http
        answer = reader.answer()
        if not whole and answer.status in _OK:
            raise ExporterError(f"the server says {answer.status} before it has the whole request")
        done = http.our_state is h11.DONE and http.their_state is h11.DONE
        self.reusable = whole and done and not http.trailing_data[0]  # which would be taken for the next answer
        if self.reusable:
            http.start_next_cycle()
        return answer


class _AnswerReader:
    """Puts one answer together."""

    def __init__(self, http: h11.Connection) -> None:
        self._http = http
        self._response: h11.Response | None = None
        self._body: list[bytes] = []
        self._left = LONGEST_ANSWER
        self._anything = False

    def feed(self, data: bytes) -> bool:
        """Take bytes, or the end of all bytes; whether the answer is whole."""
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
                        raise too_long()
                    self._body.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    return True
        except h11.RemoteProtocolError as error:
            if not data:
                return False  # the end, in the middle of an answer
            if data[3:4] == _SETTINGS:
                raise ExporterError(
                    "the server speaks HTTP/2, not HTTP/1.1; is that the port for otlp_grpc?"
                ) from error
            raise ExporterError(f"the answer is not HTTP: {error}") from error

    def closed(self) -> Exception:
        """That the connection ended before the answer was whole."""
        if self._response is not None and self._response.status_code in _OK:
            # Sent again, the points would most likely arrive twice.
            return ExporterError(f"the answer is cut short, after status {self._response.status_code}")
        if self._anything:
            return ClosedError("the answer is cut short")
        return ClosedError("the server closed the connection without an answer", unanswered=True)

    def answer(self) -> HttpAnswer:
        """The whole answer."""
        assert self._response is not None  # noqa: S101 - for mypy: no answer is whole without
        response = self._response
        headers = first_of_each(response.headers)
        return HttpAnswer(response.status_code, response.reason.decode("latin-1"), headers, b"".join(self._body))
