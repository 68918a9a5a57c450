"""The right gRPC exporter that others are made from."""

from __future__ import annotations

import random
from urllib.parse import urlsplit

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk.metrics.export import MetricsData
from pydantic import Field

from exporter_core import Context, ExporterConfig, ExporterError, PartialSuccessError
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.conformance import SinkHarness
from third_party.late_transport import encode

METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
TRANSIENT = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}


class GrpcConfig(ExporterConfig):
    endpoint: str = Field(description="The URL.")


class GrpcHarness(SinkHarness):
    kind = "otlp_grpc"

    def config(self):
        return {"endpoint": self.endpoint}


def retry_delay(error: grpc.RpcError) -> float | None:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in Status.FromString(value).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    return info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    return None


class Grpc(SerialExporter[GrpcConfig]):
    """Right: OTLP over grpcio."""

    conformance_harness = GrpcHarness
    first_pause = 0.2
    attempts = 12

    def __init__(self, config: GrpcConfig) -> None:
        super().__init__(config)
        self.channel: grpc.Channel | None = None

    def connect(self) -> None:
        if self.channel is None:
            self.channel = grpc.insecure_channel(
                urlsplit(self.config.endpoint).netloc,
                options=[
                    ("grpc.use_local_subchannel_pool", 1),
                    ("grpc.initial_reconnect_backoff_ms", 100),
                    ("grpc.min_reconnect_backoff_ms", 100),
                    ("grpc.max_reconnect_backoff_ms", 1000),
                    ("grpc.enable_retries", 0),
                ],
            )
            self.call = self.channel.unary_unary(METHOD, None, None)

    def encode(self, metrics: MetricsData) -> bytes:
        return encode(metrics)

    def attempt(self, context: Context, body: bytes) -> None:
        self.connect()
        future = self.call.future(body)
        handle = context.on_done(lambda: future.cancel())
        try:
            answer = future.result()
        except grpc.FutureCancelledError as error:
            context.raise_if_done()
            raise ExporterError("the call was cancelled") from error
        finally:
            handle.unregister()
            future.cancel()
        self.judge(answer)

    def judge(self, answer: bytes) -> None:
        try:
            parsed = ExportMetricsServiceResponse.FromString(answer)
        except Exception as error:
            raise ExporterError("the answer is not OTLP's") from error
        if parsed.partial_success.rejected_data_points:
            raise PartialSuccessError(
                "points were rejected", rejected_points=parsed.partial_success.rejected_data_points
            )

    def failed(self, error: grpc.RpcError) -> None:
        """Called before a further attempt."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        body = self.encode(metrics)
        pause = self.first_pause
        for number in range(self.attempts):
            context.raise_if_done()
            try:
                return self.attempt(context, body)
            except grpc.RpcError as error:
                context.raise_if_done()
                asked = retry_delay(error)
                code = error.code()
                again = code in TRANSIENT or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and asked is not None)
                if not again or number == self.attempts - 1:
                    raise ExporterError(f"the call failed: {code.name}") from error
                self.failed(error)
            context.wait(max(pause * random.uniform(0.75, 1.25), asked or 0))
            context.raise_if_done()
            pause = min(pause * 2, 3)

    def release(self, context: Context) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = self.call = None

    def begin_anew(self) -> None:
        keep_untouched(self.channel, getattr(self, "call", None))
        self.channel = self.call = None
