"""The pull exporter ``prometheus``: serves the metrics for a Prometheus that scrapes them.

``config`` has its options, ``exporter`` is the exporter, ``answering`` makes the answers, ``server`` keeps the
connections.
"""

from exporter_core_prometheus.pull.config import PrometheusConfig
from exporter_core_prometheus.pull.exporter import PrometheusExporter

__all__ = ["PrometheusConfig", "PrometheusExporter"]
