"""Metrics data to a layout and the numbers that fill it; what has not changed since the last time is reused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

from exporter_core.otlp.building import Builder
from exporter_core.otlp.kept import NOT_ALIKE, UNREADABLE, Group, Kept
from exporter_core.otlp.request import Layout, Level, Request
from exporter_core.otlp.surroundings import surroundings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics.export import Metric, MetricsData

    from exporter_core.otlp.formats import Format
    from exporter_core.otlp.kept import Said
    from exporter_core.otlp.request import Numbers


@dataclass(frozen=True, slots=True)
class DroppedPoint:
    """A data point that was left out because the format cannot hold it: its metric's name, and why."""

    metric: str
    reason: str


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
        self._surroundings = surroundings_of(metrics, form, kept.surroundings, trusted=trusted)
        self.omitted = self._surroundings.omitted
        self.dropped: list[DroppedPoint] = []
        self._absent: set[int] = set()  # the metrics without a form, or all of whose points were dropped
        self._varied: dict[int, list[bytes]] = {}  # the pieces of metrics that hold for this time only
        scopes = [scope for resource in metrics.resource_metrics for scope in resource.scope_metrics]
        found = list(chain.from_iterable([scope.metrics for scope in scopes]))
        data: list[Any] = [metric.data for metric in found]  # of any kind; what it does not have is None
        said: Said = (
            [metric.name for metric in found],
            [metric.description for metric in found],
            [metric.unit for metric in found],
            list(map(type, data)),
            [getattr(each, "aggregation_temporality", None) for each in data],
            [getattr(each, "is_monotonic", None) for each in data],
        )
        self._names = said[0]
        self._points: list[Sequence[Any]] = []  # of each metric
        self._all_points: list[Any] = []
        if not self._holds(said, data):
            self._builder = Builder(found, said, form, kept, trusted=trusted)
            self._build()
        self.numbers = self._numbered(found, said)
        if self._current.singles:
            self._write_singles()
        self._all_points = []  # a long list, which nothing needs while the request is written
        same = self._current is kept and self._surroundings is kept.surroundings
        if same and kept.layout is not None and not self._varied:
            self.layout = kept.layout
        else:
            self.layout = Layout(form.request, self.request(), form.separator)
        self.kept = kept if same and (kept.layout is not None or self._varied) else self._keep(room)

    @property
    def names(self) -> list[str]:
        """The names of the metrics that stand in the request."""
        return [name for place, name in enumerate(self._names) if place not in self._absent]

    def request(self) -> Request:
        """The request as levels around the points."""
        current = self._current
        counts, sizes, openings, pieces = current.counts, current.sizes, current.openings, current.pieces
        groups: list[int | None] = [None] * len(counts)
        firsts = [0] * len(counts)
        for number, group in enumerate(current.groups):
            ahead = accumulate([counts[place] for place in group.places], initial=0)
            for place, first in zip(group.places, ahead, strict=False):
                groups[place], firsts[place] = number, first
        if self._varied:
            starts = list(accumulate(counts, initial=0))
            counts, sizes, openings, pieces = counts.copy(), sizes.copy(), openings.copy(), pieces.copy()
            # From behind, so that those before stay where they are.
            for place in sorted(self._varied, reverse=True):
                varied, points = self._varied[place], slice(starts[place], starts[place + 1])
                sizes[place] += sum(map(len, varied)) - sum(map(len, pieces[points]))
                openings[place] = current.frames[place].opening(sizes[place])
                counts[place] = len(varied)
                pieces[points] = varied
        resources, scopes = self._surroundings.resources, self._surroundings.scopes
        frames = current.frames
        if self._absent:
            present = [place for place in range(len(counts)) if place not in self._absent]
            starts = list(accumulate([scope.count for scope in scopes], initial=0))
            scopes = [
                Level(scope.frame, sum(place not in self._absent for place in range(start, start + scope.count)))
                for scope, start in zip(scopes, starts, strict=False)
            ]
            frames = [frames[place] for place in present]
            counts = [counts[place] for place in present]
            sizes = [sizes[place] for place in present]
            openings = [openings[place] for place in present]
            groups = [groups[place] for place in present]
            firsts = [firsts[place] for place in present]
        return Request(resources, scopes, frames, counts, sizes, openings, groups, firsts, pieces)

    def _holds(self, said: Said, data: list[Any]) -> bool:
        """True if the last encoding holds but for the numbers."""
        kept = self._old
        if kept.faulty or kept.firsts or said != kept.said:
            return False
        self._points = [each.data_points for each in data]
        if list(map(len, self._points)) != kept.counts:
            return False
        points = self._all_points = list(chain.from_iterable(self._points))
        if points and not kept.may_begin(points[0].attributes, 0, 0, trusted=self._trusted):
            return False
        self._current = kept
        return kept.holds([point.attributes for point in points], trusted=self._trusted)

    def _build(
        self, again: set[int] | frozenset[int] = frozenset(), single: set[int] | frozenset[int] = frozenset()
    ) -> None:
        builder = self._builder
        self._current = builder.build(again=again, single=single)
        self._points, self._absent = builder.points, builder.absent
        self._all_points = list(chain.from_iterable(self._points))
        self.dropped = [DroppedPoint(self._names[place], reason) for place, reason in sorted(builder.dropped)]

    def _numbered(self, found: list[Metric], said: Said) -> list[Numbers]:
        """The numbers of all points that are alike in shape; what turns out not to be so is encoded anew."""
        again: set[int] = set()
        single: set[int] = set()
        while True:
            try:
                return [self._group(group) for group in self._current.groups]
            except NOT_ALIKE:
                misfits = self._misfits()
                single |= misfits & again
                again |= misfits
                self._varied = {}
                if self._current is self._old:
                    self._builder = Builder(found, said, self._form, self._old, trusted=self._trusted)
                self._build(again, single)

    def _misfits(self) -> set[int]:
        """The places of metrics whose points do not have the shape that they are taken to have."""
        misfits = set()
        for group in self._current.groups:
            for place in group.places:
                constants = list(self._current.constants[place])
                try:
                    self._group(Group(group.shape, [place], constants))
                except NOT_ALIKE:
                    misfits.add(place)
        return misfits

    def _group(self, group: Group) -> Numbers:
        """The numbers of the points of metrics of one shape; their exemplars stand before them.

        Raises:
            ValueError, KeyError, OverflowError, TypeError, AttributeError, struct.error: when one has not the shape, or
                a number does not fit.
        """
        current, places, shape = self._current, group.places, group.shape
        points = self._all_points
        if len(places) != len(self._points):
            points = list(chain.from_iterable([self._points[place] for place in places]))
        if not shape.unchanged(points, group.constants):
            raise ValueError("what was taken for constant has changed")
        numbers = shape.numbers(points)
        exemplars = [point.exemplars for point in points]
        if any(exemplars):
            kind = self._form.kinds[current.said[3][places[0]]]
            written = kind.exemplars(exemplars, self._form.exemplar_attributes)
            starts = list(accumulate(current.counts, initial=0))
            at = 0
            for place in places:
                pieces = current.pieces[starts[place] : starts[place + 1]]
                stop = at + len(pieces)
                if any(written[at:stop]):
                    self._varied[place] = shape.with_exemplars(pieces, written[at:stop])
                at = stop
        return numbers

    def _write_singles(self) -> None:
        """Write the points without a shape one by one, but for those that do not fit the format."""
        current, form = self._current, self._form
        starts = list(accumulate(current.counts, initial=0))
        for place in current.singles:
            rest = form.kinds[current.said[3][place]].rest
            written: list[bytes] = []
            pieces = current.pieces[starts[place] : starts[place + 1]]
            for body, point in zip(pieces, self._points[place], strict=True):
                try:
                    written.append(form.point(body, rest(point, form.exemplar_attributes)))
                except UNREADABLE as error:
                    self.dropped.append(DroppedPoint(self._names[place], str(error)))
            self._varied[place] = written
            if not written:
                self._absent.add(place)

    def _keep(self, room: int) -> Kept:
        """The memory of this encoding for the next."""
        current = self._current
        if len(current.pieces) > room:
            return current.within(room)
        if current is not self._old and self._old.said[0] and 2 * self._builder.known < len(current.pieces):
            kept = current.of_firsts()
            kept.surroundings = self._surroundings
            return kept
        if current is self._old:  # other threads may be reading it
            current = replace(current)
        current.surroundings = self._surroundings
        current.layout = None if self._varied or self._absent else self.layout
        return current
