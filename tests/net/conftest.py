"""An exporter made of a client and nothing else, and sinks; conftest.py at the top has the servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exporter_core import Context
from exporter_core.conformance.sinks import HttpSink, SinkHost
from exporter_core.net import HttpClient, HttpOptions, NetworkExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _without_proxies(no_proxy_of_the_machine):
    """No test here goes through the machine's proxy."""


@pytest.fixture
def data() -> bytes:
    """A body."""
    return b"data"


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
def make_exporter(shut_down_later) -> Callable[..., BytesExporter]:
    """Makes exporters that do not wait long between attempts, and shuts them down after the test."""

    def make(endpoint: str, **options: Any) -> BytesExporter:
        retry = {"initial_interval": 1, "max_interval": 20, **options.pop("retry", {})}
        return shut_down_later(BytesExporter(HttpOptions(endpoint=endpoint, retry=retry, **options)))

    return make
