"""What the guard's tests share: batches, gates that decide an order, guards that are shut down, threads that answer."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core.context import Context
from exporter_core.contract import hookimpl
from exporter_core.errors import ExporterCoreError
from exporter_core.guard import GuardedExporter
from exporter_core.observing import Observation, Observers
from exporter_core.testing import FakeClock, FakeExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 30.0  # seconds after which a run has failed; no run that succeeds waits for it


class Gate:
    """Code that comes to it waits until the test opens it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._open = False
        self.entered = 0

    def hold(self, *_: object) -> None:
        """Wait here; takes the arguments of any operation."""
        with self._condition:
            self.entered += 1
            self._condition.notify_all()
            if not self._condition.wait_for(lambda: self._open, PATIENCE):
                raise TimeoutError("the test never opened its gate")

    def await_entered(self, count: int = 1) -> None:
        with self._condition:
            assert self._condition.wait_for(lambda: self.entered >= count, PATIENCE), f"entered {self.entered} times"

    def open(self) -> None:
        with self._condition:
            self._open = True
            self._condition.notify_all()


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.heard: list[Observation] = []

    @hookimpl
    def on_operation(self, observation: Observation) -> None:
        with self._condition:
            self.heard.append(observation)
            self._condition.notify_all()

    def await_heard(self, wanted: Callable[[Observation], bool]) -> Observation:
        """The first observation like this, when it has come."""
        with self._condition:
            found = self._condition.wait_for(lambda: next(filter(wanted, self.heard), None), PATIENCE)
        assert found, self.heard
        return found


class Gates(list[Gate]):
    """Makes gates, and can open all of them."""

    def __call__(self) -> Gate:
        self.append(Gate())
        return self[-1]

    def open(self) -> None:
        for gate in self:
            gate.open()


@pytest.fixture
def gates() -> Gates:
    """Makes gates, which are opened when the guards are shut down at the end."""
    return Gates()


@pytest.fixture
def gate(gates: Gates) -> Gate:
    return gates()


@pytest.fixture
def guarded(gates: Gates) -> Iterator[Callable[..., GuardedExporter]]:
    """Makes guards around an exporter or a factory, which are shut down at the end."""
    made: list[GuardedExporter] = []

    def make(exporter: object | None = None, **options: Any) -> GuardedExporter:
        if exporter is None and "factory" not in options:
            exporter = FakeExporter()
        guard = GuardedExporter(exporter, **{"name": "fake", **options})
        made.append(guard)
        return guard

    yield make
    gates.open()
    for guard in made:
        try:
            guard.shutdown(Context.with_timeout(PATIENCE))
        except ExporterCoreError:
            pass  # shut down by the test, or around an exporter that fails


@pytest.fixture
def in_thread() -> Callable[..., Future[Any]]:
    """Runs a function on a thread; what it returns or raises is the future's."""

    def start(function: Callable[..., object], *args: object) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function(*args))
            except BaseException as error:  # noqa: BLE001 - it is the test's
                future.set_exception(error)

        threading.Thread(target=run, name="test-caller", daemon=True).start()
        return future

    return start


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def batch() -> Callable[..., MetricsData]:
    """Makes a batch with so many data points."""

    def make(points: int = 1, *, name: str = "requests") -> MetricsData:
        data = Gauge([NumberDataPoint({"point": number}, 0, 1, number) for number in range(points)])
        scope = ScopeMetrics(InstrumentationScope("tests"), [Metric(name, "", "1", data)], "")
        return MetricsData([ResourceMetrics(Resource({"service.name": "tests"}), [scope], "")])

    return make


@pytest.fixture
def metrics(batch: Callable[..., MetricsData]) -> MetricsData:
    """A batch of three data points."""
    return batch(3)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def observers(recorder: Recorder) -> Iterator[Observers]:
    observers = Observers([recorder])
    yield observers
    assert observers.close(PATIENCE)
