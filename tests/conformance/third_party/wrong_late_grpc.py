"""Wrong exporters over gRPC."""

from __future__ import annotations

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core import Context, ExporterError
from third_party.right_late_grpc import Grpc


class NewChannelOldLeft(Grpc):
    """Makes a new channel after UNAVAILABLE, and does not close the old one."""

    def failed(self, error: grpc.RpcError) -> None:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            _OLD.append(self.channel)
            self.channel = None


_OLD: list = []


class WarningIsFailure(Grpc):
    """Takes every partial success for a failure, also one that is a warning without a rejected point."""

    def judge(self, answer: bytes) -> None:
        super().judge(answer)
        parsed = ExportMetricsServiceResponse.FromString(answer)
        if parsed.HasField("partial_success") and parsed.partial_success.error_message:
            raise ExporterError("the backend did not take everything")


class ExhaustedIsFinalFine(Grpc):
    """Drops the batch with no error when the backend answers RESOURCE_EXHAUSTED."""

    def attempt(self, context: Context, body: bytes) -> None:
        try:
            super().attempt(context, body)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise


class ClosedChannelError(Grpc):
    """After a shutdown export raises whatever the closed channel raises, no ExporterShutdownError."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.is_shut_down:
            raise ValueError("Cannot invoke RPC on closed channel!")
        super().export(context, metrics)
