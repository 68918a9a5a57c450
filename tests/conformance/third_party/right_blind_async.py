"""Right exporters over asyncio: coroutine functions, and a loop on a thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import weakref
from urllib.parse import urlsplit

from exporter_core import Exporter, ExporterError, ExporterShutdownError
from exporter_core.authoring import SerialExporter, keep_untouched
from third_party.blind_base import Config, Harness
from third_party.blind_encoder import Enc
from third_party.blind_wire import RETRYABLE, Answer, judge, retry_after


async def post(url, body, headers):
    u = urlsplit(url)
    reader, writer = await asyncio.open_connection(u.hostname, u.port)
    try:
        head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        writer.write(
            (
                f"POST {u.path} HTTP/1.1\r\nHost: {u.netloc}\r\nConnection: close\r\n"
                f"Content-Length: {len(body)}\r\n{head}\r\n"
            ).encode()
            + body
        )
        await writer.drain()
        line = await reader.readline()
        if not line:
            raise ConnectionError("closed without an answer")
        try:
            status = int(line.split()[1]) if line.startswith(b"HTTP/") else 0
        except (ValueError, IndexError):
            status = 0
        if not status:
            raise ExporterError("the answer is not HTTP")
        got = {}
        while True:
            line = await reader.readline()
            if line in (b"\r\n", b"\n"):
                break
            if not line:
                raise ExporterError("the answer was cut short")
            k, _, v = line.decode("latin-1").partition(":")
            got[k.strip().lower()] = v.strip()
        complete, content = True, b""
        if status not in (204, 304):
            if "content-length" in got:
                try:
                    content = await reader.readexactly(int(got["content-length"]))
                except asyncio.IncompleteReadError as e:
                    content, complete = e.partial, False
            else:
                content = await reader.read()
        return Answer(status, got, content, complete)
    finally:
        writer.transport.abort()


class AsyncStreams(Exporter[Config]):
    """Consists of coroutine functions over asyncio's streams, with a connection for each request."""

    conformance_harness = Harness

    def __init__(self, config):
        super().__init__(config)
        self.enc, self.closed, self.running = Enc(), False, set()
        self.headers = {
            "Content-Type": "application/x-protobuf",
            "Authorization": "Bearer " + config.token.get_secret_value(),
        }

    async def send(self, context, body):
        wait, attempts = 0.5, 6
        for n in range(attempts):
            context.raise_if_done()
            asked = 0.0
            try:
                answer = await post(self.config.endpoint, body, self.headers)
            except (OSError, EOFError) as e:
                failure = ExporterError("the backend cannot be reached")
                failure.__cause__ = e
            else:
                if answer.status not in RETRYABLE:
                    return judge(answer)
                failure = ExporterError(f"the backend answered {answer.status}")
                asked = retry_after(answer.headers.get("retry-after"))
            if n + 1 < attempts:
                await context.sleep(max(wait, asked))
                if context.done:
                    raise context.error() from failure
                wait *= 1.5
        raise failure

    async def deliver(self, context, metrics):
        try:
            body = self.enc.encode(metrics)
        except (ValueError, TypeError, OverflowError) as e:
            raise ExporterError("the metrics do not fit OTLP") from e
        await self.send(context, body)

    async def export(self, context, metrics):
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        task = asyncio.current_task()
        self.running.add(task)
        try:
            await self.deliver(context, metrics)
        except asyncio.CancelledError:
            if self.closed and not context.done:
                raise ExporterShutdownError("ended by a shutdown") from None
            raise
        finally:
            self.running.discard(task)

    async def force_flush(self, context):
        if self.closed:
            return
        context.raise_if_done()

    async def shutdown(self, context):
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        self.closed = True
        try:
            loop = asyncio.get_running_loop()
            while any(t.get_loop() is loop for t in self.running) and not context.done:
                await context.sleep(0.02)
        finally:
            for t in list(self.running):
                if t.get_loop() is asyncio.get_running_loop():
                    t.cancel()
        for _ in range(50):
            if not self.running:
                break
            await asyncio.sleep(0.005)
        context.raise_if_done()


def _run(loop):
    try:
        loop.run_forever()
    finally:
        for t in asyncio.all_tasks(loop):
            t.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def _deliver(url, headers, body):
    wait = 0.5
    for n in range(6):
        asked = 0.0
        try:
            answer = await post(url, body, headers)
        except (OSError, EOFError) as e:
            failure = ExporterError("the backend cannot be reached")
            failure.__cause__ = e
        else:
            if answer.status not in RETRYABLE:
                return judge(answer)
            failure = ExporterError(f"the backend answered {answer.status}")
            asked = retry_after(answer.headers.get("retry-after"))
        if n < 5:
            await asyncio.sleep(max(wait, asked))
            wait *= 1.5
    raise failure


class LoopOnThread(SerialExporter[Config]):
    """Is synchronous, and drives an asyncio loop on a thread of its own."""

    conformance_harness = Harness
    loop = None

    def __init__(self, config):
        super().__init__(config)
        self.enc = Enc()
        self.headers = {
            "Content-Type": "application/x-protobuf",
            "Authorization": "Bearer " + config.token.get_secret_value(),
        }

    def start(self):
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            self.thread = threading.Thread(target=_run, args=(self.loop,), daemon=True)
            self.thread.start()
            self.end = weakref.finalize(self, self.loop.call_soon_threadsafe, self.loop.stop)
            self.end.atexit = False

    def give_up(self, future):
        future.cancel()

    def deliver(self, context, metrics):
        try:
            body = self.enc.encode(metrics)
        except (ValueError, TypeError, OverflowError) as e:
            raise ExporterError("the metrics do not fit OTLP") from e
        self.start()
        done = threading.Event()

        async def job():
            try:
                return await _deliver(self.config.endpoint, self.headers, body)
            finally:
                done.set()

        future = asyncio.run_coroutine_threadsafe(job(), self.loop)
        while True:
            try:
                return future.result(0.02)
            except concurrent.futures.TimeoutError:
                if future.done():
                    raise
                if context.done:
                    self.give_up(future)
                    raise context.error()  # noqa: B904

    def release(self, context):
        if self.loop is not None:
            self.end.detach()
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()

    def begin_anew(self):
        keep_untouched(self.loop, self.loop and self.thread)
        if self.loop is not None:
            self.end.detach()
        self.loop = None
