"""A serialized OTLP `ExportMetricsServiceRequest` to the SDK's metrics data.

Fields that the SDK's types have no place for (dropped counts, metadata, summaries, zero thresholds) are skipped.
Sequences come back as tuples, points and exemplars as lists, as the SDK has them.
"""

import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core.otlp.wire import MAX_VARINT_BYTES

MAX_NESTING = 64
_MAX_FIELD = (1 << 29) - 1
_INT32, _INT64, _UINT64 = 1 << 32, 1 << 64, (1 << 64) - 1
# Tag (field number and wire type) -> values, in the order of the message.
_Fields = defaultdict[int, list[Any]]  # integers of varints, bytes of everything else


class DecodeError(ValueError):
    """Bytes that are not a well-formed `ExportMetricsServiceRequest`."""


def decode(data: bytes) -> MetricsData:
    """The metrics in a serialized `ExportMetricsServiceRequest`.

    A gauge's point without a start time has None there. A metric without data, or with a summary, which the SDK has
    no type for, is left out.

    Raises:
        DecodeError: when the bytes are malformed, or attribute values are nested deeper than 64 levels.
    """
    try:
        return MetricsData([_resource_metrics(message) for message in _fields(data)[0x0A]])
    except UnicodeDecodeError as error:
        raise DecodeError("malformed OTLP data: a text is not UTF-8") from error


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for size, byte in enumerate(data[at : at + MAX_VARINT_BYTES]):
        value |= (byte & 127) << 7 * size
        if byte < 128:  # noqa: PLR2004 - the last byte has no continuation bit
            return value & _UINT64, at + size + 1
    raise DecodeError(f"malformed OTLP data: an integer at byte {at} of a message does not end")


def _items(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        if not 0 < tag >> 3 <= _MAX_FIELD:
            raise DecodeError(f"malformed OTLP data: {tag >> 3} is not a field number")
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag, value
            continue
        if kind == 2:  # noqa: PLR2004 - wire types are the format's
            size, at = _varint(data, at)
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
        else:
            raise DecodeError(f"malformed OTLP data: field {tag >> 3} has wire type {kind}, which OTLP never uses")
        if size > end - at:
            raise DecodeError(f"malformed OTLP data: field {tag >> 3} is cut short")
        yield tag, data[at : at + size]
        at += size


def _fields(data: bytes) -> _Fields:
    fields: _Fields = defaultdict(list)
    for tag, value in _items(data):
        fields[tag].append(value)
    return fields


def _last(fields: _Fields, tag: int, default: Any) -> Any:  # of the field's type
    values = fields.get(tag)
    return values[-1] if values else default


def _text(fields: _Fields, tag: int) -> str:
    text: bytes = _last(fields, tag, b"")
    return text.decode()


def _fixed(fields: _Fields, tag: int, kind: str = "Q") -> Any:  # int or float, as the kind says
    return struct.unpack("<" + kind, _last(fields, tag, bytes(8)))[0]


def _optional(fields: _Fields, tag: int) -> float | None:
    return _fixed(fields, tag, "d") if tag in fields else None


def _signed(value: int) -> int:
    return value - _INT64 if value >> 63 else value


def _zigzag(value: int) -> int:
    value %= _INT32
    return value >> 1 ^ -(value & 1)


def _resource_metrics(data: bytes) -> ResourceMetrics:
    fields = _fields(data)
    resource = _fields(b"".join(fields[0x0A]))
    url = _text(fields, 0x1A)
    scopes = [_scope_metrics(message) for message in fields[0x12]]
    return ResourceMetrics(Resource(_attributes(resource[0x0A]), url), scopes, url)


def _scope_metrics(data: bytes) -> ScopeMetrics:
    fields = _fields(data)
    scope = _fields(b"".join(fields[0x0A]))
    url = _text(fields, 0x1A)
    name, version = _text(scope, 0x0A), _text(scope, 0x12)
    metrics = [metric for metric in map(_metric, fields[0x12]) if metric is not None]
    return ScopeMetrics(InstrumentationScope(name, version or None, url, _attributes(scope[0x1A])), metrics, url)


def _metric(data: bytes) -> Metric | None:
    content: Gauge | Sum | Histogram | ExponentialHistogram | None = None
    fields = _fields(data)
    if fields[0x2A]:
        inner = _fields(b"".join(fields[0x2A]))
        content = Gauge([_number_point(point, gauge=True) for point in inner[0x0A]])
    elif fields[0x3A]:
        inner = _fields(b"".join(fields[0x3A]))
        points = [_number_point(point, gauge=False) for point in inner[0x0A]]
        content = Sum(points, _temporality(inner), bool(_last(inner, 0x18, 0)))
    elif fields[0x4A]:
        inner = _fields(b"".join(fields[0x4A]))
        content = Histogram([_histogram_point(point) for point in inner[0x0A]], _temporality(inner))
    elif fields[0x52]:
        inner = _fields(b"".join(fields[0x52]))
        content = ExponentialHistogram([_exponential_point(point) for point in inner[0x0A]], _temporality(inner))
    if content is None:
        return None
    return Metric(_text(fields, 0x0A), _text(fields, 0x12), _text(fields, 0x1A), content)


def _temporality(fields: _Fields) -> AggregationTemporality:
    value = _last(fields, 0x10, 0)
    try:
        return AggregationTemporality(value)
    except ValueError as error:
        raise DecodeError(f"malformed OTLP data: {value} is not an aggregation temporality") from error


def _number(fields: _Fields, int_tag: int, double_tag: int) -> int | float:
    kind, tag = ("d", double_tag) if double_tag in fields else ("q", int_tag)
    value: int | float = _fixed(fields, tag, kind)
    return value


def _number_point(data: bytes, *, gauge: bool) -> NumberDataPoint:
    fields = _fields(data)
    start = _fixed(fields, 0x11)
    return NumberDataPoint(
        _attributes(fields[0x3A]),
        None if gauge and not start else start,  # type: ignore[arg-type] # so are the SDK's gauges
        _fixed(fields, 0x19),
        _number(fields, 0x31, 0x21),
        list(map(_exemplar, fields[0x2A])),
    )


def _histogram_point(data: bytes) -> HistogramDataPoint:
    fields = _fields(data)
    return HistogramDataPoint(
        attributes=_attributes(fields[0x4A]),
        start_time_unix_nano=_fixed(fields, 0x11),
        time_unix_nano=_fixed(fields, 0x19),
        count=_fixed(fields, 0x21),
        sum=_optional(fields, 0x29),  # type: ignore[arg-type] # absent is None, in the SDK too
        bucket_counts=_packed(fields, 6, "Q"),
        explicit_bounds=_packed(fields, 7, "d"),
        min=_optional(fields, 0x59),  # type: ignore[arg-type] # absent is None, in the SDK too
        max=_optional(fields, 0x61),  # type: ignore[arg-type] # absent is None, in the SDK too
        exemplars=list(map(_exemplar, fields[0x42])),
    )


def _exponential_point(data: bytes) -> ExponentialHistogramDataPoint:
    fields = _fields(data)
    return ExponentialHistogramDataPoint(
        attributes=_attributes(fields[0x0A]),
        start_time_unix_nano=_fixed(fields, 0x11),
        time_unix_nano=_fixed(fields, 0x19),
        count=_fixed(fields, 0x21),
        sum=_optional(fields, 0x29),  # type: ignore[arg-type] # absent is None, in the SDK too
        scale=_zigzag(_last(fields, 0x30, 0)),
        zero_count=_fixed(fields, 0x39),
        positive=_buckets(b"".join(fields[0x42])),
        negative=_buckets(b"".join(fields[0x4A])),
        flags=_last(fields, 0x50, 0) % _INT32,
        min=_optional(fields, 0x61),  # type: ignore[arg-type] # absent is None, in the SDK too
        max=_optional(fields, 0x69),  # type: ignore[arg-type] # absent is None, in the SDK too
        exemplars=list(map(_exemplar, fields[0x5A])),
    )


def _packed(fields: _Fields, number: int, kind: str) -> tuple[Any, ...]:
    # Parsers take a repeated number packed or one by one: the bytes are the same.
    data = b"".join((*fields[number << 3 | 2], *fields[number << 3 | 1]))
    if len(data) % 8:
        raise DecodeError(f"malformed OTLP data: field {number} is not a whole number of 64-bit values")
    return struct.unpack(f"<{len(data) // 8}{kind}", data)


def _buckets(data: bytes) -> Buckets:
    fields = _fields(data)
    counts: list[int] = list(fields[0x10])
    for packed in fields[0x12]:
        at = 0
        while at < len(packed):
            count, at = _varint(packed, at)
            counts.append(count)
    return Buckets(_zigzag(_last(fields, 0x08, 0)), tuple(counts))


def _exemplar(data: bytes) -> Exemplar:
    fields = _fields(data)
    span, trace = _last(fields, 0x22, b""), _last(fields, 0x2A, b"")
    return Exemplar(
        _attributes(fields[0x3A]),
        _number(fields, 0x31, 0x19),
        _fixed(fields, 0x11),
        int.from_bytes(span, "big") if span else None,
        int.from_bytes(trace, "big") if trace else None,
    )


def _attributes(messages: list[bytes], depth: int = 0) -> dict[str, Any]:
    attributes = {}
    for message in messages:
        fields = _fields(message)
        attributes[_text(fields, 0x0A)] = _value(b"".join(fields[0x12]), depth)
    return attributes


def _value(data: bytes, depth: int) -> Any:  # an attribute value is of any type
    if depth > MAX_NESTING:
        raise DecodeError(f"attribute values are nested deeper than {MAX_NESTING} levels")
    result: Any = None
    for tag, value in _items(data):  # the last one of a oneof counts
        if tag == 0x2A:  # noqa: PLR2004 - tags are the format's
            result = tuple(_value(item, depth + 1) for item in _items_of(value))
        elif tag == 0x32:  # noqa: PLR2004 - tags are the format's
            result = _attributes(_items_of(value), depth + 1)
        elif tag in _SCALARS:
            result = _SCALARS[tag](value)
    return result


def _items_of(message: Any) -> list[bytes]:  # bytes, for the wire type is that of bytes
    return _fields(message)[0x0A]


_SCALARS: dict[int, Callable[[Any], object]] = {  # each takes what its wire type yields
    0x0A: bytes.decode,
    0x10: bool,
    0x18: _signed,
    0x21: lambda value: struct.unpack("<d", value)[0],
    0x3A: bytes,
}
