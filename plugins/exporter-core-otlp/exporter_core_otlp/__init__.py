"""OTLP exporters for exporter-core: ``otlp_http``, ``otlp_grpc`` and ``otlp_file``.

Names are imported when they are first used, so that one exporter does not pay for the libraries of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.lazy import lazy_names

if TYPE_CHECKING:
    from exporter_core_otlp.file import OtlpFileConfig as OtlpFileConfig, OtlpFileExporter as OtlpFileExporter
    from exporter_core_otlp.grpc import OtlpGrpcConfig as OtlpGrpcConfig, OtlpGrpcExporter as OtlpGrpcExporter
    from exporter_core_otlp.http import OtlpHttpConfig as OtlpHttpConfig, OtlpHttpExporter as OtlpHttpExporter

__all__ = [
    "OtlpFileConfig",
    "OtlpFileExporter",
    "OtlpGrpcConfig",
    "OtlpGrpcExporter",
    "OtlpHttpConfig",
    "OtlpHttpExporter",
    "__version__",
]

__version__ = "1.0.0"

_MODULE_OF = {
    "OtlpFileConfig": "file",
    "OtlpFileExporter": "file",
    "OtlpGrpcConfig": "grpc",
    "OtlpGrpcExporter": "grpc",
    "OtlpHttpConfig": "http",
    "OtlpHttpExporter": "http",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
