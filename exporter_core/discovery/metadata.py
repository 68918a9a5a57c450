"""Reading the two metadata files that matter, entry_points.txt and METADATA, as importlib-metadata reads them.

The parsing is a few lines of text each; importlib.metadata itself costs more to import than all of it to run.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from exporter_core.discovery.entries import INDEXED_PREFIX, SDK_GROUP, is_indexed

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FILE_BYTES = 1 << 20
"""The longest entry_points.txt that is read: a thousand times the usual."""

MAX_HEADER_BYTES = 1 << 16
"""How much of METADATA is read: its first headers are name, version and summary."""

# A FIFO put in the place of a file would block a plain open for ever.
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class ReadError(Exception):
    """A metadata file is there and cannot be used; the message is one line without the path."""


def read_file(path: str, limit: int) -> tuple[bytes, os.stat_result] | None:
    """The file's first ``limit`` bytes, and its stat from before they were read; None if there is no such file.

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
    """The (name, value, group) of the indexed groups, and what is wrong with other lines of those groups.

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
    if INDEXED_PREFIX not in text and SDK_GROUP not in text:
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
    """The path, the text up to :data:`MAX_HEADER_BYTES` and the stat of METADATA, else of PKG-INFO; None without."""
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
    """The first value of each wanted header, empty if absent; folded lines are joined."""
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
    """The Summary that the metadata directory declares; empty if there is none."""
    read = headers_text(location)
    return headers_of(read[1], ["Summary"])[0] if read else ""


def name_of_directory(directory: str) -> tuple[str, str] | None:
    """Name and version as a metadata directory's own name has them; None if it is no metadata directory's name."""
    stem, dot, suffix = directory.rpartition(".")
    name, _, rest = stem.partition("-")
    if not (name.strip(".") and dot and suffix in ("dist-info", "egg-info")):
        return None
    return name, rest.partition("-")[0] if suffix == "egg-info" else rest


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
