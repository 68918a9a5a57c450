"""Environment variable references in the values of a config file: ``${NAME}``, ``${NAME:-default}``, ``$$``.

The rules are those of the OpenTelemetry configuration data model, "Environment variable substitution". This module
works on the text of one scalar; its caller leaves keys alone and resolves types afterwards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# From ${ to the first brace of its line. Where there is none it takes the rest of the line, since looking for the brace
# anew at every ${ of a long text would take for ever.
_CANDIDATE: Final = re.compile(r"\$\{[^}\n]*\}?")
_REFERENCE: Final = re.compile(r"\$\{(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}\n]*))?\}")
_START: Final = re.compile(r"\$\{(?:env:)?[A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Substitution:
    """One scalar's text after the substitution.

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

    Replacements are not searched again: neither a value nor a default can bring in a further reference or escape.
    A variable that is set but empty counts as unset where there is a default. ``${`` without ``}`` is ordinary text.
    """
    if "$" not in text:
        return Substitution(text)
    unset: list[str] = []
    invalid: list[str] = []

    def replaced(candidate: re.Match[str]) -> str:
        if not candidate.group().endswith("}"):
            return candidate.group()
        reference = _REFERENCE.fullmatch(candidate.group())
        if reference is None:
            invalid.append(candidate.group())
            return ""
        value = environ.get(reference["name"])
        if not value and reference["default"] is not None:
            return reference["default"]
        if value is None:
            unset.append(reference["name"])
        return value or ""

    substituted = "$".join(_CANDIDATE.sub(replaced, segment) for segment in text.split("$$"))
    return Substitution(substituted, tuple(unset), tuple(invalid))


def describe_invalid(reference: str) -> str:
    """Return the message for an invalid reference; it shows the name only, since a default may be a secret."""
    start = _START.match(reference)
    shown = start.group() if start else "${"
    rest = "" if shown == reference[:-1] else "..."
    return (
        f"invalid reference '{shown}{rest}}}' to an environment variable; "
        "expected ${NAME} or ${NAME:-default}, or $$ for a dollar sign"
    )
