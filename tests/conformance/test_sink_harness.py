"""A harness over a sink: what arrives, faults, the gate and connections, run after run and in forked children."""

import os
import signal
import urllib.error
import urllib.request
from concurrent import futures
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExportResult

from exporter_core.conformance import FileSinkHarness, SinkHarness, StdoutSinkHarness
from exporter_core.conformance.observe.harness import FAULTS
from exporter_core.conformance.observe.journal import Journal
from exporter_core.conformance.observe.tokens import Tokens, compare
from exporter_core.conformance.resources import Resources


class OtlpHttp(SinkHarness):
    kind = "otlp_http"

    def config(self):
        return {"endpoint": self.endpoint}


class OtlpGrpc(SinkHarness):
    kind = "otlp_grpc"

    def config(self):
        return {"endpoint": self.endpoint}


class Lines(SinkHarness):
    kind = "http"

    def config(self):
        return {"url": self.endpoint}

    def decode(self, content):
        return content.decode().splitlines()


class Undecoded(SinkHarness):
    kind = "tcp"

    def config(self):
        return {"address": self.address}


class SdkFile(FileSinkHarness):
    def config(self):
        return {"path": self.path}


@pytest.fixture
def run(tmp_path: Path):
    """Sets a harness up for a run; what is left is torn down when the test is over."""
    made = []

    def start(harness_class, journal=None):
        harness = harness_class()
        harness.setup(tmp_path, (journal or Journal()).stamp)
        made.append(harness)
        return harness

    yield start
    for harness in made:
        harness.teardown()


@pytest.fixture
def aside():
    """A call on another thread, whose result is awaited."""
    with futures.ThreadPoolExecutor() as pool:
        yield pool.submit


def post(url: str, body: bytes = b"one\ntwo") -> int:
    try:
        with urllib.request.urlopen(url, body, timeout=30) as answer:  # noqa: S310 - a sink's own address
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize(
    ("harness_class", "exporter_class"), [(OtlpHttp, HttpExporter), (OtlpGrpc, GrpcExporter)], ids=["http", "grpc"]
)
def test_every_kind_of_point_comes_back_as_it_was_sent(run, harness_class, exporter_class):
    harness, batch = run(harness_class), Tokens("there").rich()
    exporter = exporter_class(**harness.config())
    assert exporter.export(batch.metrics) is MetricExportResult.SUCCESS
    exporter.shutdown()
    assert compare(batch.points, harness.read_back()).describe() == ""
    assert harness.requests() == 1


def test_the_json_of_the_sdk_comes_back_from_a_file_as_it_was_written(run):
    harness, batch = run(SdkFile), Tokens("there").rich()
    with harness.path.open("w", encoding="utf-8") as file:
        ConsoleMetricExporter(out=file).export(batch.metrics)
    assert compare(batch.points, harness.read_back()).describe() == ""


def test_a_harness_that_decodes_gets_the_bodies_that_were_stored(run):
    harness = run(Lines)
    harness.fault("status:503", "ok")
    assert [post(harness.endpoint, b"lost"), post(harness.endpoint)] == [503, 200]
    assert list(harness.read_back()) == ["one", "two"]


def test_what_a_sink_cannot_read_has_to_be_decoded(run):
    with pytest.raises(NotImplementedError, match="Undecoded has to define decode"):
        run(Undecoded).read_back()


def test_the_faults_are_those_of_the_sink():
    assert set(FAULTS) - OtlpHttp.faults == set()
    assert set(FAULTS) - OtlpGrpc.faults == {"redirect", "retry-after-date", "stall"}
    assert set(FAULTS) - Lines.faults == {"partial"}


def test_an_unknown_kind_of_sink_is_refused_where_it_is_written():
    with pytest.raises(TypeError, match=r"Wrong\.kind is 'smtp'; expected one of otlp_http, otlp_grpc"):
        type("Wrong", (SinkHarness,), {"kind": "smtp"})


@pytest.mark.parametrize(
    ("status", "code"), [("400", "INVALID_ARGUMENT"), ("503", "UNAVAILABLE"), ("14", "UNAVAILABLE")]
)
def test_for_grpc_a_status_is_the_code_that_means_it(run, status, code):
    harness = run(OtlpGrpc)
    harness.fault(f"status:{status}")
    exporter = GrpcExporter(**harness.config(), timeout=0.5)
    assert exporter.export(Tokens("there").batch().metrics) is MetricExportResult.FAILURE
    exporter.shutdown()
    assert {request.status for request in harness.sink.requests()} == {code}


def test_the_gate_holds_a_request_and_says_so(run, aside):
    harness = run(Lines)
    assert harness.entered() is False
    harness.shut()
    sent = aside(lambda: post(harness.endpoint))
    harness._gate.await_entered()
    assert harness.entered() is True
    assert list(harness.read_back()) == []
    harness.open()
    assert sent.result(30) == 200
    assert list(harness.read_back()) == ["one", "two"]


def test_connections_are_counted_while_they_are_open(run):
    harness = run(OtlpHttp)
    exporter = HttpExporter(**harness.config())
    exporter.export(Tokens("there").batch().metrics)
    assert harness.connections() == 1
    exporter.shutdown()
    harness.sink.await_closed()
    assert harness.connections() == 0


def test_each_run_has_an_address_of_its_own_and_nothing_of_the_last_one(run, tmp_path):
    first = Lines()
    first.setup(tmp_path, Journal().stamp)
    old = first.endpoint
    first.fault("status:500")
    first.shut()
    first.teardown()
    harness = run(Lines)
    assert harness.endpoint != old
    with pytest.raises(urllib.error.URLError, match="refused"):
        post(old)
    assert post(harness.endpoint) == 200
    assert harness.requests() == 1


def test_runs_share_one_process_which_is_started_again_if_it_was_killed(run):
    first, second = run(Lines), run(OtlpHttp)
    assert first.sink.pid == second.sink.pid
    os.kill(first.sink.pid, signal.SIGKILL)
    first._host._process.wait(30)
    third = run(Lines)
    assert third.sink.pid != first.sink.pid
    assert post(third.endpoint) == 200
    for harness in (first, second):
        harness.teardown = lambda: None  # their sinks are gone


def test_a_run_adds_no_thread_and_leaves_no_descriptor(run, tmp_path):
    run(Lines)
    before = Resources.now()
    harness = Lines()
    harness.setup(tmp_path, Journal().stamp)
    post(harness.endpoint)
    harness.read_back()
    assert before.added() == []
    harness.teardown()
    assert before.added() == []


def test_the_wire_log_is_in_the_timeline_where_it_happened(tmp_path):
    journal, harness = Journal(), Lines()
    harness.setup(tmp_path, journal.stamp)
    post(harness.endpoint)
    journal.stamp("note", "after the request")
    harness.teardown()
    told = [event.text for event in sorted(journal.events, key=lambda event: event.seconds)]
    assert [text for text in told if text.startswith("request")] == [
        "request 1: POST /, 7 bytes, ok",
        "request 1: stored",
        "request 1: answered 200",
    ]
    assert told.index("request 1: answered 200") < told.index("after the request")


def test_a_forked_child_and_its_parent_use_the_sink_side_by_side(run):
    harness = run(Lines)
    harness.shut()
    child = os.fork()
    if child == 0:
        try:
            harness.after_fork()
            seen = post(harness.endpoint, b"child") == 200 and "child" in harness.read_back()
            for _ in range(50):
                harness.requests()
        except BaseException:  # noqa: BLE001 - the exit code tells
            seen = False
        os._exit(0 if seen else 1)
    for _ in range(50):
        harness.requests()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert harness.read_back() == ["child"]


STDOUT = """if True:
    import os, sys, threading
    from pathlib import Path
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
    from exporter_core.conformance import StdoutSinkHarness
    from exporter_core.conformance.observe.journal import Journal
    from exporter_core.conformance.observe.tokens import Tokens, compare

    harness, exporter, batch = StdoutSinkHarness(), ConsoleMetricExporter(), Tokens("there").rich()
    harness.setup(Path(), Journal().stamp)
    harness.shut()
    thread = threading.Thread(target=exporter.export, args=[batch.metrics])
    thread.start()
    held = thread.is_alive() and not harness.read_back()
    harness.open()
    thread.join()
    whole = compare(batch.points, harness.read_back()).describe()
    harness.fault("refuse")
    try:
        os.write(1, b"x")
        refused = False
    except BrokenPipeError:
        refused = True
    harness.fault("ok")
    exporter.export(Tokens("other").batch().metrics)
    more = len(harness.read_back()) - len(batch.points)
    harness.teardown()
    print(held, repr(whole), refused, more)
"""


def test_standard_output_is_held_up_read_back_and_broken(run_python):
    assert run_python(STDOUT).split() == ["True", "''", "True", "3"]


def test_the_harness_of_standard_output_has_no_options():
    assert StdoutSinkHarness().config() == {}


def test_importing_the_harness_needs_none_of_the_extra(run_python):
    code = "import sys; from exporter_core.conformance import SinkHarness; print('grpc' in sys.modules)"
    assert run_python(code).strip() == "False"
