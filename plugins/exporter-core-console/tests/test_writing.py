"""Where the text goes, in which order, and for how long: pipes, terminals, files and what replaces stdout."""

import contextlib
import fcntl
import gzip
import io
import json
import os
import pty
import select
import subprocess
import sys
import threading
import tty

import pytest

from exporter_core import Context, ContextCancelledError, DeadlineExceededError, ExporterError

pytestmark = pytest.mark.usefixtures("warm_python")

SOON = 0.1
GENEROUS = 20


def lines_of(data):
    return [json.loads(line) for line in data.splitlines()]


@pytest.fixture
def in_thread():
    """Calls on a thread; the outcome, an exception or None, stands in the list once the thread has ended."""
    threads = []

    def call(function, *arguments):
        outcome = []

        def run():
            try:
                function(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
                outcome.append(error)
            else:
                outcome.append(None)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        threads.append(thread)
        return thread, outcome

    yield call
    for thread in threads:
        thread.join(GENEROUS)
        assert not thread.is_alive()


def wait_for_data(descriptor):
    assert select.select([descriptor], [], [], GENEROUS)[0]


# --- a pipe that nobody reads ----------------------------------------------------------------------------------------


def test_a_full_pipe_ends_the_export_at_its_deadline_and_the_next_one_succeeds(exporter, batch, pipe):
    pipe.as_stdout()
    console = exporter()
    flags = fcntl.fcntl(pipe.write_end, fcntl.F_GETFL)
    pipe.fill()
    with pytest.raises(DeadlineExceededError):
        console.export(Context.with_timeout(SOON), batch(("lost", 1, {})))
    assert fcntl.fcntl(pipe.write_end, fcntl.F_GETFL) == flags
    pipe.drain()
    console.export(Context.with_timeout(GENEROUS), batch(("m", 1, {})))
    assert [line["metric"] for line in lines_of(pipe.drain())] == ["m"]


@pytest.fixture
def end_in_the_middle(with_more_time, exporter, pipe):
    """Has the deadline of an export pass when the pipe is full of the beginning of its text; that beginning."""

    def end(data, console=None):
        def attempt(seconds):
            with pytest.raises(DeadlineExceededError):
                (console or exporter()).export(Context.with_timeout(seconds), data)
            return pipe.drain()

        return with_more_time(attempt)

    return end


def test_a_pipe_that_fills_up_during_the_export_ends_it_too(batch, pipe, end_in_the_middle):
    pipe.as_stdout()
    received = lines_of(end_in_the_middle(batch(*((f"m{n}", n, {}) for n in range(100)))))
    assert [line["metric"] for line in received] == [f"m{n}" for n in range(len(received))]
    assert 0 < len(received) < 100


def test_a_blocked_export_ends_when_its_context_is_cancelled(exporter, batch, pipe, in_thread):
    pipe.as_stdout()
    context = Context.background()
    thread, outcome = in_thread(exporter().export, context, batch(*((f"m{n}", n, {}) for n in range(100))))
    wait_for_data(pipe.read_end)  # a part is in the pipe, and there is no room for the rest
    context.cancel("enough")
    thread.join(GENEROUS)
    assert isinstance(outcome[0], ContextCancelledError)


def test_a_line_cut_short_by_a_deadline_does_not_spoil_the_next(exporter, batch, pipe, end_in_the_middle):
    pipe.as_stdout()
    console = exporter()
    first = end_in_the_middle(batch(("cut", 1, {"a": "x" * 3 * pipe.size})), console)
    assert not first.endswith(b"\n")
    exporter().export(Context.with_timeout(GENEROUS), batch(("m", 1, {})))
    line_feed, line = pipe.drain().splitlines()
    assert (line_feed, json.loads(line)["metric"]) == (b"", "m")
    console.export(Context.with_timeout(GENEROUS), batch(("n", 1, {})))
    assert [line["metric"] for line in lines_of(pipe.drain())] == ["n"]


def test_text_that_was_buffered_and_finds_no_room_ends_the_export_at_its_deadline(
    exporter, batch, pipe, with_more_time
):
    stdout = pipe.as_stdout()
    stdout.write("y" * 6000 + "\n")  # more than the pipe takes, less than stdout writes by itself
    console = exporter()

    def attempt(seconds):
        with pytest.raises(DeadlineExceededError):
            console.export(Context.with_timeout(seconds), batch(("lost", 1, {})))
        return select.select([pipe.read_end], [], [], 0)[0]

    with_more_time(attempt, SOON)
    with pytest.raises(DeadlineExceededError):  # the flush that was left behind still has the buffer
        console.export(Context.with_timeout(SOON), batch(("lost", 1, {})))
    data = pipe.drain()
    while b"\n" not in data:
        wait_for_data(pipe.read_end)
        data += pipe.drain()
    assert data == b"y" * 6000 + b"\n"
    console.export(Context.with_timeout(GENEROUS), batch(("m", 1, {})))
    assert [line["metric"] for line in lines_of(pipe.drain())] == ["m"]


def test_an_exporter_waits_for_another_one_no_longer_than_its_own_context(exporter, batch, pipe, in_thread):
    pipe.as_stdout()
    blocked = Context.background()
    in_thread(exporter().export, blocked, batch(*((f"m{n}", n, {}) for n in range(100))))
    wait_for_data(pipe.read_end)
    try:
        with pytest.raises(DeadlineExceededError):
            exporter().export(Context.with_timeout(SOON), batch(("other", 1, {})))
    finally:
        blocked.cancel()


def test_a_terminal_that_nobody_reads_ends_the_export_at_its_deadline(exporter, batch, stdout_to):
    master, slave = pty.openpty()
    try:
        tty.setraw(slave)
        stdout_to(slave)
        many = batch(*((f"m{n}", n, {"a": "x" * 1000}) for n in range(300)))
        for form in ("table", "json"):
            with pytest.raises(DeadlineExceededError):
                exporter(format=form).export(Context.with_timeout(1), many)
        assert os.get_blocking(slave)
    finally:
        os.close(master)
        os.close(slave)


def test_where_a_pipe_cannot_be_opened_again_deadlines_are_kept_all_the_same(
    batch, pipe, monkeypatch, end_in_the_middle
):
    def refuse(path, flags, *arguments, **options):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    pipe.as_stdout()
    assert lines_of(end_in_the_middle(batch(*((f"m{n}", n, {}) for n in range(100)))))


# --- what is closed, full or gone ------------------------------------------------------------------------------------


def test_a_pipe_without_reader_is_an_error_that_says_so(exporter, batch, context, pipe):
    pipe.as_stdout()
    pipe.close_reader()
    with pytest.raises(ExporterError, match=r"^cannot write to stdout: the pipe's reader has closed it$"):
        exporter().export(context, batch(("m", 1, {})))


def test_a_closed_pipe_leaves_no_trace_at_exit():
    program = """
import os, sys
from opentelemetry.sdk.metrics.export import *
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from exporter_core import Context, ExporterError
from exporter_core_console import ConsoleConfig, ConsoleExporter
metric = Metric("m", "", "1", Gauge([NumberDataPoint({}, 1, 2, 3)]))
data = MetricsData([ResourceMetrics(Resource({}), [ScopeMetrics(InstrumentationScope("s"), [metric], "")], "")])
sys.stdin.read()
try:
    ConsoleExporter(ConsoleConfig()).export(Context.with_timeout(60), data)
except ExporterError as error:
    print(error, file=sys.stderr)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        child.stdout.close()
        child.stdin.close()
        errors = child.stderr.read().decode()
    assert (errors, child.returncode) == ("cannot write to stdout: the pipe's reader has closed it\n", 0)


def test_a_full_disk_is_an_error_that_says_so(exporter, batch, context, stdout_to):
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        stdout_to(descriptor)
        with pytest.raises(ExporterError, match=r"^cannot write to stdout: no space left on device$"):
            exporter().export(context, batch(("m", 1, {})))
    finally:
        os.close(descriptor)


def test_a_closed_stream_is_an_error_that_says_so(exporter, batch, context, pipe):
    pipe.as_stdout().close()
    with pytest.raises(ExporterError, match=r"^cannot write to stdout: sys\.stdout is closed$"):
        exporter().export(context, batch(("m", 1, {})))


def test_a_closed_descriptor_is_an_error_that_says_so(exporter, batch, context, pipe):
    pipe.as_stdout()
    pipe.close_writer()
    with pytest.raises(ExporterError, match=r"^cannot write to stdout: its file descriptor is closed$"):
        exporter().export(context, batch(("m", 1, {})))


def test_a_process_without_stdout_is_an_error_that_says_so(exporter, batch, context, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(ExporterError, match=r"^cannot write to stdout: this process has none \(sys\.stdout is None\)$"):
        exporter().export(context, batch(("m", 1, {})))


# --- what replaces stdout --------------------------------------------------------------------------------------------


def test_a_replaced_stdout_is_written_through(exporter, batch, context):
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        exporter().export(context, batch(("m", 1, {})))
    assert [line["metric"] for line in lines_of(stream.getvalue())] == ["m"]


def test_a_capture_of_the_test_runner_sees_what_is_exported(exporter, batch, context, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    exporter(stream="stderr").export(context, batch(("m", 1, {})))
    exporter(format="table").export(context, batch(("n", 1, {})))
    captured = capsys.readouterr()
    assert [line["metric"] for line in lines_of(captured.err)] == ["m"]
    assert "\nn  gauge  1\n  1\n" in captured.out


def test_a_stdout_that_does_more_than_write_is_not_bypassed(exporter, batch, context, monkeypatch, tmp_path):
    copies = []

    class Tee(io.TextIOWrapper):
        def write(self, text):
            copies.append(text)
            return super().write(text)

    with Tee((tmp_path / "tee").open("wb"), encoding="utf-8") as tee:
        monkeypatch.setattr(sys, "stdout", tee)
        exporter().export(context, batch(("m", 1, {})))
    assert [line["metric"] for line in lines_of("".join(copies))] == ["m"]
    with gzip.open(tmp_path / "gz", "wt") as compressed:
        monkeypatch.setattr(sys, "stdout", compressed)
        exporter().export(context, batch(("n", 1, {})))
    with gzip.open(tmp_path / "gz") as compressed:
        assert [line["metric"] for line in lines_of(compressed.read())] == ["n"]


def test_a_replaced_stdout_that_fails_is_an_exporter_error(exporter, batch, context, monkeypatch):
    class Broken:
        encoding = "utf-8"

        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Broken())
    with pytest.raises(ExporterError, match="cannot write to stdout: no space left on device"):
        exporter().export(context, batch(("m", 1, {})))


def test_what_an_encoding_does_not_have_is_written_as_an_escape(exporter, batch, context, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    exporter(format="table").export(context, batch(("größe", 1, {"a": "日本"})))
    assert "größe" in raw.getvalue().decode("latin-1")
    assert r"a=\u65e5\u672c" in raw.getvalue().decode("latin-1")


# --- order and tearing -----------------------------------------------------------------------------------------------


def test_what_was_printed_before_comes_before_in_a_file(exporter, batch, context, stdout_to, tmp_path):
    with (tmp_path / "out").open("w+b") as file:
        stdout_to(file.fileno())
        for name in "ab":
            print(f'"before {name}"')  # noqa: T201 - what an application does
            exporter().export(context, batch((name, 1, {})))
        file.seek(0)
        before_a, a, before_b, b = lines_of(file.read())
    assert (before_a, a["metric"], before_b, b["metric"]) == ("before a", "a", "before b", "b")


def test_what_was_printed_before_comes_before_in_a_pipe(exporter, batch, context, pipe):
    pipe.as_stdout()
    for name in "ab":
        print(f'"before {name}"')  # noqa: T201 - what an application does
        fcntl.fcntl(pipe.write_end, fcntl.F_SETPIPE_SZ, 65536)  # room for two writes with nobody reading
        exporter().export(context, batch((name, 1, {})))
    before_a, a, before_b, b = lines_of(pipe.drain())
    assert (before_a, a["metric"], before_b, b["metric"]) == ("before a", "a", "before b", "b")


def test_a_long_batch_arrives_whole_through_a_pipe(exporter, batch, context, pipe, in_thread):
    pipe.as_stdout()
    received = []
    thread, _ = in_thread(lambda: received.append(pipe.read_to_the_end()))
    exporter().export(context, batch(*((f"m{n}", n, {"a": "x" * 20 * n}) for n in range(1000))))
    pipe.close_writer()
    thread.join(GENEROUS)
    assert [line["metric"] for line in lines_of(received[0])] == [f"m{n}" for n in range(1000)]


def test_lines_of_two_exporters_do_not_tear_each_other(exporter, batch, context, pipe, in_thread):
    pipe.as_stdout()
    received = []
    reading, _ = in_thread(lambda: received.append(pipe.read_to_the_end()))
    start = threading.Barrier(2)

    def export_often(name):
        console = exporter()
        data = batch(*((name, number, {"a": name * 6000}) for number in range(5)))  # lines longer than the pipe
        start.wait(GENEROUS)
        for _ in range(10):
            console.export(context, data)

    writing = [in_thread(export_often, name) for name in "ab"]
    for thread, outcome in writing:
        thread.join(GENEROUS)
        assert outcome == [None]
    pipe.close_writer()
    reading.join(GENEROUS)
    names = [line["metric"] for line in lines_of(received[0])]
    assert sorted(names) == ["a"] * 50 + ["b"] * 50


def test_an_empty_batch_prints_nothing(exporter, batch, context, capsys):
    for form in ("table", "json"):
        exporter(format=form).export(context, batch())
    assert capsys.readouterr() == ("", "")


def test_a_fork_beside_a_blocked_export_leaves_the_child_able_to_write():
    program = """
import os, select, sys, threading
from opentelemetry.sdk.metrics.export import *
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from exporter_core import Context, ContextCancelledError
from exporter_core_console import ConsoleConfig, ConsoleExporter

def data(name):
    metric = Metric(name, "", "1", Gauge([NumberDataPoint({"a": "x" * 100_000}, 1, 2, 3)]))
    return MetricsData([ResourceMetrics(Resource({}), [ScopeMetrics(InstrumentationScope("s"), [metric], "")], "")])

read_end, write_end = os.pipe()
sys.stdout = open(write_end, "w")
context = Context.background()
def block():
    try:
        ConsoleExporter(ConsoleConfig()).export(context, data("parent"))
    except ContextCancelledError:
        pass
thread = threading.Thread(target=block)
thread.start()
select.select([read_end], [], [])  # the parent's export holds what guards the pipe
child = os.fork()
if not child:
    try:
        threading.Thread(target=lambda: [os.read(read_end, 65536) for _ in iter(int, 1)], daemon=True).start()
        ConsoleExporter(ConsoleConfig()).export(Context.with_timeout(20), data("child"))
        os._exit(0)
    finally:
        os._exit(1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
context.cancel()
thread.join()
sys.stdout = sys.__stdout__
sys.exit(status)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, check=False, timeout=GENEROUS
    )
    assert (done.returncode, done.stderr) == (0, b"")
