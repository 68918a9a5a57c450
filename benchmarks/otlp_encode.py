"""The OTLP encoders and decoders beside the official encoder, in every shape of metrics that programs have.

By shape: each round makes three collections of a real provider and encodes them with every encoder in turn, in an order
that rotates; a fresh encoder gets the three as its first. A row gives the official encoder's time as a multiple of
ours, the slowest shape first, and what part of the SDK's own collection of the same data encoding takes. Where all
series are new, a further row has their attributes alone, which no encoder can have kept.

By size: each round encodes one collection of 10,000 points with every encoder. Ratios are the median of the rounds'
own ratios; times are the processor's. Peak memory is what exporting takes above the data itself: in a fresh process
that has made two collections, the highest resident memory while one encoder encodes the one and then the other, less
what was resident before. The caches that an encoder keeps and the encoded bytes are in it; each request is let go of
before the next. Histograms have 16 buckets.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _common import Row, arguments, report
from _metrics import from_sdk, one_metric
from _plot import bars, plot
from _shapes import SHAPES, Program
from opentelemetry.exporter.otlp.json.common.metrics_encoder import encode_metrics as encode_json_metrics
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

from exporter_core.otlp import Encoder, JsonEncoder
from exporter_core.otlp.attributes import Contents, Written
from exporter_core.otlp.protobuf_values import attribute_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _metrics import Collect
    from opentelemetry.sdk.metrics.export import MetricsData

    Work = Callable[[MetricsData], object]

PLOT = Path(__file__).resolve().parent.parent / "docs" / "otlp-encode.svg"
SHAPES_PLOT = PLOT.with_name("otlp-encode-shapes.svg")
SERIES = 10_000
MANY = 100_000
SIZES = (1_000, 10_000, 100_000)
NEW = "all series new"
WRITER = attribute_writer(7)
OFFICIAL, OFFICIAL_AGAIN = "official", "official again"
# What each mode is to reach beside the official encoder, as a ratio of points a second.
NUMBERS = {"first export": 2.0, "default": 13.0, "trusted": 35.0}
HISTOGRAMS = {"default": 10.0, "trusted": 15.0}
JSON = {"default": 3.0}
# Shapes in which JSON is not held to the official encoder's time: of so few points that the surroundings count most.
JSON_FEW = {"one metric of one point", "one metric of 5 points", "5 metrics of one point", "10 metrics of one point"}
MEMORY = 0.25


def main() -> int:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--plot", type=Path, default=PLOT, help="where the plot goes (default: docs/otlp-encode.svg)")
    parser.add_argument("--shape", action="append", choices=SHAPES, help="measure only this shape (repeatable)")
    parser.add_argument("--peak", nargs=2, metavar=("MODE", "SERIES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(peak(options.peak[0], int(options.peak[1])))
        return 0
    shapes = {name: by_shape(name, options.rounds) for name in options.shape or SHAPES}
    order = sorted(shapes, key=lambda name: shapes[name][0].figure or 0)
    if options.shape:
        rows = [row for name in order for row in shapes[name]]
        return 0 if report("otlp_encode", rows, as_json=options.json) else 1
    bars(
        SHAPES_PLOT,
        "Encoding in the default mode, by shape",
        "times as fast as the official encoder",
        {name: shapes[name][0].figure or 0 for name in order},
    )
    rows = [row for name in order for row in shapes[name]]
    for title, source in (("from the SDK", from_sdk), ("of one metric", one_metric)):
        for points, histograms, floors in (("number points", False, NUMBERS), ("histograms", True, HISTOGRAMS)):
            collect = source(SERIES, histograms=histograms)
            what = f"{points} {title}"
            rows += compared(what, collect, official, protobuf(), rounds=options.rounds, floors=floors)
    for points, histograms in (("number points", False), ("histograms", True)):
        collect = from_sdk(SERIES, histograms=histograms)
        what = f"JSON, {points} from the SDK"
        rows += compared(what, collect, official_json, json_text(), rounds=options.rounds, floors=JSON)
    rows += sorted((json_by_shape(name, options.rounds) for name in SHAPES), key=lambda row: row.figure or 0)
    rows += memory(MANY)
    draw(options.plot)
    return 0 if report("otlp_encode", rows, as_json=options.json) else 1


def official(data: MetricsData) -> bytes:
    return encode_metrics(data).SerializeToString()


def official_json(data: MetricsData) -> str:
    return encode_json_metrics(data).to_json()


def protobuf() -> dict[str, Work]:
    """The modes of ours: a fresh encoder, and those that have encoded before."""
    return {
        "first export": lambda data: Encoder().encode(data),
        "default": Encoder().encode,
        "trusted": Encoder(trusted=True).encode,
    }


def json_text() -> dict[str, Work]:
    return {"default": JsonEncoder().encode}


def attributes(data: MetricsData) -> Written:
    """The encoded attributes of all points."""
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
    points: list[Any] = [
        point for scope in scopes for metric in scope.metrics for point in metric.data.data_points
    ]  # of any kind
    return WRITER.write(Contents.of([point.attributes for point in points]))


def seconds(work: Work, data: MetricsData) -> float:
    begun = time.thread_time()
    work(data)
    return time.thread_time() - begun


def by_shape(name: str, rounds: int) -> list[Row]:
    """The rows of one shape, that of the default mode first."""
    make, bounds = SHAPES[name]
    program = make()
    default, trusted = Encoder(), Encoder(trusted=True)
    taken: dict[str, list[float]] = {}
    for number in range(-1, rounds):  # the first round warms up
        for row in three_collections(program, default, trusted, number):
            for what, value in row.items():
                if number >= 0:
                    taken.setdefault(what, []).append(value)
    figures = {what: statistics.median(values) for what, values in taken.items()}

    def row(what: str, key: str, bound: float | None, *, at_least: bool) -> Row:
        figure = figures[key]
        unit = "x" if at_least else "of it"
        beside = "the official encoder" if at_least else "the SDK's collection"
        peer = figures["official" if at_least else "collection"] * 1e6
        mine = peer / figure if at_least else peer * figure
        return Row(f"{name}, {what}", mine, "µs/point", beside, peer, figure, bound, unit, at_least=at_least)

    rows = [
        row("default", "default", bounds.ratio, at_least=True),
        row("default", "default part", bounds.part, at_least=False),
        row("trusted", "trusted part", bounds.trusted, at_least=False),
        row("first export", "first", bounds.first, at_least=True),
        row("first three exports", "three", bounds.first, at_least=True),
    ]
    return [*rows, row("attributes alone", "attributes part", None, at_least=False)] if name == NEW else rows


def json_by_shape(name: str, rounds: int) -> Row:
    """JSON in one shape, second export on."""
    program = SHAPES[name][0]()
    sides: list[Work] = [official_json, JsonEncoder().encode]
    taken: list[tuple[float, float]] = []
    points = 1
    for number in range(-1, rounds):  # the first round warms up
        program.measure()
        data = program.collect()
        gc.collect()
        turn = sides if number % 2 else sides[::-1]
        spent = {work: seconds(work, data) for work in turn}
        if number >= 0:
            taken.append((spent[sides[0]], spent[sides[1]]))
            points = Encoder().encode(data).points
    theirs, mine = (statistics.median(column) / points * 1e6 for column in zip(*taken, strict=True))
    ratio = statistics.median(peer / own for peer, own in taken)
    floor = None if name in JSON_FEW else 1.0
    return Row(f"{name}, JSON", mine, "µs/point", "the official encoder", theirs, ratio, floor, at_least=True)


def three_collections(program: Program, default: Encoder, trusted: Encoder, turn: int) -> Iterator[dict[str, float]]:
    """Ratios of three collections, and seconds a point."""
    fresh = Encoder()
    ours = theirs = 0.0
    for number in range(3):
        program.measure()
        gc.collect()
        begun = time.thread_time()
        data = program.collect()
        collection = time.thread_time() - begun
        sides = [
            (OFFICIAL, official),
            ("default", default.encode),
            ("trusted", trusted.encode),
            ("fresh", fresh.encode),
            (OFFICIAL_AGAIN, official),
        ]
        shift = (turn + number) % len(sides)
        spent = {name: seconds(work, data) for name, work in sides[shift:] + sides[:shift]}
        peer = (spent[OFFICIAL] + spent[OFFICIAL_AGAIN]) / 2
        ours, theirs = ours + spent["fresh"], theirs + peer
        points = default.encode(data).points
        row = {
            "official": peer / points,
            "collection": collection / points,
            "default": peer / spent["default"],
            "default part": spent["default"] / collection,
            "trusted part": spent["trusted"] / collection,
            "attributes part": seconds(attributes, data) / collection,
        }
        if not number:
            row["first"] = peer / spent["fresh"]
        yield row
    yield {"three": theirs / ours}


def rounds_of(collect: Collect, sides: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """The seconds of each side in each round; a round before them warms up, so that caches are filled."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        data = collect()
        gc.collect()
        for name, work in sides.items():
            spent = seconds(work, data)
            if number:
                taken[name].append(spent)
    return taken


def compared(
    what: str, collect: Collect, peer: Work, modes: dict[str, Work], *, rounds: int, floors: dict[str, float]
) -> Iterator[Row]:
    """A row for each mode, and one that calibrates: the official encoder beside itself."""
    taken = rounds_of(collect, {OFFICIAL: peer, **modes, OFFICIAL_AGAIN: peer}, rounds)
    beside = [(one + other) / 2 for one, other in zip(taken[OFFICIAL], taken[OFFICIAL_AGAIN], strict=True)]
    rate = SERIES / statistics.median(beside)
    for name in (*modes, OFFICIAL_AGAIN):
        peers = taken[OFFICIAL] if name == OFFICIAL_AGAIN else beside
        yield Row(
            f"{what}, {name}",
            SERIES / statistics.median(taken[name]),
            "points/s",
            "the official encoder",
            rate,
            statistics.median(theirs / ours for theirs, ours in zip(peers, taken[name], strict=True)),
            floors.get(name),
            note="calibration: near 1" if name == OFFICIAL_AGAIN else "",
            at_least=True,
        )


def draw(path: Path, rounds: int = 5) -> None:
    """Points a second of every encoder, over the size of the batch."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for size in SIZES:
        sides: dict[str, Work] = {OFFICIAL: official, **protobuf()}
        sides |= {"official JSON": official_json, "JSON": JsonEncoder().encode}
        for name, spent in rounds_of(one_metric(size), sides, rounds).items():
            lines.setdefault(name, []).append((size, size / statistics.median(spent)))
    plot(path, "Encoding number points", "points in the batch", "points per second", lines)


def resident(what: str) -> int:
    """A line of this process's memory status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {what}")


def peak(mode: str, series: int) -> int:
    """Bytes that two exports add to this process's resident memory at their highest, above the data."""
    collect = one_metric(series)
    work: Work = official if mode == OFFICIAL else Encoder(trusted=mode == "trusted").encode
    work(one_metric(10)())  # what is loaded or built at first use
    first, second = collect(), collect()
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark: man 5 proc
    work(first)
    work(second)
    return resident("VmHWM") - before


def memory(series: int, runs: int = 3) -> Iterator[Row]:
    """Each encoder in a process of its own: protobuf's memory is not Python's."""
    megabytes = {}
    for mode in (OFFICIAL, "default", "trusted"):
        command = [sys.executable, __file__, "--peak", mode, str(series)]
        sizes = [int(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(runs)]
        megabytes[mode] = statistics.median(sizes) / 1e6
    beside = megabytes.pop(OFFICIAL)
    for mode, size in megabytes.items():
        what = f"peak memory of {series:,} number points, {mode}"
        yield Row(what, size, "MB", "the official encoder", beside, size / beside, MEMORY)


if __name__ == "__main__":
    sys.exit(main())
