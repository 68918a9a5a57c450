"""Content negotiation: the format that a scraper asks for, by its header ``Accept``.

Source: https://prometheus.io/docs/instrumenting/content_negotiation/
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class Format(Enum):
    """The formats, each with its content type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


class Accepted(NamedTuple):
    """The answer that a scraper wants."""

    format: Format
    utf8: bool
    """True if it knows names of any characters."""


_MOST: Final = 32  # items of a header that are looked at
_OPENMETRICS_VERSIONS: Final = {"", "0.0.1", "1.0.0"}


def accepted_by(accept: str) -> Accepted:
    """Return the format to answer in: the one that the header prefers, of two alike the first; text by default."""
    best, preference = Accepted(Format.TEXT, utf8=False), 0.0
    for item in accept.split(",")[:_MOST]:
        kind, parameters = _parsed(item)
        found = _format(kind, parameters)
        quality = _quality(parameters.get("q", ""))
        if found is not None and quality > preference:
            best, preference = Accepted(found, parameters.get("escaping") == "allow-utf-8"), quality
    return best


def content_type(accepted: Accepted) -> str:
    """Return the value of the header `Content-Type`."""
    return f"{accepted.format.value}; escaping=allow-utf-8" if accepted.utf8 else accepted.format.value


def takes_gzip(accept_encoding: str) -> bool:
    """Return True if a scraper's header `Accept-Encoding` allows gzip."""
    items = dict(map(_parsed, accept_encoding.split(",")[:_MOST]))
    return _quality(items.get("gzip", items.get("*", {"q": "0"})).get("q", "")) > 0


def _parsed(item: str) -> tuple[str, dict[str, str]]:
    kind, *parts = (part.strip() for part in item.split(";"))
    pairs = (part.partition("=") for part in parts)
    return kind.lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _format(kind: str, parameters: dict[str, str]) -> Format | None:
    version = parameters.get("version", "")
    if kind == "application/openmetrics-text" and version in _OPENMETRICS_VERSIONS:
        return Format.OPENMETRICS
    if kind == "application/vnd.google.protobuf":
        wanted = ("io.prometheus.client.MetricFamily", "delimited")
        return Format.PROTOBUF if (parameters.get("proto"), parameters.get("encoding")) == wanted else None
    if kind in ("text/plain", "text/*", "*/*"):
        return Format.TEXT if version in {"", "0.0.4", "1.0.0"} else None
    return None


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0) if text else 1.0
    except ValueError:
        return 0.0
