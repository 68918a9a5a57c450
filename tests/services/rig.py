"""Runs a service under a real server against a backend, and says what was recorded, delivered and reported."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ports import free_port

HERE = Path(__file__).parent
REQUESTS = 81
SHUTDOWN = 5.0
"""Seconds that the pipeline's shutdown may take."""
GRACE = 20.0
"""Seconds that a server gives its workers to end."""
PATIENCE = 60.0
"""Seconds after which a server that does not start or end has failed."""
_IDLE = 0.5  # seconds: uWSGI runs no exit handler of a worker that is busy when SIGTERM comes
_LOST = re.compile(r"(\d+) data points? (?:was|were) not delivered")


@dataclass
class Outcome:
    """What one run came to."""

    recorded: list[str] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    reported: int = 0
    exit_seconds: float = 0.0
    slowest_request: float = 0.0
    log: str = ""

    @property
    def holds(self) -> bool:
        """Recorded = delivered + reported, and nothing was delivered twice."""
        once = len(set(self.delivered)) == len(self.delivered) and set(self.delivered) <= set(self.recorded)
        return once and len(self.recorded) == len(self.delivered) + self.reported


def http_servers(port: int, folder: Path) -> dict[str, list[str]]:
    """Return the command of each server by its name."""
    gunicorn = [
        sys.executable,
        "-m",
        "gunicorn",
        "-b",
        f"127.0.0.1:{port}",
        "-w",
        "2",
        "--graceful-timeout",
        f"{GRACE:g}",
    ]
    gunicorn += ["--worker-tmp-dir", str(folder), "--no-control-socket"]
    found = {}
    for kind in ("sync", "gthread", "gevent"):
        for preload in ([], ["--preload"]):
            name = " ".join(["gunicorn", kind, *preload])
            # gevent has to patch before the application is imported, and with --preload the master imports it.
            config = ["-c", "python:gevent_first"] if kind == "gevent" else []
            found[name] = [*gunicorn, *config, "-k", kind, *preload, "service_app:application"]
    found["gunicorn sync -w 3"] = [*gunicorn, "-w", "3", "service_app:application"]
    found["gunicorn numbered"] = [*gunicorn, "-w", "3", "-c", "python:numbered", "service_app:application"]
    for kind in ("sync", "gthread", "gevent"):
        config = ["-c", "python:gevent_first"] if kind == "gevent" else []
        found[f"gunicorn {kind} --preload --max-requests"] = [
            *gunicorn, *config, "-k", kind, "--preload", "--max-requests", "10", "service_app:application",
        ]  # fmt: skip
    uwsgi = [str(Path(sys.executable).with_name("uwsgi")), "--http-socket", f"127.0.0.1:{port}", "--master", "-p", "2"]
    uwsgi += [
        "--module",
        "service_app:application",
        "--die-on-term",
        "--worker-reload-mercy",
        f"{GRACE:g}",
        "-H",
        sys.prefix,
    ]
    found["uwsgi"] = uwsgi
    found["uwsgi --enable-threads"] = [*uwsgi, "--enable-threads"]
    found["uwsgi --lazy-apps"] = [*uwsgi, "--enable-threads", "--lazy-apps"]
    found["uvicorn --workers"] = [
        sys.executable, "-m", "uvicorn", "--port", str(port), "--workers", "2", "--log-level", "warning",
        "service_app:asgi",
    ]  # fmt: skip
    return found


HTTP_SERVERS = tuple(name for name in http_servers(0, HERE) if name != "gunicorn numbered")  # needs a file of the docs
PROGRAMS = (
    "process-fork", "process-spawn", "process-forkserver", "pool-fork", "pool-spawn", "pool-forkserver",
    "thread", "fork", "daemon", "exit",
)  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """Where a run keeps its files, and which exporter it configures."""

    folder: Path
    exporter: str
    options: dict[str, object]
    interval: int = 60_000
    timeout: int = 3_000
    readers: int = 1
    instance: str = ""
    """The file's ``service.instance.id``; empty for none."""
    stock: bool = False
    """Use the SDK's own reader and the official exporter."""
    foreign: bool = False
    """Install the pipeline beside an SDK provider that exists already."""
    first: str = ""
    """Code that runs before the pipeline is made; under Celery, that is in each worker then."""

    @property
    def records(self) -> Path:
        """The file that measurements are noted in."""
        return self.folder / "records"

    def environment(self) -> dict[str, str]:
        """Return the environment of the server's process, its config file written."""
        reader = {"interval": self.interval, "timeout": self.timeout, "exporter": {self.exporter: self.options}}
        config = {"file_format": "1.1", "meter_provider": {"readers": [{"periodic": reader}] * self.readers}}
        if self.instance:
            config["resource"] = {"attributes": [{"name": "service.instance.id", "value": self.instance}]}
        path = self.folder / "metrics.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTEST_"))}
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join([str(HERE), str(self.folder)]),
            "PYTHONWARNINGS": "ignore",
            "SERVICE_CONFIG": str(path),
            "SERVICE_RECORDS": str(self.records),
            "SERVICE_SHUTDOWN": str(SHUTDOWN),
            "SERVICE_BROKER": str(self.folder / "broker"),
            "SERVICE_STOCK": self.exporter if self.stock else "",
            "SERVICE_FOREIGN": "1" if self.foreign else "",
            "SERVICE_FIRST": self.first,
            "SERVICE_ENDPOINT": str(self.options.get("endpoint", "")),
            "SERVICE_INTERVAL": str(self.interval),
            "SERVICE_READERS": str(self.readers),
        }

    def outcome(self, log: str, **more: float) -> Outcome:
        """Return what was recorded and reported; the caller knows what was delivered."""
        recorded = [line.split()[0] for line in self.records.read_text().splitlines()] if self.records.exists() else []
        return Outcome(recorded, [], sum(int(count) for count in _LOST.findall(log)), log=log, **more)


@contextlib.contextmanager
def _process(command: list[str], setup: Setup):
    """Run a command in a group of its own, its output in a file, and see to it that nothing of it is left."""
    log = setup.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=setup.folder, env=setup.environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _get(port: int, query: str) -> float:
    began = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/?{query}", timeout=PATIENCE) as answer:
        answer.read()
    return time.monotonic() - began


def _await(condition, seconds: float, what: str, setup: Setup) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"{what} within {seconds:g} s:\n{(setup.folder / 'log').read_text()[-4000:]}")
        time.sleep(0.02)


def run_http(name: str, setup: Setup) -> Outcome:
    """Serve requests from four clients, and end the server by SIGTERM."""
    port = free_port()

    def up() -> bool:
        try:
            _get(port, "")
        except OSError:
            if process.poll() is not None:
                raise AssertionError(f"{name} ended at once:\n{(setup.folder / 'log').read_text()[-4000:]}") from None
            return False
        return True

    with _process(http_servers(port, setup.folder)[name], setup) as process:
        _await(up, PATIENCE, f"{name} did not start", setup)
        with ThreadPoolExecutor(4) as clients:
            seconds = list(clients.map(lambda number: _get(port, str(number)), range(REQUESTS)))
        if name.startswith("uwsgi"):
            time.sleep(_IDLE)
        began = time.monotonic()
        process.terminate()
        _await(lambda: process.poll() is not None, PATIENCE, f"{name} did not end", setup)
        ended = time.monotonic() - began
    return setup.outcome((setup.folder / "log").read_text(), exit_seconds=ended, slowest_request=max(seconds))


def run_program(way: str, setup: Setup) -> Outcome:
    """Run a program whose children record."""
    with _process([sys.executable, str(HERE / "children.py"), way], setup) as process:
        began = time.monotonic()
        _await(lambda: process.poll() is not None, PATIENCE, f"{way} did not end", setup)
        ended = time.monotonic() - began
    return setup.outcome((setup.folder / "log").read_text(), exit_seconds=ended)


def run_celery(setup: Setup) -> Outcome:
    """Have a prefork worker do tasks, and end it by SIGTERM."""
    for folder in ("broker", "broker-control"):
        (setup.folder / folder).mkdir(exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "celery_app",
        "worker",
        "-P",
        "prefork",
        "-c",
        "2",
        "-l",
        "warning",
    ]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    send = f"from celery_app import record\nfor n in range({REQUESTS}): record.delay(str(n))"
    environment = {**setup.environment(), "SERVICE_RECORDS": os.devnull}
    subprocess.run([sys.executable, "-c", send], env=environment, cwd=setup.folder, check=True, timeout=PATIENCE)

    def done() -> bool:
        return setup.records.exists() and setup.records.read_text().count("\n") >= REQUESTS

    with _process(command, setup) as process:
        _await(lambda: done() or process.poll() is not None, PATIENCE, "celery did not do its tasks", setup)
        began = time.monotonic()
        process.terminate()
        _await(lambda: process.poll() is not None, PATIENCE, "celery did not end", setup)
        ended = time.monotonic() - began
    return setup.outcome((setup.folder / "log").read_text(), exit_seconds=ended)


def run(name: str, setup: Setup) -> Outcome:
    """Run one service, by its name."""
    if name in PROGRAMS:
        return run_program(name, setup)
    return run_celery(setup) if name == "celery" else run_http(name, setup)


SERVICES = (*HTTP_SERVERS, "celery", *(program for program in PROGRAMS if program != "exit"))


def points_in_sqlite(path: Path) -> list[str]:
    """Return the measurements that a SQLite file has."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT attributes FROM samples").fetchall()
    return [json.loads(row[0])["number"] for row in rows]


def points_in_lines(path: Path) -> list[str]:
    """Return the measurements that a file of OTLP JSON lines has."""
    return [
        attribute["value"]["stringValue"]
        for line in path.read_text(encoding="utf-8").splitlines()
        for resource in json.loads(line)["resourceMetrics"]
        for scope in resource["scopeMetrics"]
        for metric in scope["metrics"]
        for point in metric["sum"]["dataPoints"]
        for attribute in point["attributes"]
    ]
