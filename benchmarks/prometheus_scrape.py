"""The pull exporter beside OpenTelemetry's own (opentelemetry-exporter-prometheus).

Each side serves the same metrics from a process of its own. A client scrapes them as Prometheus does, with its headers
and gzip, over a connection of its own each time; all values change between two scrapes. The figures are processor time
of the serving process, from the second scrape on: HTTP, collection, translation, encoding and compression.

A third process has the same metrics, and the SDK's collection alone, which both sides pay: "beyond the collection"
leaves it out, and no exporter can gain more than "the collection alone" does. Ratios are the median of the rounds' own
ratios, of rounds in which all three take part.

Memory is the most that two scrapes take above what was resident before, less what two collections alone take.
"""

# ruff: noqa: PLC0415 - the environment is entered before anything of it is imported

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from _common import Row, arguments, forget_peak_memory, peak_memory, report
from _peer import enter

if TYPE_CHECKING:
    from collections.abc import Callable

HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": "Prometheus/2.42.0",
    "X-Prometheus-Scrape-Timeout-Seconds": "100",
    "Connection": "close",
}
SIDES = ("ours", "official", "collection")
SHAPES: dict[str, tuple[int, float | None, float | None]] = {
    "10,000 counters": (2, 5.0, 8.0),
    "500 metrics x 3 series": (2, None, None),
    "a small service": (20, 4.0, None),
}
"""By shape: scrapes a round, and the factors to reach on the whole and beyond the collection."""
MANY = "100,000 counters"
MEMORY = 1.0


def main() -> int:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--serve", nargs=2, metavar=("SIDE", "SHAPE"), help="serve, for a process that scrapes")
    options = parser.parse_args()
    enter("opentelemetry.exporter.prometheus", "opentelemetry-exporter-prometheus")
    if options.serve:
        serve(*options.serve)
        return 0
    rows: list[Row] = []
    for shape, (scrapes, whole, beyond) in SHAPES.items():
        rows += compared(shape, scrapes, options.rounds, whole, beyond)
    rows.append(memory())
    return 0 if report("prometheus_scrape", rows, as_json=options.json) else 1


# --- the serving process ----------------------------------------------------------------------------------------------


def serve(side: str, shape: str) -> None:
    """Serve the metrics, and do what each line of standard input says; answer with processor time and memory."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.resources import Resource

    resource = Resource({"service.name": "shop", "service.instance.id": "shop-1", "host.name": "web-1"})
    reader, port = InMemoryMetricReader(), 0
    if side == "ours":
        from exporter_core import Pipeline

        config = {"meter_provider": {"readers": [{"pull": {"exporter": {"prometheus": {"port": 0}}}}]}}
        pipeline = Pipeline.from_config({"file_format": "1.1", **config})
        provider, place = pipeline.meter_provider, pipeline.exporters[0].destination
        assert place is not None  # noqa: S101 - for mypy
        port = int(place.location.split(":")[2].partition("/")[0])
    elif side == "official":
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from prometheus_client import REGISTRY, start_http_server

        for collector in list(REGISTRY._collector_to_names):  # those of the client library itself
            REGISTRY.unregister(collector)
        provider = MeterProvider([PrometheusMetricReader()], resource, shutdown_on_exit=False)
        port = start_http_server(0, "127.0.0.1")[0].server_port
    else:
        provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    measure = MEASURE[shape](provider.get_meter("shop", "1.0"))
    measure()
    print(port, flush=True)
    work = {"measure": measure, "collect": reader.get_metrics_data, "forget peak": forget_peak_memory}
    for line in sys.stdin:
        work.get(line.strip(), lambda: None)()
        print(time.process_time(), peak_memory(), flush=True)


def attributes(number: int) -> dict[str, str | int]:
    return {"http.route": f"/items/{number % 40}", "http.request.method": "GET", "number": number}


def counters(meter: Any, series: int = 10_000) -> Callable[[], None]:  # Any: the SDK's
    each = [attributes(number) for number in range(series)]
    instruments = [meter.create_counter(f"requests.{number}", "By", "Bytes.") for number in range(series // 1000)]

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


MEASURE: dict[str, Callable[[Any], Callable[[], None]]] = {
    "10,000 counters": counters,
    "500 metrics x 3 series": many_metrics,
    "a small service": service,
    MANY: lambda meter: counters(meter, 100_000),
}


# --- the scraping process ---------------------------------------------------------------------------------------------


class Side:
    """A serving process, or one that collects alone."""

    def __init__(self, side: str, shape: str) -> None:
        command = [sys.executable, __file__, "--serve", side, shape]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._port = int(self._read())

    def scrape(self) -> float:
        """Scrape once, or collect; the processor time that it took there."""
        before, _ = self._ask("measure")
        if not self._port:
            return self._ask("collect")[0] - before
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        connection.request("GET", "/metrics", headers=HEADERS)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200  # noqa: S101 - a benchmark of what works
        connection.close()
        return self._ask("nothing")[0] - before

    def memory(self) -> float:
        """Scrape twice; the megabytes that it took there, at most."""
        _, before = self._ask("forget peak")
        self.scrape()
        self.scrape()
        return (self._ask("nothing")[1] - before) / 1e6

    def end(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)

    def _ask(self, what: str) -> tuple[float, float]:
        assert self._process.stdin is not None  # noqa: S101 - for mypy
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        seconds, peak = self._read().split()
        return float(seconds), float(peak)

    def _read(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - for mypy
        return self._process.stdout.readline()


def compared(shape: str, scrapes: int, rounds: int, whole: float | None, beyond: float | None) -> list[Row]:
    sides = {name: Side(name, shape) for name in SIDES}
    taken: dict[str, list[float]] = {name: [] for name in SIDES}
    for turn in range(-1, rounds):  # the first fills caches
        for name in SIDES if turn % 2 else reversed(SIDES):
            spent = statistics.mean(sides[name].scrape() for _ in range(scrapes))
            if turn >= 0:
                taken[name].append(spent)
    for side in sides.values():
        side.end()
    ours, official, collection = (taken[name] for name in SIDES)
    what = f"a scrape of {shape}"

    def row(what: str, mine: list[float], theirs: list[float], floor: float | None, note: str = "") -> Row:
        ratio = statistics.median(one / two for one, two in zip(theirs, mine, strict=True))
        times = [statistics.median(values) * 1e3 for values in (mine, theirs)]
        return Row(what, times[0], "ms", "official", times[1], ratio, floor, note=note, at_least=True)

    less = [[one - two for one, two in zip(side, collection, strict=True)] for side in (ours, official)]
    return [
        row(what, ours, official, whole),
        row(f"{what}, beyond the collection", less[0], less[1], beyond),
        row(f"{what}, the collection alone", collection, official, None, "the most that any exporter can reach"),
    ]


def memory() -> Row:
    """Memory of both, each in a process of its own."""
    found: dict[str, float] = {}
    for name in SIDES:
        side = Side(name, MANY)
        found[name] = side.memory()
        side.end()
    ours, official = (found[name] - found["collection"] for name in SIDES[:2])
    what = f"peak memory of scrapes of {MANY}"
    return Row(what, ours, "MB", "official", official, ours / official, MEMORY, "of it")


if __name__ == "__main__":
    sys.exit(main())
