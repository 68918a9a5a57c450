"""A right exporter over grpcio."""

from __future__ import annotations

from urllib.parse import urlsplit

import grpc

from exporter_core import ExporterError
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.otlp import Encoder
from third_party.wild_base import NetConfig, Transient, WildHttpHarness, attempts, rejected_in, told

GRPC_TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.DATA_LOSS,
}


class WildGrpcHarness(WildHttpHarness):
    kind = "otlp_grpc"


class WildGrpc(SerialExporter[NetConfig]):
    """Sends OTLP over grpcio."""

    conformance_harness = WildGrpcHarness

    options = (
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 300),
    )

    def __init__(self, config):
        super().__init__(config)
        self._encoder = Encoder()
        self._channel = None

    def begin_anew(self):
        keep_untouched(self._channel)
        self._channel = None

    def channel(self):
        if self._channel is None:
            self._channel = grpc.insecure_channel(urlsplit(self.config.endpoint).netloc, options=self.options)
        return self._channel

    def release(self, context):
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def deliver(self, context, metrics):
        encoded = self._encoder.encode(metrics)
        rejected, text = 0, ""
        if encoded.points:
            rejected, text = attempts(context, lambda: self.attempt(context, encoded.data))
        told(rejected + len(encoded.dropped), text)

    def metadata(self):
        return (("authorization", "Bearer " + self.config.token.get_secret_value()),)

    def attempt(self, context, data):
        method = self.channel().unary_unary(
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            request_serializer=None,
            response_deserializer=None,
        )
        call = method.future(data, timeout=self.limit(context), metadata=self.metadata())
        handle = self.interrupt(context, call)
        try:
            answer = call.result()
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            context.raise_if_done()
            code = error.code() if isinstance(error, grpc.RpcError) else grpc.StatusCode.CANCELLED
            if code in GRPC_TRANSIENT or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and self.wish(call) is not None):
                raise Transient(f"status {code.name}", self.wish(call)) from error
            raise ExporterError(f"status {code.name}") from error
        finally:
            handle.unregister()
        return rejected_in(answer, "protobuf")

    def limit(self, context):
        return context.remaining()

    def interrupt(self, context, call):
        return context.on_done(call.cancel)

    def wish(self, call):
        from google.rpc.error_details_pb2 import RetryInfo
        from google.rpc.status_pb2 import Status

        for key, value in call.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                for detail in Status.FromString(value).details:
                    info = RetryInfo()
                    if detail.Unpack(info):
                        return info.retry_delay.ToTimedelta().total_seconds()
        return None
