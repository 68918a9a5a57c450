"""The encoded attributes of one metric's points, and the proof at the next export that they still hold.

A `Series` never changes once it is built, so threads may share it. Its checks run over all points of a metric at
once, in C: the identity of every key and value where these are immutable, or of the mappings alone in trusted mode.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain
from operator import is_
from typing import Any

from exporter_core.otlp.attributes import AttributeWriter, Stability
from exporter_core.otlp.wire import UnencodableError, headed, headless

_UNPROVEN = -1  # a length that no mapping has: what stands there is encoded at every export
_ONLY_DICTS, _ONLY_TEXTS = {dict}, {str}
_UNREADABLE = (AttributeError, TypeError, ValueError)

Sources = list[Any]  # attribute mappings, or what stands in their place


class Series:
    """The attributes of a sequence of points, encoded.

    Args:
        sources: the mappings.
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

    __slots__ = (
        "_keys",
        "_lengths",
        "_provable",
        "_same_keys",
        "_sources",
        "_values",
        "errors",
        "pieces",
        "size",
        "tail",
    )

    def __init__(
        self,
        sources: Sources,
        writer: AttributeWriter,
        previous: "Series | None" = None,
        *,
        trusted: bool = False,
        tail: int | None = None,
    ) -> None:
        self._sources = sources
        self.tail = tail
        self.errors: dict[int, str] = {}
        self.pieces: list[bytes | None] = []
        # The proof: how many keys each mapping has, and the keys and values of all, one mapping after the other. The
        # keys stand there once where all mappings have the same and at least one, as they mostly do.
        self._lengths: list[int] = []
        self._keys: list[str] = []
        self._same_keys = True
        self._provable = True
        self._values: list[Any] = []
        find = previous._finder(trusted=trusted) if previous else None
        for position, source in enumerate(sources):
            stability = Stability.IDENTITY
            old = find(source) if find else None
            if previous is not None and old is not None:
                piece = previous.pieces[old]
                body = piece if piece is None or previous.tail is None else headless(piece)
            else:
                body = None
            if body is None:
                try:
                    body, stability = writer.write(source)
                except UnencodableError as error:
                    self.errors[position] = str(error)
                except _UNREADABLE as error:
                    self.errors[position] = f"attributes are not a readable mapping: {error}"
            self.pieces.append(body if body is None or tail is None else headed(body, tail))
            if not trusted:
                self._remember(source, proven=body is not None and stability is Stability.IDENTITY)
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
        usable = previous is not None and previous.tail == tail and not previous.errors
        if trusted and usable and previous and len(points) == len(previous._sources):
            differing = [
                1 for point, source in zip(points, previous._sources, strict=True) if point.attributes is not source
            ]
            if not differing:
                return previous
        sources = [point.attributes for point in points]
        if not trusted and usable and previous and previous._holds(sources):
            return previous
        return cls(sources, writer, previous, trusted=trusted, tail=tail)

    def bodies(self) -> list[bytes | None]:
        """The encoded attributes without heads."""
        if self.tail is None:
            return self.pieces
        return [piece if piece is None else headless(piece) for piece in self.pieces]

    def _remember(self, source: Any, *, proven: bool) -> None:
        if not proven:
            self._lengths.append(_UNPROVEN)
            self._provable = False
            return
        self._lengths.append(len(source))
        if self._same_keys and (not source or (self._values and not _identical(source, self._keys))):
            self._keys = list(self._all_keys())
            self._same_keys = False
        if not self._same_keys or not self._values:
            self._keys += source
        self._values += source.values()

    def _all_keys(self) -> list[str]:
        if self._same_keys and self._keys:
            return self._keys * (len(self._values) // len(self._keys))
        return self._keys

    def _holds(self, sources: Sources) -> bool:
        """Whether these mappings say what the proof says: equal keys in the same order, and identical values."""
        if not self._provable or len(sources) != len(self._sources):
            return False
        if not all(map(is_, sources, self._sources)) and set(map(type, sources)) != _ONLY_DICTS:
            return False
        try:
            if list(chain.from_iterable(sources)) != self._all_keys():
                return False
        except Exception:  # noqa: BLE001 - what stands there instead of a text may raise anything when it is compared
            return False
        # Where all have the same keys, no mapping can hold what another lacks: a key would stand in it twice.
        if not self._same_keys and list(map(len, sources)) != self._lengths:
            return False
        return all(map(is_, chain.from_iterable(map(dict.values, sources)), self._values)) or self._equal_texts(sources)

    def _equal_texts(self, sources: Sources) -> bool:
        """Whether other values say the same, which equality proves where all are texts."""
        values = list(chain.from_iterable(map(dict.values, sources)))
        return set(map(type, values)) == _ONLY_TEXTS and values == self._values

    def _finder(self, *, trusted: bool) -> Callable[[Any], int | None]:
        """Looks up the position of an identical mapping, if what was encoded there still holds."""
        positions = {id(source): position for position, source in enumerate(self._sources)}
        starts = [0, *accumulate(max(length, 0) for length in self._lengths)]

        def find(source: Any) -> int | None:
            position = positions.get(id(source))
            if position is None or not (trusted or self._unchanged(source, position, starts[position])):
                return None
            return position

        return find

    def _unchanged(self, source: Any, position: int, start: int) -> bool:
        length = self._lengths[position]
        if type(source) is not dict or len(source) != length:
            return False
        if not length:
            return True
        keys = self._keys if self._same_keys else self._keys[start : start + length]
        return _identical(source, keys) and _identical(source.values(), self._values[start : start + length])


def _identical(some: Iterable[object], others: Sequence[object]) -> bool:
    found = list(some)
    return len(found) == len(others) and all(map(is_, found, others))
