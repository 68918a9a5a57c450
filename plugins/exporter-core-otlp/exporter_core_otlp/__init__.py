"""OTLP exporters for exporter-core: ``otlp_http``, ``otlp_grpc`` and ``otlp_file``.

Names are imported when they are first used, so that one exporter does not pay for the libraries of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter_core_otlp.file import OtlpFileConfig as OtlpFileConfig
    from exporter_core_otlp.file import OtlpFileExporter as OtlpFileExporter
    from exporter_core_otlp.grpc import OtlpGrpcConfig as OtlpGrpcConfig
    from exporter_core_otlp.grpc import OtlpGrpcExporter as OtlpGrpcExporter
    from exporter_core_otlp.http import OtlpHttpConfig as OtlpHttpConfig
    from exporter_core_otlp.http import OtlpHttpExporter as OtlpHttpExporter

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


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - nothing is imported before it is needed

    value: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
