"""Three exporters that keep every clause: synchronous, buffering, asynchronous. They deliver to a backend in memory.

They show that the clauses can be kept, and are what the mutants are made from: each step that a clause is about is a
method of its own.
"""

from __future__ import annotations

import copy
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, SecretStr

from exporter_core.conformance.observe.tokens import Point, flatten
from exporter_core.errors import ContextCancelledError, ExporterError, ExporterShutdownError, PartialSuccessError
from exporter_core.exporter import Exporter, ExporterConfig
from exporter_core.forking import renew_after_fork
from exporter_core.sync import Turn
from kit.memory import BufferingHarness, MemoryHarness, Response, Wait, backends

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context


_TRANSIENT = frozenset({429, 502, 503, 504})
_OK = 200


class ReferenceConfig(ExporterConfig):
    """Options of the reference exporters."""

    sink: str = Field(description="The name of the backend in memory.")
    token: SecretStr = Field(default=SecretStr(""), description="A secret.")


class ReferenceExporter(Exporter[ReferenceConfig]):
    """Delivers each batch before ``export`` returns."""

    conformance_harness: ClassVar[type[MemoryHarness]] = MemoryHarness
    attempts: ClassVar[int] = 4
    backoff: ClassVar[float] = 0.002  # seconds before the second attempt; doubled each time

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._sink = backends[config.sink]
        self._renew_after_fork()
        self._is_shut_down = False
        renew_after_fork(self)

    def _renew_after_fork(self) -> None:
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
        while not self._turn.take(context):
            context.raise_if_done()
        with self._in_turn(context) as running:
            yield running

    @contextmanager
    def _in_turn(self, context: Context) -> Iterator[Context]:
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
        """Do in a shutdown's turn what comes before the release."""

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
        with closing(self._delivery(tuple(flatten(metrics)))) as delivery:
            for wait in delivery:
                self._wait(context, wait)

    def _wait(self, context: Context, wait: Wait) -> None:
        wait.block(context)
        context.raise_if_done()

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        """Every attempt to send the points, which stay those that were handed over."""
        for attempt in range(self.attempts):
            pause = self.backoff * 2**attempt
            try:
                response = yield from self._exchange(points)
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
                yield self._sink.pause(pause)
        raise failure

    def _exchange(self, points: Sequence[Point]) -> Generator[Wait, None, Response]:
        if not self._connected:
            yield from self._sink.connect()
            self._connected = True
        return (yield from self._sink.request(points))

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

    conformance_harness: ClassVar[type[MemoryHarness]] = BufferingHarness

    def _renew_after_fork(self) -> None:
        super()._renew_after_fork()
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
        while not self._turn.take_if_free():
            await context.sleep(0.001)
            context.raise_if_done()
        with self._in_turn(context) as running:
            await self._deliver_async(running, metrics)

    async def force_flush(self, context: Context) -> None:  # type: ignore[override]  # as above
        """Return: nothing is held."""
        super().force_flush(context)

    async def shutdown(self, context: Context) -> None:  # type: ignore[override]  # as above
        """Let the running call end while the context lasts, then end it; close the connection."""
        self._close_for_calls()
        got = False
        try:
            while not (got := self._turn.take_if_free()) and not context.done:
                await context.sleep(0.001)
        finally:
            self._release(got=got)
        context.raise_if_done()

    async def _deliver_async(self, context: Context, metrics: MetricsData) -> None:
        with closing(self._delivery(tuple(flatten(metrics)))) as delivery:
            for wait in delivery:
                await self._wait_async(context, wait)

    async def _wait_async(self, context: Context, wait: Wait) -> None:
        await wait.sleep(context)
        context.raise_if_done()
