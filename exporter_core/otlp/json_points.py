"""Data points in OTLP JSON: times, values, buckets and exemplars.

The shapes write the numbers of many points at once; `number_rest` and its siblings write all that follows the
attributes in any one point.
"""

import math
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from operator import add
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
from exporter_core.otlp.shapes import HistogramShape, NumberShape, Shape
from exporter_core.otlp.wire import UnencodableError, short

SEPARATOR = b","


class Rows:
    """The numbers of points that have the same fields, one field after the other.

    Args:
        count: of the points.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._fields: list[bytes] = []
        self._columns: list[Sequence[Any]] = []
        self._pieces: list[bytes] = []

    def add_integers(self, name: str, kind: str, values: list[Any], *, present: bool = True) -> None:
        """Add a field of 64-bit integers, of a kind as `array` has it, or nothing if none is present.

        Raises:
            ValueError: when a point has one although none is present.
            TypeError, OverflowError: when one is no integer, or does not fit.
        """
        if self._is_there(values, present=present):
            self._add(name, b'"%d"', array(kind, values))

    def add_doubles(self, name: str, values: list[Any], *, present: bool = True) -> None:
        """Add a field of doubles, or nothing if none is present.

        Raises:
            ValueError: when a point has one although none is present.
            TypeError, OverflowError: when one is no number, or does not fit.
        """
        if self._is_there(values, present=present):
            column = array("d", values)
            if all(map(math.isfinite, column)):
                self._add(name, b"%a", column)
            else:
                self._add(name, b"%b", [double(value).encode() for value in column])

    def add_values(self, values: list[Any]) -> None:
        """Add integers or doubles, or some of each.

        Raises:
            UnencodableError, TypeError, OverflowError: when one is no number, or does not fit.
        """
        types = set(map(type, values))
        if types == {int}:
            self.add_integers("asInt", "q", values)
        elif types == {float}:
            self.add_doubles("asDouble", values)
        else:
            self._fields.append(b"%b")
            self._columns.append([_value(value) for value in values])

    def add_counts(self, name: str, rows: list[Sequence[int]], size: int) -> None:
        """Add a field of arrays of equally many unsigned 64-bit integers.

        Raises:
            ValueError: when one has another number of them.
            TypeError, OverflowError: when something in them is no integer, or does not fit.
        """
        if set(map(len, rows)) != {size}:
            raise ValueError("points differ in shape")
        digits = list(map(str, array("Q", list(chain.from_iterable(rows)))))
        if size:
            column = ['","'.join(digits[at : at + size]).encode() for at in range(0, len(digits), size)]
            self._add(name, b'["%b"]', column)

    def finish(self) -> "Rows":
        """Write the rows."""
        template = b",".join(self._fields) + b"}"
        self._pieces = [template % row for row in zip(*self._columns, strict=True)]
        return self

    def sizes(self, start: int, stop: int) -> Iterable[int]:
        """The bytes of each in a range."""
        return map(len, self._pieces[start:stop])

    def uncounted(self, start: int, stop: int) -> int:
        """The bytes in a range: no frame has to count them."""
        return sum(self.sizes(start, stop))

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Those in a range."""
        return islice(self._pieces, start, stop)

    def _is_there(self, values: list[Any], *, present: bool) -> bool:
        if not present and values.count(None) != self._count:
            raise ValueError("points differ in shape")
        return present

    def _add(self, name: str, form: bytes, column: Sequence[Any]) -> None:
        self._fields.append(b'"%b":%b' % (name.encode(), form))
        self._columns.append(column)


class JsonNumberShape(NumberShape):
    """Number points in JSON."""

    def beginnings(self, bodies: list[bytes], constants: object) -> list[bytes]:
        """The attributes of each point."""
        del constants
        return bodies

    def with_exemplars(self, pieces: list[bytes], exemplars: list[bytes]) -> list[bytes]:
        """The attributes of points with the encoded exemplars of each."""
        return _followed(pieces, exemplars)

    def numbers(self, points: Sequence[NumberDataPoint]) -> "Rows":
        """Times and values."""
        rows = Rows(len(points))
        starts = [point.start_time_unix_nano for point in points]
        rows.add_integers("startTimeUnixNano", "Q", starts, present=self.start)
        rows.add_integers("timeUnixNano", "Q", [point.time_unix_nano for point in points], present=self.time)
        rows.add_values([point.value for point in points])
        return rows.finish()


class JsonHistogramShape(HistogramShape):
    """Histogram points in JSON."""

    def beginnings(self, bodies: list[bytes], constants: Sequence[Any]) -> list[bytes]:
        """The attributes and bounds of each point."""
        if not self.bounds:
            return bodies
        ends = self.written(constants, lambda bounds: _explicit_bounds(bounds) + SEPARATOR)
        return list(map(add, bodies, ends))

    def with_exemplars(self, pieces: list[bytes], exemplars: list[bytes]) -> list[bytes]:
        """The constant pieces of points with the encoded exemplars of each."""
        return _followed(pieces, exemplars)

    def numbers(self, points: Sequence[HistogramDataPoint]) -> "Rows":
        """Times, count, sum, min, max and bucket counts."""
        rows = Rows(len(points))
        starts = [point.start_time_unix_nano for point in points]
        rows.add_integers("startTimeUnixNano", "Q", starts, present=self.start)
        rows.add_integers("timeUnixNano", "Q", [point.time_unix_nano for point in points], present=self.time)
        rows.add_integers("count", "Q", [point.count for point in points])
        sums, lowest, highest = self.doubles
        rows.add_doubles("sum", [point.sum for point in points], present=sums)
        rows.add_doubles("min", [point.min for point in points], present=lowest)
        rows.add_doubles("max", [point.max for point in points], present=highest)
        rows.add_counts("bucketCounts", [point.bucket_counts for point in points], self.buckets)
        return rows.finish()


def _followed(pieces: list[bytes], exemplars: list[bytes]) -> list[bytes]:
    return [piece + more + SEPARATOR if more else piece for piece, more in zip(pieces, exemplars, strict=True)]


_NUMBER_SHAPES = {(start, time): JsonNumberShape(start, time) for start in (False, True) for time in (False, True)}
_histogram_shape = lru_cache(maxsize=256)(JsonHistogramShape)


def number_shape(point: NumberDataPoint) -> Shape:
    """The shape of a point of a sum or gauge."""
    return _NUMBER_SHAPES[point.start_time_unix_nano is not None, point.time_unix_nano is not None]


def histogram_shape(point: HistogramDataPoint) -> Shape:
    """The shape of a point of a histogram."""
    return _histogram_shape(*HistogramShape.of(point))


def number_rest(point: NumberDataPoint, exemplars: AttributeWriter) -> bytes:
    """The rest of any point of a sum or gauge.

    Raises:
        UnencodableError: when a number does not fit its field.
    """
    start: int | None = point.start_time_unix_nano
    time, value = point.time_unix_nano, point.value
    try:
        if not point.exemplars and math.isfinite(value):
            if start is None:  # as the SDK has it in a gauge
                check, template = _WITHOUT_START[type(value)]
                check(time, value)
                return template % (time, value)
            check, template = _WITH_START[type(value)]
            check(start, time, value)
            return template % (start, time, value)
    except (KeyError, TypeError, struct.error, OverflowError):
        pass  # to be written field by field, or named
    return _fields(
        _exemplars(point.exemplars, exemplars),
        _uint64("startTimeUnixNano", start),
        _uint64("timeUnixNano", time),
        _value(value),
    )


def histogram_rest(point: HistogramDataPoint, exemplars: AttributeWriter) -> bytes:
    """The rest of any point of a histogram; a sum, min or max of None is left out.

    Raises:
        UnencodableError: when a number does not fit its field.
    """
    return _fields(
        _explicit_bounds(point.explicit_bounds),
        _exemplars(point.exemplars, exemplars),
        _distribution(point),
        _counts(point.bucket_counts),
    )


def exponential_rest(point: ExponentialHistogramDataPoint, exemplars: AttributeWriter) -> bytes:
    """The rest of any point of an exponential histogram; a sum, min or max of None is left out.

    Raises:
        UnencodableError: when a number does not fit its field.
    """
    return _fields(
        _distribution(point),
        _one("scale", int32, point.scale),
        _one("zeroCount", uint64, point.zero_count),
        _buckets("positive", point.positive),
        _buckets("negative", point.negative),
        _one("flags", uint32, point.flags),
        _exemplars(point.exemplars, exemplars),
    )


def _distribution(point: HistogramDataPoint | ExponentialHistogramDataPoint) -> bytes:
    """The fields that both kinds of histogram have."""
    start, time, count = point.start_time_unix_nano, point.time_unix_nano, point.count
    total, lowest, highest = point.sum, point.min, point.max
    try:
        numbers = _checked_numbers(_pack_numbers(start, time, count, total, lowest, highest))
        if math.isfinite(sum(numbers[3:])):
            return _DISTRIBUTION % numbers
    except (struct.error, OverflowError):
        pass  # to be written field by field, or named
    return _joined(
        _uint64("startTimeUnixNano", start),
        _uint64("timeUnixNano", time),
        _one("count", uint64, count),
        _optional("sum", total),
        _optional("min", lowest),
        _optional("max", highest),
    )


_START, _TIME = b'"startTimeUnixNano":"%d",', b'"timeUnixNano":"%d",'
_VALUES = {int: ("q", b'"asInt":"%d"}'), float: ("d", b'"asDouble":%a}')}
# By the type of a value, what raises if a number does not fit its field, and the fields.
_WITH_START = {
    kind: (struct.Struct(f"<QQ{code}").pack, _START + _TIME + form) for kind, (code, form) in _VALUES.items()
}
_WITHOUT_START = {kind: (struct.Struct(f"<Q{code}").pack, _TIME + form) for kind, (code, form) in _VALUES.items()}
# Packing raises if a number does not fit its field; what is unpacked are integers and doubles, whatever was packed.
_pack_numbers, _checked_numbers = struct.Struct("<QQQddd").pack, struct.Struct("<QQQddd").unpack
_DISTRIBUTION = _START + _TIME + b'"count":"%d","sum":%a,"min":%a,"max":%a'


def _joined(*fields: bytes) -> bytes:
    return b",".join(filter(None, fields))


def _fields(*fields: bytes) -> bytes:
    return _joined(*fields) + b"}"


def _one(name: str, write: Callable[[Any], str], number: float) -> bytes:  # takes its own kind of number
    try:
        return f'"{name}":{write(number)}'.encode()
    except UnencodableError as error:
        raise UnencodableError(f"{name}: {error}") from error


def _uint64(name: str, number: int | None) -> bytes:
    return b"" if number is None else _one(name, uint64, number)


def _optional(name: str, number: float | None) -> bytes:
    return b"" if number is None else _one(name, double, number)


def _many(name: str, write: Callable[[Any], str], numbers: Sequence[float]) -> bytes:  # takes its own kind of number
    try:
        return f'"{name}":[{",".join(map(write, numbers))}]'.encode() if numbers else b""
    except UnencodableError as error:
        raise UnencodableError(f"{name}: {error}") from error


def _value(value: float) -> bytes:
    try:
        return (f'"asInt":{int64(value)}' if isinstance(value, int) else f'"asDouble":{double(value)}').encode()
    except UnencodableError as error:
        raise UnencodableError(f"value: {error}") from error


def _explicit_bounds(bounds: Sequence[float]) -> bytes:
    try:
        return _written_bounds(array("d", list(bounds)).tobytes())
    except (TypeError, OverflowError):
        return _many("explicitBounds", double, bounds)  # names what is wrong


@lru_cache(maxsize=256)
def _written_bounds(packed: bytes) -> bytes:
    return _many("explicitBounds", double, array("d", packed))


def _buckets(name: str, buckets: Buckets) -> bytes:
    if not buckets.bucket_counts:
        return b""
    return b'"%b":{%b,%b}' % (name.encode(), _one("offset", int32, buckets.offset), _counts(buckets.bucket_counts))


def _counts(counts: Sequence[int]) -> bytes:
    size = len(counts)
    if not size:
        return b""
    check, template = _row(size)
    try:
        check(*counts)
        return template % (*counts,)
    except struct.error:
        return _many("bucketCounts", uint64, counts)  # names what is wrong


@lru_cache(maxsize=256)
def _row(size: int) -> tuple[Callable[..., bytes], bytes]:
    """A function that raises if one of so many counts does not fit its field, and that field."""
    return struct.Struct(f"{size}Q").pack, b'"bucketCounts":[%b]' % b",".join([b'"%d"'] * size)


def write_exemplars(rows: Iterable[Sequence[Exemplar]], writer: AttributeWriter) -> list[bytes]:
    """The exemplars of each point; nothing for one that has none."""
    return [_exemplars(row, writer) for row in rows]


def _exemplars(exemplars: Sequence[Exemplar] | None, writer: AttributeWriter) -> bytes:
    if not exemplars:
        return b""
    return b'"exemplars":[%b]' % b",".join([b"{%b}" % _exemplar(exemplar, writer) for exemplar in exemplars])


def _exemplar(exemplar: Exemplar, writer: AttributeWriter) -> bytes:
    return _joined(
        _uint64("timeUnixNano", exemplar.time_unix_nano),
        _value(exemplar.value),
        _id("spanId", exemplar.span_id, 8),
        _id("traceId", exemplar.trace_id, 16),
        writer.of(exemplar.filtered_attributes),
    )


def _id(name: str, number: int | None, size: int) -> bytes:
    if number is None:
        return b""
    try:
        return f'"{name}":"{number.to_bytes(size, "big").hex()}"'.encode()
    except OverflowError as error:
        raise UnencodableError(f"{name}: {short(number)} does not fit {size} bytes") from error
