"""Observers: plugins that hear of every operation of a guarded exporter, and cannot change it.

They are registered in the entry-point group ``exporter_core.observers.v1`` and loaded only when a configuration names
them. They run on a daemon thread of their own behind a bounded queue, so a slow or hung observer delays nothing; what
it could not be told is counted.
"""

from __future__ import annotations

import logging
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

from exporter_core.contract import PROJECT_NAME, hookspec
from exporter_core.errors import ContractError
from exporter_core.forking import renew_after_fork
from exporter_core.log import log
from exporter_core.sync import RLock, Signal, SimpleQueue, start_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Observation", "ObserverSpec", "Observers"]

_logger = logging.getLogger(__name__)

_QUEUE_LIMIT = 1024
_THREAD_NAME = "exporter-core-observers"


@dataclass(frozen=True, slots=True)
class Observation:
    """One operation of a guarded exporter, as its caller saw it."""

    exporter: str
    """The exporter's name in the configuration."""
    operation: str
    """The contract operation, such as ``"export"``."""
    seconds: float
    """Seconds that the caller waited; for a late end, that the exporter took in all."""
    points: int | None
    """The number of data points handed over; None for operations other than export."""
    error: str | None
    """The error in one line, secrets masked; None for success."""
    late: bool
    """True for the end of a call that its caller had given up at the deadline."""


class ObserverSpec:
    """The hooks of an observer; each is optional."""

    @hookspec
    def on_operation(self, observation: Observation) -> None:
        """Hear of every operation that ended, well or not."""

    @hookspec
    def on_error(self, observation: Observation) -> None:
        """Hear of every operation that failed."""


class Observers:
    """Tells observers, one observation after the other, on a daemon thread.

    In a forked child they go on with what happens there; what the parent had queued is the parent's to tell.

    Args:
        observers: objects with methods marked by ``exporter_core.hookimpl``.

    Raises:
        ContractError: an observer has no hook, or one that does not fit :class:`ObserverSpec`.
    """

    _queue: SimpleQueue[Observation | None]
    _heard_all: Signal

    def __init__(self, observers: Iterable[object]) -> None:
        # A plugin manager each: in one together, an observer that fails would keep the others from being told.
        self._hooks = [_bind(observer) for observer in observers]
        self._mutex = RLock()
        self._dropped = 0
        self._closed = False
        self._renew()
        self._start()  # at once: from Python 3.12 none can be started at interpreter exit
        renew_after_fork(self)

    @property
    def dropped(self) -> int:
        """The number of observations dropped because the observers were too slow, or after :meth:`close`."""
        return self._dropped

    def tell(self, observation: Observation) -> None:
        """Pass the observation on, without waiting; it is dropped and counted when the queue is full."""
        if not self._started:
            self._start()
        if self._closed or self._queue.qsize() >= _QUEUE_LIMIT:
            with self._mutex:
                self._dropped += 1
        else:
            self._queue.put(observation)

    def close(self, timeout: float) -> bool:
        """Let the observers hear what is queued, at most ``timeout`` seconds; return True if they heard it all."""
        self._closed = True
        if not self._started:
            return True  # in a forked child that told them nothing
        self._finalizer()
        return self._heard_all.wait(timeout)

    def _renew(self) -> None:
        """Start anew: in a forked child the thread is missing, and the queue is the parent's."""
        self._queue = SimpleQueue()
        self._heard_all = Signal()
        self._started = False

    def _start(self) -> None:
        """Start the thread; it does not refer to this object, which therefore can be collected."""
        with self._mutex:
            if self._started:
                return
            try:
                start_thread(_work, self._queue, self._hooks, self._heard_all, name=_THREAD_NAME)
            except RuntimeError:
                return  # a forked child at its exit: the queue fills up, and what is dropped is counted
            self._finalizer = weakref.finalize(self, self._queue.put, None)
            self._finalizer.atexit = False
            self._started = True

    def _renew_after_fork(self) -> None:
        self._mutex = RLock()
        if self._started:
            self._finalizer.detach()
        self._renew()


def _bind(observer: object) -> pluggy.HookRelay:
    """The hooks of one observer."""
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(ObserverSpec)
    kind = f"{type(observer).__module__}.{type(observer).__qualname__}"
    try:
        manager.register(observer)
        manager.check_pending()  # a misspelt hook is found here alone: pluggy takes any marked method
    except pluggy.PluginValidationError as error:
        raise ContractError(f"observer {kind} does not fit: {' '.join(str(error).split())}") from None
    hooks = manager.hook
    if not (hooks.on_operation.get_hookimpls() or hooks.on_error.get_hookimpls()):
        raise ContractError(f"observer {kind} has no hook: mark on_operation or on_error with exporter_core.hookimpl")
    return hooks


def _work(queue: SimpleQueue[Observation | None], observers: Sequence[pluggy.HookRelay], heard_all: Signal) -> None:
    failed: set[tuple[int, str]] = set()
    while (observation := queue.get()) is not None:
        for number, hooks in enumerate(observers):
            for hook in (hooks.on_operation, *([hooks.on_error] if observation.error else [])):
                try:
                    hook(observation=observation)
                except BaseException as error:  # noqa: BLE001 - an observer changes nothing, its own failure included
                    if (number, hook.name) not in failed:  # once: it may fail every time
                        failed.add((number, hook.name))
                        log(_logger, logging.WARNING, "an observer failed in %s: %s", hook.name, type(error).__name__)
    heard_all.set()
