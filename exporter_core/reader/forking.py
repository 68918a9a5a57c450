"""Keeps forks out of collections, within a bound.

The SDK collects under one lock for the whole provider and does not renew it in a child: a child that was forked during
a collection can never collect. So a fork waits, at most :data:`FORK_SECONDS`, for the collections in progress. Where
that is not enough, the readers of that provider raise an error in the child.
"""

from __future__ import annotations

import os
import weakref
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

from exporter_core.forking import call_after_fork
from exporter_core.sync import RLock, ThreadLocal

if TYPE_CHECKING:
    from collections.abc import Iterator

FORK_SECONDS: Final = 1.0
"""The longest that a fork waits for collections in progress, in seconds."""


class _Here(ThreadLocal):
    """The calling thread's own: its collection, and the findings of its fork, since two threads may fork at once."""

    source: object = None
    held: tuple[CollectionGate, ...] = ()
    stuck: tuple[object, ...] = ()


_here = _Here()


class CollectionGate:
    """Held by a reader while it collects; forks wait for it."""

    def __init__(self) -> None:
        self.lock = RLock()  # reentrant, since a callback may fork
        self.source: object = None
        """The collected provider's part that holds the SDK's lock."""
        _gates[id(self)] = self

    @contextmanager
    def collecting(self, source: object) -> Iterator[None]:
        """Collect from this source in the block."""
        self.source = source
        with self.lock:
            _here.source = source
            try:
                yield
            finally:
                _here.source = None


_gates: weakref.WeakValueDictionary[int, CollectionGate] = weakref.WeakValueDictionary()
call_after_fork(_gates.clear)  # before the child's readers make new ones


def collecting_here(source: object) -> bool:
    """Return True while the calling thread itself collects from this source, for whichever reader."""
    return _here.source is source


def collecting_at_fork(source: object) -> bool:
    """Return True in a child that was forked while this source was being collected from."""
    return any(source is one for one in _here.stuck)


def _before() -> None:
    until = monotonic() + FORK_SECONDS
    held, stuck = [], []
    # valuerefs() is a list made in one go: another thread may make or drop a reader meanwhile.
    for gate in filter(None, (reference() for reference in _gates.valuerefs())):
        if gate.lock.acquire(timeout=max(0.0, until - monotonic())):
            held.append(gate)
        else:
            stuck.append(gate.source)
    _here.held, _here.stuck = tuple(held), tuple(stuck)


def _after_in_parent() -> None:
    held, _here.held, _here.stuck = _here.held, (), ()
    for gate in held:
        gate.lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent)
