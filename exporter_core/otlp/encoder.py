"""Metrics data to a serialized OTLP `ExportMetricsServiceRequest`, with a cache of what stays the same.

Source: opentelemetry-proto, `opentelemetry/proto/metrics/v1/metrics.proto`. Where the official Python encoder loses
information (a gauge's start time, the kind of a metric without points), this one sends it.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    Gauge,
    Histogram,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)

from exporter_core.otlp.attributes import AttributeWriter
from exporter_core.otlp.points import (
    Tails,
    exponential_tail,
    histogram_tail,
    histogram_tails,
    number_tail,
    number_tails,
)
from exporter_core.otlp.series import Series
from exporter_core.otlp.wire import HEADS, UnencodableError, field, short, text_field, varint

_exemplars = attrgetter("exemplars")
_NO_TAILS = (struct.error, OverflowError, TypeError, AttributeError)
_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class DroppedPoint:
    """A data point that was left out because the format cannot hold it: its metric's name, and why."""

    metric: str
    reason: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """A serialized request.

    Attributes:
        data: the bytes of an `ExportMetricsServiceRequest`.
        points: the number of data points inside.
        dropped: the points that the format cannot hold.
        omitted: resource and scope attributes that it cannot hold, a line each; their points were sent.
    """

    data: bytes
    points: int
    dropped: tuple[DroppedPoint, ...] = ()
    omitted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of metric data is written: field numbers of `Metric` and of its points, and the points' encoders."""

    number: int
    attributes: AttributeWriter
    tail: Callable[[Any, AttributeWriter], bytes]  # takes its own kind of point
    tails: Callable[[Sequence[Any]], Tails | None]  # takes its own kind of points


def encode(metrics: MetricsData) -> bytes:
    """Metrics as a serialized `ExportMetricsServiceRequest`. What the format cannot hold is left out.

    Use an `Encoder` to encode more than once, and to learn what was left out.
    """
    return Encoder(max_series=0).encode(metrics).data


class Encoder:
    """Encodes metrics again and again; what it encoded last time is reused where the data proves to be unchanged.

    Safe to use from many threads at once. A series that an export does not contain is forgotten with it.

    Args:
        trusted: trust that an attribute mapping never changes once it was encoded, as those of the SDK never do, and
            recognise it by identity alone. The default compares mappings by content (type and value) at every export.
        max_series: of how many series the attributes are kept.
    """

    def __init__(self, *, trusted: bool = False, max_series: int = 100_000) -> None:
        self._trusted = trusted
        self._max_series = max_series
        self._exemplar_attributes = AttributeWriter(7)
        number, histogram, exponential = AttributeWriter(7), AttributeWriter(9), AttributeWriter(1)
        self._kinds: dict[type, _Kind] = {
            Gauge: _Kind(5, number, number_tail, number_tails),
            Sum: _Kind(7, number, number_tail, number_tails),
            Histogram: _Kind(9, histogram, histogram_tail, histogram_tails),
            ExponentialHistogram: _Kind(10, exponential, exponential_tail, lambda _points: None),
        }
        self._resource_attributes = AttributeWriter(1)
        self._scope_attributes = AttributeWriter(3)
        # Replaced as a whole at the end of an encoding, never changed: threads need no lock, and what one export
        # does not contain is gone.
        self._series: dict[_Key, Series] = {}

    @property
    def cached_series(self) -> int:
        """The number of series whose attributes are kept."""
        return sum(len(series.bodies) for series in self._series.values())

    def encode(self, metrics: MetricsData) -> Encoded:
        """Metrics as a serialized `ExportMetricsServiceRequest`, and what the format could not hold."""
        return _Request(self, metrics).encoded()


class _Request:
    """One encoding in progress."""

    def __init__(self, encoder: Encoder, metrics: MetricsData) -> None:
        self._encoder = encoder
        self._old = encoder._series
        self._new: dict[_Key, Series] = {}
        self._room = encoder._max_series
        self._points = 0
        self._dropped: list[DroppedPoint] = []
        self._omitted: list[str] = []
        chunks: list[bytes] = []
        for position, resource_metrics in enumerate(metrics.resource_metrics):
            chunks += _message(1, self._resource(position, resource_metrics))
        self._data = b"".join(chunks)
        encoder._series = self._new

    def encoded(self) -> Encoded:
        return Encoded(self._data, self._points, tuple(self._dropped), tuple(self._omitted))

    def _resource(self, position: int, data: ResourceMetrics) -> list[bytes]:
        writer = self._encoder._resource_attributes
        attributes = self._attributes("resource", data.resource.attributes, writer)
        chunks = [field(1, attributes)]
        for scope_metrics in data.scope_metrics:
            chunks += _message(2, self._scope(position, scope_metrics))
        chunks.append(self._text("resource: schema_url", 3, data.resource.schema_url or data.schema_url))
        return chunks

    def _scope(self, resource: int, data: ScopeMetrics) -> list[bytes]:
        scope = data.scope
        chunks = []
        url = data.schema_url
        name = None
        if scope is not None:
            name = scope.name
            what = f"scope {short(name)}"
            writer = self._encoder._scope_attributes
            header = (
                self._text(f"{what}: name", 1, name),
                self._text(f"{what}: version", 2, scope.version),
                self._attributes(what, scope.attributes, writer),
            )
            chunks.append(field(1, b"".join(header)))
            url = scope.schema_url or url
        for metric in data.metrics:
            key: _Key = (resource, name, metric.name)
            while key in self._new:
                key = (*key, None)
            chunks += self._metric(key, metric)
        chunks.append(self._text("scope: schema_url", 3, url))
        return chunks

    def _metric(self, key: _Key, metric: Metric) -> list[bytes]:
        data = metric.data
        kind = self._encoder._kinds.get(type(data))
        if kind is None:
            self._drop(metric, f"data of type {type(data).__name__} has no OTLP form")
            return []
        points = data.data_points
        try:
            header = text_field(1, metric.name) + text_field(2, metric.description) + text_field(3, metric.unit)
            settings = _settings(data)
        except UnencodableError as error:
            for _ in points:
                self._drop(metric, str(error))
            return []
        body: list[bytes] = []
        if points:
            series = Series.of(points, kind.attributes, self._old.get(key), trusted=self._encoder._trusted)
            if len(points) <= self._room:
                self._room -= len(points)
                self._new[key] = series
            encoded = self._alike(kind, points, series)
            body = [self._one_by_one(kind, metric, points, series) if encoded is None else encoded]
            if not body[0]:
                return []
        return _message(2, [header, *_message(kind.number, [*body, settings])])

    def _alike(self, kind: _Kind, points: Sequence[Any], series: Series) -> bytes | None:
        """All points at once; None where they are not alike in shape, or one cannot be encoded."""
        if series.errors:
            return None
        try:
            if any(map(_exemplars, points)):
                return None
            tails = kind.tails(points)
        except _NO_TAILS:
            return None
        if tails is None:
            return None
        stride = 4 if tails.shared else 3
        parts: list[bytes | None] = [tails.shared] * (len(points) * stride)
        parts[0::stride] = series.heads(tails.length)
        parts[1::stride] = series.bodies
        parts[2::stride] = tails.own
        self._points += len(points)
        return b"".join(parts)  # type: ignore[arg-type] # bodies are None only where there are errors

    def _one_by_one(self, kind: _Kind, metric: Metric, points: Sequence[Any], series: Series) -> bytes:
        parts: list[bytes] = []
        errors = series.errors
        tail_of, exemplars = kind.tail, self._encoder._exemplar_attributes
        for position, (point, body) in enumerate(zip(points, series.bodies, strict=True)):
            if body is None:
                self._drop(metric, errors[position])
                continue
            try:
                tail = tail_of(point, exemplars)
            except (ValueError, TypeError, AttributeError) as error:
                self._drop(metric, str(error))
                continue
            parts += HEADS[len(body) + len(tail)], body, tail
            self._points += 1
        return b"".join(parts)

    def _attributes(self, what: str, attributes: Mapping[str, Any] | None, writer: AttributeWriter) -> bytes:
        try:
            return writer.write(attributes)[0]
        except UnencodableError:
            pass  # attribute by attribute below
        parts = []
        for key, value in (attributes or {}).items():
            try:
                parts.append(writer.write({key: value})[0])
            except UnencodableError as error:
                self._omitted.append(f"{what}: {error}")
        return b"".join(parts)

    def _text(self, what: str, number: int, text: str | None) -> bytes:
        try:
            return text_field(number, text)
        except UnencodableError as error:
            self._omitted.append(f"{what}: {error}")
            return b""

    def _drop(self, metric: Metric, reason: str) -> None:
        self._dropped.append(DroppedPoint(metric.name, reason))


def _settings(data: Any) -> bytes:  # the data of any kind of metric
    parts = b""
    if not isinstance(data, Gauge):
        parts = b"\x10" + varint(int(data.aggregation_temporality))
    if isinstance(data, Sum) and data.is_monotonic:
        parts += b"\x18\x01"
    return parts


def _message(number: int, chunks: Iterable[bytes]) -> list[bytes]:
    """A length-delimited field of what these chunks make together, which are not joined yet."""
    content = list(chunks)
    return [varint(number << 3 | 2), varint(sum(map(len, content))), *content]
