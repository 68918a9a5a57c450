"""What follows the attributes in an encoded data point: times, values, buckets and exemplars.

`*_tail` encode any one point. `*_tails` encode all points of a metric at once where these are alike in shape
(every one with the same fields present), and answer None where they are not.
Source: opentelemetry-proto, `opentelemetry/proto/metrics/v1/metrics.proto`.
"""

import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)

from exporter_core.otlp.attributes import AttributeWriter
from exporter_core.otlp.series import Series
from exporter_core.otlp.wire import UnencodableError, field, short, sint32_varint, varint

# The tag of a fixed64 or double field N is the byte N << 3 | 1.
_fixed64 = struct.Struct("<BQ").pack
_sfixed64 = struct.Struct("<Bq").pack
_double = struct.Struct("<Bd").pack
_START, _TIME, _AS_DOUBLE, _AS_INT = 0x11, 0x19, 0x21, 0x31
_COUNT, _SUM, _MIN, _MAX, _BUCKET_COUNTS, _BOUNDS = 0x21, 0x29, 0x59, 0x61, 0x32, 0x3A
_FIELD = 9  # bytes of a tag and a fixed64
_NUMBERS = {int, float}
_BLOCK = 512  # points that are written at once: their pieces stay in the processor's cache


class Tails:
    """What follows the attributes in all points of a metric, where the same fields are present, column by column.

    Attributes:
        length: the bytes that follow in each point.
    """

    def __init__(self) -> None:
        self.length = 0
        self._template = b""
        self._columns: list[tuple[int, bytes]] = []
        self._packed: list[bytes] = []
        self._shared = b""

    def add(self, tag: int, kind: str, values: list[Any]) -> None:
        """Add a field of 64 bits, of a kind as `array` has it.

        Raises:
            TypeError, OverflowError: when one is no number, or does not fit.
        """
        # One number in all points is looked for by identity first: that is how the SDK hands out the time.
        same = values[0] is values[-1] and kind != "d" and values.count(values[0]) == len(values)
        column = _column(kind, values[:1] if same else values)
        if not same:
            self._columns.append((len(self._template) + 1, column))
        self._template += bytes((tag,)) + column[:8]
        self.length += _FIELD

    def add_optional(self, tag: int, kind: str, values: list[Any]) -> None:
        """Add a field as above, unless all values are None."""
        if values[0] is not None or values.count(None) != len(values):
            self.add(tag, kind, values)

    def add_packed(self, tag: int, kind: str, rows: list[Sequence[Any]]) -> None:
        """Add a packed field of equally many numbers of 64 bits in every point, after all other fields.

        Args:
            tag: of the field.
            kind: as `struct` has it.
            rows: the numbers of each point.

        Raises:
            struct.error: when one has another number of them, something is no number, or does not fit.
        """
        size = len(rows[0])
        pack = struct.Struct(f"<{size}{kind}").pack
        self._packed = [pack(*row) for row in rows]
        if size:
            header = bytes((tag,)) + varint(size * 8)
            self._template += header
            self.length += len(header) + size * 8

    def share(self, content: bytes) -> None:
        """Add what all points end with."""
        self._shared += content
        self.length += len(content)

    def points(self, series: Series) -> "AlikePoints":
        """The points, whose attributes the series has."""
        return AlikePoints(series, self)

    @property
    def shared(self) -> bytes:
        """What all points end with."""
        return self._shared

    def own(self, start: int, stop: int) -> list[Sequence[bytes]]:
        """What a run of points has before that: sequences to be interleaved, one item a point."""
        count, width = stop - start, len(self._template)
        own = bytearray(self._template * count)
        for at, column in self._columns:
            part = column[start * 8 : stop * 8]
            for byte in range(8):
                own[at + byte :: width] = part[byte::8]
        pieces: list[Sequence[bytes]] = [_cutter(width, count)(own)]
        if self._packed:
            pieces.append(self._packed[start:stop])
        return pieces


class AlikePoints:
    """The encoded points of a metric that have the same fields present: pieces of a series, and their tails."""

    def __init__(self, series: Series, tails: Tails) -> None:
        self._pieces: list[bytes] = series.pieces  # type: ignore[assignment] # None only where there are errors
        self._size = series.size
        self._tails = tails

    def __len__(self) -> int:
        return len(self._pieces)

    def sizes(self) -> Sequence[int]:
        """The bytes of each."""
        return [len(piece) + self._tails.length for piece in self._pieces]

    def size(self, start: int, stop: int) -> int:
        """The bytes of a run of them."""
        whole = stop - start == len(self._pieces)
        pieces = self._size if whole else sum(map(len, self._pieces[start:stop]))
        return pieces + (stop - start) * self._tails.length

    def write(self, start: int, stop: int) -> Iterator[bytes]:
        """A run of them, in pieces."""
        parts: list[bytes] = []
        for first in range(start, stop, _BLOCK):
            last = min(first + _BLOCK, stop)
            columns = [self._pieces[first:last], *self._tails.own(first, last)]
            width = len(columns) + bool(self._tails.shared)
            if len(parts) != width * (last - first):
                parts = [self._tails.shared] * (width * (last - first))
            for number, column in enumerate(columns):
                parts[number::width] = column
            yield b"".join(parts)


@lru_cache(maxsize=64)
def _cutter(size: int, count: int) -> Callable[[Any], tuple[bytes, ...]]:  # takes any buffer
    return struct.Struct(f"{size}s" * count).unpack


def _column(kind: str, values: Sequence[Any]) -> bytes:
    column = array(kind, values)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def number_tails(points: Sequence[NumberDataPoint]) -> Tails | None:
    """Sums' and gauges' points, when all values are int or all are float, and all or none have a start time.

    Raises:
        TypeError, OverflowError: when a number does not fit its field.
    """
    values = [point.value for point in points]
    kind = type(values[0])
    if kind not in _NUMBERS or list(map(type, values)).count(kind) != len(values):
        return None
    tails = Tails()
    tails.add_optional(_START, "Q", [point.start_time_unix_nano for point in points])
    tails.add_optional(_TIME, "Q", [point.time_unix_nano for point in points])
    if kind is int:
        tails.add(_AS_INT, "q", values)
    else:
        tails.add(_AS_DOUBLE, "d", values)
    return tails


def histogram_tails(points: Sequence[HistogramDataPoint]) -> Tails | None:
    """Histograms' points, when all share one bounds object, and all or none have a sum, a min and a max.

    Raises:
        struct.error, TypeError, OverflowError: when they differ in shape, or a number does not fit its field.
    """
    bounds = points[0].explicit_bounds
    if [1 for point in points if point.explicit_bounds is not bounds]:
        return None
    tails = Tails()
    tails.add_optional(_START, "Q", [point.start_time_unix_nano for point in points])
    tails.add_optional(_TIME, "Q", [point.time_unix_nano for point in points])
    tails.add(_COUNT, "Q", [point.count for point in points])
    tails.add_optional(_SUM, "d", [point.sum for point in points])
    tails.add_optional(_MIN, "d", [point.min for point in points])
    tails.add_optional(_MAX, "d", [point.max for point in points])
    tails.add_packed(_BUCKET_COUNTS, "Q", [point.bucket_counts for point in points])
    tails.share(_packed(_BOUNDS, "d", bounds))
    return tails


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
