"""Further wrong exporters of the OpenTelemetry SDK, and over gRPC."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import grpc
from opentelemetry.sdk.metrics.export import MetricExportResult

from exporter_core import Context, ExporterError, PartialSuccessError
from third_party.right import METHOD, GrpcExporter, PooledExporter, SdkExporter
from third_party.transport import HttpConfig, RefusedError, encode, exchange, judge, post, retry_after

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

ENDPOINT = "http://localhost:4318/v1/metrics"


# --- gRPC -------------------------------------------------------------------------------------------------------------


class IgnoresRetryInfo(GrpcExporter):
    """How long the backend asks to wait stands in the details of the status, which are not read."""

    def asked(self, error: grpc.RpcError) -> float:
        return 0.0


class BlockingCall(GrpcExporter):
    """The call is made with a time-out, and the thread waits in it: a cancellation is not heard."""

    def attempt(self, context: Context, data: bytes) -> bytes:
        with grpc.insecure_channel(self.config.address) as channel:
            return channel.unary_unary(METHOD)(data, timeout=context.remaining())


class ConnectsFirst(GrpcExporter):
    """The channel is waited for until it is ready, five seconds at most, before the call with its time-out begins."""

    def attempt(self, context: Context, data: bytes) -> bytes:
        with grpc.insecure_channel(self.config.address) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=5)
            except grpc.FutureTimeoutError as error:
                raise ExporterError("the backend cannot be reached") from error
        return super().attempt(context, data)


class ChannelStaysOpen(GrpcExporter):
    """One channel is used for all calls, and the shutdown does not close it."""

    channel: grpc.Channel | None = None

    def begin_anew(self) -> None:
        self.channel = None

    def attempt(self, context: Context, data: bytes) -> bytes:
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


# --- the SDK ----------------------------------------------------------------------------------------------------------


class SdkShutdownTakesTheLock(SdkExporter):
    """A shutdown takes the lock that an export holds, and waits for it without a time-out."""

    def __init__(self, endpoint: str = ENDPOINT, token: str = "") -> None:
        super().__init__(endpoint, token)
        self.lock = threading.Lock()

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        with self.lock:
            return super().send(metrics, seconds)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs) -> None:
        with self.lock:
            super().shutdown(timeout_millis)


class SdkFlushTakesTheLock(SdkExporter):
    """A flush takes the lock that an export holds, and waits for it without a time-out."""

    def __init__(self, endpoint: str = ENDPOINT, token: str = "") -> None:
        super().__init__(endpoint, token)
        self.lock = threading.Lock()

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        with self.lock:
            return super().send(metrics, seconds)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        with self.lock:
            return True


class SdkHoldsTheExit(SdkExporter):
    """A thread that is no daemon watches each export until it is told of its end, and the interpreter waits for it."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        done = threading.Event()
        watcher = threading.Thread(target=done.wait, daemon=False)
        watcher.start()
        try:
            return super().send(metrics, seconds)
        finally:
            done.set()
            watcher.join()


class SdkIgnoresPartial(SdkExporter):
    """The body of a 200 is not looked at: points that the backend has rejected are neither told nor logged."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        body = encode(metrics)

        def attempt(running: Context):
            answer = exchange(running, self.endpoint, body, self.token)
            try:
                judge(answer)
            except PartialSuccessError:
                return type(answer)(200, {}, b"{}")
            except Exception:  # noqa: BLE001, S110 - judged by post
                pass
            return answer

        try:
            post(Context.with_timeout(seconds), attempt)
        except Exception:  # noqa: BLE001 - the interface has one way to say it
            return MetricExportResult.FAILURE
        return MetricExportResult.SUCCESS


class SdkSleepsRetryAfter(SdkExporter):
    """A busy backend's Retry-After is slept, however long it is."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        body = encode(metrics)
        context = Context.with_timeout(seconds)
        for _ in range(5):
            try:
                judge(exchange(context, self.endpoint, body, self.token))
            except RefusedError as error:
                if not error.transient:
                    break
                time.sleep(max(0.1, retry_after(error.answer)))
            except ConnectionError:
                time.sleep(0.1)
            except Exception:  # noqa: BLE001 - the interface has one way to say it
                break
            else:
                return MetricExportResult.SUCCESS
        return MetricExportResult.FAILURE


class SdkRetriesRefusals(SdkExporter):
    """Every failure is tried again, 400 too."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        end = time.monotonic() + seconds
        for pause in (0.1, 0.2, 0.4, 0.8, 0.0):
            result = super().send(metrics, max(0.0, end - time.monotonic()))
            if result is MetricExportResult.SUCCESS or time.monotonic() + pause >= end:
                break
            time.sleep(pause)
        return result


class SdkEmptyIsFailure(SdkExporter):
    """An empty batch is answered with FAILURE, since there was nothing to send."""

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        if not metrics.resource_metrics:
            return MetricExportResult.FAILURE
        return super().send(metrics, seconds)


class SdkLeavesConnection(SdkExporter):
    """Connections are kept for the next export by a pool, which the shutdown does not close."""

    def __init__(self, endpoint: str = ENDPOINT, token: str = "") -> None:
        super().__init__(endpoint, token)
        self.pool = PooledExporter(HttpConfig(endpoint=endpoint, token=token))

    def send(self, metrics: MetricsData, seconds: float) -> MetricExportResult:
        try:
            self.pool.export(Context.with_timeout(seconds), metrics)
        except Exception:  # noqa: BLE001 - the interface has one way to say it
            return MetricExportResult.FAILURE
        return MetricExportResult.SUCCESS
