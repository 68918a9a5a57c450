"""Metrics data to a layout and the numbers that fill it; what has not changed since the last time is reused."""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate, chain
from math import isqrt
from operator import is_
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes

from exporter_core.otlp.parts import UNREADABLE, Identity, Part, all_hold, identity
from exporter_core.otlp.request import Frame, Layout, Level, Numbers, Run
from exporter_core.otlp.wire import UnencodableError, short, utf8

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics

    from exporter_core.otlp.attributes import AttributeWriter
    from exporter_core.otlp.formats import Format
    from exporter_core.otlp.shapes import Shape

_NOT_ALIKE = (ValueError, KeyError, OverflowError, TypeError, AttributeError, struct.error)
_Values = tuple[object, ...]
_NO_NUMBERS: tuple[int | None, int] = None, 0
_Groups = list[tuple["Shape", list[int]]]


@dataclass(frozen=True, slots=True)
class DroppedPoint:
    """A data point that was left out because the format cannot hold it: its metric's name, and why."""

    metric: str
    reason: str


@dataclass(slots=True)
class Kept:
    """The memory of one encoding for the next. Replaced as a whole, never changed once it is built.

    Attributes:
        parts: the metrics as they were encoded, in order.
        frames: the frames of resources and scopes, with the immutable values that they were made of.
        outline: the frames of resources and scopes in order, each with the number of metrics before it.
        groups: the shapes, each with the places of its parts.
        layout: the request but for the numbers; None if something else can change in it, too.
    """

    parts: list[Part] = field(default_factory=list)
    frames: dict[_Values, tuple[_Values, Frame]] = field(default_factory=dict)
    outline: list[tuple[Frame, int]] = field(default_factory=list)
    groups: _Groups = field(default_factory=list)
    layout: Layout | None = None


class Plan:
    """Metrics data, encoded but not yet written.

    Args:
        metrics: the data.
        form: the encoding.
        kept: what the last encoding left.
        trusted: take an identical attribute mapping to be unchanged.
        room: of how many series the attributes may be kept.

    Attributes:
        kept: what is left for the next encoding.
        layout: the request but for the numbers.
        numbers: the numbers of all points, by group.
        dropped: the points that the format cannot hold.
        omitted: resource and scope attributes that it cannot hold, a line each.
    """

    def __init__(self, metrics: MetricsData, form: Format, kept: Kept, *, trusted: bool, room: int) -> None:
        self._form, self._old, self._trusted = form, kept, trusted
        self.dropped: list[DroppedPoint] = []
        self.omitted: list[str] = []
        # One item a metric: its points, and its part, which the last encoding may have left.
        self._points: list[Sequence[Any]] = []
        self._parts: list[Part] = []
        self._left: list[int] = []  # the places of those parts
        self._next = 0  # the place of the next metric in the last encoding, if nothing has changed
        self._places: dict[_Values, list[int]] | None = None
        self._frames: dict[_Values, tuple[_Values, Frame]] = {}
        self._outline: list[tuple[Frame, int]] = []
        self._scopes: list[tuple[Level, int, int]] = []
        self._request = Level(form.request)
        for position, resource_metrics in enumerate(metrics.resource_metrics):
            self._resource((position,), resource_metrics)
        holding = self._holding(self._left)
        if len(holding) != len(self._left):
            for place in sorted(set(self._left).difference(holding)):
                self._rebuild(place)
        self._varied: dict[int, list[bytes]] = {}
        self._groups, self.numbers = self._numbered()
        self.layout, self.kept = self._laid_out(room)

    def request(self) -> Level:
        """The request as levels around runs of points."""
        placed: dict[int, tuple[int | None, int]] = {}
        for group, (_, members) in enumerate(self._groups):
            at = 0
            for place in members:
                placed[place] = group, at
                at += len(self._points[place])
        for level, start, stop in self._scopes:
            level.parts = []
            for place in range(start, stop):
                part = self._parts[place]
                pieces, size = part.pieces, part.size
                if place in self._varied:
                    pieces = self._varied[place]
                    size += sum(map(len, pieces)) - sum(map(len, part.pieces))
                if pieces or not part.sources:
                    numbers = placed.get(place, _NO_NUMBERS)
                    level.parts.append(Run(part.said[1], part.frame, pieces, size, *numbers))
        return self._request

    def _resource(self, key: _Values, data: ResourceMetrics) -> None:
        url = data.resource.schema_url or data.schema_url
        attributes = self._items("resource", data.resource.attributes)

        def make() -> tuple[Frame, bool]:
            encoded, immutable = self._attributes("resource", attributes, self._form.resource_attributes)
            return self._form.resource(encoded, self._text("resource: schema_url", url)), immutable

        level = Level(self._frame(key, (url,), attributes, make))
        self._request.parts.append(level)
        for position, scope_metrics in enumerate(data.scope_metrics):
            level.parts.append(self._scope((*key, position), scope_metrics))

    def _scope(self, key: _Values, data: ScopeMetrics) -> Level:
        scope: Any = data.scope  # None, too, in hand-made data
        if scope is None:
            name, version, url = None, None, data.schema_url
        else:
            name, version, url = scope.name, scope.version, scope.schema_url or data.schema_url
        attributes = {} if scope is None else self._items("scope", scope.attributes)

        def make() -> tuple[Frame, bool]:
            if scope is None:
                return self._form.scope(None, self._text("scope: schema_url", url)), True
            what = f"scope {short(name)}"
            encoded, immutable = self._attributes(what, attributes, self._form.scope_attributes)
            texts = self._text(f"{what}: name", name), self._text(f"{what}: version", version)
            return self._form.scope((*texts, encoded), self._text("scope: schema_url", url)), immutable

        level = Level(self._frame(key, (scope is None, name, version, url), attributes, make))
        start = len(self._parts)
        expected = self._old.parts[self._next : self._next + len(data.metrics)]
        if not all(map(Part.describes, expected, data.metrics)):
            expected = []  # one after the other
        self._next += len(expected)
        self._left += range(start, start + len(expected))
        self._parts += expected
        self._points += [metric.data.data_points for metric in data.metrics[: len(expected)]]
        for metric in data.metrics[len(expected) :]:
            self._metric(_hashable(name), metric)
        self._scopes.append((level, start, len(self._parts)))
        return level

    def _frame(
        self, key: _Values, values: _Values, attributes: dict[Any, Any], make: Callable[[], tuple[Frame, bool]]
    ) -> Frame:
        """The frame of the last encoding if it was made of the same things, else one made anew."""
        proof = (*values, *attributes, *attributes.values())
        old = self._old.frames.get(key)
        if old is not None and _unchanged(old[0], proof):
            self._frames[key] = old
            frame = old[1]
        else:
            omitted = len(self.omitted)
            frame, immutable = make()
            if len(self.omitted) == omitted and immutable:
                self._frames[key] = proof, frame
        self._outline.append((frame, len(self._parts)))
        return frame

    def _metric(self, scope: str | None, metric: Metric) -> None:
        """Take a metric's part from the last encoding, or build it."""
        parts, place = self._old.parts, self._next
        if place < len(parts) and parts[place].describes(metric):
            self._next += 1
            self._take(parts[place], metric.data.data_points)
            return
        if type(metric.data) not in self._form.kinds:
            self._drop(metric.name, f"data of type {type(metric.data).__name__} has no OTLP form")
            return
        points = metric.data.data_points
        said = identity(metric, scope)
        old = self._find(said) if place < len(parts) else None
        if old is not None and _unchanged(old.said, said):
            self._take(old, points)
            return
        try:
            frame = self._form.metric(metric)
        except UNREADABLE as error:
            for _ in points:
                self._drop(metric.name, str(error))
            return
        part = self._built(said, frame, points, old)
        self._parts.append(part)
        self._points.append(part.encodable(points) if part.errors else points)

    def _take(self, part: Part, points: Sequence[Any]) -> None:
        self._left.append(len(self._parts))
        self._parts.append(part)
        self._points.append(points)

    def _find(self, said: Identity) -> Part | None:
        """The part of a metric that is not where it was, by the names of the metric and its scope."""
        if self._places is None:
            self._places = {}
            for place, part in enumerate(self._old.parts):
                self._places.setdefault(_key(part.said), []).append(place)
        places = self._places.get(_key(said))
        if not places:
            return None
        place = places.pop(0)
        self._next = place + 1
        return self._old.parts[place]

    def _holding(self, places: list[int]) -> list[int]:
        """The places whose parts still hold: looked at together, and in ever smaller groups where some do not."""
        parts = [self._parts[place] for place in places]
        points = [self._points[place] for place in places]
        counts = [part.count for part in parts]
        if counts == list(map(len, points)) and all_hold(parts, points, trusted=self._trusted):
            return places
        if len(places) < 2:  # noqa: PLR2004 - one that does not hold
            return []
        width = isqrt(len(places) - 1) or 1
        return list(chain(*(self._holding(places[at : at + width]) for at in range(0, len(places), width))))

    def _built(
        self, said: Identity, frame: Frame, points: Sequence[Any], old: Part | None, *, alike: bool = True
    ) -> Part:
        """Encode a metric: its points at once, if they are alike in shape, else one by one."""
        kind = self._form.kinds[said[4]]
        try:
            shape = kind.shape(points[0]) if points and alike else None
            part = Part(said, frame, kind, points, shape, old)
        except _NOT_ALIKE:
            part = Part(said, frame, kind, points, None, old)
        for error in part.errors:
            self._drop(said[1], error)
        return part

    def _rebuild(self, place: int, *, alike: bool = True) -> None:
        old = self._parts[place]
        part = self._built(old.said, old.frame, self._points[place], old, alike=alike)
        self._parts[place], self._points[place] = part, part.encodable(self._points[place])

    def _grouped(self) -> _Groups:
        members: dict[Shape, list[int]] = {}
        for place, part in enumerate(self._parts):
            if part.shape is not None and self._points[place]:
                members.setdefault(part.shape, []).append(place)
        return list(members.items())

    def _numbered(self) -> tuple[_Groups, list[Numbers]]:
        """The numbers of all points that are alike in shape, and how they are grouped."""
        groups = self._old.groups if self._unchanged() else self._grouped()
        while True:
            try:
                return groups, [self._group(shape, places) for shape, places in groups]
            except _NOT_ALIKE:
                self._separate(groups)
                groups = self._grouped()

    def _group(self, shape: Shape, places: list[int]) -> Numbers:
        """The numbers of the points of these metrics, which have this shape; their exemplars stand before them.

        Raises:
            ValueError, KeyError, OverflowError, TypeError, AttributeError, struct.error: when one has not, or a number
                does not fit.
        """
        parts = [self._parts[place] for place in places]
        points = list(chain.from_iterable([self._points[place] for place in places]))
        if not shape.unchanged(points, chain.from_iterable([part.constants for part in parts])):
            raise ValueError("what was taken for constant has changed")
        numbers = shape.numbers(points)
        sampled = [at for at, point in enumerate(points) if point.exemplars]
        if sampled:
            starts = list(accumulate([len(self._points[place]) for place in places], initial=0))
            for at in sampled:
                member = bisect_right(starts, at) - 1
                part, place = parts[member], places[member]
                pieces = self._varied.setdefault(place, part.pieces.copy())
                exemplars = part.kind.exemplars(points[at].exemplars, self._form.exemplar_attributes)
                pieces[at - starts[member]] = shape.with_exemplars(part.pieces[at - starts[member]], exemplars)
        return numbers

    def _separate(self, groups: _Groups) -> None:
        """Encode those metrics anew whose points have another shape than they had, or none at all."""
        self._varied = {}
        for shape, places in groups:
            for place in places:
                if not self._fits(shape, place):
                    self._rebuild(place)
                    new = self._parts[place].shape
                    if new is not None and not self._fits(new, place):
                        self._rebuild(place, alike=False)
        self._varied = {}

    def _fits(self, shape: Shape, place: int) -> bool:
        try:
            self._group(shape, [place])
        except _NOT_ALIKE:
            return False
        return True

    def _unchanged(self) -> bool:
        """True if the last encoding was of the same metrics in the same resources and scopes."""
        old = self._old
        same = len(self._parts) == len(old.parts) and all(map(is_, self._parts, old.parts))
        return same and self._outline == old.outline

    def _laid_out(self, room: int) -> tuple[Layout, Kept]:
        """The request but for the numbers, and what is left for the next encoding."""
        unchanged = self._unchanged()
        if unchanged and self._old.layout is not None and not self._varied:
            return self._old.layout, self._old
        for place, part in enumerate(self._parts):
            if part.shape is None and part.sources:
                self._varied[place] = self._one_by_one(part, self._points[place])
        layout = Layout(self.request(), self._form.separator)
        kept = Kept(frames=self._frames)
        for part in self._parts:
            if len(part.sources) <= room:
                room -= len(part.sources)
                kept.parts.append(part)
        if len(kept.parts) == len(self._parts):
            kept.outline, kept.groups = self._outline, self._groups
            kept.layout = None if self._varied else layout
        return layout, kept

    def _one_by_one(self, part: Part, points: Sequence[Any]) -> list[bytes]:
        """Points with their numbers, but for those that do not fit the format."""
        form, rest = self._form, part.kind.rest
        written = []
        for body, point in zip(part.pieces, points, strict=True):
            try:
                written.append(form.point(body, rest(point, form.exemplar_attributes)))
            except UNREADABLE as error:
                self._drop(part.said[1], str(error))
        return written

    def _items(self, what: str, attributes: Any) -> dict[Any, Any]:  # a mapping, or what stands in its place
        try:
            # The SDK's own mappings are copied at once, but read one item at a time.
            return dict(attributes.copy() if type(attributes) is BoundedAttributes else attributes or {})
        except UNREADABLE as error:
            self.omitted.append(f"{what}: attributes are not a readable mapping: {error}")
            return {}

    def _attributes(self, what: str, attributes: dict[Any, Any], writer: AttributeWriter) -> tuple[bytes, bool]:
        try:
            return writer.write(attributes.items())
        except UnencodableError:
            pass  # attribute by attribute below
        good = {}
        for key, value in attributes.items():
            try:
                writer.of({key: value})
            except UnencodableError as error:
                self.omitted.append(f"{what}: {error}")
            else:
                good[key] = value
        return writer.write(good.items())

    def _text(self, what: str, text: str | None) -> str:
        try:
            if text:
                utf8(text)
        except UnencodableError as error:
            self.omitted.append(f"{what}: {error}")
            return ""
        return text or ""

    def _drop(self, metric: str, reason: str) -> None:
        self.dropped.append(DroppedPoint(metric, reason))


def _unchanged(old: _Values, new: _Values) -> bool:
    """True if these are the same immutable things, or equal texts."""
    if len(old) != len(new):
        return False
    return all(map(is_, old, new)) or all(
        one is other or (type(one) is str and type(other) is str and one == other)
        for one, other in zip(old, new, strict=True)
    )


def _key(said: Identity) -> _Values:
    """The key of a metric: its scope, its name and the type of its data."""
    scope, name, _, _, kind, *_ = said
    return scope, _hashable(name), kind


def _hashable(name: object) -> str | None:
    """A name for a key; anything but a text will be refused when it is encoded."""
    return name if isinstance(name, str) else None
