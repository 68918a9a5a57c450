"""The exporter for OpenTelemetry's own reader: `OTEL_METRICS_EXPORTER=prometheus_remote_write`."""

from exporter_core import OutboundExporter


class RemoteWriteMetricExporter(OutboundExporter, exporter="prometheus_remote_write"):
    """The exporter `prometheus_remote_write`, registered by the same name."""
