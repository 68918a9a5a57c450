"""The constant parts of metrics: encoded anew, many points at once, where they are not as in the last encoding."""

from __future__ import annotations

from itertools import accumulate, chain, islice
from math import isqrt
from operator import is_, ne
from typing import TYPE_CHECKING, Any

from exporter_core.otlp.attributes import Contents, items_of
from exporter_core.otlp.kept import NOT_ALIKE, UNREADABLE, Group, Kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set as AbstractSet

    from opentelemetry.sdk.metrics.export import Metric

    from exporter_core.otlp.attributes import AttributeWriter
    from exporter_core.otlp.formats import Format
    from exporter_core.otlp.kept import Said
    from exporter_core.otlp.request import Frame
    from exporter_core.otlp.shapes import Shape

_Run = tuple[int, int, int]  # the place of a metric, its place in the last encoding, and how many follow each other


class Builder:
    """Encodes metrics, but for their numbers.

    Args:
        metrics: the metrics.
        said: what is said of them.
        form: the encoding.
        old: the last encoding: what has not changed is taken from there.
        trusted: take an identical attribute mapping to be unchanged, and believe that none changes meanwhile.

    Attributes:
        points: the points of each metric that can be encoded.
        known: how many of them were in the last encoding, as far as that was kept.
        dropped: the place of the metric and the reason, for each that has no form and each point left out.
        absent: the places of metrics without a form, or all of whose points were left out.
    """

    def __init__(self, metrics: Sequence[Metric], said: Said, form: Format, old: Kept, *, trusted: bool) -> None:
        self._said, self._form, self._old, self._trusted = said, form, old, trusted
        self._few = old.few.frames
        self._frames: list[Any] = [None] * len(metrics)
        self.dropped: list[tuple[int, str]] = []
        self.absent: set[int] = set()
        self.known = 0
        self._runs = list(self._matching())
        for place, old_place, count in self._runs:
            self._frames[place : place + count] = old.frames[old_place : old_place + count]
        self.points: list[Sequence[Any]] = [
            metric.data.data_points if frame is not None else self._begin(place, metric)
            for place, (metric, frame) in enumerate(zip(metrics, self._frames, strict=True))
        ]
        self._sources: list[Any] = [point.attributes for point in chain.from_iterable(self.points)]

    def build(self, *, again: AbstractSet[int] = frozenset(), single: AbstractSet[int] = frozenset()) -> Kept:
        """The constant parts.

        Args:
            again: the places of metrics whose points do not have the shape that they had.
            single: the places of metrics whose points have no shape in common.
        """
        while True:
            draft = _Draft(self._said, self._form, self._frames, self.points, self._sources)
            rest = draft.take(self._old, self._runs, again, trusted=self._trusted)
            self.known = draft.known
            rest = [place for place in rest if place not in self.absent]
            draft.read(rest, trusted=self._trusted)
            if not draft.errors:
                draft.write(rest, single)
            if not draft.errors:
                return draft.finish(self.absent.union(place for place, _ in self.dropped))
            self._leave_out(draft.errors)

    def _matching(self) -> Iterator[_Run]:
        """The metrics of which the same is said as in the last encoding."""
        length = len(self._old.said[0])
        if all(new[:length] == old for new, old in zip(self._said, self._old.said, strict=True)):
            if length:
                yield 0, 0, length  # there are only new ones behind them, if any
            return
        rows, old_rows = list(zip(*self._said, strict=True)), list(zip(*self._old.said, strict=True))
        places: dict[tuple[Any, ...], list[int]] | None = None
        place = old_place = 0
        while place < len(rows):
            start = place
            while place < len(rows) and old_place < len(old_rows) and rows[place] == old_rows[old_place]:
                place, old_place = place + 1, old_place + 1
            if place > start:
                yield start, old_place - (place - start), place - start
            else:
                if places is None:
                    places = {}
                    for at, row in enumerate(old_rows):
                        places.setdefault(_key(row), []).append(at)
                found = places.get(_key(rows[place]))
                if found and old_rows[found[0]] == rows[place]:
                    old_place = found.pop(0)
                else:
                    place += 1

    def _begin(self, place: int, metric: Metric) -> Sequence[Any]:
        """The points of a metric that has no frame yet; none if it cannot have one."""
        if type(metric.data) not in self._form.kinds:
            reason = f"data of type {type(metric.data).__name__} has no OTLP form"
            self.dropped.append((place, reason))
            self.absent.add(place)
            return ()
        points = metric.data.data_points
        try:
            self._frames[place] = self._frame(place, metric)
        except UNREADABLE as error:
            self.dropped += [(place, str(error))] * len(points)
            self.absent.add(place)
            return ()
        return points

    def _frame(self, place: int, metric: Metric) -> Frame:
        """The frame of a metric: the one that it had among few, if the same is said of it."""
        known = self._few.get(metric.name) if self._few and type(metric.name) is str else None
        if known is not None and known[0] == tuple([each[place] for each in self._said]):
            return known[1]
        return self._form.metric(metric)

    def _leave_out(self, errors: Mapping[int, str]) -> None:
        """Leave out points by their places among all."""
        self._sources = [source for at, source in enumerate(self._sources) if at not in errors]
        starts = list(accumulate(map(len, self.points), initial=0))
        for place, points in enumerate(self.points):
            places = range(starts[place], starts[place + 1])
            if not errors.keys().isdisjoint(places):
                self.dropped += [(place, errors[at]) for at in places if at in errors]
                self.points[place] = [point for at, point in zip(places, points, strict=True) if at not in errors]
                if not self.points[place]:
                    self.absent.add(place)


class _Draft:
    """The constant parts of metrics while they are put together.

    Args:
        said: what is said of the metrics.
        form: the encoding.
        frames: the frames of the metrics.
        points: the points of each metric.
        sources: the attribute mappings of all points.

    Attributes:
        errors: what is wrong with points that the format has no place for, by their places.
        known: how many points were in the last encoding, as far as that was kept.
    """

    def __init__(
        self,
        said: Said,
        form: Format,
        frames: list[Any],
        points: list[Sequence[Any]],
        sources: list[Any],
    ) -> None:
        self._form, self._points = form, points
        self._kept = Kept(
            said,
            frames,
            [None] * len(points),
            [()] * len(points),
            list(map(len, points)),
            [0] * len(points),
            [b""] * len(points),
            sources,
            Contents(),
            [b""] * len(sources),
        )
        self._starts = list(accumulate(self._kept.counts, initial=0))
        self._contents: dict[int, Contents] = {}  # of points that follow each other, by the place of the first
        self.errors: dict[int, str] = {}
        self.known = 0

    def take(self, old: Kept, runs: Sequence[_Run], again: AbstractSet[int], *, trusted: bool) -> list[int]:
        """Take what has not changed from the last encoding.

        Args:
            old: the last encoding.
            runs: the metrics of which the same is said.
            again: those whose points do not have the shape that they had.
            trusted: take an identical attribute mapping to be unchanged.

        Returns:
            The places of the others.
        """
        rest: list[int] = []
        end = 0
        if old.firsts:
            self.known = sum(self._known(old, runs, trusted=trusted))
        elif runs:
            comparison = _Comparison(self._kept, old, again, trusted=trusted)
            for part in chain.from_iterable(map(comparison.comparable, runs)):
                for (place, old_place, count), contents in comparison.unchanged(part):
                    rest += range(end, place)
                    end = place + count
                    self.known += self._starts[end] - self._starts[place]
                    self._take(old, place, comparison.old_starts[old_place], old_place, count)
                    if contents.names:
                        self._contents[self._starts[place]] = contents
        return [*rest, *range(end, len(self._points))]

    def read(self, places: Sequence[int], *, trusted: bool) -> None:
        """Read the attributes of metrics, each mapping once: what is encoded is what is kept, whatever threads do.

        Args:
            places: of the metrics that were not taken.
            trusted: believe that no mapping changes meanwhile.
        """
        sources = self._kept.sources
        for start, stop in self._spans(places):
            part = sources[start:stop]
            if list(map(type, part)).count(dict) == len(part):
                self._contents[start] = Contents.of(part if trusted else list(map(dict.copy, part)))
                continue
            mappings = []
            for at, source in enumerate(part, start):
                try:
                    mappings.append(items_of(source))
                except UNREADABLE as error:
                    self.errors[at] = f"attributes are not a readable mapping: {error}"
            self._contents[start] = Contents.of(mappings)
        self._kept.contents = Contents.joined([self._contents[start] for start in sorted(self._contents)])

    def write(self, places: Sequence[int], single: AbstractSet[int]) -> None:
        """Encode the attributes of metrics, all those together whose points are alike."""
        kept, kinds = self._kept, self._form.kinds
        alike: dict[tuple[type, Shape | None], list[int]] = {}
        for place in places:
            points, kind = self._points[place], kept.said[3][place]
            if not points:
                continue
            shape = None
            if place not in single:
                try:
                    shape = kinds[kind].shape(points[0])
                    if shape is not None:
                        kept.constants[place] = shape.constants(points)
                except NOT_ALIKE:
                    shape = None
            alike.setdefault((kind, shape), []).append(place)
        for (kind, shape), members in alike.items():
            self._write(kinds[kind].attributes, shape, members)
        for place in places:
            kept.openings[place] = kept.frames[place].opening(kept.sizes[place])

    def finish(self, faulty: set[int]) -> Kept:
        """The constant parts.

        Args:
            faulty: the places of metrics that have no form or lost points.
        """
        kept = self._kept
        kept.faulty = faulty
        members: dict[Shape, list[int]] = {}
        shapes = set(kept.shapes)
        if len(shapes) == 1 and None not in shapes:
            members = {shape: list(range(len(kept.shapes))) for shape in shapes if shape is not None}
        else:
            for place, (shape, count) in enumerate(zip(kept.shapes, kept.counts, strict=True)):
                if shape is not None:
                    members.setdefault(shape, []).append(place)
                elif count:
                    kept.singles.append(place)
        for shape, places in members.items():
            constants = list(chain.from_iterable([kept.constants[place] for place in places]))
            kept.groups.append(Group(shape, places, constants))
        return kept

    def _known(self, old: Kept, runs: Sequence[_Run], *, trusted: bool) -> Iterator[int]:
        """Yield the number of points of each metric whose first one is the same, of an encoding that kept no others."""
        starts, items = list(accumulate(old.counts, initial=0)), old.contents.items
        for place, old_place, count in runs:
            for new, was in zip(range(place, place + count), range(old_place, old_place + count), strict=True):
                points, at = self._kept.counts[new], starts[was]
                if points and old.counts[was]:
                    first = self._kept.sources[self._starts[new]]
                    if old.may_begin(first, at, items[at], trusted=trusted):
                        yield points

    def _take(self, old: Kept, place: int, old_start: int, old_place: int, count: int) -> None:
        kept = self._kept
        start, stop = self._starts[place], self._starts[place + count]
        old_stop = old_start + stop - start
        kept.shapes[place : place + count] = old.shapes[old_place : old_place + count]
        kept.constants[place : place + count] = old.constants[old_place : old_place + count]
        kept.sizes[place : place + count] = old.sizes[old_place : old_place + count]
        kept.openings[place : place + count] = old.openings[old_place : old_place + count]
        kept.pieces[start:stop] = old.pieces[old_start:old_stop]
        for at, what in old.volatile.items():
            if old_start <= at < old_stop:
                kept.volatile[at - old_start + start] = what

    def _write(self, writer: AttributeWriter, shape: Shape | None, members: list[int]) -> None:
        """Encode the attributes of metrics whose points are alike."""
        kept = self._kept
        spans = self._spans(members)
        places: Sequence[int] = range(*spans[0])
        if len(spans) > 1:
            places = list(chain.from_iterable([range(start, stop) for start, stop in spans]))
        written = writer.write(kept.contents.of_places(places))
        self.errors.update({places[at]: error for at, error in written.errors.items()})
        kept.volatile.update({places[at]: (writer, written.bodies[at]) for at in written.volatile})
        pieces = written.bodies
        if shape is not None:
            constants = list(chain.from_iterable([kept.constants[place] for place in members]))
            try:
                pieces = shape.beginnings(pieces, constants)
            except NOT_ALIKE:
                shape = None
        at = 0
        for start, stop in spans:
            kept.pieces[start:stop] = pieces[at : at + stop - start]
            at += stop - start
        lengths = map(len, pieces)
        for place in members:
            kept.shapes[place], count = shape, kept.counts[place]
            kept.sizes[place] = sum(islice(lengths, count)) + (shape.length * count if shape else 0)

    def _spans(self, members: Sequence[int]) -> list[tuple[int, int]]:
        """The first and last points of metrics; those of metrics that follow each other as one span."""
        spans: list[tuple[int, int]] = []
        for place in members:
            start, stop = self._starts[place], self._starts[place + 1]
            if spans and spans[-1][1] == start:
                spans[-1] = spans[-1][0], stop
            elif start < stop:
                spans.append((start, stop))
        return spans


class _Comparison:
    """Compares the attributes of an encoding with those of the last.

    Args:
        new: the encoding.
        old: the last encoding.
        again: the places of metrics that are not to be taken from it.
        trusted: take an identical attribute mapping to be unchanged.

    Attributes:
        old_starts: where the points of each metric begin in the last encoding.
    """

    def __init__(self, new: Kept, old: Kept, again: AbstractSet[int], *, trusted: bool) -> None:
        self._new, self._old, self._again, self._trusted = new, old, again, trusted
        self._starts = list(accumulate(new.counts, initial=0))
        self.old_starts = list(accumulate(old.counts, initial=0))
        self._old_items = old.contents.items

    def comparable(self, run: _Run) -> Iterator[_Run]:
        """The parts of a run whose metrics have as many points as they had, none of them lost or to be encoded anew."""
        place, old_place, count = run
        counts, old_counts = self._new.counts[place : place + count], self._old.counts[old_place : old_place + count]
        apart = {at for at, differ in enumerate(map(ne, counts, old_counts)) if differ}
        apart.update(at - place for at in self._again)
        apart.update(at - old_place for at in self._old.faulty)
        start = 0
        for at in [*sorted(apart.intersection(range(count))), count]:
            if at > start:
                yield place + start, old_place + start, at - start
            start = at + 1

    def unchanged(self, run: _Run) -> Iterator[tuple[_Run, Contents]]:
        """The metrics of a run that are as they were: looked at together, and in ever smaller groups where not."""
        place, old_place, count = run
        contents = self._same(*run)
        if contents is not None:
            yield run, contents
        elif count > 1:
            width = isqrt(count - 1)
            for at in range(0, count, width):
                yield from self.unchanged((place + at, old_place + at, min(width, count - at)))

    def _same(self, place: int, old_place: int, count: int) -> Contents | None:
        """The contents of attributes that are as they were; None if some have changed."""
        new, old = self._new, self._old
        start, stop = self._starts[place], self._starts[place + count]
        old_start, old_stop = self.old_starts[old_place], self.old_starts[old_place + count]
        first, last = self._old_items[old_start], self._old_items[old_stop]
        if start < stop and not old.may_begin(new.sources[start], old_start, first, trusted=self._trusted):
            return None
        sources = new.sources[start:stop]
        contents = old.contents.between(old_start, old_stop, first, last)
        if self._trusted and all(map(is_, sources, old.sources[old_start:old_stop])):
            return contents
        if not contents.are_in(sources):
            return None
        return contents if old.volatile_hold(sources, range(old_start, old_stop)) else None


def _key(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key of a metric: its name and the type of its data."""
    return row[0] if isinstance(row[0], str) else None, row[3]
