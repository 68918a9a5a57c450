"""Keeps forks and gRPC calls apart.

gRPC's library makes itself ready for a fork, and begins anew in the child, but only where no thread is inside of it: a
child that is forked during a call may crash when it uses gRPC. So a fork waits a moment for the calls of this plugin,
and then ends them; their exporters make them again after it.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter_core import Context

__all__ = ["RunningCall", "calling", "spoilt"]

_WAIT_SECONDS: Final = 0.5  # exports usually take some thousandths


class RunningCall:
    """A call that keeps forks waiting."""

    def __init__(self) -> None:
        self.interrupted = False
        """Whether a fork ended it."""
        self._end: Callable[[], object] | None = None

    def ended_by(self, end: Callable[[], object]) -> None:
        """Say how to end it, once it has begun."""
        with _calls.changed:
            self._end = end
            if self.interrupted:
                end()

    def interrupt(self) -> None:
        """End it."""
        self.interrupted = True
        if self._end is not None:
            self._end()


class _Calls:
    """The calls that are running."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.running: set[RunningCall] = set()
        self.forking = False
        self.spoilt = False


_calls = _Calls()


@contextmanager
def calling(context: Context) -> Iterator[RunningCall]:
    """Keeps forks waiting while its ``with`` block runs; lets one that already waits go first."""
    calls, running = _calls, RunningCall()
    remaining = context.remaining()
    longest = 2 * _WAIT_SECONDS
    with calls.changed:
        calls.changed.wait_for(lambda: not calls.forking, longest if remaining is None else min(longest, remaining))
        calls.running.add(running)
    try:
        yield running
    finally:
        with calls.changed:
            calls.running.discard(running)
            calls.changed.notify_all()


def spoilt() -> bool:
    """Whether this process was forked during a call that could not be ended."""
    return _calls.spoilt


def _before() -> None:
    calls = _calls
    calls.changed.acquire()  # held over the fork, so that no call begins meanwhile
    calls.forking = True
    if not calls.changed.wait_for(lambda: not calls.running, _WAIT_SECONDS):
        for running in calls.running:
            running.interrupt()
        calls.changed.wait_for(lambda: not calls.running, _WAIT_SECONDS)


def _after_in_parent() -> None:
    calls = _calls
    calls.forking = False
    calls.changed.notify_all()
    calls.changed.release()


def _after_in_child() -> None:
    global _calls
    inherited, _calls = _calls, _Calls()
    _calls.spoilt = inherited.spoilt or bool(inherited.running)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
