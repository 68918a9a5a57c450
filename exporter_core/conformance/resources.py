"""The open resources of a process: threads, descriptors and children, compared by identity."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from exporter_core.clock import TIMER_THREAD

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN = "conformance-"
"""The beginning of the names of the checker's own threads."""

_IN_MEMORY: Final = "/dev/shm"  # noqa: S108 - the folders in it have names of their own
_ROOM: Final = 1 << 30  # bytes
_place: Path | None = None

_ONCE: Final = (
    ("resource_tracker", "_resource_tracker", "_fd", "_pid"),
    ("forkserver", "_forkserver", "_forkserver_alive_fd", "_forkserver_pid"),
)
"""The places where multiprocessing keeps the descriptor and the number of each process that it starts once."""


@dataclass(frozen=True)
class Resources:
    """The resources at one moment."""

    threads: frozenset[threading.Thread]
    descriptors: frozenset[tuple[str, str]]
    children: frozenset[str]

    @classmethod
    def now(cls) -> Resources:
        """The resources at this moment.

        Without those that no exporter could release: the checker's own threads, the one for the deadlines of all
        contexts, and the processes that multiprocessing keeps to the end.
        """
        kept_descriptors, kept_children = (set(numbers) for numbers in zip(*_processes_kept(), strict=True))
        return cls(
            threads=frozenset(one for one in threading.enumerate() if not one.name.startswith((_OWN, TIMER_THREAD))),
            descriptors=frozenset(one for one in descriptors() if one[0] not in kept_descriptors),
            children=frozenset(_children()) - kept_children,
        )

    def added(self) -> list[str]:
        """The resources of this moment that were not there then, in words."""
        now = Resources.now()
        return [
            *(f"thread {one.name}" for one in now.threads - self.threads),
            *(f"descriptor {number} ({what})" for number, what in sorted(now.descriptors - self.descriptors)),
            *(f"child process {number}" for number in sorted(now.children - self.children)),
        ]


def empty_folder(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """A new folder: in memory, where no write waits for a disk, if there is room and the user has named no other place.

    Args:
        prefix: the beginning of its name.
    """
    return tempfile.TemporaryDirectory(prefix=prefix, dir=_place or _in_memory(), ignore_cleanup_errors=True)


def keep_folders_in(folder: Path) -> None:
    """Put the folders that this process makes into another one, whose owner removes what a killed process leaves."""
    global _place  # noqa: PLW0603 - of the whole process
    _place = folder


def _in_memory() -> str | None:
    named = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return None if named or not _has_room(_IN_MEMORY) else _IN_MEMORY


def _has_room(folder: str) -> bool:
    try:
        space = os.statvfs(folder)
    except OSError:
        return False
    return os.access(folder, os.W_OK) and space.f_bavail * space.f_frsize >= _ROOM


@contextmanager
def without_room() -> Iterator[None]:
    """Let every write to a file fail inside the block, in the whole process, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def wake_loops() -> None:
    """Let every running event loop of the process take a turn."""
    for one in gc.get_objects():
        if isinstance(one, asyncio.BaseEventLoop) and one.is_running():
            with suppress(RuntimeError):  # it has been closed meanwhile
                one.call_soon_threadsafe(_do_nothing)


def _do_nothing() -> None:
    """Return."""


def kept_by_multiprocessing() -> dict[str, Any]:  # Any: of many kinds
    """The record that multiprocessing keeps of this process; ``tempdir`` is the folder that it makes once, or None."""
    process = sys.modules.get("multiprocessing.process")
    return process.current_process()._config if process else {}


def _processes_kept() -> Iterator[tuple[str, str]]:
    """Descriptor and number of each process that it starts once, for the whole process: nobody could release them."""
    for module, instance, descriptor, child in _ONCE:
        one = getattr(sys.modules.get(f"multiprocessing.{module}"), instance, None)
        yield str(getattr(one, descriptor, None)), str(getattr(one, child, None))


def descriptors() -> list[tuple[str, str]]:
    """The numbers of the open descriptors, and what each stands for."""
    found = []
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are what is wanted
        try:
            found.append((number, os.readlink(f"/proc/self/fd/{number}")))  # noqa: PTH115 - as above
        except OSError:
            pass  # the descriptor of the listing itself
    return found


def _children() -> list[str]:
    found: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += (task / "children").read_text().split()
        except OSError:
            pass  # the thread has ended, or the kernel does not tell
    return found
