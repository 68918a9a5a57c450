"""The screen of ``run``: live progress while it runs, and a summary of the delivery when it ends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from exporter_core.cli.history import sparkline
from exporter_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import ConsoleOptions, RenderableType

    from exporter_core.cli.history import Row
    from exporter_core.exporter import Destination
    from exporter_core.reader import ReaderStats

_TREND_WIDTH = 16
_NARROW = 100  # columns; below, a trend has room for half as much
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL = ("", "k", "M", "G", "T", "P", "E")


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
    rows: Sequence[Row],
    at_zero: int,
    stats: Sequence[ReaderStats],
    places: Mapping[str, Destination],
    options: ConsoleOptions,
) -> list[RenderableType]:
    """Return the summary: the metrics with their latest values, the exporters, and the places of the data.

    Args:
        rows: the series to show.
        at_zero: the number of series that are not shown.
        stats: the counts of each reader and its exporter.
        places: the destination of each reader's data.
        options: the terminal's abilities: its width decides that of the trends; without Unicode there are none.
    """
    parts: list[RenderableType] = []
    trend = 0 if options.ascii_only else _TREND_WIDTH // (2 if options.max_width < _NARROW else 1)
    if rows:
        parts += [
            _metrics(rows, trend),
            Text(f"{len(rows)} series, and {at_zero} that stayed at 0", style="dim"),
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


def _metrics(rows: Sequence[Row], trend: int) -> Table:
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
