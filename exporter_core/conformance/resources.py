"""What a process has open: threads, descriptors and children, compared by identity."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from exporter_core.clock import TIMER_THREAD

_OWN = "conformance-"
"""What the names of the checker's own threads begin with."""

_ONCE: Final = (
    ("resource_tracker", "_resource_tracker", "_fd", "_pid"),
    ("forkserver", "_forkserver", "_forkserver_alive_fd", "_forkserver_pid"),
)
"""Where multiprocessing has the descriptor and the number of each process that it starts once."""


@dataclass(frozen=True)
class Resources:
    """What there was at one moment."""

    threads: frozenset[threading.Thread]
    descriptors: frozenset[tuple[str, str]]
    children: frozenset[str]

    @classmethod
    def now(cls) -> Resources:
        """What there is at this moment, without what is nobody's.

        That are the checker's own threads, the one for the deadlines of all contexts, and what multiprocessing keeps to
        the end.
        """
        threads = (one for one in threading.enumerate() if not one.name.startswith((_OWN, TIMER_THREAD)))
        kept = _kept_by_multiprocessing()
        descriptors = (one for one in _descriptors() if one[0] not in kept.descriptors)
        return cls(frozenset(threads), frozenset(descriptors), frozenset(_children()) - kept.children)

    def added(self) -> list[str]:
        """What there is at this moment that was not there then, in words."""
        now = Resources.now()
        return [
            *(f"thread {one.name}" for one in now.threads - self.threads),
            *(f"descriptor {number} ({what})" for number, what in sorted(now.descriptors - self.descriptors)),
            *(f"child process {number}" for number in sorted(now.children - self.children)),
        ]


class _Kept(NamedTuple):
    descriptors: frozenset[str]
    children: frozenset[str]


def _kept_by_multiprocessing() -> _Kept:
    """Of the processes that it starts once, at the first spawn, for the whole process: nobody could release them."""
    found: list[tuple[object, object]] = []
    for module, instance, descriptor, child in _ONCE:
        one = getattr(sys.modules.get(f"multiprocessing.{module}"), instance, None)
        found.append((getattr(one, descriptor, None), getattr(one, child, None)))
    descriptors, children = (frozenset(map(str, numbers)) for numbers in zip(*found, strict=True))
    return _Kept(descriptors, children)


def _descriptors() -> list[tuple[str, str]]:
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
