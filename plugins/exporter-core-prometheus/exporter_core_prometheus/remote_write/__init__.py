"""Remote write: the exporter ``prometheus_remote_write``."""

from exporter_core_prometheus.remote_write.config import RemoteWriteConfig
from exporter_core_prometheus.remote_write.exporter import RemoteWriteExporter

__all__ = ["RemoteWriteConfig", "RemoteWriteExporter"]
