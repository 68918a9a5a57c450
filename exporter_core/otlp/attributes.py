"""Attributes as encoded text or bytes, and what proves later that mappings still say what was encoded.

Knows neither encoding: how attributes are written is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate, chain, groupby, islice
from operator import is_
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes

from exporter_core.otlp.wire import UnencodableError, short

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

# Arrays nested in arrays: each level costs up to three levels of the 100 that protobuf parsers accept.
MAX_NESTING = 30

_CONTENT = (str, int, float, bytes, type(None))
_IMMUTABLE = frozenset({*_CONTENT, bool})
# Equal values of one of these types are encoded alike. Not so 0.0 and -0.0.
_EQUAL_IS_SAME = frozenset({str, int, bool, bytes, type(None)})
_COPIED_AT_ONCE = frozenset({dict, BoundedAttributes})
_TEXT = frozenset({str})
_REMEMBERED = frozenset({str, int, bool})
_KEPT_PAIRS = 2048
_KEPT_BYTES = 512
_FEW = 4  # fewer mappings are not worth looking at key by key
_SAMPLE = 32  # of so many values of a key most have to be different to be encoded one by one
_JOINT = "\0"  # between joined texts that do not contain it; in others as well joined it is found too often
_MOST_JOINED = 1 << 16  # values that are kept a second time, joined
_BLOCK = 256  # mappings that are compared at once: they stay in the processor's cache


@dataclass(slots=True)
class Written:
    """The encoded attributes of many mappings.

    Attributes:
        bodies: of each mapping; empty for one that has no place in the format.
        volatile: the places of those with values that can change in place.
        errors: what is wrong with those that have no place in the format, by their places.
    """

    bodies: list[bytes]
    volatile: Sequence[int] = ()
    errors: dict[int, str] = field(default_factory=dict)


class AttributeWriter:
    """Encodes attributes; remembers short pairs of key and value that it has met (bounded). Safe from any thread.

    Args:
        render: writes one attribute, of a key and a value, or raises UnencodableError.
        render_texts: writes attributes of one key with many texts; raises ValueError when one has no form.
        separator, before, after: stand between attributes and around them.
        empty: stands for no attributes at all.
    """

    def __init__(
        self,
        render: Callable[[object, object], bytes],
        render_texts: Callable[[str, Iterable[str]], list[bytes]],
        *,
        separator: bytes = b"",
        before: bytes = b"",
        after: bytes = b"",
        empty: bytes = b"",
    ) -> None:
        self._render, self._render_texts = render, render_texts
        self._separator, self._before, self._after, self.empty = separator, before, after, empty
        # By type and key, for 1, 1.0 and True are equal.
        self._known: dict[tuple[type, str], dict[Any, bytes]] = {}
        self._count = 0

    def of(self, attributes: Mapping[str, Any] | None) -> bytes:  # values are of any type
        """The encoded attributes of a mapping; None has none.

        Raises:
            UnencodableError: when a key or value has no place in the format.
        """
        if not attributes:
            return self.empty
        pairs = [self._pair(key, value) for key, value in attributes.items()]
        return self._before + self._separator.join(pairs) + self._after

    def write(self, contents: Contents) -> Written:
        """The encoded attributes of many mappings."""
        names = contents.names
        count = len(names)
        if count < _FEW:
            return self._one_by_one(contents)
        if names.count(names[0]) == count:
            return self._alike(names[0], contents)
        places: dict[tuple[Any, ...], list[int]] = {}
        for place, keys in enumerate(names):
            places.setdefault(keys, []).append(place)
        out = Written([b""] * count)
        volatile: list[int] = []
        for keys, group in places.items():
            part = self._alike(keys, contents.of_places(group))
            for place, body in zip(group, part.bodies, strict=True):
                out.bodies[place] = body
            volatile += [group[at] for at in part.volatile]
            out.errors.update({group[at]: error for at, error in part.errors.items()})
        out.volatile = sorted(volatile)
        return out

    def _alike(self, keys: tuple[Any, ...], contents: Contents) -> Written:
        """The encoded attributes of mappings with these keys in this order, key by key."""
        if not keys:
            return Written([self.empty] * len(contents.names))
        if list(map(type, keys)).count(str) < len(keys):
            return self._one_by_one(contents)
        immutable = True
        columns = []
        try:
            for at, key in enumerate(keys):
                values = contents.values[at :: len(keys)]
                column = self._column(key, values)
                if column is None:
                    column = [self._pair(key, value) for value in values]
                    immutable = immutable and _are_immutable(values)
                columns.append(column)
        except ValueError:
            return self._one_by_one(contents)
        bodies = self._joined(columns)
        if self._before or self._after:
            before, after = self._before, self._after
            bodies = [before + body + after for body in bodies]
        return Written(bodies) if immutable else Written(bodies, contents.volatile())

    def _joined(self, columns: list[list[bytes]]) -> list[bytes]:
        """The attributes of each mapping, of columns; those that are the same in all are joined once."""
        count = len(columns[0])
        parts: list[list[bytes]] = []
        # Those that are the same in all hold one object.
        for same, group in groupby(
            columns, lambda column: column[0] is column[-1] and column.count(column[0]) == count
        ):
            together = list(group)
            if same:
                parts.append([self._separator.join([column[0] for column in together])] * count)
            else:
                parts += together
        return parts[0] if len(parts) == 1 else list(map(self._separator.join, zip(*parts, strict=True)))

    def _one_by_one(self, contents: Contents) -> Written:
        out = Written([])
        volatile = []
        for place, mapping in enumerate(contents.mappings()):
            if can_change(mapping):
                volatile.append(place)
            try:
                out.bodies.append(self.of(mapping))
            except UnencodableError as error:
                out.bodies.append(b"")
                out.errors[place] = str(error)
        out.volatile = volatile
        return out

    def _column(self, key: str, values: list[Any]) -> list[bytes] | None:
        """Attributes of one key with values of one type; None for other types than those that are remembered."""
        kind = type(values[0])
        if kind not in _REMEMBERED or list(map(type, values)).count(kind) != len(values):
            return None
        sample = set(values[:_SAMPLE])
        if kind is str and len(sample) > _SAMPLE // 2:
            return self._render_texts(key, values)  # most are different
        same = len(sample) == 1 and values.count(values[0]) == len(values)
        distinct = sample if same else set(values)
        known = self._known.get((kind, key), {})
        missing = distinct.difference(known)
        if missing:
            made = self._render_texts(key, missing) if kind is str else [self._pair(key, value) for value in missing]
            pairs = dict(zip(missing, made, strict=True))
            if len(made) > _KEPT_PAIRS or max(map(len, made)) > _KEPT_BYTES:
                known = {**known, **pairs}
            else:
                self._remember(kind, key, known, pairs)
        return [known[values[0]]] * len(values) if same else list(map(known.__getitem__, values))

    def _remember(self, kind: type, key: str, known: dict[Any, bytes], pairs: dict[Any, bytes]) -> None:
        known.update(pairs)
        self._count += len(pairs)
        if self._count > _KEPT_PAIRS:
            self._known, self._count = {}, len(pairs)
            known = pairs  # other threads may be reading the larger one
        self._known[kind, key] = known

    def _pair(self, key: object, value: object) -> bytes:
        try:
            return self._render(key, value)
        except UnencodableError as error:
            raise UnencodableError(f"attribute {short(key)}: {error}") from error


def items_of(source: Any) -> dict[Any, Any]:  # a mapping, or what stands in its place
    """A copy of attributes.

    Raises:
        AttributeError, TypeError, ValueError: when they are not a readable mapping.
    """
    # The SDK's own mappings are copied at once, but read one item at a time.
    if type(source) in _COPIED_AT_ONCE:
        copy: dict[Any, Any] = source.copy()
        return copy
    return dict(source.items()) if source else {}


def can_change(items: Mapping[Any, Any]) -> bool:
    """True if something in a mapping can change unseen."""
    return not (_are_immutable(items.values()) and _TEXT.issuperset(map(type, items)))


def _are_immutable(values: Collection[Any]) -> bool:  # of any type
    """True if no value can change. Members of an enumeration cannot if they are texts or numbers: these are written."""
    return _IMMUTABLE.issuperset(map(type, values)) or all(
        issubclass(type(value), _CONTENT) or (type(value) is tuple and _IMMUTABLE.issuperset(map(type, value)))
        for value in values
    )


def are_same(source: Any, copy: dict[Any, Any]) -> bool:  # a mapping, or what stands in its place
    """True if a mapping has the items of a copy in their order, and none that can change unseen."""
    if type(source) is not dict:
        return False
    values = list(source.values())
    try:
        return _are_immutable(values) and list(source) == list(copy) and same_values(values, list(copy.values()))
    except Exception:  # noqa: BLE001 - what stands there instead of a text may raise anything when compared
        return False


@dataclass(slots=True)
class Contents:
    """The keys and values of many mappings.

    Attributes:
        names: the keys of each mapping; one tuple for all that have the same.
        values: the values of all, one after the other.
        texts: the joined values of blocks, by the place of the first mapping, once equal ones were met.
    """

    names: list[tuple[Any, ...]] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, mappings: Sequence[dict[Any, Any]]) -> Contents:
        """The contents of mappings, which nobody changes meanwhile."""
        count = len(mappings)
        keys = tuple(mappings[0]) if mappings else ()
        # No mapping has a key twice: where all should have the same, as many in all are as many in each.
        if list(chain.from_iterable(mappings)) == list(keys) * count:
            names = [keys] * count
        else:
            known: dict[tuple[Any, ...], tuple[Any, ...]] = {}
            names = [known.setdefault(keys, keys) for keys in map(tuple, mappings)]
        return cls(names, list(chain.from_iterable(map(dict.values, mappings))))

    @property
    def items(self) -> Sequence[int]:
        """The place at which the values of each mapping begin, and the one at which the last end."""
        names = self.names
        if names and names[0] and names.count(names[0]) == len(names):
            return range(0, len(names) * len(names[0]) + 1, len(names[0]))
        return list(accumulate(map(len, names), initial=0))

    @classmethod
    def joined(cls, parts: Sequence[Contents]) -> Contents:
        """The contents of mappings in several parts."""
        if len(parts) == 1:
            return parts[0]
        out = cls()
        for part in parts:
            out.names += part.names
            out.values += part.values
        return out

    def between(self, start: int, stop: int, first: int, last: int) -> Contents:
        """The contents of successive mappings, whose items begin and end there."""
        return Contents(self.names[start:stop], self.values[first:last])

    def of_places(self, places: Sequence[int]) -> Contents:
        """The contents of some of the mappings."""
        if places == range(len(self.names)):
            return self
        starts = self.items
        if isinstance(places, range):  # of successive ones
            return self.between(places.start, places.stop, starts[places.start], starts[places.stop])
        items = chain.from_iterable([range(starts[place], starts[place + 1]) for place in places])
        return Contents([self.names[place] for place in places], [self.values[item] for item in items])

    def mappings(self) -> Iterator[dict[Any, Any]]:
        """The mappings, made anew."""
        values = iter(self.values)
        return (dict(zip(keys, islice(values, len(keys)), strict=True)) for keys in self.names)

    def volatile(self) -> list[int]:
        """The places of mappings in which something can change unseen."""
        return [place for place, mapping in enumerate(self.mappings()) if can_change(mapping)]

    def are_in(self, mappings: Sequence[Any]) -> bool:  # mappings, or what stands in their place
        """True if as many mappings have these items in this order; a change in place within a value is not seen."""
        if len(mappings) != len(self.names):
            return False
        start = 0
        for at in range(0, len(self.names), _BLOCK):
            part, names = mappings[at : at + _BLOCK], self.names[at : at + _BLOCK]
            # Another class than dict may hand out its items as it likes.
            if list(map(type, part)).count(dict) != len(part):
                return False
            alike = names.count(names[0]) == len(names)
            keys = list(names[0]) * len(names) if alike else list(chain.from_iterable(names))
            stop = start + len(keys)
            try:
                if list(chain.from_iterable(part)) != keys or not (
                    alike or list(map(len, part)) == list(map(len, names))
                ):
                    return False
                values = chain.from_iterable(map(dict.values, part))
                text = self.texts.get(at)
                if text is None:
                    found, kept = list(values), self.values[start:stop]
                    same = same_values(found, kept)
                    if same and found and found[0] is not kept[0]:
                        self._join(at, kept)
                else:
                    same = _JOINT.join(values) == text
            except Exception:  # noqa: BLE001 - what stands there instead of a text may raise anything when compared
                return False
            if not same:
                return False
            start = stop
        return True

    def may_be(self, mapping: Any, place: int, item: int) -> bool:  # a mapping, or what stands in its place
        """False if a mapping is not the one of a place, whose values begin at an item.

        Where series are new, the first of a metric mostly is not, and no other has to be read.
        """
        try:
            return type(mapping) is dict and list(mapping.values()) == self.values[item : item + len(self.names[place])]
        except Exception:  # noqa: BLE001 - what stands there instead of a text may raise anything when compared
            return False

    def _join(self, at: int, values: list[Any]) -> None:
        """Keep the values of a block as one text: the joined texts of others are faster compared with that."""
        if len(self.values) <= _MOST_JOINED and _are_texts(values):
            text = _JOINT.join(values)
            if text.count(_JOINT) < len(values):
                self.texts[at] = text


def same_values(values: list[Any], others: list[Any]) -> bool:
    """True if values are encoded alike: if they are identical, or equal and of the same immutable types.

    Raises:
        Exception: whatever a value raises when it is compared.
    """
    if values != others:
        return False
    # Nothing immutable but a text equals a text. Identity holds for every difference, also that of 1, True and 1.0.
    if _are_texts(values) or all(map(is_, values, others)):
        return True
    types = list(map(type, values))
    return _EQUAL_IS_SAME.issuperset(types) and types == list(map(type, others))


def _are_texts(values: list[Any]) -> bool:
    """True if all are texts: to join them is the fastest way to see it."""
    if not values or type(values[-1]) is not str:
        return False
    try:
        "".join(values)
    except TypeError:
        return False
    return True
