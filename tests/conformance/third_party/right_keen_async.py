"""A right exporter on an event loop."""

from __future__ import annotations

import asyncio
import threading
import weakref
from urllib.parse import urlsplit

from exporter_core import ExporterError, PartialSuccessError
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.otlp import Encoder
from third_party import keen_transport
from third_party.keen_base import Conf, Harness


class Loop:
    """The thread; refers to no exporter."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.writer = self.reader = None
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def submit(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    async def drop(self):
        if self.writer is not None:
            writer, self.writer, self.reader = self.writer, None, None
            writer.transport.abort()
            try:
                await writer.wait_closed()
            except OSError:
                pass

    async def exchange(self, address, request):
        kept = self.writer is not None and not self.reader.at_eof() and not self.writer.is_closing()
        try:
            if not kept:
                await self.drop()
                self.reader, self.writer = await asyncio.open_connection(*address)
            self.writer.write(request)
            await self.writer.drain()
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {}
            for line in head[1:]:
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
            version, status = head[0].split()[:2]
            if not version.startswith("HTTP/1"):
                raise ValueError  # noqa: TRY301 - not HTTP, as below
            status = int(status)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            if headers.get("connection", "").lower() == "close":
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
        except BaseException:
            await self.drop()
            raise

    def end(self):
        if not self.loop.is_closed():
            self.submit(self.drop()).result()
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop.close()


def stop(box):
    if box:
        box.pop().end()


class Aio(SerialExporter[Conf]):
    """An event loop on a thread of its own speaks HTTP; export waits for it."""

    conformance_harness = Harness
    make = Loop

    def __init__(self, config):
        super().__init__(config)
        self.encoder, self.box = Encoder(), []
        self.final = weakref.finalize(self, stop, self.box)
        self.final.atexit = False

    def deliver(self, context, metrics):
        body, dropped = keen_transport.encoded(self.encoder, metrics)
        parts = urlsplit(self.config.endpoint)
        token = f"Authorization: Bearer {self.config.token.get_secret_value()}\r\n" if self.config.token else ""
        request = (
            f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/x-protobuf\r\n"
            f"{token}Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        if not self.box:
            self.box.append(self.make())

        def attempt():
            address = keen_transport.lookup(context, parts.hostname, parts.port or 80)
            keen_transport.judge(*self.call(context, self.box[0], address, request))

        keen_transport.attempts(context, attempt)
        if dropped:
            raise PartialSuccessError("some points do not fit", rejected_points=dropped)

    def call(self, context, loop, address, request):
        future = loop.submit(loop.exchange(address, request))
        handle = context.on_done(future.cancel)
        try:
            return future.result()
        except BaseException as error:
            if future.cancelled():
                loop.submit(asyncio.sleep(0)).result()
                loop.submit(loop.drop()).result()
                context.raise_if_done()
                raise ExporterError("the request was cancelled") from error
            raise
        finally:
            handle.unregister()

    def release(self, context):
        stop(self.box)

    def begin_anew(self):
        self.final.detach()
        keep_untouched(self.box)
        self.encoder, self.box = Encoder(), []
        self.final = weakref.finalize(self, stop, self.box)
        self.final.atexit = False
