"""What the bridge's tests share: a batch of the SDK's, exporters like the SDK's, distributions that have some."""

from __future__ import annotations

import sys
import textwrap
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult

from exporter_core.context import Context

PATIENCE = 30.0  # seconds; ends a test that hangs


class Alike:
    """Has the methods of a ``MetricExporter`` and nothing else; answers what it is told to."""

    def __init__(self, *, export=MetricExportResult.SUCCESS, force_flush=True, shutdown=None):
        self.answers = {"export": export, "force_flush": force_flush, "shutdown": shutdown}
        self.calls = []

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        return self._answer("export", timeout_millis)

    def force_flush(self, timeout_millis=10_000):
        return self._answer("force_flush", timeout_millis)

    def shutdown(self, timeout_millis=30_000, **kwargs):
        return self._answer("shutdown", timeout_millis)

    def _answer(self, operation, timeout_millis):
        self.calls.append((operation, timeout_millis))
        answer = self.answers[operation]
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer


@pytest.fixture
def alike():
    """The class :class:`Alike`."""
    return Alike


@pytest.fixture
def context():
    return Context.with_timeout(PATIENCE)


@pytest.fixture(scope="session")
def metrics():
    """One counter with one point, as the SDK collects it."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("bridge").create_counter("parcels").add(7, {"city": "Basel"})
    data = reader.get_metrics_data()
    provider.shutdown()
    return data


class Backend(HTTPServer):
    """Takes whatever is posted, and answers with a status and a reason."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.reason = 200, "OK"
        self.received = []
        self.endpoint = f"http://127.0.0.1:{self.server_port}/v1/metrics"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers), body))
        reason = self.server.reason.format(**dict(self.headers))
        self.send_response(self.server.status, reason)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def backend():
    with Backend() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join(PATIENCE)


class Installed:
    """A directory of made-up distributions that this process, and those that it starts, find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def add(self, distribution, name, code, *, group="opentelemetry_metrics_exporter", attribute="made"):
        """Install a distribution whose entry point ``name`` is ``made`` in this code."""
        module = f"bridged_{distribution.replace('-', '_')}"
        self.folder.joinpath(f"{module}.py").write_text(textwrap.dedent(code))
        info = self.folder / f"{distribution.replace('-', '_')}-3.1.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(f"Metadata-Version: 2.4\nName: {distribution}\nVersion: 3.1\n")
        info.joinpath("entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{attribute}\n")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs made-up distributions; the index is the test's own."""
    made = Installed(tmp_path / "installed")
    monkeypatch.syspath_prepend(str(made.folder))
    monkeypatch.setenv("PYTHONPATH", str(made.folder))
    monkeypatch.setenv("EXPORTER_CORE_CACHE", str(tmp_path / "index"))
    yield made
    for name in [name for name in sys.modules if name.startswith("bridged_")]:
        del sys.modules[name]
