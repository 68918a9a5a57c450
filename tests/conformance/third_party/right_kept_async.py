"""Right exporters with an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from exporter_core import Exporter, ExporterError, ExporterShutdownError
from third_party.local_base import ALL, AddressConfig
from third_party.local_encoder import LineEncoder
from third_party.local_harnesses import AsyncStreamHarness, StreamHarness


class LoopPumpExporter(Exporter[AddressConfig]):
    """Has an event loop on a thread, and makes a connection for each batch."""

    conformance_harness = StreamHarness
    enc = LineEncoder()

    def __init__(self, config):
        super().__init__(config)
        self._fresh()
        ALL.add(self)

    def _fresh(self):
        self.__dict__.setdefault("_kept", []).append(getattr(self, "_loop", None))
        self._lock = threading.Lock()
        self._loop = self._thread = self._stop = None
        self._down = getattr(self, "_down", False)
        self._queue = deque()
        self._tasks = []
        self._pump = None
        self._accepted = self._finished = self._reported = 0
        self._failed = []

    @staticmethod
    def _run(loop):
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def _start(self):
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._run, args=[self._loop], daemon=True)
            self._thread.start()

    def export(self, context, metrics):
        if self._down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        data = self.enc.line(metrics)
        with self._lock:
            if self._down:
                raise ExporterShutdownError("shut down")
            self._start()
            self._queue.append(data)
            self._accepted += 1
            self._loop.call_soon_threadsafe(self._kick)

    def _kick(self):
        if self._pump is None:
            self._pump = asyncio.ensure_future(self._deliver())

    async def _deliver(self):
        try:
            while self._queue:
                data = self._queue[0]
                try:
                    await self._send(data)
                except (OSError, EOFError) as error:
                    self._failed.append((self._finished + 1, error))
                self._queue.popleft()
                self._finished += 1
        finally:
            self._pump = None

    async def _send(self, data):
        host, port = self.config.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(data)
            await writer.drain()
            writer.write_eof()
            while await reader.read(1000):
                pass
        finally:
            writer.transport.abort()

    async def _drain(self, target, since):
        while self._finished < target:
            if self._pump is None:
                self._kick()
            await asyncio.sleep(0.01)
        failed = [error for number, error in self._failed if since < number <= target]
        self._failed = [one for one in self._failed if one[0] > target]
        self._reported = max(self._reported, target)
        if failed:
            raise ExporterError(f"{len(failed)} batches were not sent") from failed[0]

    def _wait(self, context, loop, target, since):
        future = asyncio.run_coroutine_threadsafe(self._drain(target, since), loop)
        handle = context.on_done(future.cancel)
        try:
            future.result()
        except BaseException as error:
            context.raise_if_done()
            if isinstance(error, ExporterError):
                raise
            raise ExporterError("shut down before all was sent") from error
        finally:
            handle.unregister()

    def force_flush(self, context):
        context.raise_if_done()
        with self._lock:
            loop, target, since = self._loop, self._accepted, self._reported
            if loop is None or self._down:
                return
            if self._finished >= target and not self._failed:
                return
        self._wait(context, loop, target, since)

    async def _end(self):
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for t in tasks:
            t.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        asyncio.get_running_loop().stop()

    def shutdown(self, context):
        with self._lock:
            if self._down:
                raise ExporterShutdownError("shut down")
            self._down = True
            loop, thread, target, since = self._loop, self._thread, self._accepted, self._reported
        try:
            context.raise_if_done()
            if loop is not None:
                self._wait(context, loop, target, since)
        finally:
            if loop is not None:
                asyncio.run_coroutine_threadsafe(self._end(), loop)
                thread.join(1)
        context.raise_if_done()

    def __del__(self):
        loop = getattr(self, "_loop", None)
        if loop is not None and not loop.is_closed() and self._thread.is_alive():
            try:
                loop.call_soon_threadsafe(loop.stop)
            except RuntimeError:
                pass


class Together(LoopPumpExporter):
    """Sends what is queued over a connection for each batch, all at once, and waits for all."""

    async def _deliver(self):
        try:
            while self._queue:
                batch = list(self._queue)[:16]
                for error in await asyncio.gather(*[self._send(one) for one in batch], return_exceptions=True):
                    if isinstance(error, (OSError, EOFError)):
                        self._failed.append((self._finished + 1, error))
                    self._queue.popleft()
                    self._finished += 1
        finally:
            self._pump = None


class AsyncRight(Exporter[AddressConfig]):
    """Has coroutines and a connection for each batch; the shutdown waits for the export, then cancels it."""

    conformance_harness = AsyncStreamHarness
    enc = LineEncoder()

    def __init__(self, config):
        super().__init__(config)
        self._down = False
        self._fresh()
        ALL.add(self)

    def _fresh(self):
        self._running = set()

    async def export(self, context, metrics):
        if self._down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        data = self.enc.line(metrics)
        task = asyncio.ensure_future(self.bounded(context, data))
        self._running.add(task)
        try:
            await task
        except asyncio.CancelledError:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            context.raise_if_done()
            if self._down and not asyncio.current_task().cancelling():
                raise ExporterError("shut down before it was sent") from None
            raise
        except (OSError, EOFError) as error:
            if isinstance(error, TimeoutError):
                context.raise_if_done()
            raise ExporterError("not sent") from error
        finally:
            self._running.discard(task)

    async def bounded(self, context, data):
        """The raw call ends with its context too."""
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        handle = context.on_done(lambda: loop.call_soon_threadsafe(me.cancel))
        try:
            await self.send(data)
        finally:
            handle.unregister()

    async def send(self, data):
        host, port = self.config.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(data)
            await writer.drain()
            writer.write_eof()
            while await reader.read(1000):
                pass
        finally:
            writer.transport.abort()

    async def force_flush(self, context):
        context.raise_if_done()
        if not self._down:
            await self.settle(context)

    async def settle(self, context):
        running = set(self._running)
        while any(not one.done() for one in running):
            context.raise_if_done()
            await asyncio.sleep(0.01)

    async def shutdown(self, context):
        if self._down:
            raise ExporterShutdownError("shut down")
        self._down = True
        try:
            await self.settle(context)
        finally:
            for one in list(self._running):
                one.cancel()
            if self._running:
                await asyncio.wait(set(self._running), timeout=0.2)
        context.raise_if_done()
