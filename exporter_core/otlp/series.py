"""The encoded attributes of one metric's points, reused at the next export where they still hold."""

from collections.abc import Sequence
from typing import Any

from exporter_core.otlp.attributes import AttributeWriter, Stability
from exporter_core.otlp.proof import Proof
from exporter_core.otlp.wire import UnencodableError, headed, headless

_UNREADABLE = (AttributeError, TypeError, ValueError)


class Series:
    """The attributes of a sequence of points, encoded. Never changes once it is built, so threads may share it.

    Args:
        sources: the attribute mappings, or what stands in their place.
        writer: encodes one.
        previous: what the last export left, if anything.
        trusted: whether an identical mapping is taken to be unchanged.
        tail: the length in bytes of what follows the attributes in every point, for the head of the point to stand
            before them; None leaves heads out.

    Attributes:
        pieces: the encoded attributes, one a point, with the point's head if `tail` is given; None where they have no
            place in the format.
        tail: as given.
        size: the bytes of all pieces together.
        errors: what is wrong with those that have no place in the format, by position.
    """

    __slots__ = ("_proof", "_sources", "errors", "pieces", "size", "tail")

    def __init__(
        self,
        sources: list[Any],
        writer: AttributeWriter,
        previous: "Series | None",
        *,
        trusted: bool,
        tail: int | None,
    ) -> None:
        self._sources = sources
        self.tail = tail
        self.errors: dict[int, str] = {}
        old_pieces = previous._pieces_for(tail) if previous else []
        reusable = previous._reusable(sources) if previous else {}
        # What stands where it stood is taken over as a whole: series mostly come at the end.
        same = 0
        while reusable.get(same) == same:
            same += 1
        self.pieces: list[bytes | None] = old_pieces[:same]
        self._proof = None if trusted else Proof()
        if self._proof is not None and previous is not None and previous._proof is not None:
            self._proof = previous._proof.first(same)
        for position, source in enumerate(sources[same:], same):
            if position in reusable:
                self.pieces.append(old_pieces[reusable[position]])
                stability = Stability.IDENTITY
            else:
                stability = self._encode(position, source, writer)
            if self._proof is None:
                continue
            if stability is Stability.IDENTITY:
                self._proof.add(source)
            else:
                self._proof.add_unknown()
        self.size = sum(len(piece) for piece in self.pieces if piece is not None)

    @classmethod
    def of(
        cls,
        points: Sequence[Any],
        writer: AttributeWriter,
        previous: "Series | None",
        *,
        trusted: bool,
        tail: int | None,
    ) -> "Series":
        """The series of these points: the previous one where it still holds for all of them, else one built from it."""
        if previous is not None and previous.tail == tail and not previous.errors and previous._holds(points):
            return previous
        return cls([point.attributes for point in points], writer, previous, trusted=trusted, tail=tail)

    def bodies(self) -> list[bytes | None]:
        """The encoded attributes without heads."""
        if self.tail is None:
            return self.pieces
        return [piece if piece is None else headless(piece) for piece in self.pieces]

    def _pieces_for(self, tail: int | None) -> list[bytes | None]:
        """The pieces as they are with another length of tail."""
        if tail == self.tail:
            return self.pieces
        bodies = self.bodies()
        return bodies if tail is None else [body if body is None else headed(body, tail) for body in bodies]

    def _encode(self, position: int, source: Any, writer: AttributeWriter) -> Stability:  # or what stands in its place
        try:
            body, stability = writer.write(source)
        except UnencodableError as error:
            self.errors[position] = str(error)
        except _UNREADABLE as error:
            self.errors[position] = f"attributes are not a readable mapping: {error}"
        else:
            self.pieces.append(body if self.tail is None else headed(body, self.tail))
            return stability
        self.pieces.append(None)
        return Stability.NONE

    def _holds(self, points: Sequence[Any]) -> bool:
        if self._proof is not None:
            return self._proof.holds([point.attributes for point in points])
        if len(points) != len(self._sources):
            return False
        return not [1 for point, source in zip(points, self._sources, strict=True) if point.attributes is not source]

    def _reusable(self, sources: list[Any]) -> dict[int, int]:
        """Where what was encoded of an identical mapping still holds: position in the sources -> position here."""
        positions = {id(source): position for position, source in enumerate(self._sources)}
        never = self._proof.unknown if self._proof is not None else self.errors
        found = map(positions.get, map(id, sources))
        pairs = [(place, old) for place, old in enumerate(found) if old is not None and old not in never]
        return dict(pairs if self._proof is None else _holding(self._proof, sources, pairs))


def _holding(proof: Proof, sources: list[Any], pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pairs of new and old position at which the proof holds: looked at together, by halves where some do not."""
    if not pairs or proof.of([old for _, old in pairs]).holds([sources[place] for place, _ in pairs]):
        return pairs
    if len(pairs) == 1:
        return []
    middle = len(pairs) // 2
    return _holding(proof, sources, pairs[:middle]) + _holding(proof, sources, pairs[middle:])
