"""Numbers, texts and attribute values as OTLP JSON: the protobuf JSON mapping, but for hexadecimal ids.

Sources: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding and
https://protobuf.dev/programming-guides/json/
"""

import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from json.encoder import encode_basestring
from operator import index

from exporter_core.otlp.attributes import MAX_NESTING, AttributeWriter
from exporter_core.otlp.wire import UnencodableError, short, utf8

_INT64 = range(-(1 << 63), 1 << 63)
_UINT64 = range(1 << 64)
_INT32 = range(-(1 << 31), 1 << 31)
_UINT32 = range(1 << 32)


def attribute_writer(before: bytes = b"", after: bytes = b"", empty: bytes = b"") -> AttributeWriter:
    """Writes attributes as the items of an array of `KeyValue`."""

    def render(key: object, value: object) -> bytes:
        return utf8(_key_value(key, value, 0))

    def render_texts(key: str, texts: Iterable[str]) -> list[bytes]:
        name = text(key)
        return [f'{{"key":{name},"value":{{"stringValue":{encode_basestring(value)}}}}}'.encode() for value in texts]

    return AttributeWriter(
        render,
        render_texts,
        separator=b",",
        before=before,
        after=after,
        empty=empty,
    )


def text(value: str) -> str:
    """A JSON string.

    Raises:
        UnencodableError: when it is no text, or has no UTF-8 form.
    """
    utf8(value)
    return encode_basestring(value)


def int64(value: int) -> str:
    """A signed 64-bit integer: a JSON string."""
    return f'"{_integer(value, _INT64, "a signed 64-bit integer")}"'


def uint64(value: int) -> str:
    """An unsigned 64-bit integer: a JSON string."""
    return f'"{_integer(value, _UINT64, "an unsigned 64-bit integer")}"'


def int32(value: int) -> str:
    """A signed 32-bit integer: a JSON number."""
    return _integer(value, _INT32, "a signed 32-bit integer")


def uint32(value: int) -> str:
    """An unsigned 32-bit integer: a JSON number."""
    return _integer(value, _UINT32, "an unsigned 32-bit integer")


def double(value: float) -> str:
    """A double: a JSON number, or a string where there is none for it.

    Raises:
        UnencodableError: when it is no number, or too large.
    """
    try:
        if math.isfinite(value):
            return float.__repr__(float(value))
        return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    except (OverflowError, TypeError) as error:
        raise UnencodableError(f"{short(value)} does not fit a double") from error


def _integer(value: int, allowed: range, what: str) -> str:
    try:
        number = index(value)  # a range looks through all of its numbers for one of another class, as of an enumeration
    except TypeError as error:
        raise UnencodableError(f"expected an integer, not {type(value).__name__}") from error
    if number not in allowed:
        raise UnencodableError(f"{short(value)} does not fit {what}")
    return f"{number}"


def _key_value(key: object, value: object, depth: int) -> str:
    """An attribute; a text without a UTF-8 form is left in it, for the whole to be refused."""
    if not isinstance(key, str):
        raise UnencodableError(f"a key is a text, not {type(key).__name__}")
    return f'{{"key":{encode_basestring(key)},"value":{_any_value(value, depth)}}}'


def _any_value(value: object, depth: int) -> str:  # noqa: PLR0911 - one return a type
    if isinstance(value, str):
        return f'{{"stringValue":{encode_basestring(value)}}}'
    if value is None:
        return "{}"
    if isinstance(value, bool):
        return '{"boolValue":true}' if value else '{"boolValue":false}'
    if isinstance(value, int):
        return f'{{"intValue":{int64(value)}}}'
    if isinstance(value, float):
        return f'{{"doubleValue":{double(value)}}}'
    if isinstance(value, bytes):
        return f'{{"bytesValue":"{b64encode(value).decode()}"}}'
    if depth >= MAX_NESTING:
        raise UnencodableError(f"values are nested deeper than {MAX_NESTING} levels")
    if isinstance(value, Sequence):
        items = ",".join([_any_value(item, depth + 1) for item in value])
        return f'{{"arrayValue":{{"values":[{items}]}}}}'
    if isinstance(value, Mapping):
        items = ",".join([_key_value(str(key), item, depth + 1) for key, item in value.items()])
        return f'{{"kvlistValue":{{"values":[{items}]}}}}'
    raise UnencodableError(f"a value of type {type(value).__name__} has no OTLP form")
