"""The remote-write exporter beside OpenTelemetry's own (opentelemetry-exporter-prometheus-remote-write).

Each round collects from a real provider of the SDK and lets both make the request of it, compressed, in an order that
rotates: translation, encoding and snappy, without the network. Ratios are the median of the rounds' own ratios; times
are the processor's. `default` compares attributes with those of the last export; `from the reader` is given what the
reader of exporter-core collects, whose attributes nobody changes.

Peak memory is what exporting takes above the data itself: in a fresh process that has made two collections, the highest
resident memory while one exporter makes the requests of one and then the other, less what was resident before.

The official exporter needs a protobuf below 7: both run in an environment of their own, which the first call makes.
"""

# ruff: noqa: PLC0415 - the environment is entered before anything of it is imported

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from _common import Row, arguments, forget_peak_memory, peak_memory, report
from _peer import enter

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricsData

    Work = Callable[[MetricsData], object]

PACKAGE = "opentelemetry-exporter-prometheus-remote-write"
MANY = 100_000
MEMORY = 0.25


def main() -> int:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--peak", nargs=2, metavar=("SIDE", "SERIES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    enter("opentelemetry.exporter.prometheus_remote_write", PACKAGE)
    if options.peak:
        print(peak(options.peak[0], int(options.peak[1])))
        return 0
    rows: list[Row] = []
    for what, make, floor in (
        ("counters, 10,000 series", counters, 10.0),
        ("16-bucket histograms, 500 series", histograms, 50.0),
        ("500 metrics x 3 series", many_metrics, 8.0),
        ("half of 10,000 series new", churn, 2.0),
    ):
        rows += compared(what, make(), options.rounds, floor)
    rows += compared("exponential histograms, 500 series", exponential_histograms(), options.rounds, None)
    rows += memory()
    return 0 if report("prometheus_remote_write", rows, as_json=options.json) else 1


# --- what is measured -----------------------------------------------------------------------------------------------


class Program:
    """Metrics of one provider, measured anew before each collection."""

    def __init__(self, *views: Any) -> None:  # Any: the SDK's
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.resources import Resource

        self._reader = InMemoryMetricReader()
        resource = Resource({"service.name": "shop", "service.instance.id": "shop-1", "host.name": "web-1"})
        self.provider = MeterProvider([self._reader], resource, views=views, shutdown_on_exit=False)
        self.meter = self.provider.get_meter("shop", "1.0")
        self.measure: Callable[[], None] = lambda: None

    def collect(self) -> MetricsData:
        """Measure, then collect."""
        self.measure()
        data = self._reader.get_metrics_data()
        assert data is not None  # noqa: S101 - for mypy
        return data


def attributes(number: int) -> dict[str, str | int]:
    return {"http.route": f"/items/{number % 40}", "http.request.method": "GET", "number": number}


def counters(series: int = 10_000) -> Program:
    """Counters of 1,000 series each: the SDK's limit is 2,000."""
    program = Program()
    each = [attributes(number) for number in range(series)]
    instruments = [
        program.meter.create_counter(f"requests.{number}", "By", "Bytes.") for number in range(series // 1000)
    ]

    def measure() -> None:
        for number, one in enumerate(each):
            instruments[number // 1000].add(1, one)

    program.measure = measure
    return program


def churn(series: int = 10_000) -> Program:
    """Half the series are new at each collection, for some 30 collections: the SDK keeps those it has ever seen."""
    program = Program()
    from opentelemetry.metrics import Observation

    at = [0] * (series // 100)

    def observer(place: int) -> Callable[[object], list[Any]]:
        def observe(_options: object) -> list[Any]:
            at[place] += 50
            return [Observation(number, attributes(number)) for number in range(at[place], at[place] + 100)]

        return observe

    for place in range(series // 100):
        program.meter.create_observable_gauge(f"connections.{place}", [observer(place)], "By", "Connections.")
    return program


def many_metrics() -> Program:
    program = Program()
    instruments = [program.meter.create_counter(f"counter.{number}", "By", "A counter.") for number in range(500)]
    each = [attributes(number) for number in range(3)]

    def measure() -> None:
        for instrument in instruments:
            for one in each:
                instrument.add(1, one)

    program.measure = measure
    return program


def histograms(*views: Any) -> Program:  # Any: the SDK's
    from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

    bounds = [float(2**power) for power in range(15)]
    views = views or (View(instrument_name="*", aggregation=ExplicitBucketHistogramAggregation(bounds)),)
    program = Program(*views)
    instrument = program.meter.create_histogram("duration", "ms", "Durations.")
    each = [attributes(number) for number in range(500)]

    def measure() -> None:
        for number, one in enumerate(each):
            instrument.record(number, one)

    program.measure = measure
    return program


def exponential_histograms() -> Program:
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

    return histograms(View(instrument_name="*", aggregation=ExponentialBucketHistogramAggregation()))


# --- both sides -----------------------------------------------------------------------------------------------------


def ours(protocol: str = "1.0", *, marked: bool = False) -> Work:
    """The exporter, with a client that takes requests instead of sending them."""
    from exporter_core_prometheus import RemoteWriteConfig, RemoteWriteExporter

    from exporter_core import Context
    from exporter_core.net import HttpAnswer
    from exporter_core.otlp import mark_trusted

    exporter = RemoteWriteExporter(RemoteWriteConfig(protocol=protocol, timeout=0))  # type: ignore[arg-type] # one of them
    stored = {f"x-prometheus-remote-write-{what}-written": "1000000" for what in ("samples", "histograms", "exemplars")}
    exporter.client.post = lambda *_, **__: HttpAnswer(204, "", stored, b"")  # type: ignore[method-assign]
    context = Context.background()

    def work(data: MetricsData) -> None:
        exporter.export(context, mark_trusted(data) if marked else data)

    return work


def peer() -> Work:
    from opentelemetry.exporter.prometheus_remote_write import PrometheusRemoteWriteMetricsExporter

    exporter = PrometheusRemoteWriteMetricsExporter("http://127.0.0.1:9/")
    exporter._send_message = lambda *_: True

    return exporter.export


def seconds(work: Work, data: MetricsData) -> float:
    begun = time.thread_time()
    work(data)
    return time.thread_time() - begun


def compared(what: str, program: Program, rounds: int, floor: float | None) -> list[Row]:
    """A row for each mode of ours."""
    sides = {
        "default": ours(),
        "from the reader": ours(marked=True),
        "2.0, from the reader": ours("2.0", marked=True),
        "official": peer(),
    }
    if floor is None:
        del sides["official"]
    taken: dict[str, list[float]] = {name: [] for name in sides}
    collection: list[float] = []
    for turn in range(-2, rounds):  # the first two fill caches
        begun = time.thread_time()
        data = program.collect()
        spent = time.thread_time() - begun
        gc.collect()
        names = list(sides)
        order = names[turn % len(names) :] + names[: turn % len(names)]
        if "official" in order:  # last: the others find data that nobody has looked at, or all do
            order.append("official")
        by_name: dict[str, list[float]] = {}
        for name in order:
            by_name.setdefault(name, []).append(seconds(sides[name], data))
        if turn >= 0:
            collection.append(spent)
            for name, values in by_name.items():
                taken[name].append(statistics.mean(values))
    rows = []
    for name in sides:
        if name == "official":
            continue
        mine = statistics.median(taken[name]) * 1e3
        if floor is None:
            rows.append(Row(f"{what}, {name}", mine, "ms", note="the official one sends none"))
            continue
        ratio = statistics.median(one / two for one, two in zip(taken["official"], taken[name], strict=True))
        held = floor if name == "from the reader" else None
        theirs = statistics.median(taken["official"]) * 1e3
        rows.append(Row(f"{what}, {name}", mine, "ms", "official", theirs, ratio, held, at_least=True))
    return rows


# --- memory ---------------------------------------------------------------------------------------------------------


def memory() -> list[Row]:
    """Peak memory of both, each in a process of its own."""
    found = {side: peak_of(side) for side in ("ours", "official")}
    part = found["ours"] / found["official"]
    what = f"peak memory of {MANY:,} counters"
    return [Row(what, found["ours"], "MB", "official", found["official"], part, MEMORY, "of it")]


def peak_of(side: str) -> float:
    command = [sys.executable, __file__, "--peak", side, str(MANY)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def peak(side: str, series: int) -> float:
    """Megabytes that exporting takes above the data."""
    program = counters(series)
    data = [program.collect(), program.collect()]
    work = ours(marked=True) if side == "ours" else peer()
    forget_peak_memory()
    before = peak_memory()
    for one in data:
        work(one)
    return (peak_memory() - before) / 1e6


if __name__ == "__main__":
    sys.exit(main())
