"""Prometheus for exporter-core: the exporter ``prometheus_remote_write``, and the pull exporter ``prometheus``.

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.lazy import lazy_names

if TYPE_CHECKING:
    from exporter_core_prometheus.pull import (
        PrometheusConfig as PrometheusConfig,
        PrometheusExporter as PrometheusExporter,
    )
    from exporter_core_prometheus.remote_write import (
        RemoteWriteConfig as RemoteWriteConfig,
        RemoteWriteExporter as RemoteWriteExporter,
    )

__all__ = ["PrometheusConfig", "PrometheusExporter", "RemoteWriteConfig", "RemoteWriteExporter", "__version__"]

__version__ = "1.0.0"

_MODULE_OF = {
    "PrometheusConfig": "pull",
    "PrometheusExporter": "pull",
    "RemoteWriteConfig": "remote_write",
    "RemoteWriteExporter": "remote_write",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
