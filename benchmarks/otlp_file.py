"""otlp_file beside what OpenTelemetry's own file exporter does: lines and points a second, and CPU.

That exporter (opentelemetry-exporter-otlp-json-file 0.66b1) cannot be installed beside version 1.45.2 of the SDK's
packages, so its steps are repeated here: the official JSON encoder, ``json.dumps``, ``write``, ``flush``. There is no
lock among them. Both write to files on the same disk; rounds are interleaved, figures are medians; the first line of
each, which fills caches, is not counted.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from _common import Row, arguments, report
from _metrics import one_metric
from exporter_core_otlp import OtlpFileConfig, OtlpFileExporter
from opentelemetry.exporter.otlp.json.common.metrics_encoder import encode_metrics

from exporter_core import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import MetricsData

LINES = {1: 500, 100: 50, 10_000: 2}
"""Points in a line -> lines in a round."""
FLOOR = 1.0


class Cost(NamedTuple):
    """Of one round."""

    seconds: float
    cpu: float


def main() -> int:
    options = arguments(__doc__, rounds=9).parse_args()
    with tempfile.TemporaryDirectory() as directory:
        rows = [row for points in LINES for row in compare(Path(directory), points, options.rounds)]
    return 0 if report("otlp_file", rows, as_json=options.json, rounds=options.rounds) else 1


def compare(directory: Path, points: int, rounds: int) -> Iterator[Row]:
    """The rows for lines of so many points: by each exporter, in turn, of the same data."""
    collect = one_metric(points)
    exporters = {
        "official": official(directory / f"official-{points}"),
        "otlp_file": ours(directory / f"ours-{points}"),
        "otlp_file, rotating": ours(directory / f"rotated-{points}", max_file_bytes=10_000_000, max_old_files=2),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in exporters}
    for export in exporters.values():
        export(collect())
    for _ in range(rounds):
        batches = [collect() for _ in range(LINES[points])]
        for name, export in exporters.items():
            costs[name].append(cost(export, batches))
    medians = {name: Cost(*(median(column) for column in zip(*each, strict=True))) for name, each in costs.items()}
    base, lines = medians.pop("official"), LINES[points]
    # A line takes a lock and three looks at the file, which keep it whole among processes; one point is not worth more.
    floor = None if points == 1 else FLOOR
    for name, found in medians.items():
        what = f"{name}, {points:,} points a line"
        yield Row(
            f"{what}: points a second",
            points * lines / found.seconds,
            "/s",
            peer="official",
            peer_value=points * lines / base.seconds,
            figure=base.seconds / found.seconds,
            floor=floor,
            at_least=True,
            note=f"{lines / found.seconds:,.0f} lines a second",
        )
        yield Row(
            f"{what}: CPU of a line",
            found.cpu / lines * 1000,
            "ms",
            peer="official",
            peer_value=base.cpu / lines * 1000,
            figure=base.cpu / found.cpu,
            floor=floor,
            at_least=True,
        )


def ours(path: Path, **options: object) -> Callable[[MetricsData], object]:
    exporter = OtlpFileExporter(OtlpFileConfig(output_stream=path.as_uri(), **options))
    context = Context.background()
    return lambda data: exporter.export(context, data)


def official(path: Path) -> Callable[[MetricsData], object]:
    file = path.open("a", encoding="utf-8")

    def export(data: MetricsData) -> None:
        file.write(json.dumps(encode_metrics(data).to_dict(), separators=(",", ":")) + "\n")
        file.flush()

    return export


def cost(export: Callable[[MetricsData], object], batches: list[MetricsData]) -> Cost:
    gc.collect()
    cpu, begun = time.process_time(), time.perf_counter()
    for data in batches:
        export(data)
    return Cost(time.perf_counter() - begun, time.process_time() - cpu)


if __name__ == "__main__":
    sys.exit(main())
