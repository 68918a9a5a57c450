"""Messages between a sink's process and its parent: pickles with their length in front, over a socket pair."""

from __future__ import annotations

import pickle
import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket

LENGTH: Final = struct.Struct("!Q")


def encode(message: object) -> bytes:
    """The message with its length in front."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(content)) + content


def decode(content: bytes) -> Any:  # whatever was sent
    """The message, from what follows its length."""
    return pickle.loads(content)  # noqa: S301 - the two ends are one program


def receive(source: socket.socket) -> Any:  # whatever was sent
    """The next message; EOFError if there is none, TimeoutError by the socket's own time-out."""
    (length,) = LENGTH.unpack(_exactly(source, LENGTH.size))
    return decode(_exactly(source, length))


def _exactly(source: socket.socket, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        piece = source.recv(min(length - len(content), 1 << 20))
        if not piece:
            raise EOFError
        content += piece
    return bytes(content)
