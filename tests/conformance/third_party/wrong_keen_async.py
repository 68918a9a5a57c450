"""Wrong exporters on event loops."""

from __future__ import annotations

import asyncio
import threading

from exporter_core import ExporterError
from third_party import keen_transport
from third_party.right_keen_async import Aio, Loop


class LeavesTransport(Loop):
    def end(self):
        if not self.loop.is_closed():

            async def close():
                if self.writer is not None:
                    self.writer.close()
                self.loop.stop()

            self.submit(close())
            self.thread.join()
            self.loop.close()


class StopsTooSoon(Aio):
    """Stops the loop in the step in which it closes the connection, whose socket stays open."""

    make = LeavesTransport


class UnsafeCancel(Aio):
    """Cancels the task on the thread that cancels the context, which does not wake the loop."""

    def call(self, context, loop, address, request):
        started, tasks = threading.Event(), []

        async def run():
            tasks.append(asyncio.current_task())
            started.set()
            left = context.remaining()
            try:
                async with asyncio.timeout(left):
                    return await loop.exchange(address, request)
            except TimeoutError:
                await asyncio.sleep(0.01)
                context.raise_if_done()
                raise keen_transport.Retry("timed out") from None

        future = loop.submit(run())
        started.wait()
        handle = context.on_done(tasks[0].cancel)
        try:
            return future.result()
        except BaseException as error:
            if future.cancelled():
                context.raise_if_done()
                raise ExporterError("the request was cancelled") from error
            raise
        finally:
            handle.unregister()


class EndsAtEof(Loop):
    async def exchange(self, address, request):
        try:
            await self.drop()
            self.reader, self.writer = await asyncio.open_connection(*address)
            self.writer.write(request)
            await self.writer.drain()
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:])}
            status = int(head[0].split()[1])
            if not head[0].startswith("HTTP/1"):
                raise ValueError  # noqa: TRY301 - not HTTP, as below
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            await self.drop()
            return status, headers, body
        except asyncio.IncompleteReadError as error:
            await self.drop()
            if error.partial or error.expected is not None:
                raise ExporterError("the answer was cut short") from error
            raise keen_transport.Retry("the connection was closed") from error
        except OSError as error:
            await self.drop()
            raise keen_transport.Retry("the connection failed") from error
        except (ValueError, IndexError, asyncio.LimitOverrunError) as error:
            await self.drop()
            raise ExporterError("the answer is not HTTP") from error
        except Exception:
            await self.drop()
            raise


class KeepsCancelled(Aio):
    """Leaves the connection of a cancelled request open until the next export."""

    make = EndsAtEof

    def call(self, context, loop, address, request):
        future = loop.submit(loop.exchange(address, request))
        handle = context.on_done(future.cancel)
        try:
            return future.result()
        except BaseException as error:
            if future.cancelled():
                context.raise_if_done()
                raise ExporterError("the request was cancelled") from error
            raise
        finally:
            handle.unregister()
