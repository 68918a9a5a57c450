"""What has been delivered, kept for showing: the last values of each series, and how they came along."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from opentelemetry.sdk.metrics.export import Gauge, Sum

from exporter_core.registry import ExporterRegistry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.sdk.metrics.export import Metric, MetricsData

    from exporter_core.context import Context
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
    """The latest value; for a counter, what it has reached."""
    rate: float | None
    """For a counter, its increase a second over the last export; None for what is not counted up."""
    trend: tuple[float, ...]
    """The values of the last exports, oldest first; for a counter its increases a second."""

    def as_dict(self) -> dict[str, object]:
        """The row as values that JSON has."""
        return self._asdict()


@dataclass
class _Series:
    unit: str
    counts_up: bool
    values: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_KEPT))  # time in ns, value

    def row(self, metric: str, attributes: str) -> Row:
        points = list(self.values)
        if not self.counts_up:
            return Row(metric, attributes, self.unit, points[-1][1], None, tuple(value for _, value in points))
        steps = [
            (new - old) / max(new_time - old_time, 1) * 1e9
            for (old_time, old), (new_time, new) in itertools.pairwise(points)
        ]
        return Row(metric, attributes, self.unit, points[-1][1], steps[-1] if steps else None, tuple(steps))


class History:
    """The last values of every number that was exported. Safe from any thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._series: dict[tuple[str, str], _Series] = {}

    def record(self, metrics: MetricsData) -> None:
        """Take the values out of a batch; keeps nothing of the batch itself."""
        for resource_metrics in metrics.resource_metrics:
            for scope_metrics in resource_metrics.scope_metrics:
                for metric in scope_metrics.metrics:
                    for (attributes, time), value in _values(metric).items():
                        self._append(metric, attributes, time, value)

    def rows(self) -> list[Row]:
        """A row for each series that was ever above or below zero, in order of metric."""
        with self._mutex:
            rows = [series.row(*key) for key, series in sorted(self._series.items())]
        return [row for row in rows if row.latest or any(row.trend)]

    @property
    def series_at_zero(self) -> int:
        """How many series have no row."""
        with self._mutex:
            count = len(self._series)
        return count - len(self.rows())

    def _append(self, metric: Metric, attributes: str, time: int, value: float) -> None:
        with self._mutex:
            series = self._series.get((metric.name, attributes))
            if series is None:
                counts_up = isinstance(metric.data, Sum) and metric.data.is_monotonic
                series = self._series[metric.name, attributes] = _Series(metric.unit or "", counts_up)
            series.values.append((time, value))


def _values(metric: Metric) -> dict[tuple[str, int], float]:
    """The numbers of a metric by the attributes that are shown: sums added up, gauges averaged, over what is not."""
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
    """A guarded exporter that also tells a history of what it has delivered; all else passes through."""

    def __init__(self, exporter: GuardedExporter, history: History) -> None:
        self._exporter = exporter
        self._history = history

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Export, and record what was accepted."""
        self._exporter.export(context, metrics)
        self._history.record(metrics)

    def __getattr__(self, name: str) -> Any:  # Any: whatever the guarded exporter has
        return getattr(self._exporter, name)


class TappingRegistry(ExporterRegistry):
    """Loads exporters from another registry, and tells a history what the first of them delivers."""

    def __init__(self, history: History, registry: ExporterRegistry) -> None:
        super().__init__(policy=registry.policy)
        self._registry = registry
        self._history: History | None = history

    def load(self, name: str, *args: Any, **options: Any) -> GuardedExporter:  # Any: passed on as they come
        """Load an exporter; two that deliver the same series would make its history jump."""
        exporter = self._registry.load(name, *args, **options)
        history, self._history = self._history, None
        return exporter if history is None else cast("GuardedExporter", Tap(exporter, history))


def sparkline(values: Iterable[float], width: int) -> str:
    """The last ``width`` values as a line of bars, from the least to the greatest of them."""
    shown = [*values][-width:]
    least, greatest = min(shown, default=0.0), max(shown, default=0.0)
    return "".join(_bars(shown, least, (greatest - least) or 1.0))


def _bars(values: list[float], least: float, span: float) -> Iterator[str]:
    for value in values:
        yield _BARS[int((value - least) / span * (len(_BARS) - 1))]
