"""Wrong ideas about whose the data is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.reference import BufferingExporter, ReferenceExporter
from exporter_core.conformance.tokens import metrics_in

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context


class HoldsReference(BufferingExporter):
    """Holds the caller's own batch."""

    def _accept(self, metrics: MetricsData) -> None:
        self._buffer.append(metrics)


class Annotates(ReferenceExporter):
    """Adds an attribute to the caller's points, once it has sent them."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        for metric in metrics_in(metrics):
            for point in metric.data.data_points:
                point.attributes["exported"] = True  # type: ignore[index]  # made by the kit, of dictionaries
