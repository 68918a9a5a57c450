"""Data to export, and exporters that are shut down after the test; conftest.py at the top has the servers."""

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from exporter_core_otlp import OtlpGrpcConfig, OtlpGrpcExporter, OtlpHttpConfig, OtlpHttpExporter
from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core.conformance.sinks import OtlpHttpSink, SinkHost

# Where a shell has started the tests in the background they ignore Ctrl-C, and so would every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _without_proxies(no_proxy_of_the_machine):
    """No test here goes through the machine's proxy."""


@pytest.fixture
def data_of() -> Callable[..., MetricsData]:
    """Makes metrics data of one gauge from its values."""

    def make(values: Any, name: str = "metric") -> MetricsData:
        points = [NumberDataPoint({"n": str(n)}, None, time.time_ns(), value) for n, value in enumerate(values)]  # type: ignore[arg-type]  # the SDK's own gauges have no start
        scope = ScopeMetrics(InstrumentationScope("scope"), [Metric(name, "", "", Gauge(points))], "")
        return MetricsData([ResourceMetrics(Resource({"service.name": "test"}), [scope], "")])

    return make


@pytest.fixture
def data(data_of) -> MetricsData:
    """One point."""
    return data_of([1])


@pytest.fixture
def sink(sinks: SinkHost) -> Iterator[OtlpHttpSink]:
    started = OtlpHttpSink()
    sinks.start(started)
    yield started
    sinks.stop(started)


@pytest.fixture
def make_exporter(shut_down_later) -> Callable[..., OtlpHttpExporter]:
    """Makes exporters that do not wait long between attempts, and shuts them down after the test."""

    def make(endpoint: str, **options: Any) -> OtlpHttpExporter:
        retry = {"initial_interval": 1, "max_interval": 20, **options.pop("retry", {})}
        return shut_down_later(OtlpHttpExporter(OtlpHttpConfig(endpoint=endpoint, retry=retry, **options)))

    return make


@pytest.fixture
def make_grpc_exporter(shut_down_later) -> Callable[..., OtlpGrpcExporter]:
    """As ``make_exporter``."""

    def make(endpoint: str, **options: Any) -> OtlpGrpcExporter:
        retry = {"initial_interval": 1, "max_interval": 1, **options.pop("retry", {})}
        return shut_down_later(OtlpGrpcExporter(OtlpGrpcConfig(endpoint=endpoint, retry=retry, **options)))

    return make
