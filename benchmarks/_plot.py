"""Plots of figures over a logarithmic axis as SVG that reads on a light and on a dark page."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 76, 190, 48, 56
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by colour-blind people, too
STYLE = """
    text { font: 12px system-ui, sans-serif; fill: #24292f; }
    .title { font-size: 15px; font-weight: 600; }
    .grid { stroke: #d0d7de; stroke-width: 1; }
    .line { fill: none; stroke-width: 2; }
    .page { fill: #ffffff; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .grid { stroke: #30363d; }
      .page { fill: #0d1117; }
    }
"""

Point = tuple[float, float]


def plot(path: Path, title: str, x_label: str, y_label: str, lines: Mapping[str, Sequence[Point]]) -> None:
    """Draw lines through their points, both axes logarithmic; the legend stands where each line ends.

    Args:
        path: the SVG file.
        title: what is shown.
        x_label: what is along the horizontal axis, with its unit.
        y_label: what is along the vertical axis, with its unit.
        lines: name -> points, whose numbers are above 0; at most six lines.
    """
    x_low, x_high = _decades(x for points in lines.values() for x, _ in points)
    y_low, y_high = _decades(y for points in lines.values() for _, y in points)

    def x_at(value: float) -> float:
        return LEFT + (log10(value) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def y_at(value: float) -> float:
        return HEIGHT - BOTTOM - (log10(value) - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="26">{escape(title)}</text>',
        f'<text x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 14}" text-anchor="middle">{escape(x_label)}</text>',
        (
            f'<g transform="translate(18 {(TOP + bottom) / 2:.0f}) rotate(-90)">'
            f'<text text-anchor="middle">{escape(y_label)}</text></g>'
        ),
    ]
    for power in range(x_low, x_high + 1):
        x = x_at(10.0**power)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_short(10.0**power)}</text>')
    for power in range(y_low, y_high + 1):
        y = y_at(10.0**power)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(10.0**power)}</text>')
    labels: list[float] = []
    colours = dict(zip(lines, COLOURS, strict=False))
    by_height = sorted(lines.items(), key=lambda line: y_at(line[1][-1][1]))
    for _, points in by_height:
        beside = y_at(points[-1][1]) + 4
        labels.append(max(beside, labels[-1] + 16) if labels else beside)
    below = max(0.0, labels[-1] - bottom)  # where lines end low, their names move up together
    for (name, points), place in zip(by_height, labels, strict=True):
        colour, label = colours[name], place - below
        at = [(x_at(x), y_at(y)) for x, y in points]
        drawn = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
        parts.append(f'<path class="line" stroke="{colour}" d="M{drawn}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in at]
        parts.append(f'<text x="{right + 22}" y="{label:.1f}">{escape(name)}</text>')
        parts.append(f'<path class="line" stroke="{colour}" d="M{right + 6} {label - 4:.1f}h12"/>')
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def bars(path: Path, title: str, x_label: str, values: Mapping[str, float]) -> None:
    """Draw a bar for each value, from the top in the order given, over a logarithmic axis that begins at 1 or below.

    Args:
        path: the SVG file.
        title: what is shown.
        x_label: what is along the horizontal axis, with its unit.
        values: name -> value above 0.
    """
    left, step = 300, 22
    bottom = TOP + step * len(values)
    height = bottom + BOTTOM
    low, high = _decades((1.0, *values.values()))

    def x_at(value: float) -> float:
        return left + (log10(value) - low) / (high - low) * (WIDTH - left - 60)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="24" y="26">{escape(title)}</text>',
        f'<text x="{(left + WIDTH - 60) / 2:.0f}" y="{height - 14}" text-anchor="middle">{escape(x_label)}</text>',
    ]
    for power in range(low, high + 1):
        x = x_at(10.0**power)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_short(10.0**power)}</text>')
    for number, (name, value) in enumerate(values.items()):
        y, begin, end = TOP + step * number, x_at(min(1.0, value)), x_at(max(1.0, value))
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect x="{begin:.1f}" y="{y + 4}" width="{end - begin:.1f}" height="{step - 8}" fill="{COLOURS[0]}"/>'
        )
        parts.append(f'<text x="{end + 6:.1f}" y="{y + 15}">{value:.1f}</text>')
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def _decades(values: Iterable[float]) -> tuple[int, int]:
    numbers = list(values)
    low, high = floor(log10(min(numbers))), ceil(log10(max(numbers)))
    return low, max(high, low + 1)


def _short(value: float) -> str:
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
