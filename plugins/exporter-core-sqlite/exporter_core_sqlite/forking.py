"""Keeps forks away from open connections, and lets a forked child begin anew.

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

    from exporter_core_sqlite.exporter import SqliteExporter

_WAIT_SECONDS = 1.0  # for statements that are running when the process forks; they usually take some hundredths

_living: WeakSet[SqliteExporter] = WeakSet()
_fork = threading.local()  # .held: whose connections the thread that forks has closed
_inherited: list[object] = []  # kept for ever: a copied connection cannot be closed without harm either
_spoilt: set[tuple[int, int]] = set()  # device and inode of their files


def close_before_fork(exporter: SqliteExporter) -> None:
    """Close the exporter's connection before each fork, as long as it exists; in the child it begins anew."""
    _living.add(exporter)


def cannot_be_opened(path: Path) -> bool:
    """Whether this process was forked while SQLite was at work on this file."""
    return bool(_spoilt) and _identity(path) in _spoilt


def _before() -> None:
    until = time.monotonic() + _WAIT_SECONDS
    _fork.held = [one for one in list(_living) if one._database.close_and_hold(until - time.monotonic())]


def _after_in_parent() -> None:
    while _fork.held:
        _fork.held.pop()._database.let_go()


def _after_in_child() -> None:
    held, _fork.held = _fork.held, []
    for exporter in list(_living):
        if exporter not in held:
            _inherited.append((exporter._database, exporter._ids))
            identity = _identity(exporter.config.path)
            if identity is not None:
                _spoilt.add(identity)
        exporter._begin_anew()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
