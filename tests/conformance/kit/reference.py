"""Three exporters that keep every clause: synchronous, buffering, asynchronous. They deliver to a sink in memory.

They show that the clauses can be kept, and are what the mutants are made from: each step that a clause is about is a
method of its own.
"""

from __future__ import annotations

import copy
import math
import os
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, SecretStr

from exporter_core.conformance.observe.harness import Capabilities
from exporter_core.conformance.observe.tokens import flatten
from exporter_core.errors import ContextCancelledError, ExporterError, ExporterShutdownError, PartialSuccessError
from exporter_core.exporter import Exporter, ExporterConfig
from kit.memory import MemoryHarness, MemorySink, Response, Wait, sink_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.observe.tokens import Point
    from exporter_core.context import Context

BACKOFF = 0.002  # seconds before the second attempt; doubled each time
_TRANSIENT = frozenset({429, 502, 503, 504})
_OK = 200


class ReferenceConfig(ExporterConfig):
    """Options of the reference exporters."""

    sink: str = Field(description="The name of the sink in memory.")
    token: SecretStr = Field(default=SecretStr(""), description="A secret.")


class Turn:
    """A lock whose waiters leave when their context is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: list[Context] = []

    def take(self, context: Context) -> bool:
        """Wait for the turn while the context lasts; whether it was got."""
        while not self._lock.acquire(blocking=False):
            waiter = context.child()
            self._waiters.append(waiter)
            if self._lock.acquire(blocking=False):  # it was given back before the waiter was listed
                self._waiters.remove(waiter)
                return True
            waiter.wait(math.inf)
            self._waiters.remove(waiter)
            if context.done:
                return False
        return True

    def give_back(self) -> None:
        """End the turn."""
        self._lock.release()
        for waiter in self._waiters.copy():
            waiter.cancel()


class ReferenceExporter(Exporter[ReferenceConfig]):
    """Delivers each batch before ``export`` returns."""

    conformance_harness: ClassVar[type[MemoryHarness]] = MemoryHarness
    attempts: ClassVar[int] = 4

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._sink: MemorySink = sink_of(config.sink)
        self._renew()
        self._is_shut_down = False
        _living.add(self)

    def _renew(self) -> None:
        self._state = threading.Lock()
        self._turn = Turn()
        self._running: Context | None = None
        self._connected = False

    # --- the contract ------------------------------------------------------------------------------------------------

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Deliver the batch, with some retrying inside."""
        self._refuse()
        context.raise_if_done()
        with self._call(context) as running:
            self._deliver(running, metrics)

    def force_flush(self, context: Context) -> None:
        """Return: nothing is held."""
        if not self._is_shut_down:
            context.raise_if_done()

    def shutdown(self, context: Context) -> None:
        """Let the running call end while the context lasts, then end it; close the connection."""
        self._close_for_calls()
        got = self._turn.take(context)
        try:
            if got:
                self._last(context)
        finally:
            self._release(got=got)
        context.raise_if_done()

    # --- its steps ---------------------------------------------------------------------------------------------------

    def _refuse(self) -> None:
        if self._is_shut_down:
            raise ExporterShutdownError("the reference exporter has been shut down")

    def _close_for_calls(self) -> None:
        with self._state:
            self._refuse()
            self._is_shut_down = True

    @contextmanager
    def _call(self, context: Context) -> Iterator[Context]:
        """The turn, and a context that a shutdown can end."""
        if not self._turn.take(context):
            context.raise_if_done()
        running = context.child()
        try:
            with self._state:
                self._refuse()
                self._running = running
            yield running
        except ContextCancelledError as error:
            context.raise_if_done()
            raise ExporterShutdownError("shut down before the delivery was done") from error
        finally:
            self._running = None
            if self._is_shut_down:
                self._disconnect()
            self._turn.give_back()

    def _last(self, context: Context) -> None:
        """What a shutdown does in its turn, before it releases."""

    def _release(self, *, got: bool) -> None:
        if got:
            self._disconnect()
            self._turn.give_back()
        elif (running := self._running) is not None:
            running.cancel("the exporter is being shut down")

    def _disconnect(self) -> None:
        if self._connected:
            self._connected = False
            self._sink.disconnect()

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        points = tuple(flatten(metrics))  # once: further attempts send what the first one did
        for attempt in range(self.attempts):
            pause = BACKOFF * 2**attempt
            try:
                response = self._exchange(context, points)
            except ConnectionError as error:
                self._disconnect()
                failure = ExporterError("the backend cannot be reached")
                failure.__cause__ = error
            else:
                failed = self._failure_of(response)
                if failed is None:
                    return
                failure = failed
                if not self._transient(response):
                    break
                pause = max(pause, response.retry_after or 0)
            if attempt < self.attempts - 1:
                self._back_off(context, pause)
        raise failure

    def _exchange(self, context: Context, points: Sequence[Point]) -> Response:
        if not self._connected:
            for wait in self._sink.connect():
                self._wait(context, wait)
            self._connected = True
        conversation = self._sink.request(points)
        try:
            while True:
                self._wait(context, next(conversation))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # typed by the generator
        finally:
            conversation.close()

    def _wait(self, context: Context, wait: Wait) -> None:
        wait.block(context)
        context.raise_if_done()

    def _back_off(self, context: Context, seconds: float) -> None:
        context.wait(seconds)
        context.raise_if_done()

    def _failure_of(self, response: Response) -> ExporterError | None:
        if response.status != _OK:
            return ExporterError(f"the backend answered {response.status}")
        if not response.complete or response.body != "accepted":
            return ExporterError("the backend's answer is not one of its protocol")
        if response.rejected:
            return PartialSuccessError(f"{response.rejected} points were refused", rejected_points=response.rejected)
        return None

    def _transient(self, response: Response) -> bool:
        return response.status in _TRANSIENT


class BufferingExporter(ReferenceExporter):
    """Holds batches until ``force_flush`` or ``shutdown``."""

    def _renew(self) -> None:
        super()._renew()
        self._buffer: list[MetricsData] = []  # in a forked child, what the parent holds is the parent's to deliver

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Accept a copy of the batch."""
        context_error = context.error()
        with self._state:
            self._refuse()
            if context_error is not None:
                raise context_error
            self._accept(metrics)

    def force_flush(self, context: Context) -> None:
        """Deliver what is held; what cannot be delivered for good is given up with its error."""
        if self._is_shut_down:
            return
        context.raise_if_done()
        try:
            with self._call(context) as running:
                self._drain(running)
        except ExporterShutdownError:
            if not self._is_shut_down:
                raise

    def _accept(self, metrics: MetricsData) -> None:
        self._buffer.append(copy.deepcopy(metrics))

    def _drain(self, context: Context) -> None:
        while self._buffer:
            metrics = self._buffer[0]
            try:
                self._deliver(context, metrics)
            except ExporterError:
                self._buffer.pop(0)  # an error of a delivery is final
                raise
            self._buffer.pop(0)

    def _last(self, context: Context) -> None:
        if not context.done:
            self._drain(context)


class AsyncExporter(ReferenceExporter):
    """Delivers on an event loop; deadline and cancellation come as task cancellation."""

    async def export(self, context: Context, metrics: MetricsData) -> None:  # type: ignore[override]  # the contract has both
        """Deliver the batch, with some retrying inside."""
        self._refuse()
        context.raise_if_done()
        await self._take(context)
        try:
            with self._state:
                self._refuse()
                self._running = running = context.child()
            await self._deliver_async(running, metrics)
        except ContextCancelledError as error:
            context.raise_if_done()
            raise ExporterShutdownError("shut down before the delivery was done") from error
        finally:
            self._running = None
            if self._is_shut_down:
                self._disconnect()
            self._turn.give_back()

    async def force_flush(self, context: Context) -> None:  # type: ignore[override]  # as above
        """Return: nothing is held."""
        super().force_flush(context)

    async def shutdown(self, context: Context) -> None:  # type: ignore[override]  # as above
        """Let the running call end while the context lasts, then end it; close the connection."""
        self._close_for_calls()
        got = False
        try:
            while not (got := self._turn._lock.acquire(blocking=False)) and not context.done:
                await context.sleep(0.001)
        finally:
            self._release(got=got)
        context.raise_if_done()

    async def _take(self, context: Context) -> None:
        while not self._turn._lock.acquire(blocking=False):
            await context.sleep(0.001)
            context.raise_if_done()

    async def _deliver_async(self, context: Context, metrics: MetricsData) -> None:
        points = tuple(flatten(metrics))
        for attempt in range(self.attempts):
            pause = BACKOFF * 2**attempt
            try:
                response = await self._exchange_async(context, points)
            except ConnectionError as error:
                self._disconnect()
                failure = ExporterError("the backend cannot be reached")
                failure.__cause__ = error
            else:
                failed = self._failure_of(response)
                if failed is None:
                    return
                failure = failed
                if not self._transient(response):
                    break
                pause = max(pause, response.retry_after or 0)
            if attempt < self.attempts - 1:
                await context.sleep(pause)
                context.raise_if_done()
        raise failure

    async def _exchange_async(self, context: Context, points: Sequence[Point]) -> Response:
        if not self._connected:
            for wait in self._sink.connect():
                await wait.sleep(context)
                context.raise_if_done()
            self._connected = True
        conversation = self._sink.request(points)
        try:
            while True:
                await next(conversation).sleep(context)
                context.raise_if_done()
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # typed by the generator
        finally:
            conversation.close()


class BufferingHarness(MemoryHarness):
    """The harness of :class:`BufferingExporter`."""

    capabilities = Capabilities(holds=True)


BufferingExporter.conformance_harness = BufferingHarness

_living: weakref.WeakSet[ReferenceExporter] = weakref.WeakSet()


def _renew_after_fork() -> None:
    """Locks that threads of the parent hold are never released in the child."""
    for exporter in _living:
        exporter._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)
