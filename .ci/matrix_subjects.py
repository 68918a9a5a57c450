"""Makers of exporters that need more than options of text: what ``make matrix`` names in the place of a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter


def logfire(endpoint: str) -> MetricExporter:
    """The exporter that ``logfire.configure()`` builds, pointed at another endpoint."""
    from logfire._internal.exporters.otlp import OTLPExporterHttpSession
    from logfire._internal.exporters.quiet_metrics import QuietMetricExporter
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    session = OTLPExporterHttpSession()
    return QuietMetricExporter(OTLPMetricExporter(endpoint, session=session, compression=Compression.Gzip))


def google(address: str = "127.0.0.1:9") -> MetricExporter:
    """The exporter of Google Cloud Monitoring, whose client calls a port where nobody listens."""
    import grpc
    from google.cloud.monitoring_v3 import MetricServiceClient
    from google.cloud.monitoring_v3.services.metric_service.transports import MetricServiceGrpcTransport
    from opentelemetry.exporter.cloud_monitoring import CloudMonitoringMetricsExporter

    transport = MetricServiceGrpcTransport(channel=grpc.insecure_channel(address))
    return CloudMonitoringMetricsExporter("project", MetricServiceClient(transport=transport))


def azure(endpoint: str) -> MetricExporter:
    """The exporter of Azure Monitor, without its offline storage."""
    from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter

    key = "00000000-0000-0000-0000-000000000000"
    text = f"InstrumentationKey={key};IngestionEndpoint={endpoint}"
    return AzureMonitorMetricExporter(connection_string=text, disable_offline_storage=True)
