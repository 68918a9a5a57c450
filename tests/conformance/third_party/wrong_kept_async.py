"""Wrong exporters with an event loop."""

from __future__ import annotations

import asyncio
import logging
import socket

from exporter_core import ExporterError, ExporterShutdownError
from third_party.right_kept_async import AsyncRight, LoopPumpExporter


class ResultOnly(LoopPumpExporter):
    """Waits for a future with a time-out, and is deaf to a cancellation."""

    def _wait(self, context, loop, target, since):
        future = asyncio.run_coroutine_threadsafe(self._drain(target, since), loop)
        try:
            future.result(context.remaining())
        except ExporterError:
            raise
        except BaseException as error:
            future.cancel()
            context.raise_if_done()
            raise ExporterError("not sent") from error


class LogsSendErrors(LoopPumpExporter):
    """Logs what a send raises, and goes on to the next batch."""

    async def _send(self, data):
        try:
            await super()._send(data)
        except (OSError, EOFError):
            logging.getLogger("mine").exception("send")


class SwallowsCancelled(LoopPumpExporter):
    """Catches every exception in its task, also that of a cancellation, and tries the batch again."""

    async def _deliver(self):
        try:
            while self._queue:
                try:
                    await self._send(self._queue[0])
                except BaseException as error:
                    if not isinstance(error, asyncio.CancelledError):
                        self._failed.append((self._finished + 1, error))
                    else:
                        continue
                self._queue.popleft()
                self._finished += 1
        finally:
            self._pump = None


class StopsLoopOnly(LoopPumpExporter):
    """Stops the loop, and does not close it."""

    @staticmethod
    def _run(loop):
        asyncio.set_event_loop(loop)
        loop.run_forever()


class OneLoopForAll(LoopPumpExporter):
    """Has one loop for all exporters of the module, which the first shutdown ends."""

    shared = []

    def _start(self):
        if self._loop is None:
            if not self.shared or not self.shared[0][1].is_alive():
                super()._start()
                self.shared[:] = [(self._loop, self._thread)]
            self._loop, self._thread = self.shared[0]

    def _fresh(self):
        super()._fresh()
        self.shared.clear() if self.shared and not self.shared[0][1].is_alive() else None


class DoesNotWaitForTheSink(LoopPumpExporter):
    """Closes the connection when the bytes are in the socket, and takes that for delivered."""

    async def _send(self, data):
        host, port = self.config.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))  # noqa: RUF059
        writer.write(data)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


class ThreeSeconds(LoopPumpExporter):
    """Waits three seconds for the sink to close, and then takes the batch for delivered."""

    async def _send(self, data):
        host, port = self.config.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(data)
            await writer.drain()
            writer.write_eof()
            try:
                await asyncio.wait_for(reader.read(), 3)
            except TimeoutError:
                pass
        finally:
            writer.transport.abort()


class NeverAborts(LoopPumpExporter):
    """Closes the connection only after a good send, and leaks it on errors."""

    kept = None

    async def _send(self, data):
        host, port = self.config.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        if self.kept is None:
            self.kept = []
        self.kept.append(writer)
        writer.write(data)
        await writer.drain()
        writer.write_eof()
        while await reader.read(1000):
            pass
        writer.close()
        self.kept.remove(writer)


class ShieldsSend(AsyncRight):
    """Shields the sending from cancellation: it goes on when the export has failed."""

    async def bounded(self, context, data):
        inner = asyncio.ensure_future(self.send(data))
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        handle = context.on_done(lambda: loop.call_soon_threadsafe(me.cancel))
        try:
            await asyncio.shield(inner)
        finally:
            handle.unregister()


class CancelledIsFine(AsyncRight):
    """Catches CancelledError, logs and returns."""

    async def bounded(self, context, data):
        try:
            await super().bounded(context, data)
        except asyncio.CancelledError:
            logging.getLogger("mine").info("cancelled")


class LockOfFirstLoop(AsyncRight):
    """Is bound to the first event loop: used from another one it is an error, or hangs."""

    _gate = None

    async def send(self, data):
        loop = asyncio.get_running_loop()
        if self._gate is None:
            self._gate = loop.create_future()
            self._gate.set_result(None)
            self._home = loop
        if self._home is not loop:
            await asyncio.wait_for(
                asyncio.wrap_future(asyncio.run_coroutine_threadsafe(super().send(data), self._home)), None
            )
            return
        await super().send(data)


class ShutdownDoesNotWait(AsyncRight):
    """Shutdown returns beside an export in flight, which goes on."""

    async def shutdown(self, context):
        if self._down:
            raise ExporterShutdownError("shut down")
        self._down = True
        context.raise_if_done()


class BlockingSend(AsyncRight):
    """Sends with a blocking socket in a coroutine, with the deadline for the time-out of each call."""

    async def bounded(self, context, data):
        host, port = self.config.address.split(":")
        with socket.create_connection((host, int(port)), context.remaining()) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while s.recv(1000):
                pass


class ToThread(AsyncRight):
    """Hands the sending to a thread, which goes on when the task was cancelled."""

    async def send(self, data):
        host, port = self.config.address.split(":")

        def work():
            with socket.create_connection((host, int(port))) as s:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while s.recv(1000):
                    pass

        await asyncio.to_thread(work)


class TaskNotKept(AsyncRight):
    """Makes a task of the sending, and returns."""

    async def export(self, context, metrics):
        if self._down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        task = asyncio.ensure_future(self.send(self.enc.line(metrics)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
