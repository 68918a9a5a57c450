"""OTLP metrics to points: from protobuf, from OTLP's JSON."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from exporter_core.conformance.sinks.records import Point

_TEMPORALITY: Final = {0: "", 1: "delta", 2: "cumulative"}


def parse_protobuf(body: bytes) -> ExportMetricsServiceRequest:
    """Read a request. ValueError if the body is none."""
    try:
        return ExportMetricsServiceRequest.FromString(body)
    except DecodeError as error:
        raise ValueError(str(error)) from None


def parse_json(body: bytes | str) -> ExportMetricsServiceRequest:
    """Read a request from OTLP's JSON. ValueError if the body is none."""
    try:
        return from_json(json.loads(body))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def from_json(value: Any) -> ExportMetricsServiceRequest:  # Any: JSON
    """Make a request of JSON that was read, and change that JSON. ValueError if it is none."""
    if not isinstance(value, dict):
        raise ValueError("expected an object")  # noqa: TRY004 - a body that cannot be decoded, like any other
    _ids_to_base64(value)
    try:
        # The specification has receivers ignore unknown fields.
        return json_format.ParseDict(value, ExportMetricsServiceRequest(), ignore_unknown_fields=True)
    except json_format.Error as error:
        raise ValueError(str(error)) from None


def _ids_to_base64(value: Any) -> None:  # Any: JSON
    """Rewrite ids from hexadecimal, as in OTLP's JSON, to base64, as in protobuf's own JSON mapping."""
    if isinstance(value, list):
        for item in value:
            _ids_to_base64(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in {"traceId", "spanId"} and isinstance(item, str):
                value[key] = base64.b64encode(bytes.fromhex(item)).decode()
            else:
                _ids_to_base64(item)


def response(rejected: int | None, message: str = "") -> ExportMetricsServiceResponse:
    """A response, with a partial success and its message unless ``rejected`` is None."""
    answer = ExportMetricsServiceResponse()
    if rejected is not None:
        answer.partial_success.rejected_data_points = rejected
        answer.partial_success.error_message = message
    return answer


def points(request: ExportMetricsServiceRequest) -> list[Point]:
    """Every data point of a request, in its order."""
    found: list[Point] = []
    for resource_metrics in request.resource_metrics:
        of_resource = {
            "resource": _attributes(resource_metrics.resource.attributes),
            "resource_schema_url": resource_metrics.schema_url,
        }
        for scope_metrics in resource_metrics.scope_metrics:
            of_scope = {
                **of_resource,
                "scope": scope_metrics.scope.name,
                "scope_version": scope_metrics.scope.version,
                "scope_attributes": _attributes(scope_metrics.scope.attributes),
                "scope_schema_url": scope_metrics.schema_url,
            }
            for metric in scope_metrics.metrics:
                found.extend(_points_of(metric, of_scope))
    return found


def _points_of(metric: Any, common: dict[str, Any]) -> list[Point]:
    kind = metric.WhichOneof("data")
    if kind is None:
        return []
    data = getattr(metric, kind)
    return [
        Point(
            metric=metric.name,
            kind=kind,
            unit=metric.unit,
            description=metric.description,
            temporality=_TEMPORALITY.get(getattr(data, "aggregation_temporality", 0), "unknown"),
            monotonic=data.is_monotonic if kind == "sum" else None,
            value=_value(kind, point),
            attributes=_attributes(point.attributes),
            time_unix_nano=point.time_unix_nano,
            start_time_unix_nano=point.start_time_unix_nano,
            flags=point.flags,
            exemplars=tuple(_exemplar(exemplar) for exemplar in getattr(point, "exemplars", ())),
            **common,
        )
        for point in data.data_points
    ]


def _value(kind: str, point: Any) -> Any:
    if kind in {"gauge", "sum"}:
        return _number(point)
    if kind == "summary":
        quantiles = [[item.quantile, item.value] for item in point.quantile_values]
        return {"count": point.count, "sum": point.sum, "quantiles": quantiles}
    value = {"count": point.count}
    value |= {name: getattr(point, name) if point.HasField(name) else None for name in ("sum", "min", "max")}
    if kind == "histogram":
        return value | {"bucket_counts": list(point.bucket_counts), "explicit_bounds": list(point.explicit_bounds)}
    value |= {"scale": point.scale, "zero_count": point.zero_count, "zero_threshold": point.zero_threshold}
    for name in ("positive", "negative"):
        buckets = getattr(point, name)
        value[name] = {"offset": buckets.offset, "bucket_counts": list(buckets.bucket_counts)}
    return value


def _number(point: Any) -> int | float | None:
    kind = point.WhichOneof("value")
    value: int | float | None = getattr(point, kind) if kind else None
    return value


def _exemplar(exemplar: Any) -> dict[str, Any]:
    return {
        "value": _number(exemplar),
        "time_unix_nano": exemplar.time_unix_nano,
        "filtered_attributes": _attributes(exemplar.filtered_attributes),
        "trace_id": exemplar.trace_id.hex(),
        "span_id": exemplar.span_id.hex(),
    }


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _any_value(pair.value) for pair in pairs}


def _any_value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_any_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)
