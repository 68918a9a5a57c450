"""A right exporter over grpcio."""

from __future__ import annotations

import logging
import random
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from pydantic import SecretStr

from exporter_core import Context, ExporterConfig, ExporterError, PartialSuccessError
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.conformance import SinkHarness
from exporter_core.otlp import Encoder

log = logging.getLogger("open.grpc")
METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.DATA_LOSS,
}


class GrpcConfig(ExporterConfig):
    endpoint: str
    token: SecretStr = SecretStr("")


class GrpcHarness(SinkHarness):
    kind = "otlp_grpc"
    secret = "tok-77aa5f1c9e7b2a8d"  # noqa: S105 - not one

    def config(self):
        return {"endpoint": self.endpoint, "token": self.secret}


class OneChannel(SerialExporter[GrpcConfig]):
    """Sends over one channel, where each call is a future that the context cancels."""

    conformance_harness = GrpcHarness
    max_attempts = 6

    def __init__(self, config):
        super().__init__(config)
        self.encoder = Encoder()
        self.channel = None

    def get_channel(self):
        if self.channel is None:
            self.channel = self.make_channel()
        return self.channel

    def make_channel(self):
        url = urlsplit(self.config.endpoint)
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if url.scheme == "https":
            return grpc.secure_channel(url.netloc, grpc.ssl_channel_credentials(), options)
        return grpc.insecure_channel(url.netloc, options)

    def metadata(self):
        token = self.config.token.get_secret_value()
        return [("authorization", f"Bearer {token}")] if token else []

    def deliver(self, context: Context, metrics) -> None:
        encoded = self.encoder.encode(metrics)
        rejected = len(encoded.dropped)
        if encoded.points:
            rejected += self.send(context, encoded.data)
        if rejected:
            raise PartialSuccessError("points were refused", rejected_points=rejected)

    def call(self, context, body):
        method = self.get_channel().unary_unary(METHOD, request_serializer=None, response_deserializer=None)
        future = method.future(
            body, timeout=context.remaining(), metadata=self.metadata(), compression=grpc.Compression.Gzip
        )
        handle = context.on_done(future.cancel)
        try:
            return future.result()
        finally:
            handle.unregister()

    def send(self, context, body):  # noqa: RET503 - the last attempt returns or raises
        for number in range(self.max_attempts):
            context.raise_if_done()
            try:
                answer = self.call(context, body)
            except (grpc.RpcError, grpc.FutureCancelledError) as error:
                context.raise_if_done()
                wait = self.judge(error)
                if wait is None or wait > 300 or number + 1 == self.max_attempts:
                    raise ExporterError(f"the call failed: {self.code(error)}") from error
                pause = max(self.back_off(number), wait)
                remaining = context.remaining()
                if remaining is not None and pause >= remaining:
                    raise ExporterError(f"no time for another attempt: {self.code(error)}") from error
                context.wait(pause)
            else:
                return self.read(answer)

    def back_off(self, number):
        return min(5.0, 0.1 * 2**number) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret

    def code(self, error):
        return error.code().name if isinstance(error, grpc.RpcError) else "CANCELLED"

    def judge(self, error):
        """Seconds to wait before another attempt; None for no attempt."""
        if not isinstance(error, grpc.RpcError):
            return None
        asked = None
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                for detail in Status.FromString(value).details:
                    info = RetryInfo()
                    if detail.Unpack(info):
                        asked = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
        if error.code() in TRANSIENT:
            return asked or 0.0
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return asked
        return None

    def read(self, answer):
        try:
            partial = ExportMetricsServiceResponse.FromString(answer).partial_success
        except DecodeError as error:
            raise ExporterError("the answer is none of OTLP's") from error
        if partial.error_message and not partial.rejected_data_points:
            log.warning("the server warns of a batch that it took")
        return partial.rejected_data_points

    def release(self, context):
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def begin_anew(self):
        keep_untouched(self.channel)
        self.channel = None
