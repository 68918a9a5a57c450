"""What comes over a connection, cut into HTTP/2's frames, of which ``h2`` is not to see one: GOAWAY.

By that a server says which calls it still answers before it closes; ``h2`` takes it for the end of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from h2.errors import ErrorCodes

from exporter_core import ExporterError

_HEAD: Final = 9  # bytes before a frame's payload: its length in 3, type, flags, stream in 4 (RFC 9113, section 4.1)
_GOAWAY: Final = 7
_LONGEST: Final = 16384  # bytes of a payload, while nothing else was agreed
_LAST_STREAM: Final = 0x7FFFFFFF
_HTTP_1: Final = b"HTTP/1."


@dataclass(frozen=True, slots=True)
class Farewell:
    """A GOAWAY."""

    last_stream: int
    """The last call that the server does something about."""
    reason: str
    """Why it closes."""


class Frames:
    """Cuts bytes into frames, and takes out each GOAWAY."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self.farewell: Farewell | None = None
        """The last GOAWAY that came."""

    @property
    def cut_short(self) -> bool:
        """Whether the last frame is not all there."""
        return bool(self._rest)

    def feed(self, data: bytes) -> bytes:
        """Take what has come; gives what is for ``h2``: whole frames.

        Raises ExporterError for what is not HTTP/2.
        """
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
    """What an error code of HTTP/2 is called."""
    return ErrorCodes(code).name if code in list(ErrorCodes) else f"error {code}"
