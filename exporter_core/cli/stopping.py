"""Stopping a command by a signal: the first one asks it to finish, the second one ends it at once."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from exporter_core.sync import Signal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


_Stop = TypeVar("_Stop", Signal, threading.Event)


@contextmanager
def stopped_by_signals(stop: _Stop) -> Iterator[_Stop]:
    """Set ``stop`` on SIGTERM, Ctrl-C and the end of the terminal, the last of them unless nohup keeps it away.

    The second one raises KeyboardInterrupt; further ones are ignored, so that they cannot disturb the way out.
    """
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread can handle signals
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.insert(0, signal.SIGHUP)

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
        if stop.is_set():
            for one in numbers:
                signal.signal(one, signal.SIG_IGN)
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)
