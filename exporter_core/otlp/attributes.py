"""Attributes to OTLP `KeyValue` fields, and whether what was encoded can change unseen.

The three `Stability` classes decide how a cache may recognise a mapping later: by equality, by the identity of
its values, or not at all.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any

from exporter_core.otlp.wire import UnencodableError, field, int64_varint, short, utf8, varint

# Arrays nested in arrays: each level costs up to three levels of the 100 that protobuf parsers accept.
MAX_NESTING = 30

_pack_double = struct.Struct("<Bd").pack
_EXACT_IMMUTABLE = frozenset({str, int, float, bool, bytes, type(None)})
_KEPT_PAIRS = 8192
_KEPT_BYTES = 512


class Stability(IntEnum):
    """How a shallow copy of a mapping proves that the mapping still has the encoded content."""

    TEXT = 0
    """All keys and values are exact strings: equal mappings encode equal."""
    IDENTITY = 1
    """Immutable values of other types too (1 == True == 1.0): the values must be the identical objects."""
    NONE = 2
    """Something inside can change in place."""


class AttributeWriter:
    """Encodes attribute mappings as a repeated `KeyValue` field; remembers pairs of strings it has met (bounded)."""

    def __init__(self, number: int) -> None:
        self._tag = varint(number << 3 | 2)
        self._pairs: dict[tuple[str, str], bytes] = {}

    def write(
        self, attributes: Mapping[str, Any] | None
    ) -> tuple[bytes, Stability]:  # attribute values are of any type
        """The encoded fields, and how stable the mapping is.

        Raises:
            UnencodableError: when a key or value has no place in the format.
        """
        if not attributes:
            return b"", Stability.TEXT if type(attributes) is dict else Stability.NONE
        out = []
        stability = Stability.TEXT
        pairs = self._pairs
        for key, value in attributes.items():
            if type(value) is str and type(key) is str:
                pair = pairs.get((key, value))
                if pair is None:
                    pair = self._pair(key, value)
                    if len(pairs) < _KEPT_PAIRS and len(pair) < _KEPT_BYTES:
                        pairs[key, value] = pair
                out.append(pair)
                continue
            stability = max(stability, stability_of(value) if type(key) is str else Stability.NONE)
            out.append(self._pair(key, value))
        if type(attributes) is not dict:
            stability = Stability.NONE  # another class may compare, or hand out its items, as it likes
        return b"".join(out), stability

    def _pair(self, key: object, value: object) -> bytes:
        try:
            payload = _key_value(key, value, 0)
        except UnencodableError as error:
            raise UnencodableError(f"attribute {short(key)}: {error}") from error
        return self._tag + varint(len(payload)) + payload


def stability_of(value: object) -> Stability:
    """How stable one value is: immutable through and through, or not."""
    kind = type(value)
    if kind in _EXACT_IMMUTABLE:
        return Stability.IDENTITY
    if kind is tuple and all(type(item) in _EXACT_IMMUTABLE for item in value):  # type: ignore[attr-defined] # is a tuple
        return Stability.IDENTITY
    return Stability.NONE


def _key_value(key: object, value: object, depth: int) -> bytes:
    if not isinstance(key, str):
        raise UnencodableError(f"a key is a text, not {type(key).__name__}")
    name = utf8(key)
    any_value = encode_value(value, depth)
    # An empty key is the default of its field; an empty AnyValue is None and is sent.
    prefix = b"\x0a" + varint(len(name)) + name if name else b""
    return prefix + b"\x12" + varint(len(any_value)) + any_value


def encode_value(value: object, depth: int = 0) -> bytes:  # noqa: PLR0911 - one return a type
    """The content of an `AnyValue`: of None, bool, str, int, float, bytes, a sequence or a mapping of these.

    Raises:
        UnencodableError: when the value, or one inside, has no place in the format.
    """
    if isinstance(value, str):
        text = utf8(value)
        return b"\x0a" + varint(len(text)) + text
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + int64_varint(value)
    if isinstance(value, float):
        return _pack_double(0x21, value)
    if isinstance(value, bytes):
        return b"\x3a" + varint(len(value)) + value
    if depth >= MAX_NESTING:
        raise UnencodableError(f"values are nested deeper than {MAX_NESTING} levels")
    if isinstance(value, Sequence):
        return field(5, b"".join(field(1, encode_value(item, depth + 1)) for item in value))
    if isinstance(value, Mapping):
        return field(6, _pairs(value.items(), depth + 1))
    raise UnencodableError(f"a value of type {type(value).__name__} has no OTLP form")


def _pairs(items: Iterable[tuple[object, object]], depth: int) -> bytes:
    return b"".join(field(1, _key_value(str(key), value, depth)) for key, value in items)
