"""The sender cases of prometheus/compliance, group by group, against the checker's remote-write sink.

The sink refuses a request that breaks a rule on symbols, labels or what a series has: that a request is taken says that
it keeps them. Groups are those of https://github.com/prometheus/compliance/tree/main/remotewrite/sender.
"""

import math
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import cramjam
import pytest
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    Sum,
)

from exporter_core import Context, DeadlineExceededError, ExporterError, PartialSuccessError
from exporter_core.conformance.sinks.server.remote_write import Request2, WriteRequest

CUMULATIVE = AggregationTemporality.CUMULATIVE
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


@pytest.fixture(params=["1.0", "2.0"])
def protocol(request):
    return request.param


@pytest.fixture
def exporter(make_exporter, sink, protocol):
    return make_exporter(sink.endpoint, protocol=protocol)


@pytest.fixture
def sent(exporter, sink, context, data):
    """Exports metrics; the points that arrived, which broke no rule."""

    def send(*metrics, **more):
        exporter.export(context, data.of(*metrics, **more))
        assert [problem for request in sink.requests() for problem in request.problems] == []
        return [point for point in sink.points() if point.metric != "target_info"]

    return send


def gauges(data, *values, name="g", **attributes):
    return Metric(
        name, "", "", Gauge([data.number(value, 0, {"n": n, **attributes}) for n, value in enumerate(values)])
    )


def classic(data, exemplars=(), name="h", counts=(1, 2, 3)):
    point = HistogramDataPoint({}, data.at(-9), data.at(0), sum(counts), 7.5, counts, (0.0, 5.0), 0, 9, exemplars)
    return Metric(name, "Durations.", "s", Histogram([point], CUMULATIVE))


def native(data, name="n", counts=(1, 0, 4), exemplars=()):
    buckets, negative = Buckets(1, list(counts)), Buckets(0, [2])
    total = sum(counts) + 3
    point = ExponentialHistogramDataPoint(
        {}, data.at(-9), data.at(0), total, 12.5, 3, 1, buckets, negative, 0, 0, 9, exemplars
    )
    return Metric(name, "Native.", "s", ExponentialHistogram([point], CUMULATIVE))


# --- protocol, rw1_compat ---------------------------------------------------------------------------------------------


def test_headers_say_what_the_request_is(sent, sink, data, protocol):
    sent(data.gauge("g", 1, 0))
    (request,) = sink.requests()
    assert request.method == "POST"
    expected = {
        "Content-Type": "application/x-protobuf" if protocol == "1.0" else V2,
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0" if protocol == "1.0" else "2.0.0",
        "User-Agent": "exporter-core-prometheus/1.0.0",
    }
    assert {name: request.header(name) for name in expected} == expected


def test_the_body_is_protobuf_that_others_read(exporter, context, data, protocol, receiver):
    exporter = receiver.exporter(protocol)
    exporter.export(context, data.of(data.counter("c", 1, 0), classic(data), native(data)))
    raw = bytes(cramjam.snappy.decompress_raw(receiver.bodies[0]))  # of the block format
    message = (WriteRequest if protocol == "1.0" else Request2).FromString(raw)
    assert len(message.timeseries) == 1 + 5 + 1
    assert message.ByteSize() <= len(raw)


def test_1_0_has_no_symbols_and_no_start_times(sent, data, protocol):
    points = sent(data.counter("c", 1, 0))
    assert [point.start_time_unix_nano for point in points] == [0 if protocol == "1.0" else data.at(-3000)]


# --- symbols ----------------------------------------------------------------------------------------------------------


def test_symbols_are_there_once_and_begin_with_the_empty_one(exporter, context, data, receiver):
    exporter = receiver.exporter("2.0")
    exporter.export(context, data.of(gauges(data, 1, 2, 3, color="g"), gauges(data, 1, name="other", color="red")))
    (message,) = receiver.messages()
    symbols = list(message.symbols)
    assert symbols[0] == ""
    assert len(symbols) == len(set(symbols))
    assert set(symbols) >= {"__name__", "g", "other", "color", "red"}


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["naïve ⚙ ☃ 🧭", "\" ' \\ \n \t = , ; { }", "x" * 20_000, "שלום"])
def test_values_of_labels_arrive_as_they_are(sent, data, value):
    (point,) = sent(data.gauge("g", 1, 0, text=value))
    assert point.attributes["text"] == value


def test_labels_are_sorted_whatever_they_begin_with(sent, data):
    attributes = {"Z": 1, "_x": 2, "a": 3, "__a__": 4, "zz": 5, "le": 6}
    arrived = [*sent(data.gauge("g", 1, 0, **attributes)), *sent(classic(data))]
    assert {key: arrived[0].attributes[key] for key in attributes} == {key: str(n) for key, n in attributes.items()}


def test_many_and_long_labels_arrive(sent, data):
    attributes = {f"label.{number}" + "x" * 200: str(number) for number in range(100)}
    (point,) = sent(data.gauge("g" * 500, 1, 0, **attributes))
    assert len(point.attributes) == 104
    assert point.metric == "g" * 500


def test_an_attribute_le_of_a_histogram_is_kept_beside_that_of_its_buckets(sent, data):
    metric = classic(data)
    object.__setattr__(metric.data.data_points[0], "attributes", {"le": "mine"})
    points = sent(metric)
    assert {point.attributes["exported_le"] for point in points} == {"mine"}
    assert [point.attributes["le"] for point in points if point.metric.endswith("_bucket")] == ["0", "5", "+Inf"]


# --- samples, edge_cases ----------------------------------------------------------------------------------------------


def test_values_arrive_as_they_are(sent, data):
    values = [1.5, 7, 0, -0.0, -2, math.inf, -math.inf, 1.7976931348623157e308, 5e-324, 1 / 3, 1e15 + 0.5, math.nan]
    points = sent(gauges(data, *values))
    found = [point.value for point in points]
    assert math.isnan(found.pop())
    assert found == values[:-1]
    assert math.copysign(1, found[3]) == -1
    assert {point.kind for point in points} == {"sample"}  # not a number is no end of a series


@pytest.mark.parametrize("at", [0, 1, 1_000_000, 1_700_000_000_123_456_789, 4_398_046_511_104_000_000, 2**63 - 1])
def test_times_are_milliseconds(sent, data, at):
    number = data.number(1, 0)
    object.__setattr__(number, "time_unix_nano", at)
    (point,) = sent(Metric("g", "", "", Gauge([number])))
    assert point.time_unix_nano == at // 1_000_000 * 1_000_000


def test_points_of_several_times_keep_theirs(sent, data):
    points = sent(Metric("g", "", "", Gauge([data.number(n, n, {"n": n}) for n in range(3)])), classic(data))
    assert [point.time_unix_nano for point in points[:3]] == [data.at(n) for n in range(3)]
    assert {point.time_unix_nano for point in points[3:]} == {data.at(0)}


def test_job_and_instance_are_there(sent, data):
    (point,) = sent(data.gauge("g", 1, 0))
    assert (point.attributes["job"], point.attributes["instance"]) == (data.service, "one")


def test_nothing_to_export_is_no_request(exporter, sink, context, data):
    exporter.export(context, MetricsData([]))
    exporter.export(context, data.of())
    assert sink.count_requests() == 0


def test_names_with_colons_arrive(sent, data):
    assert [point.metric for point in sent(data.gauge("rule:name", 1, 0))] == ["rule:name"]


def test_series_that_end_are_marked(exporter, sink, context, data):
    exporter.export(context, data.of(data.gauge("stays", 1, -1), classic(data), native(data, name="gone")))
    exporter.export(context, data.of(data.gauge("stays", 1, 0)))
    stale = [point for point in sink.points() if point.kind == "stale"]
    assert sorted({point.metric for point in stale}) == [
        "gone_seconds",
        "h_seconds_bucket",
        "h_seconds_count",
        "h_seconds_sum",
    ]
    assert {point.time_unix_nano for point in stale} == {data.at(0)}
    assert [problem for request in sink.requests() for problem in request.problems] == []


def test_markers_that_could_not_be_sent_are_sent_with_the_next_export_unless_the_series_is_back(
    exporter, sink, context, data
):
    exporter.export(context, data.of(data.gauge("a", 1, -3), data.gauge("b", 1, -3), data.gauge("c", 1, -3)))
    sink.script("ok", then="status:500")
    with pytest.raises((ExporterError, DeadlineExceededError)):
        exporter.export(Context.with_timeout(0.5), data.of(data.gauge("a", 1, -2)))
    sink.script()
    exporter.export(context, data.of(data.gauge("a", 1, -1), data.gauge("b", 2, -1)))
    assert [point.metric for point in sink.points() if point.kind == "stale"] == ["c"]


# --- metadata ---------------------------------------------------------------------------------------------------------


def test_metadata_says_type_help_and_unit(exporter, context, data, receiver, protocol):
    exporter = receiver.exporter(protocol)
    texts = 'Two lines,\nand "marks" \\ ☃.'
    counter = data.counter("c", 1, 0, "By")
    metrics = [
        Metric("c", texts, "By", counter.data),
        data.gauge("g", 1, 0),
        classic(data),
        native(data),
        Metric("u", "", "", Sum([data.number(1, 0)], CUMULATIVE, False)),
    ]
    exporter.export(context, data.of(*metrics, resource={"host.name": "h"}))
    (message,) = receiver.messages()
    found = {}
    if protocol == "1.0":
        found = {one.metric_family_name: (one.type, one.help, one.unit) for one in message.metadata}
    else:
        for series in message.timeseries:
            labels = [message.symbols[reference] for reference in series.labels_refs]
            name = (
                labels[labels.index("__name__") + 1].partition("_bucket")[0].partition("_count")[0].partition("_sum")[0]
            )
            said = (
                series.metadata.type,
                message.symbols[series.metadata.help_ref],
                message.symbols[series.metadata.unit_ref],
            )
            assert found.setdefault(name, said) == said  # all of a family say the same
    assert found == {
        "c_bytes_total": (1, texts, "bytes"),
        "g": (2, "A gauge.", ""),
        "h_seconds": (3, "Durations.", "seconds"),
        "n_seconds": (3, "Native.", "seconds"),
        "u": (2, "", ""),
        "target_info": (6, "Target metadata", ""),
    }


def test_metadata_of_1_0_goes_with_new_metrics_and_again_after_a_minute(context, data, receiver):
    exporter = receiver.exporter("1.0")
    clock = [0.0]
    exporter._encoder._monotonic = lambda: clock[0]
    exporter._encoder._told_at = 0.0
    for second, metrics in ((0, "a"), (30, "ab"), (59, "ab"), (60, "ab")):
        clock[0] = second
        exporter.export(context, data.of(*(data.gauge(name, 1, second) for name in metrics)))
    told = [[one.metric_family_name for one in message.metadata] for message in receiver.messages()]
    assert told == [["a"], ["b"], [], ["a", "b"]]


# --- histograms -------------------------------------------------------------------------------------------------------


def test_histograms_are_cumulative_buckets_with_sum_and_count(sent, data):
    points = sent(classic(data))
    assert [(point.metric, point.attributes.get("le"), point.value) for point in points] == [
        ("h_seconds_bucket", "0", 1),
        ("h_seconds_bucket", "5", 3),
        ("h_seconds_bucket", "+Inf", 6),
        ("h_seconds_count", None, 6),
        ("h_seconds_sum", None, 7.5),
    ]


def test_a_sum_that_is_not_there_is_left_out(sent, data):
    metric = classic(data)
    object.__setattr__(metric.data.data_points[0], "sum", None)
    assert [point.metric for point in sent(metric)][-2:] == ["h_seconds_bucket", "h_seconds_count"]


def test_native_histograms_have_all_their_fields(sent, data, protocol):
    (point,) = sent(native(data))
    assert point.kind == "native_histogram"
    assert point.time_unix_nano == data.at(0)
    assert point.start_time_unix_nano == (0 if protocol == "1.0" else data.at(-9))
    expected = {
        "count_int": 8,
        "sum": 12.5,
        "schema": 3,
        "zero_threshold": 1e-128,
        "zero_count_int": 1,
        "negative_spans": [[1, 1]],
        "negative_deltas": [2],
        "positive_spans": [[2, 1], [1, 1]],
        "positive_deltas": [1, 3],
        "reset_hint": 0,
    }
    assert {key: point.value[key] for key in expected} == expected


@pytest.mark.parametrize("counts", [(0, 0), (2**40, 2**62, 3)])
def test_native_histograms_of_nothing_and_of_very_much(sent, data, counts):
    (point,) = sent(native(data, counts=counts))
    assert point.value["count_int"] == sum(counts) + 3


def test_a_native_histogram_that_is_too_coarse_is_an_error_and_the_rest_goes(exporter, sink, context, data):
    coarse = native(data, name="coarse")
    object.__setattr__(coarse.data.data_points[0], "scale", -7)
    with pytest.raises(PartialSuccessError, match=r"1 of 2 points were not taken: .*its scale is -7"):
        exporter.export(context, data.of(coarse, data.gauge("g", 1, 0)))
    assert [point.metric for point in sink.points()] == ["g"]


# --- exemplars --------------------------------------------------------------------------------------------------------


def test_exemplars_are_at_the_bucket_that_their_value_is_in(sent, data):
    exemplars = [
        Exemplar({"k": "v"}, value, data.at(-n), span_id=n, trace_id=n)
        for n, value in enumerate([0.0, 5.0, 5.5, -1], 1)
    ]
    found = {point.attributes.get("le"): point.exemplars for point in sent(classic(data, exemplars))}
    assert {le: [one["value"] for one in own] for le, own in found.items()} == {
        "0": [-1, 0.0],
        "5": [5.0],
        "+Inf": [5.5],
        None: [],
    }
    (exemplar,) = found["5"]
    assert exemplar["labels"] == {"trace_id": f"{2:032x}", "span_id": f"{2:016x}", "k": "v"}
    assert exemplar["time_unix_nano"] == data.at(-2)


def test_exemplars_of_counters_and_native_histograms_arrive_and_those_of_gauges_do_not(sent, data):
    exemplars = [Exemplar({}, 3, data.at(-1), span_id=1, trace_id=2)]
    counter = Metric("c", "", "", Sum([data.number(1, 0, exemplars=exemplars)], CUMULATIVE, True))
    gauge = Metric("g", "", "", Gauge([data.number(1, 0, exemplars=exemplars)]))
    points = sent(counter, gauge, native(data, exemplars=exemplars))
    assert {point.metric: len(point.exemplars) for point in points} == {"c_total": 1, "g": 0, "n_seconds": 1}


def test_symbols_of_exemplars_do_not_pile_up(context, data, receiver):
    exporter = receiver.exporter("2.0")
    for number in range(1, 6):
        exemplars = [Exemplar({}, 3, data.at(number), span_id=number, trace_id=number)]
        counter = Metric("c", "", "", Sum([data.number(1, number, exemplars=exemplars)], CUMULATIVE, True))
        exporter.export(context, data.of(counter))
    assert len({len(message.symbols) for message in receiver.messages()}) == 1


# --- batching ---------------------------------------------------------------------------------------------------------


def test_batches_are_divided_by_samples_in_order_and_points_never(make_exporter, sink, context, data, protocol):
    exporter = make_exporter(sink.endpoint, protocol=protocol, max_request_samples=7)
    exporter.export(context, data.of(gauges(data, *range(10)), classic(data), classic(data, name="i"), native(data)))
    sizes = [len(request.points) for request in sink.requests()]
    assert sizes == [7, 3, 5, 6]
    assert [point.value for point in sink.points()][:10] == list(range(10))
    for name in ("h", "i"):
        assert len({point.request for point in sink.points() if point.metric.startswith(f"{name}_")}) == 1


def test_batches_are_divided_by_bytes_and_what_fits_no_request_is_an_error(
    make_exporter, sink, context, data, protocol
):
    exporter = make_exporter(sink.endpoint, protocol=protocol, max_request_bytes=2048)
    metrics = [gauges(data, *range(100)), data.gauge("long", 1, 0, text="x" * 5000)]
    with pytest.raises(PartialSuccessError, match=r"1 of 101 points .* does not fit a request of at most 2048 bytes"):
        exporter.export(context, data.of(*metrics))
    assert sorted(point.value for point in sink.points()) == list(range(100))
    assert max(request.body_size for request in sink.requests()) <= 2048
    assert sink.count_requests() > 2


# --- retry, backoff, response, error_handling -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422])
def test_a_refusal_is_final_and_says_how_many_samples_of_which_series(exporter, sink, context, data, status):
    sink.script(f"status:{status}")
    metrics = [gauges(data, 1, 2), *(data.gauge(f"m{number}", 1, 0) for number in range(4))]
    with pytest.raises(
        ExporterError, match=f"{status} .*scripted.*6 samples were not stored, of series of g, m0, m1 and"
    ):
        exporter.export(context, data.of(*metrics))
    assert sink.count_requests() == 1


@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        (401, "check basic_auth, bearer_token or headers"),
        (404, "endpoint is not where remote write is taken; Prometheus needs --web.enable-remote-write-receiver"),
        (413, "lower max_request_bytes or max_request_samples"),
        (415, "change protocol"),
    ],
)
def test_a_refusal_comes_with_its_way_out(exporter, sink, context, data, status, way_out):
    sink.script(f"status:{status}")
    with pytest.raises(ExporterError) as caught:
        exporter.export(context, data.of(data.gauge("g", 1, 0)))
    assert way_out in str(caught.value)


@pytest.mark.parametrize("fault", ["status:429", "status:500", "status:502", "status:503", "status:504", "reset"])
def test_what_may_pass_is_tried_again_with_the_same_bytes(exporter, sink, context, data, fault):
    sink.script(fault, fault)
    exporter.export(context, data.of(data.gauge("g", 1, 0)))
    assert sink.count_requests() == 3
    assert len({request.body for request in sink.requests()}) == 1
    assert len(sink.points()) == 1


def test_retry_after_is_waited_for_unless_the_deadline_comes_first(exporter, sink, context, data):
    sink.script("retry-after:3600:429")
    with pytest.raises(ExporterError, match="no time left to retry"):
        exporter.export(context, data.of(data.gauge("g", 1, 0)))
    assert sink.count_requests() == 1
    sink.script("retry-after:0:503")
    exporter.export(context, data.of(data.gauge("g", 1, 1)))
    assert len(sink.points()) == 1


def test_a_server_that_does_not_answer_ends_with_the_deadline_and_the_next_export_is_fine(
    exporter, sink, context, data
):
    sink.script(then="hang")
    with pytest.raises(DeadlineExceededError):
        exporter.export(Context.with_timeout(0.2), data.of(data.gauge("g", 1, 0)))
    sink.script()
    exporter.export(context, data.of(data.gauge("g", 1, 1)))
    assert len(sink.points()) == 1


@pytest.mark.parametrize("fault", ["garbage", "truncate", "redirect", "status:299"])
def test_an_answer_that_is_none_is_an_error_and_the_sender_goes_on(make_exporter, sink, context, data, fault):
    exporter = make_exporter(sink.endpoint, retry={"enabled": False})
    sink.script(fault)
    if fault == "status:299":
        exporter.export(context, data.of(data.gauge("g", 1, 0)))
    else:
        with pytest.raises(ExporterError):
            exporter.export(context, data.of(data.gauge("g", 1, 0)))
    exporter.export(context, data.of(data.gauge("g", 1, 1)))
    assert len(sink.points()) == 1


def test_a_host_that_is_not_there_is_an_error(make_exporter, context, data):
    exporter = make_exporter("http://does-not-exist.invalid/api/v1/write", retry={"enabled": False})
    with pytest.raises(ExporterError, match=r"does-not-exist\.invalid"):
        exporter.export(context, data.of(data.gauge("g", 1, 0)))


def test_requests_that_fail_do_not_keep_the_others_from_going(make_exporter, sink, context, data, protocol):
    exporter = make_exporter(sink.endpoint, protocol=protocol, max_request_samples=2)
    sink.script("ok", "status:400", "ok")
    with pytest.raises(PartialSuccessError, match=r"2 of 6 points were not taken: .*400.*2 samples") as caught:
        exporter.export(context, data.of(gauges(data, *range(6))))
    assert caught.value.rejected_points == 2
    assert [point.value for point in sink.points()] == [0, 1, 4, 5]


# --- fallback ---------------------------------------------------------------------------------------------------------


def versions(sink):
    return [request.header("X-Prometheus-Remote-Write-Version") for request in sink.requests()]


@pytest.mark.parametrize("status", [415, 400])
def test_auto_falls_back_on_415_and_on_a_servers_first_400_and_remembers(make_exporter, sink, context, data, status):
    exporter = make_exporter(sink.endpoint, protocol="auto")
    sink.script(f"status:{status}")
    exporter.export(context, data.of(data.counter("c", 1, 0)))
    exporter.export(context, data.of(data.counter("c", 2, 1)))
    assert versions(sink) == ["2.0.0", "0.1.0", "0.1.0"]
    assert [request.header("Content-Type") for request in sink.requests()][1] == "application/x-protobuf"
    assert [point.value for point in sink.points()] == [1, 2]


def test_auto_stays_with_2_0_once_the_server_has_proved_it(make_exporter, sink, context, data):
    exporter = make_exporter(sink.endpoint, protocol="auto")
    exporter.export(context, data.of(data.counter("c", 1, 0)))
    sink.script("status:400")
    with pytest.raises(ExporterError, match="400"):
        exporter.export(context, data.of(data.counter("c", 2, 1)))
    exporter.export(context, data.of(data.counter("c", 3, 2)))
    assert versions(sink) == ["2.0.0"] * 3


def test_auto_falls_back_on_415_of_an_older_server_in_the_place_of_one_that_proved_2_0(
    make_exporter, sink, context, data
):
    exporter = make_exporter(sink.endpoint, protocol="auto")
    exporter.export(context, data.of(data.counter("c", 1, 0)))
    sink.script("status:415")
    exporter.export(context, data.of(data.counter("c", 2, 1)))
    assert versions(sink) == ["2.0.0", "2.0.0", "0.1.0"]
    assert [point.value for point in sink.points()] == [1, 2]


def test_an_explicit_2_0_never_falls_back(make_exporter, sink, context, data):
    exporter = make_exporter(sink.endpoint, protocol="2.0")
    sink.script("status:415")
    with pytest.raises(ExporterError, match="change protocol"):
        exporter.export(context, data.of(data.counter("c", 1, 0)))
    assert versions(sink) == ["2.0.0"]


@pytest.mark.parametrize("status", [500, 429, 404])
def test_auto_does_not_fall_back_on_another_status(make_exporter, sink, context, data, status):
    exporter = make_exporter(sink.endpoint, protocol="auto", retry={"enabled": False})
    sink.script(f"status:{status}")
    with pytest.raises(ExporterError, match=str(status)):
        exporter.export(context, data.of(data.counter("c", 1, 0)))
    assert versions(sink) == ["2.0.0"]


def test_auto_falls_back_where_no_header_proves_what_was_stored(context, data, receiver):
    exporter = receiver.exporter("auto")
    exporter.export(context, data.of(data.counter("c", 1, 0)))
    assert [headers["X-Prometheus-Remote-Write-Version"] for headers in receiver.headers] == ["2.0.0", "0.1.0"]


@pytest.mark.parametrize("status", [204, 400])
def test_what_2_0_says_was_stored_is_believed(context, data, receiver, status):
    receiver.answer = status, {"X-Prometheus-Remote-Write-Samples-Written": "2"}
    exporter = receiver.exporter("2.0")
    with pytest.raises(PartialSuccessError) as caught:
        exporter.export(context, data.of(gauges(data, 1, 2, 3)))
    assert caught.value.rejected_points == 1


def test_a_metric_all_of_whose_series_another_one_has_is_an_error_and_the_rest_goes(exporter, sink, context, data):
    metrics = data.gauge("room.level", 1, 0), data.gauge("room_level", 2, 0), data.gauge("other", 3, 0)
    with pytest.raises(PartialSuccessError, match=r"'room_level': another series has the same labels") as caught:
        exporter.export(context, data.of(*metrics))
    assert caught.value.rejected_points == 1
    assert sorted(point.value for point in sink.points()) == [1, 3]


def test_a_point_of_which_a_sample_may_be_missing_is_not_taken(context, data, receiver):
    receiver.answer = 400, {"X-Prometheus-Remote-Write-Samples-Written": "1"}  # of a counter's and target_info's
    exporter = receiver.exporter("2.0")
    with pytest.raises(ExporterError, match="1 sample was not stored, of series of c_total, target_info"):
        exporter.export(context, data.of(data.counter("c", 1, 0), resource={"host.name": "web-1"}))


# --- an answer of one's own -------------------------------------------------------------------------------------------


class Receiver:
    """A server that keeps bodies and headers, and answers what a test wants."""

    def __init__(self, make_exporter):
        self.bodies, self.headers = [], []
        self.answer = None
        self._make = make_exporter
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.headers.append(dict(self.headers))
                status, headers = receiver.answer or (204, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def exporter(self, protocol):
        if protocol == "2.0" and self.answer is None:
            written = {f"X-Prometheus-Remote-Write-{what}-Written": "1000" for what in ("Samples", "Histograms")}
            self.answer = 204, written
        endpoint = f"http://127.0.0.1:{self._server.server_port}/"
        return self._make(endpoint, protocol=protocol, staleness_markers=False)

    def messages(self):
        return [
            (Request2 if "v2" in headers["Content-Type"] else WriteRequest).FromString(
                bytes(cramjam.snappy.decompress_raw(body))
            )
            for body, headers in zip(self.bodies, self.headers, strict=True)
        ]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver(make_exporter):
    started = Receiver(make_exporter)
    yield started
    started.close()
