"""The exporter as applications have it: by name, behind the guard."""

import pytest
from exporter_core_otlp import OtlpHttpExporter
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import DefaultAggregation, ExponentialBucketHistogramAggregation

from exporter_core import (
    Context,
    DeadlineExceededError,
    ExporterError,
    ExporterRegistry,
    ExporterShutdownError,
    InstrumentKind,
    PartialSuccessError,
    load_exporter,
)


@pytest.fixture(params=["thread", "inline"])
def guarded(request, sink, context):
    options = {"endpoint": sink.endpoint, "headers_list": "api-key=s3cret", "retry": {"initial_interval": 1}}
    exporter = load_exporter("otlp_http", options, runner=request.param)
    yield exporter
    try:
        exporter.shutdown(context)
    except ExporterShutdownError:
        pass  # by the test


def test_the_entry_point_is_the_class():
    assert ExporterRegistry().exporter_class("otlp_http") is OtlpHttpExporter


def test_it_delivers_and_shuts_down(guarded, sink, context, data):
    guarded.export(context, data)
    guarded.force_flush(context)
    guarded.shutdown(context)
    assert len(sink.points()) == 1
    sink.await_closed()
    with pytest.raises(ExporterShutdownError):
        guarded.export(context, data)


def test_a_refusal_is_an_error_of_the_exporter_without_its_secrets(guarded, sink, context, data):
    sink.script(then="status:403")
    with pytest.raises(ExporterError, match="403 Forbidden: scripted") as caught:
        guarded.export(context, data)
    assert (caught.value.exporter, caught.value.operation) == ("otlp_http", "export")
    assert "s3cret" not in str(caught.value)


def test_a_partial_success_keeps_its_count(guarded, sink, context, data_of):
    sink.script(then="partial:2")
    with pytest.raises(PartialSuccessError, match="2 of 3 points were not taken: scripted") as caught:
        guarded.export(context, data_of([1, 2, 3]))
    assert caught.value.rejected_points == 2


def test_a_deadline_is_one(guarded, sink, context, data):
    sink.script(then="hang")
    with pytest.raises(DeadlineExceededError):
        guarded.export(Context.with_timeout(0.1), data)
    sink.script(then="ok")
    while guarded.busy:  # the exporter gives up at the same moment as its caller
        assert not context.wait(0.001)
    guarded.export(context, data)


def test_the_reason_for_trying_again_is_told_at_the_deadline(guarded, sink, context, data, with_more_time):
    def attempt(seconds):
        while guarded.busy:
            assert not context.wait(0.001)
        sink.script("status:503", then="hang")
        with pytest.raises(DeadlineExceededError) as caught:
            guarded.export(Context.with_timeout(seconds), data)
        return guarded.stats().requests_repeated and str(caught.value)

    message = with_more_time(attempt, 0.2)
    assert message.startswith(f"exporter 'otlp_http': export to {sink.endpoint} timed out")
    assert message.endswith("; the last attempt failed: 503 Service Unavailable: scripted")
    assert message.count(sink.endpoint) == 1
    stats = guarded.stats()
    assert (stats.last_error, stats.requests_repeated) == (message, 1)


def test_a_request_that_is_sent_again_over_a_new_connection_is_counted(serve, read_request, context, data):
    requests = []

    def closing(connection, number):
        for _ in range(2):
            requests.append(read_request(connection))
            if len(requests) != 2:  # that one gets no answer: it came as the server closed
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with load_exporter("otlp_http", {"endpoint": f"http://127.0.0.1:{serve(closing).port}/v1/metrics"}) as exporter:
        for _ in range(2):
            exporter.export(context, data)
        assert len(requests) == 3
        stats = exporter.stats()
        assert (stats.exports_ok, stats.requests_repeated) == (2, 1)


@pytest.mark.parametrize(
    ("preference", "delta"),
    [
        ("cumulative", set()),
        ("delta", {"counter", "observable_counter", "histogram"}),
        ("low_memory", {"counter", "histogram"}),
    ],
)
def test_the_preference_of_temporality_is_the_one_of_the_specification(preference, delta, context):
    with load_exporter("otlp_http", {"temporality_preference": preference}) as exporter:
        found = {kind for kind in InstrumentKind if exporter.temporality(kind) is AggregationTemporality.DELTA}
    assert found == delta


def test_histograms_are_aggregated_as_the_option_says():
    options = {"default_histogram_aggregation": "base2_exponential_bucket_histogram"}
    with load_exporter("otlp_http", options) as exporter:
        found = {kind: type(exporter.aggregation(kind)) for kind in InstrumentKind}
    assert found.pop(InstrumentKind.HISTOGRAM) is ExponentialBucketHistogramAggregation
    assert set(found.values()) == {DefaultAggregation}
