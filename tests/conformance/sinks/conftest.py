"""Requests to sinks over plain sockets and HTTP, and metrics of the SDK to export."""

from __future__ import annotations

import http.client
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND = 30.0  # seconds; ends failing runs only


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


class Post:
    """Posts to a sink, each time on a connection of its own."""

    def __call__(self, sink: Any, body: bytes = b"hello", timeout: float = BOUND, **headers: str) -> Reply:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        path = sink.endpoint.removeprefix(f"http://{sink.address}") or "/some/path?x=1"
        connection = http.client.HTTPConnection(sink.address, timeout=timeout)
        try:
            connection.request("POST", path, body=body, headers=named)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()


class Aside:
    """A call on another thread, whose result is awaited."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            self._error = error

    def result(self) -> Any:
        self._thread.join(BOUND)
        assert not self._thread.is_alive(), "the call has not ended"
        if self._error is not None:
            raise self._error
        return self._result


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def aside() -> type[Aside]:
    return Aside


@pytest.fixture
def metrics() -> Any:
    """One point of each common kind, of a resource and a scope with attributes."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    meter = provider.get_meter("checkout", "1.2", attributes={"team": "x"})
    meter.create_counter("orders", unit="1", description="Orders").add(3, {"paid": True, "tags": ("a", "b")})
    meter.create_gauge("load").set(0.5)
    meter.create_histogram("latency", explicit_bucket_boundaries_advisory=[1.0, 2.0]).record(1.5)
    data = reader.get_metrics_data()
    provider.shutdown()
    return data
