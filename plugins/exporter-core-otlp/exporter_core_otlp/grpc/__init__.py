"""The ``otlp_grpc`` exporter."""

from exporter_core_otlp.grpc.config import OtlpGrpcConfig
from exporter_core_otlp.grpc.exporter import OtlpGrpcExporter

__all__ = ["OtlpGrpcConfig", "OtlpGrpcExporter"]
