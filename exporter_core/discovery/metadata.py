"""Distributions as their metadata directories describe them, and the files that a listing of them depends on.

The two files that matter, entry_points.txt and METADATA, are parsed as importlib-metadata does it, in a few lines of
text each; importlib.metadata itself costs more to import than all of it to run.
"""

from __future__ import annotations

import os
import stat
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from exporter_core.discovery.entries import INDEXED_PREFIX, SDK_GROUP, SDK_PULL_GROUP, is_indexed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_FILE_BYTES = 1 << 20
"""The longest entry_points.txt that is read: a thousand times the usual."""

MAX_HEADER_BYTES = 1 << 16
"""The part of METADATA that is read: its first headers are name, version and summary."""

# A FIFO put in the place of a file would block a plain open for ever.
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


State = tuple[int, ...]
"""The parts of a path's stat that show a change; empty for a path that cannot be stat'ed, such as a missing one."""

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
        """Depend on this path, which was found in this state."""
        self.files[path] = state_of(status)

    def look(self, path: str) -> bool:
        """Depend on this path as it is at this moment; return False if it cannot be stat'ed."""
        try:
            self.files[path] = state_of(os.stat(path))  # noqa: PTH116 - pathlib costs more to import than discovery does
        except (OSError, ValueError):
            return False
        return True

    def may_be_growing(self, status: os.stat_result) -> bool:
        """Return True if an installation that is still going on may have changed this directory."""
        return self.settled_before is not None and status.st_mtime_ns >= self.settled_before

    def changed_since(self, moment: int) -> bool:
        """Return True if anything changed at or after this file system time: such a state may hide a further change."""
        return any(state and state[1] >= moment for states in (self.roots, self.files) for state in states.values())


class Found(NamedTuple):
    """One distribution: a metadata directory, or the result of another finder."""

    key: str
    """The normalised distribution name."""
    location: str
    """The metadata directory; for a distribution without one, a text that says where it comes from."""
    entries: Sequence[tuple[str, str, str]] = ()
    """Name, value and group of each entry point of the indexed groups."""
    faults: Sequence[str] = ()
    """Problems with its entry points, a line each."""
    identity: tuple[str, str] | None = None
    """Name and version (empty if it has no metadata) when they are not to be read at ``location``."""

    def has_metadata(self, watch: Watch) -> bool:
        """Return True if it has METADATA, which a directory that an uninstallation left behind has not."""
        if self.identity is not None:
            return self.identity != ("", "")
        for name in ("METADATA", "PKG-INFO"):
            if watch.look(f"{self.location}/{name}"):
                return True
        watch.look(self.location)
        return os.path.isfile(self.location)  # noqa: PTH113 - pathlib costs more to import than discovery does

    def name_and_version(self, watch: Watch | None = None) -> tuple[str, str]:
        """Name and version as METADATA has them, else as the directory's own name has them."""
        name, version = self.identity or ("", "")
        if self.identity is None and (read := headers_text(self.location)):
            path, text, status = read
            if watch is not None:
                watch.add(path, status)
            name, version = headers_of(text, ("Name", "Version"))
        stem = name_of_directory(self.location.rpartition("/")[2]) or ("", "")
        return name or stem[0] or self.key, version or stem[1]


class ReadError(Exception):
    """A metadata file is there and cannot be used; the message is one line without the path."""


def read_file(path: str, limit: int) -> tuple[bytes, os.stat_result] | None:
    """Return the file's first ``limit`` bytes, and its stat from before they were read; None if there is no such file.

    Raises:
        ReadError: it is there and cannot be read.
    """
    try:
        fd = os.open(path, _OPEN_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ReadError(_reason(error)) from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        # A file that grows meanwhile has another stat afterwards, so its size as it was is enough.
        wanted = min(limit, status.st_size)
        data = os.read(fd, wanted)
        while len(data) < wanted and (more := os.read(fd, wanted - len(data))):
            data += more
        return data, status
    except OSError as error:
        raise ReadError(_reason(error)) from None
    finally:
        os.close(fd)


def entries_of(data: bytes) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Return (name, value, group) of the indexed groups, and the problems of other lines of those groups.

    Same rules as importlib-metadata, except that a line without ``=`` is reported instead of spoiling everything.

    Raises:
        ReadError: the text is not UTF-8 or too long.
    """
    if len(data) > MAX_FILE_BYTES:
        raise ReadError(f"longer than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReadError(f"not UTF-8 at byte {error.start}") from None
    found: list[tuple[str, str, str]] = []
    faults: list[str] = []
    if not any(start in text for start in (INDEXED_PREFIX, SDK_GROUP, SDK_PULL_GROUP)):
        return found, faults
    group = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        if line[0] == "[" and line[-1] == "]":
            group = line.strip("[]")
        elif is_indexed(group):
            name, equals, value = line.partition("=")
            if equals:
                found.append((name.strip(), value.strip(), group))
            else:
                faults.append(f"line {number}: expected 'name = module:attribute', not {line[:80]!r}")
    return found, faults


def headers_text(location: str) -> tuple[str, str, os.stat_result] | None:
    """Return path, text up to :data:`MAX_HEADER_BYTES` and stat of METADATA, else of PKG-INFO; None without both."""
    for name in ("METADATA", "PKG-INFO"):
        path = os.path.join(location, name)  # noqa: PTH118 - pathlib costs more to import than discovery does
        try:
            read = read_file(path, MAX_HEADER_BYTES)
        except ReadError:
            continue
        if read and read[0]:
            return path, read[0].decode("utf-8", "replace"), read[1]
    return None


def headers_of(text: str, wanted: Sequence[str]) -> list[str]:
    """Return the first value of each wanted header, empty if absent; folded lines are joined."""
    values: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        if not line:
            break
        if line[0] in " \t":
            if last:
                values[last] += " " + line.strip()
            continue
        key, colon, value = line.partition(":")
        if not colon:
            break
        last = key.lower() if key.lower() not in values else ""
        if last:
            values[last] = value.strip()
    return [values.get(name.lower(), "") for name in wanted]


def summary_in(location: str) -> str:
    """Return the Summary that the metadata directory declares; empty if there is none."""
    read = headers_text(location)
    return headers_of(read[1], ["Summary"])[0] if read else ""


def name_of_directory(directory: str) -> tuple[str, str] | None:
    """Return name and version as a metadata directory's own name has them; None if it is no such name."""
    stem, dot, suffix = directory.rpartition(".")
    name, _, rest = stem.partition("-")
    if not (name.strip(".") and dot and suffix in ("dist-info", "egg-info")):
        return None
    return name, rest.partition("-")[0] if suffix == "egg-info" else rest


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
