"""HTTP/2's frames and gRPC's messages: bytes cut into pieces.

``h2`` must not see one kind of frame, GOAWAY. By that a server says which calls it still answers before it closes;
``h2`` takes it for the end of all.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from h2.errors import ErrorCodes

from exporter_core import ExporterError
from exporter_core_otlp.answers import MalformedAnswerError

_HEAD: Final = 9  # bytes before a frame's payload: its length in 3, type, flags, stream in 4 (RFC 9113, section 4.1)
_GOAWAY: Final = 7
_LONGEST: Final = 16384  # bytes of a payload, while nothing else was agreed
_LAST_STREAM: Final = 0x7FFFFFFF
_HTTP_1: Final = b"HTTP/1."
_PREFIX: Final = struct.Struct("!BI")  # compressed or not, and the length
PREFIX: Final = _PREFIX.size
"""Bytes before a message."""
_GZIP: Final = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Farewell:
    """A GOAWAY."""

    last_stream: int
    """The last call that the server does something about."""
    reason: str
    """Its reason to close."""


class Frames:
    """Cuts bytes into frames, and takes out each GOAWAY."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self.farewell: Farewell | None = None
        """The last GOAWAY that came."""

    @property
    def cut_short(self) -> bool:
        """True while a part of the last frame is missing."""
        return bool(self._rest)

    def feed(self, data: bytes) -> bytes:
        """Take what has come, and return whole frames for ``h2``. Raises ExporterError for what is not HTTP/2."""
        data = self._rest + data
        passed: list[bytes] = []
        begin = 0
        while len(data) - begin >= _HEAD:
            if not self._begun and data.startswith(_HTTP_1):
                raise ExporterError("the server speaks HTTP/1, not gRPC; is that the port for otlp_http?")
            self._begun = True
            length = int.from_bytes(data[begin : begin + 3])
            if length > _LONGEST:
                raise ExporterError(f"the answer is not HTTP/2: a frame of {length} bytes")
            end = begin + _HEAD + length
            if end > len(data):
                break
            if data[begin + 3] == _GOAWAY:
                self.farewell = _farewell(data[begin + _HEAD : end])
            else:
                passed.append(data[begin:end])
            begin = end
        self._rest = data[begin:]
        return b"".join(passed)


def _farewell(payload: bytes) -> Farewell:
    said = payload[8:].decode(errors="replace")
    name = error_name(int.from_bytes(payload[4:8]))
    return Farewell(int.from_bytes(payload[:4]) & _LAST_STREAM, f"{name}: {said}" if said else name)


def error_name(code: int) -> str:
    """Return the name of an error code of HTTP/2."""
    return ErrorCodes(code).name if code in list(ErrorCodes) else f"error {code}"


def framed(message: bytes, *, compressed: bool) -> bytes:
    """Return a message with its prefix."""
    return b"".join((_PREFIX.pack(compressed, len(message)), message))


def message_in(body: bytes | bytearray, encoding: str, limit: int) -> bytes:
    """Return the one message of an answer, decompressed, of at most so many bytes. Raises MalformedAnswerError.

    A server may compress its answer as the request was, without having been told that the client can read that.
    """
    if len(body) < PREFIX:
        raise MalformedAnswerError("it holds no message")
    compressed, length = _PREFIX.unpack_from(body)
    message = bytes(body[PREFIX:])
    if len(message) != length:
        raise MalformedAnswerError("it does not hold one whole message")
    if not compressed:
        return message
    if encoding != "gzip":
        raise MalformedAnswerError(f"it is compressed by {encoding!r}")
    try:
        decompressor = zlib.decompressobj(_GZIP)
        plain = decompressor.decompress(message, limit)
    except zlib.error as error:
        raise MalformedAnswerError("it is not gzip") from error
    if not decompressor.eof:
        raise MalformedAnswerError(f"it is cut short, or longer than {limit} bytes (max_response_size)")
    return plain
