"""The console exporter beside the SDK's, in every shape of metrics that programs have; both write to the null device.

Each round collects from a real provider and lets both export it, in an order that rotates. A row gives the SDK's
`ConsoleMetricExporter`'s time as a multiple of ours, the slowest shape first; times are the processor's. It writes one
indented document a batch, which no table and no grep reads; JSON Lines and the table are our two formats.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from _common import Row, arguments, report
from _shapes import SHAPES
from exporter_core_console import ConsoleConfig, ConsoleExporter
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

from exporter_core import Context
from exporter_core.otlp import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import MetricsData

FLOORS: dict[Literal["json", "table"], float | None] = {"json": 1.0, "table": None}
"""Format -> the least ratio, but for a single point: the thread that lets an export end in time costs as much."""


def main() -> int:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--shape", action="append", choices=SHAPES, help="measure only this shape (repeatable)")
    options = parser.parse_args()
    with Path(os.devnull).open("w", encoding="utf-8") as null, redirect_stdout(null):
        rows = [row for name in options.shape or SHAPES for row in by_shape(name, options.rounds)]
    rows.sort(key=lambda row: row.figure or 0)
    return 0 if report("console", rows, as_json=options.json) else 1


def by_shape(name: str, rounds: int) -> Iterator[Row]:
    """A row for each format."""
    program = SHAPES[name][0]()
    works: dict[str, Callable[[MetricsData], object]] = {"SDK": ConsoleMetricExporter(out=sys.stdout).export}
    for form in FLOORS:
        works[form] = partial(ConsoleExporter(ConsoleConfig(format=form)).export, Context.background())
    taken: dict[str, list[float]] = {each: [] for each in works}
    points = 1
    for number in range(-1, rounds):  # the first round warms up
        program.measure()
        data = program.collect()
        points = Encoder().encode(data).points
        order = list(works)
        shift = number % len(order)
        for each in order[shift:] + order[:shift]:
            gc.collect()
            begun = time.thread_time()
            works[each](data)
            if number >= 0:
                taken[each].append((time.thread_time() - begun) / points)
    theirs = statistics.median(taken["SDK"])
    for form, floor in FLOORS.items():
        ratio = statistics.median(peer / own for peer, own in zip(taken["SDK"], taken[form], strict=True))
        mine = statistics.median(taken[form]) * 1e6
        bound = floor if points > 1 else None
        yield Row(f"{name}, {form}", mine, "µs/point", "the SDK's", theirs * 1e6, ratio, bound, at_least=True)


if __name__ == "__main__":
    sys.exit(main())
