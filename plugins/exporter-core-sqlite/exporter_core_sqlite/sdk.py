"""The exporter for OpenTelemetry's own reader: `OTEL_METRICS_EXPORTER=sqlite`."""

from exporter_core import OutboundExporter


class SqliteMetricExporter(OutboundExporter, exporter="sqlite"):
    """The exporter `sqlite`, registered as `sqlite`."""
