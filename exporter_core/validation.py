"""Pydantic's errors about options in plain words: one line a problem, with the nearest valid spelling.

No message quotes the value that was given, because it may be a secret. The caller adds positions in a file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from exporter_core.errors import ConfigProblem
from exporter_core.masking import Masker
from exporter_core.model_path import Place, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

_STATED: Final = "exporter_core_stated"  # the error type of :func:`stated`
_FEW: Final = 12  # so many valid names are listed; more would bury the message
_LONGEST_KEY: Final = 60

# The expected value, by pydantic's error type; the placeholders are names of the error's context.
_EXPECTED_KIND: Final = {
    "string_type": "a string",
    "string_sub_type": "a string",
    "string_unicode": "a string",
    "bytes_type": "a string",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_parsing_size": "an integer of reasonable size",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "complex_type": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "iterable_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "none_required": "null",
    "date_type": "a date",
    "date_parsing": "a date such as 2030-01-31",
    "date_from_datetime_parsing": "a date such as 2030-01-31",
    "datetime_type": "a date and time",
    "datetime_parsing": "a date and time such as 2030-01-31T12:00:00Z",
    "datetime_from_date_parsing": "a date and time such as 2030-01-31T12:00:00Z",
    "time_type": "a time of day",
    "time_parsing": "a time of day such as 12:00:00",
    "time_delta_type": "a duration in seconds or such as PT30S",
    "time_delta_parsing": "a duration in seconds or such as PT30S",
    "url_type": "a URL",
    "uuid_type": "a UUID",
    "path_type": "a path",
    "ip_any_address": "an IP address",
    "ip_v4_address": "an IPv4 address",
    "ip_v6_address": "an IPv6 address",
    "json_type": "JSON text",
}
_EXPECTED: Final = {
    "finite_number": "a finite number",
    "greater_than": "a value greater than {gt}",
    "greater_than_equal": "a value of at least {ge}",
    "less_than": "a value less than {lt}",
    "less_than_equal": "a value of at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_too_short": "a string of at least {min_length} characters",
    "string_too_long": "a string of at most {max_length} characters",
    "string_pattern_mismatch": "a string that matches the pattern {pattern}",
    "bytes_too_short": "a string of at least {min_length} bytes",
    "bytes_too_long": "a string of at most {max_length} bytes",
    "too_short": "at least {min_length} items, not {actual_length}",
    "too_long": "at most {max_length} items",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "url_parsing": "a URL such as https://host:port/path",
    "url_syntax_violation": "a URL such as https://host:port/path",
    "url_too_long": "a URL of at most {max_length} characters",
    "url_scheme": "a URL that starts with {expected_schemes}",
    "uuid_parsing": "a UUID",
    "uuid_version": "a UUID of version {expected_version}",
    "path_not_file": "the path of an existing file",
    "path_not_directory": "the path of an existing directory",
    "path_exists": "a path where nothing exists",
    "json_invalid": "JSON text",
    "is_instance_of": "an instance of {class}",
    "is_subclass_of": "a subclass of {class}",
    "callable_type": "a callable",
    "timezone_naive": "a time without a time zone",
    "timezone_aware": "a time with a time zone",
    "date_past": "a date in the past",
    "date_future": "a date in the future",
    "datetime_past": "a time in the past",
    "datetime_future": "a time in the future",
}


_NOT_EMPTY: Final = {"string_too_short": "a string that is not empty", "too_short": "at least one item"}


def problems_of(
    error: ValidationError, model: type[BaseModel], *, path: Sequence[str | int] = (), what: str = "option"
) -> list[ConfigProblem]:
    """Return every problem that pydantic found, in its order, as one-line messages that never quote the value given.

    Args:
        error: the error that ``model.model_validate`` raised.
        model: the model that was validated against.
        path: the place of the model's own value; it precedes the path of each problem.
        what: the word for a key of the model in messages.

    Returns:
        Problems whose ``path`` leads to the wrong value, to an unknown key, or to the mapping that lacks a key.
    """
    found = [_Found(details, resolve(model, details["loc"])) for details in error.errors(include_url=False)]
    messages = _messages(found, 0, what)
    missing = [(where, item.details["loc"][-1]) for where, _, item in messages if item and item.kind == "missing"]
    # A required key that stands there misspelt is one problem, not two.
    misspelt = {
        (where[:-1], nearest(str(where[-1]), [str(key) for lacking, key in missing if lacking == where[:-1]]))
        for where, _, item in messages
        if item and item.kind == "extra_forbidden"
    }
    return [
        (UnknownKeyProblem if item and item.kind == "extra_forbidden" else ConfigProblem)(text, path=(*path, *where))
        for where, text, item in messages
        if item is None or item.kind != "missing" or (where, item.details["loc"][-1]) not in misspelt
    ]


class UnknownKeyProblem(ConfigProblem):
    """A problem with the last key of its path, not with the value that stands there."""

    __slots__ = ()


def unknown(name: str, names: Iterable[str], *, what: str = "option") -> str:
    """Return the message for an unknown name: with the nearest valid one, or with all when they are few."""
    names = sorted(names)
    shown = Masker()(" ".join(name.split()))
    message = f"unknown {what} '{shown if len(shown) <= _LONGEST_KEY else shown[:_LONGEST_KEY] + '...'}'"
    close = nearest(name, names)
    if close is not None:
        return f"{message}; did you mean '{close}'?"
    if not names:
        return f"{message}; there are no {what}s here"
    if len(names) > _FEW:
        return message
    return f"{message}; valid here: {', '.join(names)}"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the valid name that is spelt most like this one, None when none is similar."""
    by_key = {_spelling(candidate): candidate for candidate in names}
    close = difflib.get_close_matches(_spelling(name[: 2 * _LONGEST_KEY]), by_key, n=1, cutoff=0.65)
    return by_key[close[0]] if close else None


def stated(message: str) -> Exception:
    """Return an error for a validator to raise, whose message is shown as it is: it must quote no value that was given.

    The message of a ValueError is masked instead: each part of it that stands in the value given becomes ``***``.
    """
    from pydantic_core import PydanticCustomError  # noqa: PLC0415 - importing this module stays light

    return PydanticCustomError(_STATED, "{message}", {"message": message})


def whole_milliseconds(value: object) -> object:
    """Return the value if it is an integer; for validators of times. Raises an error that is shown as it is."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise stated("expected whole milliseconds, such as 5000")
    return value


def kind_of(value: object) -> str:
    """Return the kind of a value, in the words of a config file."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "a boolean"),
        (str, "a string"),
        ((int, float), "a number"),
        (Mapping, "a mapping"),
        ((list, tuple, set, frozenset), "a list"),
    )
    if value is None:
        return "null"
    return next((kind for types, kind in kinds if isinstance(value, types)), f"a {type(value).__name__}")


def shown_path(path: Sequence[str | int]) -> str:
    """Return a path for people: ``tls.ca_file``, ``headers[0].name``, ``labels['a.b']``; empty for the root."""
    text = ""
    for part in path:
        if isinstance(part, str) and re.fullmatch(r"[\w/-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


@dataclass(frozen=True, slots=True)
class _Found:
    """One error of pydantic and where it stands in the model."""

    details: ErrorDetails
    place: Place

    @property
    def kind(self) -> str:
        """Pydantic's error type."""
        return self.details["type"]

    @property
    def expected(self) -> str | None:
        """The values that are valid here; None for an error of another nature."""
        template = _EXPECTED_KIND.get(self.kind) or _EXPECTED.get(self.kind)
        if template is None:
            return None
        if self.context.get("min_length") == 1 and self.kind in _NOT_EMPTY:
            return _NOT_EMPTY[self.kind]
        text = template.format_map(self.context)
        return re.sub(r"\b1 (character|byte|item)s", r"1 \1", text)

    @property
    def context(self) -> Mapping[str, Any]:  # Any: what it holds depends on the error's type
        return self.details.get("ctx", {})

    @property
    def is_deep(self) -> bool:
        """True if the value had the right shape, and the error is about something inside it."""
        return self.kind in {"missing", "extra_forbidden", "value_error", "assertion_error"} or self.expected is None


_Message = tuple[tuple[str | int, ...], str, _Found | None]


def _messages(found: Sequence[_Found], depth: int, what: str) -> list[_Message]:
    """Return path, message and origin of each problem; a union whose alternatives all failed is one, without origin.

    ``depth`` counts the unions around the errors that have been dealt with.
    """
    result: list[_Message] = []
    for union, group in groupby(found, key=lambda item: item.place.union_at(depth)):
        members = list(group)
        if union is None:
            result.extend((*_message(item, what), item) for item in members)
            continue
        branches: dict[str, list[_Found]] = {}
        for item in members:
            branches.setdefault(item.place.unions[depth][1], []).append(item)
        deep = [
            branch
            for branch in branches.values()
            if any(item.is_deep or len(item.place.path) > len(union) for item in branch)
        ]
        if len(branches) == 1 or deep:
            best = max(deep or branches.values(), key=lambda branch: max(len(item.place.path) for item in branch))
            result.extend(_messages(best, depth + 1, what))
        else:
            result.append((*_either(union, members), None))
    return result


def _either(union: tuple[str | int, ...], members: Sequence[_Found]) -> tuple[tuple[str | int, ...], str]:
    """Return one message for the alternatives of a union, none of which fits."""
    expected = list(dict.fromkeys(item.expected for item in members if item.expected))
    text = expected[0] if len(expected) == 1 else f"{', '.join(expected[:-1])} or {expected[-1]}"
    if all(item.kind in _EXPECTED_KIND for item in members):
        text += f", not {_given(members[0])}"
    return union, _at(union, f"expected {text}")


def _message(item: _Found, what: str) -> tuple[tuple[str | int, ...], str]:
    """Return path and message of one error outside unions."""
    path, kind = item.place.path, item.kind
    if kind == "missing" and path:
        *rest, name = path
        text = f"missing required {what} '{name}'" if isinstance(name, str) else f"missing item {name}"
        return tuple(rest), _at(rest, text)
    if kind == "extra_forbidden" and path:
        return path, _at(path[:-1], unknown(str(path[-1]), item.place.siblings, what=what))
    if kind == "union_tag_not_found":
        return path, _at(path, f"missing required {what} {item.context['discriminator']}")
    if kind == "union_tag_invalid":
        path = (*path, item.context["discriminator"].strip("'"))
        return path, _at(path, f"expected one of {_with_nearest(item.context['expected_tags'], item.context['tag'])}")
    expected = item.expected
    if expected is None:
        return path, _at(path, _other(item))
    if item.place.is_key:
        expected += " as its key"
    if kind in _EXPECTED_KIND:
        expected += f", not {_given(item)}"
    elif kind in {"literal_error", "enum"}:
        expected = _with_nearest(expected, item.details["input"])
    return path, _at(path, f"expected {expected}")


def _with_nearest(choices: str, given: object) -> str:
    """Return the choices, as pydantic lists them, with the one that the value given resembles."""
    close = nearest(given, re.findall(r"'([^']*)'", choices)) if isinstance(given, str) else None
    return f"{choices}; did you mean '{close}'?" if close else choices


def _other(item: _Found) -> str:
    """Return the message of a validator, or of an error type not known here, without the value it is about."""
    if item.kind == _STATED:
        return str(item.context["message"])
    text = str(item.context["error"]) if "error" in item.context else item.details["msg"]
    text = re.sub(r"^(?:Value error|Assertion failed), ", "", text)
    text = re.sub(r"^Input should (?:be )?", "expected ", text)
    text = " ".join(text.split())
    return Masker(texts_in(item.details["input"]))(text) or "is not valid"


def texts_in(value: object, depth: int = 0) -> list[str]:
    """Return every text inside a value that was given: a message about it must not repeat them."""
    if isinstance(value, str | bytes):
        return [value if isinstance(value, str) else value.decode(errors="replace")]
    secret = getattr(value, "get_secret_value", None)
    if callable(secret):
        return texts_in(secret(), depth + 1)
    if depth > 16:  # noqa: PLR2004 - options are not nested deeper, and this ends a cycle
        return []
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in texts_in(item, depth + 1)]
    if isinstance(value, list | tuple | set | frozenset):
        return [text for item in value for text in texts_in(item, depth + 1)]
    members = getattr(value, "__dict__", None)
    return texts_in(members, depth + 1) if isinstance(members, dict) else []


def _given(item: _Found) -> str:
    given = item.details["input"]
    if isinstance(given, float) and (item.expected or "").startswith("an integer"):
        return "a number with a decimal point"
    return kind_of(given)


def _at(path: Sequence[str | int], message: str) -> str:
    where = shown_path(path)
    return f"{where}: {message}" if where else message


def _spelling(name: str) -> str:
    return name.casefold().replace("-", "_")
