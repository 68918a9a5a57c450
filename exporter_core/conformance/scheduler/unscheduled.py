"""Threads and sockets that no schedule controls, and that may end a scheduled thread's wait or make it wait."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from stat import S_ISSOCK
from typing import Final

UNSEEN_SOCKETS: Final = "a socket was made, and waits for sockets happen in C code"

_TASKS: Final = Path("/proc/self/task")
_DESCRIPTORS: Final = "/proc/self/fd"

_EXIT_SECONDS: Final = 0.5  # real ones, that the operating system may take to end a thread that Python has ended

_real_sleep: Final = time.sleep
_real_monotonic: Final = time.monotonic


def unseen_threads() -> str | None:
    """A message if there are threads which ``threading`` does not know; None if there are none, or nothing tells."""
    limit = _real_monotonic() + _EXIT_SECONDS
    while (number := _threads() - len(threading.enumerate())) > 0:
        if _real_monotonic() > limit:
            return f"{number} of the threads in this process are not Python's, and may end the waits"
        _real_sleep(0.001)
    return None


def _threads() -> int:
    try:
        return sum(1 for _ in _TASKS.iterdir())
    except OSError:
        return 0  # not on Linux


def sockets() -> frozenset[int]:
    """The sockets that are open, by the numbers that the operating system gives them."""
    found = set()
    for number in os.listdir(_DESCRIPTORS) if os.path.isdir(_DESCRIPTORS) else ():  # noqa: PTH112, PTH208 - names
        with suppress(OSError):  # of the descriptor of the listing itself
            status = os.fstat(int(number))
            if S_ISSOCK(status.st_mode):
                found.add(status.st_ino)
    return frozenset(found)
