"""Right exporters of unusual design: the counterparts of the wrong ones."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import threading
import weakref
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)

from exporter_core import (
    Context,
    ContextCancelledError,
    ExporterConfig,
    ExporterError,
    ExporterShutdownError,
    PartialSuccessError,
)
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.exporter import Exporter
from exporter_core.otlp import Encoder
from third_party.harnesses import (
    FileHarness,
    GrpcHarness,
    HoldingFileHarness,
    HoldingHarness,
    LinesHarness,
    OtlpHarness,
)
from third_party.transport import (
    Answer,
    HttpConfig,
    Wire,
    address_of,
    encode,
    exchange,
    post,
    read_answer,
    request_bytes,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def renew_in_child(thing: object, renew: Callable[[], None]) -> None:
    """Call a method of ``thing`` in forked children while it lives."""
    method = weakref.WeakMethod(renew)

    def call() -> None:
        found = method()
        if found is not None:
            found()

    os.register_at_fork(after_in_child=call)


# --- one connection an export -----------------------------------------------------------------------------------------


class PlainExporter(SerialExporter[HttpConfig]):
    """Post each batch over a connection of its own, with retries."""

    conformance_harness = OtlpHarness

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        body = self.encode(metrics)
        self.send(context, body)

    def encode(self, metrics: MetricsData) -> bytes:
        """Return the request's body."""
        return encode(metrics)

    def send(self, context: Context, body: bytes) -> None:
        """Send with retries."""
        post(context, lambda running: self.attempt(running, body))

    def attempt(self, context: Context, body: bytes) -> Answer:
        """Send once."""
        return exchange(context, self.config.endpoint, body, self.config.token.get_secret_value())


# --- connection pool --------------------------------------------------------------------------------------------------


class PooledExporter(SerialExporter[HttpConfig]):
    """Keep idle connections; a stale one is replaced before it is used."""

    conformance_harness = OtlpHarness

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.idle: list[Wire] = []

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        body = encode(metrics)
        post(context, lambda running: self.attempt(running, body))

    def attempt(self, context: Context, body: bytes) -> Answer:
        """Send once, over an idle connection if there is a living one."""
        wire = self.take(context)
        try:
            wire.send(
                context,
                request_bytes(self.config.endpoint, body, self.config.token.get_secret_value(), keep=True),
            )
            answer = read_answer(lambda: wire.receive(context))
        except BaseException:
            self.broken(wire)
            raise
        if answer.headers.get("connection", "").lower() == "close" or "content-length" not in answer.headers:
            wire.close()
        else:
            self.idle.append(wire)
        return answer

    def take(self, context: Context) -> Wire:
        """Return a connection that is still open."""
        while self.idle:
            wire = self.idle.pop()
            try:
                wire.socket.recv(1)
            except BlockingIOError:
                return wire
            except OSError:
                pass
            wire.close()
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
        except BaseException:
            self.broken(wire)
            raise
        return wire

    def broken(self, wire: Wire) -> None:
        """Close a connection that failed."""
        wire.close()

    def release(self, context: Context) -> None:
        for wire in self.idle:
            wire.close()
        self.idle.clear()

    def begin_anew(self) -> None:
        for wire in self.idle:
            keep_untouched(wire.socket)
        self.idle = []


# --- queue and thread -------------------------------------------------------------------------------------------------


class QueuedExporter(Exporter[HttpConfig]):
    """Accept batches into a queue; a thread delivers them, and lives while there is work."""

    conformance_harness = HoldingHarness

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.begin()
        renew_in_child(self, self.begin)

    def begin(self) -> None:
        """Begin with nothing, also in a forked child: the parent delivers what it has accepted."""
        self.condition = threading.Condition()
        self.batches: deque[object] = deque()
        self.accepted = self.finished = 0
        self.thread: threading.Thread | None = None
        self.failure: Exception | None = None
        self.lifetime = Context.background().child()
        if not hasattr(self, "closed"):
            self.closed = False

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        item = self.prepare(metrics)
        with self.condition:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            self.put(item)
            if self.thread is None:
                self.thread = threading.Thread(target=self.work, daemon=True)
                self.thread.start()

    def prepare(self, metrics: MetricsData) -> object:
        """Return what is queued: nothing of the caller's."""
        return encode(metrics)

    def body(self, item: object) -> bytes:
        """Return the request's body of what was queued."""
        return item  # type: ignore[return-value]

    def put(self, item: object) -> None:
        """Queue it."""
        self.batches.append(item)
        self.accepted += 1

    def work(self) -> None:
        """Deliver until nothing is left."""
        while True:
            with self.condition:
                if not self.batches or self.lifetime.done:
                    self.thread = None
                    self.condition.notify_all()
                    return
                item = self.batches.popleft()
            try:
                self.deliver(self.lifetime, self.body(item))
            except Exception as error:  # noqa: BLE001 - told to the next flush
                with self.condition:
                    self.failure = self.failure or error
            with self.condition:
                self.finished += 1
                self.condition.notify_all()

    def deliver(self, context: Context, body: bytes) -> None:
        """Send with retries."""
        token = self.config.token.get_secret_value()
        post(context, lambda running: exchange(running, self.config.endpoint, body, token))

    def drained(self, count: int) -> bool:
        """True when what was accepted by then is done."""
        return self.finished >= count

    def tell(self) -> None:
        """Raise the failure of a delivery, once."""
        with self.condition:
            failure, self.failure = self.failure, None
        if isinstance(failure, PartialSuccessError):
            raise failure
        if failure is not None:
            raise ExporterError(f"a batch was not delivered: {failure}") from failure

    def force_flush(self, context: Context) -> None:
        if self.closed:
            return
        context.raise_if_done()
        with self.condition:
            count = self.accepted
            done = wait_until(self.condition, context, lambda: self.drained(count) or self.lifetime.done)
        if not done:
            context.raise_if_done()
        if not self.drained(count):
            raise ExporterShutdownError("the exporter was shut down before the flush was done")
        self.tell()

    def shutdown(self, context: Context) -> None:
        with self.condition:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down already")
            self.closed = True
            self.drain(context)
        self.lifetime.cancel("the exporter was shut down")
        with self.condition:
            thread = self.thread
            self.condition.notify_all()
        if thread is not None:
            thread.join(1)
        context.raise_if_done()
        self.tell()

    def drain(self, context: Context) -> None:
        """Wait, in shutdown, for what was accepted."""
        wait_until(self.condition, context, lambda: self.drained(self.accepted))


# --- write-behind -----------------------------------------------------------------------------------------------------


class WriteBehindExporter(Exporter[HttpConfig]):
    """Hold batches until a flush, a shutdown, or the twentieth; flushes take turns."""

    conformance_harness = HoldingHarness
    most = 20

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.closed = False
        self.begin()
        renew_in_child(self, self.begin)

    def begin(self) -> None:
        """Begin with nothing."""
        self.condition = threading.Condition()
        self.held: list[bytes] = []
        self.busy = False
        self.lifetime = Context.background().child()

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        body = encode(metrics)
        with self.condition:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            self.held.append(body)
            full = len(self.held) >= self.most
        if full:
            self.flush(context)

    def force_flush(self, context: Context) -> None:
        if self.closed:
            return
        context.raise_if_done()
        self.flush(context)

    def flush(self, context: Context) -> None:
        """Wait for the turn, then deliver what is held; a batch that fails is dropped and told."""
        with self.condition:
            if not wait_until(self.condition, context, lambda: not self.busy):
                context.raise_if_done()
            self.busy = True
        failure: Exception | None = None
        try:
            while True:
                with self.condition:
                    if not self.held:
                        break
                    body = self.held[0]
                try:
                    self.deliver(context, body)
                except ExporterError as error:
                    failure = failure or error
                with self.condition:
                    del self.held[0]
        finally:
            with self.condition:
                self.busy = False
                self.condition.notify_all()
        if failure is not None:
            raise failure

    def deliver(self, context: Context, body: bytes) -> None:
        """Send with retries, no longer than this exporter or the caller lasts."""
        token = self.config.token.get_secret_value()
        running = context.child()
        handle = self.lifetime.on_done(lambda: running.cancel("the exporter was shut down"))
        try:
            post(running, lambda context: exchange(context, self.config.endpoint, body, token))
        except ContextCancelledError as error:
            context.raise_if_done()
            raise ExporterShutdownError("the exporter was shut down") from error
        finally:
            handle.unregister()

    def shutdown(self, context: Context) -> None:
        with self.condition:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down already")
            self.closed = True
        try:
            context.raise_if_done()
            self.flush(context)
        finally:
            self.lifetime.cancel("the exporter was shut down")


# --- thread pool ------------------------------------------------------------------------------------------------------


def serve(tasks: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    """Run tasks until there is a None."""
    while (task := tasks.get()) is not None:
        task()
        del task


class ThreadPoolExporter(SerialExporter[HttpConfig]):
    """Send the resources of a batch side by side, on two threads, and wait for all."""

    conformance_harness = OtlpHarness
    threads = 2

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.pool: list[threading.Thread] = []
        self.begin_anew()

    def begin_anew(self) -> None:
        self.tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.pool = []
        self.finalizer = weakref.finalize(self, self.stop, self.tasks, self.threads)

    @staticmethod
    def stop(tasks: queue.SimpleQueue[Callable[[], None] | None], threads: int) -> None:
        """Let every thread end."""
        for _ in range(threads):
            tasks.put(None)

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        bodies = [encode(MetricsData(resource_metrics=[one])) for one in metrics.resource_metrics]
        if not self.pool:
            self.pool = [threading.Thread(target=serve, args=[self.tasks], daemon=True) for _ in range(self.threads)]
            for thread in self.pool:
                thread.start()
        done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        for body in bodies:
            self.tasks.put(partial(self.send, context, body, done))
        failures = [failure for failure in [done.get() for _ in bodies] if failure is not None]
        rejected = sum(one.rejected_points for one in failures if isinstance(one, PartialSuccessError))
        for failure in failures:
            if not isinstance(failure, PartialSuccessError):
                raise failure
        if rejected:
            raise PartialSuccessError("the backend refused some points", rejected_points=rejected)

    def send(self, context: Context, body: bytes, done: queue.SimpleQueue[BaseException | None]) -> None:
        """Send with retries, and hand over the outcome."""
        token = self.config.token.get_secret_value()
        try:
            post(context, lambda running: exchange(running, self.config.endpoint, body, token))
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
            done.put(error)
        else:
            done.put(None)

    def release(self, context: Context) -> None:
        self.finalizer()
        for thread in self.pool:
            thread.join()
        self.pool = []


# --- asyncio in a thread ----------------------------------------------------------------------------------------------


class LoopExporter(SerialExporter[HttpConfig]):
    """Send from an event loop that runs on a thread of its own."""

    conformance_harness = OtlpHarness

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.begin_anew()

    def begin_anew(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None
        self.finalizer: weakref.finalize | None = None

    def start(self) -> asyncio.AbstractEventLoop:
        """Return the loop, running."""
        if self.loop is None:
            self.loop = loop = asyncio.new_event_loop()
            self.thread = threading.Thread(target=self.run, args=[loop], daemon=True)
            self.thread.start()
            self.finalizer = weakref.finalize(self, loop.call_soon_threadsafe, loop.stop)
            self.finalizer.atexit = False
        return self.loop

    @staticmethod
    def run(loop: asyncio.AbstractEventLoop) -> None:
        """Run the loop until it is stopped."""
        try:
            loop.run_forever()
        finally:
            loop.close()

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        body = encode(metrics)
        post(context, lambda running: self.attempt(running, body))

    def attempt(self, context: Context, body: bytes) -> Answer:
        """Send once, and wait for the answer."""
        future = asyncio.run_coroutine_threadsafe(self.exchange(body), self.start())
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

    async def exchange(self, body: bytes) -> Answer:
        """Post over a connection of its own."""
        host, port = address_of(self.config.endpoint)
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            await writer.drain()
            data = await reader.read()
            chunks = iter([data])
            return read_answer(lambda: next(chunks, b""))
        finally:
            writer.transport.abort()

    def release(self, context: Context) -> None:
        if self.finalizer is not None and self.thread is not None:
            self.finalizer()
            self.thread.join()
            self.loop = self.thread = self.finalizer = None


# --- files ------------------------------------------------------------------------------------------------------------


class PathConfig(ExporterConfig):
    """Options of the exporters to a file."""

    path: Path
    """The file."""


class LockedFileExporter(SerialExporter[PathConfig]):
    """Append deltas to a file under its lock; what was written by half is taken back."""

    conformance_harness = FileHarness

    def temporality(self, instrument_kind: object) -> AggregationTemporality:
        if "up_down" in str(instrument_kind):
            return AggregationTemporality.CUMULATIVE
        return AggregationTemporality.DELTA

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        line = encode(metrics) + b"\n"
        with contextlib.ExitStack() as stack:
            number = os.open(self.config.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            stack.callback(os.close, number)
            while True:
                try:
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    context.wait(0.01)
                    context.raise_if_done()
            start = os.fstat(number).st_size
            view = memoryview(line)
            try:
                while view:
                    view = view[os.write(number, view) :]
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.ftruncate(number, start)
                raise ExporterError(f"the file cannot be written: {error.strerror}") from error


class JournalExporter(Exporter[PathConfig]):
    """Hold lines in memory; a flush, or the shutdown, appends them to a file under one lock."""

    conformance_harness = HoldingFileHarness

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        self.closed = False
        self.begin()
        renew_in_child(self, self.begin)

    def begin(self) -> None:
        """Begin with nothing."""
        self.lock = threading.Lock()
        self.held: list[bytes] = []

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        line = encode(metrics) + b"\n"
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            self.held.append(line)

    def force_flush(self, context: Context) -> None:
        if self.closed:
            return
        context.raise_if_done()
        self.flush()

    def flush(self) -> None:
        """Append what is held."""
        with self.lock:
            held, self.held = self.held, []
            self.write(b"".join(held))

    def write(self, data: bytes) -> None:
        """Append to the file."""
        try:
            with self.config.path.open("ab") as file:
                file.write(data)
        except OSError as error:
            raise ExporterError(f"the file cannot be written: {error.strerror}") from error

    def shutdown(self, context: Context) -> None:
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down already")
            self.closed = True
        self.flush()
        context.raise_if_done()


# --- lines over TCP ---------------------------------------------------------------------------------------------------


class LinesConfig(ExporterConfig):
    """Options of the exporters over TCP."""

    address: str
    """``host:port``."""


class LinesExporter(SerialExporter[LinesConfig]):
    """Send a line of JSON a batch over TCP; the batch is delivered when the server has closed after it."""

    conformance_harness = LinesHarness

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        host, _, port = self.config.address.rpartition(":")
        wire = Wire((host, int(port)))
        try:
            wire.connect(context)
            self.write(context, wire, encode(metrics) + b"\n")
            self.finish(context, wire)
        except TimeoutError:
            raise
        except OSError as error:
            raise ExporterError(f"the server cannot be reached: {error.strerror}") from error
        finally:
            wire.close()

    def write(self, context: Context, wire: Wire, data: bytes) -> None:
        """Send a line."""
        wire.send(context, data)

    def finish(self, context: Context, wire: Wire) -> None:
        """Wait until the server has taken it."""
        wire.socket.shutdown(1)
        while wire.receive(context):
            pass


# --- gRPC -------------------------------------------------------------------------------------------------------------


class GrpcConfig(ExporterConfig):
    """Options of the exporters over gRPC."""

    address: str
    """``host:port``."""


METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


class GrpcExporter(SerialExporter[GrpcConfig]):
    """Call OTLP/gRPC over a channel for each export."""

    conformance_harness = GrpcHarness

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        encoded = Encoder().encode(metrics)
        if encoded.dropped:
            raise ExporterError(f"{len(encoded.dropped)} points have no form in OTLP: {encoded.dropped[0]}")
        data = encoded.data
        pause = 0.1
        for number in range(5):
            try:
                self.judge(self.attempt(context, data))
                return
            except grpc.RpcError as error:
                context.raise_if_done()
                if self.is_final(error) or number == 4:
                    raise ExporterError(f"the backend answered {error.code().name}") from error
                asked = self.asked(error)
            context.wait(max(asked, pause))
            context.raise_if_done()
            pause *= 2

    def asked(self, error: grpc.RpcError) -> float:
        """Return the seconds that the backend asks to wait, in a RetryInfo."""
        from google.rpc.error_details_pb2 import RetryInfo
        from google.rpc.status_pb2 import Status

        info = RetryInfo()
        for name, value in error.trailing_metadata() or ():
            for detail in Status.FromString(value).details if name == "grpc-status-details-bin" else ():
                detail.Unpack(info)
        return info.retry_delay.ToTimedelta().total_seconds()

    def is_final(self, error: grpc.RpcError) -> bool:
        """True for a failure that another attempt does not mend."""
        return error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}

    def judge(self, answer: bytes) -> None:
        """Raise for a partial success."""
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
            ExportMetricsServiceResponse,
        )

        rejected = ExportMetricsServiceResponse.FromString(answer).partial_success.rejected_data_points
        if rejected:
            raise PartialSuccessError("the backend refused some points", rejected_points=rejected)

    def attempt(self, context: Context, data: bytes) -> bytes:
        """Call once."""
        with grpc.insecure_channel(self.config.address) as channel:
            call = channel.unary_unary(METHOD)
            future = call.future(data, timeout=context.remaining())
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


# --- the SDK's interface ----------------------------------------------------------------------------------------------


class SdkExporter(MetricExporter):
    """Post each batch, within the time-out that it is given."""

    def __init__(self, endpoint: str = "http://localhost:4318/v1/metrics", token: str = "") -> None:
        super().__init__()
        self.endpoint = endpoint
        self.token = token
        self.closed = False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs) -> MetricExportResult:
        if self.closed:
            return MetricExportResult.FAILURE
        return self.send(metrics_data, timeout_millis / 1000)

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        """Send with retries."""
        try:
            body = encode(metrics)
            post(Context.with_timeout(seconds), lambda running: exchange(running, self.endpoint, body, self.token))
        except Exception:  # noqa: BLE001 - the interface has one way to say it
            return MetricExportResult.FAILURE
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs) -> None:
        self.closed = True
