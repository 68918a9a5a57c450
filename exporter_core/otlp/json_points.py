"""What follows the attributes in a data point of OTLP JSON: times, values, buckets and exemplars.

`*_tail` encode any one point, `number_tails` all points of a metric at once where these are alike in shape.
"""

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    Buckets,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)

from exporter_core.otlp.attributes import AttributeWriter
from exporter_core.otlp.json_values import double, int32, int64, uint32, uint64
from exporter_core.otlp.request import ListedPoints
from exporter_core.otlp.series import Series
from exporter_core.otlp.wire import UnencodableError, short

SEPARATOR = b","
_ONLY_INT, _ONLY_FLOAT = {int}, {float}


class JsonTails:
    """The tails of all points of a metric."""

    length = None

    def __init__(self, tails: list[bytes]) -> None:
        self._tails = tails

    def points(self, series: Series) -> ListedPoints:
        """The points, whose attributes the series has."""
        pieces: list[bytes] = series.pieces  # type: ignore[assignment] # None only where there are errors
        return ListedPoints([piece + tail for piece, tail in zip(pieces, self._tails, strict=True)], SEPARATOR)


def number_tails(points: Sequence[NumberDataPoint]) -> JsonTails | None:
    """Sums' and gauges' points, when all values are int or all are finite float, and all or none have a start time.

    Raises:
        TypeError, OverflowError: when a number does not fit its field.
    """
    values = [point.value for point in points]
    starts: list[Any] = [point.start_time_unix_nano for point in points]
    times = array("Q", [point.time_unix_nano for point in points])
    kinds = set(map(type, values))
    if kinds == _ONLY_INT:
        array("q", values)  # raises where one does not fit
        template = b'"timeUnixNano":"%d","asInt":"%d"}'
    elif kinds == _ONLY_FLOAT and all(map(math.isfinite, values)):
        template = b'"timeUnixNano":"%d","asDouble":%a}'
    else:
        return None
    if starts.count(None) == len(starts):
        return JsonTails([template % parts for parts in zip(times, values, strict=True)])
    template = b'"startTimeUnixNano":"%d",' + template
    return JsonTails([template % parts for parts in zip(array("Q", starts), times, values, strict=True)])


def number_tail(point: NumberDataPoint, exemplars: AttributeWriter) -> bytes:
    """Any number point.

    Raises:
        UnencodableError: when a number does not fit its field.
    """
    return _fields(
        _uint64("startTimeUnixNano", point.start_time_unix_nano),
        _uint64("timeUnixNano", point.time_unix_nano),
        _value(point.value),
        _exemplars(point.exemplars, exemplars),
    )


def histogram_tail(point: HistogramDataPoint, exemplars: AttributeWriter) -> bytes:
    """Any histogram point; a sum, min or max of None is left out.

    Raises:
        UnencodableError: when a number does not fit its field.
    """
    return _fields(
        _uint64("startTimeUnixNano", point.start_time_unix_nano),
        _uint64("timeUnixNano", point.time_unix_nano),
        _one("count", uint64, point.count),
        _optional("sum", point.sum),
        _optional("min", point.min),
        _optional("max", point.max),
        _many("bucketCounts", uint64, point.bucket_counts),
        _many("explicitBounds", double, point.explicit_bounds),
        _exemplars(point.exemplars, exemplars),
    )


def exponential_tail(point: ExponentialHistogramDataPoint, exemplars: AttributeWriter) -> bytes:
    """Any exponential histogram point; a sum, min or max of None is left out.

    Raises:
        UnencodableError: when a number does not fit its field.
    """
    return _fields(
        _uint64("startTimeUnixNano", point.start_time_unix_nano),
        _uint64("timeUnixNano", point.time_unix_nano),
        _one("count", uint64, point.count),
        _optional("sum", point.sum),
        _one("scale", int32, point.scale),
        _one("zeroCount", uint64, point.zero_count),
        _buckets("positive", point.positive),
        _buckets("negative", point.negative),
        _one("flags", uint32, point.flags),
        _exemplars(point.exemplars, exemplars),
        _optional("min", point.min),
        _optional("max", point.max),
    )


def _fields(*fields: str) -> bytes:
    return f"{','.join(filter(None, fields))}}}".encode()


def _one(name: str, write: Callable[[Any], str], number: float) -> str:  # takes its own kind of number
    try:
        return f'"{name}":{write(number)}'
    except UnencodableError as error:
        raise UnencodableError(f"{name}: {error}") from error


def _uint64(name: str, number: int | None) -> str:
    return "" if number is None else _one(name, uint64, number)


def _optional(name: str, number: float | None) -> str:
    return "" if number is None else _one(name, double, number)


def _many(name: str, write: Callable[[Any], str], numbers: Sequence[float]) -> str:  # takes its own kind of number
    try:
        return f'"{name}":[{",".join(map(write, numbers))}]' if numbers else ""
    except UnencodableError as error:
        raise UnencodableError(f"{name}: {error}") from error


def _value(value: float) -> str:
    return f'"asInt":{_checked(int64, value)}' if isinstance(value, int) else f'"asDouble":{_checked(double, value)}'


def _checked(write: Callable[[Any], str], value: float) -> str:  # takes its own kind of number
    try:
        return write(value)
    except UnencodableError as error:
        raise UnencodableError(f"value: {error}") from error


def _buckets(name: str, buckets: Buckets) -> str:
    if not buckets.bucket_counts:
        return ""
    counts = _many("bucketCounts", uint64, buckets.bucket_counts)
    return f'"{name}":{{{_one("offset", int32, buckets.offset)},{counts}}}'


def _exemplars(exemplars: Iterable[Exemplar], writer: AttributeWriter) -> str:
    items = ",".join(f"{{{_exemplar(exemplar, writer)}}}" for exemplar in exemplars)
    return f'"exemplars":[{items}]' if items else ""


def _exemplar(exemplar: Exemplar, writer: AttributeWriter) -> str:
    attributes, _ = writer.write(exemplar.filtered_attributes)
    fields = (
        _uint64("timeUnixNano", exemplar.time_unix_nano),
        _value(exemplar.value),
        _id("spanId", exemplar.span_id, 8),
        _id("traceId", exemplar.trace_id, 16),
        attributes.decode(),
    )
    return ",".join(filter(None, fields))


def _id(name: str, number: int | None, size: int) -> str:
    if number is None:
        return ""
    try:
        return f'"{name}":"{number.to_bytes(size, "big").hex()}"'
    except OverflowError as error:
        raise UnencodableError(f"{name}: {short(number)} does not fit {size} bytes") from error
