"""A parsed OTLP `ExportMetricsServiceRequest` in JSON to the SDK's metrics data, value by value.

As the protocol has it, unknown fields are ignored, and 64-bit integers may be numbers or strings. Fields that the
SDK's types have no place for are skipped. Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

import binascii
import math
import re
from base64 import b64decode
from collections.abc import Callable
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

from exporter_core.otlp.decoder import (
    MAX_NESTING,
    TEMPORALITIES,
    make_buckets,
    make_exemplar,
    make_exponential,
    make_exponential_point,
    make_gauge,
    make_histogram,
    make_histogram_point,
    make_metric,
    make_number_point,
    make_resource_metrics,
    make_scope_metrics,
    make_sum,
)
from exporter_core.otlp.wire import short

_T = TypeVar("_T")
_Message = dict[str, Any]  # JSON
_INT32, _UINT32 = range(-(1 << 31), 1 << 31), range(1 << 32)
_INT64, _UINT64 = range(-(1 << 63), 1 << 63), range(1 << 64)
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_DIGITS = 20  # of the greatest 64-bit integer
_KEPT_DIGITS = 4
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_DOUBLE = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class _Counts(dict[str, int]):
    """Digits -> integer. Keeps the short ones."""

    def __missing__(self, digits: str) -> int:
        if not (digits.isdigit() and digits.isascii()) or len(digits) >= _DIGITS:
            raise ValueError("a count of another form")
        count = int(digits)
        if len(digits) <= _KEPT_DIGITS:
            self[digits] = count
        return count


COUNTS = _Counts()


class WrongError(Exception):
    """A wrong value; each level on the way out puts its name before the text."""

    def within(self, name: str) -> "WrongError":
        """The same in a field of this name."""
        text = str(self)
        return WrongError(f"{name}{'' if text.startswith(('[', ':')) else '.'}{text}")


def _wrong(value: object, expected: str) -> WrongError:
    return WrongError(f": expected {expected}, not {short(value)}")


def _message(value: object) -> _Message:
    if not isinstance(value, dict):
        raise _wrong(value, "an object")
    return value


def _one(message: _Message, name: str, read: Callable[[Any], _T], default: _T) -> _T:  # reads JSON
    value = message.get(name)
    if value is None:
        return default
    try:
        return read(value)
    except WrongError as error:
        raise error.within(name) from None


def _each(message: _Message, name: str, read: Callable[[Any], _T]) -> list[_T]:  # reads JSON
    items = message.get(name)
    if items is None:
        return []
    if not isinstance(items, list):
        raise _wrong(items, "an array").within(name)
    read_items = []
    for position, item in enumerate(items):
        try:
            read_items.append(read(item))
        except WrongError as error:
            raise error.within(f"{name}[{position}]") from None
    return read_items


def _named(message: _Message, name: str) -> str:
    value = message.get(name)
    # The usual case first: ASCII.
    if type(value) is str and value.isascii():
        return value
    return _one(message, name, _text, "")


def _double(message: _Message, name: str) -> float | None:
    value = message.get(name)
    # The usual case first: a number with a point.
    if type(value) is float and math.isfinite(value):
        return value
    return _one(message, name, read_double, None)


def _unsigned(message: _Message, name: str) -> int:
    value = message.get(name)
    # The usual case first: digits in a string.
    if type(value) is str and value.isdigit() and value.isascii() and len(value) < _DIGITS:
        return int(value)
    return _one(message, name, _uint64, 0)


def _counts(message: _Message) -> tuple[int, ...]:
    items = message.get("bucketCounts")
    # The usual case first: digits in strings.
    if type(items) is list:
        try:
            return tuple(map(COUNTS.__getitem__, items))
        except (ValueError, TypeError, AttributeError):
            pass  # not strings of digits
    return tuple(_each(message, "bucketCounts", _uint64))


def _bounds(message: _Message) -> tuple[float, ...]:
    items = message.get("explicitBounds")
    # The usual case first: numbers with a point.
    if type(items) is list and set(map(type, items)) == {float} and all(map(math.isfinite, items)):
        return tuple(items)
    return tuple(_each(message, "explicitBounds", read_double))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _wrong(value, "Unicode text without lone surrogates") from None
    return value


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, "true or false")
    return value


def _integer(allowed: range, what: str) -> Callable[[object], int]:
    def read(value: object) -> int:
        number: object = value
        # The usual case first: digits in a string.
        if (
            (type(value) is str and value.isdigit() and value.isascii() and len(value) <= _DIGITS)
            or (isinstance(value, float) and value.is_integer())
            or (isinstance(value, str) and _INTEGER.fullmatch(value))
        ):
            number = int(value)
        if isinstance(number, bool) or not isinstance(number, int) or number not in allowed:
            raise _wrong(value, what)
        return number

    return read


_int32, _uint32 = _integer(_INT32, "a signed 32-bit integer"), _integer(_UINT32, "an unsigned 32-bit integer")
_int64, _uint64 = _integer(_INT64, "a signed 64-bit integer"), _integer(_UINT64, "an unsigned 64-bit integer")


def read_double(value: object) -> float:
    """A double, which may be a text."""
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    number = math.nan
    if (isinstance(value, int | float) and not isinstance(value, bool)) or (
        isinstance(value, str) and _DOUBLE.fullmatch(value)
    ):
        try:
            number = float(value)
        except OverflowError:
            pass  # an integer beyond all doubles
    if not math.isfinite(number):
        raise _wrong(value, "a double")
    return number


def _bytes(value: object) -> bytes:
    try:
        # Either alphabet, padded or not, as protobuf's parsers take it.
        plain = _text(value).rstrip("=").replace("-", "+").replace("_", "/")
        return b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(value, "base64") from None


def _id(size: int) -> Callable[[object], int | None]:
    def read(value: object) -> int | None:
        digits = _text(value)
        try:
            raw = bytes.fromhex(digits)
        except ValueError:
            raw = b""
        if digits and (len(raw) != size or len(digits) != size * 2):
            raise _wrong(value, f"{size * 2} hexadecimal digits")
        return int.from_bytes(raw, "big") if digits else None

    return read


_span_id, _trace_id = _id(8), _id(16)


def read_request(value: object) -> MetricsData:
    """The metrics of a request.

    Raises:
        WrongError: when a field has a wrong value.
    """
    return MetricsData(_each(_message(value), "resourceMetrics", _resource_metrics))


def _resource_metrics(value: object) -> ResourceMetrics:
    message = _message(value)
    url = _named(message, "schemaUrl")
    resource = _one(message, "resource", lambda inner: Resource(read_attributes(inner), url), None)
    scopes = _each(message, "scopeMetrics", _scope_metrics)
    return make_resource_metrics(resource or Resource({}, url), scopes, url)


def _scope_metrics(value: object) -> ScopeMetrics:
    message = _message(value)
    url = _named(message, "schemaUrl")
    scope = _one(message, "scope", lambda inner: _scope(inner, url), None)
    metrics = message.get("metrics")
    # No JSON is a tuple: these metrics are read already.
    read = metrics if isinstance(metrics, tuple) else _each(message, "metrics", read_metric)
    found = [metric for metric in read if metric is not None]
    return make_scope_metrics(scope or InstrumentationScope("", None, url, {}), found, url)


def _scope(value: object, url: str) -> InstrumentationScope:
    message = _message(value)
    name, version = _named(message, "name"), _named(message, "version")
    return InstrumentationScope(name, version or None, url, read_attributes(message))


def read_metric(value: object) -> Metric | None:
    """A metric; None for one without data, or with a summary."""
    message = _message(value)
    for kind, read in _DATA.items():
        data = _one(message, kind, read, None) if kind in message else None
        if data is not None:
            return make_metric(_named(message, "name"), _named(message, "description"), _named(message, "unit"), data)
    return None


def _gauge(value: object) -> Gauge:
    return make_gauge(_each(_message(value), "dataPoints", lambda point: _number_point(point, start=None)))


def _sum(value: object) -> Sum:
    message = _message(value)
    points = _each(message, "dataPoints", lambda point: _number_point(point, start=0))
    return make_sum(points, read_temporality(message), read_monotonic(message))


def _histogram(value: object) -> Histogram:
    message = _message(value)
    return make_histogram(_each(message, "dataPoints", _histogram_point), read_temporality(message))


def _exponential(value: object) -> ExponentialHistogram:
    message = _message(value)
    return make_exponential(_each(message, "dataPoints", _exponential_point), read_temporality(message))


_DATA: dict[str, Callable[[Any], Gauge | Sum | Histogram | ExponentialHistogram | None]] = {  # each reads JSON
    "gauge": _gauge,
    "sum": _sum,
    "histogram": _histogram,
    "exponentialHistogram": _exponential,
}


def read_temporality(message: _Message) -> AggregationTemporality:
    """The temporality in the data of a metric."""
    plain = message.get("aggregationTemporality")
    if type(plain) is int and plain in TEMPORALITIES:
        return TEMPORALITIES[plain]

    def read(value: object) -> AggregationTemporality:
        try:
            return AggregationTemporality(_int32(value))
        except ValueError:
            raise _wrong(value, "the number of an aggregation temporality") from None

    return _one(message, "aggregationTemporality", read, AggregationTemporality.UNSPECIFIED)


def read_monotonic(message: _Message) -> bool:
    """The monotonicity in the data of a metric."""
    return _one(message, "isMonotonic", _bool, default=False)


def _number(message: _Message) -> int | float:
    double = _double(message, "asDouble") if "asDouble" in message else None
    if double is not None:
        return double
    plain = message.get("asInt")
    # The usual case first: digits in a string.
    if type(plain) is str and plain.isdigit() and plain.isascii() and len(plain) < _DIGITS - 1:  # signed
        return int(plain)
    return _one(message, "asInt", _int64, 0)


def _number_point(value: object, *, start: int | None) -> NumberDataPoint:
    message = _message(value)
    return make_number_point(
        read_attributes(message),
        _unsigned(message, "startTimeUnixNano") or start,  # so are the SDK's gauges
        _unsigned(message, "timeUnixNano"),
        _number(message),
        _each(message, "exemplars", _exemplar),
    )


def _histogram_point(value: object) -> HistogramDataPoint:
    message = _message(value)
    return make_histogram_point(*_before(message), _counts(message), _bounds(message), *_behind(message))


def _exponential_point(value: object) -> ExponentialHistogramDataPoint:
    message = _message(value)
    return make_exponential_point(
        *_before(message),
        _one(message, "scale", _int32, 0),
        _unsigned(message, "zeroCount"),
        _one(message, "positive", _buckets, Buckets(0, ())),
        _one(message, "negative", _buckets, Buckets(0, ())),
        _one(message, "flags", _uint32, 0),
        *_behind(message),
    )


def _before(message: _Message) -> tuple[Any, ...]:  # of several types
    """The first fields of both kinds of histogram; an absent sum is None, in the SDK too."""
    return (
        read_attributes(message),
        _unsigned(message, "startTimeUnixNano"),
        _unsigned(message, "timeUnixNano"),
        _unsigned(message, "count"),
        _double(message, "sum"),
    )


def _behind(message: _Message) -> tuple[float | None, float | None, list[Exemplar]]:
    """The last fields of both kinds of histogram; an absent min or max is None, in the SDK too."""
    return _double(message, "min"), _double(message, "max"), _each(message, "exemplars", _exemplar)


def _buckets(value: object) -> Buckets:
    message = _message(value)
    return make_buckets(_one(message, "offset", _int32, 0), _counts(message))


def _exemplar(value: object) -> Exemplar:
    message = _message(value)
    return make_exemplar(
        read_attributes(message, "filteredAttributes"),
        _number(message),
        _unsigned(message, "timeUnixNano"),
        _one(message, "spanId", _span_id, None),
        _one(message, "traceId", _trace_id, None),
    )


def read_attributes(value: object, name: str = "attributes", depth: int = 0) -> dict[str, Any]:  # values of any type
    """The attributes in a message."""
    message = _message(value)
    plain = _plain_attributes(message.get(name, []))
    if plain is not None:
        return plain

    def pair(item: object) -> tuple[str, Any]:
        message = _message(item)
        return _named(message, "key"), _one(message, "value", lambda inner: _value(inner, depth), None)

    return dict(_each(message, name, pair))


def _plain_attributes(items: Any) -> dict[str, Any] | None:
    """The usual case: texts in ASCII and positive integers; None for everything else."""
    if type(items) is not list:
        return None
    attributes: dict[str, Any] = {}
    try:
        for item in items:
            key, value = item["key"], item["value"]
            ((kind, plain),) = value.items()
            if type(key) is not str or type(plain) is not str or not f"{key}{plain}".isascii():
                return None
            if kind == "stringValue":
                attributes[key] = plain
            elif kind == "intValue" and plain.isdigit() and len(plain) < _DIGITS - 1:  # signed
                attributes[key] = int(plain)
            else:
                return None
    except (TypeError, KeyError, ValueError, AttributeError):  # no objects, or others than these
        return None
    return attributes


def _value(value: object, depth: int) -> Any:  # an attribute value is of any type
    if depth > MAX_NESTING:
        raise WrongError(f": attribute values are nested deeper than {MAX_NESTING} levels")
    message = _message(value)
    for name in _SCALARS if len(message) > 1 else _SCALARS.keys() & message:
        scalar = _one(message, name, _SCALARS[name], None)
        if scalar is not None:
            return scalar
    nested = _one(message, "arrayValue", lambda inner: _array(inner, depth + 1), None)
    if nested is not None:
        return nested
    return _one(message, "kvlistValue", lambda inner: read_attributes(inner, "values", depth + 1), None)


def _array(value: object, depth: int) -> tuple[Any, ...]:  # attribute values are of any type
    return tuple(_each(_message(value), "values", lambda item: _value(item, depth)))


_SCALARS: dict[str, Callable[[Any], object]] = {  # each reads JSON
    "stringValue": _text,
    "boolValue": _bool,
    "intValue": _int64,
    "doubleValue": read_double,
    "bytesValue": _bytes,
}
