"""The process of a sink: its start, its end with the parent, its errors, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from exporter_core.conformance.resources import Resources
from exporter_core.conformance.sinks import (
    HttpSink,
    OtlpHttpSink,
    SinkError,
    SinkPortTakenError,
    SinkStartError,
    StdoutSink,
    TcpSink,
    start_sinks,
)
from exporter_core.conformance.sinks.server.core import NetworkServer
from exporter_core.errors import ExporterCoreError


def await_end(pid: int) -> bool:
    """Whether the process ends within a generous bound."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(descriptor):
        return bool(select.select([descriptor], [], [], 30)[0])


def test_leaving_the_block_ends_the_process_and_leaves_nothing_behind():
    with HttpSink():
        pass  # what the interpreter opens only once is open after this
    before = Resources.now()
    with HttpSink() as sink, StdoutSink() as other:
        pids = [sink.pid, other.pid]
        assert Resources.now().threads <= before.threads
    assert before.added() == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_several_sinks_share_one_process():
    with start_sinks(HttpSink(), TcpSink(), OtlpHttpSink()) as (first, second, third):
        assert first.pid == second.pid == third.pid
        assert len({first.port, second.port, third.port}) == 3
        first.script("status:503")
        assert second.requests() == third.requests() == []


def test_a_taken_port_is_a_clear_error_and_leaves_no_process():
    before = Resources.now()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(SinkPortTakenError, match=f"sink http: port {port} of 127.0.0.1 is taken .* choose another"),
            HttpSink(port=port),
        ):
            pass
    assert before.added() == []


def test_two_sinks_cannot_have_one_port():
    with HttpSink() as first, pytest.raises(SinkPortTakenError), TcpSink(port=first.port):
        pass


def test_a_port_can_be_chosen_also_right_after_it_was_used(post):
    with HttpSink() as first:
        post(first)
        port = first.port
    with HttpSink(port=port) as second:
        assert second.endpoint == f"http://127.0.0.1:{port}"
        post(second)


def test_a_port_is_kept_while_nothing_listens_on_it():
    with HttpSink() as sink:
        sink.script(then="refuse")
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", sink.port))


def test_a_killed_sink_is_an_error_that_says_so():
    with HttpSink() as sink:
        os.kill(sink.pid, signal.SIGKILL)
        assert await_end(sink.pid)
        with pytest.raises(SinkError, match=r"has ended \(status -9\)"):
            sink.requests()


def test_a_sink_that_was_not_started_or_is_closed_says_so():
    sink = HttpSink()
    with pytest.raises(SinkError, match="not started; use it in a with block"):
        sink.requests()
    with sink:
        pass
    with pytest.raises(SinkError, match="closed: read what it recorded before"):
        sink.requests()
    sink.close()


PARENT = """
import os, sys, time
from exporter_core.conformance.sinks import HttpSink
sink = HttpSink().__enter__()
{more}
print(sink.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("", id="alone"),
        # A forked child keeps its copy of the channel to the sinks for as long as standard input stays open.
        pytest.param("if os.fork() == 0:\n    sys.stdin.read(); os._exit(0)", id="with a forked child"),
    ],
)
def test_a_sink_ends_when_its_parent_is_killed(more):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(more=more)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        pid = int(parent.stdout.readline())
        parent.kill()
        assert await_end(pid)


def test_a_sink_closes_at_once_while_a_forked_child_lives(run_python):
    run_python("""
import os
from exporter_core.conformance.sinks import HttpSink
read, write = os.pipe()
with HttpSink() as sink:
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    pid = sink.pid
try:
    os.kill(pid, 0)
except ProcessLookupError:
    pass
else:
    raise AssertionError("the sink is still there")
os.close(write)
assert os.waitpid(child, 0)[1] == 0
""")


def test_a_forked_child_can_use_the_sink_and_does_not_end_it(run_python):
    run_python("""
import os, urllib.request
from exporter_core.conformance.sinks import HttpSink
with HttpSink() as sink:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            urllib.request.urlopen(sink.endpoint, timeout=30).close()
            status = 0 if len(sink.requests()) == 1 else 2
            sink.close()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert len(sink.requests()) == 1
""")


def test_calls_of_several_threads_do_not_wait_for_each_other(post, aside):
    with HttpSink() as sink:
        gate = sink.shut()
        waiting = aside(gate.await_entered)
        assert sink.requests() == []
        call = aside(lambda: post(sink))
        assert waiting.result().sequence > 0
        gate.open()
        assert call.result().status == 200


def test_a_missing_extra_is_named_with_the_command_that_installs_it(run_python):
    program = """
import sys
sys.path[:] = sys.path + []
from exporter_core.conformance.sinks import RemoteWriteSink, SinkStartError, HttpSink
with HttpSink():
    pass
sys.path.insert(0, sys.argv[1])
try:
    RemoteWriteSink().__enter__()
except SinkStartError as error:
    print(error)
"""
    hidden = Path("hidden")
    printed = run_python(
        "from pathlib import Path\nPath('hidden').mkdir()\n"
        "Path('hidden/cramjam.py').write_text('raise ModuleNotFoundError(\"No module\", name=\"cramjam\")')\n"
        + program,
        str(hidden),
    )
    assert printed.strip() == (
        "sink remote_write: the module cramjam is missing; install it with: pip install 'exporter-core[conformance]'"
    )


def test_importing_the_sinks_is_light(run_python):
    printed = run_python(
        "import sys\nimport exporter_core.conformance.sinks\n"
        "print(sorted({'grpc', 'google', 'cramjam', 'asyncio', 'opentelemetry', 'pydantic'} & set(sys.modules)))"
    )
    assert printed.strip() == "[]"


def test_a_fault_of_the_sink_itself_is_kept_for_who_asks():
    class Buggy(NetworkServer):
        async def serve(self, wire):
            raise ZeroDivisionError("a bug")

    async def run() -> list[str]:
        sink = Buggy()
        listener = sink.listener
        _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        await sink.until(lambda: listener.wires != [] and listener.wires[0].ended, 30)
        writer.close()
        await writer.wait_closed()
        listener.stop(keep_port=False)
        return sink.failures

    assert asyncio.run(run()) == ["ZeroDivisionError: a bug"]


def test_errors_are_of_the_package():
    assert issubclass(SinkError, ExporterCoreError)
    assert issubclass(SinkStartError, SinkError)
    assert issubclass(SinkPortTakenError, SinkStartError)
