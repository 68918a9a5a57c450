"""The ``otlp_file`` exporter: OTLP's JSON, a line an export, to standard output or a file."""

from exporter_core_otlp.file.config import OtlpFileConfig
from exporter_core_otlp.file.exporter import OtlpFileExporter

__all__ = ["OtlpFileConfig", "OtlpFileExporter"]
