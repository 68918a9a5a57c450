"""The first part of a route: the metrics that one exporter gets, chosen by name."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_NAMES: Final = 10_000  # remembered; instruments are few, and a program that makes more of them costs no memory


class MetricFilter:
    """Keeps the metrics whose names fit; called with a batch, it returns a new one, or None for nothing.

    Args:
        include: patterns of the names to keep, in which ``*`` and ``?`` stand for any characters and any one; empty
            keeps all.
        exclude: patterns of the names to leave out, even if ``include`` has them.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = tuple(include)
        self._exclude = tuple(exclude)
        self._kept: dict[str, bool] = {}

    def keeps(self, name: str) -> bool:
        """Return True for a metric that the exporter gets."""
        kept = self._kept.get(name)
        if kept is None:
            if len(self._kept) >= _MOST_NAMES:
                self._kept.clear()
            included = not self._include or any(fnmatchcase(name, pattern) for pattern in self._include)
            kept = included and not any(fnmatchcase(name, pattern) for pattern in self._exclude)
            self._kept[name] = kept
        return kept

    def __call__(self, metrics: MetricsData) -> MetricsData | None:
        """Return the batch without the other metrics, nor scopes and resources that have none left."""
        resources = []
        for resource in metrics.resource_metrics:
            scopes = []
            for scope in resource.scope_metrics:
                kept = [metric for metric in scope.metrics if self.keeps(metric.name)]
                if kept:
                    scopes.append(ScopeMetrics(scope.scope, kept, scope.schema_url))
            if scopes:
                resources.append(ResourceMetrics(resource.resource, scopes, resource.schema_url))
        return MetricsData(resources) if resources else None
