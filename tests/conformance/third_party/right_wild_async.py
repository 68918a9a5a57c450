"""A right exporter over asyncio, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import weakref
from urllib.parse import urlsplit

from exporter_core import ExporterError
from exporter_core.authoring import SerialExporter, keep_untouched, retry_after_seconds
from exporter_core.otlp import Encoder
from third_party.wild_base import TRANSIENT, NetConfig, Transient, WildHttpHarness, attempts, look_up, rejected_in, told


def stop_loop(loop, thread):
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join()


def run_loop(loop):
    try:
        loop.run_forever()
    finally:
        loop.close()


class WildLoop(SerialExporter[NetConfig]):
    """Sends OTLP over asyncio's streams on the event loop of a thread, with a connection for each request."""

    conformance_harness = WildHttpHarness

    def __init__(self, config):
        super().__init__(config)
        self._encoder = Encoder()
        self._parts = urlsplit(config.endpoint)
        self._loop = self._finalizer = None

    def begin_anew(self):
        keep_untouched(self._loop)
        if self._finalizer is not None:
            self._finalizer.detach()
        self._loop = self._finalizer = None

    def loop(self):
        if self._loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=run_loop, args=[loop], daemon=True)
            thread.start()
            self._loop = loop
            self._finalizer = weakref.finalize(self, stop_loop, loop, thread)
            self._finalizer.atexit = False
        return self._loop

    def release(self, context):
        if self._finalizer is not None:
            self._finalizer()

    def deliver(self, context, metrics):
        encoded = self._encoder.encode(metrics)
        rejected, text = 0, ""
        if encoded.points:
            rejected, text = attempts(context, lambda: self.attempt(context, encoded.data))
        told(rejected + len(encoded.dropped), text)

    def attempt(self, context, body):
        try:
            address = self.find(context)
        except OSError as error:
            context.raise_if_done()
            raise Transient(f"no such host: {error.strerror}") from error
        return self.wait(context, self.post(address, body))

    def find(self, context):
        return look_up(context, self._parts.hostname, self._parts.port or 80)

    def wait(self, context, coroutine):
        ended = threading.Event()

        async def whole():
            try:
                return await coroutine
            finally:
                ended.set()

        loop = self.loop()
        task = []

        def start():
            task.append(loop.create_task(whole()))
            task[0].add_done_callback(lambda _: ended.set())

        loop.call_soon_threadsafe(start)
        handle = context.on_done(lambda: loop.call_soon_threadsafe(lambda: task[0].cancel()))
        try:
            while not (task and task[0].done()):
                ended.wait(1)
        finally:
            handle.unregister()
        if task[0].cancelled():
            context.raise_if_done()
            raise ExporterError("the request was cancelled")
        error = task[0].exception()
        if error is None:
            return task[0].result()
        context.raise_if_done()
        if isinstance(error, (Transient, ExporterError)):
            raise error
        if isinstance(error, (asyncio.IncompleteReadError, ValueError, asyncio.LimitOverrunError)):
            if isinstance(error, asyncio.IncompleteReadError) and not error.partial and error.expected is None:
                raise Transient("the connection was closed without an answer") from error
            raise ExporterError("no answer of HTTP") from error
        if isinstance(error, OSError):
            raise Transient(f"the connection broke: {type(error).__name__}") from error
        raise ExporterError(f"the request failed: {type(error).__name__}") from error

    async def post(self, address, body):
        reader, writer = await asyncio.open_connection(*address)
        try:
            head = (
                f"POST {self._parts.path or '/'} HTTP/1.1\r\nHost: {self._parts.netloc}\r\nConnection: close\r\n"
                f"Content-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n"
                f"Authorization: Bearer {self.config.token.get_secret_value()}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            version, status, *_ = lines[0].split(" ")
            if not version.startswith("HTTP/1."):
                raise ValueError("not HTTP")
            headers = {}
            for line in lines[1:]:
                if line:
                    name, _, value = line.partition(":")
                    headers[name.strip().lower()] = value.strip()
            if "content-length" in headers:
                answer = await reader.readexactly(int(headers["content-length"]))
            elif headers.get("transfer-encoding") == "chunked":
                raise ValueError("chunked")
            else:
                answer = await reader.read()
            return self.judge(int(status), headers, answer)
        finally:
            writer.transport.abort()

    def judge(self, status, headers, answer):
        if status == 200:
            return rejected_in(answer, headers.get("content-type"))
        if status in TRANSIENT:
            value = headers.get("retry-after")
            raise Transient(
                f"status {status}", None if value is None else retry_after_seconds(value, headers.get("date"))
            )
        raise ExporterError(f"status {status}")
