"""Wrong exporters of the OpenTelemetry SDK."""

from __future__ import annotations

import logging

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics.export import MetricExportResult

from exporter_core import Context, ExporterError
from third_party.right_late_sdk import SdkHttp
from third_party.wrong_late_async import _CUT
from third_party.wrong_late_http import InParts

LOG = logging.getLogger(__name__)


class ForgetsSuper(SdkHttp):
    """Does not call MetricExporter's constructor, so that no reader can ask for its preferences."""

    def __init__(self, endpoint: str, token: str = "") -> None:
        super().__init__(endpoint, token)
        del self._preferred_temporality, self._preferred_aggregation


class SuccessAfterShutdown(SdkHttp):
    """After a shutdown export warns, ignores the batch and answers SUCCESS."""

    def export(self, metrics_data, timeout_millis: float = 10_000, **kwargs) -> MetricExportResult:
        if self.down:
            LOG.warning("exported after shutdown")
            return MetricExportResult.SUCCESS
        return super().export(metrics_data, timeout_millis, **kwargs)


class LastPartDecides(SdkHttp):
    """Sends 1000 points a request, and answers with the result of the last request."""

    def deliver(self, context: Context, metrics) -> None:
        whole = ExportMetricsServiceRequest.FromString(self.encode(metrics))
        error = None
        for part in InParts.parts(_CUT, whole):
            error = None
            try:
                self.sender.send(context, part.SerializeToString())
            except ExporterError as failure:
                error = failure
        if error is not None:
            raise error


class SecondsForMillis(SdkHttp):
    """Takes the milliseconds of force_flush and shutdown rightly, and those of export for seconds."""

    def export(self, metrics_data, timeout_millis: float = 10_000, **kwargs) -> MetricExportResult:
        return super().export(metrics_data, timeout_millis * 1000, **kwargs)


class ShutdownWaitsForPause(SdkHttp):
    """shutdown waits for the running export, its pauses between attempts included, however little time it has."""

    def shutdown(self, timeout_millis: float = 30_000, **kwargs) -> None:
        if self.down:
            LOG.warning("shut down before")
            return
        with self.lock:
            self.down = True
            self.sender.close()


class LogsHeaders(SdkHttp):
    """Logs the headers of each request at level DEBUG."""

    def deliver(self, context: Context, metrics) -> None:
        LOG.debug("posting with headers %s", self.sender.headers())
        super().deliver(context, metrics)
