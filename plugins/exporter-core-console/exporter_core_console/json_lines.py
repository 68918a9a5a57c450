"""JSON Lines: one self-contained object for each data point, in strict JSON (RFC 8259) and plain ASCII.

Not OTLP JSON, which nests points in metrics in scopes in resources. What JSON has no form for is written as OTLP JSON
does: NaN and the infinities as "NaN", "Infinity" and "-Infinity", bytes in base64, trace and span ids in hexadecimal.
"""

from __future__ import annotations

import base64
import json
import math
import operator
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    Gauge,
    Histogram,
    HistogramDataPoint,
    NumberDataPoint,
    Sum,
)

from exporter_core import ExporterError
from exporter_core_console.text import has_decimal_text, number_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.metrics import Exemplar
    from opentelemetry.sdk.metrics.export import DataPointT, Metric, MetricsData
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.util.types import AnyValue, Attributes

    from exporter_core import Context

_KINDS: dict[type, str] = {
    Gauge: "gauge",
    Sum: "sum",
    Histogram: "histogram",
    ExponentialHistogram: "exponential_histogram",
}


def json_lines(context: Context, metrics: MetricsData) -> str:
    """The data points as lines, each with its line feed; the empty text for an empty batch.

    Raises the context's error when it ends first.
    """
    return "".join(_lines(context, metrics))


def _lines(context: Context, metrics: MetricsData) -> Iterator[str]:
    for resource_metrics in metrics.resource_metrics:
        resource = {
            "attributes": _attributes(resource_metrics.resource.attributes),
            "schema_url": resource_metrics.schema_url or "",
        }
        for scope_metrics in resource_metrics.scope_metrics:
            # Resource, scope and metric are the same for many lines: their text is made once.
            origin = {"resource": resource, "scope": _scope(scope_metrics.scope, scope_metrics.schema_url)}
            origin_text = _dumps(origin)[1:-1]
            for metric in scope_metrics.metrics:
                context.raise_if_done()
                common = f"{origin_text},{_dumps(_metric(metric))[1:-1]}"
                points: Sequence[DataPointT] = metric.data.data_points
                for number, point in enumerate(points, 1):
                    if not number % 1000:
                        context.raise_if_done()
                    times = _times(point.time_unix_nano, point.start_time_unix_nano)
                    yield f"{times},{common},{_dumps(_point(point))[1:]}\n"


def _dumps(value: dict[str, Any]) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


@lru_cache(maxsize=64)
def _times(unix_nano: int, start_unix_nano: int | None) -> str:
    """The first part of a line, which most points of a collection share."""
    return _dumps({"time": _time(unix_nano), "start_time": _time(start_unix_nano)})[:-1]


def _scope(scope: InstrumentationScope | None, schema_url: str | None) -> dict[str, Any]:
    name, version, attributes = ("", "", None) if scope is None else (scope.name, scope.version, scope.attributes)
    return {
        "name": name,
        "version": version or "",
        "attributes": _attributes(attributes),
        "schema_url": schema_url or "",
    }


def _metric(metric: Metric) -> dict[str, Any]:
    data = metric.data
    kind = _KINDS.get(type(data))
    if kind is None:
        raise ExporterError(f"metric {metric.name!r} has data of an unknown kind, {type(data).__name__}")
    return {
        "metric": metric.name,
        "description": metric.description or "",
        "unit": metric.unit or "",
        "kind": kind,
        "temporality": None if isinstance(data, Gauge) else data.aggregation_temporality.name.lower(),
        "monotonic": data.is_monotonic if isinstance(data, Sum) else None,
    }


def _point(point: DataPointT) -> dict[str, Any]:
    return {
        "attributes": _attributes(point.attributes),
        **_value(point),
        "exemplars": [_exemplar(exemplar) for exemplar in point.exemplars or ()],
    }


def _value(point: DataPointT) -> dict[str, Any]:
    if isinstance(point, NumberDataPoint):
        return {"value": _number(point.value)}
    summary = {"count": point.count, "sum": _number(point.sum), "min": _number(point.min), "max": _number(point.max)}
    if isinstance(point, HistogramDataPoint):
        return {
            **summary,
            "bounds": [_number(bound) for bound in point.explicit_bounds],
            "bucket_counts": list(point.bucket_counts),
        }
    return {
        **summary,
        "scale": point.scale,
        "zero_count": point.zero_count,
        "positive": {"offset": point.positive.offset, "bucket_counts": list(point.positive.bucket_counts)},
        "negative": {"offset": point.negative.offset, "bucket_counts": list(point.negative.bucket_counts)},
        "flags": point.flags,
    }


def _exemplar(exemplar: Exemplar) -> dict[str, Any]:
    return {
        "time": _time(exemplar.time_unix_nano),
        "value": _number(exemplar.value),
        "attributes": _attributes(exemplar.filtered_attributes),
        "trace_id": None if exemplar.trace_id is None else f"{exemplar.trace_id:032x}",
        "span_id": None if exemplar.span_id is None else f"{exemplar.span_id:016x}",
    }


def _attributes(attributes: Attributes) -> dict[str, Any]:
    return {str(key): _json(value) for key, value in (attributes or {}).items()}


def _json(value: AnyValue) -> Any:
    """The value in what JSON has: OpenTelemetry's AnyValue is text, numbers, bytes, and arrays and maps of these."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return _number(value)


def _number(value: object) -> int | float | str | None:
    """An integer in all its digits, a float as the shortest text that reads back as the same float."""
    if value is None:
        return None
    if not isinstance(value, float) and isinstance(value, int | SupportsIndex):  # numpy's integers are no ints
        integer = operator.index(value)
        # Python refuses to write larger integers in the decimal system.
        return integer if has_decimal_text(integer) else hex(integer)
    if isinstance(value, float | SupportsFloat):  # nor are decimals and fractions floats
        number = float(value)
        return number if math.isfinite(number) else number_text(number)
    return str(value)


_NANOSECONDS = 10**9
_END_OF_TIME = 1 << 64


def _time(unix_nano: int | None) -> str | None:
    """The time in RFC 3339, UTC, with all nine digits of the second; None where OTLP's 0 says that there is none."""
    if not unix_nano or not 0 < unix_nano < _END_OF_TIME:
        return None
    seconds, nanoseconds = divmod(unix_nano, _NANOSECONDS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
