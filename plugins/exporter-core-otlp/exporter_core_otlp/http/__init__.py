"""The exporter ``otlp_http``: OTLP over HTTP/1.1, protobuf or JSON."""

from exporter_core_otlp.http.config import OtlpHttpConfig
from exporter_core_otlp.http.exporter import OtlpHttpExporter

__all__ = ["OtlpHttpConfig", "OtlpHttpExporter"]
