"""Right exporters with habits of their own: a request for each point, greetings, stages, jitter, maps, logs, loops."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import mmap
import os
import queue
import random
import sqlite3
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core import (
    Context,
    DeadlineExceededError,
    ExporterError,
    ExporterShutdownError,
    PartialSuccessError,
)
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.exporter import Exporter
from third_party.harnesses import FileHarness, HoldingHarness
from third_party.right import METHOD, GrpcExporter, PathConfig, PlainExporter, PooledExporter, renew_in_child
from third_party.right_more import SplittingExporter, SqliteRowsExporter
from third_party.transport import (
    Answer,
    HttpConfig,
    RefusedError,
    Wire,
    address_of,
    encode,
    judge,
    post,
    read_answer,
    request_bytes,
    retry_after,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOGGER = logging.getLogger(__name__)


class SomePointsLostError(ExporterError):
    """Some points of a batch were not delivered."""

    def __init__(self, failures: list[Exception], requests: int) -> None:
        super().__init__(f"{len(failures)} of {requests} requests failed; the first one: {failures[0]}")
        self.failures = failures


class PointByPointExporter(SplittingExporter):
    """Post a request for each point; all are tried, and the failures are raised together."""

    def split(self, document: dict[str, Any]) -> Iterator[bytes]:
        for resource in document.get("resourceMetrics", ()):
            for scope in resource.get("scopeMetrics", ()):
                for metric in scope.get("metrics", ()):
                    ((kind, data),) = ((name, value) for name, value in metric.items() if isinstance(value, dict))
                    for point in data.get("dataPoints", ()):
                        one = {**metric, kind: {**data, "dataPoints": [point]}}
                        part = {**resource, "scopeMetrics": [{**scope, "metrics": [one]}]}
                        yield json.dumps({"resourceMetrics": [part]}).encode()

    def send_all(self, context: Context, bodies: list[bytes]) -> None:
        rejected, failures = 0, []
        for body in bodies:
            try:
                self.send(context, body)
            except PartialSuccessError as error:
                rejected += error.rejected_points
            except ExporterError as error:
                failures.append(error)
            context.raise_if_done()
        if failures:
            raise SomePointsLostError(failures, len(bodies)) from failures[0]
        if rejected:
            raise PartialSuccessError("the backend refused some points", rejected_points=rejected)


class WarmExporter(PooledExporter):
    """Open a connection when it is made, so that the first export finds one; keep it open between exports."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        with contextlib.suppress(Exception):  # an export says what is wrong
            self.idle.append(self.take(Context.with_timeout(0.2)))


class GreetingExporter(PlainExporter):
    """Ask the backend how it is when the exporter is made, and say in the log what it answered."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        parts = urlsplit(config.endpoint)
        request = f"GET /healthz HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
        try:
            wire, context = Wire(address_of(config.endpoint)), Context.with_timeout(0.2)
            with contextlib.closing(wire):
                wire.connect(context)
                wire.send(context, request)
                answer = read_answer(lambda: wire.receive(context))
            LOGGER.debug("the backend answered %s", answer.status)
        except Exception as error:  # noqa: BLE001 - an export says what is wrong
            LOGGER.debug("the backend is not there: %s", type(error).__name__)


class JitterExporter(PlainExporter):
    """Try again with full jitter for as long as the context lasts, at most a minute; each attempt is logged."""

    def send(self, context: Context, body: bytes) -> None:
        context = context.child(timeout=60)
        pause = 0.2
        while True:
            asked = 0.0
            try:
                return judge(self.attempt(context, body))
            except RefusedError as error:
                if not error.transient:
                    raise
                asked, failure = retry_after(error.answer), error
            except TimeoutError:
                raise
            except OSError as error:
                failure = error
            wait = asked + random.uniform(0.01, pause)  # noqa: S311
            LOGGER.debug("attempt failed (%s); the next one in %.3f s", type(failure).__name__, wait)
            remaining = context.remaining()
            if remaining is not None and wait >= remaining:
                raise DeadlineExceededError("no time is left for another attempt") from failure
            context.wait(wait)
            context.raise_if_done()
            pause = min(2 * pause, 5)


class RunsALoopExporter(PlainExporter):
    """Run an event loop for each attempt, on the caller's thread; nobody waits for a look-up that goes on behind it."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(self.bounded(context, body))
        finally:
            loop.close()

    async def bounded(self, context: Context, body: bytes) -> Answer:
        """Post, until the context is done."""
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(self.exchange(body))

        def cancel() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(task.cancel)

        handle = context.on_done(cancel)
        try:
            return await task
        except asyncio.CancelledError:
            context.raise_if_done()
            raise
        finally:
            handle.unregister()

    async def exchange(self, body: bytes) -> Answer:
        """Post over a connection of its own."""
        reader, writer = await asyncio.open_connection(*address_of(self.config.endpoint))
        try:
            writer.write(request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            await writer.drain()
            chunks = iter([await reader.read()])
            return read_answer(lambda: next(chunks, b""))
        finally:
            writer.transport.abort()


class StagesExporter(Exporter[HttpConfig]):
    """Hold until 64 KiB or a flush: one thread compresses, another one sends; both live from one need to the next."""

    conformance_harness = HoldingHarness
    most = 65536

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.closed = False
        self.begin()
        renew_in_child(self, self.begin)

    def begin(self) -> None:
        """Begin with nothing."""
        self.condition = threading.Condition()
        self.buffer: list[bytes] = []
        self.size = 0
        self.given = self.done = 0
        self.failure: Exception | None = None
        self.lifetime = Context.background().child()
        self.threads: list[threading.Thread] = []
        self.plain: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.packed: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        body = encode(metrics)
        with self.condition:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            self.buffer.append(body)
            self.size += len(body)
            if self.size >= self.most:
                self.hand_over()

    def hand_over(self) -> None:
        """Give the buffer to the threads, with the lock held."""
        if self.buffer and not self.threads:
            stages = partial(self.compress, self.plain, self.packed), partial(self.send_all, weakref.ref(self))
            self.threads = [threading.Thread(target=stage, daemon=True) for stage in stages]
            weakref.finalize(self, self.plain.put, None).atexit = False
            for thread in self.threads:
                thread.start()
        for body in self.buffer:
            self.given += 1
            self.plain.put(body)
        self.buffer, self.size = [], 0

    @staticmethod
    def compress(plain: queue.SimpleQueue[bytes | None], packed: queue.SimpleQueue[bytes | None]) -> None:
        """Compress until there is a None."""
        while (body := plain.get()) is not None:
            packed.put(gzip.compress(body, 1))
        packed.put(None)

    @staticmethod
    def send_all(exporter: weakref.ref[StagesExporter]) -> None:
        """Send until there is a None."""
        first = exporter()
        if first is None:
            return
        packed = first.packed
        del first
        while (body := packed.get()) is not None:
            one = exporter()
            if one is None:
                return
            one.send(body)
            del one

    def send(self, body: bytes) -> None:
        """Send one, and say that it is done."""
        failure: Exception | None = None
        try:
            post(self.lifetime, lambda running: self.attempt(running, body))
        except Exception as error:  # noqa: BLE001 - told to the next flush
            failure = error
        with self.condition:
            self.failure = self.failure or failure
            self.done += 1
            self.condition.notify_all()

    def attempt(self, context: Context, body: bytes) -> Answer:
        """Send once."""
        token = self.config.token.get_secret_value()
        request = request_bytes(self.config.endpoint, body, token).replace(
            b"Content-Type", b"Content-Encoding: gzip\r\nContent-Type", 1
        )
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
            wire.send(context, request)
            return read_answer(lambda: wire.receive(context))
        finally:
            wire.close()

    def force_flush(self, context: Context) -> None:
        if self.closed:
            return
        context.raise_if_done()
        self.drain(context)
        context.raise_if_done()
        self.tell()

    def drain(self, context: Context) -> None:
        """Hand over, and wait until everything before is done; raises the context's error."""
        with self.condition:
            self.hand_over()
            given = self.given
            over = wait_until(self.condition, context, lambda: self.done >= given or self.lifetime.done)
        if not over:
            context.raise_if_done()
        if self.done < given:
            raise ExporterShutdownError("the exporter was shut down before the flush was done")

    def tell(self) -> None:
        """Raise the failure of a delivery, once."""
        with self.condition:
            failure, self.failure = self.failure, None
        if isinstance(failure, PartialSuccessError):
            raise failure
        if failure is not None:
            raise ExporterError(f"a batch was not delivered: {failure}") from failure

    def shutdown(self, context: Context) -> None:
        with self.condition:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down already")
            self.closed = True
        try:
            context.raise_if_done()
            self.drain(context)
        finally:
            self.lifetime.cancel("the exporter was shut down")
            with self.condition:
                self.condition.notify_all()
            self.plain.put(None)
            for thread in self.threads:
                thread.join(1)
        self.tell()


class KeptChannelExporter(GrpcExporter):
    """Call OTLP/gRPC over one channel that is kept, over which calls share a connection."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.channel: grpc.Channel | None = None

    def attempt(self, context: Context, data: bytes) -> bytes:
        if self.channel is None:
            options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.use_local_subchannel_pool", 1)]
            self.channel = grpc.insecure_channel(self.config.address, options=options)
        future = self.channel.unary_unary(METHOD).future(data, timeout=context.remaining())
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        handle = context.on_done(done.set)
        try:
            done.wait()
        finally:
            handle.unregister()
        if not future.done():
            future.cancel()
            context.raise_if_done()
        return future.result()

    def release(self, context: Context) -> None:
        if self.channel is not None:
            self.channel.close()

    def begin_anew(self) -> None:
        keep_untouched(self.channel)
        self.channel = None


class MappedFileExporter(SerialExporter[PathConfig]):
    """Append to a file through a map of its end; the file has its new size first, so that there is room."""

    conformance_harness = FileHarness

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        context.raise_if_done()
        line = encode(metrics) + b"\n"
        try:
            self.append(line)
        except OSError as error:
            raise ExporterError(f"the file cannot be written: {error.strerror}") from error

    def append(self, line: bytes) -> None:
        """Append a line, or nothing."""
        number = os.open(self.config.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            start = os.fstat(number).st_size
            try:
                os.posix_fallocate(number, start, len(line))
            except OSError:
                os.ftruncate(number, start)
                raise
            first = start - start % mmap.ALLOCATIONGRANULARITY
            with mmap.mmap(number, start + len(line) - first, offset=first) as mapped:
                mapped[start - first :] = line
                mapped.flush()
        finally:
            os.close(number)


class ReplacedFileExporter(SerialExporter[PathConfig]):
    """Write the whole file anew beside its place and move it there, for readers that must never see half a line."""

    conformance_harness = FileHarness

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        context.raise_if_done()
        line = encode(metrics) + b"\n"
        path: Path = self.config.path
        beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            before = path.read_bytes() if path.exists() else b""
            with beside.open("wb") as file:
                file.write(before + line)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise ExporterError(f"the file cannot be written: {error.strerror}") from error


class WalExporter(SqliteRowsExporter):
    """Insert a row a batch in WAL mode, over a connection that is kept while its file is there."""

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        self.database: sqlite3.Connection | None = None
        self.inode = 0

    def store(self, context: Context, body: bytes) -> None:
        if self.database is not None and not self.is_same_file():
            self.close()
        if self.database is None:
            self.database = sqlite3.connect(self.config.path, timeout=0, check_same_thread=False)
            self.database.execute("PRAGMA journal_mode = WAL")
            self.inode = self.config.path.stat().st_ino
        while True:
            context.raise_if_done()
            try:
                with self.database:
                    self.database.execute(self.schema)
                    self.database.execute(self.insert, [body])
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    self.close()
                    raise
            context.wait(0.02)

    def is_same_file(self) -> bool:
        """True if the file that is open is still the one with the name."""
        try:
            return self.config.path.stat().st_ino == self.inode
        except OSError:
            return False

    def close(self) -> None:
        """Close the database."""
        if self.database is not None:
            self.database.close()
            self.database = None

    def release(self, context: Context) -> None:
        self.close()

    def begin_anew(self) -> None:
        keep_untouched(self.database)
        self.database = None
