"""The fast scan: the distributions along a path, and which of several with one name counts.

Metadata directories of plain directories are read straight from disk. Zip files and ``.egg`` directories are left to
importlib-metadata, one path entry at a time.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from exporter_core.discovery.entries import PluginEntry, normalize
from exporter_core.discovery.metadata import (
    MAX_FILE_BYTES,
    Found,
    ReadError,
    Watch,
    entries_of,
    headers_of,
    headers_text,
    name_of_directory,
    read_file,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Listing(NamedTuple):
    """The installed entry points of the indexed groups."""

    entries: tuple[PluginEntry, ...]
    """In order of name, group, distribution and value."""
    problems: tuple[tuple[str, str], ...]
    """Location and problem of each metadata directory whose entry points could not be read."""


def listing_of(found: list[Found], watch: Watch) -> Listing:
    """Return the entries of those distributions that are not shadowed.

    Of several distributions with one name the first counts, as for import; one without METADATA counts only if none
    has it, as in importlib-metadata, because an uninstallation left it behind.
    """
    of_key: dict[str, list[Found]] = {}
    for one in found:
        of_key.setdefault(one.key, []).append(one)
    entries: list[PluginEntry] = []
    problems: list[tuple[str, str]] = []
    for key in dict.fromkeys(one.key for one in found if one.entries or one.faults):
        first, *others = of_key[key]
        if others:
            first = next((one for one in of_key[key] if one.has_metadata(watch)), first)
        problems.extend((first.location, fault) for fault in first.faults)
        if first.entries:
            identity = first.name_and_version(watch)
            entries.extend(PluginEntry(*entry, *identity, first.location) for entry in first.entries)
    entries.sort(key=lambda entry: (entry.name, entry.group, normalize(entry.distribution), entry.value))
    return Listing(tuple(entries), tuple(problems))


def absolute(path: Iterable[object]) -> list[str]:
    """Return the path entries as absolute paths, the empty one as the current directory; each once, in order."""
    found: dict[str, None] = {}
    for entry in path:
        text = os.fspath(entry) if isinstance(entry, os.PathLike) else entry
        if not isinstance(text, str):
            continue  # import ignores it too
        if not text.startswith("/"):
            try:
                text = os.path.abspath(text)  # noqa: PTH100 - pathlib costs more to import than discovery does
            except OSError:
                continue  # the current directory is gone, and everything relative to it
        found[text] = None
    return list(found)


def scan(path: Sequence[str], watch: Watch) -> list[Found]:
    """Return every distribution along the absolute path entries, in order; a directory reached twice is read once."""
    found: list[Found] = []
    seen: set[tuple[int, int]] = set()
    for root in path:
        try:
            status = os.stat(root)  # noqa: PTH116 - pathlib costs more to import than discovery does
        except (OSError, ValueError):
            watch.roots[root] = ()
            continue
        watch.roots[root] = state_of(status)
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            continue
        seen.add(identity)
        if stat.S_ISREG(status.st_mode) or root.lower().endswith(".egg"):
            from exporter_core.discovery.fallback import found_in  # noqa: PLC0415 - it imports importlib-metadata

            found.extend(found_in(root))
            watch.look(f"{root}/EGG-INFO")
            watch.look(f"{root}/EGG-INFO/entry_points.txt")
        elif stat.S_ISDIR(status.st_mode):
            # An installation that is still going on has made its metadata directory, which changed this one.
            found.extend(_found_in(root, watch.may_be_growing(status), watch))
    return found


def _found_in(root: str, growing: bool, watch: Watch) -> Iterator[Found]:
    try:
        children = os.listdir(root)  # noqa: PTH208 - pathlib costs more to import than discovery does
    except OSError:
        return  # not readable: import finds nothing there by listing either
    prefix = root if root.endswith("/") else f"{root}/"
    for child in children:
        if not child.lower().endswith((".dist-info", ".egg-info")):
            continue
        location = prefix + child
        entries, faults = _entries_at(location, growing, watch)
        named = name_of_directory(child)
        key = normalize(named[0]) if named else _key_from_metadata(location, watch)
        if key:
            yield Found(key, location, entries, faults)
        elif entries or faults:
            yield Found(location, location, faults=["neither its directory nor METADATA names a distribution"])


def _entries_at(location: str, growing: bool, watch: Watch) -> tuple[Sequence[tuple[str, str, str]], Sequence[str]]:
    path = f"{location}/entry_points.txt"
    # Most distributions have none, and asking is a third of the cost of failing to open it. What appears between the
    # look and the stat is found by looking again after the stat.
    if not os.access(path, os.F_OK) and not (
        growing and _may_be_unfinished(location, watch) and os.access(path, os.F_OK)
    ):
        return (), ()
    try:
        read = read_file(path, MAX_FILE_BYTES + 1)
        if read is None:
            watch.look(location)
            return (), ()
        data, status = read
        watch.add(path, status)
        return entries_of(data)
    except ReadError as error:
        if path not in watch.files and not watch.look(path):
            watch.look(location)
        return (), (f"entry_points.txt: {error}",)


def _may_be_unfinished(location: str, watch: Watch) -> bool:
    """Return True if an installation may yet add an entry_points.txt; the listing then depends on the directory."""
    try:
        status = os.stat(location)  # noqa: PTH116 - pathlib costs more to import than discovery does
    except OSError:
        return False
    growing = watch.may_be_growing(status)
    if growing:
        watch.add(location, status)
    return growing


def _key_from_metadata(location: str, watch: Watch) -> str:
    read = headers_text(location)
    watch.look(location)
    if read is None:
        return ""
    watch.add(read[0], read[2])
    return normalize(headers_of(read[1], ["Name"])[0])
