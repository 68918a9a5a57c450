"""Forks: none in the middle of a collect, within a bound; in the child every reader goes on by itself.

The SDK collects under a lock that belongs to the whole provider and is not renewed in a child: whoever forks while
another thread collects leaves a child that can never collect. So a fork waits, at most :data:`FORK_SECONDS`, for the
collects in progress. Where that is not enough, the child's readers of that provider know it and say it.
"""

from __future__ import annotations

import os
import threading
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Final

from exporter_core.forking import renew_after_fork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter_core.reader.periodic import PeriodicReader

FORK_SECONDS: Final = 1.0
"""How long a fork waits for collects in progress, in seconds."""


_living: weakref.WeakValueDictionary[int, PeriodicReader] = weakref.WeakValueDictionary()


class _Fork(threading.local):
    """What the thread that forks has found out; two threads may fork at once."""

    held: tuple[PeriodicReader, ...] = ()
    stuck: tuple[object, ...] = ()


_fork = _Fork()


def register(reader: PeriodicReader) -> None:
    """Keep forks out of this reader's collects, and have it told in every child, while it lives."""
    _living[id(reader)] = reader
    renew_after_fork(reader)


def _readers() -> Iterator[PeriodicReader]:
    # valuerefs() is a list made in one go: another thread may make or drop a reader meanwhile.
    for reference in _living.valuerefs():
        reader = reference()
        if reader is not None:
            yield reader


def _before() -> None:
    until = monotonic() + FORK_SECONDS
    held, stuck = [], []
    for reader in _readers():
        if reader._gate.acquire(timeout=max(0.0, until - monotonic())):
            held.append(reader)
        else:
            stuck.append(reader._source())
    _fork.held, _fork.stuck = tuple(held), tuple(stuck)


def _after_in_parent() -> None:
    held, _fork.held, _fork.stuck = _fork.held, (), ()
    for reader in held:
        reader._gate.release()


def collecting_at_fork(source: object) -> bool:
    """Return True in a child that was forked while this source was being collected from."""
    return any(source is one for one in _fork.stuck)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent)
