"""Makers of metrics data and exporters, shared by the tests of this plugin."""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from exporter_core_sqlite import SqliteConfig, SqliteExporter
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    Gauge,
    Histogram,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core import Context, ExporterShutdownError

GENEROUS_SECONDS = 100.0


@pytest.fixture
def context() -> Context:
    """A context that ends only failing tests."""
    return Context.with_timeout(GENEROUS_SECONDS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.db"


@pytest.fixture
def make_exporter(path: Path) -> Iterator[Callable[..., SqliteExporter]]:
    """Makes exporters, at ``path`` unless told otherwise, and shuts them down after the test."""
    made: list[SqliteExporter] = []

    def make(**options: Any) -> SqliteExporter:
        made.append(SqliteExporter(SqliteConfig(**{"path": path, **options})))
        return made[-1]

    yield make
    for exporter in made:
        with contextlib.suppress(ExporterShutdownError):
            exporter.shutdown(Context.with_timeout(GENEROUS_SECONDS))


@pytest.fixture
def point() -> Callable[..., NumberDataPoint]:
    """Makes a number point."""

    def make(value: Any = 1, attributes: Mapping[str, Any] | None = None, at: int | None = None) -> NumberDataPoint:
        return NumberDataPoint(attributes or {}, None, time.time_ns() if at is None else at, value)  # type: ignore[arg-type]  # the SDK's own gauges have no start

    return make


@pytest.fixture
def data_of(point: Callable[..., NumberDataPoint]) -> Callable[..., MetricsData]:
    """Makes metrics data of one metric from its data, or a gauge from a list of points and values."""

    def make(
        data: Gauge | Sum | Histogram | ExponentialHistogram | Sequence[NumberDataPoint | float], name: str = "metric"
    ) -> MetricsData:
        if isinstance(data, Sequence):
            data = Gauge([value if isinstance(value, NumberDataPoint) else point(value) for value in data])
        scope = ScopeMetrics(InstrumentationScope("scope"), [Metric(name, "", "", data)], "")
        return MetricsData([ResourceMetrics(Resource({"service.name": "test"}), [scope], "")])

    return make


@pytest.fixture
def data(data_of: Callable[..., MetricsData]) -> MetricsData:
    """One point of a gauge."""
    return data_of([1])


@pytest.fixture
def query(path: Path) -> Callable[..., list[tuple[Any, ...]]]:
    """Runs a statement on the database as another program would."""

    def run(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=GENEROUS_SECONDS)) as connection:
            return connection.execute(statement, parameters).fetchall()

    return run
