"""A serialized OTLP `ExportMetricsServiceRequest` to the SDK's metrics data.

Fields that the SDK's types have no place for (dropped counts, metadata, summaries, zero thresholds) are skipped.
Sequences come back as tuples, points and exemplars as lists, as the SDK has them.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from typing import Any, TypeVar

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

from exporter_core.otlp.wire import LENGTH, MAX_VARINT_BYTES

_T = TypeVar("_T")
MAX_NESTING = 64
_MIN_TAG, _MAX_TAG = 1 << 3, (1 << 32) - 1
_INT32, _INT64, _UINT64 = 1 << 32, 1 << 64, (1 << 64) - 1
# The fields of a message in order: tag (field number and wire type) and value.
_Items = list[tuple[int, Any]]  # integers of varints, bytes of everything else
# The last value of each tag, which is the one that counts.
_Last = dict[int, Any]
_unsigned, _integer, _double = (struct.Struct(f"<{kind}").unpack for kind in "Qqd")
_ZERO = bytes(8)
_varints = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]").findall
_UNPACKED = {0x31, 0x39}  # of a histogram's bucket counts and bounds
_KINDS = (0x2A, 0x3A, 0x4A, 0x52)  # gauge, sum, histogram, exponential histogram
TEMPORALITIES = {int(each): each for each in AggregationTemporality}
_KEPT_PAIRS, _KEPT_BYTES = 4096, 256
_KEPT_MESSAGE = 2048
_UNCHANGING = {str, bool, int, float, bytes, type(None)}


class DecodeError(ValueError):
    """Bytes that are not a well-formed `ExportMetricsServiceRequest`."""


def _maker(kind: type[_T]) -> Callable[..., _T]:
    """Write a function that makes instances of a dataclass without slots, of the fields that its constructor takes.

    A frozen dataclass's constructor, which sets each field past its own class, takes three times as long.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type] # a dataclass
    lines = (
        f"def make({', '.join(names)}):",
        " made = new(kind)",
        " contents = made.__dict__",
        *[f" contents[{name!r}] = {name}" for name in names],
        " return made",
    )
    space: dict[str, Any] = {"new": object.__new__, "kind": kind}
    exec("\n".join(lines), space)  # noqa: S102 - as dataclasses write their constructors
    make: Callable[..., _T] = space["make"]
    return make


make_number_point = _maker(NumberDataPoint)
make_histogram_point = _maker(HistogramDataPoint)
make_exponential_point = _maker(ExponentialHistogramDataPoint)
make_buckets, make_exemplar = _maker(Buckets), _maker(Exemplar)
make_gauge, make_sum = _maker(Gauge), _maker(Sum)
make_histogram, make_exponential = _maker(Histogram), _maker(ExponentialHistogram)
make_metric, make_scope_metrics, make_resource_metrics = _maker(Metric), _maker(ScopeMetrics), _maker(ResourceMetrics)


def decode(data: bytes) -> MetricsData:
    """The metrics in a serialized `ExportMetricsServiceRequest`.

    A gauge's point without a start time has None there. A metric without data, or with a summary, which the SDK has
    no type for, is left out.

    Raises:
        DecodeError: when the bytes are malformed, or attribute values are nested deeper than 64 levels.
    """
    try:
        return MetricsData([_resource_metrics(message) for message in _all(_items(data), 0x0A)])
    except UnicodeDecodeError as error:
        raise DecodeError("malformed OTLP data: a text is not UTF-8") from error


def _varint(data: bytes, at: int) -> tuple[int, int]:
    if at < len(data) and data[at] < 128:  # noqa: PLR2004 - the last byte has no continuation bit
        return data[at], at + 1
    value = 0
    for size, byte in enumerate(data[at : at + MAX_VARINT_BYTES]):
        value |= (byte & 127) << 7 * size
        if byte < 128:  # noqa: PLR2004 - the last byte has no continuation bit
            return value & _UINT64, at + size + 1
    raise DecodeError(f"malformed OTLP data: an integer at byte {at} of a message does not end")


def _items(data: bytes) -> _Items:
    items: _Items = []
    at, end = 0, len(data)
    while at < end:
        # Tags and sizes mostly take one byte.
        tag = data[at]
        at += 1
        if tag > 127:  # noqa: PLR2004 - the last byte has no continuation bit
            tag, at = _varint(data, at - 1)
        if not _MIN_TAG <= tag <= _MAX_TAG:
            raise DecodeError(f"malformed OTLP data: {tag >> 3} is not a field number")
        kind = tag & 7
        if kind == LENGTH:
            if at < end and data[at] < 128:  # noqa: PLR2004 - the last byte has no continuation bit
                stop = at + 1 + data[at]
                at += 1
            else:
                size, at = _varint(data, at)
                stop = at + size
        elif kind == 1:
            stop = at + 8
        elif not kind:
            value, at = _varint(data, at)
            items.append((tag, value))
            continue
        elif kind == 5:  # noqa: PLR2004 - wire types are the format's
            stop = at + 4
        else:
            raise DecodeError(f"malformed OTLP data: field {tag >> 3} has wire type {kind}, which OTLP never uses")
        if stop > end:
            raise DecodeError(f"malformed OTLP data: field {tag >> 3} is cut short")
        items.append((tag, data[at:stop]))
        at = stop
    return items


def _all(items: _Items, tag: int) -> list[Any]:  # of the field's type
    return [value for number, value in items if number == tag]


def _message(items: _Items, tag: int) -> _Items:
    """A field that is a message; if it is there several times, they are one."""
    return _items(b"".join(_all(items, tag)))


def _text(last: _Last, tag: int) -> str:
    text: bytes = last.get(tag, b"")
    return text.decode()


def _fixed(last: _Last, tag: int) -> int:
    number: int = _unsigned(last.get(tag, _ZERO))[0]
    return number


def _optional(last: _Last, tag: int) -> Any:  # a float, or None where the SDK has None, too
    return _double(last[tag])[0] if tag in last else None


def _signed(value: int) -> int:
    return value - _INT64 if value >> 63 else value


def _zigzag(value: int) -> int:
    value %= _INT32
    return value >> 1 ^ -(value & 1)


def _resource_metrics(data: bytes) -> ResourceMetrics:
    items = _items(data)
    url = _text(dict(items), 0x1A)
    scopes = [_scope_metrics(message) for message in _all(items, 0x12)]
    resource = _kept(_resource, b"".join(_all(items, 0x0A)), url)
    return make_resource_metrics(resource, scopes, url)


def _kept(read: Callable[[bytes, str], _T], message: bytes, url: str) -> _T:
    """Read a message, which mostly says what it said last time."""
    return (read if len(message) <= _KEPT_MESSAGE else read.__wrapped__)(message, url)  # type: ignore[attr-defined]


@lru_cache(maxsize=256)
def _resource(message: bytes, url: str) -> Resource:
    return Resource(_attributes(_all(_items(message), 0x0A)), url)


@lru_cache(maxsize=256)
def _scope(message: bytes, url: str) -> InstrumentationScope:
    scope = _items(message)
    last = dict(scope)
    name, version = _text(last, 0x0A), _text(last, 0x12)
    return InstrumentationScope(name, version or None, url, _attributes(_all(scope, 0x1A)))


def _scope_metrics(data: bytes) -> ScopeMetrics:
    items = _items(data)
    url = _text(dict(items), 0x1A)
    scope = _kept(_scope, b"".join(_all(items, 0x0A)), url)
    metrics = [metric for metric in map(_metric, _all(items, 0x12)) if metric is not None]
    return make_scope_metrics(scope, metrics, url)


def _metric(data: bytes) -> Metric | None:
    content: Gauge | Sum | Histogram | ExponentialHistogram
    items = _items(data)
    last = dict(items)
    for kind in _KINDS:
        if kind in last:
            break
    else:
        return None
    inner = _message(items, kind)
    points, settings = _all(inner, 0x0A), dict(inner)
    if kind == 0x2A:  # noqa: PLR2004 - tags are the format's
        content = make_gauge([_number_point(point, gauge=True) for point in points])
    elif kind == 0x3A:  # noqa: PLR2004 - tags are the format's
        sums = [_number_point(point, gauge=False) for point in points]
        content = make_sum(sums, _temporality(settings), bool(settings.get(0x18, 0)))
    elif kind == 0x4A:  # noqa: PLR2004 - tags are the format's
        content = make_histogram([_histogram_point(point) for point in points], _temporality(settings))
    else:
        content = make_exponential([_exponential_point(point) for point in points], _temporality(settings))
    return make_metric(_text(last, 0x0A), _text(last, 0x12), _text(last, 0x1A), content)


def _temporality(last: _Last) -> AggregationTemporality:
    value = last.get(0x10, 0)
    temporality = TEMPORALITIES.get(value)
    if temporality is None:
        raise DecodeError(f"malformed OTLP data: {value} is not an aggregation temporality")
    return temporality


def _number(last: _Last, int_tag: int, double_tag: int) -> Any:  # int or float
    return _double(last[double_tag])[0] if double_tag in last else _integer(last.get(int_tag, _ZERO))[0]


def _number_point(data: bytes, *, gauge: bool) -> NumberDataPoint:
    none = None if gauge else 0  # so are the SDK's gauges
    plain = _plain_number_point(data)
    if plain is not None:
        attributes, start, time, value = plain
        return make_number_point(attributes, start or none, time, value, [])
    items = _items(data)
    last = dict(items)
    return make_number_point(
        _attributes(_all(items, 0x3A)),
        _fixed(last, 0x11) or none,
        _fixed(last, 0x19),
        _number(last, 0x31, 0x21),
        _exemplars(items, last, 0x2A),
    )


_START, _TIME = 0x11, 0x19
_ONE_TIME, _TWO_TIMES = 18, 27  # bytes of a value with one time, and with both
_start = struct.Struct("<Q").unpack_from
_time_and_value: dict[int, Callable[[bytes, int], tuple[int, Any]]] = {
    0x21: struct.Struct("<Qxd").unpack_from,
    0x31: struct.Struct("<Qxq").unpack_from,
}


def _plain_number_point(data: bytes) -> tuple[dict[str, Any], int, int, Any] | None:
    """The usual case: times and value, before or behind short attributes; None for everything else."""
    size = len(data)
    if size < _ONE_TIME:
        return None
    if data[0] == _TIME:
        at, start, rest = 1, 0, data[_ONE_TIME:]
    elif size < _TWO_TIMES:
        return None
    elif data[0] == _START and data[9] == _TIME:
        at, start, rest = 10, 1, data[_TWO_TIMES:]
    elif data[-_TWO_TIMES] == _START and data[-_ONE_TIME] == _TIME:
        at, start, rest = size - 17, size - 26, data[:-_TWO_TIMES]
    elif data[-_ONE_TIME] == _TIME:
        at, start, rest = size - 17, 0, data[:-_ONE_TIME]
    else:
        return None
    unpack = _time_and_value.get(data[at + 8])
    attributes = _short_attributes(rest, 0x3A)
    if unpack is None or attributes is None:
        return None
    return attributes, _start(data, start)[0] if start else 0, *unpack(data, at)


def _short_attributes(data: bytes, tag: int) -> dict[str, Any] | None:
    """Attributes, if nothing else is there and each has been met lately."""
    attributes = {}
    at, end = 0, len(data)
    while at < end:
        start = at + 2
        if data[at] != tag or start > end or data[at + 1] > 127:  # noqa: PLR2004 - a length of one byte
            return None
        at = start + data[at + 1]
        pair = _pairs.get(data[start:at])
        if pair is None:
            return None
        attributes[pair[0]] = pair[1]
    return attributes if at == end else None


def _histogram_point(data: bytes) -> HistogramDataPoint:
    items = _items(data)
    last = dict(items)
    attributes = _all(items, 0x4A)
    # Nothing but attributes is there several times, and no number one by one.
    once = len(items) - len(last) < max(1, len(attributes)) and _UNPACKED.isdisjoint(last)
    return make_histogram_point(
        _attributes(attributes),
        _fixed(last, 0x11),
        _fixed(last, 0x19),
        _fixed(last, 0x21),
        _optional(last, 0x29),
        _packed(last.get(0x32) if once else None, items, 6, "Q"),
        _packed(last.get(0x3A) if once else None, items, 7, "d"),
        _optional(last, 0x59),
        _optional(last, 0x61),
        _exemplars(items, last, 0x42),
    )


def _exponential_point(data: bytes) -> ExponentialHistogramDataPoint:
    items = _items(data)
    last = dict(items)
    return make_exponential_point(
        _attributes(_all(items, 0x0A)),
        _fixed(last, 0x11),
        _fixed(last, 0x19),
        _fixed(last, 0x21),
        _optional(last, 0x29),
        _zigzag(last.get(0x30, 0)),
        _fixed(last, 0x39),
        _buckets(_message(items, 0x42)),
        _buckets(_message(items, 0x4A)),
        last.get(0x50, 0) % _INT32,
        _optional(last, 0x61),
        _optional(last, 0x69),
        _exemplars(items, last, 0x5A),
    )


def _packed(data: bytes | None, items: _Items, number: int, kind: str) -> tuple[Any, ...]:  # of what the kind says
    if data is None:
        # Parsers take a repeated number packed or one by one: the bytes are the same.
        data = b"".join((*_all(items, number << 3 | LENGTH), *_all(items, number << 3 | 1)))
    if len(data) % 8:
        raise DecodeError(f"malformed OTLP data: field {number} is not a whole number of 64-bit values")
    return struct.unpack(f"<{len(data) // 8}{kind}", data)


def _buckets(items: _Items) -> Buckets:
    counts: list[int] = _all(items, 0x10)
    for packed in _all(items, 0x12):
        if packed.isascii():  # each count takes one byte
            counts += packed
            continue
        varints = _varints(packed)
        if len(b"".join(varints)) != len(packed):
            raise DecodeError("malformed OTLP data: a bucket count does not end")
        counts += map(_COUNTS.__getitem__, varints)
    return make_buckets(_zigzag(dict(items).get(0x08, 0)), tuple(counts))


class _Counts(dict[bytes, int]):
    """Encoded integer -> integer. Keeps the short ones."""

    def __missing__(self, encoded: bytes) -> int:
        count, _ = _varint(encoded, 0)
        if len(encoded) <= 2:  # noqa: PLR2004 - some 16,000
            self[encoded] = count
        return count


_COUNTS = _Counts()


def _exemplars(items: _Items, last: _Last, tag: int) -> list[Exemplar]:
    return [_exemplar(message) for message in _all(items, tag)] if tag in last else []


def _exemplar(data: bytes) -> Exemplar:
    items = _items(data)
    last = dict(items)
    span, trace = last.get(0x22, b""), last.get(0x2A, b"")
    return make_exemplar(
        _attributes(_all(items, 0x3A)),
        _number(last, 0x31, 0x19),
        _fixed(last, 0x11),
        int.from_bytes(span, "big") if span else None,
        int.from_bytes(trace, "big") if trace else None,
    )


# Encoded attributes that have been met lately, and what they say: most stand in many points.
_pairs: dict[bytes, tuple[str, Any]] = {}


def _attributes(messages: list[bytes], depth: int = 0) -> dict[str, Any]:
    attributes = {}
    for message in messages:
        pair = _pairs.get(message)
        if pair is None:
            items = _items(message)
            pair = _text(dict(items), 0x0A), _value(b"".join(_all(items, 0x12)), depth)
            if type(pair[1]) in _UNCHANGING and len(message) <= _KEPT_BYTES:
                if len(_pairs) >= _KEPT_PAIRS:
                    _pairs.clear()
                _pairs[message] = pair
        attributes[pair[0]] = pair[1]
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
    return _all(_items(message), 0x0A)


_SCALARS: dict[int, Callable[[Any], object]] = {  # each takes what its wire type yields
    0x0A: bytes.decode,
    0x10: bool,
    0x18: _signed,
    0x21: lambda value: _double(value)[0],
    0x3A: bytes,
}
