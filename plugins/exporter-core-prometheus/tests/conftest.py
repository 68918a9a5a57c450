"""Real servers, started once for a run of tests; exporters that are shut down after the test; data to export."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from exporter_core_prometheus import RemoteWriteConfig, RemoteWriteExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from ports import free_port

from exporter_core import Context, DeadlineExceededError, ExporterShutdownError
from exporter_core.conformance.sinks import RemoteWriteSink, SinkHost

ROOT = Path(__file__).parents[3]
GENEROUS_SECONDS = 30.0
CONFIG = "storage: {exemplars: {max_exemplars: 10000}}\n"


@pytest.fixture(autouse=True)
def _without_proxies(no_proxy_of_the_machine):
    """No test here goes through the machine's proxy."""


@pytest.fixture
def context() -> Context:
    """A context that ends only failing tests."""
    return Context.with_timeout(GENEROUS_SECONDS)


# --- servers ----------------------------------------------------------------------------------------------------------


class Server:
    """A server program on a port of its own of 127.0.0.1, which answers PromQL."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.now: float | None = None
        """The time at which queries look that name no other, in seconds since 1970; None for the present."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1/write"

    def arguments(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self._directory / "log"
        with log.open("ab") as file:
            self._process = subprocess.Popen([self._program, *self.arguments()], stdout=file, stderr=file)
        deadline = time.monotonic() + GENEROUS_SECONDS
        while True:
            assert self._process.poll() is None, log.read_text(encoding="utf-8", errors="replace")
            assert time.monotonic() < deadline, "the server does not get ready"
            with contextlib.suppress(OSError):
                if self.get("/-/ready" if self.is_prometheus else "/health")[0] == 200:
                    return
            time.sleep(0.02)  # until the next look

    is_prometheus = True

    def kill(self) -> None:
        """End it at once, as a crash would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def get(self, path: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=GENEROUS_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def api(self, path: str, **parameters: object) -> Any:
        """What the API answers: the field ``data``."""
        status, body = self.get(f"/api/v1/{path}?{urlencode(parameters)}")
        assert status == 200, body.decode()
        return json.loads(body)["data"]

    def query(self, promql: str, at: float | None = None) -> dict[tuple[tuple[str, str], ...], float]:
        """An instant vector: the values by labels."""
        at = self.now if at is None else at
        data = self.api("query", query=promql, nocache=1, **({} if at is None else {"time": f"{at:.3f}"}))
        assert data["resultType"] == "vector", data
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in data["result"]}

    def value(self, promql: str, at: float | None = None) -> float:
        """The only value of an instant vector."""
        found = list(self.query(promql, at).values())
        assert len(found) == 1, (promql, found)
        return found[0]

    def points(self, selector: str, at: float, seconds: int = 3600) -> list[tuple[float, float]]:
        """The stored points of the only series: times and values."""
        data = self.api("query", query=f"{selector}[{seconds}s]", time=f"{at:.3f}")
        assert len(data["result"]) == 1, data
        return [(float(when), float(value)) for when, value in data["result"][0]["values"]]


class Prometheus(Server):
    def arguments(self) -> list[str]:
        config = self._directory / "prometheus.yml"
        config.write_text(CONFIG, encoding="utf-8")
        return [
            f"--config.file={config}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-remote-write-receiver",
            "--enable-feature=exemplar-storage,native-histograms",
            "--log.level=warn",
        ]


class VictoriaMetrics(Server):
    is_prometheus = False

    def arguments(self) -> list[str]:
        return [
            f"-storageDataPath={self._directory / 'data'}",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-search.latencyOffset=0s",
            "-loggerLevel=WARN",
        ]

    def await_query(
        self, promql: str, at: float, enough: Callable[[dict[tuple[tuple[str, str], ...], float]], bool]
    ) -> dict[tuple[tuple[str, str], ...], float]:
        """An instant vector, once it shows what came last: new series are found after some seconds."""
        deadline = time.monotonic() + GENEROUS_SECONDS
        while True:
            self.get("/internal/force_flush")
            found = self.query(promql, at)
            if enough(found) or time.monotonic() > deadline:
                return found
            time.sleep(0.2)  # until the next look


@pytest.fixture(scope="session")
def programs() -> Mapping[str, str]:
    """The servers' programs by name: a missing one is a failure."""
    command = [sys.executable, ROOT / ".ci" / "servers.py"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert found.returncode == 0, found.stderr
    return dict(line.split(" ", 1) for line in found.stdout.splitlines())


@pytest.fixture(scope="session")
def make_prometheus(programs, tmp_path_factory) -> Iterator[Callable[[], Prometheus]]:
    """Makes servers of one's own, not started."""
    made: list[Prometheus] = []

    def make() -> Prometheus:
        made.append(Prometheus(programs["prometheus"], tmp_path_factory.mktemp("prometheus")))
        return made[-1]

    yield make
    for one in made:
        if one._process is not None and one._process.poll() is None:
            one.kill()


@pytest.fixture(scope="session")
def prometheus(make_prometheus) -> Prometheus:
    """A Prometheus that takes remote write; shared: each test has names of metrics of its own."""
    server = make_prometheus()
    server.start()
    return server


@pytest.fixture(scope="session")
def victoria_metrics(programs, tmp_path_factory) -> Iterator[VictoriaMetrics]:
    """A VictoriaMetrics; shared likewise."""
    server = VictoriaMetrics(programs["victoria-metrics"], tmp_path_factory.mktemp("victoria-metrics"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def sinks() -> Iterator[SinkHost]:
    """The process that all sinks of a test run are in."""
    with contextlib.closing(SinkHost()) as host:
        yield host


@pytest.fixture
def sink(sinks: SinkHost) -> Iterator[RemoteWriteSink]:
    started = RemoteWriteSink()
    sinks.start(started)
    yield started
    sinks.stop(started)


# --- exporters and data -----------------------------------------------------------------------------------------------


@pytest.fixture
def make_exporter() -> Iterator[Callable[..., RemoteWriteExporter]]:
    """Makes exporters that do not wait long between attempts, and shuts them down after the test."""
    made: list[RemoteWriteExporter] = []

    def make(endpoint: str, **options: Any) -> RemoteWriteExporter:
        retry = {"initial_interval": 1, "max_interval": 20, **options.pop("retry", {})}
        made.append(RemoteWriteExporter(RemoteWriteConfig(endpoint=endpoint, retry=retry, **options)))
        return made[-1]

    yield make
    over = Context.with_timeout(0)  # nothing is sent any more: the server may be gone by now
    for exporter in made:
        with contextlib.suppress(ExporterShutdownError, DeadlineExceededError):
            exporter.shutdown(over)


@pytest.fixture
def service() -> str:
    """The name of a service that no other test has."""
    return f"service-{os.getpid()}-{time.monotonic_ns()}"


class Data:
    """Makes metrics data of one service."""

    cumulative = AggregationTemporality.CUMULATIVE

    def __init__(self, service: str) -> None:
        self.service = service
        self.now = time.time_ns() // 1_000_000_000 * 1_000_000_000

    def at(self, seconds: float) -> int:
        """Nanoseconds, so many seconds from now."""
        return self.now + int(seconds * 1e9)

    def of(self, *metrics: Metric, resource: Mapping[str, Any] | None = None, scope: Any = None) -> MetricsData:
        attributes = {"service.name": self.service, "service.instance.id": "one", **(resource or {})}
        scope = scope or InstrumentationScope("tests", "1.0")
        return MetricsData([ResourceMetrics(Resource(attributes), [ScopeMetrics(scope, list(metrics), "")], "")])

    def number(self, value: float, at: float, attributes: Mapping[str, Any] | None = None, **more: Any) -> Any:
        return NumberDataPoint(dict(attributes or {}), self.at(-3000), self.at(at), value, **more)

    def counter(self, name: str, value: float, at: float, unit: str = "", **attributes: Any) -> Metric:
        return Metric(name, "A counter.", unit, Sum([self.number(value, at, attributes)], self.cumulative, True))

    def gauge(self, name: str, value: float, at: float, unit: str = "", **attributes: Any) -> Metric:
        return Metric(name, "A gauge.", unit, Gauge([self.number(value, at, attributes)]))


@pytest.fixture
def data(service) -> Data:
    return Data(service)


def selector(name: str, **labels: str) -> str:
    """The selector of a metric whose name may be of any characters."""
    inside = ", ".join([f'__name__="{name}"', *(f'{label}="{value}"' for label, value in labels.items())])
    return "{" + inside + "}"
