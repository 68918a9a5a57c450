"""Metrics written to a real Prometheus by ours and by OpenTelemetry's own remote-write exporter, read back by PromQL.

Both export the same two collections of the SDK, each to a Prometheus of its own; the official one a metric at a time,
as it would lose the whole batch with the one that Prometheus refuses. A row is a rule of OpenTelemetry's "Prometheus
and OpenMetrics Compatibility": 1 if a query shows that it is kept, whatever else is wrong. Ours has to keep all.
"""

# ruff: noqa: PLC0415 - the environment is entered before anything of it is imported

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from _common import Row, arguments, report
from _peer import ROOT, enter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import MetricsData

PACKAGE = "opentelemetry-exporter-prometheus-remote-write"
INSTANCE = 'job="shop/cart", instance="cart-1"'
REQUESTS = '{__name__=~"requests(_total)?"'
BUCKET = '{__name__=~"duration(_bucket)?"'
RULES = {
    "a monotonic sum is a counter, ending in _total": ("requests_total", 3.0),
    "a unit is a suffix in words": ("sum(received_bytes_total)", 10.0),
    "a unit of two parts is a suffix in words": ("speed_meters_per_second", 4.0),
    "a gauge of the unit 1 is a ratio": ("used_ratio", 0.5),
    "a sum that is not monotonic is a gauge": ("open_connections", -2.0),
    "buckets of a histogram end in _bucket": ("count(duration_bucket)", 4.0),
    "buckets of a histogram are cumulative": (f'{BUCKET}, le=~"1|1.0"}}', 3.0),
    "the bucket of the bound 0 has its le": (f'count({BUCKET}, le=~"0|0.0"}})', 1.0),
    "the last bucket has all values": (f'{BUCKET}, le="+Inf"}}', 4.0),
    "a histogram has its count": ("duration_count", 4.0),
    "a histogram has its sum": ("duration_sum", 10.5),
    "histogram_quantile is right": (f"histogram_quantile(0.5, {BUCKET}}})", 0.5),
    "an exponential histogram is a native one": ("histogram_count(latency)", 2.0),
    "job and instance are those of the service": (f"count({REQUESTS}, {INSTANCE}}})", 1.0),
    "the resource is target_info": (f'target_info{{{INSTANCE}, host_name="web-1"}}', 1.0),
    "target_info joins": (f"{REQUESTS}}} * on (job, instance) group_left (host_name) target_info", 3.0),
    "the scope is a label": (f'{REQUESTS}, otel_scope_name="scope", otel_scope_version="2"}}', 3.0),
    "attributes that become one label are joined": ('{__name__=~"joined(_total)?", a_b="1;2"}', 1.0),
    "a boolean is true or false": ('{__name__=~"flagged(_total)?", flag="true"}', 1.0),
    "an attribute that begins with a digit is a label": ('{__name__=~"digit(_total)?", key_1st="x"}', 1.0),
    "exemplars are stored": (None, 1.0),
    "a series that is not reported any more has ended": ("count(gone) or vector(0)", 0.0),
}


def main() -> int:
    options = arguments(__doc__, rounds=5, of="unused").parse_args()
    enter("opentelemetry.exporter.prometheus_remote_write", PACKAGE)
    logging.disable()  # what Prometheus refuses is a row
    first, second = collections()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ports = [stack.enter_context(prometheus(Path(folder) / side)) for side in ("ours", "official")]
        for export in (ours(ports[0]), official(ports[1])):
            export(first)
            export(second)
        kept = [[holds(port, *rule) for rule in RULES.values()] for port in ports]
    rows = [
        Row(rule, float(mine), "kept", "official", float(theirs), float(mine), 1.0, "", at_least=True)
        for rule, mine, theirs in zip(RULES, *kept, strict=True)
    ]
    return 0 if report("prometheus_correctness", rows, as_json=options.json) else 1


def collections() -> list[MetricsData]:
    """Two collections of one provider, a second apart; a gauge has gone at the second."""
    from opentelemetry import trace
    from opentelemetry.metrics import Observation
    from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.metrics.view import (
        ExplicitBucketHistogramAggregation,
        ExponentialBucketHistogramAggregation,
        View,
    )
    from opentelemetry.sdk.resources import Resource

    reader = InMemoryMetricReader()
    service = {"service.namespace": "shop", "service.name": "cart", "service.instance.id": "cart-1"}
    views = [
        View(instrument_name="duration", aggregation=ExplicitBucketHistogramAggregation([0.0, 1.0, 5.0])),
        View(instrument_name="latency", aggregation=ExponentialBucketHistogramAggregation()),
    ]
    provider = MeterProvider(
        [reader],
        Resource({**service, "host.name": "web-1"}),
        views=views,
        shutdown_on_exit=False,
        exemplar_filter=AlwaysOnExemplarFilter(),
    )
    meter = provider.get_meter("scope", "2")
    span = trace.NonRecordingSpan(trace.SpanContext(7, 8, is_remote=False, trace_flags=trace.TraceFlags(1)))
    present = [Observation(1)]
    meter.create_observable_gauge("gone", [lambda _: list(present)])
    with trace.use_span(span):
        meter.create_counter("requests").add(3)
    meter.create_counter("received", "By").add(10)
    meter.create_gauge("speed", "m/s").set(4)
    meter.create_gauge("used", "1").set(0.5)
    meter.create_up_down_counter("open.connections").add(-2)
    duration, latency = meter.create_histogram("duration"), meter.create_histogram("latency")
    for value in (0.0, 0.5, 1.0, 9.0):
        duration.record(value)
    for value in (1, 2):
        latency.record(value)
    meter.create_counter("joined").add(1, {"a.b": 1, "a_b": 2})
    meter.create_counter("flagged").add(1, {"flag": True})
    meter.create_counter("digit").add(1, {"1st": "x"})
    found = [reader.get_metrics_data()]
    present.clear()
    time.sleep(1.1)  # a timestamp of its own
    found.append(reader.get_metrics_data())
    return [data for data in found if data is not None]


def ours(port: int) -> Callable[[MetricsData], object]:
    from exporter_core_prometheus import RemoteWriteConfig, RemoteWriteExporter

    from exporter_core import Context

    exporter = RemoteWriteExporter(RemoteWriteConfig(endpoint=f"http://127.0.0.1:{port}/api/v1/write"))
    return lambda data: exporter.export(Context.with_timeout(30), data)


def official(port: int) -> Callable[[MetricsData], object]:
    from opentelemetry.exporter.prometheus_remote_write import PrometheusRemoteWriteMetricsExporter

    exporter = PrometheusRemoteWriteMetricsExporter(f"http://127.0.0.1:{port}/api/v1/write")

    def export(data: MetricsData) -> None:
        """Export each metric by itself: of a batch with one that Prometheus refuses, nothing would be stored."""
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    own = replace(resource, scope_metrics=[replace(scope, metrics=[metric])])
                    exporter.export(replace(data, resource_metrics=[own]))

    return export


@contextlib.contextmanager
def prometheus(folder: Path) -> Iterator[int]:
    """A Prometheus that takes remote write; its port."""
    found = subprocess.run([sys.executable, ROOT / ".ci" / "servers.py"], capture_output=True, text=True, check=True)
    program = dict(line.split(" ", 1) for line in found.stdout.splitlines())["prometheus"]
    folder.mkdir()
    config = folder / "prometheus.yml"
    config.write_text("storage: {exemplars: {max_exemplars: 1000}}\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    features = "--enable-feature=exemplar-storage,native-histograms"
    flags = [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}", features]
    command = [program, f"--config.file={config}", "--web.enable-remote-write-receiver", "--log.level=error", *flags]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not is_ready(port):
                time.sleep(0.05)
            yield port
        finally:
            server.kill()


def is_ready(port: int) -> bool:
    try:
        return get(port, "/-/ready")[0] == 200
    except OSError:
        return False


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def api(port: int, path: str, **parameters: object) -> Any:  # Any: what the API answers
    return json.loads(get(port, f"/api/v1/{path}?{urlencode(parameters)}")[1]).get("data")


def holds(port: int, query: str | None, expected: float) -> bool:
    """True if the query has this one value; without a query, if there are exemplars of a trace."""
    if query is None:
        now = time.time()
        found = api(port, "query_exemplars", query='{__name__=~".+"}', start=now - 600, end=now + 600)
        return any(one["labels"].get("trace_id") == f"{7:032x}" for series in found for one in series["exemplars"])
    found = (api(port, "query", query=query) or {}).get("result", [])
    return len(found) == 1 and abs(float(found[0]["value"][1]) - expected) < 1e-9


if __name__ == "__main__":
    for name in ("http_proxy", "HTTP_PROXY"):
        os.environ.pop(name, None)
    sys.exit(main())
