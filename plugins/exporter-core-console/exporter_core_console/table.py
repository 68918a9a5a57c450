"""The table for people: resource, scope, then a row for each data point; narrow terminals get a list instead.

Rendered to text in one go, so that it can be written in time like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    NumberDataPoint,
    Sum,
)
from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from exporter_core.authoring import printable
from exporter_core_console.text import attributes_text, clock_text, exponential_counts, number_text, sparkline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.metrics.export import DataPointT, DataT, Metric, MetricsData, ScopeMetrics
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.util.types import Attributes

    from exporter_core import Context
    from exporter_core.authoring import Style

_ATTRIBUTE_COLUMNS = 24  # with fewer left for attributes, a list is more readable than a table; longer ones wrap
_PAGE_ROWS = 50
_POINTS_BETWEEN_CHECKS = 256

ItemT = TypeVar("ItemT")


def table(context: Context, metrics: MetricsData, *, width: int, style: Style) -> str:
    """The metrics as text of at most ``width`` columns; the empty text for an empty batch.

    Raises the context's error when it ends first.
    """
    file = StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=True,
        color_system="auto" if style.color else None,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for resource_metrics in metrics.resource_metrics:
        scopes = [scope for scope in resource_metrics.scope_metrics if any(m.data.data_points for m in scope.metrics)]
        if not scopes:
            continue
        console.print(_heading("time", _latest(scopes)))
        console.print(_heading("resource", _resource_text(resource_metrics.resource.attributes)))
        for scope_metrics in scopes:
            console.print(_heading("scope", _scope_text(scope_metrics)))
            blocks = [_block(context, metric, style) for metric in scope_metrics.metrics if metric.data.data_points]
            widths = _widths(context, blocks, width)
            if widths is None:
                _print_list(context, console, blocks)
            else:
                _print_side_by_side(context, console, blocks, widths, style)
        console.print()
    text = file.getvalue()
    # Without colour nothing but spaces fills a line up, and a copied table is better off without them.
    return text if style.color else "".join(line.rstrip() + "\n" for line in text.split("\n")[:-1])


@dataclass(frozen=True, slots=True)
class _Block:
    """One metric: its name, kind and unit, and for each point the attributes and the lines of its value."""

    name: str
    kind: str
    unit: str
    points: list[tuple[str, list[Text]]]


def _block(context: Context, metric: Metric, style: Style) -> _Block:
    context.raise_if_done()
    points: Sequence[DataPointT] = metric.data.data_points
    values = [_value(point, style) for point in _within(context, points)]
    # Numbers of one metric are there to be compared: they end in the same column.
    width = max(len(lines[0]) for lines in values)
    for point, lines in zip(_within(context, points), values, strict=True):
        if isinstance(point, NumberDataPoint):
            lines[0].pad_left(width - len(lines[0]))
    attributes = [attributes_text(point.attributes) for point in _within(context, points)]
    return _Block(
        printable(metric.name),
        _kind(metric.data),
        printable(metric.unit or ""),
        list(zip(attributes, values, strict=True)),
    )


def _within(context: Context, items: Sequence[ItemT]) -> Iterator[ItemT]:
    """The items, as long as the context is not done."""
    for number, item in enumerate(items):
        if not number % _POINTS_BETWEEN_CHECKS:
            context.raise_if_done()
        yield item


# --- layout ----------------------------------------------------------------------------------------------------------


def _heading(label: str, text: str) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=len("resource"))
    grid.add_column(overflow="fold")
    grid.add_row(Text(label), Text(text))
    return grid


_HEADER = ("metric", "kind", "unit", "attributes", "value")
_STYLES = ("bold cyan", "dim", "dim", "green", "")
_GAPS = 4 * len(" | ")


def _widths(context: Context, blocks: list[_Block], width: int) -> list[int] | None:
    """The columns' widths, attributes getting what the others leave; None where that is too little."""
    name, kind, unit, attributes, value = map(len, _HEADER)
    for block in blocks:
        name = max(name, cell_len(block.name))
        kind = max(kind, cell_len(block.kind))
        unit = max(unit, cell_len(block.unit))
        for text, lines in _within(context, block.points):
            attributes = max(attributes, cell_len(text))
            value = max(value, *(line.cell_len for line in lines))
    left = width - name - kind - unit - value - _GAPS
    if left < min(attributes, _ATTRIBUTE_COLUMNS):
        return None
    return [name, kind, unit, min(attributes, left), value]


def _print_side_by_side(
    context: Context, console: Console, blocks: list[_Block], widths: list[int], style: Style
) -> None:
    """Print a table with the first row, which draws the header, and the others as lines: rich needs a tenth for them.

    They are printed in pages, so that a long table does not outlast its context by much.
    """
    rows = _rows(blocks)
    table = Table(box=box.SIMPLE_HEAD if style.unicode else box.ASCII2, pad_edge=False, show_edge=False)
    for title, column_style, width in zip(_HEADER, _STYLES, widths, strict=True):
        table.add_column(title, style=column_style, width=width, overflow="fold")
    for head, attributes, lines in islice(rows, 1):
        table.add_row(*map(Text, (*head, attributes)), Text("\n").join(lines))
    console.print(table)
    gap = "   " if style.unicode else " | "
    while page := list(islice(rows, _PAGE_ROWS)):
        context.raise_if_done()
        lines = [line for row in page for line in _row_lines(console, row, widths, gap)]
        console.print(Text("\n").join(lines), no_wrap=True, overflow="ignore", crop=False)


_Row: TypeAlias = tuple[tuple[str, str, str], str, list[Text]]
"""Name, kind and unit; the attributes; and the lines of the value."""


def _rows(blocks: list[_Block]) -> Iterator[_Row]:
    for block in blocks:
        head = (block.name, block.kind, block.unit)
        for attributes, lines in block.points:
            yield head, attributes, lines
            head = ("", "", "")


def _row_lines(console: Console, row: _Row, widths: list[int], gap: str) -> Iterator[Text]:
    """The lines of a row of the table, each with all columns."""
    head, attributes, values = row
    width = widths[len(head)]
    folded = [attributes]
    if cell_len(attributes) > width:
        folded = [line.plain.rstrip() for line in Text(attributes).wrap(console, width, overflow="fold")]
    for number in range(max(len(folded), len(values))):
        texts = (*(head if not number else ("", "", "")), folded[number] if number < len(folded) else "")
        line = Text()
        for text, columns, cell_style in zip(texts, widths, _STYLES, strict=False):
            line.append(set_cell_size(text, columns), cell_style).append(gap)
        yield line.append_text(values[number]) if number < len(values) else line


def _print_list(context: Context, console: Console, blocks: list[_Block]) -> None:
    for block in blocks:
        context.raise_if_done()
        title = Text.assemble((block.name, "bold cyan"), "  ", (block.kind, "dim"), "  ", (block.unit, "dim"))
        title.rstrip()
        console.print(title, overflow="fold")
        labels = max(cell_len(attributes) for attributes, _ in _within(context, block.points))
        values = [Text("  ").join(lines) for _, lines in _within(context, block.points)]
        one_line = 2 + labels + 2 + max(value.cell_len for value in values) <= console.width
        for (attributes, lines), value in zip(block.points, values, strict=True):
            context.raise_if_done()
            label = Text(attributes, style="green")
            if one_line:
                gap = labels - label.cell_len + (2 if labels else 0)
                _print_indented(console, Text.assemble(label, " " * gap, value), 2)
                continue
            if attributes:
                _print_indented(console, label, 2)
            for line in [value] if 4 + value.cell_len <= console.width else lines:
                _print_indented(console, line, 4)


def _print_indented(console: Console, text: Text, columns: int) -> None:
    text.overflow = "fold"
    console.print(Padding(text, (0, 0, 0, columns), expand=False))


# --- content ---------------------------------------------------------------------------------------------------------


def _resource_text(attributes: Attributes) -> str:
    """The resource's attributes, those of the service first."""
    ordered = sorted((attributes or {}).items(), key=lambda item: not item[0].startswith("service."))
    return attributes_text(dict(ordered)) or "(no attributes)"


def _scope_text(scope_metrics: ScopeMetrics) -> str:
    scope: InstrumentationScope | None = scope_metrics.scope
    if scope is None:
        return "(no name)"
    parts = (printable(scope.name), printable(scope.version or ""), attributes_text(scope.attributes))
    return " ".join(part for part in parts if part) or "(no name)"


def _latest(scopes: list[ScopeMetrics]) -> str:
    return clock_text(max(p.time_unix_nano or 0 for s in scopes for m in s.metrics for p in m.data.data_points))


def _kind(data: DataT) -> str:
    if isinstance(data, Gauge):
        return "gauge"
    kind = "histogram" if isinstance(data, Histogram) else "exp. histogram"
    if isinstance(data, Sum):
        kind = "counter" if data.is_monotonic else "up-down counter"
    return f"{kind}, delta" if data.aggregation_temporality == AggregationTemporality.DELTA else kind


def _value(point: DataPointT, style: Style) -> list[Text]:
    if isinstance(point, NumberDataPoint):
        return [Text.assemble((number_text(point.value), "bold"))]
    counts = point.bucket_counts if isinstance(point, HistogramDataPoint) else exponential_counts(point)
    lines = [[("count", number_text(point.count)), ("sum", _optional(point.sum))]]
    if point.count:
        # The distribution stands between the lowest and the highest value.
        spread = ("", sparkline(counts, unicode=style.unicode))
        lines.append([("min", _optional(point.min)), spread, ("max", _optional(point.max))])
    return [_labelled(line) for line in lines]


def _labelled(parts: list[tuple[str, str]]) -> Text:
    texts = [
        Text.assemble((label, "dim"), " ", (text, "bold")) if label else Text(text, style="blue")
        for label, text in parts
        if text
    ]
    return Text("  ").join(texts)


def _optional(value: float | None) -> str:
    return "" if value is None else number_text(value)
