"""Data points in protobuf: times, values, buckets and exemplars.

The shapes write the numbers of many points at once; `number_rest` and its siblings write all that follows the
attributes in any one point.
Source: opentelemetry-proto, `opentelemetry/proto/metrics/v1/metrics.proto`.
"""

import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice, repeat
from operator import add, itemgetter
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)

from exporter_core.otlp.attributes import AttributeWriter, Contents, items_of
from exporter_core.otlp.shapes import HistogramShape, NumberShape, Shape
from exporter_core.otlp.wire import HEADS, VARINTS, UnencodableError, short, sint32_varint

# The tag of a fixed64 or double field N is the byte N << 3 | 1.
_fixed64 = struct.Struct("<BQ").pack
_sfixed64 = struct.Struct("<Bq").pack
_double = struct.Struct("<Bd").pack
_START, _TIME, _AS_DOUBLE, _AS_INT = 0x11, 0x19, 0x21, 0x31
_COUNT, _SUM, _MIN, _MAX, _BUCKET_COUNTS, _BOUNDS = 0x21, 0x29, 0x59, 0x61, 0x32, 0x3A
_LAST = 127  # the highest last byte of a length; the bytes before it are higher
_FIELD = 9  # bytes of a tag and a fixed64
_NUMBERS = {int: (_AS_INT, "q"), float: (_AS_DOUBLE, "d")}
_WITH_START = {kind: (struct.Struct(f"<BQBQB{code}").pack, tag) for kind, (tag, code) in _NUMBERS.items()}
_WITHOUT_START = {kind: (struct.Struct(f"<BQB{code}").pack, tag) for kind, (tag, code) in _NUMBERS.items()}
_SHORT = 2  # bytes of the varints of counts that are kept
_ORDER = "" if sys.byteorder == "little" else "<"  # native numbers are packed in half the time
_BLOCK = 512  # points that are written at once: their pieces stay in the processor's cache


class Columns:
    """The numbers of points that have the same fields, column by column.

    Args:
        count: of the points.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._template = b""  # the fields of one point; what differs between points is zero
        self._columns: list[tuple[int, int, bytes]] = []  # place in the template, bytes a point, and those of all
        self._counts: list[bytes] = []

    def add_constant(self, same: bytes) -> None:
        """Add bytes that are the same in every point."""
        self._template += same

    def add_bytes(self, head: bytes, size: int, column: bytes) -> None:
        """Add a field of that many bytes; the column holds those of all points."""
        self._columns.append((len(self._template) + len(head), size, column))
        self._template += head + bytes(size)

    def add(self, tag: int, kind: str, values: list[Any]) -> None:
        """Add a field of 64 bits, of a kind as `struct` has it.

        Raises:
            struct.error, OverflowError: when one is no number, or does not fit.
        """
        # A Struct of its own, for struct.pack keeps the formats that it has met.
        self.add_bytes(bytes((tag,)), 8, struct.Struct(f"{_ORDER}{self._count}{kind}").pack(*values))

    def add_time(self, tag: int, times: list[int | None], *, present: bool) -> None:
        """Add a time, or nothing if none is present.

        Raises:
            ValueError: when a point has one although none is present.
            struct.error: when one is no number, or does not fit.
        """
        # The SDK hands out one time for all points of a collection.
        same = times.count(times[0]) == self._count
        if not present:
            if not same or times[0] is not None:
                raise ValueError("points differ in shape")
        elif same:
            self.add_constant(_fixed64(tag, times[0]))
        else:
            self.add(tag, "Q", times)

    def add_values(self, values: list[Any], tags: dict[type, tuple[int, str]]) -> None:
        """Add integers or doubles, or some of each.

        Raises:
            KeyError: when one is neither.
            struct.error, OverflowError: when one does not fit.
        """
        types = list(map(type, values))
        if types.count(types[0]) == self._count:
            self.add(*tags[types[0]], values)
            return
        fields = [tags[kind] for kind in types]
        self.add_bytes(b"", 1, bytes([tag for tag, _ in fields]))
        self.add_bytes(b"", 8, struct.Struct(_ORDER + "".join([kind for _, kind in fields])).pack(*values))

    def add_counts(self, rows: list[Sequence[int]], size: int) -> None:
        """Add a packed field of equally many counts in every point, behind all other fields.

        Raises:
            struct.error: when one has another number of them, something is no number, or does not fit.
        """
        pack = _row(size)
        counts = [pack(*row) for row in rows]
        if size:
            self._template += bytes((_BUCKET_COUNTS,)) + VARINTS[size * 8]
            self._counts = counts

    def sizes(self, start: int, stop: int) -> Iterable[int]:
        """The bytes of each in a range."""
        return repeat(len(self._template) + (len(self._counts[0]) if self._counts else 0), stop - start)

    @staticmethod
    def uncounted(_start: int, _stop: int) -> int:
        """None: the frames count all of them."""
        return 0

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Those in a range."""
        blocks = (self._block(at, min(at + _BLOCK, stop)) for at in range(start, stop, _BLOCK))
        return chain.from_iterable(blocks)

    def _block(self, start: int, stop: int) -> Iterable[bytes]:
        count, width = stop - start, len(self._template)
        block = bytearray(self._template * count)
        for at, size, column in self._columns:
            part = column[start * size : stop * size]
            for byte in range(size):
                block[at + byte :: width] = part[byte::size]
        pieces = _cutter(width, count)(block)
        return map(add, pieces, self._counts[start:stop]) if self._counts else pieces


@lru_cache(maxsize=64)
def _cutter(size: int, count: int) -> Callable[[Any], tuple[bytes, ...]]:  # takes any buffer
    return struct.Struct(f"{size}s" * count).unpack


@lru_cache(maxsize=64)
def _row(size: int) -> Callable[..., bytes]:
    return struct.Struct(f"{_ORDER}{size}Q").pack


class _WithExemplars:
    """The constant pieces of points that have exemplars, of any shape in protobuf."""

    length = 0

    def with_exemplars(self, pieces: list[bytes], exemplars: list[bytes]) -> list[bytes]:
        """The constant pieces of points with the encoded exemplars of each."""
        length = self.length
        bodies = [
            (piece[2:] if piece[1] <= _LAST else _headless(piece)) + more if more else b""
            for piece, more in zip(pieces, exemplars, strict=True)
        ]
        return [HEADS[len(body) + length] + body if body else piece for piece, body in zip(pieces, bodies, strict=True)]


def _headless(point: bytes) -> bytes:
    """The beginning of a data point without its tag and length."""
    end = 2
    while point[end - 1] > _LAST:
        end += 1
    return point[end:]


class ProtobufNumberShape(_WithExemplars, NumberShape):
    """Number points in protobuf."""

    def __init__(self, *present: bool) -> None:
        super().__init__(*present)
        self.length = _FIELD * (1 + sum(present))

    def beginnings(self, bodies: list[bytes], constants: Sequence[object]) -> list[bytes]:
        """The head of each point, and its attributes."""
        del constants
        length = self.length
        return [HEADS[len(body) + length] + body for body in bodies]

    def numbers(self, points: Sequence[NumberDataPoint]) -> Columns:
        """Times and values."""
        columns = Columns(len(points))
        columns.add_time(_START, [point.start_time_unix_nano for point in points], present=self.start)
        columns.add_time(_TIME, [point.time_unix_nano for point in points], present=self.time)
        columns.add_values([point.value for point in points], _NUMBERS)
        return columns


class ProtobufHistogramShape(_WithExemplars, HistogramShape):
    """Histogram points in protobuf."""

    def __init__(self, buckets: int, bounds: int, zero: bool, *present: bool) -> None:
        super().__init__(buckets, bounds, zero, *present)
        self._pack_bounds = struct.Struct(f"<{bounds}d").pack
        self._bounds_head = bytes((_BOUNDS,)) + VARINTS[bounds * 8] if bounds else b""
        counts = 1 + len(VARINTS[buckets * 8]) + buckets * 8 if buckets else 0
        self.length = _FIELD * (1 + sum(present)) + counts

    def beginnings(self, bodies: list[bytes], constants: Sequence[Any]) -> list[bytes]:
        """The head of each point, its attributes and bounds."""
        ends = self.written(constants, lambda bounds: self._bounds_head + self._pack_bounds(*bounds))
        length = self.length
        return [HEADS[len(body) + len(end) + length] + body + end for body, end in zip(bodies, ends, strict=True)]

    def numbers(self, points: Sequence[HistogramDataPoint]) -> Columns:
        """Times, count, sum, min, max and bucket counts."""
        columns = Columns(len(points))
        columns.add_time(_START, [point.start_time_unix_nano for point in points], present=self.start)
        columns.add_time(_TIME, [point.time_unix_nano for point in points], present=self.time)
        columns.add(_COUNT, "Q", [point.count for point in points])
        doubles: list[tuple[int, list[Any]]] = [
            (_SUM, [point.sum for point in points]),
            (_MIN, [point.min for point in points]),
            (_MAX, [point.max for point in points]),
        ]
        for (tag, values), present in zip(doubles, self.doubles, strict=True):
            if present:
                columns.add(tag, "d", values)
            elif values.count(None) != len(values):
                raise ValueError("points differ in shape")
        columns.add_counts([point.bucket_counts for point in points], self.buckets)
        return columns


_NUMBER_SHAPES = {(start, time): ProtobufNumberShape(start, time) for start in (False, True) for time in (False, True)}
_histogram_shape = lru_cache(maxsize=256)(ProtobufHistogramShape)


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
        if start is None:  # as the SDK has it in a gauge
            pack, tag = _WITHOUT_START[type(value)]
            numbers = pack(_TIME, time, tag, value)
        else:
            pack, tag = _WITH_START[type(value)]
            numbers = pack(_START, start, _TIME, time, tag, value)
    except (KeyError, struct.error, OverflowError):
        numbers = _when(_START, start) + _when(_TIME, time) + _number(_AS_INT, _AS_DOUBLE, value)
    return number_exemplars([point.exemplars], exemplars)[0] + numbers if point.exemplars else numbers


def histogram_rest(point: HistogramDataPoint, exemplars: AttributeWriter) -> bytes:
    """The rest of any point of a histogram; a sum, min or max of None is left out.

    Raises:
        UnencodableError: when a number does not fit its field.
    """
    bounds, counts = point.explicit_bounds, point.bucket_counts
    more = histogram_exemplars([point.exemplars], exemplars)[0] if point.exemplars else b""
    try:
        return (
            _packed_field(_BOUNDS, "d", bounds)
            + more
            + _histogram(
                _START,
                point.start_time_unix_nano,
                _TIME,
                point.time_unix_nano,
                _COUNT,
                point.count,
                _SUM,
                point.sum,
                _MIN,
                point.min,
                _MAX,
                point.max,
            )
            + _packed_field(_BUCKET_COUNTS, "Q", counts)
        )
    except (struct.error, OverflowError, TypeError):
        return b"".join(
            (
                _pack("explicit_bounds", _packed_field, _BOUNDS, "d", bounds),
                more,
                _summed(point),
                _optional("min", _MIN, point.min),
                _optional("max", _MAX, point.max),
                _pack("bucket_counts", _packed_field, _BUCKET_COUNTS, "Q", counts),
            )
        )


def exponential_rest(point: ExponentialHistogramDataPoint, exemplars: AttributeWriter) -> bytes:
    """The rest of any point of an exponential histogram; a sum, min or max of None is left out.

    Raises:
        UnencodableError: when a number does not fit its field.
    """
    positive, negative = point.positive, point.negative
    try:
        numbers = _exponential(
            _START,
            point.start_time_unix_nano,
            _TIME,
            point.time_unix_nano,
            _COUNT,
            point.count,
            _SUM,
            point.sum,
            _ZERO_COUNT,
            point.zero_count,
            _EXPONENTIAL_MIN,
            point.min,
            _EXPONENTIAL_MAX,
            point.max,
        )
    except (struct.error, OverflowError, TypeError):
        numbers = b"".join(
            (
                _summed(point),
                _pack("zero_count", _fixed64, _ZERO_COUNT, point.zero_count),
                _optional("min", _EXPONENTIAL_MIN, point.min),
                _optional("max", _EXPONENTIAL_MAX, point.max),
            )
        )
    numbers += b"\x30" + sint32_varint(point.scale)
    if positive.bucket_counts:
        numbers += _buckets(b"\x42", positive.offset, positive.bucket_counts)
    if negative.bucket_counts == [0]:  # as the SDK has it where no value is negative
        numbers += b"\x4a" + _one_empty_bucket(negative.offset)
    elif negative.bucket_counts:
        numbers += _buckets(b"\x4a", negative.offset, negative.bucket_counts)
    if point.flags:
        if not 0 <= point.flags < 1 << 32:
            raise UnencodableError(f"flags: {short(point.flags)} does not fit an unsigned 32-bit integer")
        numbers += b"\x50" + VARINTS[point.flags]
    return b"".join((numbers, *exponential_exemplars([point.exemplars], exemplars))) if point.exemplars else numbers


def _summed(point: HistogramDataPoint | ExponentialHistogramDataPoint) -> bytes:
    """The times, the count and the sum of a point, of which one is missing or does not fit its field."""
    return b"".join(
        (
            _when(_START, point.start_time_unix_nano),
            _when(_TIME, point.time_unix_nano),
            _pack("count", _fixed64, _COUNT, point.count),
            _optional("sum", _SUM, point.sum),
        )
    )


_ZERO_COUNT, _EXPONENTIAL_MIN, _EXPONENTIAL_MAX = 0x39, 0x61, 0x69
_histogram = struct.Struct("<BQBQBQBdBdBd").pack
_exponential = struct.Struct("<BQBQBQBdBQBdBd").pack


def _buckets(tag: bytes, offset: int, counts: Sequence[int]) -> bytes:
    packed = _counts_of(counts)
    buckets = b"\x08" + sint32_varint(offset) + b"\x12" + VARINTS[len(packed)] + packed
    return tag + VARINTS[len(buckets)] + buckets


class _Counts:
    """Writes the counts of buckets; tries first what the last ones needed, as those of a program mostly are alike."""

    def __init__(self) -> None:
        self._short = True  # the last ones took a byte each
        # A plain dictionary, out of which `itemgetter` takes many at once; None is there to make any count many.
        self._varints: dict[int | None, bytes] = {None: b""}

    def __call__(self, counts: Sequence[int]) -> bytes:
        if self._short:
            try:
                packed = bytes(counts)
            except ValueError:
                packed = b"\xff"
            if packed.isascii():
                return packed
        try:
            packed = b"".join(itemgetter(None, *counts)(self._varints))
        except KeyError:
            varints = {count: VARINTS[count] for count in set(counts)}
            packed = b"".join(map(varints.__getitem__, counts))
            self._varints.update({int(count): each for count, each in varints.items() if len(each) <= _SHORT})
        self._short = len(packed) == len(counts)
        return packed


_counts_of = _Counts()


@lru_cache(maxsize=64)
def _one_empty_bucket(offset: int) -> bytes:
    return _buckets(b"", offset, [0])


def _packed_field(tag: int, kind: str, numbers: Sequence[float]) -> bytes:
    if not numbers:
        return b""
    head, pack = _packed(tag, kind, len(numbers))
    return head + pack(*numbers)


@lru_cache(maxsize=64)
def _packed(tag: int, kind: str, count: int) -> tuple[bytes, Callable[..., bytes]]:
    """The head of a packed field of so many numbers, and what packs them."""
    return bytes((tag,)) + VARINTS[count * 8], struct.Struct(f"<{count}{kind}").pack


def _exemplars(tag: bytes) -> Callable[[Sequence[Sequence[Exemplar]], AttributeWriter], list[bytes]]:
    def write(rows: Sequence[Sequence[Exemplar]], writer: AttributeWriter) -> list[bytes]:
        exemplars = list(chain.from_iterable(rows))
        if not exemplars:
            return [b""] * len(rows)
        try:
            written = _alike(tag, exemplars, writer)
        except (ValueError, KeyError, OverflowError, TypeError, AttributeError, struct.error):
            written = []
            for exemplar in exemplars:
                payload = _exemplar_numbers(exemplar) + writer.of(exemplar.filtered_attributes)
                written.append(tag + VARINTS[len(payload)] + payload)
        if len(exemplars) == len(rows) and all(rows):
            return written
        left = iter(written)
        return [b"".join(islice(left, len(row))) if row else b"" for row in rows]

    return write


def _alike(tag: bytes, exemplars: list[Exemplar], writer: AttributeWriter) -> list[bytes]:
    """Exemplars that were all sampled in spans, or none of them: the usual case.

    Raises:
        ValueError, KeyError, OverflowError, TypeError, AttributeError, struct.error: when one is not like that, or
            something does not fit.
    """
    count = len(exemplars)
    spans: list[Any] = [exemplar.span_id for exemplar in exemplars]
    traces: list[Any] = [exemplar.trace_id for exemplar in exemplars]
    attributes = [exemplar.filtered_attributes for exemplar in exemplars]
    plain = not any(attributes)
    sampled = spans.count(None) + traces.count(None) < 2 * count
    length = 2 * _FIELD + (28 if sampled else 0)
    columns = Columns(count)
    if plain:
        columns.add_constant(tag + VARINTS[length])
    columns.add(0x11, "Q", [exemplar.time_unix_nano for exemplar in exemplars])
    columns.add_values([exemplar.value for exemplar in exemplars], _EXEMPLAR_NUMBERS)
    if sampled:
        columns.add_bytes(b"\x22\x08", 8, struct.Struct(f">{count}Q").pack(*spans))
        columns.add_bytes(b"\x2a\x10", 16, b"".join([trace.to_bytes(16, "big") for trace in traces]))
    pieces = columns.pieces(0, count)
    if plain:
        return list(pieces)
    encoded = writer.write(Contents.of(list(map(items_of, attributes))))
    if encoded.errors:
        raise ValueError("attributes have no place in the format")
    return [
        tag + VARINTS[length + len(body)] + piece + body for piece, body in zip(pieces, encoded.bodies, strict=True)
    ]


_EXEMPLAR_NUMBERS = {int: (_AS_INT, "q"), float: (0x19, "d")}
number_exemplars, histogram_exemplars, exponential_exemplars = map(_exemplars, (b"\x2a", b"\x42", b"\x5a"))


def _exemplar_numbers(exemplar: Exemplar) -> bytes:
    ids = b""
    if exemplar.span_id is not None:
        ids += b"\x22\x08" + _id_bytes(exemplar.span_id, 8, "span_id")
    if exemplar.trace_id is not None:
        ids += b"\x2a\x10" + _id_bytes(exemplar.trace_id, 16, "trace_id")
    return _when(0x11, exemplar.time_unix_nano) + _number(_AS_INT, 0x19, exemplar.value) + ids


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
