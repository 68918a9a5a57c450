"""What a process has that no schedule runs, and that may end a scheduled thread's wait or make it wait."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from stat import S_ISSOCK
from typing import Final

UNSEEN_SOCKETS: Final = "a socket was made, and whoever waits for one waits in C code"

_TASKS: Final = Path("/proc/self/task")
_DESCRIPTORS: Final = "/proc/self/fd"

_EXIT_SECONDS: Final = 0.5  # real ones, that the operating system may take to end a thread that Python has ended

_real_sleep: Final = time.sleep
_real_monotonic: Final = time.monotonic


def unseen_threads() -> str | None:
    """That there are threads which ``threading`` does not know; None if there are none, or nothing tells."""
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
    found = []
    try:
        for number in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - names are what is wanted
            try:
                status = os.fstat(int(number))
            except OSError:
                continue  # the descriptor of the listing itself
            if S_ISSOCK(status.st_mode):
                found.append(status.st_ino)
    except OSError:
        pass  # not on Linux
    return frozenset(found)
