"""The distributions that a scan finds, what their listing depends on, and which of several with one name counts."""

from __future__ import annotations

import os
from operator import attrgetter
from typing import TYPE_CHECKING

from exporter_core.discovery.entries import PluginEntry, normalize
from exporter_core.discovery.metadata import headers_of, headers_text, name_of_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

State = tuple[int, ...]
"""What a stat says of a path; empty for what cannot be stat'ed, such as a path that does not exist."""

state_of: Callable[[os.stat_result], State] = attrgetter("st_mtime_ns", "st_ctime_ns", "st_size", "st_ino")


class Watch:
    """The paths that a listing depends on, with the state that each had just before it was read.

    Args:
        settled_before: a directory changed after this (nanoseconds, the file system's own clock) may be part of an
            installation that is still going on; None if nothing will be remembered.
    """

    def __init__(self, settled_before: int | None = None) -> None:
        self.settled_before = settled_before
        self.roots: dict[str, State] = {}
        self.files: dict[str, State] = {}

    def add(self, path: str, status: os.stat_result) -> None:
        """Depend on this path, which was found to be so."""
        self.files[path] = state_of(status)

    def look(self, path: str) -> bool:
        """Depend on this path as it is at this moment; false if it cannot be stat'ed."""
        try:
            self.files[path] = state_of(os.stat(path))  # noqa: PTH116 - pathlib costs more to import than discovery does
        except (OSError, ValueError):
            return False
        return True

    def changed_since(self, moment: int) -> bool:
        """Whether anything changed at or after this file system time: such a state may hide a further change."""
        return any(state and state[1] >= moment for states in (self.roots, self.files) for state in states.values())


class Found:
    """One metadata directory, or what another finder gives in its place.

    Args:
        key: the normalised distribution name.
        location: the metadata directory, or a text for what has none.
        entries: (name, value, group) of the indexed groups.
        faults: what is wrong with its entry points, a line each.
        identity: name and version (empty if it has no metadata) when they are not to be read at ``location``.
    """

    __slots__ = ("entries", "faults", "identity", "key", "location")

    def __init__(
        self,
        key: str,
        location: str,
        entries: Sequence[tuple[str, str, str]],
        faults: Sequence[str],
        identity: tuple[str, str] | None = None,
    ) -> None:
        self.key = key
        self.location = location
        self.entries = entries
        self.faults = faults
        self.identity = identity

    def has_metadata(self, watch: Watch) -> bool:
        """Whether it has METADATA, as a directory that an uninstallation left behind has not."""
        if self.identity is not None:
            return self.identity != ("", "")
        for name in ("METADATA", "PKG-INFO"):
            if watch.look(f"{self.location}/{name}"):
                return True
        watch.look(self.location)
        return os.path.isfile(self.location)  # noqa: PTH113 - pathlib costs more to import than discovery does

    def name_and_version(self, watch: Watch | None = None) -> tuple[str, str]:
        """Name and version as METADATA has them, else as the directory's own name has them."""
        if self.identity is not None:
            name, version = self.identity
        else:
            name = version = ""
            if read := headers_text(self.location):
                path, text, status = read
                if watch is not None:
                    watch.add(path, status)
                name, version = headers_of(text, ("Name", "Version"))
        stem = name_of_directory(self.location.rpartition("/")[2]) or ("", "")
        return name or stem[0] or self.key, version or stem[1]


class Listing:
    """What is installed, as far as the indexed groups go.

    Args:
        entries: in order of name, group, distribution and value.
        problems: (location, what is wrong there) of entry points that could not be read.
    """

    __slots__ = ("entries", "problems")

    def __init__(self, entries: tuple[PluginEntry, ...], problems: tuple[tuple[str, str], ...]) -> None:
        self.entries = entries
        self.problems = problems


def listing_of(found: list[Found], watch: Watch) -> Listing:
    """The entries of those distributions that are not shadowed.

    Of several distributions with one name the first counts, as for import; one without METADATA counts only if none
    has it, as in importlib-metadata, because it is what an uninstallation left behind.
    """
    of_key: dict[str, list[Found]] = {}
    for one in found:
        of_key.setdefault(one.key, []).append(one)
    entries: list[PluginEntry] = []
    problems: list[tuple[str, str]] = []
    for key in dict.fromkeys(one.key for one in found if one.entries or one.faults):
        candidates = of_key[key]
        first = candidates[0]
        if len(candidates) > 1:
            first = next((one for one in candidates if one.has_metadata(watch)), first)
        problems.extend((first.location, fault) for fault in first.faults)
        if first.entries:
            name, version = first.name_and_version(watch)
            entries.extend(
                PluginEntry(entry, value, group, name, version, first.location) for entry, value, group in first.entries
            )
    entries.sort(key=_order)
    return Listing(tuple(entries), tuple(problems))


def _order(entry: PluginEntry) -> tuple[str, str, str, str]:
    return entry.name, entry.group, normalize(entry.distribution), entry.value
