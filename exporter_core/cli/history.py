"""The last delivered values of each series, kept for the summary of ``run``."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from opentelemetry.sdk.metrics.export import Gauge, Sum

from exporter_core.registry import ExporterRegistry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.sdk.metrics.export import Metric, MetricsData

    from exporter_core.context import Context
    from exporter_core.discovery import PluginPolicy
    from exporter_core.guard import GuardedExporter

_KEPT = 60  # exports; a sparkline shows the last of them
_PARTS_OF_THE_MACHINE = frozenset({"cpu", "device"})  # one row for all processors, disks or interfaces, not one each
_BARS = "▁▂▃▄▅▆▇█"


class Row(NamedTuple):
    """One line of the summary."""

    metric: str
    attributes: str
    unit: str
    latest: float
    """The latest value; for a counter, its total."""
    rate: float | None
    """For a counter, its increase a second over the last export; None for other metrics."""
    trend: tuple[float, ...]
    """The values of the last exports, oldest first; for a counter its increases a second."""


@dataclass
class _Series:
    unit: str
    counts_up: bool
    values: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_KEPT))  # time in ns, value

    def row(self, metric: str, attributes: str) -> Row:
        points = list(self.values)
        latest = points[-1][1]
        if not self.counts_up:
            return Row(metric, attributes, self.unit, latest, None, tuple(value for _, value in points))
        rates = [
            (new - old) / max(new_time - old_time, 1) * 1e9
            for (old_time, old), (new_time, new) in itertools.pairwise(points)
        ]
        return Row(metric, attributes, self.unit, latest, rates[-1] if rates else None, tuple(rates))


class History:
    """The last values of every number that was exported. Safe from any thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._series: dict[tuple[str, str], _Series] = {}

    def record(self, metrics: MetricsData) -> None:
        """Take the values out of a batch; the batch itself is not kept."""
        for resource_metrics in metrics.resource_metrics:
            for scope_metrics in resource_metrics.scope_metrics:
                for metric in scope_metrics.metrics:
                    for (attributes, time), value in _values(metric).items():
                        self._append(metric, attributes, time, value)

    def rows(self) -> list[Row]:
        """Return a row for each series that was ever above or below zero, in order of metric."""
        with self._mutex:
            rows = [series.row(*key) for key, series in sorted(self._series.items())]
        return [row for row in rows if row.latest or any(row.trend)]

    @property
    def series_at_zero(self) -> int:
        """The number of series without a row."""
        return len(self._series) - len(self.rows())

    def _append(self, metric: Metric, attributes: str, time: int, value: float) -> None:
        with self._mutex:
            series = self._series.get((metric.name, attributes))
            if series is None:
                counts_up = isinstance(metric.data, Sum) and metric.data.is_monotonic
                series = self._series[metric.name, attributes] = _Series(metric.unit or "", counts_up)
            series.values.append((time, value))


def _values(metric: Metric) -> dict[tuple[str, int], float]:
    """Return the numbers of a metric by the attributes shown; over the others sums are added, gauges averaged."""
    found: dict[tuple[str, int], list[float]] = {}
    if isinstance(metric.data, Sum | Gauge):
        for point in metric.data.data_points:
            shown = sorted(
                (key, value) for key, value in (point.attributes or {}).items() if key not in _PARTS_OF_THE_MACHINE
            )
            text = ", ".join(dict.fromkeys(str(getattr(value, "name", value)) for _, value in shown))
            found.setdefault((text, point.time_unix_nano), []).append(point.value)
    average = isinstance(metric.data, Gauge)
    return {key: sum(values) / (len(values) if average else 1) for key, values in found.items()}


class Tap:
    """A guarded exporter that also records deliveries in a history; everything else passes through."""

    def __init__(self, exporter: GuardedExporter, history: History) -> None:
        self._exporter = exporter
        self._history = history

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Export, and record the metrics if they were accepted."""
        self._exporter.export(context, metrics)
        self._history.record(metrics)

    def __getattr__(self, name: str) -> Any:  # Any: whatever the guarded exporter has
        return getattr(self._exporter, name)


class TappingRegistry(ExporterRegistry):
    """A registry whose first exporter records its deliveries in a history."""

    def __init__(self, history: History, *, policy: PluginPolicy) -> None:
        super().__init__(policy=policy)
        self._history: History | None = history

    def load(self, name: str, *args: Any, **options: Any) -> GuardedExporter:  # Any: passed on as they come
        """Load an exporter; only the first is recorded, for the same series twice would make the history jump."""
        exporter = super().load(name, *args, **options)
        history, self._history = self._history, None
        return exporter if history is None else cast("GuardedExporter", Tap(exporter, history))


def sparkline(values: Iterable[float], width: int) -> str:
    """Return the last ``width`` values as a line of bars, from the least to the greatest of them."""
    shown = [*values][-width:]
    least = min(shown, default=0.0)
    span = max(shown, default=0.0) - least or 1.0
    return "".join(_BARS[int((value - least) / span * (len(_BARS) - 1))] for value in shown)
