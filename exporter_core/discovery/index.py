"""The index: a listing kept in a small text file, and used while every path that it depends on is unchanged.

A stat of each path entry and each known entry_points.txt decides. A file that cannot be used, for whatever reason,
means a scan; nothing here raises because of the cache.
"""

from __future__ import annotations

import binascii
import os
import stat
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from exporter_core.discovery.entries import PluginEntry
from exporter_core.discovery.metadata import State, Watch, state_of
from exporter_core.discovery.scan import Listing, absolute, listing_of, scan

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAGIC = b"exporter-core index 3"
_FILE_PREFIX = "exporter-core-index-"
_MAX_BYTES = 1 << 26
_KEPT_FILES = 64  # each sys.path has a file of its own, and some programs make many
_KEPT_SECONDS = 30 * 86_400  # after which a file is most likely that of an environment that is gone
_SETTLING_NS = 60 * 10**9  # an installation writes entry_points.txt well within this of making its directory


def listing(path: Sequence[str] | None = None, *, refresh: bool = False) -> Listing:
    """List what is installed along ``path`` (default: ``sys.path``); ``refresh`` scans whatever the index says."""
    roots = absolute(sys.path if path is None else path)
    if _has_custom_finders():
        # What such a finder depends on cannot be known, so nothing is remembered.
        from exporter_core.discovery.fallback import found_by_finders  # noqa: PLC0415 - it imports importlib-metadata

        return listing_of(found_by_finders(roots), Watch())
    key = b"\0".join(map(os.fsencode, roots))
    file = _file_for(key)
    if file and not refresh:
        known = _load(file, key)
        if known is not None:
            return known
    return _scan_and_store(roots, key, file)


def _has_custom_finders() -> bool:
    modules = [finder.__module__ for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    # The second is the backport's, or a copy of it that a packaging tool carries inside itself.
    return any(
        module != "_frozen_importlib_external" and module.rpartition(".")[2] != "importlib_metadata"
        for module in modules
    )


def _file_for(key: bytes) -> str | None:
    """Return the index file of these path entries; None where none is kept."""
    setting = os.environ.get("EXPORTER_CORE_CACHE", "")
    if setting.lower() == "off":
        return None
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # the XDG specification: a relative one is invalid and ignored
        base = os.path.expanduser("~/.cache")  # noqa: PTH111 - pathlib costs more to import than discovery does
    if not (setting or base.startswith("/")):
        return None
    return f"{setting or f'{base}/exporter-core'}/{_FILE_PREFIX}{binascii.crc32(key):08x}"


def _load(file: str, key: bytes) -> Listing | None:
    """Return the remembered listing; None if there is none, it cannot be trusted, or something has changed since."""
    head, _, body = _read_trusted(file).partition(b"\n")
    lines = body.split(b"\n")
    if head != b"%s %08x" % (_MAGIC, binascii.crc32(body)) or lines[0] != key:
        return None
    roots = key.split(b"\0")
    states: list[State] = []
    try:
        for number, root in enumerate(roots, 1):
            _add_states(states, root, lines[number])
        unchanged = _stamp(states) == lines[len(roots) + 1]
    except (OSError, ValueError, IndexError):
        return None  # a file is gone, which is a change too
    return _listing_from(lines[len(roots) + 2 : -1]) if unchanged else None


def _add_states(states: list[State], root: bytes, files: bytes) -> None:
    """Add the state of a path entry and of the files in it (relative paths, separated by NUL)."""
    if not files:
        try:
            states.append(state_of(os.stat(root)))  # noqa: PTH116 - pathlib costs more to import than discovery does
        except (OSError, ValueError):
            states.append(())
        return
    # Relative to an open directory: the system does not walk the long common part of the paths again and again.
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        states.append(state_of(os.fstat(fd)))
        states += map(state_of, map(partial(os.stat, dir_fd=fd), files.split(b"\0")))
    finally:
        os.close(fd)


def _read_trusted(file: str) -> bytes:
    """Return the file's content; empty if it is not a plain file of our own that nobody else may write."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (OSError, ValueError):
        return b""
    try:
        status = os.fstat(fd)
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
        return os.read(fd, status.st_size) if ours and status.st_size <= _MAX_BYTES else b""
    except OSError:
        return b""
    finally:
        os.close(fd)


def _listing_from(lines: list[bytes]) -> Listing | None:
    entries: list[PluginEntry] = []
    problems: list[tuple[str, str]] = []
    for line in lines:
        fields = line.decode("utf-8", "surrogateescape").split("\0")
        if len(fields) == 6:  # noqa: PLR2004 - the fields of an entry
            entries.append(PluginEntry(*fields))
        elif len(fields) == 2:  # noqa: PLR2004 - the fields of a problem
            problems.append((fields[0], fields[1]))
        else:
            return None
    return Listing(tuple(entries), tuple(problems))


def _scan_and_store(roots: list[str], key: bytes, file: str | None) -> Listing:
    temporary = _create_beside(file) if file else None
    if file is None or temporary is None:
        watch = Watch()
        return listing_of(scan(roots, watch), watch)
    name, fd = temporary
    try:
        # The file system's own time, from before the scan. A change within the same tick of its clock leaves no trace
        # in a stat, so a state as young as this cannot be relied on.
        begun = os.fstat(fd).st_mtime_ns
        watch = Watch(settled_before=begun - _SETTLING_NS)
        result = listing_of(scan(roots, watch), watch)
        # The old file is invalid, or a refresh was asked for. Besides, ext4 writes a file that replaces another one to
        # the disk at once, which costs more than the scan that another process may make meanwhile.
        _remove(file)
        data = None if watch.changed_since(begun) else _encoded(key, watch, result)
        if data is not None and _put(name, fd, data, file):
            name = ""
    finally:
        os.close(fd)
        if name:
            _remove(name)
    return result


def _encoded(key: bytes, watch: Watch, result: Listing) -> bytes | None:
    """Return the file's content; None if a path or a value holds a character that the format gives a meaning."""
    rows = [*result.entries, *result.problems]
    if any("\0" in field or "\n" in field for row in rows for field in row):
        return None
    lines = [key]
    states: list[State] = []
    unplaced = dict(watch.files)
    for root, state in watch.roots.items():
        prefix = f"{root.rstrip('/')}/"
        within = [path for path in unplaced if path.startswith(prefix)]
        states += [state, *(unplaced.pop(path) for path in within)]
        lines.append(b"\0".join(os.fsencode(path[len(prefix) :]) for path in within))
    lines.append(_stamp(states))
    if unplaced or any(b"\n" in line for line in lines):
        return None
    lines += ["\0".join(row).encode("utf-8", "surrogateescape") for row in rows]
    body = b"\n".join(lines) + b"\n"
    return b"%s %08x\n%s" % (_MAGIC, binascii.crc32(body), body)


def _stamp(states: list[State]) -> bytes:
    # Python does not salt the hash of integers, so it is the same in every process; it is ten times as fast as
    # comparing texts, and a wrong "unchanged" has a chance of 1 in 2**61.
    return b"%d" % hash(tuple(states))


def _create_beside(file: str) -> tuple[str, int] | None:
    """Create a new file of our own in the index's folder, and that folder; return None if that is impossible."""
    name = f"{file}.{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        os.makedirs(os.path.dirname(name), 0o700, exist_ok=True)  # noqa: PTH103, PTH120 - pathlib is not imported here
        return name, os.open(name, flags, 0o600)
    except (OSError, ValueError):
        return None


def _put(name: str, fd: int, data: bytes, file: str) -> bool:
    """Write the file and move it into place as a whole; return False if that failed."""
    try:
        while data:
            data = data[os.write(fd, data) :]
        os.replace(name, file)  # noqa: PTH105 - pathlib costs more to import than discovery does
        _drop_oldest(os.path.dirname(file))  # noqa: PTH120 - as above
    except OSError:
        return False
    return True


def _drop_oldest(folder: str) -> None:
    """Keep the folder small: it holds an index for each sys.path, and files that interrupted processes left."""
    with os.scandir(folder) as children:
        ours = [
            (child.stat(follow_symlinks=False).st_mtime, child.path)
            for child in children
            if child.name.startswith(_FILE_PREFIX)
        ]
    ours.sort()
    eldest = time.time() - _KEPT_SECONDS
    for number, (modified, path) in enumerate(ours):
        if number < len(ours) - _KEPT_FILES or modified < eldest:
            _remove(path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 - pathlib costs more to import than discovery does
    except OSError:
        pass  # another process was faster, or the folder has become unwritable: nothing depends on it
