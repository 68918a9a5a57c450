"""The OTLP exporters beside the official ones of the same version: points a second and CPU, from data to answer.

Each exports to a sink in another process that reads and answers and does nothing else. Ours are used as applications
use them, by name and behind the guard; their data is compared at every export, as always. Rounds are interleaved, and
figures are medians; the first export of each, which fills caches and connects, is not counted. CPU is that of the
client's process.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import grpc
from _common import Row, arguments, report
from _metrics import one_metric
from _otlp_sink import sink
from _plot import plot
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as OfficialGrpc
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as OfficialHttp

from exporter_core import Context, load_exporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _metrics import Collect
    from opentelemetry.sdk.metrics.export import MetricsData

DOCS = Path(__file__).parents[1] / "docs"
SECONDS = 60.0
PLOTTED = (1_000, 10_000, 100_000)
HTTP_COMPRESSION = {"none": Compression.NoCompression, "gzip": Compression.Gzip}
GRPC_COMPRESSION = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}


class Cost(NamedTuple):
    """Medians of one exporter's exports."""

    seconds: float
    cpu: float


class Pair(NamedTuple):
    """The two sides of a comparison."""

    official: Cost
    ours: Cost


def main() -> int:
    parser = arguments(__doc__, rounds=9)
    parser.add_argument("--plots", type=Path, default=DOCS, help="the folder that the plots go to (default: docs)")
    options = parser.parse_args()
    rows: list[Row] = []
    for kind in ("http", "grpc"):
        lines: dict[str, list[tuple[float, float]]] = {}
        with sink(kind) as port:
            for compression in ("none", "gzip"):
                sizes = (100, *PLOTTED) if kind == "http" and compression == "none" else PLOTTED
                for points in sizes:
                    pair = compare(kind, port, compression, points, options.rounds)
                    rows += judged(kind, compression, points, pair)
                    if points in PLOTTED:
                        for name, cost in pair._asdict().items():
                            side = "exporter-core" if name == "ours" else name
                            label = side if compression == "none" else f"{side}, {compression}"
                            lines.setdefault(label, []).append((points, points / cost.seconds))
        title = f"Exporting number points by OTLP over {'HTTP' if kind == 'http' else 'gRPC'}"
        plot(options.plots / f"otlp-{kind}.svg", title, "points in the batch", "points per second", lines)
    rows.append(Row("calibration: a Python loop", calibration() * 1000, "ms"))
    return 0 if report("otlp_export", rows, as_json=options.json, rounds=options.rounds) else 1


def judged(kind: str, compression: str, points: int, pair: Pair) -> Iterator[Row]:
    """The rows of one comparison."""
    what = f"{kind}, {compression}, {points:,} points"
    faster, cheaper = pair.official.seconds / pair.ours.seconds, pair.official.cpu / pair.ours.cpu
    floors = {100: (2.0, 3.0), 10_000: (10.0, 10.0)}.get(points, (None, None))
    for name, measured, theirs, ratio, floor in (
        ("one export", pair.ours.seconds, pair.official.seconds, faster, floors[0]),
        ("its CPU", pair.ours.cpu, pair.official.cpu, cheaper, floors[1]),
    ):
        yield Row(
            f"{what}: {name}",
            measured * 1000,
            "ms",
            peer="official",
            peer_value=theirs * 1000,
            figure=ratio,
            floor=floor,
            at_least=True,
        )


def compare(kind: str, port: int, compression: str, points: int, rounds: int) -> Pair:
    """Both exporters, in turn, on the same collections."""
    path = "/v1/metrics" if kind == "http" else ""
    endpoint = f"http://127.0.0.1:{port}{path}"
    collect = one_metric(points)
    with load_exporter(f"otlp_{kind}", {"endpoint": endpoint, "compression": compression}) as exporter:
        official = official_exporter(kind, endpoint, compression)

        def ours(data: MetricsData) -> None:
            exporter.export(Context.with_timeout(SECONDS), data)

        pair = interleaved(partial(official_export, official), ours, collect, rounds if points > 100 else 20 * rounds)
        official.shutdown()
    return pair


def official_exporter(kind: str, endpoint: str, compression: str) -> OfficialHttp | OfficialGrpc:
    if kind == "http":
        return OfficialHttp(endpoint=endpoint, compression=HTTP_COMPRESSION[compression], timeout=SECONDS)
    return OfficialGrpc(
        endpoint=endpoint, insecure=True, compression=GRPC_COMPRESSION[compression], timeout=int(SECONDS)
    )


def official_export(official: OfficialHttp | OfficialGrpc, data: MetricsData) -> None:
    if official.export(data).name != "SUCCESS":
        raise SystemExit("the official exporter failed")


def interleaved(
    official: Callable[[MetricsData], None], ours: Callable[[MetricsData], None], collect: Collect, rounds: int
) -> Pair:
    costs: dict[str, list[Cost]] = {"official": [], "ours": []}
    for turn in range(rounds + 1):
        data = collect()
        for name, export in (("official", official), ("ours", ours)):
            cpu, begun = time.process_time(), time.perf_counter()
            export(data)
            cost = Cost(time.perf_counter() - begun, time.process_time() - cpu)
            if turn:
                costs[name].append(cost)
    return Pair(*(Cost(median(c.seconds for c in each), median(c.cpu for c in each)) for each in costs.values()))


def calibration() -> float:
    """Seconds of work that no exporter has a part in."""
    begun = time.perf_counter()
    sum(n / 7 for n in range(100_000))
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
