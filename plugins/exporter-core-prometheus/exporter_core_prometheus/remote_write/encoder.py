"""Translated metrics to requests of remote write 1.0 and 2.0; what stays the same between two exports is kept.

A series' message is a head that stays the same (labels, and in 2.0 metadata and start time), a value, and a time that
all series share: a request is written by putting the three together, for all series at once.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from dataclasses import dataclass, field as default
from itertools import accumulate, chain
from struct import iter_unpack
from typing import TYPE_CHECKING, Any, ClassVar, Final

from exporter_core.otlp import VARINTS, field
from exporter_core_prometheus.remote_write import wire
from exporter_core_prometheus.translation import Kind, Problem, TranslationError, bucket_bounds, cumulative_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk.metrics import Exemplar

    from exporter_core_prometheus.translation import Family, GoneSeries, LabelMaker, Labels, Series, SeriesSet

_NAME: Final = "__name__"
_METADATA_SECONDS: Final = 60.0
_Shape = tuple[tuple[float, ...], bool] | None
_Key = tuple[_Shape, int]
_SAMPLE: Final = 10  # bytes of a sample beside its timestamp and start: the value, and the tags of both
_MOST_KEYS: Final = 4096
_EXEMPLARS: Final = frozenset({Kind.COUNTER, Kind.HISTOGRAM, Kind.NATIVE_HISTOGRAM})
_NATIVE_HISTOGRAM: Final = "a native histogram"


@dataclass(slots=True)
class Chunk:
    """Consecutive series of one metric, from `start` to `stop`, with their points."""

    family: Family
    set: SeriesSet
    start: int
    stop: int
    points: Sequence[Any]  # of the family's kind

    def halves(self) -> tuple[Chunk, Chunk]:
        """Return the first and the second half."""
        middle = (self.start + self.stop) // 2
        first, second = self.points[: middle - self.start], self.points[middle - self.start :]
        return (
            Chunk(self.family, self.set, self.start, middle, first),
            Chunk(self.family, self.set, middle, self.stop, second),
        )


@dataclass(slots=True)
class Request:
    """One request, not compressed, and what is in it."""

    body: bytes
    points: int
    samples: int = 0
    histograms: int = 0
    exemplars: int = 0
    problems: list[Problem] = default(default_factory=list)


def split(families: list[Family], max_samples: int) -> Iterator[list[Chunk]]:
    """Divide families into the contents of requests, in order; a point is never divided."""
    chunks: list[Chunk] = []
    room = max_samples
    for family in families:
        for group in family.groups:
            points = group.points
            width = max(len(point.bucket_counts) for point in points) + 2 if family.kind is Kind.HISTOGRAM else 1
            at = 0
            while at < len(points):
                if room < width and chunks:
                    yield chunks
                    chunks, room = [], max_samples
                stop = min(at + max(1, room // width), len(points))
                whole = points if stop - at == len(points) else points[at:stop]
                chunks.append(Chunk(family, group.set, at, stop, whole))
                room -= (stop - at) * width
                at = stop
    if chunks:
        yield chunks


def halved(chunks: list[Chunk]) -> tuple[list[Chunk], list[Chunk]] | None:
    """Divide the content of a request in two; None for a single point."""
    if len(chunks) > 1:
        return chunks[: len(chunks) // 2], chunks[len(chunks) // 2 :]
    if len(chunks[0].points) > 1:
        first, second = chunks[0].halves()
        return [first], [second]
    return None


class _Plan:
    """The content of a request but for its numbers: what is the same as long as it has the same series.

    Attributes:
        order: the places of the chunks of counters, gauges, histograms and native histograms, in this order.
        counters, numbers, samples: how many of the points are counters', how many have one number, how many have
            samples at all; native histograms are the rest.
        facts: what the heads depend on beside the series.
        flat: the heads of all samples, one after the other.
        widths: the number of samples of each point.
        befores: the heads of native histograms, which have no sample.
        symbols: their numbers, in version 2.0.
    """

    def __init__(self, chunks: list[Chunk]) -> None:
        self._sets = [chunk.set for chunk in chunks]  # kept, so that nothing else gets their identity
        kinds = [_ORDER[chunk.family.kind] for chunk in chunks]
        self.order = sorted(range(len(chunks)), key=kinds.__getitem__)
        counts = [
            sum(len(chunk.points) for chunk, own in zip(chunks, kinds, strict=True) if own == kind)
            for kind in range(_NATIVE + 1)
        ]
        self.counters, self.numbers, self.samples = counts[0], counts[0] + counts[1], sum(counts[:_NATIVE])
        self.points = sum(counts) - sum(len(chunk.points) for chunk in chunks if chunk.family.kind is Kind.INFO)
        self.facts: object = None
        self.flat: list[bytes] = []
        self.widths: list[int] = []
        self.befores: list[bytes] = []
        self.symbols: dict[str, int] = {"": 0}
        self.encoded_symbols = b""


_ORDER: Final = {Kind.COUNTER: 0, Kind.GAUGE: 1, Kind.INFO: 1, Kind.HISTOGRAM: 2, Kind.NATIVE_HISTOGRAM: 3}
_NATIVE: Final = 3


class Encoder(ABC):
    """Writes requests of one version.

    Args:
        label_maker: makes the labels of exemplars.
    """

    content_type: ClassVar[str]
    version: ClassVar[str]
    _series_tag: ClassVar[bytes]
    _histogram_tag: ClassVar[bytes]
    _exemplar_tag: ClassVar[bytes]

    def __init__(self, label_maker: LabelMaker) -> None:
        self._label_maker = label_maker
        self._plan = _Plan([])
        self._kept: dict[tuple[tuple[int, int, int], ...], _Plan] = {}
        self._used: dict[tuple[tuple[int, int, int], ...], _Plan] = {}
        self._keys: dict[_Key, _Key] = {}

    def encode(self, chunks: list[Chunk]) -> Request:
        """Write one request."""
        key = tuple([(id(chunk.set), chunk.start, chunk.stop) for chunk in chunks])
        plan = self._plan = self._used[key] = self._kept.get(key) or _Plan(chunks)
        chunks = [chunks[place] for place in plan.order]
        points = list(chain.from_iterable([chunk.points for chunk in chunks]))
        self._make_heads(plan, chunks, points)
        request = Request(b"", plan.points)
        flat = self._with_exemplars(plan, points, request) if self._has_exemplars(plan, points) else plan.flat
        pieces: list[bytes] = [b""] * (3 * len(flat))
        pieces[0::3] = flat
        pieces[1::3] = chain.from_iterable(iter_unpack("8s", wire.doubles(_values(plan, points))))
        pieces[2::3] = _tails(plan, points)
        request.samples = len(flat)
        self._write_histograms(plan, points, pieces, request)
        request.body = b"".join((self._opening(chunks), *pieces))
        return request

    def encode_gone(self, gone: list[tuple[GoneSeries, Series]], timestamp: int) -> Request:
        """Write the markers of series that have ended, at a time in milliseconds."""
        self._plan = _Plan([])
        pieces: list[bytes] = []
        request = Request(b"", 0)
        size = len(wire.int64(timestamp))
        tail = wire.STALE + b"\x10" + wire.int64(timestamp)
        for ended, series in gone:
            shape = series.written[0][0] if ended.kind is Kind.HISTOGRAM else None
            for labels in _lines(ended.name, ended.kind, series.labels, shape):
                before = self._before(labels, ended.kind, "", "")
                if ended.kind is Kind.NATIVE_HISTOGRAM:
                    pieces.append(self._histogram_series(before, wire.stale_histogram(timestamp)))
                    request.histograms += 1
                else:
                    pieces.append(self._head(before, b"", size) + tail)
                    request.samples += 1
        request.body = b"".join((self._opening([]), *pieces))
        return request

    def end_export(self) -> None:
        """Forget what the last export did not need."""
        self._kept, self._used = self._used, {}

    # --- what the versions differ in ---------------------------------------------------------------------------------

    @abstractmethod
    def _opening(self, chunks: list[Chunk]) -> bytes:
        """Return what stands beside the series."""

    @abstractmethod
    def _before(self, labels: Labels, kind: Kind, help_text: str, unit: str) -> bytes:
        """Return the fields of a series that do not depend on its points."""

    @abstractmethod
    def _exemplar_labels(self, labels: Labels) -> bytes:
        """Return the labels of an exemplar."""

    def _start(self, point: Any) -> bytes:  # noqa: ARG002 - version 1.0 has none
        """Return the field with the start time of a point."""
        return b""

    def _starts(self, plan: _Plan, points: list[Any]) -> list[int | None] | None:  # noqa: ARG002 - version 1.0 has none
        """Return the start times that the heads contain."""
        return None

    # --- heads -------------------------------------------------------------------------------------------------------

    def _make_heads(self, plan: _Plan, chunks: list[Chunk], points: list[Any]) -> None:
        """Make the heads of all series, unless the last export has left them."""
        shapes = [(_tuple(p.explicit_bounds), p.sum is not None) for p in points[plan.numbers : plan.samples]]
        sizes = _timestamp_sizes(points)
        facts = shapes, sizes, self._starts(plan, points)
        if plan.facts == facts:
            return
        plan.facts, plan.flat, plan.widths, plan.befores = facts, [], [], []
        at = 0
        for chunk in chunks:
            family = chunk.family
            for series, point in zip(chunk.set.series[chunk.start : chunk.stop], chunk.points, strict=True):
                size = sizes if isinstance(sizes, int) else sizes[at]
                if family.kind is Kind.HISTOGRAM:
                    heads = self._bucket_heads(family, series, shapes[at - plan.numbers], point, size)
                    plan.flat += heads
                    plan.widths.append(len(heads))
                elif family.kind is Kind.NATIVE_HISTOGRAM:
                    plan.befores.append(self._only_before(family, series))
                else:
                    plan.flat.append(self._number_head(family, series, point, size))
                    plan.widths.append(1)
                at += 1

    def _number_head(self, family: Family, series: Series, point: Any, size: int) -> bytes:
        """Return the head of a counter's or gauge's only sample."""
        start = self._start(point) if family.kind is Kind.COUNTER else b""
        return self._head(self._only_before(family, series), start, size)

    def _only_before(self, family: Family, series: Series) -> bytes:
        series.written = b""  # it has been sent
        return self._before(_sorted(series.labels, (_NAME, family.name)), family.kind, family.help, family.unit)

    def _bucket_heads(self, family: Family, series: Series, shape: _Shape, point: Any, size: int) -> tuple[bytes, ...]:
        """Return the heads of the samples of a histogram with bounds."""
        series.written = self._key(shape, size), ()
        start = self._start(point)
        lines = _lines(family.name, family.kind, series.labels, shape)
        befores = [self._before(labels, family.kind, family.help, family.unit) for labels in lines]
        return tuple([self._head(before, start, size) for before in befores])

    def _key(self, *key: Any) -> _Key:  # of a _Key's types
        """Return what the heads of a series depend on beside its labels: one object for all that are alike."""
        if len(self._keys) >= _MOST_KEYS:
            self._keys.clear()
        return self._keys.setdefault(key, key)

    def _head(self, before: bytes, start: bytes, size: int) -> bytes:
        """Return a series up to the value of its sample, whose timestamp takes so many bytes."""
        sample = len(start) + _SAMPLE + size
        return b"".join(
            (self._series_tag, VARINTS[len(before) + 2 + sample], before, b"\x12", VARINTS[sample], start, b"\x09")
        )

    def _histogram_series(self, before: bytes, histogram: bytes) -> bytes:
        content = before + self._histogram_tag + VARINTS[len(histogram)] + histogram
        return self._series_tag + VARINTS[len(content)] + content

    # --- points ------------------------------------------------------------------------------------------------------

    def _write_histograms(self, plan: _Plan, points: list[Any], pieces: list[bytes], request: Request) -> None:
        """Write the points of native histograms."""
        for place in range(plan.samples, len(points)):
            point, before = points[place], plan.befores[place - plan.samples]
            try:
                histogram = wire.histogram(point, has_start=self.version != Version1.version)
            except TranslationError as error:
                request.problems.append(Problem(_NATIVE_HISTOGRAM, 1, str(error)))
                request.points -= 1
                continue
            exemplars = [self._exemplar(exemplar) for exemplar in point.exemplars or ()]
            request.exemplars += len(exemplars)
            pieces.append(self._histogram_series(b"".join((before, *exemplars)), histogram))
            request.histograms += 1

    @staticmethod
    def _has_exemplars(plan: _Plan, points: list[Any]) -> bool:
        """Return True if a counter's or a histogram's point has exemplars; those of gauges are dropped."""
        exemplars = [point.exemplars for point in points]
        return any(exemplars[: plan.counters]) or any(exemplars[plan.numbers : plan.samples])

    def _with_exemplars(self, plan: _Plan, points: list[Any], request: Request) -> list[bytes]:
        """Return the heads of all samples, with the exemplars of points in those of the samples that they belong to."""
        flat = plan.flat.copy()
        ends = list(accumulate(plan.widths, initial=0))
        for place in (*range(plan.counters), *range(plan.numbers, plan.samples)):
            point = points[place]
            for exemplar in point.exemplars or ():
                at = ends[place]
                if place >= plan.numbers:
                    at += bisect_left(point.explicit_bounds, exemplar.value)
                flat[at] = _longer(flat[at], self._exemplar(exemplar))
                request.exemplars += 1
        return flat

    def _exemplar(self, exemplar: Exemplar) -> bytes:
        """Return an exemplar as a field of a series."""
        labels = self._exemplar_labels(self._label_maker.exemplar(exemplar))
        when = b"\x18" + wire.int64(wire.milliseconds(exemplar.time_unix_nano))
        content = labels + b"\x11" + wire.doubles([exemplar.value]) + when
        return self._exemplar_tag + VARINTS[len(content)] + content


class Version1(Encoder):
    """Writes `prometheus.WriteRequest`.

    Metadata goes with the first request that has the metric, and again every minute.

    Args:
        label_maker: makes the labels of exemplars.
        monotonic: tells seconds.
    """

    content_type = "application/x-protobuf"
    version = "0.1.0"
    _series_tag = b"\x0a"
    _histogram_tag = b"\x22"
    _exemplar_tag = b"\x1a"

    def __init__(self, label_maker: LabelMaker, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(label_maker)
        self._monotonic = monotonic
        self._told: dict[str, tuple[Kind, str, str]] = {}
        self._told_at = monotonic()

    def _opening(self, chunks: list[Chunk]) -> bytes:
        if self._monotonic() - self._told_at >= _METADATA_SECONDS:
            self._told = {}
            self._told_at = self._monotonic()
        told, metadata = self._told, []
        for chunk in chunks:
            family = chunk.family
            said = family.kind, family.help, family.unit
            if told.get(family.name) != said:
                told[family.name] = said
                texts = [field(2, family.name.encode()), field(4, family.help.encode()), field(5, family.unit.encode())]
                metadata.append(field(3, b"".join((b"\x08", VARINTS[wire.TYPES[family.kind]], *texts))))
        return b"".join(metadata)

    def _before(self, labels: Labels, kind: Kind, help_text: str, unit: str) -> bytes:  # noqa: ARG002 - of metadata
        return wire.label_fields(labels)

    def _number_head(self, family: Family, series: Series, point: Any, size: int) -> bytes:
        """Return the head of a series' only sample, which stays the same while its timestamp is as long."""
        kept: bytes = series.written or b""
        if kept and kept[-2] == _SAMPLE + size:
            return kept
        head = super()._number_head(family, series, point, size)
        series.written = head
        return head

    def _bucket_heads(self, family: Family, series: Series, shape: _Shape, point: Any, size: int) -> tuple[bytes, ...]:
        """Return the heads of one histogram, which stay the same while its bounds do."""
        key = self._key(shape, size)
        if series.written is not None and series.written[0] is key and series.written[1]:
            kept: tuple[bytes, ...] = series.written[1]
            return kept
        heads = super()._bucket_heads(family, series, shape, point, size)
        series.written = key, heads
        return heads

    def _exemplar_labels(self, labels: Labels) -> bytes:
        return wire.label_fields(labels)


class Version2(Encoder):
    """Writes `io.prometheus.write.v2.Request`, 2.0-rc.4.

    Symbols are numbered anew for each request; requests of the same series keep theirs.
    """

    content_type = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    version = "2.0.0"
    _series_tag = b"\x2a"
    _histogram_tag = b"\x1a"
    _exemplar_tag = b"\x22"

    def __init__(self, label_maker: LabelMaker) -> None:
        super().__init__(label_maker)
        self._passing: dict[str, int] = {}  # symbols of this request's exemplars, which no other request has

    def _opening(self, chunks: list[Chunk]) -> bytes:  # noqa: ARG002 - metadata is at the series
        plan, passing = self._plan, self._passing
        self._passing = {}
        if not plan.encoded_symbols:
            plan.encoded_symbols = b"".join([field(4, symbol.encode()) for symbol in plan.symbols])
        return plan.encoded_symbols + b"".join([field(4, symbol.encode()) for symbol in passing])

    def _before(self, labels: Labels, kind: Kind, help_text: str, unit: str) -> bytes:
        symbols = self._plan.symbols
        self._plan.encoded_symbols = b""
        references = [VARINTS[symbols.setdefault(text, len(symbols))] for text in chain.from_iterable(labels)]
        metadata = [b"\x08", VARINTS[wire.TYPES[kind]]]
        for tag, text in ((b"\x18", help_text), (b"\x20", unit)):
            if text:
                metadata += [tag, VARINTS[symbols.setdefault(text, len(symbols))]]
        return field(1, b"".join(references)) + field(5, b"".join(metadata))

    def _start(self, point: Any) -> bytes:
        start = wire.milliseconds(point.start_time_unix_nano)
        return b"\x18" + wire.int64(start) if start else b""

    def _starts(self, plan: _Plan, points: list[Any]) -> list[int | None] | None:
        return [
            point.start_time_unix_nano for point in (*points[: plan.counters], *points[plan.numbers : plan.samples])
        ]

    def _exemplar_labels(self, labels: Labels) -> bytes:
        symbols, passing = self._plan.symbols, self._passing
        references: list[bytes] = []
        for text in chain.from_iterable(labels):
            number = symbols.get(text)
            if number is None:
                number = passing.setdefault(text, len(symbols) + len(passing))
            references.append(VARINTS[number])
        return field(1, b"".join(references)) if references else b""


def _timestamp_sizes(points: list[Any]) -> int | list[int]:
    """Return the bytes that the points' timestamps take: one number if all take as many."""
    times = [point.time_unix_nano for point in points]
    if not times or times.count(times[0]) == len(times):
        return len(wire.int64(wire.milliseconds(times[0]))) if times else 0
    sizes = [len(wire.int64(wire.milliseconds(one))) for one in times]
    return sizes[0] if sizes.count(sizes[0]) == len(sizes) else sizes


def _tails(plan: _Plan, points: list[Any]) -> list[bytes]:
    """Return the ends of all samples: their timestamps."""
    times = [point.time_unix_nano for point in points[: plan.samples]]
    if times.count(times[0] if times else None) == len(times):
        return [b"\x10" + wire.int64(wire.milliseconds(times[0]))] * len(plan.flat) if times else []
    ends = [b"\x10" + wire.int64(wire.milliseconds(one)) for one in times]
    return [end for end, width in zip(ends, plan.widths, strict=True) for _ in range(width)]


def _values(plan: _Plan, points: list[Any]) -> list[float]:
    """Return the values of all samples."""
    values: list[float] = [point.value for point in points[: plan.numbers]]
    for point in points[plan.numbers : plan.samples]:
        values += cumulative_counts(point)
        values.append(point.count)
        if point.sum is not None:
            values.append(point.sum)
    return values


def _lines(name: str, kind: Kind, labels: Labels, shape: _Shape) -> list[Labels]:
    """Return the labels of each sample of a point: those of buckets first, then count and sum."""
    if kind is not Kind.HISTOGRAM or shape is None:
        return [_sorted(labels, (_NAME, name))]
    bounds, has_sum = shape
    lines = [_sorted(labels, (_NAME, f"{name}_bucket"), ("le", le)) for le in bucket_bounds(bounds)]
    lines.append(_sorted(labels, (_NAME, f"{name}_count")))
    if has_sum:
        lines.append(_sorted(labels, (_NAME, f"{name}_sum")))
    return lines


def _tuple(bounds: Sequence[float]) -> tuple[float, ...]:
    return bounds if isinstance(bounds, tuple) else tuple(bounds)


def _sorted(labels: Labels, *further: tuple[str, str]) -> Labels:
    return tuple(sorted((*labels, *further)))


def _longer(head: bytes, more: bytes) -> bytes:
    """Return the head of a series with more fields in it, which its length has to count."""
    end, length = 1, head[1] & 127
    while head[end] > 127:  # noqa: PLR2004 - the last byte of a length has no continuation bit
        length |= (head[end + 1] & 127) << 7 * end
        end += 1
    return head[:1] + VARINTS[length + len(more)] + more + head[end + 1 :]
