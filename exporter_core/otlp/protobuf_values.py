"""Attribute values as protobuf `AnyValue` and `KeyValue` messages.

Source: opentelemetry-proto, `opentelemetry/proto/common/v1/common.proto`.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence

from exporter_core.otlp.attributes import MAX_NESTING, AttributeWriter
from exporter_core.otlp.wire import LENGTH, VARINTS, UnencodableError, field, int64_varint, utf8

_KEPT_KEYS = 512
_KEPT_LENGTHS = 128
_pack_double = struct.Struct("<Bd").pack


def attribute_writer(number: int) -> AttributeWriter:
    """Writes attributes as a repeated `KeyValue` field of that number."""
    tag = VARINTS[number << 3 | LENGTH]

    def render(key: object, value: object) -> bytes:
        payload = _key_value(key, value, 0)
        return tag + VARINTS[len(payload)] + payload

    lengths: dict[str, _TextHeads] = {}

    def render_texts(key: str, texts: Iterable[str]) -> list[bytes]:
        heads = lengths.get(key)
        if heads is None:
            if len(lengths) >= _KEPT_KEYS:
                lengths.clear()
            heads = lengths[key] = _TextHeads(tag, key)
        return [heads[len(text)] + text for text in map(str.encode, texts)]

    return AttributeWriter(render, render_texts)


class _TextHeads(dict[int, bytes]):
    """The bytes before an attribute's text, by its length in UTF-8; keeps those of short ones."""

    def __init__(self, tag: bytes, key: str) -> None:
        super().__init__()
        name = utf8(key)
        self._tag = tag
        self._key = b"\x0a" + VARINTS[len(name)] + name + b"\x12" if name else b"\x12"

    def __missing__(self, length: int) -> bytes:
        text = b"\x0a" + VARINTS[length]
        value = self._key + VARINTS[len(text) + length] + text
        head = self._tag + VARINTS[len(value) + length] + value
        if length < _KEPT_LENGTHS:
            self[length] = head
        return head


def _key_value(key: object, value: object, depth: int) -> bytes:
    if not isinstance(key, str):
        raise UnencodableError(f"a key is a text, not {type(key).__name__}")
    name = utf8(key)
    any_value = _any_value(value, depth)
    # An empty key is the default of its field; an empty AnyValue is None and is sent.
    prefix = b"\x0a" + VARINTS[len(name)] + name if name else b""
    return prefix + b"\x12" + VARINTS[len(any_value)] + any_value


def _any_value(value: object, depth: int) -> bytes:  # noqa: PLR0911 - one return a type
    if isinstance(value, str):
        text = utf8(value)
        return b"\x0a" + VARINTS[len(text)] + text
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + int64_varint(value)
    if isinstance(value, float):
        return _pack_double(0x21, value)
    if isinstance(value, bytes):
        return b"\x3a" + VARINTS[len(value)] + value
    if depth >= MAX_NESTING:
        raise UnencodableError(f"values are nested deeper than {MAX_NESTING} levels")
    if isinstance(value, Sequence):
        return field(5, b"".join([field(1, _any_value(item, depth + 1)) for item in value]))
    if isinstance(value, Mapping):
        return field(6, _pairs(value.items(), depth + 1))
    raise UnencodableError(f"a value of type {type(value).__name__} has no OTLP form")


def _pairs(items: Iterable[tuple[object, object]], depth: int) -> bytes:
    return b"".join(field(1, _key_value(str(key), value, depth)) for key, value in items)
