"""The OTLP encoder beside the official one: points a second and peak memory, interleaved, medians.

Run: .venv/bin/python benchmarks/otlp_encode.py [ROUNDS]
"""

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core.otlp import Encoder

Collect = Callable[[], MetricsData]
START = 1_700_000_000_000_000_000
BOUNDS = (0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0)


def attributes_of(number: int) -> dict[str, str]:
    return {
        "http.method": ("GET", "POST", "PUT")[number % 3],
        "http.route": f"/api/items/{number}",
        "http.status_code": ("200", "404", "500")[number % 3],
        "host": f"host-{number % 20}",
    }


def from_sdk(series: int, *, histograms: bool = False) -> Collect:
    """Collections of a real provider: instruments of 1,000 series each."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("benchmark")
    for first in range(0, series, 1000):
        histogram, counter = meter.create_histogram(f"h{first}"), meter.create_counter(f"c{first}")
        record = histogram.record if histograms else counter.add
        for number in range(first, first + 1000):
            record(number, attributes_of(number))

    def collect() -> MetricsData:
        data = reader.get_metrics_data()
        if data is None:
            raise RuntimeError("the reader collected nothing")
        return data

    return collect


def generated(series: int, *, histograms: bool = False) -> Collect:
    """What the SDK would hand out for one metric: fresh points at every collection, the same attributes objects."""
    mappings = [attributes_of(number) for number in range(series)]
    resource, scope = Resource({"service.name": "benchmark"}), InstrumentationScope("benchmark")
    collections = 0

    def collect() -> MetricsData:
        nonlocal collections
        collections += 1
        now = START + collections * 1_000_000_000
        counts = (collections,) * 16
        data: Sum | Histogram
        if histograms:
            points = [
                HistogramDataPoint(m, START, now, 16 * collections, 1.5 * n, counts, BOUNDS, 0.5, n + 0.5)
                for n, m in enumerate(mappings)
            ]
            data = Histogram(points, AggregationTemporality.CUMULATIVE)
        else:
            numbers = [NumberDataPoint(m, START + n, now, n * collections) for n, m in enumerate(mappings)]
            data = Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True)
        metrics = [Metric("metric", "", "1", data)]
        return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])

    return collect


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def official(data: MetricsData) -> bytes:
    return encode_metrics(data).SerializeToString()


def compare(title: str, collect: Collect, series: int, rounds: int) -> None:
    """Each round: the official encoder, then ours in its modes, on the same collection; then medians."""
    checked, trusting = Encoder(), Encoder(trusted=True)
    for encoder in (checked, trusting):
        encoder.encode(collect())
    names = ("official", "first export", "default", "trusted", "official again")
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        data = collect()
        fresh = Encoder()
        work: tuple[Callable[[], object], ...] = (
            lambda data=data: official(data),
            lambda data=data, fresh=fresh: fresh.encode(data),
            lambda data=data: checked.encode(data),
            lambda data=data: trusting.encode(data),
            lambda data=data: official(data),
        )
        gc.collect()
        for name, run in zip(names, work, strict=True):
            taken[name].append(seconds(run))
    base = statistics.median(taken["official"])
    for name in names:
        median = statistics.median(taken[name])
        print(f"{title:<32} {name:<15} {series / median:>12,.0f} points/s {base / median:>7.2f}x")


def resident(what: str) -> int:
    """A line of this process's memory status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {what}")


def peak(mode: str, series: int) -> int:
    """Bytes that one encoding adds to this process's resident memory at its peak, above the data."""
    collect = generated(series)
    work = official if mode == "official" else Encoder(trusted=mode == "trusted").encode
    work(generated(10)())  # what is loaded or built at first use
    data = collect()
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark: man 5 proc
    work(data)
    return resident("VmHWM") - before


def memory(series: int) -> None:
    """Each encoder in a process of its own: protobuf's memory is not Python's."""
    added = {}
    for mode in ("official", "default", "trusted"):
        command = [sys.executable, __file__, "--peak", mode, str(series)]
        runs = [int(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(3)]
        added[mode] = statistics.median(runs)
    for mode, size in added.items():
        print(
            f"peak memory, {series:,} points, {mode}: {size / 1e6:.0f} MB ({size / added['official']:.2f} of official)"
        )


def main() -> None:
    if sys.argv[1:2] == ["--peak"]:
        print(peak(sys.argv[2], int(sys.argv[3])))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    print(f"Python {sys.version.split()[0]}, {rounds} rounds; 'official again' calibrates: it should be near 1.00x")
    series = 10_000
    compare("number points, SDK", from_sdk(series), series, rounds)
    compare("number points, one metric", generated(series), series, rounds)
    compare("16-bucket histograms, SDK", from_sdk(series, histograms=True), series, rounds)
    compare("16-bucket histograms, one metric", generated(series, histograms=True), series, rounds)
    memory(100_000)


if __name__ == "__main__":
    main()
