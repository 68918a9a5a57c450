"""The exporter for OpenTelemetry's own reader: `OTEL_METRICS_EXPORTER=exporter_core_console`."""

from exporter_core import OutboundExporter


class ConsoleMetricExporter(OutboundExporter, exporter="console"):
    """The exporter `console`, registered as `exporter_core_console`."""
