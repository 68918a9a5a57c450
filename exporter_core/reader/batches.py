"""Cuts a batch into batches of fewer data points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core.guard.stats import count_points
from exporter_core.otlp.trust import is_trusted, mark_trusted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.sdk.metrics.export import Metric, ResourceMetrics, ScopeMetrics


def batches_of(metrics: MetricsData, max_points: int | None) -> Iterator[MetricsData]:
    """Yield the metrics in batches of at most so many data points, in order; the batch itself if it has no more."""
    if max_points is None or count_points(metrics) <= max_points:
        yield metrics
        return
    parts: list[_Part] = []
    room = max_points
    for part in _parts_of(metrics):
        while part.points:
            parts.append(replace(part, points=part.points[:room]))
            part.points = part.points[room:]
            room -= len(parts[-1].points)
            if not room:
                yield _batch(parts, metrics)
                parts, room = [], max_points
    if parts:
        yield _batch(parts, metrics)


@dataclass(slots=True)
class _Part:
    """Some points of one metric, and what they belong to."""

    resource: ResourceMetrics
    scope: ScopeMetrics
    metric: Metric
    points: list[Any]  # Any: each kind of metric has its own


def _parts_of(metrics: MetricsData) -> Iterator[_Part]:
    for resource in metrics.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                yield _Part(resource, scope, metric, list(metric.data.data_points))


def _batch(parts: list[_Part], whole: MetricsData) -> MetricsData:
    """Return a batch of these parts, trusted if the whole is: its attribute mappings are the same objects."""
    batch = MetricsData(
        [
            replace(
                of_resource[0].resource,
                scope_metrics=[
                    replace(of_scope[0].scope, metrics=[_metric(part) for part in of_scope])
                    for of_scope in _runs(of_resource, lambda part: part.scope)
                ],
            )
            for of_resource in _runs(parts, lambda part: part.resource)
        ]
    )
    return mark_trusted(batch) if is_trusted(whole) else batch


def _metric(part: _Part) -> Metric:
    data: Any = part.metric.data  # Any: a union of classes, which replace() cannot see through
    return replace(part.metric, data=replace(data, data_points=part.points))


def _runs(parts: Iterable[_Part], belongs_to: Callable[[_Part], object]) -> Iterator[list[_Part]]:
    """Yield the runs of parts that belong to the same object."""
    for _, run in groupby(parts, key=lambda part: id(belongs_to(part))):
        yield list(run)
