"""HTTP/2 by h2: one call at a time, and its end.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import logging
import math
import re
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import NoAvailableStreamIDError, ProtocolError, TooManyStreamsError
from h2.settings import SettingCodes, Settings

from exporter_core import ExporterError
from exporter_core.net import ClosedError, Connection, answer_too_long, first_of_each
from exporter_core_otlp.grpc.frames import PREFIX, Frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from h2.events import Event
    from hpack import HeaderTuple

    from exporter_core import Context
    from exporter_core.net import Wire

_LONGEST_TIMEOUT: Final = 99_999_999  # of any unit: it has eight digits
_LATER: Final = 0.1  # seconds by which a call may outlast its deadline at the server, so that it passes here first
_STATUS: Final = re.compile(r"[1-9][0-9]{2}")
_READS_AT_REST: Final = 16  # of what a server sends between two calls: pings, settings


class _HeaderLog(threading.local):
    """Keeps hpack's log lines about the headers of these connections from being written: credentials stand in them."""

    quiet = False

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - a logging filter's signature
        """Return False for a line that is not to be written."""
        return not self.quiet

    @contextmanager
    def kept_quiet(self) -> Iterator[None]:
        """Write no line in the block, on this thread."""
        self.quiet = True
        try:
            yield
        finally:
            self.quiet = False


_header_log: Final = _HeaderLog()
for _name in ("hpack.hpack", "hpack.table", "hpack.huffman"):
    logging.getLogger(_name).addFilter(_header_log.filter)


@dataclass(slots=True)
class CallEnd:
    """All that the server said to one call."""

    status: int = 0
    """HTTP's."""
    headers: dict[str, str] = field(default_factory=dict)
    """With the trailers, which override them."""
    body: bytearray = field(default_factory=bytearray)
    """Messages, each with its prefix."""
    reset: int | None = None
    """HTTP/2's error code, if the server broke off the call."""
    whole: bool = False
    premature: bool = False
    """True if it ended before the server had the whole request."""


class _Http2(H2Connection):
    """HTTP/2 for one call at a time."""

    MAX_CLOSED_STREAMS = 64
    """Calls that are over and still known, as something may come for them late; h2 keeps 65,536, over days."""


class GrpcConnection(Connection[bytes, CallEnd]):
    """A connection to a gRPC server.

    Args:
        wire: what the bytes go over.
        headers: what every call has, besides its deadline.
        limit: bytes of an answer that are received.
    """

    def __init__(self, wire: Wire, headers: Sequence[tuple[str, str] | HeaderTuple], limit: int) -> None:
        super().__init__(wire)
        self._limit = limit
        self._headers = headers
        self._frames = Frames()
        self._unsent: list[memoryview] = []
        self._h2 = _Http2(H2Configuration(client_side=True))
        self._h2.local_settings = Settings(client=True, initial_values={SettingCodes.ENABLE_PUSH: 0})
        self._h2.initiate_connection()

    def idle(self) -> bool:
        """Answer the pings and settings that have come; return True if the server takes another call."""
        try:
            for _ in range(_READS_AT_REST):
                data = self.wire.read()
                if data is None:
                    return self._write() and self.reusable
                if not data:
                    return False
                self._events(data)
        except (ExporterError, ProtocolError, ssl.SSLError):
            pass
        return False

    def exchange(self, context: Context, request: bytes) -> CallEnd:
        """Make a call with a framed message and read to its end, which ends the writing."""
        try:
            return self._call(context, memoryview(request))
        except (NoAvailableStreamIDError, TooManyStreamsError) as error:
            raise ClosedError("the server takes no more calls", refused=True) from error
        except ProtocolError as error:
            raise ExporterError(f"the answer is not HTTP/2: {type(error).__name__}: {error}") from error

    def _call(self, context: Context, rest: memoryview) -> CallEnd:
        http, end = self._h2, CallEnd(premature=True)
        stream = http.get_next_available_stream_id()
        with _header_log.kept_quiet():
            http.send_headers(stream, [*self._headers, *_timeout(context.remaining())])
        while True:
            if not self._unsent:
                rest = self._fill(stream, rest)
            closed = not self._write()
            end.premature = end.premature and bool(rest or self._unsent)
            if not closed:
                self.wire.wait(context, writing=bool(self._unsent))
            if self._take(context, stream, end, last=closed):
                self.reusable = self.reusable and end.reset is None and not end.premature
                self._write()
                return end

    def _fill(self, stream: int, rest: memoryview) -> memoryview:
        """Hand over of the message what the server's windows allow; return the rest."""
        http = self._h2
        while rest:
            room = min(http.local_flow_control_window(stream), http.max_outbound_frame_size)
            if room <= 0:
                break
            http.send_data(stream, rest[:room], end_stream=len(rest) <= room)
            rest = rest[room:]
        return rest

    def _write(self) -> bool:
        """Send what goes at once; return False if the server takes nothing any more."""
        data = self._h2.data_to_send()
        if data:
            self._unsent.append(memoryview(data))
        return self.wire.write(self._unsent)

    def _take(self, context: Context, stream: int, end: CallEnd, *, last: bool) -> bool:
        """Take in what has come, ``last`` where nothing more can; return True if the call has ended."""
        while True:
            context.raise_if_done()  # a server may send without end
            data = self.wire.read()
            if data is None and not last:
                return False
            if not data:
                raise self._closed(stream, end)
            for event in self._events(data):
                self._note(stream, end, event)
                if end.whole:
                    return True
            farewell = self._frames.farewell
            if farewell is not None and farewell.last_stream < stream:
                raise self._closed(stream, end)

    def _events(self, data: bytes) -> Iterable[Event]:
        with _header_log.kept_quiet():  # a server may echo what it was sent
            events = self._h2.receive_data(self._frames.feed(data))
        self.reusable = self.reusable and self._frames.farewell is None
        return events

    def _note(self, stream: int, end: CallEnd, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            end.headers = first_of_each(event.headers)
            status = end.headers.pop(":status", "")
            if not _STATUS.fullmatch(status):
                raise ExporterError(f"the answer is not HTTP/2: it has the status {status!r}")
            end.status = int(status)
        elif isinstance(event, TrailersReceived):
            end.headers |= first_of_each(event.headers)
        elif isinstance(event, DataReceived):
            if len(end.body) + len(event.data) > PREFIX + self._limit:
                raise answer_too_long(self._limit)
            end.body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, StreamEnded):
            end.whole = True
        elif isinstance(event, StreamReset):
            end.reset = int(event.error_code)
            end.whole = True

    def _closed(self, stream: int, end: CallEnd) -> ClosedError:
        if end.status or self._frames.cut_short:
            return ClosedError("the answer is cut short")
        farewell = self._frames.farewell
        if farewell is None:
            return ClosedError("the server closed the connection without an answer", unanswered=True)
        message = f"the server closed the connection without an answer ({farewell.reason})"
        return ClosedError(message, refused=farewell.last_stream < stream)


def _timeout(seconds: float | None) -> list[tuple[str, str]]:
    """Return the header that tells the server the time left; none where that is more than it can say."""
    if seconds is None:
        return []
    for unit, each in (("u", 1e6), ("m", 1e3), ("S", 1.0)):
        number = (seconds + _LATER) * each
        if number < _LONGEST_TIMEOUT:
            return [("grpc-timeout", f"{math.ceil(number)}{unit}")]
    return []
