"""The descriptors of this process by the file that they lead to, and the threads that wait in a write to one."""

from __future__ import annotations

import fcntl
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_DESCRIPTORS: Final = "/proc/self/fd"
_TASKS: Final = "/proc/self/task"
_WRITES: Final = {"x86_64": {1, 18, 20, 296, 328}, "aarch64": {64, 66, 68, 70, 287}}
"""The numbers of the system calls that write to a descriptor: write, writev and their variants with a position."""


_STANDARD: Final = 2  # the last of the descriptors that child processes get


class FileIdentity(NamedTuple):
    """A file or a pipe, whatever its name."""

    device: int
    number: int

    @classmethod
    def of(cls, file: int | Path) -> FileIdentity:
        """The file that a descriptor or a path leads to."""
        found = os.stat(file)  # noqa: PTH116 - of a descriptor as well
        return cls(found.st_dev, found.st_ino)


def writing_to(file: FileIdentity) -> list[int]:
    """The descriptors of this process through which the file can be written."""
    found = []
    for name in os.listdir(_DESCRIPTORS) if os.path.isdir(_DESCRIPTORS) else ():  # noqa: PTH112, PTH208 - names
        with suppress(OSError):  # of the descriptor of the listing itself
            number = int(name)
            writes = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
            if writes and FileIdentity.of(number) == file:
                found.append(number)
    return found


def lead_to(path: Path | str, flags: int, *descriptors: int) -> None:
    """Let the descriptors lead to the file at the path, opened with these flags."""
    if not descriptors:
        return
    opened = os.open(path, flags | os.O_CLOEXEC)
    try:
        for descriptor in descriptors:
            os.dup2(opened, descriptor, inheritable=descriptor <= _STANDARD)
    finally:
        os.close(opened)


def is_blocked_writing(file: FileIdentity) -> bool | None:
    """True if a thread of this process waits in a write to the pipe; None where that cannot be told."""
    calls = _WRITES.get(platform.machine())
    if calls is None:
        return None
    read = 0
    for task in os.listdir(_TASKS) if os.path.isdir(_TASKS) else ():  # noqa: PTH112, PTH208 - names
        with suppress(OSError, ValueError):  # of a thread that has ended; of one that runs, which says so in words
            number, descriptor, *_ = [*Path(_TASKS, task, "syscall").read_text().split(), "", ""]
            read += 1
            if number.isdigit() and int(number) in calls and FileIdentity.of(int(descriptor, 16)) == file:
                return True
    return False if read else None
