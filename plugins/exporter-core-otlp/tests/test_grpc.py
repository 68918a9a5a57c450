"""otlp_grpc against the kit's sink: what arrives, what is tried again, and what ends a call."""

import math
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import grpc
import pytest
from exporter_core_otlp import OtlpGrpcConfig, OtlpGrpcExporter

from exporter_core import (
    Context,
    ContextCancelledError,
    DeadlineExceededError,
    ExporterError,
    PartialSuccessError,
)
from exporter_core.conformance import flatten
from exporter_core.conformance.observe.tokens import Tokens
from exporter_core.conformance.sinks import OtlpGrpcSink
from exporter_core.otlp import decode

pytestmark = pytest.mark.usefixtures("warm_python")

RETRYABLE = {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
CODES = [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


@pytest.fixture(scope="module")
def started():
    with OtlpGrpcSink() as sink:
        yield sink


@pytest.fixture
def sink(started):
    started.script()
    started.await_closed()  # what the last test gave up on may not have been read yet
    started.clear()
    return started


@pytest.fixture
def make(sink, make_grpc_exporter):
    """Makes exporters that send to the sink."""
    return partial(make_grpc_exporter, sink.endpoint)


@pytest.fixture
def batch():
    return Tokens("grpc").batch()


def arrived(sink):
    return [point for request in sink.requests() if request.stored for point in flatten(decode(request.body))]


def sockets():
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(descriptor.readlink()))
        except OSError:
            pass  # the descriptor of the listing itself
    return {name for name in found if name.startswith("socket:")}


def failed(exporter, context, batch):
    with pytest.raises(ExporterError) as caught:
        exporter.export(context, batch.metrics)
    return str(caught.value)


# --- what arrives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_kind_of_point_arrives_as_it_was_over_one_connection(make, sink, context, compression):
    exporter, tokens = make(compression=compression), Tokens("grpc")
    sent = [tokens.rich(), tokens.batch(), tokens.batch(5)]
    for one in sent:
        exporter.export(context, one.metrics)
    assert {point.token: point.fields for point in arrived(sink)} == {
        point.token: point.fields for one in sent for point in one.points
    }
    assert len([one for one in sink.connections() if one.closed is None]) == 1
    assert [request.problems for request in sink.requests()] == [()] * 3


def test_gzip_saves_bytes_on_the_wire(make, sink, context):
    metrics = Tokens("grpc").batch(2000).metrics
    received = []
    for compression in ("none", "gzip"):
        exporter = make(compression=compression)
        sink.clear()
        exporter.export(context, metrics)
        exporter.shutdown(context)
        sink.await_closed()
        received.append(sink.connections()[-1].bytes_received)
    size = len(sink.requests()[-1].body)
    assert received[0] > size > 3 * received[1]


def test_headers_are_sent_with_every_request_and_so_is_the_name_of_the_exporter(make, sink, context, batch):
    exporter = make(headers=[{"name": "Api-Key", "value": "s3cret"}], headers_list="tenant=blue")
    exporter.export(context, batch.metrics)
    exporter.export(context, batch.metrics)
    for request in sink.requests():
        assert request.sent_header("api-key", "s3cret")
        assert request.header("tenant") == "blue"
        assert request.header("user-agent") == "exporter-core-otlp/1.0.0"


def test_a_user_agent_among_the_headers_comes_first(make, sink, context, batch):
    make(headers=[{"name": "User-Agent", "value": "shop/2"}]).export(context, batch.metrics)
    assert sink.requests()[0].header("user-agent") == "shop/2"


def test_an_empty_batch_is_not_sent(make, sink, context):
    make().export(context, Tokens("grpc").empty().metrics)
    assert sink.requests() == []


# --- what is tried again ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_a_status_is_tried_again_where_otlp_says_so(make, sink, context, batch, code):
    sink.script(f"status:{code}")
    exporter = make()
    if code in RETRYABLE:
        exporter.export(context, batch.metrics)
        first, second = sink.requests()
        assert first.body == second.body
        assert len(arrived(sink)) == len(batch.points)
    else:
        assert failed(exporter, context, batch) == f"{sink.endpoint}: {code}: scripted"
        assert len(sink.requests()) == 1


def test_an_exhausted_resource_is_tried_again_when_the_server_says_when(make, sink, context, batch):
    sink.script("retry-after:0.001:RESOURCE_EXHAUSTED")
    make().export(context, batch.metrics)
    assert len(sink.requests()) == 2


def test_a_wait_that_the_server_asks_for_and_that_cannot_fit_is_not_begun(make, sink, context, batch):
    sink.script(then="retry-after:3600")
    message = failed(make(), context, batch)
    assert message.startswith(f"{sink.endpoint}: UNAVAILABLE: scripted; gave up: no time left")
    assert len(sink.requests()) == 1


@pytest.mark.parametrize("fault", ["reset", "truncate"])
def test_a_connection_that_breaks_is_made_again(make, sink, context, batch, fault):
    sink.script(fault)
    make().export(context, batch.metrics)
    assert len(sink.requests()) == 2


@pytest.mark.parametrize("fault", ["garbage", "truncate"])
def test_an_answer_that_is_none_is_no_success(make, sink, context, batch, fault):
    sink.script(then=fault)
    assert failed(make(retry={"enabled": False}), context, batch).startswith(f"{sink.endpoint}: the answer is ")


def test_points_that_the_server_refuses_are_counted(make, sink, context, batch):
    sink.script("partial:2")
    with pytest.raises(PartialSuccessError, match="2 of 3 points were not taken: scripted") as caught:
        make().export(context, batch.metrics)
    assert caught.value.rejected_points == 2


def test_a_server_that_is_not_there_is_said_at_once(make, sink, context, batch):
    sink.script(then="refuse")
    message = failed(make(retry={"enabled": False}), context, batch)
    assert message == f"{sink.endpoint}: cannot connect: Connection refused"


def test_a_server_that_was_started_again_is_found_again(context, batch):
    with OtlpGrpcSink() as first:
        port = first.port
        options = {"endpoint": first.endpoint, "retry": {"initial_interval": 20, "max_elapsed_time": 0}, "timeout": 0}
        exporter = OtlpGrpcExporter(OtlpGrpcConfig(**options))
        exporter.export(context, batch.metrics)
        os.kill(first.pid, signal.SIGKILL)
    with OtlpGrpcSink(port=port) as second:
        exporter.export(context, batch.metrics)
        assert len(second.points()) == len(batch.points)
        exporter.shutdown(context)
        second.await_closed()


# --- what ends a call -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["hang", "drip", "blackhole"])
def test_the_deadline_ends_a_call_that_does_not_end(make, sink, batch, fault):
    sink.script(then=fault)
    with pytest.raises(DeadlineExceededError):
        make().export(Context.with_timeout(0.05), batch.metrics)


@pytest.mark.parametrize("deadline", [None, math.inf, 1e6, 9e7, 1e9, 1e12, 1e300])
@pytest.mark.parametrize("timeout", [0, 9_223_372_036_000])
def test_a_deadline_that_is_far_away_is_none(make, sink, batch, deadline, timeout):
    make(timeout=timeout).export(Context(deadline=deadline), batch.metrics)
    assert len(sink.requests()) == 1


def test_the_option_timeout_ends_an_export(make, sink, context, batch):
    sink.script(then="hang")
    with pytest.raises(DeadlineExceededError):
        make(timeout=50).export(context, batch.metrics)


def test_a_call_is_cancelled_at_once_and_its_request_dropped(make, sink, batch):
    exporter, context = make(), Context.background()
    with sink.shut() as gate:
        canceller = threading.Thread(target=lambda: (gate.await_entered(), context.cancel("enough")))
        canceller.start()
        with pytest.raises(ContextCancelledError, match="enough"):
            exporter.export(context, batch.metrics)
        canceller.join()
        sink.await_closed()
    assert sink.points() == []


def test_ctrl_c_ends_a_call_and_the_next_export_is_none_the_worse(sink):
    """On the main thread, with nothing in between."""
    program = f"""if True:
        import os, signal, threading
        from exporter_core import Context
        from exporter_core.conformance.observe.tokens import Tokens
        from exporter_core_otlp import OtlpGrpcConfig, OtlpGrpcExporter
        exporter, tokens = OtlpGrpcExporter(OtlpGrpcConfig(endpoint={sink.endpoint!r})), Tokens("interrupted")
        exporter.export(Context.with_timeout(60), tokens.batch(1).metrics)
        print("exported", flush=True)
        input()
        threading.Thread(target=lambda: (input(), os.kill(os.getpid(), signal.SIGINT)), daemon=True).start()
        try:
            exporter.export(Context.with_timeout(60), tokens.batch(1).metrics)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        input()
        exporter.export(Context.with_timeout(60), tokens.batch(1).metrics)
        exporter.shutdown(Context.with_timeout(60))
        print("exported again", flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "exported\n"
        with sink.shut() as gate:
            process.stdin.write("\n")
            process.stdin.flush()
            gate.await_entered()
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "interrupted\n"
        assert process.communicate("\n")[0] == "exported again\n"


def test_no_socket_stays_of_an_attempt_to_connect_that_was_given_up(make, sink, batch):
    sink.script(then="blackhole")
    before = sockets()
    exporter = make()
    with pytest.raises(DeadlineExceededError):
        exporter.export(Context.with_timeout(0.05), batch.metrics)
    exporter.shutdown(Context.with_timeout(60))
    assert sockets() <= before


def test_no_thread_stays_after_an_export(make, context, batch):
    def others():
        return [thread for thread in threading.enumerate() if thread.name != "exporter-core-timer"]

    before, exporter = others(), make()
    for _ in range(3):
        exporter.export(context, batch.metrics)
    assert others() == before


def test_an_export_can_be_made_while_the_interpreter_exits(sink):
    """When no thread can be started any more."""
    program = f"""if True:
        import atexit
        from exporter_core import Context
        from exporter_core.conformance.observe.tokens import Tokens
        from exporter_core_otlp import OtlpGrpcConfig, OtlpGrpcExporter
        exporter = OtlpGrpcExporter(OtlpGrpcConfig(endpoint={sink.endpoint!r}))
        @atexit.register
        def last():
            exporter.export(Context.with_timeout(60), Tokens("exit").batch().metrics)
            exporter.shutdown(Context.with_timeout(60))
            print("exported")
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "exported\n"
    assert len(sink.points()) == 3


# --- forks ------------------------------------------------------------------------------------------------------------


def in_child(function):
    """Whether the function returned, in a forked child."""
    process = os.fork()
    if process == 0:
        try:
            function()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(process, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_exports_and_leaves_the_connection_of_its_parent_alone(make, sink, context, batch):
    exporter = make()
    exporter.export(context, batch.metrics)
    assert in_child(lambda: (exporter.export(context, batch.metrics), exporter.shutdown(context)))
    exporter.export(context, batch.metrics)
    first, of_child, last = (request.connection for request in sink.requests())
    assert first == last != of_child


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_call_disturbs_neither_the_parent_nor_the_child(make, sink, context, batch):
    exporter = make()
    gate = sink.shut()
    parked = threading.Thread(target=exporter.export, args=(context, batch.metrics))
    parked.start()
    gate.await_entered()

    def export():
        gate.open()
        exporter.export(context, batch.metrics)

    assert in_child(export)
    parked.join()
    assert len({request.connection for request in sink.requests()}) == 2
    assert len(sink.points()) == 2 * len(batch.points)
