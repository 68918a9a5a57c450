"""An OTLP `ExportMetricsServiceRequest` in JSON to the SDK's metrics data.

Metrics that are written as exporters write them are found by regular expressions and read column by column, which is
several times as fast as to parse them; the rest, and whatever is wrong, is read value by value. What an expression
leaves open, the reading of the text that it found decides, so that nothing passes that is not well-formed.
"""

import json
import math
import re
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache, partial
from itertools import islice
from sys import intern
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
)

from exporter_core.otlp.decoder import (
    DecodeError,
    make_buckets,
    make_exemplar,
    make_exponential,
    make_exponential_point,
    make_gauge,
    make_histogram,
    make_histogram_point,
    make_metric,
    make_number_point,
    make_sum,
)
from exporter_core.otlp.json_reader import (
    COUNTS,
    WrongError,
    read_attributes,
    read_double,
    read_metric,
    read_monotonic,
    read_request,
    read_temporality,
)

LONG = 8192
"""The least characters of a request that is read in columns."""
_KEPT_PAIRS, _KEPT_LENGTH = 4096, 256
_Column = Sequence[str | None]
_Columns = Sequence[_Column]


def decode_json(data: bytes | str) -> MetricsData:
    """The metrics in an `ExportMetricsServiceRequest` in OTLP JSON.

    A gauge's point without a start time has None there. A metric without data, or with a summary, which the SDK has
    no type for, is left out.

    Raises:
        DecodeError: when it is no JSON or a field has a wrong value, which is named, or attribute values are nested
            deeper than 64 levels.
    """
    try:
        text = data.decode(json.detect_encoding(data), "surrogatepass") if isinstance(data, bytes | bytearray) else data
        try:
            if len(text) >= LONG:
                return _Request(text).read()
        except (WrongError, ValueError, RecursionError):
            pass  # to read all of it value by value finds the place of what is wrong
        return read_request(_parsed(text))
    except (WrongError, ValueError, RecursionError) as error:
        raise DecodeError(f"malformed OTLP JSON: {error}") from error


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_parsed = _decoder.decode

# In the expressions, ~ stands for the space that some write after colons and commas.
_TEXT = r'"([^"\\\x00-\x1f]*(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*)*)"'
_ATTRIBUTES = r'\[((?:\{"key":~[^\]]*(?:\](?!,~"|\}[,\]])[^\]]*)*)?)\]'
_UNSIGNED, _SIGNED, _ID = '"([0-9]{1,19})"', '"(-?[0-9]{1,18})"', '"([0-9a-f]{%d})"'
_SMALL = "(-?(?:0|[1-9][0-9]{0,8}))"
_DOUBLE = r'(-?(?:0|[1-9][0-9]{0,19})(?:\.[0-9]{1,25})?(?:[eE][-+]?[0-9]{1,3})?|"NaN"|"-?Infinity")'
_COUNTS = r'\[((?:"[0-9",~]*")?)\]'
_BUCKETS = r'\{((?:"offset":~-?(?:0|[1-9][0-9]{0,8}),~)?"bucketCounts":~\[(?:"[0-9",~]*")?)\]\}'
_VALUE = {"asInt": _SIGNED, "asDouble": _DOUBLE}
_EXEMPLAR = {
    "filteredAttributes": _ATTRIBUTES,
    "timeUnixNano": _UNSIGNED,
    **_VALUE,
    "spanId": _ID % 16,
    "traceId": _ID % 32,
}
_PLAIN = r'"([^"\\\x00-\x1f]*)"'
_PLAIN_PAIR = re.compile(
    rf'{_PLAIN}, ?"value": ?\{{(?:"stringValue": ?{_PLAIN}|"intValue": ?"(-?[0-9]{{1,18}})")\}}\}}'
).fullmatch
_SETTING = '"(?:aggregationTemporality":~[0-9]|isMonotonic":~(?:true|false))'


def _object(fields: dict[str, str]) -> str:
    """Any of these fields, each a group, in any order. One that is there twice is none: it would hide the first."""
    field = "|".join(
        rf'{name}":~(?({number})(?!)){pattern}' for number, (name, pattern) in enumerate(fields.items(), 1)
    )
    return rf'\{{(?:"(?:{field})(?:,~(?=")|(?=\}})))+\}}'


_ANY_EXEMPLAR = re.sub(r"\(\?\(\d+\)\(\?!\)\)", "", _object(_EXEMPLAR))
_ANY_EXEMPLAR = re.sub(r"\((?!\?)", "(?:", _ANY_EXEMPLAR)
_POINT = {"attributes": _ATTRIBUTES, "startTimeUnixNano": _UNSIGNED, "timeUnixNano": _UNSIGNED}
_REST = {"exemplars": rf"\[((?:{_ANY_EXEMPLAR}(?:,~{_ANY_EXEMPLAR})*)?)\]", "flags": "((?:0|[1-9][0-9]{0,8}))"}
_DISTRIBUTION = {"count": _UNSIGNED, "sum": _DOUBLE, "min": _DOUBLE, "max": _DOUBLE}
_NUMBER = {**_POINT, **_VALUE, **_REST}
_POINTS = {
    "gauge": _NUMBER,
    "sum": _NUMBER,
    "histogram": {**_POINT, **_DISTRIBUTION, "bucketCounts": _COUNTS, "explicitBounds": r"\[([^\]]*)\]", **_REST},
    "exponentialHistogram": {
        **_POINT,
        **_DISTRIBUTION,
        "scale": _SMALL,
        "zeroCount": _UNSIGNED,
        "positive": _BUCKETS,
        "negative": _BUCKETS,
        **_REST,
    },
}


class _Form:
    """The expressions for one habit of spacing.

    Attributes:
        space: the space after colons and commas, or nothing.
        metrics: the beginning of an array of metrics.
        opening: of a metric, up to its first data point.
        points: a data point of each kind of metric, with the comma behind it.
        closing: of a metric, with the comma or bracket behind it.
        comma: what stands between two metrics.
        exemplar: an exemplar, with the comma behind it.
        counts: what stands between two counts.
        pairs: what stands between two attributes, and before the first of them.
    """

    def __init__(self, space: str) -> None:
        def compiled(pattern: str) -> re.Pattern[str]:
            return re.compile(pattern.replace("~", space))

        texts = "".join(rf'(?:"{name}":~{_TEXT},~)?' for name in ("name", "description", "unit"))
        kinds = "|".join(_POINTS)
        another = r"(?:,~(?=\{)|(?=\]))"
        self.space = space
        self.metrics = f'"metrics":{space}['
        self.opening = compiled(rf'\{{{texts}"({kinds})":~\{{((?:{_SETTING},~){{0,2}})"dataPoints":~\[').match
        self.points = {kind: compiled(_object(fields) + another).match for kind, fields in _POINTS.items()}
        self.closing = compiled(rf"\]((?:,~{_SETTING}){{0,2}})\}}\}}").match
        self.comma = f",{space}"
        self.exemplar = compiled(_object(_EXEMPLAR) + r"(?:,~(?=\{)|\Z)").match
        self.counts = f'",{space}"'
        self.pairs = f',{space}{{"key":{space}'


_form = lru_cache(_Form)


class _Request:
    """A request, whose metrics are gathered from the whole text before they are made.

    Args:
        text: the JSON.
    """

    def __init__(self, text: str) -> None:
        text.encode()  # raises where there is a lone surrogate
        self._text = text
        self._form = _form(" " if '"metrics": [' in text else "")
        self._rows: dict[str, list[tuple[Any, ...]]] = {kind: [] for kind in _POINTS}
        self._data: dict[str, list[tuple[str, str, int, int]]] = {kind: [] for kind in _POINTS}
        self._texts: list[tuple[str | None, ...]] = []
        self._others: list[Metric | None] = []
        self._kinds: list[str] = []  # of all metrics in order; others have none
        self._attributes = _Attributes(self._form.pairs)

    def read(self) -> MetricsData:
        """The metrics.

        Raises:
            WrongError, ValueError, RecursionError: when something is wrong.
        """
        opening, text, at = self._form.metrics, self._text, 0
        around: list[str] = []
        sizes = []
        while (found := text.find(opening, at)) >= 0:
            start, before = found + len(opening), len(self._kinds)
            around += text[at : start - 1], "-Infinity"
            at = self._gather(start)
            sizes.append(len(self._kinds) - before)
        metrics = self._metrics()
        arrays = deque(tuple(islice(metrics, size)) for size in sizes)

        def array(name: str) -> object:
            return arrays.popleft() if name == "-Infinity" and arrays else _refuse_constant(name)

        return read_request(json.loads("".join((*around, text[at:])), parse_constant=array))

    def _gather(self, at: int) -> int:
        """Gather the metrics of an array, from its first; the place behind the array."""
        text, comma = self._text, self._form.comma
        if text.startswith("]", at):
            return at + 1
        while True:
            at = self._gather_one(at)
            if text.startswith("]", at):
                return at + 1
            if not text.startswith(comma, at):
                raise ValueError("no comma or bracket follows a metric")
            at += len(comma)

    def _gather_one(self, at: int) -> int:
        text, form = self._text, self._form
        opened = form.opening(text, at)
        if opened:
            *texts, kind, before = opened.groups()
            rows, match, end = self._rows[kind], form.points[kind], opened.end()
            start = len(rows)
            while point := match(text, end):
                rows.append(point.groups())
                end = point.end()
            closed = form.closing(text, end)
            if closed:
                self._kinds.append(kind)
                self._texts.append(tuple(texts))
                self._data[kind].append((before, closed[1], start, len(rows)))
                return closed.end()
            del rows[start:]
        value, end = _decoder.raw_decode(text, at)
        self._kinds.append("")
        self._others.append(read_metric(value))
        return end

    def _metrics(self) -> Iterator[Metric | None]:
        """All metrics that were gathered."""
        data = {kind: iter(self._data_of(kind)) for kind, rows in self._data.items() if rows}
        texts = [[_unescaped(text) if text else "" for text in column] for column in zip(*self._texts, strict=True)]
        made = map(make_metric, *texts, [next(data[kind]) for kind in self._kinds if kind])
        others = iter(self._others)
        return (next(made) if kind else next(others) for kind in self._kinds)

    def _data_of(self, kind: str) -> list[Any]:  # data of that kind
        befores, afters, starts, stops = zip(*self._data[kind], strict=True)
        points = _MAKERS[kind](self, list(zip(*self._rows[kind], strict=True))) if self._rows[kind] else []
        slices = [points[start:stop] for start, stop in zip(starts, stops, strict=True)]
        (make, count), settings = _TYPES[kind], zip(*map(_settings, befores, afters), strict=True)
        return list(map(make, slices, *islice(settings, count)))

    def _number_points(self, columns: _Columns, *, gauge: bool = False) -> list[NumberDataPoint]:
        attributes, start_column, times, integers, doubles, exemplars, _ = columns
        starts = _integers(start_column)
        made = map(
            make_number_point,
            self._attributes.of(attributes),
            [start or None for start in starts] if gauge else starts,
            _integers(times),
            _values(integers, doubles),
            self._exemplars(exemplars),
        )
        return list(made)

    def _histogram_points(self, columns: _Columns) -> list[HistogramDataPoint]:
        attributes, starts, times, totals, sums, lowest, highest, counts, bounds, exemplars, _ = columns
        made = map(
            make_histogram_point,
            self._attributes.of(attributes),
            *map(_integers, (starts, times, totals)),
            _doubles(sums),
            map(self._counts, counts),
            map(cache(_bounds), bounds),
            _doubles(lowest),
            _doubles(highest),
            self._exemplars(exemplars),
        )
        return list(made)

    def _exponential_points(self, columns: _Columns) -> list[ExponentialHistogramDataPoint]:
        attributes, starts, times, totals, sums, lowest, highest, *more = columns
        scales, zeros, positive, negative, exemplars, flags = more
        made = map(
            make_exponential_point,
            self._attributes.of(attributes),
            *map(_integers, (starts, times, totals)),
            _doubles(sums),
            *map(_integers, (scales, zeros)),
            self._buckets(positive),
            self._buckets(negative),
            _integers(flags),
            _doubles(lowest),
            _doubles(highest),
            self._exemplars(exemplars),
        )
        return list(made)

    def _buckets(self, column: _Column) -> list[Buckets]:
        parts = [(text or "").partition(f'"bucketCounts":{self._form.space}[') for text in column]
        offsets = [before.strip('"ofset:, ') or None for before, _, _ in parts]
        return list(map(make_buckets, _integers(offsets), [self._counts(after) for _, _, after in parts]))

    def _counts(self, text: str | None) -> tuple[int, ...]:
        return tuple(map(COUNTS.__getitem__, text[1:-1].split(self._form.counts))) if text else ()

    def _exemplars(self, column: _Column) -> list[list[Exemplar]]:
        """The exemplars of each point."""
        if not any(column):
            return [[] for _ in column]
        rows: list[tuple[Any, ...]] = []
        sizes = []
        for text in column:
            before, at = len(rows), 0
            while text and (found := self._form.exemplar(text, at)):
                rows.append(found.groups())
                at = found.end()
            if at != len(text or ""):
                raise ValueError("exemplars of another form")
            sizes.append(len(rows) - before)
        attributes, times, integers, doubles, spans, traces = zip(*rows, strict=True)
        made = map(
            make_exemplar,
            self._attributes.of(attributes),
            _values(integers, doubles),
            _integers(times),
            *([int(digits, 16) if digits else None for digits in ids] for ids in (spans, traces)),
        )
        return [list(islice(made, size)) for size in sizes]


_TYPES: dict[str, tuple[Any, int]] = {  # what makes the data, and how many settings each has
    "gauge": (make_gauge, 0),
    "sum": (make_sum, 2),
    "histogram": (make_histogram, 1),
    "exponentialHistogram": (make_exponential, 1),
}
_MAKERS: dict[str, Any] = {  # methods that make points of that kind
    "gauge": partial(_Request._number_points, gauge=True),
    "sum": _Request._number_points,
    "histogram": _Request._histogram_points,
    "exponentialHistogram": _Request._exponential_points,
}


class _Attributes(dict[str, dict[str, Any]]):  # values of any type
    """Lists of attributes as they are written, and what they say: many points have the same.

    Args:
        pairs: what stands between two attributes.
    """

    def __init__(self, pairs: str) -> None:
        super().__init__()
        self._pairs, self._first = pairs, len(pairs.lstrip(", "))

    def of(self, column: _Column) -> list[dict[str, Any]]:  # values of any type
        """The attributes of each point."""
        return [self[text].copy() if text else {} for text in column]

    def __missing__(self, text: str) -> dict[str, Any]:
        try:
            attributes = dict(map(_PAIRS.__getitem__, text[self._first :].split(self._pairs)))
        except ValueError:  # one in the other
            attributes = read_attributes({"attributes": _parsed(f"[{text}]")})
        if not _can_change(text):
            self[text] = attributes
        return attributes


class _Pairs(dict[str, tuple[str, Any]]):  # values of any type
    """Attributes as they are written, and what they say: most stand in many points."""

    def __missing__(self, text: str) -> tuple[str, Any]:
        plain = _PLAIN_PAIR(text)
        if plain:
            key, value, digits = plain.groups()
            pair = intern(key), value if digits is None else int(digits)
        else:
            (pair,) = read_attributes({"attributes": [_parsed(f'{{"key":{text}')]}).items()
        if len(text) <= _KEPT_LENGTH and not _can_change(text):
            if len(self) >= _KEPT_PAIRS:
                self.clear()
            self[text] = pair
        return pair


def _can_change(text: str) -> bool:
    """True for attributes that have a mapping, or letters that are escaped and may say so."""
    return "kvlist" in text or "\\" in text


_PAIRS = _Pairs()


@lru_cache
def _settings(before: str, after: str) -> tuple[AggregationTemporality, bool]:
    """The settings in a metric's data, of the texts before and after its points."""
    message = _parsed(f"{{{before}{after[1:]}}}" if after else f"{{{before.rstrip(', ')}}}")
    return read_temporality(message), read_monotonic(message)


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    plain: str = _parsed(f'"{text}"')
    plain.encode()  # raises where there is a lone surrogate
    return plain


def _integers(column: _Column) -> list[int]:
    if None in column:
        return [int(digits) if digits else 0 for digits in column]
    return list(map(int, column))  # type: ignore[arg-type] # none is None


def _doubles(column: _Column) -> list[float | None]:
    try:
        values = list(map(float, column))  # type: ignore[arg-type] # a TypeError is expected
        if all(map(math.isfinite, values)):
            return values  # type: ignore[return-value] # invariant
    except (TypeError, ValueError):
        pass  # None, or the name of what is not finite
    return [None if text is None else read_double(_parsed(text)) for text in column]


def _values(integers: _Column, doubles: _Column) -> list[Any]:  # integers or floats
    if None not in doubles:
        return _doubles(doubles)
    if None not in integers and not any(doubles):
        return _integers(integers)
    floats = _doubles(doubles)
    return [one if one is not None else other for one, other in zip(floats, _integers(integers), strict=True)]


def _bounds(text: str | None) -> tuple[float, ...]:
    return tuple(map(read_double, _parsed(f"[{text or ''}]")))
