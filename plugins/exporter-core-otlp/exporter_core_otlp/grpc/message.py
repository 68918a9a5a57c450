"""gRPC's messages: the bytes, with whether they are compressed and how many they are before them."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from exporter_core_otlp.answers import LONGEST_ANSWER, MalformedAnswerError

_PREFIX: Final = struct.Struct("!BI")
PREFIX: Final = _PREFIX.size
"""Bytes before a message."""
_GZIP: Final = 16 + zlib.MAX_WBITS


def framed(message: bytes, *, compressed: bool) -> bytes:
    """A message with its prefix."""
    return b"".join((_PREFIX.pack(compressed, len(message)), message))


def message_in(body: bytes | bytearray, encoding: str) -> bytes:
    """The one message of an answer, decompressed. Raises MalformedAnswerError for anything else.

    A server may compress its answer as the request was, so that this is asked of who never said that they can.
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
        plain = decompressor.decompress(message, LONGEST_ANSWER)
    except zlib.error as error:
        raise MalformedAnswerError("it is not gzip") from error
    if not decompressor.eof:
        raise MalformedAnswerError(f"it is cut short, or longer than {LONGEST_ANSWER} bytes")
    return plain
