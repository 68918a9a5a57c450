"""Keeps forks away from open connections.

A forked child inherits SQLite's records of the locks that its parent holds, but not the locks. Whatever the child then
opens of the same file believes in them, and overwrites what others write; see "Carrying an open database connection
across a fork" in https://sqlite.org/howtocorrupt.html. So connections are closed before a fork and opened again after.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from pathlib import Path

    from exporter_core_sqlite.database import Database

_WAIT_SECONDS = 1.0  # for statements that are running when the process forks; they usually take some hundredths

_living: WeakSet[Database] = WeakSet()
_fork = threading.local()  # .held: the databases that the thread that forks has closed
_unusable: set[tuple[int, int]] = set()  # identities of the files that SQLite was at work on


def close_before_fork(database: Database) -> None:
    """Close the connection before each fork, as long as the database object exists."""
    _living.add(database)


def cannot_be_opened(path: Path) -> bool:
    """Return True if this process was forked while SQLite was at work on the file."""
    return bool(_unusable) and identity_of(path) in _unusable


def refuse_to_open(path: Path) -> None:
    """Have :func:`cannot_be_opened` return True for this file."""
    identity = identity_of(path)
    if identity is not None:
        _unusable.add(identity)


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return device and inode, which tell the file from another one at the same path; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat, on every export
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _before() -> None:
    until = time.monotonic() + _WAIT_SECONDS
    _fork.held = [database for database in list(_living) if database.close_and_hold(until - time.monotonic())]


def _after_in_parent() -> None:
    while _fork.held:
        _fork.held.pop().let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent)
