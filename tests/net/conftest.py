"""An exporter made of a client and nothing else, and sinks; conftest.py at the top has the servers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from exporter_core import Context, ExporterShutdownError
from exporter_core.conformance.sinks import HttpSink, SinkHost
from exporter_core.net import HttpClient, HttpOptions, NetworkExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GENEROUS_SECONDS = 30.0


@pytest.fixture(autouse=True)
def _without_proxies(no_proxy_of_the_machine):
    """No test here goes through the machine's proxy."""


@pytest.fixture
def context() -> Context:
    """A context that ends only failing tests."""
    return Context.with_timeout(GENEROUS_SECONDS)


@pytest.fixture
def data() -> bytes:
    """A body."""
    return b"data"


@pytest.fixture(scope="session")
def sinks() -> Iterator[SinkHost]:
    """The process that all sinks of a test run are in."""
    with contextlib.closing(SinkHost()) as host:
        yield host


@pytest.fixture
def sink(sinks: SinkHost) -> Iterator[HttpSink]:
    started = HttpSink()
    sinks.start(started)
    yield started
    sinks.stop(started)


class BytesExporter(NetworkExporter[HttpOptions, HttpClient]):
    """Posts bytes."""

    def __init__(self, config: HttpOptions) -> None:
        super().__init__(config, HttpClient(config, user_agent="tests/1"))

    def deliver(self, context: Context, metrics: Any) -> None:
        self.client.post(context, metrics, content_type="text/plain")


@pytest.fixture
def make_exporter() -> Iterator[Callable[..., BytesExporter]]:
    """Makes exporters that do not wait long between attempts, and shuts them down after the test."""
    made: list[BytesExporter] = []

    def make(endpoint: str, **options: Any) -> BytesExporter:
        retry = {"initial_interval": 1, "max_interval": 20, **options.pop("retry", {})}
        made.append(BytesExporter(HttpOptions(endpoint=endpoint, retry=retry, **options)))
        return made[-1]

    yield make
    for exporter in made:
        with contextlib.suppress(ExporterShutdownError):
            exporter.shutdown(Context.with_timeout(GENEROUS_SECONDS))
