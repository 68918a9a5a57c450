"""The pull exporter beside OpenTelemetry's own (opentelemetry-exporter-prometheus).

Each side serves the same metrics from a process of its own. A client scrapes them as Prometheus does, with its headers
and gzip, over a connection of its own each time; all values change between two scrapes. The figures are processor time
of the serving process, from the second scrape on: HTTP, collection, translation, encoding and compression. The
collection is the SDK's own work, the same for both: "beyond the collection" leaves it out.

Ratios are the median of the rounds' own ratios, of rounds in which both are scraped.
"""

# ruff: noqa: PLC0415 - the environment is entered before anything of it is imported

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from _common import Row, arguments, report
from _peer import enter

if TYPE_CHECKING:
    from collections.abc import Callable

HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": "Prometheus/2.42.0",
    "X-Prometheus-Scrape-Timeout-Seconds": "10",
    "Connection": "close",
}
SIDES = ("ours", "official")
SHAPES = {"10,000 counters": (3, 8.0), "500 metrics x 3 series": (3, None), "a small service": (50, 4.0)}
"""By shape: scrapes a round, and the factor to reach: beyond the collection, for the small service on the whole."""


def main() -> int:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--serve", nargs=2, metavar=("SIDE", "SHAPE"), help="serve, for a process that scrapes")
    options = parser.parse_args()
    enter("opentelemetry.exporter.prometheus", "opentelemetry-exporter-prometheus")
    if options.serve:
        serve(*options.serve)
        return 0
    rows: list[Row] = []
    for shape, (scrapes, floor) in SHAPES.items():
        rows += compared(shape, scrapes, options.rounds, floor)
    return 0 if report("prometheus_scrape", rows, as_json=options.json) else 1


# --- the serving process ----------------------------------------------------------------------------------------------


def serve(side: str, shape: str) -> None:
    """Serve the metrics; answer each line of standard input with the seconds of processor time so far."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource

    resource = Resource({"service.name": "shop", "service.instance.id": "shop-1", "host.name": "web-1"})
    if side == "ours":
        from exporter_core import Pipeline

        config = {"meter_provider": {"readers": [{"pull": {"exporter": {"prometheus": {"port": 0}}}}]}}
        pipeline = Pipeline.from_config({"file_format": "1.1", **config})
        provider, place = pipeline.meter_provider, pipeline.exporters[0].destination
        assert place is not None  # noqa: S101 - for mypy
        port = int(place.location.split(":")[2].partition("/")[0])
    else:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from prometheus_client import REGISTRY, start_http_server

        for collector in list(REGISTRY._collector_to_names):  # those of the client library itself
            REGISTRY.unregister(collector)
        provider = MeterProvider([PrometheusMetricReader()], resource, shutdown_on_exit=False)
        port = start_http_server(0, "127.0.0.1")[0].server_port
    measure = MEASURE[shape](provider.get_meter("shop", "1.0"))
    measure()
    collected = collection_seconds(provider, resource, shape)
    print(port, collected, flush=True)
    for line in sys.stdin:
        if line == "measure\n":
            measure()
        print(time.process_time(), flush=True)


def collection_seconds(provider: Any, resource: Any, shape: str) -> float:  # Any: the SDK's
    """Processor time of one collection of such metrics by the SDK alone."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    del provider
    reader = InMemoryMetricReader()
    measure = MEASURE[shape](MeterProvider([reader], resource, shutdown_on_exit=False).get_meter("shop", "1.0"))
    taken = []
    for _ in range(7):
        measure()
        begun = time.thread_time()
        reader.get_metrics_data()
        taken.append(time.thread_time() - begun)
    return statistics.median(taken)


def attributes(number: int) -> dict[str, str | int]:
    return {"http.route": f"/items/{number % 40}", "http.request.method": "GET", "number": number}


def counters(meter: Any) -> Callable[[], None]:  # Any: the SDK's
    each = [attributes(number) for number in range(10_000)]
    instruments = [meter.create_counter(f"requests.{number}", "By", "Bytes.") for number in range(10)]

    def measure() -> None:
        for number, one in enumerate(each):
            instruments[number // 1000].add(1, one)

    return measure


def many_metrics(meter: Any) -> Callable[[], None]:
    instruments = [meter.create_counter(f"counter.{number}", "By", "A counter.") for number in range(500)]
    each = [attributes(number) for number in range(3)]

    def measure() -> None:
        for instrument in instruments:
            for one in each:
                instrument.add(1, one)

    return measure


def service(meter: Any) -> Callable[[], None]:
    """Requests by route and status, their durations, requests under way, and some of the runtime's own."""
    routes = [f"/shop/{name}" for name in ("cart", "items", "order", "pay", "user")]
    requests = meter.create_counter("http.server.requests", "{request}", "Requests.")
    durations = meter.create_histogram("http.server.request.duration", "s", "Durations of requests.")
    active = meter.create_up_down_counter("http.server.active_requests", "{request}", "Requests under way.")
    gauges = [meter.create_gauge(f"process.runtime.gauge.{number}", "By", "Of the runtime.") for number in range(10)]
    turn = [0]

    def measure() -> None:
        turn[0] += 1
        for route in routes:
            for status in (200, 404):
                each = {"http.route": route, "http.response.status_code": status, "http.request.method": "GET"}
                requests.add(1, each)
                durations.record(turn[0] % 7, each)
            active.add(1, {"http.route": route})
        for number, gauge in enumerate(gauges):
            gauge.set(number + turn[0] / 3)

    return measure


MEASURE = {"10,000 counters": counters, "500 metrics x 3 series": many_metrics, "a small service": service}


# --- the scraping process ---------------------------------------------------------------------------------------------


class Side:
    """A serving process."""

    def __init__(self, side: str, shape: str) -> None:
        command = [sys.executable, __file__, "--serve", side, shape]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port, collection = self._read().split()
        self._port = int(port)
        self.collection = float(collection)
        self.bytes = 0

    def scrape(self) -> float:
        """Scrape once; the processor time that it took there."""
        before = self._ask("measure")
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request("GET", "/metrics", headers=HEADERS)
        answer = connection.getresponse()
        self.bytes = len(answer.read())
        assert answer.status == 200  # noqa: S101 - a benchmark of what works
        connection.close()
        return self._ask("seconds") - before

    def end(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)

    def _ask(self, what: str) -> float:
        assert self._process.stdin is not None  # noqa: S101 - for mypy
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return float(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - for mypy
        return self._process.stdout.readline()


def compared(shape: str, scrapes: int, rounds: int, floor: float | None) -> list[Row]:
    sides = {name: Side(name, shape) for name in SIDES}
    taken: dict[str, list[float]] = {name: [] for name in SIDES}
    for turn in range(-1, rounds):  # the first fills caches
        for name in SIDES if turn % 2 else reversed(SIDES):
            spent = statistics.mean(sides[name].scrape() for _ in range(scrapes))
            if turn >= 0:
                taken[name].append(spent)
    collection = statistics.median(side.collection for side in sides.values())
    for side in sides.values():
        side.end()
    rows = []
    for what, less in (("", 0.0), (", beyond the collection", collection)):
        mine, theirs = ([value - less for value in taken[name]] for name in SIDES)
        ratio = statistics.median(one / two for one, two in zip(theirs, mine, strict=True))
        held = floor if bool(less) is (shape != "a small service") else None
        times = [statistics.median(values) * 1e3 for values in (mine, theirs)]
        rows.append(Row(f"a scrape of {shape}{what}", times[0], "ms", "official", times[1], ratio, held, at_least=True))
    return rows


if __name__ == "__main__":
    sys.exit(main())
