"""Print what each server delivers to each kind of backend; end with 1 unless every row holds. See ``make services``.

A row holds if all that was recorded was delivered or reported, and the workers ended in the time that they have.

Beside it stands what the SDK's own reader with the official exporter delivers of the same measurements, and in how many
seconds the server ends with it.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import rig

from exporter_core.conformance.sinks import OtlpGrpcSink, OtlpHttpSink

BACKENDS = {"healthy": "ok", "hung": "hang", "refusing": "refuse"}
INTERVALS = (60_000, 200)  # milliseconds
SINKS = {"otlp_http": OtlpHttpSink, "otlp_grpc": OtlpGrpcSink}
SOME = ("gunicorn sync --preload", "gunicorn gevent --preload", "celery", "process-fork", "fork")
"""Services that stand for the others with exporters other than otlp_http."""
AT_ONCE = 3


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    service: str
    exporter: str = "otlp_http"
    backend: str = "healthy"
    interval: int = INTERVALS[0]
    readers: int = 1

    def run(self, *, stock: bool = False) -> rig.Outcome:
        """Run the service."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if self.exporter in SINKS:
                with SINKS[self.exporter]() as sink:
                    sink.script(then=BACKENDS[self.backend])
                    outcome = self._run(folder, {"endpoint": sink.endpoint}, stock=stock)
                    points = sink.points()
                outcome.delivered = [str(point.attributes["number"]) for point in points]
            elif self.exporter == "sqlite":
                outcome = self._run(folder, {"path": str(folder / "metrics.db")}, stock=stock)
                outcome.delivered = rig.points_in_sqlite(folder / "metrics.db")
            else:
                path = folder / "metrics.jsonl"
                outcome = self._run(folder, {"output_stream": path.as_uri()}, stock=stock)
                outcome.delivered = rig.points_in_lines(path)
        return outcome

    def _run(self, folder: Path, options: dict[str, object], *, stock: bool) -> rig.Outcome:
        # Delta data: what a child inherits or an export loses cannot hide behind the next cumulative point.
        options = {**options, "temporality_preference": "delta"}
        setup = rig.Setup(folder, self.exporter, options, interval=self.interval, readers=self.readers, stock=stock)
        return rig.run(self.service, setup)

    @property
    def has_peer(self) -> bool:
        """True if there is an official exporter of the kind."""
        return self.exporter in SINKS and self.interval == INTERVALS[0]


def rows(services: list[str]) -> list[Row]:
    """Return the rows of these services, of all by default."""
    found = [Row("exit", backend="hung", readers=readers) for readers in (1, 2)]
    for service in rig.SERVICES:
        found += [Row(service, "otlp_http", *way) for way in itertools.product(BACKENDS, INTERVALS)]
    for service in SOME:
        found += [Row(service, "otlp_grpc", backend) for backend in BACKENDS]
        found += [Row(service, exporter) for exporter in ("otlp_file/development", "sqlite")]
    return [row for row in found if not services or row.service in services]


def say(line: str) -> None:
    """Print a row at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def measured(row: Row) -> tuple[str, bool]:
    """Return the row as it is printed, and True if it holds."""
    name = row.service + (f", {row.readers} readers" if row.readers > 1 else "")
    exporter = row.exporter.partition("/")[0]
    title = f"{name:40} {exporter:10} {row.backend:9} {row.interval:8}"
    try:
        ours = row.run()
    except AssertionError as error:
        return f"{title} {str(error).splitlines()[0]}", False
    recorded = len(ours.recorded) * row.readers
    holds = ours.holds if row.readers == 1 else recorded == len(ours.delivered) + ours.reported
    verdict = "" if holds else "  LOST"
    if row.service not in rig.PROGRAMS and ours.exit_seconds > rig.GRACE:  # a program's time is that of all it does
        holds, verdict = False, f"{verdict}  LATE"
    line = f"{title} {recorded:9} {len(ours.delivered):9} {ours.reported:8} {ours.exit_seconds:6.1f}"
    if row.has_peer:
        line += f" {'':4} {peer(row)}"
    return f"{line}{verdict}", holds


def peer(row: Row) -> str:
    """Return the columns of the SDK's own reader."""
    with contextlib.suppress(AssertionError):
        stock = row.run(stock=True)
        return f"{len(stock.recorded) * row.readers:9} {len(stock.delivered):9} {stock.exit_seconds:6.1f}"
    return "did not start, or did not end"


def main(services: list[str]) -> int:
    """Run the services with these names, all of them by default; return the exit status."""
    say(f"{'':69} {'':9} exporter-core {'':20}  the SDK's own reader")
    head = (
        f"{'server':40} {'exporter':10} {'backend':9} {'interval':>8} {'recorded':>9} {'delivered':>9} {'reported':>8}"
    )
    say(f"{head} {'exit s':>6} {'':4} {'recorded':>9} {'delivered':>9} {'exit s':>6}")
    failed = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for line, holds in pool.map(measured, rows(services)):
            say(line)
            failed += not holds
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
