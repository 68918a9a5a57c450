"""The ``console`` exporter: a readable table on a terminal, JSON Lines otherwise."""

from exporter_core_console.exporter import ConsoleConfig, ConsoleExporter

__all__ = ["ConsoleConfig", "ConsoleExporter"]
