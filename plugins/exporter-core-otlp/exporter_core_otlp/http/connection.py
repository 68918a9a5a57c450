"""One connection and what is asked over it: HTTP/1.1 by h11, over a socket that never blocks."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import h11

from exporter_core import ExporterError
from exporter_core_otlp.http.waiting import READ, WRITE

if TYPE_CHECKING:
    from exporter_core import Context
    from exporter_core_otlp.http.waiting import Waiter

__all__ = ["ClosedError", "Connection", "HttpAnswer"]

_RECEIVED: Final = 65536  # bytes at a time
_LONGEST_ANSWER: Final = 4 * 1024 * 1024


class ClosedError(Exception):
    """The peer has closed or reset the connection.

    Args:
        message: how.
        status: the status of the answer that was under way, None if none was.
        unanswered: whether no byte of an answer had come.
    """

    def __init__(self, message: str, *, status: int | None = None, unanswered: bool = False) -> None:
        super().__init__(message)
        self.status: int | None = status
        self.unanswered: bool = unanswered


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer."""

    status: int
    reason: str
    headers: dict[str, str]
    """By lower-case name; of several, the first."""
    body: bytes


class Connection:
    """A connection that requests go over, one after the other.

    Args:
        sock: connected, non-blocking.
        waiter: waits for it.
    """

    def __init__(self, sock: socket.socket, waiter: Waiter) -> None:
        self._sock = sock
        self._waiter = waiter
        self._http = h11.Connection(h11.CLIENT)

    @property
    def reusable(self) -> bool:
        """Whether both sides have left it so that another request may follow."""
        return self._http.our_state is h11.IDLE

    def idle(self) -> bool:
        """Whether the server has it open and silent still, as far as this end can see."""
        try:
            self._sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except (OSError, ValueError):
            return False
        return False  # closed; or the server speaks unasked, which leaves nothing to rely on

    def exchange(self, context: Context, request: h11.Request, body: bytes) -> HttpAnswer:
        """Send a request and read its answer.

        An answer that comes while the request is still being written ends the writing.

        Raises:
            ClosedError: the peer ended the connection before the answer was whole.
            ExporterError: what came is not HTTP, or too much of it.
            DeadlineExceededError, ContextCancelledError: as soon as the context is done. The connection is of no use
                after any of these.
        """
        http = self._http
        head = http.send(request) or b""
        http.send_with_data_passthrough(h11.Data(body))
        http.send(h11.EndOfMessage())
        unsent = [memoryview(head), memoryview(body)]
        reader = _AnswerReader(http)
        while True:
            try:
                self._write(unsent)
            except OSError as error:
                # A server that refuses a request may close before it has read all of it: its answer may be there.
                unsent.clear()
                if self._take(context, reader, error):
                    return self._finished(reader, whole=False)
            events = READ | WRITE if unsent else READ
            ready = self._waiter.wait(context, {self._sock: events})
            if ready and self._take(context, reader, None):
                return self._finished(reader, whole=not unsent)

    def close(self) -> None:
        """Close it; with TLS, say so to the server as far as that goes without waiting."""
        if isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.unwrap()
            except (OSError, ValueError):
                pass  # it wants to wait for the server's word, or there is nobody to say it to
        self._sock.close()

    def forget(self) -> None:
        """Close this process's copy of a connection that its parent goes on using: nothing is sent."""
        socket.close(self._sock.detach())

    def __del__(self) -> None:
        self._sock.close()  # for an exporter that was never shut down

    def _write(self, unsent: list[memoryview]) -> None:
        """As much as goes at once; what has gone is taken off the list."""
        while unsent:
            try:
                if len(unsent) > 1 and not isinstance(self._sock, ssl.SSLSocket):
                    sent = self._sock.sendmsg(unsent)
                else:
                    sent = self._sock.send(unsent[0])
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return
            while unsent and sent >= len(unsent[0]):
                sent -= len(unsent.pop(0))
            if sent:
                unsent[0] = unsent[0][sent:]

    def _take(self, context: Context, reader: _AnswerReader, failure: OSError | None) -> bool:
        """Take in what has come; whether the answer is whole. ClosedError with ``failure`` if nothing more comes."""
        while True:
            context.raise_if_done()  # a server may send without end
            error: OSError | None = None
            try:
                data = self._sock.recv(_RECEIVED)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if failure is None:
                    return False
                data, error = b"", failure
            except OSError as caught:
                if isinstance(caught, ssl.SSLError) and not isinstance(
                    caught, ssl.SSLEOFError | ssl.SSLZeroReturnError
                ):
                    raise
                data, error = b"", caught
            if reader.feed(data):
                return True
            if not data:
                raise reader.closed() from error

    def _finished(self, reader: _AnswerReader, *, whole: bool) -> HttpAnswer:
        """The answer, with the connection made ready for the next request if it can be."""
        if whole and self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return reader.answer()


class _AnswerReader:
    """Puts one answer together."""

    def __init__(self, http: h11.Connection) -> None:
        self._http = http
        self._response: h11.Response | None = None
        self._body: list[bytes] = []
        self._left = _LONGEST_ANSWER
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
                        raise ExporterError(f"the answer is longer than {_LONGEST_ANSWER} bytes")
                    self._body.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    return True
        except h11.RemoteProtocolError as error:
            if not data:
                return False  # the end, in the middle of an answer
            raise ExporterError(f"the answer is not HTTP: {error}") from error

    def closed(self) -> ClosedError:
        """That the connection ended before the answer was whole."""
        if self._response is not None:
            return ClosedError("the answer is cut short", status=self._response.status_code)
        if self._anything:
            return ClosedError("the answer is cut short", unanswered=False)
        return ClosedError("the server closed the connection without an answer", unanswered=True)

    def answer(self) -> HttpAnswer:
        """The whole answer."""
        assert self._response is not None  # noqa: S101 - for mypy: no answer is whole without
        headers: dict[str, str] = {}
        for name, value in self._response.headers:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        return HttpAnswer(
            self._response.status_code, self._response.reason.decode("latin-1"), headers, b"".join(self._body)
        )
