"""Reads the text of a config file: a regular file of limited size, in UTF-8. It never waits and never fills memory."""

from __future__ import annotations

import os
import stat
from typing import Final

from exporter_core.errors import ConfigError, ConfigProblem

MAX_BYTES: Final = 1_000_000
"""The largest config file, in bytes."""

_OTHER_ENCODINGS: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00": "UTF-32"}


def read_text(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> str:
    """Return the text of a file, without a byte order mark; a file larger than ``max_bytes`` is refused unread.

    Raises:
        ConfigError: it cannot be read, or is not a text file in UTF-8.
    """
    source = os.fspath(path)
    if not source:
        raise ConfigError([ConfigProblem("expected the name of a config file, not an empty text")])
    try:
        data = _read(source, max_bytes)
    except OSError as error:
        raise _refusal(f"cannot read the file: {error.strerror or error}", source) from None
    except ValueError:
        raise _refusal("cannot read the file: its name has a null character", source.replace("\0", "?")) from None
    for mark, encoding in _OTHER_ENCODINGS.items():
        if data.startswith(mark):
            raise _refusal(f"the file is in {encoding}; save it as UTF-8", source, 1, 1)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise _refusal(
            f"the byte 0x{error.object[error.start]:02X} is not UTF-8; save the file as UTF-8", source, line, column
        ) from None


def _read(source: str, max_bytes: int) -> bytes:
    # Opening a pipe that nobody writes to would wait for ever without O_NONBLOCK.
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise _refusal("is a directory; name a config file", source)
        if not stat.S_ISREG(status.st_mode):
            raise _refusal("is not a regular file", source)
        if status.st_size > max_bytes:
            raise _refusal(f"has {status.st_size:,} bytes; a config file has at most {max_bytes:,}", source)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:  # it grew, or it is one of the kernel's files, whose size is given as 0
        raise _refusal(f"has more than {max_bytes:,} bytes; that is the most for a config file", source)
    return data


def _refusal(message: str, source: str, line: int | None = None, column: int | None = None) -> ConfigError:
    return ConfigError([ConfigProblem(message, source=source, line=line, column=column)])
