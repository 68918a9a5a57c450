"""Translated metrics to requests of remote write 1.0 and 2.0; what stays the same between two exports is kept.

A series' message is a head that stays the same (labels, and in 2.0 metadata and start time), a value, and a time that
all series share: a request is written by putting the three together, for all series at once.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
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
_Key = tuple[_Shape, str, int]
_MOST_KEYS: Final = 4096
_EXEMPLARS: Final = frozenset({Kind.COUNTER, Kind.HISTOGRAM, Kind.NATIVE_HISTOGRAM})
_STARTED: Final = _EXEMPLARS


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
        self._keys: dict[_Key, _Key] = {}

    def encode(self, chunks: list[Chunk]) -> Request:
        """Write one request."""
        self._begin(chunks)
        request = Request(b"", 0)
        pieces: list[bytes] = []
        made = [self._heads(chunk) for chunk in chunks]
        for chunk, heads in zip(chunks, made, strict=True):
            if chunk.family.kind is Kind.NATIVE_HISTOGRAM:
                self._write_histograms(chunk, heads, pieces, request)
            else:
                self._write_samples(chunk, heads, pieces, request)
            request.points += 0 if chunk.family.kind is Kind.INFO else len(chunk.points)
        request.body = b"".join((self._opening(chunks), *pieces))
        return request

    def encode_gone(self, gone: list[tuple[GoneSeries, Series]], timestamp: int) -> Request:
        """Write the markers of series that have ended, at a time in milliseconds."""
        self._begin([])
        pieces: list[bytes] = []
        request = Request(b"", 0)
        size = len(wire.int64(timestamp))
        tail = wire.STALE + b"\x10" + wire.int64(timestamp)
        for ended, series in gone:
            for labels in _lines(ended.name, ended.kind, series.labels, series.encoded[0][0]):
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
        return  # version 1.0 keeps everything at the series

    # --- what the versions differ in ---------------------------------------------------------------------------------

    @abstractmethod
    def _begin(self, chunks: list[Chunk]) -> None:
        """Begin a request."""

    @abstractmethod
    def _opening(self, chunks: list[Chunk]) -> bytes:
        """Return what stands beside the series."""

    @abstractmethod
    def _before(self, labels: Labels, kind: Kind, help_text: str, unit: str) -> bytes:
        """Return the fields of a series that do not depend on its points."""

    @abstractmethod
    def _kept_heads(self, chunk: Chunk) -> _Heads | None:
        """Return the heads that were made of this chunk's series, if they are kept."""

    @abstractmethod
    def _keep_heads(self, chunk: Chunk, heads: _Heads) -> None:
        """Keep heads for the next export."""

    @abstractmethod
    def _exemplar_labels(self, labels: Labels) -> bytes:
        """Return the labels of an exemplar."""

    def _start(self, point: Any) -> bytes:  # noqa: ARG002 - version 1.0 has none
        """Return the field with the start time of a point."""
        return b""

    def _starts(self, chunk: Chunk) -> list[int | None] | None:  # noqa: ARG002 - version 1.0 has none
        """Return the start times that the heads of a chunk contain."""
        return None

    # --- heads -------------------------------------------------------------------------------------------------------

    def _heads(self, chunk: Chunk) -> _Heads:
        """Return the heads of a chunk's series."""
        family, points = chunk.family, chunk.points
        shapes: list[_Shape] | None = None
        if family.kind is Kind.HISTOGRAM:
            shapes = [(point.explicit_bounds, point.sum is not None) for point in points]
        times = [point.time_unix_nano for point in points]
        same_time = times.count(times[0]) == len(times)
        size = len(wire.int64(wire.milliseconds(times[0])))
        starts = self._starts(chunk)
        heads = self._kept_heads(chunk)
        if (
            heads is not None
            and same_time
            and (heads.size, heads.shapes, heads.starts) == (size, shapes, starts)
            and heads.described == (family.name, family.help, family.unit)
        ):
            return heads
        described = family.name, family.help, family.unit
        heads = _Heads(size if same_time else 0, shapes, starts, described, [])
        series = chunk.set.series[chunk.start : chunk.stop]
        for place, (one, point) in enumerate(zip(series, points, strict=True)):
            shape = None if shapes is None else shapes[place]
            if not same_time:
                size = len(wire.int64(wire.milliseconds(point.time_unix_nano)))
            heads.series.append(self._series_heads(family, one, shape, point, size))
        if same_time:
            self._keep_heads(chunk, heads)
        return heads

    def _series_heads(self, family: Family, series: Series, shape: _Shape, point: Any, size: int) -> tuple[bytes, ...]:
        """Return the heads of one series: one for each sample of a point."""
        lines = _lines(family.name, family.kind, series.labels, shape)
        befores = [self._before(labels, family.kind, family.help, family.unit) for labels in lines]
        series.encoded = self._key(shape, family.name, size), ()
        if family.kind is Kind.NATIVE_HISTOGRAM:
            return tuple(befores)
        start = self._start(point) if family.kind in _STARTED else b""
        return tuple(self._head(before, start, size) for before in befores)

    def _key(self, *key: Any) -> _Key:  # of a _Key's types
        """Return what the heads of a series depend on beside its labels: one object for all that are alike."""
        if len(self._keys) >= _MOST_KEYS:
            self._keys.clear()
        return self._keys.setdefault(key, key)

    def _head(self, before: bytes, start: bytes, size: int) -> bytes:
        """Return a series up to the value of its sample, whose timestamp takes so many bytes."""
        sample = len(start) + 10 + size
        return b"".join(
            (self._series_tag, VARINTS[len(before) + 2 + sample], before, b"\x12", VARINTS[sample], start, b"\x09")
        )

    def _histogram_series(self, before: bytes, histogram: bytes) -> bytes:
        content = before + self._histogram_tag + VARINTS[len(histogram)] + histogram
        return self._series_tag + VARINTS[len(content)] + content

    # --- points ------------------------------------------------------------------------------------------------------

    def _write_samples(self, chunk: Chunk, heads: _Heads, pieces: list[bytes], request: Request) -> None:
        points = chunk.points
        if chunk.family.kind is Kind.HISTOGRAM:
            values = list(chain.from_iterable(map(_histogram_values, points)))
        else:
            values = [point.value for point in points]
        flat = list(chain.from_iterable(heads.series))
        if heads.size:
            tail = b"\x10" + wire.int64(wire.milliseconds(points[0].time_unix_nano))
            tails = [tail] * len(flat)
        else:
            tails = [
                b"\x10" + wire.int64(wire.milliseconds(point.time_unix_nano))
                for point, own in zip(points, heads.series, strict=True)
                for _ in own
            ]
        if chunk.family.kind in _EXEMPLARS:
            self._add_exemplars(chunk, heads, flat, request)
        series: list[bytes] = [b""] * (3 * len(flat))
        series[0::3] = flat
        series[1::3] = chain.from_iterable(iter_unpack("8s", wire.doubles(values)))
        series[2::3] = tails
        pieces += series
        request.samples += len(flat)

    def _write_histograms(self, chunk: Chunk, heads: _Heads, pieces: list[bytes], request: Request) -> None:
        for point, (before,) in zip(chunk.points, heads.series, strict=True):
            try:
                histogram = wire.histogram(point, self._start(point))
            except TranslationError as error:
                request.problems.append(Problem(chunk.family.name, 1, str(error)))
                request.points -= 1
                continue
            exemplars = [self._exemplar(exemplar) for exemplar in point.exemplars]
            request.exemplars += len(exemplars)
            pieces.append(self._histogram_series(b"".join((before, *exemplars)), histogram))
            request.histograms += 1

    def _add_exemplars(self, chunk: Chunk, heads: _Heads, flat: list[bytes], request: Request) -> None:
        """Put the exemplars of points into the heads of their samples."""
        sampled = [place for place, point in enumerate(chunk.points) if point.exemplars]
        if not sampled:
            return
        ends = list(accumulate(map(len, heads.series), initial=0))
        for place in sampled:
            point = chunk.points[place]
            for exemplar in point.exemplars:
                at = ends[place]
                if chunk.family.kind is Kind.HISTOGRAM:
                    at += sum(bound < exemplar.value for bound in point.explicit_bounds)
                flat[at] = _longer(flat[at], self._exemplar(exemplar))
                request.exemplars += 1

    def _exemplar(self, exemplar: Exemplar) -> bytes:
        """Return an exemplar as a field of a series."""
        labels = self._exemplar_labels(self._label_maker.exemplar(exemplar))
        numbers = b"\x11" + wire.doubles([exemplar.value])
        when = b"\x18" + wire.int64(wire.milliseconds(exemplar.time_unix_nano))
        content = labels + numbers + when
        return self._exemplar_tag + VARINTS[len(content)] + content


@dataclass(slots=True)
class _Heads:
    """The heads of a chunk's series, and what they were made for: everything that they depend on."""

    size: int
    """Bytes of the points' timestamp; 0 if they have several."""
    shapes: list[_Shape] | None
    starts: list[int | None] | None
    described: tuple[str, str, str]
    series: list[tuple[bytes, ...]]


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

    def _begin(self, chunks: list[Chunk]) -> None:  # noqa: ARG002 - version 2.0 has symbols of them
        if self._monotonic() - self._told_at >= _METADATA_SECONDS:
            self._told = {}
            self._told_at = self._monotonic()

    def _opening(self, chunks: list[Chunk]) -> bytes:
        metadata: list[bytes] = []
        for chunk in chunks:
            family = chunk.family
            said = family.kind, family.help, family.unit
            if self._told.get(family.name) == said:
                continue
            self._told[family.name] = said
            texts = field(2, family.name.encode()) + field(4, family.help.encode()) + field(5, family.unit.encode())
            metadata.append(field(3, b"\x08" + VARINTS[wire.TYPES[family.kind]] + texts))
        return b"".join(metadata)

    def _before(self, labels: Labels, kind: Kind, help_text: str, unit: str) -> bytes:  # noqa: ARG002 - of metadata
        return wire.label_fields(labels)

    def _series_heads(self, family: Family, series: Series, shape: _Shape, point: Any, size: int) -> tuple[bytes, ...]:
        """Return the heads of one series, which stay the same while its bounds and its name do."""
        key = self._key(shape, family.name, size)
        if series.encoded is not None and series.encoded[0] == key and series.encoded[1]:
            kept: tuple[bytes, ...] = series.encoded[1]
            return kept
        heads = super()._series_heads(family, series, shape, point, size)
        series.encoded = key, heads
        return heads

    def _kept_heads(self, chunk: Chunk) -> _Heads | None:
        kept: dict[tuple[int, int], _Heads] = chunk.set.encoded or {}
        return kept.get((chunk.start, chunk.stop))

    def _keep_heads(self, chunk: Chunk, heads: _Heads) -> None:
        if chunk.set.encoded is None or len(chunk.points) == len(chunk.set.series):
            chunk.set.encoded = {}
        chunk.set.encoded[chunk.start, chunk.stop] = heads

    def _exemplar_labels(self, labels: Labels) -> bytes:
        return wire.label_fields(labels)


class _Symbols:
    """The symbols of one request, and the heads that refer to them."""

    def __init__(self, sets: list[SeriesSet]) -> None:
        self.sets = sets  # kept, so that nothing else gets their identity
        self.numbers: dict[str, int] = {"": 0}
        self.heads: dict[tuple[int, int, int], _Heads] = {}
        self._encoded = b""
        self._count = 0

    def number(self, text: str) -> int:
        """Return the number of a symbol."""
        return self.numbers.setdefault(text, len(self.numbers))

    def encoded(self) -> bytes:
        """Return the symbols as fields."""
        if self._count != len(self.numbers):
            self._encoded = b"".join(field(4, symbol.encode()) for symbol in self.numbers)
            self._count = len(self.numbers)
        return self._encoded


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
        self._symbols = _Symbols([])
        self._passing: dict[str, int] = {}  # symbols of exemplars, which no other request has
        self._kept: dict[tuple[tuple[int, int, int], ...], _Symbols] = {}
        self._used: dict[tuple[tuple[int, int, int], ...], _Symbols] = {}

    def end_export(self) -> None:
        """Forget the symbols of requests that the last export did not make."""
        self._kept, self._used = self._used, {}

    def _begin(self, chunks: list[Chunk]) -> None:
        key = tuple(map(_chunk_key, chunks))
        self._symbols = self._kept.get(key) or _Symbols([chunk.set for chunk in chunks])
        self._used[key] = self._symbols
        self._passing = {}

    def _opening(self, chunks: list[Chunk]) -> bytes:  # noqa: ARG002 - metadata is at the series
        passing = b"".join(field(4, symbol.encode()) for symbol in self._passing)
        return self._symbols.encoded() + passing

    def _before(self, labels: Labels, kind: Kind, help_text: str, unit: str) -> bytes:
        number = self._symbols.number
        references = b"".join([VARINTS[number(text)] for text in chain.from_iterable(labels)])
        metadata = [b"\x08", VARINTS[wire.TYPES[kind]]]
        if help_text:
            metadata += [b"\x18", VARINTS[number(help_text)]]
        if unit:
            metadata += [b"\x20", VARINTS[number(unit)]]
        return field(1, references) + field(5, b"".join(metadata))

    def _kept_heads(self, chunk: Chunk) -> _Heads | None:
        return self._symbols.heads.get(_chunk_key(chunk))

    def _keep_heads(self, chunk: Chunk, heads: _Heads) -> None:
        self._symbols.heads[_chunk_key(chunk)] = heads

    def _start(self, point: Any) -> bytes:
        start = wire.milliseconds(point.start_time_unix_nano)
        return b"\x18" + wire.int64(start) if start else b""

    def _starts(self, chunk: Chunk) -> list[int | None] | None:
        if chunk.family.kind in {Kind.COUNTER, Kind.HISTOGRAM}:
            return [point.start_time_unix_nano for point in chunk.points]
        return None

    def _exemplar_labels(self, labels: Labels) -> bytes:
        numbers, passing = self._symbols.numbers, self._passing
        references: list[bytes] = []
        for text in chain.from_iterable(labels):
            number = numbers.get(text)
            if number is None:
                number = passing.setdefault(text, len(numbers) + len(passing))
            references.append(VARINTS[number])
        return field(1, b"".join(references)) if references else b""


def _chunk_key(chunk: Chunk) -> tuple[int, int, int]:
    return id(chunk.set), chunk.start, chunk.stop


def _lines(name: str, kind: Kind, labels: Labels, shape: _Shape) -> list[Labels]:
    """Return the labels of each sample of a point: those of buckets first, then count and sum."""
    if kind is not Kind.HISTOGRAM or shape is None:
        return [_sorted(labels, (_NAME, name))]
    bounds, has_sum = shape
    if any(label == "le" for label, _ in labels):
        labels = tuple(("exported_le" if label == "le" else label, value) for label, value in labels)
    lines = [_sorted(labels, (_NAME, f"{name}_bucket"), ("le", le)) for le in bucket_bounds(bounds)]
    lines.append(_sorted(labels, (_NAME, f"{name}_count")))
    if has_sum:
        lines.append(_sorted(labels, (_NAME, f"{name}_sum")))
    return lines


def _sorted(labels: Labels, *further: tuple[str, str]) -> Labels:
    return tuple(sorted((*labels, *further)))


def _histogram_values(point: Any) -> list[float]:  # a HistogramDataPoint
    values: list[float] = [*cumulative_counts(point), point.count]
    if point.sum is not None:
        values.append(point.sum)
    return values


def _longer(head: bytes, more: bytes) -> bytes:
    """Return the head of a series with more fields in it, which its length has to count."""
    end, length = 1, head[1] & 127
    while head[end] > 127:  # noqa: PLR2004 - the last byte of a length has no continuation bit
        length |= (head[end + 1] & 127) << 7 * end
        end += 1
    return head[:1] + VARINTS[length + len(more)] + more + head[end + 1 :]
