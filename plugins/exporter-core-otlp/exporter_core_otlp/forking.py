"""Tells what is inherited by a forked child that it is: connections and locks are its parent's."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class ResetsAfterFork(Protocol):
    """Something that must begin anew in a forked child."""

    def reset_after_fork(self) -> None:
        """Called in the child, with no other thread alive; raises nothing."""


_registered: WeakSet[ResetsAfterFork] = WeakSet()


def reset_after_fork(thing: ResetsAfterFork) -> None:
    """Have the thing told in each forked child, as long as it exists."""
    _registered.add(thing)


def _in_child() -> None:
    for thing in list(_registered):
        thing.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
