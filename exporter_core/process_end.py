"""Calling a function when a process ends in good order, whichever way its kind of process has for that.

The interpreter's own way is :mod:`atexit`. Some processes end without it. A child of :mod:`multiprocessing` runs the
finalizers of that module and leaves through ``os._exit``; a child of a Celery worker sends the signal
``worker_process_shutdown`` first. Neither library is imported here: a process ends by a library that it has imported.
A process that a signal kills, or that calls ``os._exit`` itself, runs no Python and calls nothing.
"""

from __future__ import annotations

import atexit
import sys
from typing import TYPE_CHECKING, Any

from exporter_core import forking

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ProcessEnd"]

_PRIORITY = 0  # of a multiprocessing finalizer: before the process's own children are waited for


class ProcessEnd:
    """Calls a function at the end of this process and of each child that is forked from it, until it is undone.

    A process may end in two of the ways, so the function may be called twice.

    Args:
        function: called without arguments on the thread that ends the process. It must not raise.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function
        atexit.register(self)  # a forked child inherits this registration
        if _multiprocessing("process", "parent_process", lambda: None)() is not None:
            self._join_multiprocessing(self)  # a child that was forked, or spawned, before this was made
        self._join_multiprocessing_after_fork()  # a child that imports the main module before it clears its finalizers
        self._join_celery()
        forking.renew_after_fork(self)

    def undo(self) -> None:
        """Call the function no more."""
        self._function = None
        atexit.unregister(self)
        signals = sys.modules.get("celery.signals")
        if signals is not None:
            signals.worker_process_shutdown.disconnect(dispatch_uid=id(self))

    def __call__(self, *_: object, **__: object) -> None:
        """Call the function; Celery's signal hands over arguments."""
        if self._function is not None:
            self._function()

    def _renew_after_fork(self) -> None:
        self._join_multiprocessing_after_fork()
        self._join_celery()

    def _join_multiprocessing_after_fork(self) -> None:
        """Register a finalizer when multiprocessing has cleared those that a child begins with."""
        _multiprocessing("util", "register_after_fork", _nothing)(self, self._join_multiprocessing)

    @staticmethod
    def _join_multiprocessing(end: ProcessEnd) -> None:
        _multiprocessing("util", "Finalize", _nothing)(None, end, exitpriority=_PRIORITY)

    def _join_celery(self) -> None:
        signals = sys.modules.get("celery.signals")
        if signals is not None:
            signals.worker_process_shutdown.connect(self, weak=False, dispatch_uid=id(self))


def _multiprocessing(module: str, name: str, default: Callable[..., Any]) -> Callable[..., Any]:  # Any: as it has them
    """Return a function of a module of multiprocessing, if the process has imported that."""
    return getattr(sys.modules.get(f"multiprocessing.{module}"), name, default)


def _nothing(*_: object, **__: object) -> None:
    """Do nothing: the process has not imported multiprocessing."""
