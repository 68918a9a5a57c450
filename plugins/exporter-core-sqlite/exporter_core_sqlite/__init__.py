"""Write OpenTelemetry metrics to a SQLite file: the ``sqlite`` exporter of exporter-core."""

from exporter_core_sqlite.config import SqliteConfig
from exporter_core_sqlite.exporter import SqliteExporter
from exporter_core_sqlite.reading import read

__all__ = ["SqliteConfig", "SqliteExporter", "read"]
