"""The points that a sink has received, in the form that the clauses compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import Buckets

from exporter_core.conformance.observe.tokens import TOKEN, Point, plain, real

if TYPE_CHECKING:
    from exporter_core.conformance.sinks import Point as Arrived

_TYPES: Final = {
    "gauge": "Gauge",
    "sum": "Sum",
    "histogram": "Histogram",
    "exponential_histogram": "ExponentialHistogram",
}
_LABEL: Final = TOKEN.replace(".", "_")
IDENTITIES: Final = (TOKEN, _LABEL)
"""The attributes in which sinks look for the identity of a point."""


def as_points(arrived: Iterable[Arrived]) -> list[Point]:
    """The points, each with the identity that it carries.

    Prometheus has several samples for one point of a histogram: those of one request with one identity are one point.
    """
    found: list[Point] = []
    samples: set[tuple[int, str]] = set()
    for one in arrived:
        token = str(one.attributes.get(TOKEN) or one.attributes.get(_LABEL) or "")
        if one.kind not in _TYPES:
            if (one.request, token) in samples:
                continue
            samples.add((one.request, token))
        found.append(Point(token, _fields(one)))
    return found


def _fields(one: Arrived) -> dict[str, object]:
    values: dict[str, Any] = dict(one.value) if isinstance(one.value, Mapping) else {"value": one.value}
    for name in ("positive", "negative"):
        if name in values:
            values[name] = Buckets(values[name]["offset"], values[name]["bucket_counts"])
    return {
        "resource": plain(one.resource),
        "resource_schema_url": one.resource_schema_url,
        "scope": one.scope,
        "scope_version": one.scope_version,
        "scope_schema_url": one.scope_schema_url,
        "scope_attributes": plain(one.scope_attributes),
        "name": one.metric,
        "unit": one.unit,
        "description": one.description,
        "type": _TYPES.get(one.kind, one.kind),
        "temporality": one.temporality.upper() or None,
        "monotonic": one.monotonic,
        "attributes": plain(one.attributes),
        "start_time_unix_nano": plain(one.start_time_unix_nano or 0),
        "time_unix_nano": plain(one.time_unix_nano),
        "flags": plain(one.flags),
        "exemplars": tuple(plain(_exemplar(exemplar)) for exemplar in one.exemplars),
        **{name: plain(real(name, value)) for name, value in values.items()},
    }


def _exemplar(values: Mapping[str, Any]) -> Exemplar:
    return Exemplar(
        values["labels"] if "labels" in values else values["filtered_attributes"],  # Prometheus has labels
        values["value"],
        values["time_unix_nano"],
        span_id=_identifier(values.get("span_id")),
        trace_id=_identifier(values.get("trace_id")),
    )


def _identifier(value: str | int | None) -> int | None:
    """OTLP has identifiers as bytes, which sinks show in hexadecimal; the SDK's own JSON has numbers."""
    return (int(value, 16) if value else None) if isinstance(value, str) else value
