"""Metrics that a real Prometheus and a real VictoriaMetrics store, read back by PromQL."""

import json
import math
import time

import pytest
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Exemplar, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    Sum,
)

from exporter_core import Context, ExporterError, PartialSuccessError, Pipeline

BOUNDS = (0.0, 0.1, 0.5, 1.0)
CUMULATIVE = AggregationTemporality.CUMULATIVE


def histogram(data, name, counts, total, at, *, exemplars=(), **attributes):
    point = HistogramDataPoint(
        attributes, data.at(-3000), data.at(at), sum(counts), total, counts, BOUNDS, 0, 1, exemplars
    )
    return Metric(name, "A histogram.", "s", Histogram([point], CUMULATIVE))


def exponential(data, name, offset, counts, total, at, *, scale=3, zero=0, negative=(0, [])):
    point = ExponentialHistogramDataPoint(
        {},
        data.at(-3000),
        data.at(at),
        sum(counts) + zero + sum(negative[1]),
        total,
        scale,
        zero,
        Buckets(offset, counts),
        Buckets(*negative),
        0,
        0.0,
        1.0,
    )
    return Metric(name, "An exponential histogram.", "s", ExponentialHistogram([point], CUMULATIVE))


def test_counters_have_rates(prometheus, make_exporter, context, data):
    exporter = make_exporter(prometheus.endpoint)
    for tick in range(13):
        counter = data.counter("jobs.done", 100 + 30 * tick, -120 + 10 * tick, route="/a b")
        exporter.export(context, data.of(counter))
    at = data.at(0) / 1e9
    query = f'jobs_done_total{{job="{data.service}", instance="one", route="/a b"}}'
    assert prometheus.value(query, at) == 460
    assert prometheus.value(f"rate({query}[100s])", at) == pytest.approx(3)
    assert len(prometheus.points(query, at)) == 13


def test_a_counter_that_begins_anew_after_a_restart_is_a_reset(prometheus, make_exporter, context, data):
    for life in range(2):
        exporter = make_exporter(prometheus.endpoint)
        for tick in range(6):
            counter = data.counter("restarts", 10 * (tick + 1), -120 + 60 * life + 10 * tick)
            exporter.export(context, data.of(counter))
        # A shutdown would be told with the wall clock's time, and these samples are of the past.
    query = f'restarts_total{{job="{data.service}"}}'
    at = data.at(-10) / 1e9
    values = [value for _, value in prometheus.points(query, at)]
    assert values == [10, 20, 30, 40, 50, 60, 10, 20, 30, 40, 50, 60]
    assert prometheus.value(f"resets({query}[115s])", at) == 1
    assert prometheus.value(f"rate({query}[115s])", at) == pytest.approx(110 / 110, rel=0.02)


def test_quantiles_of_histograms_with_bounds(prometheus, make_exporter, context, data):
    exporter = make_exporter(prometheus.endpoint)
    for tick in range(7):
        counts = [0, 10 * tick, 20 * tick, 10 * tick, 0]
        exporter.export(context, data.of(histogram(data, "latency", counts, 12.5 * tick, -60 + 10 * tick)))
    at = data.at(0) / 1e9
    buckets = prometheus.query(f'latency_seconds_bucket{{job="{data.service}"}}', at)
    found = {dict(labels)["le"]: value for labels, value in buckets.items()}
    assert found == {"0": 0, "0.1": 60, "0.5": 180, "1": 240, "+Inf": 240}
    assert prometheus.value(f'latency_seconds_count{{job="{data.service}"}}', at) == 240
    assert prometheus.value(f'latency_seconds_sum{{job="{data.service}"}}', at) == 75
    rate = f'sum by (le) (rate(latency_seconds_bucket{{job="{data.service}"}}[50s]))'
    assert prometheus.value(f"histogram_quantile(0.5, {rate})", at) == pytest.approx(0.3)
    rates = [f'rate(latency_seconds_{part}{{job="{data.service}"}}[50s])' for part in ("sum", "count")]
    assert prometheus.value("/".join(rates), at) == pytest.approx(12.5 / 40)


def test_quantiles_of_native_histograms(prometheus, make_exporter, context, data):
    exporter = make_exporter(prometheus.endpoint)
    for tick in range(1, 8):
        metric = exponential(data, "native", -2, [10 * tick, 0, 30 * tick], 40.0 * tick, -70 + 10 * tick)
        exporter.export(context, data.of(metric))
    at = data.at(0) / 1e9
    series = f'native_seconds{{job="{data.service}"}}'
    assert prometheus.value(f"histogram_count({series})", at) == 280
    assert prometheus.value(f"histogram_sum({series})", at) == 280
    # By scale 3 a bucket is 2^(1/8) wide: the third, of index 0, reaches from 1 to 1.09.
    quantile = prometheus.value(f"histogram_quantile(0.5, rate({series}[50s]))", at)
    assert 1 <= quantile <= 2 ** (1 / 8)
    assert prometheus.value(f"histogram_quantile(0.1, rate({series}[50s]))", at) == pytest.approx(
        2 ** (-1.6 / 8), rel=0.05
    )


@pytest.mark.parametrize("scale", [-4, 0, 8, 10, 20])
def test_native_histograms_of_every_scale_are_stored(prometheus, make_exporter, context, data, scale):
    exporter = make_exporter(prometheus.endpoint)
    metric = exponential(data, "scaled", -3, [1, 0, 0, 4, 2], 9.0, 0, scale=scale, zero=2, negative=(1, [3]))
    exporter.export(context, data.of(metric))
    series = f'scaled_seconds{{job="{data.service}"}}'
    assert prometheus.value(f"histogram_count({series})") == 12
    assert prometheus.value(f"histogram_sum({series})") == 9
    # Half of the twelve values lie below or at zero: the three negative ones and the two zeros, and one more.
    assert 0 < prometheus.value(f"histogram_quantile(0.45, {series})") <= 2 ** (2 ** max(-scale, 0))


def test_the_resource_is_joined_by_target_info(prometheus, make_exporter, context, data):
    exporter = make_exporter(prometheus.endpoint)
    resource = {"service.namespace": "shop", "host.name": "web-1", "process.pid": 7, "tags": ("a", "b")}
    exporter.export(context, data.of(data.counter("joined", 5, 0), resource=resource))
    job = f"shop/{data.service}"
    found = prometheus.query(
        f'joined_total{{job="{job}"}} * on (job, instance) group_left (host_name, process_pid, tags) target_info'
    )
    assert {(dict(labels)["host_name"], dict(labels)["process_pid"], dict(labels)["tags"]) for labels in found} == {
        ("web-1", "7", '["a","b"]')
    }
    assert list(found.values()) == [5]


def test_exemplars_are_stored_with_their_traces(prometheus, make_exporter, context, data):
    exporter = make_exporter(prometheus.endpoint)
    exemplars = [Exemplar({"user": "u1"}, 0.3, data.at(-1), span_id=0xABC, trace_id=0xDEF)]
    exporter.export(
        context,
        data.of(
            histogram(data, "sampled", [0, 1, 2, 0, 0], 0.9, 0, exemplars=exemplars),
            Metric("sampled.count", "", "", Sum([data.number(7, 0, exemplars=exemplars)], CUMULATIVE, True)),
        ),
    )
    at = data.at(0) / 1e9
    found = prometheus.api("query_exemplars", query=f'{{job="{data.service}"}}', start=at - 60, end=at + 60)
    assert {one["seriesLabels"]["__name__"]: one["seriesLabels"].get("le") for one in found} == {
        "sampled_seconds_bucket": "0.5",
        "sampled_count_total": None,
    }
    (exemplar,) = found[0]["exemplars"]
    assert exemplar["labels"] == {"trace_id": f"{0xDEF:032x}", "span_id": f"{0xABC:016x}", "user": "u1"}
    assert float(exemplar["value"]) == 0.3
    assert exemplar["timestamp"] == pytest.approx(data.at(-1) / 1e9)


def test_a_series_that_is_not_reported_any_more_ends_at_once(prometheus, make_exporter, context, data):
    exporter = make_exporter(prometheus.endpoint)
    exporter.export(context, data.of(data.gauge("stays", 1, -20), data.gauge("goes", 1, -20)))
    exporter.export(context, data.of(data.gauge("stays", 1, -10)))
    query = f'{{job="{data.service}", __name__=~"stays|goes"}}'
    assert len(prometheus.query(query, data.at(-11) / 1e9)) == 2
    assert [dict(labels)["__name__"] for labels in prometheus.query(query, data.at(-10) / 1e9)] == ["stays"]
    exporter.export(context, data.of(data.gauge("stays", 1, 0), data.gauge("goes", 2, 0)))
    assert prometheus.value(f'goes{{job="{data.service}"}}', data.at(0) / 1e9) == 2


def test_a_shutdown_ends_all_series(prometheus, make_exporter, context, data):
    exporter = make_exporter(prometheus.endpoint)
    metrics = [
        data.counter("ended", 1, -1),
        histogram(data, "ended.histogram", [1, 0, 0, 0, 0], 0, -1),
        exponential(data, "ended.native", 0, [1], 1.0, -1),
    ]
    exporter.export(context, data.of(*metrics, resource={"host.name": "h"}))
    query = f'count({{job="{data.service}"}})'
    assert prometheus.value(query) == 10
    exporter.shutdown(context)
    assert prometheus.query(query, time.time() + 1) == {}


def test_a_refused_request_says_how_many_samples_of_which_series(prometheus, make_exporter, context, data):
    exporter = make_exporter(prometheus.endpoint, staleness_markers=False)
    exporter.export(context, data.of(data.counter("refused", 1, -10)))
    for at, value, reason in ((-20, 1, "out of order"), (-10, 2, "duplicate")):
        with pytest.raises(ExporterError, match=reason) as caught:
            exporter.export(context, data.of(data.counter("refused", value, at), data.gauge("other", 1, at)))
        assert "2 samples were not stored, of series of refused_total, other" in str(caught.value)
    with pytest.raises(ExporterError, match="out of bounds"):
        exporter.export(context, data.of(data.gauge("refused.for.age", 1, -4 * 3600)))


def test_auto_changes_to_1_0_for_a_prometheus_that_stores_nothing_of_2_0(prometheus, make_exporter, context, data):
    exporter = make_exporter(prometheus.endpoint, protocol="auto")
    exporter.export(context, data.of(data.counter("negotiated", 3, -1)))
    assert prometheus.value(f'negotiated_total{{job="{data.service}"}}') == 3


def test_2_0_is_an_error_where_nothing_proves_that_it_is_stored(prometheus, make_exporter, context, data):
    exporter = make_exporter(prometheus.endpoint, protocol="2.0")
    with pytest.raises(ExporterError, match=r"nothing proves that the server knows remote write 2\.0; change protocol"):
        exporter.export(context, data.of(data.counter("unproven", 3, -1)))


@pytest.mark.parametrize("protocol", ["1.0", "auto"])
def test_a_pipeline_of_a_config_file_delivers(prometheus, data, tmp_path, protocol):
    file = tmp_path / "metrics.yaml"
    file.write_text(
        f"""
file_format: "1.1"
resource: {{attributes: [{{name: service.name, value: {data.service}}}, {{name: service.instance.id, value: "1"}}]}}
meter_provider:
  readers:
    - periodic:
        interval: 3600000
        exporter:
          prometheus_remote_write:
            endpoint: {prometheus.endpoint}
            protocol: "{protocol}"
            staleness_markers: false
            resource_constant_labels: {{included: ["service.*"], excluded: ["*.id"]}}
""",
        encoding="utf-8",
    )
    with Pipeline.from_file(file) as pipeline:
        meter = pipeline.meter_provider.get_meter("tests")
        meter.create_counter("orders", "{order}").add(2, {"shop.name": "x"})
        meter.create_gauge("used", "1").set(0.5)
        meter.create_up_down_counter("open", "1").add(-3)
        meter.create_histogram("size", "By").record(7)
    query = f'{{service_name="{data.service}"}}'
    found = {dict(labels)["__name__"]: value for labels, value in prometheus.query(query).items()}
    assert found.keys() >= {"orders_total", "used_ratio", "open", "size_bytes_bucket", "size_bytes_count"}
    assert (found["orders_total"], found["used_ratio"], found["open"], found["size_bytes_sum"]) == (2, 0.5, -3, 7)
    (labels,) = prometheus.query(f'orders_total{{service_name="{data.service}"}}')
    assert dict(labels) == {
        "__name__": "orders_total",
        "instance": "1",
        "job": data.service,
        "otel_scope_name": "tests",
        "service_name": data.service,
        "shop_name": "x",
    }


def test_names_of_any_characters_are_valid_after_escaping(prometheus, make_exporter, context, data):
    exporter = make_exporter(prometheus.endpoint)
    attributes = {
        "1st": "digit",
        "a.b": "joined",
        "a_b": "values",
        "job": "mine",
        "__name__": "n",
        "e": "",
        "ключ": "x",
    }
    gauges = [data.gauge("1 metric/with: ünïcode!", 1, 0, "m/s", **attributes)]
    with pytest.raises(PartialSuccessError, match=r"1 of 2 points .* no character of its name is allowed"):
        exporter.export(context, data.of(*gauges, data.gauge("☃", 1, 0)))
    (labels,) = prometheus.query(f'{{job="{data.service}", key_1st="digit"}}')
    assert dict(labels)["__name__"] == "_1_metric_with:_n_code_meters_per_second"
    assert dict(labels)["a_b"] == "joined;values"
    assert dict(labels)["exported_job"] == "mine"
    assert dict(labels)["_"] == "x"


def test_every_point_that_is_reported_delivered_survives_a_crash_and_every_other_is_reported(
    make_prometheus, make_exporter, data
):
    server = make_prometheus()
    server.start()
    exporter = make_exporter(server.endpoint, retry={"enabled": False}, staleness_markers=False, max_request_samples=1)
    delivered, failed = [], []
    for tick in range(60):
        if tick in {15, 40}:
            server.kill()
        if tick in {25, 45}:
            server.start()
        at = -60 + tick
        try:
            exporter.export(Context.with_timeout(10), data.of(data.counter("crash", tick, at)))
        except ExporterError:
            failed.append(float(tick))
        else:
            delivered.append(float(tick))
    stored = [value for _, value in server.points(f'crash_total{{job="{data.service}"}}', data.at(0) / 1e9)]
    assert stored == delivered
    assert sorted(delivered + failed) == [float(tick) for tick in range(60)]
    assert failed == [float(tick) for tick in (*range(15, 25), *range(40, 45))]


def test_the_sdks_own_metrics_arrive_whole(prometheus, make_exporter, context, data):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False, exemplar_filter=AlwaysOnExemplarFilter())
    meter = provider.get_meter("sdk", "2.0", attributes={"kind": "test", "name": "ignored"})
    for number in range(500):
        meter.create_counter(f"sdk.{data.service}.{number}", "By").add(number, {"number": number})
    exporter = make_exporter(prometheus.endpoint, max_request_samples=300)
    exporter.export(context, reader.get_metrics_data())
    name = f"sdk_{data.service}".replace("-", "_")
    found = prometheus.query(f'{{__name__=~"{name}_.*", otel_scope_kind="test", otel_scope_version="2.0"}}')
    assert sorted(found.values()) == list(range(500))
    assert all(dict(labels)["otel_scope_name"] == "sdk" for labels in found)


def test_values_at_the_edges_arrive_as_they_are(prometheus, make_exporter, context, data):
    exporter = make_exporter(prometheus.endpoint)
    values = [math.inf, -math.inf, math.nan, 0.0, -0.0, 5e-324, 1.7976931348623157e308, 2**53 + 1, 10**400, -1]
    gauges = [data.gauge("edge", value, 0, n=n) for n, value in enumerate(values)]
    points = [point for gauge in gauges for point in gauge.data.data_points]
    gauges[0].data.data_points[:] = points
    exporter.export(context, data.of(gauges[0]))
    found = {
        int(dict(labels)["n"]): value for labels, value in prometheus.query(f'edge{{job="{data.service}"}}').items()
    }
    assert math.isnan(found.pop(2))
    assert found == {**{n: float(value) for n, value in enumerate(values) if n not in {2, 8}}, 8: math.inf}
    assert json.dumps(found[4]) == "-0.0"


def test_victoria_metrics_stores_the_same(victoria_metrics, make_exporter, context, data):
    exporter = make_exporter(victoria_metrics.endpoint, protocol="auto")
    for tick in range(1, 14):
        at = -130 + 10 * tick
        counts = [0, 10 * tick, 20 * tick, 10 * tick, 0]
        metrics = [data.counter("jobs", 30 * tick, at), histogram(data, "work", counts, 12.5 * tick, at)]
        if tick < 10:
            metrics.append(data.gauge("goes", 1, at))
        exporter.export(context, data.of(*metrics, resource={"host.name": "web-1"}))
    at = data.at(0) / 1e9
    job = f'job="{data.service}"'

    def found(query, enough=bool):
        return victoria_metrics.await_query(query, at, enough)

    joined = f"jobs_total{{{job}}} * on (job, instance) group_left (host_name) target_info"
    newest = found(joined, lambda values: list(values.values()) == [390])
    assert [dict(labels)["host_name"] for labels in newest] == ["web-1"]
    assert list(found(f"rate(jobs_total{{{job}}}[100s])").values()) == [pytest.approx(3)]
    rate = f"sum by (le) (rate(work_seconds_bucket{{{job}}}[50s]))"
    assert list(found(f"histogram_quantile(0.5, {rate})").values()) == [pytest.approx(0.3)]
    assert found(f"goes{{{job}}}", lambda values: not values) == {}
