"""Waiting no longer than a context lasts, for what knows nothing of contexts: locks, descriptors, threads."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from exporter_core.context import Context

_LONGEST_PAUSE = 0.05
"""Seconds after which a wait looks whether its context was cancelled."""


def pause(context: Context) -> float:
    """How many seconds to wait at most before looking at the context again."""
    remaining = context.remaining()
    return _LONGEST_PAUSE if remaining is None else min(_LONGEST_PAUSE, remaining)


@contextmanager
def turn(lock: threading.Lock, context: Context) -> Iterator[None]:
    """Hold the lock. Raises the context's error when it ends before the lock is free; a free lock is always taken."""
    while not lock.acquire(timeout=pause(context)):
        context.raise_if_done()
    try:
        yield
    finally:
        lock.release()
