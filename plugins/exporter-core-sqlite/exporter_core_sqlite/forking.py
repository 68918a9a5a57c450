"""Keeps forks away from open connections.

A forked child inherits SQLite's records of the locks that its parent holds, but not the locks. Whatever the child then
opens of the same file believes in them, and overwrites what others write; see "Carrying an open database connection
across a fork" in https://sqlite.org/howtocorrupt.html. So connections are closed before a fork and opened again after.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import TYPE_CHECKING
from weakref import WeakSet

from exporter_core import Context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exporter_core_sqlite.turn import Turn

__all__ = ["ConnectionUser", "cannot_be_opened", "close_before_fork"]

_WAIT_SECONDS = 1.0  # for exports that are running when the process forks; they usually take some hundredths


class ConnectionUser:
    """What has a connection that no fork may see.

    Args:
        path: the file.
        turn: to be held by whoever uses the connection.
        close: closes the connection, which the next user opens again.
    """

    def __init__(self, path: Path, turn: Turn, close: Callable[[], None]) -> None:
        self.path = path
        self.turn = turn
        self.close = close


_users: WeakSet[ConnectionUser] = WeakSet()
_held = threading.local()  # .users: whose turns this thread holds while it forks
_inherited: list[ConnectionUser] = []  # kept for ever: a copied connection cannot be closed without harm either
_spoilt: set[tuple[int, int]] = set()  # device and inode of their files


def close_before_fork(user: ConnectionUser) -> None:
    """Close the user's connection before each fork, as long as the user exists."""
    _users.add(user)


def cannot_be_opened(path: Path) -> bool:
    """Whether this process was forked while an export into this file was running."""
    return bool(_spoilt) and _identity(path) in _spoilt


def _before() -> None:
    context = Context.with_timeout(_WAIT_SECONDS)
    _held.users = []
    for user in list(_users):
        if not user.turn.take(context):
            continue
        try:
            user.close()
        except sqlite3.Error:
            user.turn.give_back()  # the child then treats it as one that was in use
        else:
            _held.users.append(user)


def _after() -> None:
    while _held.users:
        _held.users.pop().turn.give_back()


def _after_in_child() -> None:
    for user in list(_users):
        if user not in _held.users:
            _inherited.append(user)
            identity = _identity(user.path)
            if identity is not None:
                _spoilt.add(identity)
    _after()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
