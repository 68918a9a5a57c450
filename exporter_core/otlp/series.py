"""The encoded attributes of one metric's points, and the proof at the next export that they still hold.

A `Series` never changes once it is built, so threads may share it. Its checks run over all points of a metric at
once, in C: a comparison of two lists of mappings, and where values are not strings, of the identity of every value.
"""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter, is_, methodcaller
from typing import Any

from exporter_core.otlp.attributes import AttributeWriter, Stability
from exporter_core.otlp.wire import HEADS, UnencodableError

_attributes = attrgetter("attributes")
_values = methodcaller("values")

_NEVER = object()  # equal to no mapping: stands for one that has to be encoded at every export


class Series:
    """The attributes of a sequence of points, encoded.

    Attributes:
        bodies: the encoded attributes, one a point; None where they have no place in the format.
        errors: what is wrong with those, by position.
    """

    __slots__ = ("_heads", "_index", "_keys", "_snapshots", "_sources", "_values", "bodies", "errors")

    def __init__(
        self, sources: list[Any], writer: AttributeWriter, previous: "Series | None" = None, *, trusted: bool = False
    ) -> None:
        self._sources = sources
        self._heads: tuple[int, list[bytes]] = (-1, [])
        self._index: dict[int, int] | None = None
        self.errors: dict[int, str] = {}
        self.bodies: list[bytes | None] = []
        self._snapshots: list[object] = []
        self._keys: list[str] = []
        self._values: list[Any] | None = None
        identity = previous is not None and previous._values is not None
        known = previous._positions() if previous else {}
        for position, source in enumerate(sources):
            old = known.get(id(source))
            if old is not None and previous and previous._holds(old, source, trusted=trusted):
                snapshot, body = previous._snapshots[old], previous.bodies[old]
            else:
                snapshot = _NEVER
                try:
                    body, stability = writer.write(source)
                except UnencodableError as error:
                    self.errors[position] = str(error)
                    body = None
                except (AttributeError, TypeError, ValueError) as error:
                    self.errors[position] = f"attributes are not a readable mapping: {error}"
                    body = None
                else:
                    if stability is not Stability.NONE and not trusted:
                        snapshot = dict(source)
                    identity = identity or stability is Stability.IDENTITY
            self._snapshots.append(snapshot)
            self.bodies.append(body)
        if identity:
            mappings = [snapshot for snapshot in self._snapshots if isinstance(snapshot, dict)]
            self._keys = list(chain.from_iterable(mappings))
            self._values = list(chain.from_iterable(map(_values, mappings)))

    @classmethod
    def of(
        cls, points: Sequence[object], writer: AttributeWriter, previous: "Series | None", *, trusted: bool
    ) -> "Series":
        """The series of these points: the previous one where it still holds for all of them, else one built from it."""
        sources = list(map(_attributes, points))
        if previous is not None and not previous.errors and previous._still(sources, trusted=trusted):
            return previous
        return cls(sources, writer, previous, trusted=trusted)

    def heads(self, tail_length: int) -> list[bytes]:
        """Tag and length of every point whose tail takes that many bytes. Only where there are no errors."""
        length, heads = self._heads
        if length != tail_length:
            heads = [HEADS[len(body or b"") + tail_length] for body in self.bodies]
            self._heads = tail_length, heads
        return heads

    def _still(self, sources: list[Any], *, trusted: bool) -> bool:
        if len(sources) != len(self._sources):
            return False
        return all(map(is_, sources, self._sources)) if trusted else self._unchanged(sources)

    def _unchanged(self, sources: list[Any]) -> bool:
        try:
            if sources != self._snapshots:
                return False
            # In order, too: {"a": 1, "b": True} equals {"b": 1, "a": True}, value beside identical value.
            return self._values is None or (
                all(map(is_, chain.from_iterable(map(_values, sources)), self._values))
                and list(chain.from_iterable(sources)) == self._keys
            )
        except Exception:  # noqa: BLE001 - an attribute value's own comparison may raise anything
            return False

    def _positions(self) -> dict[int, int]:
        if self._index is None:
            self._index = {id(source): position for position, source in enumerate(self._sources)}
        return self._index

    def _holds(self, position: int, source: Any, *, trusted: bool) -> bool:
        if self.bodies[position] is None:
            return False
        if trusted:
            return source is self._sources[position]
        snapshot = self._snapshots[position]
        if not isinstance(snapshot, dict):
            return False
        try:
            return (
                bool(source == snapshot)
                and list(source) == list(snapshot)
                and all(map(is_, source.values(), snapshot.values()))
            )
        except Exception:  # noqa: BLE001 - an attribute value's own comparison may raise anything
            return False
