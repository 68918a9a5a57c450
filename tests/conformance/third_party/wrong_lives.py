"""Wrong exporters whose faults lie in how they live: several of them, several threads, forks, failures, ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import grpc
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import AggregationTemporality

from exporter_core import (
    Context,
    ContextCancelledError,
    DeadlineExceededError,
    ExporterError,
    PartialSuccessError,
)
from exporter_core.authoring import SerialExporter
from third_party.harnesses import OtlpHarness
from third_party.right import (
    GrpcExporter,
    LockedFileExporter,
    PlainExporter,
    PooledExporter,
    QueuedExporter,
    SdkExporter,
    WriteBehindExporter,
)
from third_party.transport import (
    Answer,
    HttpConfig,
    Wire,
    address_of,
    encode,
    exchange,
    judge,
    post,
    read_answer,
    request_bytes,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData


# --- several of them --------------------------------------------------------------------------------------------------


class OneClientForAll(PlainExporter):
    """The first exporter's endpoint is cached in the module: a second one with other options sends there."""

    endpoints: list[str] = []  # noqa: RUF012 - the fault

    def attempt(self, context: Context, body: bytes) -> Answer:
        self.endpoints.append(self.config.endpoint)
        return exchange(context, self.endpoints[0], body, self.config.token.get_secret_value())


class ShutdownOfOneEndsAll(PooledExporter):
    """The connections are the class's: the shutdown of one exporter closes those of all."""

    shared: list[Wire] = []  # noqa: RUF012 - the fault
    gone = False

    def attempt(self, context: Context, body: bytes) -> Answer:
        if ShutdownOfOneEndsAll.gone:
            raise ExporterError("the client is closed")
        return super().attempt(context, body)

    def release(self, context: Context) -> None:
        ShutdownOfOneEndsAll.gone = True
        super().release(context)


# --- several threads --------------------------------------------------------------------------------------------------


class ConnectionForEachThread(SerialExporter[HttpConfig]):
    """Every thread that exports has a connection of its own; the shutdown closes that of the thread that calls it."""

    conformance_harness = OtlpHarness

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.begin_anew()

    def begin_anew(self) -> None:
        self.local = threading.local()
        self.all: list[Wire] = []

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        body = encode(metrics)
        post(context, lambda running: self.attempt(running, body))

    def attempt(self, context: Context, body: bytes) -> Answer:
        """Send once, over the thread's connection."""
        wire = getattr(self.local, "wire", None)
        if wire is None:
            wire = self.local.wire = Wire(address_of(self.config.endpoint))
            self.all.append(wire)
            wire.connect(context)
        try:
            token = self.config.token.get_secret_value()
            wire.send(context, request_bytes(self.config.endpoint, body, token, keep=True))
            answer = read_answer(lambda: wire.receive(context))
        except BaseException:
            self.close_own()
            raise
        if "content-length" not in answer.headers or answer.headers.get("connection") == "close":
            self.close_own()
        return answer

    def close_own(self) -> None:
        """Close the connection of the calling thread."""
        wire = getattr(self.local, "wire", None)
        if wire is not None:
            wire.close()
            del self.local.wire

    def release(self, context: Context) -> None:
        self.close_own()


class ThreadForEachExport(PlainExporter):
    """Each export starts a thread that watches it, and that stays."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        super().deliver(context, metrics)


class KeepsHistory(PlainExporter):
    """Every body is kept, for debugging."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.history: list[bytes] = []

    def send(self, context: Context, body: bytes) -> None:
        self.history.append(body)
        super().send(context, body)


# --- contexts ---------------------------------------------------------------------------------------------------------


class NeedsADeadline(PlainExporter):
    """A context without a deadline is not expected: the time that is left is None."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        self.until = time.monotonic() + context.remaining()  # type: ignore[operator]
        super().deliver(context, metrics)


class WallClockTimeout(PlainExporter):
    """The deadline is a time of day, and what is left is computed from it before each attempt."""

    def send(self, context: Context, body: bytes) -> None:
        left = context.remaining()
        until = None if left is None else time.time() + left
        post(context, lambda running: self.before(running, until, body))

    def before(self, context: Context, until: float | None, body: bytes) -> Answer:
        """Send once while there is time."""
        if until is not None and time.time() >= until:
            raise DeadlineExceededError("no time is left")
        return self.attempt(context, body)


class DeadlineIsDone(PlainExporter):
    """An export whose deadline passes is logged by the backend some day: it returns."""

    def send(self, context: Context, body: bytes) -> None:
        with contextlib.suppress(DeadlineExceededError):
            super().send(context, body)


class CancelledIsDone(PlainExporter):
    """An export that is cancelled in flight returns."""

    def send(self, context: Context, body: bytes) -> None:
        with contextlib.suppress(ContextCancelledError):
            super().send(context, body)


class CancelsTheCaller(PlainExporter):
    """A failure cancels the context, so that the caller's other work ends too."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except ExporterError:
            context.cancel("the export failed")
            raise


class LooksUpWithoutTimeout(PlainExporter):
    """The backend's name is looked up before each connection, for as long as that takes."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        host, port = address_of(self.config.endpoint)
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
        endpoint = self.config.endpoint.replace(host, found[0][4][0])
        return exchange(context, endpoint, body, self.config.token.get_secret_value())


class HandshakeWithoutTimeout(PlainExporter):
    """With https the connection has a time-out, and the TLS handshake has none."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        if not self.config.endpoint.startswith("https:"):
            return super().attempt(context, body)
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
            wire.socket.setblocking(True)
            trusting = ssl.create_default_context()
            with trusting.wrap_socket(wire.socket, server_hostname="localhost"):
                raise ExporterError("not written yet")
        finally:
            wire.close()


# --- retrying ---------------------------------------------------------------------------------------------------------


class SentIsDelivered(PlainExporter):
    """A connection that is lost after the whole request was written is no failure: the backend has the batch."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
            wire.send(context, request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            try:
                return read_answer(lambda: wire.receive(context))
            except ConnectionError:
                return Answer(200, {}, b"{}")
        finally:
            wire.close()


class RetriesPartialSuccess(PlainExporter):
    """What was partly accepted is sent again as a whole, until the backend accepts all."""

    def send(self, context: Context, body: bytes) -> None:
        for _ in range(4):
            try:
                return super().send(context, body)
            except PartialSuccessError:
                context.wait(0.1)
                context.raise_if_done()
        return None


class IgnoresRetryAfter(PlainExporter):
    """A busy backend's Retry-After is not read: the next attempt comes when the exporter thinks fit."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        answer = super().attempt(context, body)
        return Answer(answer.status, {}, answer.body)


class StormsOnDates(PlainExporter):
    """A Retry-After that is a date cannot be read, and the next attempt comes at once, without an end."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        while True:
            answer = super().attempt(context, body)
            asked = answer.headers.get("retry-after", "0")
            if asked.replace(".", "", 1).isdigit():
                return answer


class SecondExportGivesUp(PlainExporter):
    """An export after a failed one makes a single attempt, since the backend is known to be down."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.down = False

    def send(self, context: Context, body: bytes) -> None:
        try:
            if self.down:
                judge(self.attempt(context, body))
            else:
                super().send(context, body)
        except (ExporterError, OSError) as error:
            self.down = True
            raise ExporterError("the backend is down") from error
        self.down = False


class RefusedIsRetriedForEver(PlainExporter):
    """A connection that is refused is tried again without an end, every hundredth of a second."""

    def attempt(self, context: Context, body: bytes) -> Answer:
        while True:
            try:
                return super().attempt(context, body)
            except ConnectionRefusedError:
                context.wait(0.01)
                context.raise_if_done()


# --- holding ----------------------------------------------------------------------------------------------------------


class TellsFailureForEver(QueuedExporter):
    """A failure is told by every flush from then on."""

    def tell(self) -> None:
        failure = self.failure
        try:
            super().tell()
        finally:
            self.failure = failure

    def shutdown(self, context: Context) -> None:
        self.failure = None
        super().shutdown(context)


class TellsAndForgetsTheRest(WriteBehindExporter):
    """A flush of which one batch fails drops what stands behind it, too."""

    def flush(self, context: Context) -> None:
        try:
            super().flush(context)
        except ExporterError:
            with self.condition:
                self.held.clear()
            raise

    def deliver(self, context: Context, body: bytes) -> None:
        try:
            super().deliver(context, body)
        except ExporterError:
            with self.condition:
                del self.held[1:]
            raise


# --- ends -------------------------------------------------------------------------------------------------------------


class WrongErrorAfterShutdown(PlainExporter):
    """An export after the shutdown raises RuntimeError."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if getattr(self, "over", False):
            raise RuntimeError("closed")
        super().export(context, metrics)

    def shutdown(self, context: Context) -> None:
        self.over = True
        super().shutdown(context)


class FlushAfterShutdownRaises(PlainExporter):
    """A flush after the shutdown raises."""

    def force_flush(self, context: Context) -> None:
        if getattr(self, "over", False):
            raise ExporterError("closed")
        super().force_flush(context)

    def shutdown(self, context: Context) -> None:
        self.over = True
        super().shutdown(context)


class PreferencesEndWithShutdown(PlainExporter):
    """After the shutdown the preferences are gone."""

    def temporality(self, instrument_kind: object) -> AggregationTemporality:
        if getattr(self, "over", False):
            raise ExporterError("closed")
        return AggregationTemporality.CUMULATIVE

    def shutdown(self, context: Context) -> None:
        self.over = True
        super().shutdown(context)


# --- files and gRPC and the SDK ---------------------------------------------------------------------------------------


class KeepsTheLock(LockedFileExporter):
    """A lock file keeps other processes out; after a failure the lock is not given back."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        number = os.open(self.config.path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o644)
        while True:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                context.wait(0.01)
                if context.done:
                    os.close(number)
                context.raise_if_done()
        super().deliver(context, metrics)
        os.close(number)


class LimitOfFourMegabytes(GrpcExporter):
    """A message of more than four megabytes is refused by servers: it is dropped, and export returns."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        from exporter_core.otlp import encode as encode_protobuf

        if len(encode_protobuf(metrics)) < 4 << 20:
            super().deliver(context, metrics)


class ChannelOfTheParent(GrpcExporter):
    """The channel is made once, and a child of a fork uses the parent's."""

    channel: grpc.Channel | None = None

    def attempt(self, context: Context, data: bytes) -> bytes:
        from third_party.right import METHOD

        if self.channel is None:
            self.channel = grpc.insecure_channel(self.config.address)
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


class SdkEditsInput(SdkExporter):
    """The resources are taken from the list as they are sent."""

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs):
        result = super().export(metrics_data, timeout_millis)
        metrics_data.resource_metrics.clear()
        return result


class SdkPreferenceByName(SdkExporter):
    """The preferred temporality is kept by the names of the instruments, which the SDK does not look for."""

    def __init__(self, endpoint: str = "http://localhost:4318/v1/metrics", token: str = "") -> None:
        super().__init__(endpoint, token)
        self._preferred_temporality = {Counter.__name__: AggregationTemporality.DELTA}


class SdkLingers(SdkExporter):
    """The shutdown waits ten seconds longer than it may, for late answers."""

    def shutdown(self, timeout_millis: float = 30_000, **kwargs) -> None:
        time.sleep(timeout_millis / 1000 + 10.0)
        super().shutdown(timeout_millis)
