"""Wrong ideas about whose the data is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.canaries.base import Canary, Holds
from exporter_core.conformance.observe.tokens import metrics_in

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context


class HoldsReference(Holds):
    """Keeps the caller's own batch until the flush or the shutdown."""

    def force_flush(self, context: Context) -> object:
        while self.held:
            self.inner.export(context, self.held.pop())
        return self.inner.force_flush(context)


class Annotates(Canary):
    """Adds an attribute to the caller's points."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        result = self.inner.export(context, metrics)
        for metric in metrics_in(metrics):
            for point in metric.data.data_points:
                point.attributes["exported"] = True  # type: ignore[index]  # made by the kit, of dictionaries
        return result
