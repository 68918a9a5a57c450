"""Observers: plugins that are told what guarded exporters do, and cannot change it.

They are registered in the entry-point group ``exporter_core.observers.v1`` and loaded only when a configuration names
them. They run on a daemon thread of their own behind a bounded queue, so a slow or hung observer delays nothing; what
it could not be told is counted.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

from exporter_core.clock import Signal
from exporter_core.contract import PROJECT_NAME, hookspec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Observation", "ObserverSpec", "Observers"]

_logger = logging.getLogger(__name__)

_QUEUE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Observation:
    """One operation of a guarded exporter, as its caller saw it."""

    exporter: str
    """The exporter's name in the configuration."""
    operation: str
    """The contract operation, such as ``"export"``."""
    seconds: float
    """How long the caller waited; for a late end, how long the exporter took in all."""
    points: int | None
    """How many data points were handed over; None for operations other than export."""
    error: str | None
    """The error in one line, secrets masked; None for success."""
    late: bool
    """Whether this is the end of a call that its caller had given up at the deadline."""


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

    Args:
        observers: objects with methods marked by ``exporter_core.hookimpl``.
    """

    def __init__(self, observers: Iterable[object]) -> None:
        self._manager = pluggy.PluginManager(PROJECT_NAME)
        self._manager.add_hookspecs(ObserverSpec)
        for observer in observers:
            self._manager.register(observer)
        # A misspelt hook is found here alone: pluggy takes any marked method.
        self._manager.check_pending()
        self._queue: queue.Queue[Observation | Signal | None] = queue.Queue(_QUEUE_LIMIT)
        self._mutex = threading.Lock()
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="exporter-core-observers", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many observations were dropped because the observers were too slow."""
        return self._dropped

    def tell(self, observation: Observation) -> None:
        """Pass the observation on, without waiting; it is dropped and counted when the queue is full."""
        try:
            self._queue.put_nowait(observation)
        except queue.Full:
            with self._mutex:
                self._dropped += 1

    def close(self, timeout: float) -> bool:
        """Let the observers hear what is queued, at most ``timeout`` seconds; whether they heard it all."""
        heard = Signal()
        try:
            self._queue.put(heard, timeout=timeout)
            self._queue.put_nowait(None)
        except queue.Full:
            return False
        return heard.wait(timeout)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, Signal):
                item.set()
                continue
            for hook in (self._manager.hook.on_operation, *([self._manager.hook.on_error] if item.error else [])):
                try:
                    hook(observation=item)
                except BaseException as error:  # noqa: BLE001 - an observer changes nothing, its own failure included
                    _logger.warning("an observer failed in %s: %s", hook.name, type(error).__name__)
