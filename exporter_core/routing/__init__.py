"""The route of one exporter's metrics from a reader's collection to its guard: small senders in one order.

Today there is one: ``filter``, the metrics that the exporter gets.
"""

from exporter_core.routing.filter import MetricFilter

__all__ = ["MetricFilter"]
