"""After a fork: every guard that lives is told in the child, by one handler for all of them.

What the parent's threads held at the moment of the fork (an exporter's lock, half an event loop, a connection shared
with the parent) cannot be used in the child. Nor may it be finalised there: closing an inherited connection would say
goodbye on the parent's behalf. So it is kept, untouched, until the child ends.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class _ForkAware(Protocol):
    def _renew_after_fork(self) -> None: ...


process = object()
"""Another one in each process: who calls code that may fork asks afterwards whether it still is this one."""

_living: weakref.WeakSet[_ForkAware] = weakref.WeakSet()
_inherited: list[object] = []


def register(guard: _ForkAware) -> None:
    """Have the guard told in every child that is forked while it lives."""
    _living.add(guard)


def keep_untouched(*inherited: object) -> None:
    """Keep what the parent's exporter consists of from being finalised in this child."""
    _inherited.extend(inherited)


def _after_fork_in_child() -> None:
    global process  # noqa: PLW0603 - what says that this is another process
    process = object()
    for guard in list(_living):
        guard._renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
