"""What follows the attributes in a data point of OTLP JSON: times, values, buckets and exemplars.

`*_tail` encode any one point. `*_tails` encode all points of a metric at once where these are alike in shape
(every one with the same fields present), and answer None where they are not.
"""

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
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
_NUMBERS = {int, float}


class JsonTails:
    """What follows the attributes in all points of a metric, where the same fields are present, column by column."""

    length = None

    def __init__(self, count: int) -> None:
        self._count = count
        self._template: list[bytes] = []
        self._columns: list[Sequence[Any]] = []

    def integers(self, name: str, kind: str, values: list[Any]) -> None:
        """Add a field of 64-bit integers, of a kind as `array` has it; none at all where all values are None.

        Raises:
            TypeError, OverflowError: when one is no integer, or does not fit.
        """
        if values.count(None) != self._count:
            self._add(name, b'"%d"', array(kind, values))

    def doubles(self, name: str, values: list[Any]) -> None:
        """Add a field of doubles; none at all where all values are None.

        Raises:
            ValueError: when one is not finite.
            TypeError, OverflowError: when one is no number, or does not fit.
        """
        if values.count(None) != self._count:
            column = array("d", values)
            if not all(map(math.isfinite, column)):
                raise ValueError("JSON has no number for it")
            self._add(name, b"%a", column)

    def counts(self, name: str, rows: list[Sequence[int]]) -> None:
        """Add a field of arrays of unsigned 64-bit integers.

        Raises:
            TypeError, OverflowError: when something in them is no integer, or does not fit.
        """
        array("Q", list(chain.from_iterable(rows)))  # raises where one does not fit
        if all(rows):
            self._add(name, b'["%b"]', ['","'.join(map(str, row)).encode() for row in rows])
        elif any(rows):
            raise ValueError("points differ in shape")

    def share(self, field: str) -> None:
        """Add a field that is the same in all points, if there is one."""
        if field:
            self._template.append(field.replace("%", "%%").encode())

    def points(self, series: Series) -> ListedPoints:
        """The points, whose attributes the series has."""
        pieces: list[bytes] = series.pieces  # type: ignore[assignment] # None only where there are errors
        template = b"%b" + b",".join(self._template) + b"}"
        return ListedPoints([template % row for row in zip(pieces, *self._columns, strict=True)], SEPARATOR)

    def _add(self, name: str, form: bytes, column: Sequence[Any]) -> None:
        self._template.append(b'"%b":%b' % (name.encode(), form))
        self._columns.append(column)


def number_tails(points: Sequence[NumberDataPoint]) -> JsonTails | None:
    """Sums' and gauges' points, when all values are int or all are finite float, and all or none have a start time.

    Raises:
        ValueError, TypeError, OverflowError: when a number does not fit its field, or JSON has none for it.
    """
    values = [point.value for point in points]
    kind = type(values[0])
    if kind not in _NUMBERS or list(map(type, values)).count(kind) != len(values):
        return None
    tails = JsonTails(len(points))
    tails.integers("startTimeUnixNano", "Q", [point.start_time_unix_nano for point in points])
    tails.integers("timeUnixNano", "Q", [point.time_unix_nano for point in points])
    if kind is int:
        tails.integers("asInt", "q", values)
    else:
        tails.doubles("asDouble", values)
    return tails


def histogram_tails(points: Sequence[HistogramDataPoint]) -> JsonTails | None:
    """Histograms' points, when all share one bounds object, and all or none have a sum, a min and a max.

    Raises:
        ValueError, TypeError, OverflowError: when a number does not fit its field, or JSON has none for it.
    """
    bounds = points[0].explicit_bounds
    counts = [point.count for point in points]
    if None in counts or not all(point.explicit_bounds is bounds for point in points):
        return None
    tails = JsonTails(len(points))
    tails.integers("startTimeUnixNano", "Q", [point.start_time_unix_nano for point in points])
    tails.integers("timeUnixNano", "Q", [point.time_unix_nano for point in points])
    tails.integers("count", "Q", counts)
    tails.doubles("sum", [point.sum for point in points])
    tails.doubles("min", [point.min for point in points])
    tails.doubles("max", [point.max for point in points])
    tails.counts("bucketCounts", [point.bucket_counts for point in points])
    tails.share(_many("explicitBounds", double, bounds))
    return tails


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
