"""The commands of docs/in-your-service.md, run with its files: servers take requests, deliver and end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import rig
from ports import free_port

from exporter_core.conformance.sinks import OtlpHttpSink

pytestmark = pytest.mark.nightly

PAGE = (Path(__file__).parents[2] / "docs" / "in-your-service.md").read_text(encoding="utf-8")
FILES = {name: text for text, name in re.findall(r"^```\w+\n(# ([\w.]+)\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)}
REQUESTS = 20
TASKS = 5


def first_file(name: str) -> str:
    """Return the page's first file of this name: later ones are other examples."""
    return re.search(rf"^```\w+\n(# {re.escape(name)}\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1]


def commands() -> dict[str, list[str]]:
    """Return the page's commands that start an HTTP server."""
    table = re.findall(r"^\| [^|]+\| `((?:gunicorn|uwsgi) [^`]+)` \|", PAGE, re.MULTILINE)
    blocks = re.findall(r"^```sh\n((?:gunicorn|uwsgi) .*)\n```", PAGE, re.MULTILINE)
    docker = json.loads(re.search(r"^CMD (\[.*\])", FILES["Dockerfile"], re.MULTILINE)[1])
    systemd = re.search(r"^ExecStart=\S+/bin/(.*)", FILES["shop.service"], re.MULTILINE)[1]
    return {" ".join(words): words for words in [*map(shlex.split, (*table, *blocks, systemd)), docker]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's files."""
    for name in FILES:
        (tmp_path / name).write_text(first_file(name), encoding="utf-8")
    return tmp_path


@contextlib.contextmanager
def started(command: list[str], folder: Path, sink: OtlpHttpSink):
    """Run a command of the page until the block ends; then it gets SIGTERM, and has to end by itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTEST_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    environment = {**kept, "PATH": path, "OTLP_ENDPOINT": sink.endpoint, "PYTHONWARNINGS": "ignore"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
        process.terminate()
        process.wait(rig.PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def counted(sink: OtlpHttpSink) -> int:
    """Return what the workers have counted: the last point of each series."""
    last = {point.resource["service.instance.id"]: point.value for point in sink.points()}
    return sum(last.values())


@pytest.mark.parametrize("command", commands())
def test_a_server_of_the_page_delivers_what_its_workers_count(command: str, folder: Path) -> None:
    port = free_port()
    words = commands()[command]
    (folder / "uwsgi.ini").write_text(first_file("uwsgi.ini").replace(":8000", f"127.0.0.1:{port}"))
    if "--bind" in words:
        words[words.index("--bind") + 1] = f"127.0.0.1:{port}"
    elif words[0] == "gunicorn":
        words += ["--bind", f"127.0.0.1:{port}"]
    elif "--ini" not in words:
        words += ["--http-socket", f"127.0.0.1:{port}", "--die-on-term"]
    if words[0] == "gunicorn":
        words += ["--worker-tmp-dir", str(folder), "--no-control-socket"]
    else:
        words += ["-H", sys.prefix, "--pythonpath", str(folder)]

    def get() -> bool:
        # A request that is given up is counted all the same, once the worker has started.
        url = f"http://127.0.0.1:{port}/"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=rig.PATIENCE) as answer:
            return answer.read() == b"ok"
        assert process.poll() is None, (folder / "log").read_text()
        return False

    with OtlpHttpSink() as sink:
        with started(words, folder, sink) as process:
            until = time.monotonic() + rig.PATIENCE
            while not get():
                assert time.monotonic() < until, (folder / "log").read_text()
            assert all(get() for _ in range(REQUESTS))
            time.sleep(0.5)  # uWSGI runs no exit handler of a worker that is busy when SIGTERM comes
        assert counted(sink) == REQUESTS + 1, (folder / "log").read_text()


def test_celery_of_the_page_delivers_what_its_tasks_count(folder: Path) -> None:
    (words,) = [shlex.split(one) for one in re.findall(r"^```sh\n(celery .*)\n```", PAGE, re.MULTILINE)]
    tasks = first_file("tasks.py")
    assert 'broker="redis://localhost"' in tasks
    for name in ("broker", "control", "results"):
        (folder / name).mkdir()
    options = {"data_folder_in": "broker", "data_folder_out": "broker", "control_folder": "control"}
    tasks = tasks.replace('broker="redis://localhost"', 'broker="filesystem://", backend="file://results"')
    (folder / "tasks.py").write_text(f"{tasks}\napp.conf.broker_transport_options = {options}\n", encoding="utf-8")
    send = f"import tasks\nfor one in [tasks.charge.delay('north') for _ in range({TASKS})]: one.get(timeout=60)"
    with OtlpHttpSink() as sink:
        with started([*words, "-l", "warning"], folder, sink):
            subprocess.run([sys.executable, "-c", send], cwd=folder, check=True, timeout=2 * rig.PATIENCE)
        assert counted(sink) == TASKS, (folder / "log").read_text()
