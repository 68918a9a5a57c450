"""The exporter ``otlp_grpc``: OTLP over gRPC, which is HTTP/2."""

from exporter_core_otlp.grpc.config import OtlpGrpcConfig
from exporter_core_otlp.grpc.exporter import OtlpGrpcExporter

__all__ = ["OtlpGrpcConfig", "OtlpGrpcExporter"]
