"""A right exporter over gRPC."""

from __future__ import annotations

from urllib.parse import urlsplit

import grpc
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from exporter_core import ExporterError, PartialSuccessError
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.otlp import Encoder
from third_party import keen_transport
from third_party.keen_base import Conf, GrpcHarness

CODES = grpc.StatusCode


AGAIN = {
    CODES.UNAVAILABLE,
    CODES.CANCELLED,
    CODES.DEADLINE_EXCEEDED,
    CODES.ABORTED,
    CODES.OUT_OF_RANGE,
    CODES.DATA_LOSS,
}


class Rpc(SerialExporter[Conf]):
    """Sends with grpcio over a channel that is kept."""

    conformance_harness = GrpcHarness

    def __init__(self, config):
        super().__init__(config)
        self.encoder, self.channel = Encoder(), None

    def pause(self, error):
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                for detail in status_pb2.Status.FromString(value).details:
                    info = error_details_pb2.RetryInfo()
                    if detail.Unpack(info):
                        return info.retry_delay.seconds + info.retry_delay.nanos / 1e9
        return None

    def deliver(self, context, metrics):
        body, dropped = keen_transport.encoded(self.encoder, metrics)
        metadata = (("authorization", "Bearer " + self.config.token.get_secret_value()),) if self.config.token else ()

        def attempt():
            if self.channel is None:
                self.channel = grpc.insecure_channel(
                    urlsplit(self.config.endpoint).netloc,
                    options=[
                        ("grpc.enable_retries", 0),
                        ("grpc.use_local_subchannel_pool", 1),
                        ("grpc.initial_reconnect_backoff_ms", 100),
                        ("grpc.max_reconnect_backoff_ms", 200),
                    ],
                )
                self.stub = self.channel.unary_unary(
                    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
                    response_deserializer=ExportMetricsServiceResponse.FromString,
                )
            context.raise_if_done()
            call = self.stub.future(body, timeout=context.remaining(), metadata=metadata)
            handle = context.on_done(call.cancel)
            try:
                answer = call.result()
            except grpc.FutureCancelledError as error:
                context.raise_if_done()
                raise ExporterError("cancelled") from error
            except grpc.RpcError as error:
                if (
                    error.code() is CODES.DEADLINE_EXCEEDED
                    and context.remaining() is not None
                    and context.remaining() < 0.1
                ):
                    context.wait(0.2)
                context.raise_if_done()
                pause = self.pause(error)
                if error.code() in AGAIN or (error.code() is CODES.RESOURCE_EXHAUSTED and pause is not None):
                    again = keen_transport.Retry(f"the backend answered {error.code().name}")
                    again.after = pause
                    raise again from error
                raise ExporterError(f"the backend answered {error.code().name}") from error
            finally:
                handle.unregister()
            rejected = answer.partial_success.rejected_data_points
            if rejected:
                raise PartialSuccessError("the backend refused some points", rejected_points=rejected)

        keen_transport.attempts(context, attempt)
        if dropped:
            raise PartialSuccessError("some points do not fit", rejected_points=dropped)

    def release(self, context):
        if self.channel is not None:
            self.channel.close()
            self.channel = self.stub = None

    def begin_anew(self):
        keep_untouched(self.channel)
        self.channel, self.encoder = None, Encoder()
