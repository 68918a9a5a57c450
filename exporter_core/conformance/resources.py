"""What a process has open: threads, descriptors and children, compared by identity."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Resources"]

_OWN = "conformance-"
"""What the names of the checker's own threads begin with."""


@dataclass(frozen=True)
class Resources:
    """What there was at one moment."""

    threads: frozenset[threading.Thread]
    descriptors: frozenset[tuple[str, str]]
    children: frozenset[str]

    @classmethod
    def now(cls) -> Resources:
        """What there is at this moment, the checker's own threads left out."""
        threads = (one for one in threading.enumerate() if not one.name.startswith(_OWN))
        return cls(frozenset(threads), frozenset(_descriptors()), frozenset(_children()))

    def added(self) -> list[str]:
        """What there is at this moment that was not there then, in words."""
        now = Resources.now()
        return [
            *(f"thread {one.name}" for one in now.threads - self.threads),
            *(f"descriptor {number} ({what})" for number, what in sorted(now.descriptors - self.descriptors)),
            *(f"child process {number}" for number in sorted(now.children - self.children)),
        ]


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
