"""Attributes as encoded text or bytes, and what proves later that a mapping still says what was encoded.

Knows neither encoding: how one attribute is written is handed in.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from operator import eq, is_
from typing import Any

from exporter_core.otlp.wire import UnencodableError, short

# Arrays nested in arrays: each level costs up to three levels of the 100 that protobuf parsers accept.
MAX_NESTING = 30

Items = Iterable[tuple[object, object]]
_IMMUTABLE = frozenset({str, int, float, bool, bytes, type(None)})
# Equal values of one of these types are encoded alike. Not so 0.0 and -0.0.
_EQUAL_IS_SAME = frozenset({str, int, bool, bytes, type(None)})
_REMEMBERED = (str, int, bool)
_KEPT_PAIRS = 2048
_KEPT_BYTES = 512


class AttributeWriter:
    """Encodes attributes; remembers short pairs of key and value that it has met (bounded).

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
        # By type, for 1, 1.0 and True are equal.
        self._pairs: dict[type, dict[tuple[object, object], bytes]] = {kind: {} for kind in _REMEMBERED}

    def write(self, items: Items) -> tuple[bytes, bool]:
        """The encoded attributes, and True if none of them can change in place.

        Raises:
            UnencodableError: when a key or value has no place in the format.
        """
        out = []
        immutable = True
        remembered = self._pairs
        for item in items:
            key, value = item
            pairs = remembered.get(type(value))
            if pairs is None or type(key) is not str:
                immutable = immutable and type(key) is str and _is_immutable(value)
                out.append(self._pair(key, value))
                continue
            pair = pairs.get(item)
            if pair is None:
                pair = self._pair(key, value)
                if len(pair) < _KEPT_BYTES:
                    if len(pairs) >= _KEPT_PAIRS:
                        pairs.clear()
                    pairs[item] = pair
            out.append(pair)
        return self._before + self._separator.join(out) + self._after if out else self._empty, immutable

    def of(self, attributes: Mapping[str, Any] | None) -> bytes:  # values are of any type
        """The encoded attributes of a mapping; None has none.

        Raises:
            UnencodableError: when a key or value has no place in the format.
        """
        return self.write(attributes.items())[0] if attributes else self._empty

    def _pair(self, key: object, value: object) -> bytes:
        try:
            return self._render(key, value)
        except UnencodableError as error:
            raise UnencodableError(f"attribute {short(key)}: {error}") from error


def _is_immutable(value: Any) -> bool:  # of any type
    return type(value) in _IMMUTABLE or (type(value) is tuple and _IMMUTABLE.issuperset(map(type, value)))


def same_items(mappings: list[Any], keys: list[tuple[object, ...]], values: Callable[[], Iterable[Any]]) -> bool:
    """True if mappings have these items, looked at together, in C.

    Values are compared by identity, which for immutable values holds for every difference, also that of 1, True and
    1.0; or else by type and equality.

    Args:
        mappings: the mappings, or what stands in their place.
        keys: the keys of each, in order.
        values: gives the values of all, one after the other.
    """
    # Another class than dict may hand out its items as it likes.
    if not set(map(type, mappings)) <= {dict}:
        return False
    try:
        if not _same_keys(mappings, keys):
            return False
        if all(map(is_, _values(mappings), values())):
            return True
        if not all(map(eq, _values(mappings), values())):
            return False
        types = set(map(type, _values(mappings)))
        # Nothing immutable but a text equals a text.
        return types == {str} or (
            types <= _EQUAL_IS_SAME and all(map(is_, map(type, _values(mappings)), map(type, values())))
        )
    except Exception:  # noqa: BLE001 - what stands there instead of a text may raise anything when it is compared
        return False


def _same_keys(mappings: list[dict[Any, Any]], keys: list[tuple[object, ...]]) -> bool:
    if list(map(len, mappings)) != list(map(len, keys)):
        return False
    # Programs name most keys by literals, which are the same object each time.
    return all(map(is_, chain.from_iterable(mappings), chain.from_iterable(keys))) or list(map(tuple, mappings)) == keys


def _values(mappings: list[dict[str, Any]]) -> Iterable[Any]:  # values are of any type
    return chain.from_iterable(map(dict.values, mappings))
