"""The right exporters over asyncio: a loop on a thread, and coroutine functions."""

from __future__ import annotations

import asyncio
import concurrent.futures
import random
import ssl
import threading
import weakref
from urllib.parse import urlsplit

from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core import Context, Exporter, ExporterError, ExporterShutdownError
from exporter_core.authoring import SerialExporter, keep_untouched
from third_party.late_transport import Answer, HttpConfig, Transient, encode, judge, literal, look_up, trust
from third_party.right_late_http import OtlpHarness


class AsyncSender:
    """POST over asyncio's streams, a connection for each request."""

    first_pause = 0.2
    longest_pause = 3.0
    attempts = 12

    def __init__(self, config: HttpConfig) -> None:
        self.config = config
        parts = urlsplit(config.endpoint)
        self.tls = parts.scheme == "https"
        self.host, self.port, self.path = parts.hostname, parts.port or (443 if self.tls else 80), parts.path or "/"

    def find(self, context: Context) -> str:
        """Look the host up on a thread that nobody waits for longer than the context lasts."""
        return look_up(context, self.host, self.port)[0][4][0]

    async def request(self, address: str, body: bytes) -> Answer:
        options = {"ssl": trust(), "server_hostname": self.host} if self.tls else {}
        reader, writer = await asyncio.open_connection(address, self.port, **options)
        try:
            head = (
                f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nConnection: close\r\n"
                f"Content-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n"
                f"Authorization: Bearer {self.config.token.get_secret_value()}\r\n\r\n"
            )
            writer.write(head.encode())
            writer.write(body)
            await writer.drain()
            return await self.read(reader)
        finally:
            writer.transport.abort()

    async def read(self, reader: asyncio.StreamReader) -> Answer:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1."):
            raise ExporterError("the answer is not HTTP")
        headers = Headers(line.split(": ", 1) if ": " in line else line.split(":", 1) for line in lines if ":" in line)
        length = headers.get("Content-Length")
        body = await (reader.read() if length is None else reader.readexactly(int(length)))
        return Answer(int(rest[:3]), headers, body)

    async def attempt(self, address: str, body: bytes) -> None:
        try:
            answer = await self.request(address, body)
        except asyncio.IncompleteReadError as error:
            if not error.partial and error.expected is None:
                raise Transient("the connection was closed") from error
            raise ExporterError("the answer was cut short") from error
        except ConnectionError as error:
            raise Transient("the connection failed") from error
        except ssl.SSLError as error:
            raise ExporterError("TLS failed") from error
        except OSError as error:
            raise Transient("the network failed") from error
        except (ValueError, asyncio.LimitOverrunError) as error:
            raise ExporterError("the answer is not HTTP") from error
        self.judge(answer)

    def judge(self, answer: Answer) -> None:
        judge(answer)

    async def send(self, address: str, body: bytes) -> None:
        pause = self.first_pause
        for number in range(self.attempts):
            try:
                return await self.attempt(address, body)
            except Transient as failure:
                if number == self.attempts - 1:
                    raise ExporterError("gave up") from failure
                await asyncio.sleep(max(pause * random.uniform(0.75, 1.25), failure.retry_after or 0))
                pause = min(pause * 2, self.longest_pause)


class Headers(dict):
    def __init__(self, pairs) -> None:
        super().__init__((name.strip().lower(), value.strip()) for name, value in pairs)

    def get(self, name, default=None):
        return super().get(name.lower(), default)


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class LoopThread(SerialExporter[HttpConfig]):
    """Right: an event loop on a thread of its own."""

    conformance_harness = OtlpHarness
    sender_class = AsyncSender

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.sender = self.sender_class(config)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            self.thread = threading.Thread(target=self.loop.run_forever, daemon=True, name="loop")
            self.thread.start()
            self.finalizer = weakref.finalize(self, _end, self.loop, self.thread)
            self.finalizer.atexit = False

    def encode(self, metrics: MetricsData) -> bytes:
        return encode(metrics)

    def work(self, address: str, body: bytes):
        return self.sender.send(address, body)

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        body = self.encode(metrics)
        try:
            address = self.sender.find(context)
        except TimeoutError:
            raise
        except OSError as error:
            raise ExporterError("the host is not found") from error
        self.start()
        self.run(context, address, body)

    def run(self, context: Context, address: str, body: bytes) -> None:
        done = threading.Event()

        async def main() -> None:
            try:
                await self.work(address, body)
            finally:
                done.set()

        future = asyncio.run_coroutine_threadsafe(main(), self.loop)
        handle = context.on_done(lambda: future.cancel())
        try:
            future.result()
        except (asyncio.CancelledError, concurrent.futures.CancelledError):
            pass
        except BaseException as error:
            if isinstance(error, Exception) and future.done():
                raise
            future.cancel()
            raise
        else:
            return
        finally:
            handle.unregister()
        # cancelled: the task has not ended yet
        done.wait(1)
        context.raise_if_done()
        raise ExporterError("the export was cancelled")

    def release(self, context: Context) -> None:
        if self.loop is not None:
            self.stop()

    def stop(self) -> None:
        self.finalizer()
        self.loop = self.thread = None

    def begin_anew(self) -> None:
        if self.loop is not None:
            self.finalizer.detach()
        keep_untouched(self.loop, self.thread)
        self.loop = self.thread = None


class Coroutines(Exporter[HttpConfig]):
    """Right: coroutine functions, a connection for each request."""

    conformance_harness = OtlpHarness
    sender_class = AsyncSender

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.sender = self.sender_class(config)
        self.lock = threading.Lock()
        self.running: dict[asyncio.Task, asyncio.AbstractEventLoop] = {}
        self.down = False
        self.ended: set = set()

    def encode(self, metrics: MetricsData) -> bytes:
        return encode(metrics)

    async def deliver(self, context: Context, body: bytes) -> None:
        await self.sender.send(await self.find(context), body)

    async def find(self, context: Context) -> str:
        found: list = []

        def ask() -> None:
            try:
                found.append(self.sender.find(context))
            except BaseException as error:
                found.append(error)

        numeric = literal(self.sender.host, self.sender.port)
        if numeric:
            return numeric[0][4][0]
        threading.Thread(target=ask, daemon=True).start()
        while not found:
            await asyncio.sleep(0.01)
        if isinstance(found[0], OSError) and not isinstance(found[0], TimeoutError):
            raise ExporterError("the host is not found") from found[0]
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    async def export(self, context: Context, metrics: MetricsData) -> None:
        task = asyncio.current_task()
        with self.lock:
            if self.down:
                raise ExporterShutdownError("the exporter has been shut down")
            context.raise_if_done()
            self.running[task] = asyncio.get_running_loop()
        try:
            await self.deliver(context, self.encode(metrics))
        except asyncio.CancelledError:
            if task in self.ended:
                task.uncancel()
                raise ExporterShutdownError("a shutdown ended the export") from None
            raise
        finally:
            with self.lock:
                del self.running[task]
                self.ended.discard(task)

    async def shutdown(self, context: Context) -> None:
        with self.lock:
            if self.down:
                raise ExporterShutdownError("the exporter has been shut down")
            self.down = True
        try:
            while self.running:
                if await context.sleep(0.01):
                    break
        finally:
            with self.lock:
                for task, loop in self.running.items():
                    self.ended.add(task)
                    loop.call_soon_threadsafe(task.cancel)
        context.raise_if_done()
