"""A real Prometheus scrapes a pipeline from a config file, and PromQL reads the metrics back."""

import json
import math
import threading
import time

import pytest
from opentelemetry import trace

from exporter_core import Pipeline

GENEROUS_SECONDS = 30.0
FILE = """
file_format: "1.1"
resource:
  attributes:
    - {name: service.name, value: shop}
    - {name: service.version, value: "2.1"}
meter_provider:
  exemplar_filter: always_on
  readers:
    - pull:
        exporter:
          prometheus/development:
            port: 0
            resource_constant_labels: {included: [service.version]}
  views:
    - selector: {instrument_name: sizes}
      stream: {aggregation: {base2_exponential_bucket_histogram: {}}}
"""
SCRAPES = """
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
  - job_name: pulled
    static_configs: [{targets: ["127.0.0.1:%d"]}]
storage: {exemplars: {max_exemplars: 10000}}
"""


def until(condition, what):
    deadline = time.monotonic() + GENEROUS_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.05)  # until the next look


FEATURES = {"protobuf": "exemplar-storage,native-histograms", "openmetrics": "exemplar-storage"}
"""By the format that Prometheus asks for: its features."""


@pytest.fixture(scope="module", params=FEATURES)
def scraped(request, make_prometheus, tmp_path_factory):
    """A Prometheus that has scraped a pipeline often, while that recorded."""
    file = tmp_path_factory.mktemp("pull") / "metrics.yaml"
    file.write_text(FILE)
    server = make_prometheus()
    with Pipeline.from_file(file) as pipeline:
        port = int(pipeline.exporters[0].destination.location.split(":")[2].partition("/")[0])
        arguments = server.arguments

        def with_scrapes():
            command = [
                f"--enable-feature={FEATURES[request.param]}" if one.startswith("--enable-feature") else one
                for one in arguments()
            ]
            (server._directory / "prometheus.yml").write_text(SCRAPES % port)
            return command

        server.arguments = with_scrapes
        meter = pipeline.meter_provider.get_meter("tests", "1.0")
        counter = meter.create_counter("orders", "{order}", "Orders.")
        duration = meter.create_histogram("latency", "s", explicit_bucket_boundaries_advisory=[0.0, 0.25, 1.0])
        sizes = meter.create_histogram("sizes", "By")
        level = meter.create_gauge("level", "1")
        stock = meter.create_up_down_counter("stock")
        span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1)))

        def record():
            with trace.use_span(span):
                counter.add(2, {"customer.name": 'O"Hara\\ \n', "paid": True})
                for value in (0.1, 0.5, 2.0):
                    duration.record(value)
                    sizes.record(value)
            level.set(0.5)
            stock.add(-1)

        record()
        server.start()
        until(lambda: server.query("orders_total"), "Prometheus does not scrape")
        seen = 0
        while seen < 6:
            record()
            before = pipeline.stats()[0].collections
            until(lambda before=before: pipeline.stats()[0].collections > before, "Prometheus scrapes no more")
            seen += 1

        def all_is_stored():
            server.now = time.time()
            (up, *_), (orders, *_) = ([*server.query(one).values(), 0] for one in ('up{job="pulled"}', "orders_total"))
            return up == 1 and orders >= 14

        # The tests look at this moment: a later scrape may time out on a busy machine, which ends every series.
        until(all_is_stored, "the last scrape is not stored")
        server.format = request.param
        yield server
    server.kill()


def test_it_is_up_and_its_samples_are_ingested(scraped):
    assert scraped.value('up{job="pulled"}') == 1
    assert scraped.value('scrape_samples_scraped{job="pulled"}') >= 11


def test_counters_with_labels_of_any_characters_have_rates(scraped):
    (labels,) = scraped.query("orders_total")
    found = dict(labels)
    assert found["customer_name"] == 'O"Hara\\ \n'
    assert (found["paid"], found["otel_scope_name"], found["otel_scope_version"]) == ("true", "tests", "1.0")
    assert (found["service_version"], found["job"]) == ("2.1", "pulled")
    assert scraped.value("rate(orders_total[1m])") > 0


def test_gauges_and_sums_that_fall_are_gauges(scraped):
    assert scraped.value("level_ratio") == 0.5
    assert scraped.value("stock") < 0
    types = scraped.api("metadata")
    counter = "orders" if scraped.format == "openmetrics" else "orders_total"  # as it calls the family
    assert [types[name][0]["type"] for name in (counter, "level_ratio", "stock", "latency_seconds")] == [
        "counter",
        "gauge",
        "gauge",
        "histogram",
    ]


def test_classic_histograms_have_quantiles(scraped):
    buckets = {dict(labels)["le"]: value for labels, value in scraped.query("latency_seconds_bucket").items()}
    assert {float(le) for le in buckets} == {0.0, 0.25, 1.0, math.inf}
    count = buckets["+Inf"]
    assert scraped.value("latency_seconds_count") == count
    assert scraped.value("latency_seconds_sum") == pytest.approx(count / 3 * 2.6)
    quantile = scraped.value("histogram_quantile(0.5, rate(latency_seconds_bucket[1m]))")
    assert 0.25 < quantile <= 1


def test_exponential_histograms_are_native_ones_in_protobuf(scraped):
    if scraped.format == "openmetrics":
        ((labels, count),) = scraped.query("sizes_bytes_bucket").items()
        assert (dict(labels)["le"], scraped.value("sizes_bytes_count")) == ("+Inf", count)
        return
    count = scraped.value("histogram_count(sizes_bytes)")
    assert count >= 21
    assert scraped.value("histogram_sum(sizes_bytes)") == pytest.approx(count / 3 * 2.6)
    assert scraped.value("histogram_quantile(0.5, sizes_bytes)") == pytest.approx(0.5, rel=0.05)
    assert scraped.query("sizes_bytes_bucket") == {}


def test_the_resource_joins_as_target_info(scraped):
    (labels,) = scraped.query('target_info{job="pulled"}')
    assert dict(labels)["service_version"] == "2.1"
    joined = scraped.query("orders_total * on (job, instance) group_left (telemetry_sdk_language) target_info")
    ((labels, _),) = joined.items()
    assert dict(labels)["telemetry_sdk_language"] == "python"


def test_exemplars_are_stored(scraped):
    now = time.time()
    found = scraped.api("query_exemplars", query="orders_total", start=now - 120, end=now + 10)
    assert found, json.dumps(found)
    labels = found[0]["exemplars"][0]["labels"]
    assert labels["trace_id"] == f"{0xABC:032x}"
