"""The exporters for OpenTelemetry's own reader: `OTEL_METRICS_EXPORTER=exporter_core_otlp_file`."""

from exporter_core import OutboundExporter


class OtlpFileMetricExporter(OutboundExporter, exporter="otlp_file"):
    """The exporter `otlp_file`, registered as `exporter_core_otlp_file`."""


class OtlpGrpcMetricExporter(OutboundExporter, exporter="otlp_grpc"):
    """The exporter `otlp_grpc`, registered as `exporter_core_otlp_grpc`."""


class OtlpHttpMetricExporter(OutboundExporter, exporter="otlp_http"):
    """The exporter `otlp_http`, registered as `exporter_core_otlp_http`."""
