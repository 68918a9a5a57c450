"""The faults that a sink's script is made of, and their spelling.

A fault is a text such as ``"status:503"``; :func:`parse` reads it. ``docs/conformance-sinks.md`` has them in a table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

DRIP_SECONDS: Final = 0.05
"""Seconds between two bytes of a drip, unless the script names others."""

GRPC_CODES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The names of the gRPC status codes, by their numbers."""

UNSEEN: Final = frozenset({"refuse", "blackhole", "silence"})
"""Faults that keep connections, or what is sent over them, from the sink, so that it cannot count requests."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, read.

    ``status`` is an HTTP status or the name of a gRPC status code; ``seconds`` belongs to ``retry-after`` and ``drip``;
    ``points`` and ``silent`` belong to ``partial``, ``html`` to ``garbage``, ``stored`` to ``reset`` and ``empty`` to
    ``truncate``.
    """

    text: str
    kind: str
    status: int | str = ""
    seconds: float = 0.0
    points: int = 0
    html: bool = False
    empty: bool = False
    stored: bool = False
    silent: bool = False

    def __str__(self) -> str:
        return self.text


def parse(text: str, supported: Collection[str], *, grpc: bool = False) -> Fault:
    """Read one fault; ``supported`` names the kinds that the sink knows. ValueError says what is wrong with it."""
    kind = text.partition(":")[0]
    if kind not in supported:
        raise ValueError(f"fault {text!r}: this sink knows {', '.join(sorted(supported))}")
    unfit = ValueError(f"fault {text!r}: expected {_SPELLINGS.get(kind, kind)}")
    found = re.fullmatch(_FORMS.get(kind, kind), text)
    if found is None:
        raise unfit
    given = {name: value for name, value in found.groupdict().items() if value} or _DEFAULTS.get(kind, {})
    read: dict[str, Callable[[str], Any]] = {  # Any: the type of each field
        "status": _grpc_code if grpc else _http_status,
        "seconds": _seconds,
        "points": int,
        "html": bool,
        "empty": bool,
        "stored": bool,
        "silent": bool,
    }
    try:
        return Fault(text, kind, **{name: read[name](value) for name, value in given.items()})
    except ValueError:
        raise unfit from None


def parse_script(
    faults: Collection[str], then: str, supported: Collection[str], *, grpc: bool = False
) -> tuple[list[Fault], Fault]:
    """Read a script; ValueError also for a fault in the sequence that cannot be counted."""
    for text in faults:
        if text in UNSEEN:
            raise ValueError(
                f"fault {text!r}: a sink cannot count connections that never reach it; use script(then={text!r})"
            )
    return [parse(text, supported, grpc=grpc) for text in faults], parse(then, supported, grpc=grpc)


def _http_status(text: str) -> int:
    status = int(text)
    if not 200 <= status <= 599:  # noqa: PLR2004 - final HTTP statuses
        raise ValueError
    return status


def _grpc_code(text: str) -> str:
    return (
        GRPC_CODES[int(text)] if text.isdigit() and int(text) < len(GRPC_CODES) else GRPC_CODES[GRPC_CODES.index(text)]
    )


def _seconds(text: str) -> float:
    return float("inf") if text == "step" else float(text)


_NUMBER: Final = r"\d*\.?\d+"
_RETRY_AFTER: Final = rf":(?P<seconds>{_NUMBER})(:(?P<status>[^:]+))?"

_FORMS: Final = {
    "status": "status:(?P<status>[^:]+)",
    "retry-after": f"retry-after{_RETRY_AFTER}",
    "retry-after-date": f"retry-after-date{_RETRY_AFTER}",
    "drip": rf"drip(:(?P<seconds>step|(?!0*\.?0*$){_NUMBER}))?",
    "partial": r"partial:(?P<points>\d+)(:(?P<silent>silent))?",
    "redirect": "redirect(:(?P<status>[^:]+))?",
    "garbage": "garbage(:(?P<html>html))?",
    "reset": "reset(:(?P<stored>stored))?",
    "truncate": "truncate(:(?P<empty>empty))?",
}
"""The kinds that take arguments, as regular expressions with a group for each field of a Fault."""

_DEFAULTS: Final = {"drip": {"seconds": str(DRIP_SECONDS)}, "redirect": {"status": "307"}}
"""The fields of a fault that is written without arguments."""

_SPELLINGS: Final = {
    "status": "status:CODE, a status such as status:503 or, for gRPC, status:UNAVAILABLE",
    "retry-after": "retry-after:SECONDS or retry-after:SECONDS:CODE",
    "retry-after-date": "retry-after-date:SECONDS or retry-after-date:SECONDS:CODE",
    "drip": "drip, drip:SECONDS or drip:step",
    "partial": "partial:POINTS or partial:POINTS:silent",
    "redirect": "redirect or redirect:CODE",
    "garbage": "garbage or garbage:html",
    "reset": "reset or reset:stored",
    "truncate": "truncate or truncate:empty",
}
