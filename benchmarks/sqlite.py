"""What the SQLite exporter adds to SQLite: one export beside a bare executemany of the same rows.

Both sides write the same rows into the same tables and indexes, in one transaction a round, each into a file of its
own, with the same settings. First 10,000 points of one gauge, by the clock; then every shape of metrics that programs
have, collected from a real provider, in processor time, the slowest shape first. The rounds are interleaved; the
figures are medians.
"""

from __future__ import annotations

import gc
import sqlite3
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from _common import Row, arguments, at_least, report
from _shapes import SHAPES
from exporter_core_sqlite import SqliteConfig, SqliteExporter
from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 2.5
SECONDS = 60.0
TABLES = {"points": "id", **dict.fromkeys(("histograms", "exponential_histograms", "exemplars"), "point_id")}
"""Where the rows of points are -> the column that has the id of the point."""


def main() -> int:
    parser = arguments(__doc__, rounds=9)
    parser.add_argument("--points", type=at_least(1), default=10_000, help="points of one export (default: 10000)")
    parser.add_argument("--shape", action="append", choices=SHAPES, help="measure only this shape (repeatable)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exporter-core-benchmark-") as folder:
        rows = [] if options.shape else list(measure(Path(folder), options.points, options.rounds))
        shapes = options.shape or SHAPES
        by_name = [by_shape(Path(folder) / str(at), name, options.rounds) for at, name in enumerate(shapes)]
    rows += sorted(by_name, key=lambda row: row.figure or 0, reverse=True)
    return 0 if report("sqlite", rows, as_json=options.json) else 1


def by_shape(folder: Path, name: str, rounds: int) -> Row:
    """One export beside the rows that it wrote, and beside the SDK's collection of the same data."""
    folder.mkdir()
    program = SHAPES[name][0]()
    exporter = SqliteExporter(SqliteConfig(path=folder / "exporter.db"))
    program.measure()
    exporter.export(Context.with_timeout(SECONDS), program.collect())
    bare = bare_copy(folder / "exporter.db", folder / "bare.db")
    written = sqlite3.connect(folder / "exporter.db")
    taken: list[tuple[float, float, float]] = []
    points = 1
    for _ in range(rounds):
        program.measure()
        gc.collect()
        begun = time.thread_time()
        data = program.collect()
        collection = time.thread_time() - begun
        begun = time.thread_time()
        exporter.export(Context.with_timeout(SECONDS), data)
        exported = time.thread_time() - begun
        first = written.execute("SELECT max(first_point_id) FROM batches").fetchone()
        rows = {
            table: written.execute(f"SELECT * FROM {table} WHERE {key} >= ?", first).fetchall()  # noqa: S608 - our names
            for table, key in TABLES.items()
        }
        points = len(rows["points"])
        begun = time.thread_time()
        insert(bare, rows)
        taken.append((exported, time.thread_time() - begun, collection))
    written.close()
    bare.close()
    exporter.shutdown(Context.with_timeout(SECONDS))
    mine, theirs = (statistics.median(column) / points * 1e6 for column in list(zip(*taken, strict=True))[:2])
    ratio = statistics.median(own / peer for own, peer, _ in taken)
    part = statistics.median(own / collection for own, _, collection in taken)
    note = f"{part:.2f} of the SDK's collection"
    return Row(name, mine, "µs/point", "bare executemany of its rows", theirs, ratio, None, note=note)


def measure(folder: Path, points: int, rounds: int) -> Iterator[Row]:
    """One gauge of so many points."""
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
        inserted.append(timed(partial(insert, bare, {"points": rows})))
    same = "SELECT count(*), sum(value), max(id), count(DISTINCT series_id) FROM points"
    with sqlite3.connect(folder / "exporter.db") as other:
        if other.execute(same).fetchone() != bare.execute(same).fetchone():
            raise SystemExit("the two sides did not store the same")
    other.close()
    bare.close()
    exporter.shutdown(Context.with_timeout(SECONDS))
    bare_time, export_time = statistics.median(inserted), statistics.median(exported)
    what, peer = f"{points:,} points", "bare executemany of its rows"
    ratio = export_time / bare_time
    yield Row(f"one export of {what}", export_time, "ms", peer, bare_time, ratio, LIMIT)
    yield Row(f"first export of {what}, every series new", first, "ms")
    yield Row(f"points a second of one export of {what}", points / export_time * 1000, "/s")
    yield Row("calibration: a Python loop", statistics.median(calibration), "ms")


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


def insert(connection: sqlite3.Connection, rows: dict[str, list[tuple[object, ...]]]) -> None:
    """Insert the rows of each table."""
    connection.execute("BEGIN IMMEDIATE")
    for table, each in rows.items():
        if each:
            places = ", ".join("?" * len(each[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({places})", each)  # noqa: S608 - our names
    connection.execute("COMMIT")


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    before = time.perf_counter()
    call()
    return (time.perf_counter() - before) * 1000


if __name__ == "__main__":
    sys.exit(main())
