"""Wrong exporters over asyncio."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from exporter_core import Context, ExporterError, ExporterShutdownError
from third_party.right_late_async import AsyncSender, Coroutines, LoopThread
from third_party.wrong_late_http import InParts


class LeavesTheTask(LoopThread):
    """Stops waiting at the deadline, and leaves the coroutine to go on without it."""

    def run(self, context: Context, address: str, body: bytes) -> None:
        future = asyncio.run_coroutine_threadsafe(self.work(address, body), self.loop)
        while True:
            try:
                return future.result(timeout=0.01)
            except concurrent.futures.TimeoutError:
                if future.done():
                    raise
                context.raise_if_done()


class LeavesLoopOpen(LoopThread):
    """Stops the event loop and joins its thread, and does not close the loop."""

    def stop(self) -> None:
        self.finalizer.detach()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        _LOOPS.append(self.loop)
        self.loop = self.thread = None


_LOOPS: list = []


class WaitsForAllAsksNone(LoopThread):
    """Sends requests of 1000 points at once with asyncio.wait, and asks none of several how it went."""

    async def work(self, address: str, body: bytes):
        parts = list(InParts.parts(_CUT, ExportMetricsServiceRequest.FromString(body)))
        if len(parts) == 1:
            return await self.sender.send(address, body)
        tasks = [asyncio.ensure_future(self.sender.send(address, part.SerializeToString())) for part in parts]
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        for task in tasks:
            task.exception()
        return None


class _Cut(InParts):
    def __init__(self) -> None:
        """Only its parts are used."""


_CUT = _Cut()


class _Blocks(AsyncSender):
    async def send(self, address: str, body: bytes) -> None:
        pause = self.first_pause
        for number in range(self.attempts):
            try:
                return await self.attempt(address, body)
            except ExporterError as failure:
                if not hasattr(failure, "retry_after"):
                    raise
                if number == self.attempts - 1:
                    raise ExporterError("gave up") from failure
                time.sleep(max(pause, failure.retry_after or 0))
                pause = min(pause * 2, self.longest_pause)


class SleepsInCoroutine(Coroutines):
    """time.sleep between two attempts in a coroutine function: nothing can cancel it."""

    sender_class = _Blocks


class ShutdownLeavesExport(Coroutines):
    """shutdown sets its flag and returns at once, without a look at the export that runs."""

    async def shutdown(self, context: Context) -> None:
        with self.lock:
            if self.down:
                raise ExporterShutdownError("the exporter has been shut down")
            self.down = True
        context.raise_if_done()


class NoCancelOfShutdown(Coroutines):
    """shutdown waits for the running export however long it takes, shielded from its own cancellation."""

    async def shutdown(self, context: Context) -> None:
        with self.lock:
            if self.down:
                raise ExporterShutdownError("the exporter has been shut down")
            self.down = True

        async def idle() -> None:
            while self.running:
                await asyncio.sleep(0.01)

        waiting = asyncio.ensure_future(idle())
        while not waiting.done():
            try:
                await asyncio.shield(waiting)
            except asyncio.CancelledError:
                continue
        context.raise_if_done()
