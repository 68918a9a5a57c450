"""What follows the attributes in an encoded data point: times, values, buckets and exemplars.

`*_tail` encode any one point. `*_tails` encode all points of a metric at once where these are alike in shape
(every one with the same fields present), and answer None where they are not.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import attrgetter, is_
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)

from exporter_core.otlp.attributes import AttributeWriter
from exporter_core.otlp.wire import UnencodableError, field, short, sint32_varint, varint

# The tag of a fixed64 or double field N is the byte N << 3 | 1.
_fixed64 = struct.Struct("<BQ").pack
_sfixed64 = struct.Struct("<Bq").pack
_double = struct.Struct("<Bd").pack
_START, _TIME, _AS_DOUBLE, _AS_INT = 0x11, 0x19, 0x21, 0x31
_INT_POINT = struct.Struct("<BQBQBq").pack
_DOUBLE_POINT = struct.Struct("<BQBQBd").pack
_INT_POINT_NO_START = struct.Struct("<BQBq").pack
_DOUBLE_POINT_NO_START = struct.Struct("<BQBd").pack

_starts = attrgetter("start_time_unix_nano")
_times = attrgetter("time_unix_nano")
_values = attrgetter("value")
_histogram_parts = attrgetter("start_time_unix_nano", "time_unix_nano", "count", "sum", "min", "max", "bucket_counts")
_bounds = attrgetter("explicit_bounds")
_ONLY_INT, _ONLY_FLOAT = {int}, {float}


class Tails(NamedTuple):
    """The tails of all points of a metric, each of the same `length` in bytes, `shared` included."""

    own: list[bytes]
    shared: bytes
    length: int


def number_tails(points: Sequence[NumberDataPoint]) -> Tails | None:
    """Sums' and gauges' points, when all values are int or all are float, and all or none have a start time.

    Raises:
        struct.error: when a number does not fit its field.
    """
    values = list(map(_values, points))
    kinds = set(map(type, values))
    if kinds == _ONLY_INT:
        pack, pack_no_start, tag = _INT_POINT, _INT_POINT_NO_START, _AS_INT
    elif kinds == _ONLY_FLOAT:
        pack, pack_no_start, tag = _DOUBLE_POINT, _DOUBLE_POINT_NO_START, _AS_DOUBLE
    else:
        return None
    starts = list(map(_starts, points))
    times = map(_times, points)
    if starts[0] is None:
        if starts.count(None) != len(starts):
            return None
        return Tails(list(map(pack_no_start, repeat(_TIME), times, repeat(tag), values)), b"", 18)
    return Tails(list(map(pack, repeat(_START), starts, repeat(_TIME), times, repeat(tag), values)), b"", 27)


def histogram_tails(points: Sequence[HistogramDataPoint]) -> Tails | None:
    """Histograms' points, when all share one bounds object.

    Raises:
        struct.error: when one has no sum, min or max, another number of buckets, or a number that does not fit.
    """
    bounds = points[0].explicit_bounds
    size = len(points[0].bucket_counts)
    if not size:
        return None
    header = b"\x32" + varint(size * 8)
    pack = struct.Struct(f"<BQBQBQBdBdBd{len(header)}s{size}Q").pack
    if not all(map(is_, map(_bounds, points), repeat(bounds))):
        return None
    # What is None, and another number of buckets, do not fit this struct: its error leads to histogram_tail.
    own = [
        pack(0x11, start, 0x19, time, 0x21, count, 0x29, total, 0x59, low, 0x61, high, header, *counts)
        for start, time, count, total, low, high, counts in map(_histogram_parts, points)
    ]
    shared = _packed(0x3A, "d", bounds)
    return Tails(own, shared, len(own[0]) + len(shared))


def number_tail(point: NumberDataPoint, exemplars: AttributeWriter) -> bytes:
    """Any number point.

    Raises:
        UnencodableError: when a number does not fit its field.
    """
    value = point.value
    return b"".join(
        (
            _when(_START, point.start_time_unix_nano),
            _when(_TIME, point.time_unix_nano),
            _number(_AS_INT, _AS_DOUBLE, value),
            *_exemplars(0x2A, point.exemplars, exemplars),
        )
    )


def histogram_tail(point: HistogramDataPoint, exemplars: AttributeWriter) -> bytes:
    """Any histogram point; a sum, min or max of None is left out.

    Raises:
        UnencodableError: when a number does not fit its field.
    """
    return b"".join(
        (
            _when(_START, point.start_time_unix_nano),
            _when(_TIME, point.time_unix_nano),
            _pack("count", _fixed64, 0x21, point.count),
            _optional("sum", 0x29, point.sum),
            _optional("min", 0x59, point.min),
            _optional("max", 0x61, point.max),
            _pack("bucket_counts", _packed, 0x32, "Q", point.bucket_counts),
            _pack("explicit_bounds", _packed, 0x3A, "d", point.explicit_bounds),
            *_exemplars(0x42, point.exemplars, exemplars),
        )
    )


def exponential_tail(point: ExponentialHistogramDataPoint, exemplars: AttributeWriter) -> bytes:
    """Any exponential histogram point; a sum, min or max of None is left out.

    Raises:
        UnencodableError: when a number does not fit its field.
    """
    if not 0 <= point.flags < 1 << 32:
        raise UnencodableError(f"flags: {short(point.flags)} does not fit an unsigned 32-bit integer")
    return b"".join(
        (
            _when(_START, point.start_time_unix_nano),
            _when(_TIME, point.time_unix_nano),
            _pack("count", _fixed64, 0x21, point.count),
            _optional("sum", 0x29, point.sum),
            b"\x30" + sint32_varint(point.scale),
            _pack("zero_count", _fixed64, 0x39, point.zero_count),
            _buckets(8, point.positive.offset, point.positive.bucket_counts),
            _buckets(9, point.negative.offset, point.negative.bucket_counts),
            b"\x50" + varint(point.flags) if point.flags else b"",
            *_exemplars(0x5A, point.exemplars, exemplars),
            _optional("min", 0x61, point.min),
            _optional("max", 0x69, point.max),
        )
    )


def _buckets(number: int, offset: int, counts: Sequence[int]) -> bytes:
    if not counts:
        return b""
    return field(number, b"\x08" + sint32_varint(offset) + field(2, b"".join(map(varint, counts))))


def _packed(tag: int, kind: str, numbers: Sequence[float]) -> bytes:
    if not numbers:
        return b""
    header = bytes((tag,)) + varint(len(numbers) * 8)
    return struct.pack(f"<{len(header)}s{len(numbers)}{kind}", header, *numbers)


def _exemplars(tag: int, exemplars: Iterable[Exemplar], writer: AttributeWriter) -> Iterable[bytes]:
    for exemplar in exemplars:
        ids = b""
        if exemplar.span_id is not None:
            ids += b"\x22\x08" + _id_bytes(exemplar.span_id, 8, "span_id")
        if exemplar.trace_id is not None:
            ids += b"\x2a\x10" + _id_bytes(exemplar.trace_id, 16, "trace_id")
        attributes, _ = writer.write(exemplar.filtered_attributes)
        payload = _when(0x11, exemplar.time_unix_nano) + _number(_AS_INT, 0x19, exemplar.value) + ids + attributes
        yield bytes((tag,)) + varint(len(payload)) + payload


def _id_bytes(number: int, size: int, what: str) -> bytes:
    try:
        return number.to_bytes(size, "big")
    except OverflowError as error:
        raise UnencodableError(f"{what}: {short(number)} does not fit {size} bytes") from error


def _when(tag: int, nanoseconds: int | None) -> bytes:
    return b"" if nanoseconds is None else _pack("time", _fixed64, tag, nanoseconds)


def _optional(what: str, tag: int, number: float | None) -> bytes:
    return b"" if number is None else _pack(what, _double, tag, number)


def _number(int_tag: int, double_tag: int, value: float) -> bytes:
    if isinstance(value, int):
        return _pack("value", _sfixed64, int_tag, value)
    return _pack("value", _double, double_tag, value)


def _pack(what: str, pack: Callable[..., bytes], tag: int, *arguments: Any) -> bytes:  # what struct takes
    try:
        return pack(tag, *arguments)
    except (struct.error, OverflowError, TypeError) as error:
        raise UnencodableError(f"{what}: {short(arguments[-1])} does not fit its 64-bit field") from error
