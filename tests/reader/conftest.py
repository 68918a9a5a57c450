import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData

from exporter_core.clock import MONOTONIC, Clock
from exporter_core.context import Context
from exporter_core.guard import GuardedExporter
from exporter_core.reader import PeriodicReader, finish
from exporter_core.testing import FakeClock, FakeExporter

LONG = 30.0  # seconds that only a failing test waits


@dataclass
class Rig:
    """A reader with a fake exporter behind a real guard, under a real provider."""

    exporter: FakeExporter
    reader: PeriodicReader
    provider: MeterProvider
    reported: list[Exception] = field(default_factory=list)

    @property
    def meter(self) -> Any:
        return self.provider.get_meter("test")

    def values(self) -> list[int | float]:
        """The values of all number points that were exported, in order."""
        return [value for batch in self.exporter.exported for value in values_of(batch)]


def values_of(batch: MetricsData) -> list[int | float]:
    return [
        point.value
        for resource in batch.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    """Make rigs. By default: no schedule, the real clock, failures collected in ``reported``."""
    made: list[Rig] = []
    gates: list[threading.Event] = []

    def make(
        *,
        interval: float = math.inf,
        timeout: float | None = LONG,
        clock: Clock = MONOTONIC,
        runner: str = "thread",
        delta: bool = False,
        attach: bool = True,
        gate: threading.Event | None = None,
        max_batch_size: int | None = None,
        **functions: Any,
    ) -> Rig:
        if delta:
            functions["on_temporality"] = lambda kind: AggregationTemporality.DELTA
        exporter = FakeExporter(**functions)
        guard = GuardedExporter(exporter, name="fake", runner=runner)
        reported: list[Exception] = []
        reader = PeriodicReader(
            guard,
            interval=interval,
            timeout=timeout,
            name="0:fake",
            max_batch_size=max_batch_size,
            error_handler=reported.append,
            clock=clock,
        )
        provider = MeterProvider([reader] if attach else [], shutdown_on_exit=False)
        made.append(Rig(exporter, reader, provider, reported))
        gates.extend([gate] if gate else [])
        return made[-1]

    yield make
    for gate in gates:
        gate.set()
    jobs = [one.reader.begin_shutdown(Context.with_timeout(LONG)) for one in made]
    finish([job for job in jobs if job])


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every thread that a test's readers and guards started has ended after it."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("exporter-core-") and thread.name != "exporter-core-timer":
            thread.join(LONG)
            assert not thread.is_alive(), thread.name


@pytest.fixture
def gated() -> Callable[..., Any]:
    """An ``on_export`` that says it is in, and accepts the batch when the gate opens."""

    def make(entered: threading.Event, gate: threading.Event, accepted: list[MetricsData]) -> Any:
        def export(context: Context, metrics: MetricsData) -> None:
            entered.set()
            assert gate.wait(LONG)
            accepted.append(metrics)

        return export

    return make
