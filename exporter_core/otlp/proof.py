"""What attribute mappings said when they were encoded, so that a later look at them proves that they still do.

All mappings are looked at together, in C: their keys by equality, in order, and their values by identity, which for
immutable values holds for every difference, also that of 1, True and 1.0.
"""

from collections.abc import Sequence
from itertools import accumulate, chain
from operator import is_
from typing import Any

_ONLY_DICTS, _ONLY_TEXTS = {dict}, {str}
_BLOCK = 1024


class Proof:
    """The content of mappings, one after the other. Threads may share it once all are added.

    Attributes:
        unknown: the positions of which nothing is remembered.
    """

    __slots__ = ("_keys", "_lengths", "_same_keys", "_values", "unknown")

    def __init__(self) -> None:
        self.unknown: set[int] = set()
        self._lengths: list[int] = []
        self._values: list[Any] = []
        # Once for all where every mapping has the same and at least one, as is usual; else one mapping after the other.
        self._keys: list[str] = []
        self._same_keys = True

    def add(self, mapping: dict[str, Any]) -> None:  # values are of any type
        """Remember a mapping whose keys and values are immutable."""
        if not self._values and self._same_keys:
            self._keys = list(mapping)
        if self._same_keys and not (mapping and list(mapping) == self._keys):
            self._keys = self._all_keys()
            self._same_keys = False
        if not self._same_keys:
            self._keys += mapping
        self._lengths.append(len(mapping))
        self._values += mapping.values()

    def add_unknown(self) -> None:
        """Remember that nothing will prove this one unchanged."""
        self.unknown.add(len(self._lengths))
        self._lengths.append(0)

    def holds(self, mappings: list[Any]) -> bool:  # or what stands in their place
        """Whether these say what was remembered, all of it."""
        if self.unknown or set(map(type, mappings)) != _ONLY_DICTS:
            return False
        if len(mappings) != len(self._lengths):
            return False
        try:
            if not self._equal_keys(mappings):
                return False
        except Exception:  # noqa: BLE001 - what stands there instead of a text may raise anything when it is compared
            return False
        values = map(dict.values, mappings)
        return all(map(is_, chain.from_iterable(values), self._values)) or self._equal_texts(mappings)

    def first(self, count: int) -> "Proof":
        """What was remembered at so many positions at the beginning."""
        part = Proof()
        part._lengths = self._lengths[:count]
        end = sum(part._lengths)
        part._values = self._values[:end]
        part._same_keys = self._same_keys
        part._keys = list(self._keys) if self._same_keys else self._keys[:end]
        part.unknown = {position for position in self.unknown if position < count}
        return part

    def of(self, positions: Sequence[int]) -> "Proof":
        """What was remembered at these positions."""
        part = Proof()
        part._same_keys = self._same_keys
        part._keys = self._keys if self._same_keys else []
        starts = [0, *accumulate(self._lengths)]
        for position in positions:
            part._values += self._values[starts[position] : starts[position + 1]]
            if not self._same_keys:
                part._keys += self._keys[starts[position] : starts[position + 1]]
        part._lengths = [self._lengths[position] for position in positions]
        part.unknown = self.unknown.intersection(positions)
        return part

    def _equal_keys(self, mappings: list[dict[str, Any]]) -> bool:
        if not self._same_keys:
            return list(map(len, mappings)) == self._lengths and list(chain.from_iterable(mappings)) == self._keys
        # None can hold what another lacks: a key would stand in it twice. In blocks, for lists of all keys are long.
        for start in range(0, len(mappings), _BLOCK):
            block = mappings[start : start + _BLOCK]
            if list(chain.from_iterable(block)) != self._keys * len(block):
                return False
        return True

    def _equal_texts(self, mappings: list[dict[str, Any]]) -> bool:
        """Whether other values say the same, which equality proves where all of both are texts."""
        values = list(chain.from_iterable(map(dict.values, mappings)))
        return set(map(type, chain(values, self._values))) == _ONLY_TEXTS and values == self._values

    def _all_keys(self) -> list[str]:
        if self._same_keys and self._keys:
            return self._keys * (len(self._values) // len(self._keys))
        return self._keys
