"""What the SQLite exporter adds to SQLite: one export of 10,000 points beside a bare executemany of the same rows.

Both sides write the same rows into the same tables and index, in one transaction a round, each into a file of its own,
with the same settings. The rounds are interleaved; the figures are medians.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from _common import arguments, at_least
from exporter_core_sqlite import SqliteConfig, SqliteExporter
from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core import Context

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 2.5
SECONDS = 60.0


def main() -> int:
    parser = arguments(__doc__, rounds=9)
    parser.add_argument("--points", type=at_least(1), default=10_000, help="points of one export (default: 10000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exporter-core-benchmark-") as folder:
        rows = measure(Path(folder), options.points, options.rounds)
    ratio = rows["one export"] / rows["bare executemany of its rows"]
    for name, milliseconds in rows.items():
        print(f"{name:<38} {milliseconds:9.2f} ms {options.points / milliseconds:9.0f} thousand points/s")
    verdict = "reached" if ratio <= LIMIT else "MISSED"
    print(f"{'one export / bare executemany':<38} {ratio:9.2f} x   at most {LIMIT} x: {verdict}")
    if options.json:
        figures = {name: round(value, 3) for name, value in rows.items()}
        report = {"benchmark": "sqlite", "points": options.points, "milliseconds": figures, "ratio": round(ratio, 3)}
        print(json.dumps({**report, "limit": LIMIT, "reached": ratio <= LIMIT}))
    return 0 if ratio <= LIMIT else 1


def measure(folder: Path, points: int, rounds: int) -> dict[str, float]:
    """Milliseconds of each side."""
    exporter = SqliteExporter(SqliteConfig(path=folder / "exporter.db"))
    first = timed(lambda: exporter.export(Context.with_timeout(SECONDS), metrics(points)))
    bare = bare_copy(folder / "exporter.db", folder / "bare.db")
    calibration: list[float] = []
    exported: list[float] = []
    inserted: list[float] = []
    for turn in range(1, rounds + 1):
        data = metrics(points)
        rows = [(turn * points + number, *row) for number, row in enumerate(rows_of(data), 1)]
        calibration.append(timed(lambda: sum(n / 7 for n in range(points))))
        exported.append(timed(partial(exporter.export, Context.with_timeout(SECONDS), data)))
        inserted.append(timed(partial(insert, bare, rows)))
    same = "SELECT count(*), sum(value), max(id), count(DISTINCT series_id) FROM points"
    with sqlite3.connect(folder / "exporter.db") as other:
        if other.execute(same).fetchone() != bare.execute(same).fetchone():
            raise SystemExit("the two sides did not store the same")
    other.close()
    bare.close()
    exporter.shutdown(Context.with_timeout(SECONDS))
    return {
        "calibration: a Python loop": statistics.median(calibration),
        "bare executemany of its rows": statistics.median(inserted),
        "one export": statistics.median(exported),
        "first export, every series new": first,
    }


def metrics(points: int) -> MetricsData:
    """A gauge of as many series, each with a point."""
    at = time.time_ns()
    gauge = Gauge([NumberDataPoint({"host": f"h{n % 100}", "n": n}, at, at, n / 7) for n in range(points)])
    scope = ScopeMetrics(InstrumentationScope("benchmark"), [Metric("metric", "", "", gauge)], "")
    return MetricsData([ResourceMetrics(Resource({"service.name": "benchmark"}), [scope], "")])


def rows_of(data: MetricsData) -> list[tuple[object, ...]]:
    """The rows of the points without their ids: the series were stored in this order."""
    points = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    return [
        (series, point.time_unix_nano, point.start_time_unix_nano, point.value)
        for series, point in enumerate(points, 1)
        if isinstance(point, NumberDataPoint)
    ]


def bare_copy(source: Path, target: Path) -> sqlite3.Connection:
    """A connection to a copy of the database, with the exporter's settings."""
    connection = sqlite3.connect(target, isolation_level=None)
    other = sqlite3.connect(source)
    other.backup(connection)
    other.close()
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def insert(connection: sqlite3.Connection, rows: list[tuple[object, ...]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?)", rows)
    connection.execute("COMMIT")


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    before = time.perf_counter()
    call()
    return (time.perf_counter() - before) * 1000


if __name__ == "__main__":
    sys.exit(main())
