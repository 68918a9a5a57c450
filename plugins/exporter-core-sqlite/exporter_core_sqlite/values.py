"""Exact forms of metric values in SQLite, both ways: texts, numbers, and attributes as JSON that SQL can query.

JSON stands for itself wherever it can. What it cannot hold becomes an object with a single key that starts with ``$``:
``{"$float": "NaN"}``, ``{"$bytes": base64}``, ``{"$text": base64}`` for texts that are not Unicode (lone surrogates),
``{"$items": [[key, value], ...]}`` for mappings with such keys, and ``{"$map": {...}}`` for a mapping that would
otherwise read as one of these.
"""

from __future__ import annotations

import base64
import json
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

_T = TypeVar("_T")

_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class UnstorableError(Exception):
    """A value that SQLite cannot hold; the message says which and why, and fits after the name of the metric."""


def integer(value: object) -> int:
    """The value as an integer of 64 bits, if it is an integer or stands for one. Raises UnstorableError."""
    if not isinstance(value, int):
        if not isinstance(value, SupportsIndex):  # numpy's integers are no ints
            raise UnstorableError(f"expected an integer, not {type(value).__name__}")
        value = _converted(operator.index, value)
    if -0x8000_0000_0000_0000 <= value <= 0x7FFF_FFFF_FFFF_FFFF:  # noqa: PLR2004 - 64 bits; in place, as it is hot
        return value
    raise UnstorableError("an integer does not fit into 64 bits")


def optional_integer(value: object) -> int | None:
    """:func:`integer`, or None for None."""
    return None if value is None else integer(value)


def number(value: object) -> float:
    """The value as a float or an integer of 64 bits, if it is a number. Raises UnstorableError."""
    if isinstance(value, float):
        return value
    if isinstance(value, int) or isinstance(value, SupportsIndex):  # noqa: SIM101 - the first is quick, the second is not
        return integer(value)
    if isinstance(value, SupportsFloat):  # decimals and fractions are no floats
        return _converted(float, value)
    raise UnstorableError(f"expected a number, not {type(value).__name__}")


def text(value: object) -> str | bytes:
    """The text; as surrogate-passing UTF-8 bytes if it is not Unicode. Raises UnstorableError if it is not a text."""
    if not isinstance(value, str):
        raise UnstorableError(f"expected a text, not {type(value).__name__}")
    return value if _is_unicode(value) else value.encode("utf-8", "surrogatepass")


def optional_text(value: object) -> str | bytes | None:
    """:func:`text`, or None for None."""
    return None if value is None else text(value)


def text_from(value: str | bytes) -> str:
    """The text that :func:`text` made the value from."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def json_of(value: object) -> str:
    """The JSON of an attribute value or a mapping of them; equal values of equal types give the same JSON.

    A value of a type that attributes cannot have becomes its ``str``, as in the SDK. Raises UnstorableError.
    """
    try:
        if isinstance(value, Mapping) and _is_simple(items := dict(value)):
            simple = _encode(items)
            if _is_unicode(simple):
                return simple
        return _encode(_plain(value))
    except RecursionError:
        raise UnstorableError("an attribute is nested too deeply") from None
    except ValueError as error:
        raise UnstorableError(f"an attribute cannot be written: {error}") from None


def value_of(json_text: str) -> Any:  # Any: whatever an attribute can be
    """The value that :func:`json_of` made the JSON from; sequences become tuples."""
    return _exact(json.loads(json_text))


def _converted(convert: Callable[[Any], _T], value: object) -> _T:
    try:
        return convert(value)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UnstorableError(f"a value of type {type(value).__name__} cannot be read: {error}") from None


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _plain(value: object) -> object:
    """The value as the JSON module can write it and :func:`_exact` can read it back."""
    if isinstance(value, Mapping):
        return _plain_mapping((key if isinstance(key, str) else str(key), item) for key, item in value.items())
    if isinstance(value, bytes | bytearray):
        return {"$bytes": _base64(bytes(value))}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return _plain_scalar(value)


def _is_simple(items: dict[Any, Any]) -> bool:  # of any type
    """True for the usual attributes, which stand for themselves if they are Unicode; `_plain` needs thrice the time."""
    return (
        all(type(item) in _SIMPLE or _is_simple_list(item) for item in items.values())
        and _TEXT.issuperset(map(type, items))
        and not (len(items) == 1 and next(iter(items)).startswith("$"))
    )


def _is_simple_list(value: object) -> bool:
    return (type(value) is list or type(value) is tuple) and _SIMPLE.issuperset(map(type, value))


_SIMPLE, _TEXT = frozenset({str, int, bool, type(None)}), frozenset({str})


def _plain_scalar(value: object) -> object:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": _NON_FINITE[str(float(value))]}
    as_text = value if isinstance(value, str) else str(value)
    return as_text if _is_unicode(as_text) else {"$text": _base64(as_text.encode("utf-8", "surrogatepass"))}


_NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _plain_mapping(items: Iterable[tuple[str, object]]) -> object:
    plain = {key: _plain(item) for key, item in items}
    if not all(map(_is_unicode, plain)):
        return {"$items": [[_plain(key), plain[key]] for key in sorted(plain)]}
    if len(plain) == 1 and next(iter(plain)).startswith("$"):
        return {"$map": plain}
    return plain


def _exact(value: Any) -> Any:  # Any: whatever JSON can hold
    if isinstance(value, list):
        return tuple(map(_exact, value))
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, content),) = value.items()
        if key in _DECODERS:
            return _DECODERS[key](content)
    return _exact_mapping(value)


def _exact_mapping(value: dict[str, Any]) -> dict[str, Any]:  # Any: whatever JSON can hold
    return {key: _exact(item) for key, item in value.items()}


_DECODERS: dict[str, Callable[[Any], object]] = {
    "$float": float,
    "$bytes": base64.b64decode,
    "$text": lambda content: base64.b64decode(content).decode("utf-8", "surrogatepass"),
    "$items": lambda content: {_exact(name): _exact(item) for name, item in content},
    "$map": _exact_mapping,
}
