"""Wrong ideas about whose the data is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.observe.tokens import flatten, metrics_in
from kit.reference import BufferingExporter, ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.observe.tokens import Point
    from exporter_core.context import Context
    from kit.memory import Response


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


class EncodesAgain(ReferenceExporter):
    """Encodes a batch anew for each attempt."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        self._metrics = metrics
        super()._deliver(context, metrics)

    def _exchange(self, context: Context, points: Sequence[Point]) -> Response:
        return super()._exchange(context, tuple(flatten(self._metrics)))


class SortsInPlace(ReferenceExporter):
    """Sorts the caller's points, once it has sent them."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        for metric in metrics_in(metrics):
            points: Any = metric.data.data_points  # Any: made by the kit, of lists
            points.reverse()


class AddsScope(ReferenceExporter):
    """Adds an empty scope to the caller's batch, once it has sent that."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        for of_resource in metrics.resource_metrics:
            scopes: Any = of_resource.scope_metrics  # Any: as above
            scopes.append(replace(scopes[0], metrics=[]))
