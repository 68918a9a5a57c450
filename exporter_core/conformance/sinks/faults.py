"""What a sink does with a request: the faults that a script is made of, and their spelling.

A fault is a text such as ``"status:503"``; :func:`parse` reads it. ``docs/conformance-sinks.md`` has them in a table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

DRIP_SECONDS: Final = 0.05
"""How long a dripping sink waits between two bytes, unless its script says otherwise."""

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

UNSEEN: Final = frozenset({"refuse", "blackhole"})
"""Faults that the sink sees nothing of, so that it cannot count them."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, read.

    ``status`` is an HTTP status or the name of a gRPC status code; ``seconds`` belongs to ``retry-after`` and ``drip``;
    ``points`` to ``partial``; ``html`` to ``garbage``.
    """

    text: str
    kind: str
    status: int | str = ""
    seconds: float = 0.0
    points: int = 0
    html: bool = False

    def __str__(self) -> str:
        return self.text


def parse(text: str, supported: Collection[str], *, grpc: bool = False) -> Fault:
    """Read one fault; ``supported`` names the kinds that the sink knows. ValueError says what is wrong with it."""
    kind, *arguments = text.split(":")
    if kind not in supported:
        raise ValueError(f"fault {text!r}: this sink knows {', '.join(sorted(supported))}")
    try:
        fault = _READERS.get(kind, _plain)(text, kind, *arguments)
        if fault.status != "":
            fault = replace(fault, status=_grpc_code(str(fault.status)) if grpc else _http_status(str(fault.status)))
    except (TypeError, ValueError):
        raise ValueError(f"fault {text!r}: expected {_SPELLINGS.get(kind, kind)}") from None
    return fault


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


def _plain(text: str, kind: str) -> Fault:
    return Fault(text, kind)


def _status(text: str, kind: str, status: str) -> Fault:
    if not status:
        raise ValueError
    return Fault(text, kind, status=status)


def _retry_after(text: str, kind: str, seconds: str, status: str = "") -> Fault:
    waited = float(seconds)
    if not 0 <= waited < float("inf"):
        raise ValueError
    return Fault(text, kind, seconds=waited, status=status)


def _drip(text: str, kind: str, seconds: str = "") -> Fault:
    if seconds == "step":
        return Fault(text, kind, seconds=float("inf"))
    pace = float(seconds) if seconds else DRIP_SECONDS
    if not pace > 0:
        raise ValueError
    return Fault(text, kind, seconds=pace)


def _partial(text: str, kind: str, points: str) -> Fault:
    if not points.isdecimal():
        raise ValueError
    return Fault(text, kind, points=int(points))


def _redirect(text: str, kind: str, status: str = "307") -> Fault:
    return Fault(text, kind, status=status)


def _garbage(text: str, kind: str, form: str = "") -> Fault:
    if form not in {"", "html"}:
        raise ValueError
    return Fault(text, kind, html=form == "html")


_READERS: Final[dict[str, Callable[..., Fault]]] = {
    "status": _status,
    "retry-after": _retry_after,
    "retry-after-date": _retry_after,
    "drip": _drip,
    "partial": _partial,
    "redirect": _redirect,
    "garbage": _garbage,
}

_SPELLINGS: Final = {
    "status": "status:CODE, a status such as status:503 or, for gRPC, status:UNAVAILABLE",
    "retry-after": "retry-after:SECONDS or retry-after:SECONDS:CODE",
    "retry-after-date": "retry-after-date:SECONDS or retry-after-date:SECONDS:CODE",
    "drip": "drip, drip:SECONDS or drip:step",
    "partial": "partial:POINTS",
    "redirect": "redirect or redirect:CODE",
    "garbage": "garbage or garbage:html",
}
