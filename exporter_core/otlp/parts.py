"""One metric as it was last encoded: what stays the same from one export to the next."""

from __future__ import annotations

from itertools import chain
from operator import is_
from typing import TYPE_CHECKING, Any

from exporter_core.otlp.attributes import same_items
from exporter_core.otlp.wire import UnencodableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set as AbstractSet

    from opentelemetry.sdk.metrics.export import Metric

    from exporter_core.otlp.formats import Kind
    from exporter_core.otlp.request import Frame
    from exporter_core.otlp.shapes import Shape

_NONE: frozenset[int] = frozenset()
UNREADABLE = (AttributeError, TypeError, ValueError)
Identity = tuple[str | None, str, str | None, str | None, Any, object, object]  # the fifth is a type


def identity(metric: Metric, scope: str | None) -> Identity:
    """All that is said of a metric in a scope of a name, but for its points."""
    data: Any = metric.data  # of any kind; what it does not have is None
    return (
        scope,
        metric.name,
        metric.description,
        metric.unit,
        type(data),
        getattr(data, "aggregation_temporality", None),
        getattr(data, "is_monotonic", None),
    )


class Part:
    """The constant bytes of one metric, and what they were made of. Never changes once it is built.

    Args:
        said: the identity of the metric.
        frame: its frame.
        kind: how its points are written.
        points: its points.
        shape: what the points have in common; None to have their numbers written one by one.
        old: the same metric as it was encoded before, if it was: what has not changed is taken from there.

    Attributes:
        count: how many points there must be for the part to hold; -1 if it can hold for no others.
        sources: the attribute mappings of the points.
        constants: what else the pieces were made of, one a point, or nothing.
        pieces: the constant piece of each point; without a shape, its attributes.
        size: the bytes of the pieces, and of the numbers that frames have to count.
        volatile: the places of mappings that can change unseen, and what was encoded of them.
        errors: what is wrong with the attributes of the other points.
    """

    __slots__ = (
        "_bad",
        "constants",
        "count",
        "errors",
        "frame",
        "keys",
        "kind",
        "pieces",
        "said",
        "shape",
        "size",
        "sources",
        "values",
        "volatile",
    )

    def __init__(  # noqa: PLR0917 - made in one place
        self, said: Identity, frame: Frame, kind: Kind, points: Sequence[Any], shape: Shape | None, old: Part | None
    ) -> None:
        self.said, self.frame, self.kind, self.shape = said, frame, kind, shape
        self.constants: Sequence[object] = () if shape is None else shape.constants(points)
        self.sources = [point.attributes for point in points]
        self.keys: list[tuple[object, ...]] = []
        self.values: list[object] = []
        self.pieces: list[bytes] = []
        # Most parts have none of these, and share the empty ones.
        self.errors: Sequence[str] = ()
        self.volatile: Sequence[tuple[int, bytes]] = ()
        self._bad: AbstractSet[int] = _NONE
        self.count = len(points)
        same = 0
        if old is not None and old.shape is shape and old.kind is kind:
            same = old._leading(self.sources, self.constants)
            self.pieces, self.keys = old.pieces[:same], old.keys[:same]
            self.values = old.values[: sum(map(len, self.keys))]
        self._encode(same)
        self.size = sum(map(len, self.pieces)) + (0 if shape is None else shape.length * len(self.pieces))

    def describes(self, metric: Metric) -> bool:
        """True if the same is said of a metric, down to the objects."""
        _, name, description, unit, kind, temporality, monotonic = self.said
        data: Any = metric.data  # of the kind that is looked at first
        return (
            metric.name is name
            and metric.description is description
            and metric.unit is unit
            and type(data) is kind
            and (temporality is None or data.aggregation_temporality is temporality)
            and (monotonic is None or data.is_monotonic is monotonic)
        )

    def holds(self, mappings: Sequence[Any]) -> bool:
        """True if those attributes that can change unseen are encoded as they were.

        Args:
            mappings: the attribute mappings of as many points.
        """
        write = self.kind.attributes.of
        try:
            return all(write(mappings[place]) == body for place, body in self.volatile)
        except UNREADABLE:
            return False

    def encodable(self, points: Sequence[Any]) -> Sequence[Any]:
        """Those of the points whose attributes can be encoded."""
        return [point for place, point in enumerate(points) if place not in self._bad] if self._bad else points

    def _encode(self, start: int) -> None:
        """Encode the attributes from a place on."""
        write, shape, sources, constants = self.kind.attributes.write, self.shape, self.sources, self.constants
        same: tuple[object, ...] = ()  # one object for all that have the same keys
        for place in range(start, len(sources)):
            source = sources[place]
            try:
                # One look at the mapping: what is encoded is what is remembered, whatever other threads do.
                items = tuple(source.items()) if source else ()
                body, immutable = write(items)
            except UNREADABLE as error:
                unreadable = not isinstance(error, UnencodableError)
                reason = f"attributes are not a readable mapping: {error}" if unreadable else str(error)
                self.errors = (*self.errors, reason)
                self._bad = self._bad | {place}
                continue
            keys = tuple([key for key, _ in items])
            if keys != same:
                same = keys
            self.keys.append(same)
            self.values += [value for _, value in items]
            if not immutable:
                self.volatile = (*self.volatile, (place, body))
            if shape is not None:
                body = shape.piece(body, constants[place] if constants else None)
            self.pieces.append(body)
        if self._bad:
            self.count = -1
            self.constants = self.encodable(self.constants)

    def _leading(self, sources: list[Any], constants: Sequence[object]) -> int:
        """Count the points at the beginning that have the same mappings, which say what they said."""
        count = _alike(sources, self.sources)
        if constants:
            count = min(count, _alike(constants, self.constants))
        if self.volatile:
            count = min(count, self.volatile[0][0])
        if self.count < 0 or not same_items(sources[:count], self.keys[:count], lambda: self.values):
            return 0
        return count


def all_hold(parts: Sequence[Part], points: Iterable[Sequence[Any]], *, trusted: bool) -> bool:
    """True if the attributes of points are those that parts were made of, looked at together.

    Args:
        parts: the parts.
        points: the points of each; as many as the part has.
        trusted: take an identical mapping to be unchanged.
    """
    mappings = [point.attributes for point in chain.from_iterable(points)]
    if trusted and all(map(is_, mappings, chain.from_iterable([part.sources for part in parts]))):
        return True
    keys = list(chain.from_iterable([part.keys for part in parts]))
    if not same_items(mappings, keys, lambda: chain.from_iterable([part.values for part in parts])):
        return False
    if any([part.volatile for part in parts]):  # noqa: C419 - a list is faster
        at = 0
        for part in parts:
            if not part.holds(mappings[at : at + part.count]):
                return False
            at += part.count
    return True


def _alike(some: Sequence[object], others: Sequence[object]) -> int:
    """Count the objects at the beginning that are the same in both."""
    return next((place for place, same in enumerate(map(is_, some, others)) if not same), min(len(some), len(others)))
