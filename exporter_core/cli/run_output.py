"""Output of ``run``: the last values of each series, live progress, and a summary of the delivery at the end."""

from __future__ import annotations

import itertools
import math
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from opentelemetry.sdk.metrics.export import Gauge, Sum
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from exporter_core.errors import ExporterCoreError
from exporter_core.printable import printable
from exporter_core.registry import ExporterRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import Metric, MetricsData
    from rich.console import ConsoleOptions, RenderableType

    from exporter_core.context import Context
    from exporter_core.exporter import Destination
    from exporter_core.guard import GuardedExporter
    from exporter_core.reader import ReaderStats

_KEPT = 60  # exports; a sparkline shows the last of them
_PARTS_OF_THE_MACHINE = frozenset({"cpu", "device"})  # one row for all processors, disks or interfaces, not one each
_BARS = "▁▂▃▄▅▆▇█"
_TREND_WIDTH = 16
_NARROW = 100  # columns; below, a trend has room for half as much
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL = ("", "k", "M", "G", "T", "P", "E")


class SeriesRow(NamedTuple):
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

    def row(self, metric: str, attributes: str) -> SeriesRow:
        points = list(self.values)
        latest = points[-1][1]
        if not self.counts_up:
            return SeriesRow(metric, attributes, self.unit, latest, None, tuple(value for _, value in points))
        rates = [
            (new - old) / max(new_time - old_time, 1) * 1e9
            for (old_time, old), (new_time, new) in itertools.pairwise(points)
        ]
        return SeriesRow(metric, attributes, self.unit, latest, rates[-1] if rates else None, tuple(rates))


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

    def rows(self) -> list[SeriesRow]:
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
    """A guarded exporter that also records deliveries in a history; everything else passes through.

    Args:
        exporter: the exporter.
        history: takes what is delivered.
        delivers_again: called with the exporter's name and the number of failed exports when a delivery follows them.
    """

    def __init__(
        self, exporter: GuardedExporter, history: History, delivers_again: Callable[[str, int], object]
    ) -> None:
        self._exporter = exporter
        self._history = history
        self._delivers_again = delivers_again
        self._failed = 0

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Export, and record the metrics if they were accepted."""
        try:
            self._exporter.export(context, metrics)
        except ExporterCoreError:
            self._failed += 1
            raise
        failed, self._failed = self._failed, 0
        if failed:
            self._delivers_again(self._exporter.name, failed)
        self._history.record(metrics)

    def __getattr__(self, name: str) -> Any:  # Any: whatever the guarded exporter has
        return getattr(self._exporter, name)


class TappingRegistry(ExporterRegistry):
    """Loads exporters from another registry, and records the deliveries of each.

    Args:
        registry: the source of the exporters.
        delivers_again: as for :class:`Tap`.
    """

    def __init__(self, registry: ExporterRegistry, delivers_again: Callable[[str, int], object]) -> None:
        super().__init__(policy=registry.policy)
        self.histories: list[History] = []
        """The deliveries of each exporter, in the order in which they were loaded, which is that of the readers."""
        self._registry = registry
        self._delivers_again = delivers_again

    def load(self, name: str, *args: Any, **options: Any) -> GuardedExporter:  # Any: passed on as they come
        """Load an exporter that is recorded."""
        exporter = self._registry.load(name, *args, **options)
        self.histories.append(History())
        return cast("GuardedExporter", Tap(exporter, self.histories[-1], self._delivers_again))


def sparkline(values: Iterable[float], width: int) -> str:
    """Return the last ``width`` values as a line of bars, from the least to the greatest of them."""
    shown = [*values][-width:]
    least = min(shown, default=0.0)
    span = max(shown, default=0.0) - least or 1.0
    return "".join(_BARS[int((value - least) / span * (len(_BARS) - 1))] for value in shown)


def progress(stats: Sequence[ReaderStats], seconds: float, duration: float | None) -> RenderableType:
    """Return the table of exporters as it stands.

    Args:
        stats: the counts of each reader and its exporter.
        seconds: the time since the start.
        duration: the time until it stops by itself, None if it runs until stopped.
    """
    ends = "Ctrl-C stops it" if duration is None else f"of {duration:g} s"
    return Group(Text(f"{seconds:.0f} s {ends}", style="dim"), _exporters(stats))


def summary(
    delivered: Mapping[str, History],
    stats: Sequence[ReaderStats],
    places: Mapping[str, Destination],
    options: ConsoleOptions,
) -> list[RenderableType]:
    """Return the summary: the metrics with their latest values, the exporters, and the places of the data.

    Args:
        delivered: what each reader has delivered, by its name.
        stats: the counts of each reader and its exporter.
        places: the destination of each reader's data.
        options: the terminal's abilities: its width decides that of the trends; without Unicode there are none.
    """
    parts: list[RenderableType] = []
    trend = 0 if options.ascii_only else _TREND_WIDTH // (2 if options.max_width < _NARROW else 1)
    for name, history in delivered.items():
        rows = history.rows()
        if rows:
            of_reader = f" of {printable(name)}" if len(delivered) > 1 else ""
            parts += [
                _metrics(rows, trend),
                Text(f"{len(rows)} series{of_reader}, and {history.series_at_zero} that stayed at 0", style="dim"),
            ]
    parts.append(_exporters(stats))
    for name, place in places.items():
        parts.append(Text.assemble((printable(name), "bold"), " wrote to ", (printable(place.location), "cyan")))
        if place.command:
            parts.append(Text.assemble("  ", ("$ ", "dim"), (printable(place.command), "green")))
    return parts


def _exporters(stats: Sequence[ReaderStats]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("exporter")
    for title in ("delivered", "exports", "failed", "last"):
        table.add_column(title, justify="right")
    table.add_column("last error", overflow="fold")
    for reader in stats:
        one = reader.exporter
        last = "" if one.last_export_seconds is None else f"{one.last_export_seconds * 1000:.1f} ms"
        failed = Text(f"{one.exports_failed:,}", style="red" if one.exports_failed else "dim")
        table.add_row(
            printable(reader.name),
            f"{one.points_accepted:,} points",
            f"{one.exports_ok:,}",
            failed,
            last,
            Text(printable(one.last_error or ""), style="red"),
        )
    return table


def _metrics(rows: Sequence[SeriesRow], trend: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("metric", no_wrap=True)
    table.add_column("", style="dim", min_width=11)
    table.add_column("latest", justify="right", no_wrap=True)
    table.add_column("per second", justify="right", no_wrap=True)
    if trend:
        table.add_column("trend", no_wrap=True, style="cyan", min_width=trend)
    above = ""
    for row in rows:
        rate = "" if row.rate is None else quantity(row.rate, row.unit)
        name = "" if row.metric == above else printable(row.metric)
        above = row.metric
        bars = [sparkline(row.trend, trend)] if trend else []
        table.add_row(name, printable(row.attributes), quantity(row.latest, row.unit), rate, *bars)
    return table


def quantity(value: float, unit: str) -> str:
    """Return a value in three or four digits: bytes in powers of 1024, a ratio as a percentage.

    A unit in braces, such as ``{request}``, is not shown: the metric's name says as much.
    """
    if not math.isfinite(value):
        return str(value)
    if unit == "1":
        return f"{value:.1%}"
    if unit == "s":
        return f"{_three_digits(value)} s"
    if unit == "By":
        return _scaled(value, 1024, _BINARY)
    return _scaled(value, 1000, _DECIMAL)


def _scaled(value: float, base: int, prefixes: Sequence[str]) -> str:
    power = 0
    while abs(value) >= base and power < len(prefixes) - 1:
        value /= base
        power += 1
    return f"{_three_digits(value)} {prefixes[power]}".strip()


def _three_digits(value: float) -> str:
    """Return the value with three digits, or all those before the point; whole numbers without a point."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"  # noqa: PLR2004 - three digits
