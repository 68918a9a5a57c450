"""The constant parts of an encoding, kept for the next."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from operator import is_
from typing import TYPE_CHECKING, Any

from exporter_core.otlp.attributes import Contents

if TYPE_CHECKING:
    from collections.abc import Sequence, Set as AbstractSet

    from exporter_core.otlp.attributes import AttributeWriter
    from exporter_core.otlp.request import Frame, Layout
    from exporter_core.otlp.shapes import Shape
    from exporter_core.otlp.surroundings import Surroundings

NOT_ALIKE = (ValueError, KeyError, OverflowError, TypeError, AttributeError, struct.error)
UNREADABLE = (AttributeError, TypeError, ValueError)
Said = tuple[list[Any], ...]
"""All that is said of metrics but for their points: names, descriptions, units, types of data, temporalities, and
if they are monotonic; a list each, with one item a metric."""


@dataclass(frozen=True, slots=True)
class Group:
    """The metrics whose points have one shape: their places, and the constants of all their points."""

    shape: Shape
    places: list[int]
    constants: list[Any]


@dataclass(slots=True)
class FewKept:
    """The constant parts of an encoding of few points.

    Attributes:
        frames: what is said of a metric and its frame, by its name.
        bodies: the attributes of the points and how they were encoded, by what wrote them and the mapping's identity.
    """

    frames: dict[str, tuple[tuple[Any, ...], Frame]] = field(default_factory=dict)
    bodies: dict[tuple[AttributeWriter, int], tuple[dict[Any, Any], bytes]] = field(default_factory=dict)


@dataclass(slots=True)
class Kept:
    """The constant parts of an encoding. Replaced as a whole, never changed once an encoder has it.

    Attributes:
        said: what is said of the metrics. All lists of metrics have one item a metric.
        frames: of the metrics; None for one that has no form.
        shapes: what the points of each metric have in common; None to have their numbers written one by one.
        constants: of the points of each metric, besides their attributes: one object a point, or nothing.
        counts: the number of points of each metric.
        sizes: the bytes of the points of each metric, but for numbers whose length no frame has to know.
        openings: the bytes before the points of each metric.
        sources: the attribute mappings of the points. All lists of points hold those of all metrics, in order.
        contents: the keys and values of these mappings as they were encoded.
        pieces: the constant piece of each point; without a shape, its attributes.
        volatile: the writer and encoded attributes of mappings that can change unseen, by the places of the points.
        faulty: the places of metrics that have no form or lost points, which are looked at anew each time.
        groups: the metrics by shape.
        singles: the places of the metrics that have points, but no shape.
        few: the same of an encoding of few points.
        surroundings: the resources and scopes.
        layout: the request but for the numbers; None if something else can change in it, too.
        firsts: true if most points were new: of those of each metric the first is kept alone, and not how it was
            encoded.
    """

    said: Said = ([], [], [], [], [], [])
    frames: list[Any] = field(default_factory=list)  # Frame | None, but the metrics of a request have one
    shapes: list[Shape | None] = field(default_factory=list)
    constants: list[Sequence[Any]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    openings: list[bytes] = field(default_factory=list)
    sources: list[Any] = field(default_factory=list)
    contents: Contents = field(default_factory=Contents)
    pieces: list[bytes] = field(default_factory=list)
    volatile: dict[int, tuple[AttributeWriter, bytes]] = field(default_factory=dict)
    faulty: AbstractSet[int] = frozenset()
    groups: list[Group] = field(default_factory=list)
    singles: list[int] = field(default_factory=list)
    few: FewKept = field(default_factory=FewKept)
    surroundings: Surroundings | None = None
    layout: Layout | None = None
    firsts: bool = False

    def may_begin(self, mapping: Any, place: int, item: int, *, trusted: bool) -> bool:
        """False if the points from a place on are encoded otherwise, as the first shows: new series mostly all are new.

        Args:
            mapping: the attribute mapping of the first of them, or what stands in its place.
            place: of this point.
            item: where its values begin in the contents.
            trusted: take an identical mapping to be unchanged.
        """
        return (trusted and mapping is self.sources[place]) or self.contents.may_be(mapping, place, item)

    def holds(self, mappings: Sequence[Any], *, trusted: bool) -> bool:
        """True if as many points of the same metrics are encoded as they were, but for their numbers.

        Args:
            mappings: the attribute mappings of the points.
            trusted: take an identical mapping to be unchanged.
        """
        if trusted and all(map(is_, mappings, self.sources)):
            return True
        return self.contents.are_in(mappings) and (
            not self.volatile or self.volatile_hold(mappings, range(len(mappings)))
        )

    def volatile_hold(self, mappings: Sequence[Any], places: range) -> bool:
        """True if those attributes that can change unseen are encoded as they were.

        Args:
            mappings: the attribute mappings of these points.
            places: the points here that are looked at.
        """
        try:
            return all(
                writer.of(mappings[place - places.start]) == body
                for place, (writer, body) in self.volatile.items()
                if place in places
            )
        except UNREADABLE:
            return False

    def of_firsts(self) -> Kept:
        """The same metrics with their first points alone, which show if the next encoding has new ones, too."""
        starts = accumulate(self.counts, initial=0)
        places = [start for start, count in zip(starts, self.counts, strict=False) if count]
        return Kept(
            said=self.said,
            frames=self.frames,
            counts=[min(count, 1) for count in self.counts],
            sources=[self.sources[place] for place in places],
            contents=self.contents.of_places(places),
            firsts=True,
        )

    def within(self, room: int) -> Kept:
        """Those metrics that fit into a room for so many series."""
        if len(self.pieces) <= room:
            return self
        places = []
        for place, count in enumerate(self.counts):
            if count <= room:
                room -= count
                places.append(place)
        starts = list(accumulate(self.counts, initial=0))
        points = list(chain.from_iterable([range(starts[place], starts[place + 1]) for place in places]))
        new_place = {point: at for at, point in enumerate(points)}
        return replace(
            self,
            said=tuple([each[place] for place in places] for each in self.said),
            frames=[self.frames[place] for place in places],
            shapes=[self.shapes[place] for place in places],
            constants=[self.constants[place] for place in places],
            counts=[self.counts[place] for place in places],
            sizes=[self.sizes[place] for place in places],
            openings=[self.openings[place] for place in places],
            sources=[self.sources[point] for point in points],
            contents=self.contents.of_places(points),
            pieces=[self.pieces[point] for point in points],
            volatile={new_place[point]: what for point, what in self.volatile.items() if point in new_place},
            faulty={at for at, place in enumerate(places) if place in self.faulty},
            groups=[],
            singles=[],
            surroundings=None,
            layout=None,
        )
