"""Prometheus for exporter-core."""

__version__ = "1.0.0"
