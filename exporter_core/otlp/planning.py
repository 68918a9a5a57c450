"""Metrics data to the encoded parts of a request, with what the last encoding left reused where it still holds."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import chain
from operator import is_
from typing import TYPE_CHECKING, Any

from exporter_core.otlp.attributes import AttributeWriter, Stability
from exporter_core.otlp.request import Frame, Level, ListedPoints, Points, Run
from exporter_core.otlp.series import Series
from exporter_core.otlp.wire import UnencodableError, short, utf8

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics

    from exporter_core.otlp.formats import Format, Kind, Tails

_NOT_ALIKE = (ValueError, OverflowError, TypeError, AttributeError, struct.error)
_UNREADABLE = (ValueError, TypeError, AttributeError)
_FEW = 4  # fewer points are written faster one by one
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class DroppedPoint:
    """A data point that was left out because the format cannot hold it: its metric's name, and why."""

    metric: str
    reason: str


class Kept:
    """What one encoding leaves for the next. Replaced as a whole, never changed once it is built.

    Attributes:
        series: the encoded attributes, by resource, scope and metric.
        frames: the encoded frames, with the immutable values that they were made of.
    """

    __slots__ = ("frames", "series")

    def __init__(self) -> None:
        self.series: dict[Key, Series] = {}
        self.frames: dict[Key, tuple[Key, Frame]] = {}


class Plan:
    """Metrics data, encoded but not yet laid out.

    Args:
        metrics: the data.
        form: the encoding.
        kept: what the last encoding left.
        trusted: whether an identical attribute mapping is taken to be unchanged.
        room: of how many series the attributes may be kept.

    Attributes:
        request: the whole of it.
        kept: what is left for the next encoding.
        dropped: the points that the format cannot hold.
        omitted: resource and scope attributes that it cannot hold, a line each.
    """

    def __init__(self, metrics: MetricsData, form: Format, kept: Kept, *, trusted: bool, room: int) -> None:
        self._form, self._old, self._trusted, self._room = form, kept, trusted, room
        self.kept = Kept()
        self.dropped: list[DroppedPoint] = []
        self.omitted: list[str] = []
        self._met: dict[Key, int] = {}
        self.request = Level(form.request)
        for position, resource_metrics in enumerate(metrics.resource_metrics):
            self.request.parts.append(self._resource((position,), resource_metrics))

    def _resource(self, key: Key, data: ResourceMetrics) -> Level:
        url = data.resource.schema_url or data.schema_url
        attributes = self._items("resource", data.resource.attributes)

        def make() -> tuple[Frame, Stability]:
            encoded, stability = self._attributes("resource", attributes, self._form.resource_attributes)
            return self._form.resource(encoded, self._text("resource: schema_url", url)), stability

        level = Level(self._frame(key, (url, *chain.from_iterable(attributes.items())), make))
        for position, scope_metrics in enumerate(data.scope_metrics):
            level.parts.append(self._scope((*key, position), scope_metrics))
        return level

    def _scope(self, key: Key, data: ScopeMetrics) -> Level:
        scope: Any = data.scope  # None, too, in hand-made data
        if scope is None:
            name, version, url = None, None, data.schema_url
        else:
            name, version, url = scope.name, scope.version, scope.schema_url or data.schema_url
        what = f"scope {short(name)}"
        attributes = {} if scope is None else self._items(what, scope.attributes)

        def make() -> tuple[Frame, Stability]:
            if scope is None:
                return self._form.scope(None, self._text("scope: schema_url", url)), Stability.IDENTITY
            encoded, stability = self._attributes(what, attributes, self._form.scope_attributes)
            texts = self._text(f"{what}: name", name), self._text(f"{what}: version", version)
            return self._form.scope((*texts, encoded), self._text("scope: schema_url", url)), stability

        proof = (scope is None, name, version, url, *chain.from_iterable(attributes.items()))
        level = Level(self._frame(key, proof, make))
        for metric in data.metrics:
            # The kind of the data, too: the same attributes are encoded otherwise for another.
            named = self._numbered((key[0], _hashable(name), _hashable(metric.name), type(metric.data)))
            run = self._metric(named, metric)
            if run is not None:
                level.parts.append(run)
        return level

    def _frame(self, key: Key, proof: Key, make: Callable[[], tuple[Frame, Stability]]) -> Frame:
        """The frame of the last encoding if it was made of the same things, else one made anew."""
        old = self._old.frames.get(key)
        if old is not None and _unchanged(old[0], proof):
            self.kept.frames[key] = old
            return old[1]
        omitted = len(self.omitted)
        frame, stability = make()
        if stability is Stability.IDENTITY and len(self.omitted) == omitted:
            self.kept.frames[key] = proof, frame
        return frame

    def _numbered(self, key: Key) -> Key:
        """A key of its own for each metric, also where several have one name in scopes of one name."""
        self._met[key] = number = self._met.get(key, 0) + 1
        return (*key, number)

    def _metric(self, key: Key, metric: Metric) -> Run | None:
        data = metric.data
        kind = self._form.kinds.get(type(data))
        if kind is None:
            self._drop(metric, f"data of type {type(data).__name__} has no OTLP form")
            return None
        points = data.data_points
        try:
            frame = self._metric_frame(key, metric)
        except _UNREADABLE as error:
            for _ in points:
                self._drop(metric, str(error))
            return None
        encoded = self._points(key, kind, metric, points) if points else ListedPoints([], b"")
        if points and not len(encoded):
            return None
        return Run(metric.name, frame, encoded, 0, len(encoded))

    def _metric_frame(self, key: Key, metric: Metric) -> Frame:
        data: Any = metric.data  # of any kind; what it does not have is None
        proof = (
            type(data),
            metric.name,
            metric.description,
            metric.unit,
            getattr(data, "aggregation_temporality", None),
            getattr(data, "is_monotonic", None),
        )
        return self._frame(key, proof, lambda: (self._form.metric(metric), Stability.IDENTITY))

    def _points(self, key: Key, kind: Kind, metric: Metric, points: Sequence[Any]) -> Points:
        tails = self._tails(kind, points)
        old = self._old.series.get(key)
        length = None if tails is None else tails.length
        series = Series.of(points, kind.attributes, old, trusted=self._trusted, tail=length)
        if len(points) <= self._room:
            self._room -= len(points)
            self.kept.series[key] = series
        if tails is not None and not series.errors:
            return tails.points(series)
        return self._one_by_one(kind, metric, points, series)

    @staticmethod
    def _tails(kind: Kind, points: Sequence[Any]) -> Tails | None:
        """The tails of all points at once; None where they are not alike in shape, or one cannot be encoded."""
        if len(points) < _FEW:
            return None
        try:
            return None if [1 for point in points if point.exemplars] else kind.tails(points)
        except _NOT_ALIKE:
            return None

    def _one_by_one(self, kind: Kind, metric: Metric, points: Sequence[Any], series: Series) -> ListedPoints:
        encoded: list[bytes] = []
        form = self._form
        for position, (point, body) in enumerate(zip(points, series.bodies(), strict=True)):
            if body is None:
                self._drop(metric, series.errors[position])
                continue
            try:
                tail = kind.tail(point, form.exemplar_attributes)
            except _UNREADABLE as error:
                self._drop(metric, str(error))
                continue
            encoded.append(form.point(body, tail))
        return ListedPoints(encoded, form.separator)

    def _items(self, what: str, attributes: Any) -> dict[Any, Any]:  # a mapping, or what stands in its place
        try:
            return dict(attributes or {})
        except _UNREADABLE as error:
            self.omitted.append(f"{what}: attributes are not a readable mapping: {error}")
            return {}

    def _attributes(self, what: str, attributes: dict[Any, Any], writer: AttributeWriter) -> tuple[bytes, Stability]:
        try:
            return writer.write(attributes)
        except UnencodableError:
            pass  # attribute by attribute below
        good = {}
        for key, value in attributes.items():
            try:
                writer.write({key: value})
            except UnencodableError as error:
                self.omitted.append(f"{what}: {error}")
            else:
                good[key] = value
        return writer.write(good)

    def _text(self, what: str, text: str | None) -> str:
        try:
            if text:
                utf8(text)
        except UnencodableError as error:
            self.omitted.append(f"{what}: {error}")
            return ""
        return text or ""

    def _drop(self, metric: Metric, reason: str) -> None:
        self.dropped.append(DroppedPoint(metric.name, reason))


def _unchanged(old: Key, proof: Key) -> bool:
    """Whether these are the same immutable things, or equal texts."""
    if len(old) != len(proof):
        return False
    return all(map(is_, old, proof)) or all(
        one is other or (type(one) is str and type(other) is str and one == other)
        for one, other in zip(old, proof, strict=True)
    )


def _hashable(name: object) -> str | None:
    """A name for a key; anything but a text will be refused when it is encoded."""
    return name if isinstance(name, str) else None
