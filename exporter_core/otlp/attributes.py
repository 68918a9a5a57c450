"""Attributes as encoded text or bytes, and whether what was encoded can change unseen.

Knows neither encoding: how one attribute is written is handed in.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

from exporter_core.otlp.wire import UnencodableError, short

# Arrays nested in arrays: each level costs up to three levels of the 100 that protobuf parsers accept.
MAX_NESTING = 30

_EXACT_IMMUTABLE = frozenset({str, int, float, bool, bytes, type(None)})
_KEPT_PAIRS = 2048
_KEPT_BYTES = 512


class Stability(IntEnum):
    """How a cache may recognise a mapping's content later."""

    IDENTITY = 0
    """All keys and values are immutable: while they are the identical objects, the encoding holds."""
    NONE = 1
    """Something inside can change in place."""


class AttributeWriter:
    """Encodes attribute mappings; remembers pairs of strings it has met (bounded).

    Args:
        render: writes one attribute, of a key and a value, or raises UnencodableError.
        separator, before, after: stand between attributes and around them.
        empty: stands for no attributes at all.
    """

    def __init__(
        self,
        render: Callable[[object, object], bytes],
        *,
        separator: bytes = b"",
        before: bytes = b"",
        after: bytes = b"",
        empty: bytes = b"",
    ) -> None:
        self._render = render
        self._separator, self._before, self._after, self._empty = separator, before, after, empty
        self._pairs: dict[tuple[str, str], bytes] = {}

    def write(self, attributes: Mapping[str, Any] | None) -> tuple[bytes, Stability]:  # values are of any type
        """The encoded attributes, and how stable the mapping is.

        Raises:
            UnencodableError: when a key or value has no place in the format.
        """
        # Another class than dict may hand out its items as it likes.
        stability = Stability.IDENTITY if type(attributes) is dict else Stability.NONE
        if not attributes:
            return self._empty, stability
        out = []
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
            if type(key) is not str or not _is_immutable(value):
                stability = Stability.NONE
            out.append(self._pair(key, value))
        return self._before + self._separator.join(out) + self._after, stability

    def _pair(self, key: object, value: object) -> bytes:
        try:
            return self._render(key, value)
        except UnencodableError as error:
            raise UnencodableError(f"attribute {short(key)}: {error}") from error


def _is_immutable(value: object) -> bool:
    """Whether a value is immutable through and through."""
    kind = type(value)
    if kind in _EXACT_IMMUTABLE:
        return True
    return kind is tuple and all(type(item) in _EXACT_IMMUTABLE for item in value)  # type: ignore[attr-defined] # is a tuple
