"""``run`` delivers this machine's metrics, drains when it is told to stop, and says what it could not deliver."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from exporter_core import ExporterError
from exporter_core.cli.run import Messages

PROGRAM = [sys.executable, "-m", "exporter_core"]
BOUND = 60  # seconds; ends failing runs only

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")

CONFIG = """
file_format: "1.1"
meter_provider:
  readers:
    - periodic:
        interval: {interval}
        exporter:
          sqlite:
            path: {path}
            busy_timeout_seconds: 100
"""


def run(*arguments, cwd, **options):
    return subprocess.run(
        [*PROGRAM, "run", *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
        **options,
    )


@pytest.fixture
def run_here(cli, tmp_path, monkeypatch):
    """Run the command in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    return partial(cli, "run")


def start(*arguments, cwd, by=()):
    return subprocess.Popen(
        [*by, *PROGRAM, "run", *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def config(tmp_path, *, path="metrics.db", interval=600_000):
    file = tmp_path / "metrics.yaml"
    file.write_text(CONFIG.format(path=path, interval=interval))
    return file


def catches_sigterm(process):
    """Whether the process has a handler for SIGTERM, which ``run`` sets last."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def wait_until_it_runs(process):
    pause = threading.Event()
    for _ in range(BOUND * 100):
        if catches_sigterm(process):
            return
        pause.wait(0.01)
    pytest.fail("the command has not begun")


def stored(path):
    connection = sqlite3.connect(path)
    try:
        return {row[0] for row in connection.execute("SELECT DISTINCT metric FROM latest")}
    finally:
        connection.close()


def test_without_a_file_this_machines_metrics_go_to_sqlite_and_are_shown(tmp_path):
    ran = run("--duration", "0.3", "--interval", "0.1", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert {"system.cpu.time", "system.memory.usage", "system.disk.io", "system.network.io", "process.cpu.time"} <= (
        stored(tmp_path / "metrics.db")
    )
    assert "system.memory.usage" in ran.stdout
    assert f"0:sqlite wrote to {tmp_path / 'metrics.db'}" in ran.stdout
    command = next(line.partition("$ ")[2] for line in ran.stdout.splitlines() if line.lstrip().startswith("$ "))
    if shlex.split(command)[0] == "python3":
        command = command.replace("python3", sys.executable, 1)
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=BOUND)
    assert "system.memory.usage" in shown.stdout


def test_what_was_delivered_is_told_as_json(tmp_path, run_here):
    ran = run_here(str(config(tmp_path)), "--duration", "0", "--json")
    told = json.loads(ran.out)
    assert ran.code == 0, ran.err
    assert (told["ok"], told["shutdown"]["ok"]) == (True, True)
    (reader,) = told["shutdown"]["readers"]
    assert reader["name"] == "0:sqlite"
    assert reader["points_accepted"] == reader["points_handed_over"] > 0
    assert told["readers"][0]["exporter"]["state"] == "shut_down"
    assert told["destinations"]["0:sqlite"]["location"] == str(tmp_path / "metrics.db")
    assert {row["metric"] for row in told["metrics"]} <= stored(tmp_path / "metrics.db")


def test_a_process_that_outlives_its_terminal_on_purpose_goes_on(tmp_path):
    with start(str(config(tmp_path)), cwd=tmp_path, by=["nohup"]) as process:
        wait_until_it_runs(process)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)  # a second one that counts would interrupt
        _, errors = process.communicate(timeout=BOUND)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_delivers_what_there_is_before_it_ends(tmp_path, number):
    with start(str(config(tmp_path)), cwd=tmp_path) as process:
        wait_until_it_runs(process)
        process.send_signal(number)
        output, errors = process.communicate(timeout=BOUND)
    assert (process.returncode, errors) == (0, "")
    assert "0:sqlite wrote to" in output
    assert "system.cpu.time" in stored(tmp_path / "metrics.db")


def test_what_cannot_be_delivered_is_said_and_is_a_failure(tmp_path, run_here):
    ran = run_here(str(config(tmp_path, path="missing/metrics.db")), "--duration", "0")
    assert ran.code == 1
    warned, line = ran.err.splitlines()
    assert "metrics.yaml:9:19: warning: exporter 'sqlite': path: the directory" in warned
    assert re.match(r"error: 0:sqlite: 1 of 1 exports failed: (\d+) of \1 data points were not delivered; last: ", line)
    assert "does not exist" in line
    assert "wrote to" not in ran.out


def test_a_failure_is_said_while_it_runs(tmp_path):
    with start(str(config(tmp_path, path="missing/metrics.db", interval=50)), cwd=tmp_path) as process:
        assert "the directory" in process.stderr.readline()
        line = process.stderr.readline()
        process.terminate()
        process.communicate(timeout=BOUND)
    time, _, line = line.partition(" ")
    assert TIME.fullmatch(time)
    assert line.startswith(f"warning: exporter 'sqlite': export to {tmp_path / 'missing/metrics.db'} failed: ")
    assert process.returncode == 1


def test_what_the_file_says_in_vain_is_warned_of_once(tmp_path, run_here):
    (tmp_path / "metrics.yaml").write_text('file_format: "1.1"\ndisabled: true\nlog_level: debug\n')
    done = run_here("metrics.yaml", "--duration", "0.1")
    assert done.err.count("log_level") == 1, done.err
    assert "metrics.yaml:3:1: warning: log_level" in done.err


def test_a_failure_that_repeats_is_said_once(capsys):
    warn = Messages().warn
    for error in (ExporterError("no route"), ExporterError("no route"), ExporterError("refused")):
        warn(error)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["warning: no route", "warning: refused"]
    assert all(TIME.fullmatch(line.partition(" ")[0]) for line in lines)


def test_the_end_of_a_failure_is_said_and_the_next_one_is_said_anew(capsys):
    messages = Messages()
    down = ExporterError("exporter 'a': down")
    for error in (down, down, ExporterError("exporter 'b': down")):
        messages.warn(error)
    messages.delivers_again("a", 2)
    for error in (down, ExporterError("exporter 'b': down")):
        messages.warn(error)
    assert [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "warning: exporter 'a': down",
        "warning: exporter 'b': down",
        "info: exporter 'a': delivers again, after 2 failed exports",
        "warning: exporter 'a': down",
    ]


def test_a_failure_that_ended_is_told_with_its_end_and_is_none_at_the_stop(tmp_path):
    file = config(tmp_path, path="late/metrics.db", interval=50)
    with start(str(file), cwd=tmp_path) as process:
        assert "the directory" in process.stderr.readline()
        time, _, line = process.stderr.readline().partition(" ")
        assert TIME.fullmatch(time)
        assert line.startswith("warning: exporter 'sqlite': export to ")
        (tmp_path / "late").mkdir()
        time, _, line = process.stderr.readline().partition(" ")
        assert TIME.fullmatch(time)
        assert re.match(r"info: exporter 'sqlite': delivers again, after \d+ failed exports?$", line)
        process.terminate()
        output, errors = process.communicate(timeout=BOUND)
    assert process.returncode == 0
    assert re.match(r"warning: 0:sqlite: \d+ of \d+ exports failed: ", errors)
    assert "0:sqlite wrote to" in output


def test_the_values_of_every_reader_are_shown_also_where_the_first_delivers_nothing(tmp_path, run_here):
    file = config(tmp_path, path="missing/metrics.db")
    reader = file.read_text().partition("readers:\n")[2]
    file.write_text(file.read_text() + reader.replace("missing/metrics.db", "metrics.db"))
    ran = run_here(str(file), "--duration", "0")
    assert ran.code == 1
    assert re.search(r"^\d+ series of 1:sqlite, and \d+ that stayed at 0$", ran.out, flags=re.MULTILINE)
    told = json.loads(run_here(str(file), "--duration", "0", "--json").out)
    assert {row["reader"] for row in told["metrics"]} == {"1:sqlite"}


def test_a_disabled_sdk_is_said(run_here, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", " True")
    ran = run_here("--duration", "0")
    assert ran.code == 0
    assert ran.err == (
        "warning: OTEL_SDK_DISABLED is true: the OpenTelemetry SDK measures nothing, and nothing is exported\n"
    )


def test_a_second_signal_ends_it_at_once(tmp_path):
    locked = sqlite3.connect(tmp_path / "metrics.db", isolation_level=None)
    run("--duration", "0", cwd=tmp_path)
    locked.execute("BEGIN IMMEDIATE")
    try:
        with start(str(config(tmp_path)), "--shutdown-timeout", "100000", cwd=tmp_path) as process:
            wait_until_it_runs(process)
            while process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(timeout=0.05)
                except subprocess.TimeoutExpired:
                    continue
    finally:
        locked.close()
    # A third one that comes when the interpreter is all but gone ends it by itself, which a shell calls 130 too.
    assert process.returncode in {130, -signal.SIGINT}


def test_a_terminal_shows_progress_while_it_runs(tmp_path):
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, "run", "--interval", "0.1"],
        cwd=tmp_path,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "50"},
    ) as process:
        os.close(follower)
        shown, told = bytearray(), False
        while True:
            try:
                shown += os.read(leader, 65536)
            except OSError:  # the end of a terminal that nobody has open any more
                break
            if b"0:sqlite" in shown and not told:
                told = True
                process.terminate()
        os.close(leader)
    text = shown.decode()
    assert process.returncode == 0
    assert text.index("Ctrl-C stops it") < text.index("0:sqlite") < text.index("wrote to")
    assert "\x1b[" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.yaml"], "missing.yaml"),
        (["."], "directory"),
        (["--duration", "-1"], "--duration"),
        (["--duration", "soon"], "--duration"),
        (["--interval", "inf"], "--interval"),
        (["--nonsense"], "--nonsense"),
        (["metrics.yaml", "--interval", "5"], "set both in the file"),
        (["metrics.yaml", "--database", "x.db"], "set both in the file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, run_here, arguments, words):
    ran = run_here(*arguments)
    assert ran.code == 2
    (line,) = ran.err.splitlines()
    assert words in line
    assert not (tmp_path / "metrics.db").exists()


def test_a_missing_extra_is_said_with_the_way_out(tmp_path):
    program = (
        "import sys; sys.modules['opentelemetry.instrumentation.system_metrics'] = None; "
        "from exporter_core.cli import main; sys.exit(main(['run', '--duration', '1']))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=BOUND, check=False
    )
    assert (ran.returncode, ran.stderr) == (
        2,
        "error: this machine's metrics need an extra: pip install 'exporter-core[host]'\n",
    )


def test_what_else_is_written_to_standard_output_stays_out_of_the_json(tmp_path):
    file = config(tmp_path)
    text = file.read_text()
    file.write_text(text + text[text.index("    - periodic") :].replace("sqlite:", "console:").partition("path")[0])
    ran = run(str(file), "--duration", "0", "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["ok"] is True
    assert '"metric":"system.cpu.time"' in ran.stderr


def test_what_the_encoding_cannot_express_is_shown_in_ascii(tmp_path):
    ran = run("--duration", "0", cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "|0:sqlite |" in ran.stdout
    assert "\\u" not in ran.stdout


def test_what_was_not_delivered_is_said_although_the_reader_of_the_summary_has_gone(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    file = config(tmp_path, path="missing/metrics.db")
    ran = subprocess.run(
        [*PROGRAM, "run", str(file), "--duration", "0"],
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=BOUND,
        check=False,
    )
    os.close(writing)
    assert ran.returncode == 1
    assert "error: 0:sqlite: 1 of 1 exports failed" in ran.stderr


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_closed_standard_error_changes_nothing(tmp_path, arguments):
    closing = ["sh", "-c", '"$@" 2>&-', "sh", *PROGRAM, "run", "--duration", "0", *arguments]
    done = subprocess.run(closing, cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=BOUND, check=False)
    assert done.returncode == 0
    assert "metrics.db" in done.stdout
