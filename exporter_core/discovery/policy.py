"""Which plugins may be imported: allow and block lists of names and distributions, applied before any import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.discovery.entries import normalize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter_core.discovery.entries import PluginEntry


class PluginPolicy:
    """What a configuration allows and blocks. An item is an entry's name or its distribution's, compared normalised.

    Args:
        allow: if not None, nothing else may be imported; an empty one allows nothing.
        block: what may not be imported; stronger than ``allow``.
    """

    __slots__ = ("_allow", "_block", "allow", "block")

    def __init__(self, allow: Iterable[str] | None = None, block: Iterable[str] = ()) -> None:
        if isinstance(allow, str) or isinstance(block, str):
            raise TypeError("allow and block are sequences of names, not one name")
        self.allow: tuple[str, ...] | None = None if allow is None else tuple(allow)
        self.block: tuple[str, ...] = tuple(block)
        self._allow = None if self.allow is None else frozenset(map(normalize, self.allow))
        self._block = frozenset(map(normalize, self.block))

    def reason_against(self, entry: PluginEntry) -> str | None:
        """Why this entry may not be imported, as half a sentence; None if it may."""
        for kind, name in (("name", entry.name), ("distribution", entry.distribution)):
            if normalize(name) in self._block:
                return f"its {kind} {name!r} is in the block list"
        if self._allow is not None and not self._allow & {normalize(entry.name), normalize(entry.distribution)}:
            return f"neither its name {entry.name!r} nor its distribution {entry.distribution!r} is in the allow list"
        return None

    def __eq__(self, other: object) -> bool:
        return (
            (self.allow, self.block) == (other.allow, other.block)
            if isinstance(other, PluginPolicy)
            else NotImplemented
        )

    def __hash__(self) -> int:
        return hash((self.allow, self.block))

    def __repr__(self) -> str:
        return f"PluginPolicy(allow={self.allow!r}, block={self.block!r})"
