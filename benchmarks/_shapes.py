"""Metrics in the shapes that programs have, each collected from a real provider of the SDK, again and again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from http import HTTPStatus
from socket import AddressFamily
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, MetricsData
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
ROUTES = [f"/api/v1/items/{number}" for number in range(40)]
RESOURCE = {"service.name": "shop", "service.version": "1.2.3", "host.name": "web-1"}


class Program:
    """A program with metrics: one provider, and what it measures between two collections."""

    def __init__(
        self,
        *,
        delta: bool = False,
        views: tuple[View, ...] = (),
        exemplars: bool = False,
        resource: dict[str, str] | None = None,
    ) -> None:
        temporality = dict.fromkeys((Counter, Histogram), AggregationTemporality.DELTA) if delta else {}
        self._reader = InMemoryMetricReader(preferred_temporality=temporality)  # type: ignore[arg-type] # invariant
        more = {"exemplar_filter": AlwaysOnExemplarFilter()} if exemplars else {}
        self.provider = MeterProvider(
            [self._reader], views=views, shutdown_on_exit=False, resource=Resource(resource or RESOURCE), **more
        )
        self.measure: Callable[[], None] = lambda: None
        self.random = random.Random(1)  # noqa: S311 - the same measurements every time

    def meter(self, name: str = "shop", attributes: dict[str, str] | None = None) -> Meter:
        return self.provider.get_meter(name, "1.0", attributes=attributes)

    def collect(self) -> MetricsData:
        """A collection; the measurements were made before."""
        return self._reader.get_metrics_data() or MetricsData([])


@dataclass(frozen=True)
class Bounds:
    """The least ratio to the official encoder in the default mode, and the greatest part of the SDK's collection."""

    ratio: float
    part: float
    first: float = 1.0
    trusted: float = 0.25


def http(boundaries: list[float] | None) -> Program:
    """HTTP server metrics, by method, route and status."""
    program = Program()
    meter = program.meter("opentelemetry.instrumentation.fastapi")
    more = {} if boundaries is None else {"explicit_bucket_boundaries_advisory": boundaries}
    duration = meter.create_histogram("http.server.request.duration", "s", "Duration of HTTP server requests.", **more)
    size = meter.create_histogram("http.server.response.body.size", "By", "Size of HTTP server response bodies.")
    active = meter.create_up_down_counter("http.server.active_requests", "{request}", "Number of active requests.")

    def measure() -> None:
        for route in ROUTES:
            for method in ("GET", "POST", "PUT"):
                for status in (200, 404, 500):
                    attributes = {
                        "http.request.method": method,
                        "http.route": route,
                        "http.response.status_code": status,
                        "url.scheme": "https",
                        "network.protocol.version": "1.1",
                    }
                    duration.record(program.random.random(), attributes)
                    size.record(program.random.randrange(10_000), attributes)
                active.add(program.random.choice((1, -1)), {"http.request.method": method, "url.scheme": "https"})

    program.measure = measure
    return program


def observable_gauges() -> Program:
    """Gauges of an operating system: callbacks that make new attributes at every collection."""
    program = Program()
    meter = program.meter("opentelemetry.instrumentation.system_metrics")

    def observe(_options: CallbackOptions) -> list[Observation]:
        return [
            Observation(program.random.random(), {"device": f"sd{number}", "state": state})
            for number in range(100)
            for state in ("read", "write")
        ]

    for number in range(5):
        meter.create_observable_gauge(f"system.disk.gauge{number}", [observe], "By", "A gauge of disks.")
    return program


def histograms(view: View | None = None, *, delta: bool = False, series: int = 100) -> Program:
    """Ten histograms."""
    program = Program(views=(view,) if view else (), delta=delta)
    meter = program.meter()
    instruments = [meter.create_histogram(f"histogram{number}", "s", "A histogram.") for number in range(10)]

    def measure() -> None:
        for instrument in instruments:
            for number in range(series):
                instrument.record(number / 100, {"http.route": ROUTES[number % 40], "number": str(number)})

    program.measure = measure
    return program


def many(metrics: int, series: int, scopes: int, *, floats: bool = False, attributes: bool = False) -> Program:
    """Many metrics of few series, in several scopes."""
    program = Program(resource={f"resource.key{number}": "value" for number in range(25)} if attributes else None)
    instruments = []
    for number in range(metrics):
        scope = f"scope{number % scopes}"
        meter = program.meter(scope, {"library": scope, "language": "python"} if attributes else None)
        create = meter.create_counter if number % 2 else meter.create_up_down_counter
        instruments.append(create(f"metric{number}", "1", f"Metric number {number}."))

    def measure() -> None:
        for instrument in instruments:
            for number in range(series):
                instrument.add(0.5 if floats and number % 2 else 1, {"kind": "x", "number": str(number)})

    program.measure = measure
    return program


def small_service() -> Program:
    """A small service: 75 metrics of 4 series."""
    program = Program()
    instruments = []
    for number in range(75):
        meter = program.meter(f"library{number % 5}")
        if number % 5:
            instruments.append(meter.create_counter(f"metric{number}", "1", "A counter.").add)
        else:
            instruments.append(meter.create_histogram(f"metric{number}", "s", "A histogram.").record)

    def measure() -> None:
        for instrument in instruments:
            for method in ("GET", "HEAD", "POST", "PUT"):
                instrument(1, {"method": method, "status": 200})

    program.measure = measure
    return program


def exponential(*, often: bool) -> Program:
    """Exponential histograms, whose buckets count fewer than 128, or more."""
    program = Program(views=(View(instrument_name="*", aggregation=ExponentialBucketHistogramAggregation()),))
    meter = program.meter()
    instruments = [meter.create_histogram(f"histogram{number}", "s", "A histogram.") for number in range(5)]
    values = [program.random.lognormvariate(0, 1) for _ in range(30)]
    times = 1

    def measure() -> None:
        nonlocal times
        for instrument in instruments:
            for route in ROUTES:
                for _ in range(times):
                    for value in values:
                        instrument.record(value, {"http.route": route})
        times = 1

    program.measure = measure
    if often:
        times = 130
        program.measure()
    return program


def sampled(*, sums: bool = False) -> Program:
    """A histogram, or a counter, with exemplars of spans."""
    program = Program(exemplars=True)
    meter = program.meter()
    record = meter.create_counter("c").add if sums else meter.create_histogram("h", "s", "A histogram.").record
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("benchmark")

    def measure() -> None:
        for number in range(300):
            with tracer.start_as_current_span("span"):
                record(program.random.randrange(5000), {"number": str(number), "kind": "x"})

    program.measure = measure
    return program


def seldom_sampled() -> Program:
    """A histogram and a counter, of whose measurements one in thirty is made in a sampled span."""
    program = Program()
    meter = program.meter()
    record, count = meter.create_histogram("h", "s", "A histogram.").record, meter.create_counter("c").add
    tracer = TracerProvider(shutdown_on_exit=False, sampler=TraceIdRatioBased(1 / 30)).get_tracer("benchmark")

    def measure() -> None:
        for number in range(200):
            with tracer.start_as_current_span("span"):
                attributes = {"number": str(number), "kind": "x"}
                record(program.random.randrange(5000), attributes)
                count(1, attributes)

    program.measure = measure
    return program


def filtered() -> Program:
    """A histogram and a counter whose view drops attributes, which exemplars then have."""
    program = Program(views=(View(instrument_name="*", attribute_keys={"route"}),), exemplars=True)
    meter = program.meter()
    record, count = meter.create_histogram("h", "s", "A histogram.").record, meter.create_counter("c").add

    def measure() -> None:
        for number in range(100):
            user = str(program.random.randrange(1_000_000))
            attributes = {"route": str(number), "user": user, "client.address": "10.0.0.1"}
            record(program.random.randrange(5000), attributes)
            count(1, attributes)

    program.measure = measure
    return program


def enumerations() -> Program:
    """Counters whose attributes are members of enumerations, as HTTP statuses and those of sockets are."""
    program = Program()
    meter = program.meter()
    instruments = [meter.create_counter(f"counter{number}") for number in range(3)]

    def measure() -> None:
        for instrument in instruments:
            for number in range(60):
                for status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
                    attributes = {"peer": f"peer{number}", "family": AddressFamily.AF_INET, "status": status}
                    instrument.add(1, attributes)

    program.measure = measure
    return program


def one_more_series() -> Program:
    """A hundred counters, one of which has a new series at each collection."""
    program = Program()
    meter = program.meter()
    instruments = [meter.create_counter(f"counter{number}") for number in range(100)]
    collections = 0

    def measure() -> None:
        nonlocal collections
        collections += 1
        instruments[40].add(1, {"number": f"new {collections}"})
        for instrument in instruments:
            for number in range(5):
                instrument.add(1, {"number": str(number)})

    program.measure = measure
    return program


def in_any_order() -> Program:
    """Counters and a histogram with delta temporality, whose series come in the order of their first requests."""
    program = Program(delta=True)
    meter = program.meter()
    instruments = [meter.create_counter(f"counter{number}").add for number in range(3)]
    instruments.append(meter.create_histogram("histogram", "s", "A histogram.").record)

    def measure() -> None:
        for instrument in instruments:
            for number in program.random.sample(range(200), 200):
                instrument(1, {"route": f"/items/{number}", "method": "GET", "status": 200})

    program.measure = measure
    return program


def without_attributes(fours: int) -> Program:
    """So many times four metrics, one of every kind, without attributes."""
    program = Program()
    meter = program.meter()
    instruments: list[Callable[[int], None]] = []
    for number in range(fours):
        instruments += (
            meter.create_counter(f"counter{number}", "1", "A counter.").add,
            meter.create_up_down_counter(f"level{number}", "1", "A level.").add,
            meter.create_histogram(f"histogram{number}", "s", "A histogram.").record,
            meter.create_gauge(f"gauge{number}", "1", "A gauge.").set,
        )

    def measure() -> None:
        for instrument in instruments:
            instrument(program.random.randrange(100))

    program.measure = measure
    return program


def counters(*, new: float = 0.0, delta: bool = True, series: int = 200, more: int = 1) -> Program:
    """Counters, a part of whose series are new at each collection; with delta temporality all mappings are."""
    program = Program(delta=delta)
    meter = program.meter()
    instruments = [meter.create_counter(f"counter{number}", "1", "A counter.") for number in range(5)]
    keys = [f"key{place}" for place in range(more)]  # programs name them by literals
    collections = 0

    def measure() -> None:
        nonlocal collections
        collections += 1
        for instrument in instruments:
            for number in range(series):
                user = f"{collections}-{number}" if number < series * new else str(number)
                attributes = {"user": user, **{key: f"value {key}" for key in keys}}
                instrument.add(1, attributes)

    program.measure = measure
    return program


def listed_attributes() -> Program:
    """A counter whose attributes hold lists, which can change in place."""
    program = Program()
    counter = program.meter().create_counter("c")

    def measure() -> None:
        for number in range(300):
            counter.add(1, {"number": str(number), "groups": ["a", "b", "c"]})

    program.measure = measure
    return program


def growing() -> Program:
    """Metrics that are added one by one."""
    program = Program()
    meter = program.meter()
    instruments = [meter.create_counter(f"counter{number}") for number in range(300)]

    def measure() -> None:
        instruments.append(meter.create_counter(f"counter{len(instruments)}"))
        for instrument in instruments:
            instrument.add(1, {"kind": "x"})

    program.measure = measure
    return program


def unicode_texts() -> Program:
    """Attributes in other scripts."""
    program = Program()
    counter = program.meter().create_counter("purchases", "{purchase}", "Anzahl der Käufe")

    def measure() -> None:
        for number in range(500):
            counter.add(1, {"größe": f"größer als {number}", "город": "Київ", "都市": "東京"})

    program.measure = measure
    return program


LISTED = View(instrument_name="*", aggregation=ExplicitBucketHistogramAggregation(boundaries=list(SECONDS)))
SHAPES: dict[str, tuple[Callable[[], Program], Bounds]] = {
    "HTTP server metrics": (lambda: http(None), Bounds(10, 0.3)),
    "observable gauges": (observable_gauges, Bounds(10, 0.3)),
    "delta counters": (counters, Bounds(10, 0.3)),
    "HTTP, boundaries from a list": (lambda: http(list(SECONDS)), Bounds(8, 0.4)),
    "histograms, boundaries from a view": (lambda: histograms(LISTED), Bounds(8, 0.4)),
    "delta histograms, boundaries from a view": (lambda: histograms(LISTED, delta=True), Bounds(4, 0.5)),
    "500 metrics of 3 series, 20 scopes": (lambda: many(500, 3, 20), Bounds(6, 0.3)),
    "2,000 metrics of one point": (lambda: many(2000, 1, 10), Bounds(5, 0.2)),
    "a small service, 75 metrics of 4": (small_service, Bounds(7, 0.2)),
    "exponential histograms, counts below 128": (lambda: exponential(often=False), Bounds(4, 0.3)),
    "exponential histograms, counts above": (lambda: exponential(often=True), Bounds(2, 0.3)),
    "histogram with exemplars": (sampled, Bounds(4, 0.5)),
    "sum with exemplars": (lambda: sampled(sums=True), Bounds(4, 0.5)),
    "exemplars of few points": (seldom_sampled, Bounds(4, 0.5)),
    "exemplars with attributes": (filtered, Bounds(3, 0.5, trusted=0.5)),
    "all series new": (lambda: counters(new=1.0), Bounds(2, 1)),
    "half of the series new": (lambda: counters(new=0.5), Bounds(2.5, 1)),
    "one series new": (one_more_series, Bounds(3.5, 0.5)),
    "delta series in any order": (in_any_order, Bounds(2.5, 1, trusted=0.5)),
    "members of enumerations": (enumerations, Bounds(6, 0.4)),
    "60 metrics without attributes": (lambda: without_attributes(15), Bounds(1.5, 0.5)),
    "200 metrics without attributes": (lambda: without_attributes(50), Bounds(1.5, 0.5)),
    "integers and floats mixed": (lambda: many(50, 20, 5, floats=True), Bounds(6, 0.3)),
    "200 scopes with attributes": (lambda: many(400, 2, 200, attributes=True), Bounds(5, 0.3)),
    "20 attributes a series": (lambda: counters(delta=False, series=100, more=19), Bounds(8, 0.6)),
    "lists in attributes": (listed_attributes, Bounds(2, 1)),
    "metrics added one by one": (growing, Bounds(3, 0.5)),
    "other scripts": (unicode_texts, Bounds(8, 0.3)),
    "one metric of one point": (lambda: many(1, 1, 1), Bounds(1, 2, 1.0, 1)),
    "one metric of 5 points": (lambda: many(1, 5, 1), Bounds(1.5, 1, 1.0, 0.5)),
    "5 metrics of one point": (lambda: many(5, 1, 1), Bounds(1.25, 1, 1.0, 0.5)),
    "10 metrics of one point": (lambda: many(10, 1, 1), Bounds(1.25, 1, 1.0, 0.5)),
    "20 metrics of 2 points": (lambda: many(20, 2, 5), Bounds(3, 0.5, 1.0)),
}
