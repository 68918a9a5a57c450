"""The SDK's own console exporter and the official OTLP exporters, selected by name, with and without a backend."""

from __future__ import annotations

import io
import json
import socket
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import AggregationTemporality

from exporter_core import load_exporter
from exporter_core.context import Context
from exporter_core.contract import InstrumentKind
from exporter_core.errors import DeadlineExceededError, ExporterError, ExporterShutdownError

pytestmark = pytest.mark.usefixtures("warm_python")

CONSOLE = "opentelemetry-sdk:console"
HTTP = "otlp_proto_http"
GRPC = "otlp_proto_grpc"


@pytest.fixture
def closed_port():
    """A port of this machine on which nothing listens, bound so that nothing else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def cities(body):
    """The attribute of each point of an OTLP request."""
    request = body if isinstance(body, ExportMetricsServiceRequest) else ExportMetricsServiceRequest.FromString(body)
    return [
        point.attributes[0].value.string_value
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.sum.data_points
    ]


# --- console ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", ["thread", "inline"])
def test_the_sdks_console_exporter_writes_what_it_is_handed(context, metrics, runner):
    out = io.StringIO()
    with load_exporter(CONSOLE, {"out": out}, runner=runner) as exporter:
        exporter.export(context, metrics)
        exporter.force_flush(context)
    (resource,) = json.loads(out.getvalue())["resource_metrics"]
    assert resource["scope_metrics"][0]["metrics"][0]["name"] == "parcels"


def test_only_the_options_that_are_given_reach_it(context, metrics):
    out = io.StringIO()
    with load_exporter(CONSOLE, {"out": out, "formatter": lambda data: type(data).__name__}) as exporter:
        exporter.export(context, metrics)
    assert out.getvalue() == "MetricsData"


def test_preferences_can_be_given_from_python():
    with load_exporter(CONSOLE, {"preferred_temporality": {Counter: AggregationTemporality.DELTA}}) as exporter:
        assert exporter.temporality(InstrumentKind.COUNTER) is AggregationTemporality.DELTA
        assert exporter.temporality(InstrumentKind.HISTOGRAM) is AggregationTemporality.CUMULATIVE


def test_an_error_of_the_console_names_it_and_its_cause(context, metrics):
    out = io.StringIO()
    out.close()
    with load_exporter(CONSOLE, {"out": out}) as exporter, pytest.raises(ExporterError) as caught:
        exporter.export(context, metrics)
    assert str(caught.value).startswith(
        f"exporter '{CONSOLE}': export failed: ValueError: I/O operation on closed file"
    )


def test_after_shutdown_the_console_is_silent(context, metrics):
    out = io.StringIO()
    with load_exporter(CONSOLE, {"out": out}) as exporter:
        exporter.shutdown(context)
        with pytest.raises(ExporterShutdownError):
            exporter.export(context, metrics)
    assert out.getvalue() == ""


def test_in_a_forked_child_it_is_built_again_from_its_options(run_python):
    code = """if True:
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on, of any fork beside threads
        from opentelemetry.sdk.metrics.export import MetricsData
        from exporter_core import Context, load_exporter

        exporter = load_exporter("opentelemetry-sdk:console")
        exporter.export(Context.with_timeout(30), MetricsData(resource_metrics=[]))
        sys.stdout.flush()
        child = os.fork()
        exporter.export(Context.with_timeout(30), MetricsData(resource_metrics=[]))
        exporter.shutdown(Context.with_timeout(30))
        if child:
            _, status = os.waitpid(child, 0)
            print("child", os.waitstatus_to_exitcode(status))
    """
    written = run_python(code)
    assert written.count('"resource_metrics"') == 3
    assert written.rstrip().endswith("child 0")


# --- OTLP over HTTP --------------------------------------------------------------------------------------------------


def test_otlp_http_delivers_to_a_server(context, metrics, backend):
    options = {"endpoint": backend.endpoint, "headers": {"x-tenant": "north"}}
    with load_exporter(HTTP, options) as exporter:
        exporter.export(context, metrics)
        exporter.force_flush(context)
        assert exporter.stats().points_accepted == 1
    ((headers, body),) = backend.received
    assert headers["x-tenant"] == "north"
    assert cities(body) == ["Basel"]


def test_otlp_http_takes_an_enumerated_option_by_its_value(context, metrics, backend):
    with load_exporter(HTTP, {"endpoint": backend.endpoint, "compression": "gzip"}) as exporter:
        exporter.export(context, metrics)
    assert backend.received[0][0]["Content-Encoding"] == "gzip"


def test_a_servers_refusal_is_in_the_error_without_the_secret_that_it_repeats(context, metrics, backend):
    backend.status, backend.reason = 401, "no such key: {x-api-key}"
    options = {"endpoint": backend.endpoint, "headers": {"x-api-key": "tiger lily"}}
    with load_exporter(HTTP, options) as exporter:
        for _ in range(2):
            with pytest.raises(ExporterError) as caught:
                exporter.export(context, metrics)
            assert str(caught.value) == (
                "exporter 'otlp_proto_http': export failed: it returned MetricExportResult.FAILURE and logged: "
                "Failed to export metrics batch code: 401, reason: no such key: ***"
            )
    assert backend.received[0][0]["x-api-key"] == "tiger lily"


def test_a_closed_port_is_an_error_in_time_that_says_so(context, metrics, closed_port):
    options = {"endpoint": f"http://127.0.0.1:{closed_port}/v1/metrics", "timeout": 0.5}
    with load_exporter(HTTP, options) as exporter, pytest.raises(ExporterError) as caught:
        exporter.export(context, metrics)
    assert "export failed: it returned MetricExportResult.FAILURE and logged: " in str(caught.value)
    assert "Failed to export metrics batch" in str(caught.value)


def test_a_server_that_never_answers_does_not_outlast_the_deadline(metrics):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections wait in its backlog
        options = {"endpoint": f"http://127.0.0.1:{silent.getsockname()[1]}/v1/metrics", "timeout": 20}
        exporter = load_exporter(HTTP, options)
        with pytest.raises(DeadlineExceededError):
            exporter.export(Context.with_timeout(0.2), metrics)
        # Closing the connection is what ends the call that was left behind.
        connection, _ = silent.accept()
        connection.close()
    exporter.shutdown(Context.with_timeout(30))


# --- OTLP over gRPC --------------------------------------------------------------------------------------------------


class Collector(MetricsServiceServicer):
    """Keeps what it is sent, or refuses it."""

    def __init__(self):
        self.received, self.refusal = [], None

    def Export(self, request, context):  # noqa: N802 - as the service definition has it
        if self.refusal:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, self.refusal)
        self.received.append(request)
        return ExportMetricsServiceResponse()


@pytest.fixture
def collector():
    service = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_MetricsServiceServicer_to_server(service, server)
    service.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    server.stop(0).wait(30)


def test_otlp_grpc_delivers_to_a_server(context, metrics, collector):
    with load_exporter(GRPC, {"endpoint": collector.endpoint, "insecure": True}) as exporter:
        exporter.export(context, metrics)
        exporter.force_flush(context)
    assert [cities(request) for request in collector.received] == [["Basel"]]


def test_a_repeated_failure_has_its_reason_each_time_though_the_exporter_logs_it_once(context, metrics, collector):
    collector.refusal = "closed on Sundays"
    with load_exporter(GRPC, {"endpoint": collector.endpoint, "insecure": True}) as exporter:
        for _ in range(3):
            with pytest.raises(ExporterError, match="PERMISSION_DENIED, error details: closed on Sundays"):
                exporter.export(context, metrics)


def test_otlp_grpc_to_a_closed_port_is_an_error_in_time(context, metrics, closed_port):
    options = {"endpoint": f"http://127.0.0.1:{closed_port}", "insecure": True, "timeout": 0.5}
    with (
        load_exporter(GRPC, options) as exporter,
        pytest.raises(ExporterError, match=r"logged: .*Failed to export metrics"),
    ):
        exporter.export(context, metrics)
