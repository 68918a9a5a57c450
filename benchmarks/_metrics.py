"""Metrics as an application has them, for the benchmarks of exporters and encoders: collected again and again.

Every function answers a function that collects: each call gives fresh points with the same attributes objects, as the
SDK does.
"""

from __future__ import annotations

from collections.abc import Callable

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

Collect = Callable[[], MetricsData]
START = 1_700_000_000_000_000_000
BOUNDS = (0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0)
PER_INSTRUMENT = 1000


def attributes_of(number: int) -> dict[str, str]:
    return {
        "http.method": ("GET", "POST", "PUT")[number % 3],
        "http.route": f"/api/items/{number}",
        "http.status_code": ("200", "404", "500")[number % 3],
        "host": f"host-{number % 20}",
    }


def from_sdk(series: int, *, histograms: bool = False) -> Collect:
    """Collections of a real provider: instruments of up to 1,000 series each."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("benchmark")
    for first in range(0, series, PER_INSTRUMENT):
        histogram, counter = meter.create_histogram(f"h{first}"), meter.create_counter(f"c{first}")
        record = histogram.record if histograms else counter.add
        for number in range(first, min(series, first + PER_INSTRUMENT)):
            record(number, attributes_of(number))

    def collect() -> MetricsData:
        data = reader.get_metrics_data()
        if data is None:
            raise RuntimeError("the reader collected nothing")
        return data

    return collect


def one_metric(series: int, *, histograms: bool = False) -> Collect:
    """One metric of all series: a counter, or a histogram of 16 buckets."""
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
