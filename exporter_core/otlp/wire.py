"""The protobuf wire format: variable-length integers, tags and length-delimited fields.

Knows nothing of metrics. Source: https://protobuf.dev/programming-guides/encoding/
"""

from functools import lru_cache

MAX_VARINT_BYTES = 10
LENGTH = 2  # the wire type of what has a length before it

_UINT64 = 1 << 64
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_KEPT_VARINTS = 1 << 14


class UnencodableError(ValueError):
    """A value that OTLP cannot hold; the text says which and why."""


def varint(value: int) -> bytes:
    """The variable-length encoding of an unsigned 64-bit integer.

    Raises:
        UnencodableError: when it is negative or longer than 64 bits.
    """
    if not 0 <= value < _UINT64:
        raise UnencodableError(f"{short(value)} does not fit an unsigned 64-bit integer")
    out = bytearray()
    while value > 127:  # noqa: PLR2004 - one byte holds seven bits
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class _Varints(dict[int, bytes]):
    """Unsigned integer -> its variable-length encoding, after a fixed beginning. Keeps the small ones."""

    def __init__(self, beginning: bytes = b"") -> None:
        super().__init__()
        self._beginning = beginning

    def __missing__(self, value: int) -> bytes:
        encoded = self._beginning + varint(value)
        if value < _KEPT_VARINTS:
            self[int(value)] = encoded
        return encoded


VARINTS = _Varints()
"""Unsigned integer -> its variable-length encoding."""
_FIELD_HEADS = {number: _Varints(VARINTS[number << 3 | LENGTH]) for number in (1, 2, 3)}
HEADS = _FIELD_HEADS[1]  # length -> tag and length of a field 1: the head of every data point


def int64_varint(value: int) -> bytes:
    """The variable-length encoding of a signed 64-bit integer (two's complement, as `int64` fields have it).

    Raises:
        UnencodableError: when it is longer than 64 bits.
    """
    if not _INT64_MIN <= value <= _INT64_MAX:
        raise UnencodableError(f"{short(value)} does not fit a signed 64-bit integer")
    return VARINTS[value % _UINT64]


@lru_cache(maxsize=1024)
def sint32_varint(value: int) -> bytes:
    """The zigzag encoding of a signed 32-bit integer.

    Raises:
        UnencodableError: when it is longer than 32 bits.
    """
    if not -(1 << 31) <= value < 1 << 31:
        raise UnencodableError(f"{short(value)} does not fit a signed 32-bit integer")
    return VARINTS[value * 2 if value >= 0 else -value * 2 - 1]


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return VARINTS[number << 3 | LENGTH] + VARINTS[len(payload)] + payload


def text_field(number: int, text: str | None) -> bytes:
    """A string field; nothing for the empty text and None, which are the format's default.

    Raises:
        UnencodableError: when the text is not a string or holds lone surrogates.
    """
    if text is None or text == "":
        return b""
    payload = utf8(text)
    return _FIELD_HEADS[number][len(payload)] + payload


def utf8(text: str) -> bytes:
    """The bytes of a text.

    Raises:
        UnencodableError: when the text is not a string or holds lone surrogates.
    """
    try:
        return str.encode(text)
    except TypeError as error:
        raise UnencodableError(f"expected a text, not {type(text).__name__}") from error
    except UnicodeEncodeError as error:
        raise UnencodableError("a text with a lone surrogate has no UTF-8 form") from error


def short(value: object) -> str:
    """A value for a message, cut where it is long (a huge integer is not even printable)."""
    if isinstance(value, int) and not -_UINT64 < value < _UINT64:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - fits a line
