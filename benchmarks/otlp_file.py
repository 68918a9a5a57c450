"""otlp_file beside what OpenTelemetry's own file exporter does: lines and points a second, interleaved, medians.

That exporter (opentelemetry-exporter-otlp-json-file 0.66b1) cannot be installed beside version 1.45.2 of the SDK's
packages, so its steps are repeated here: the official JSON encoder, ``json.dumps``, ``write``, ``flush``. There is no
lock among them.

Run: .venv/bin/python benchmarks/otlp_file.py [ROUNDS]
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from exporter_core_otlp import OtlpFileConfig, OtlpFileExporter
from opentelemetry.exporter.otlp.json.common.metrics_encoder import encode_metrics
from otlp_encode import generated

from exporter_core import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricsData


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


def measured(export: Callable[[MetricsData], object], batches: list[MetricsData]) -> tuple[float, float]:
    """Seconds by the wall and of processor time for all batches."""
    gc.collect()
    wall, processor = time.perf_counter(), time.process_time()
    for data in batches:
        export(data)
    return time.perf_counter() - wall, time.process_time() - processor


def compare(directory: Path, points: int, lines: int, rounds: int) -> None:
    """Each round: so many lines of so many points by each exporter, all of the same data."""
    collect = generated(points)
    exporters = {
        "official": official(directory / f"official-{points}"),
        "otlp_file": ours(directory / f"ours-{points}"),
        "otlp_file, rotating": ours(directory / f"rotated-{points}", max_file_bytes=10_000_000, max_old_files=2),
    }
    for export in exporters.values():
        export(collect())
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in exporters}
    for _ in range(rounds):
        batches = [collect() for _ in range(lines)]
        for name, export in exporters.items():
            taken[name].append(measured(export, batches))
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in taken.items()}
    for name, (wall, processor) in medians.items():
        base, base_processor = medians["official"]
        print(
            f"{points:>6,} points a line  {name:<20} {lines / wall:>9,.0f} lines/s {points * lines / wall:>12,.0f} "
            f"points/s {base / wall:>6.1f}x, processor time {base_processor / processor:>5.1f}x"
        )


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    print(f"Python {sys.version.split()[0]}, {rounds} rounds")
    with tempfile.TemporaryDirectory() as directory:
        for points, lines in ((1, 500), (100, 50), (10_000, 2)):
            compare(Path(directory), points, lines, rounds)


if __name__ == "__main__":
    main()
