"""Environment variable references in the values of a config file: ``${NAME}``, ``${NAME:-default}``, ``$$``.

Source of every rule: the OpenTelemetry configuration data model, "Environment variable substitution". This module works
on the text of one scalar; that keys are left alone and types are resolved afterwards is up to the reader of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REFERENCE: Final = re.compile(r"\$\{(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}\n]*))?\}")
_START: Final = re.compile(r"\$\{(?:env:)?[A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Substitution:
    """What became of one scalar's text.

    Args:
        text: the text with every reference and escape replaced.
        unset: the variables that were neither set nor had a default; each was replaced by nothing.
        invalid: each invalid reference as it stands in the text.
    """

    text: str
    unset: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()


def substitute(text: str, environ: Mapping[str, str]) -> Substitution:
    """Replace references by the variables' values, and ``$$`` by ``$``, in one pass from left to right.

    What is put in is never looked at again: neither a value nor a default can bring in a further reference or escape.
    A variable that is set but empty counts as unset where there is a default. ``${`` without ``}`` is ordinary text.
    """
    if "$" not in text:
        return Substitution(text)
    unset: list[str] = []
    invalid: list[str] = []

    def value_of(reference: re.Match[str]) -> str:
        name, default = reference["name"], reference["default"]
        value = environ.get(name)
        if not value and default is not None:
            return default
        if value is None:
            unset.append(name)
        return value or ""

    def replaced(segment: str) -> str:
        pieces: list[str] = []
        end = 0
        for start, stop in _candidates(segment):
            pieces.append(segment[end:start])
            end = stop
            reference = _REFERENCE.fullmatch(segment, start, stop)
            if reference is None:
                invalid.append(segment[start:stop])
            else:
                pieces.append(value_of(reference))
        return "".join((*pieces, segment[end:]))

    substituted = "$".join(replaced(segment) for segment in text.split("$$"))
    return Substitution(substituted, tuple(unset), tuple(invalid))


def _candidates(text: str) -> Iterator[tuple[int, int]]:
    """Where references start and end, valid or not: from ``${`` to the first brace of that line.

    Found by hand because a regular expression would look for the brace anew at every ``${`` of a long text.
    """
    start = text.find("${")
    brace = newline = -1
    while start >= 0:
        if brace < start:
            brace = text.find("}", start)
            if brace < 0:
                return
        if newline < start:
            newline = text.find("\n", start)
            newline = len(text) if newline < 0 else newline
        if brace < newline:
            yield start, brace + 1
            start = text.find("${", brace + 1)
        else:
            start = text.find("${", newline)


def describe_invalid(reference: str) -> str:
    """The message for an invalid reference; it shows the name only, since a default may be a secret."""
    start = _START.match(reference)
    shown = start.group() if start else "${"
    rest = "" if shown == reference[:-1] else "..."
    return (
        f"invalid reference '{shown}{rest}}}' to an environment variable; "
        "expected ${NAME} or ${NAME:-default}, or $$ for a dollar sign"
    )
