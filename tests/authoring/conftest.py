"""An exporter on the base class whose deliveries can be held at a gate, and threads that hand over what they raise."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics.export import MetricsData
from pydantic import SecretStr

from exporter_core import ExporterConfig
from exporter_core.authoring import SerialExporter
from exporter_core.sync import Latch

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core import Context


class GateConfig(ExporterConfig):
    token: SecretStr = SecretStr("s3cr3t")


class GateExporter(SerialExporter[GateConfig]):
    """Remembers what happens; a delivery waits at the gate, if there is one, while its context lasts."""

    def __init__(self, config: GateConfig | None = None) -> None:
        super().__init__(config or GateConfig())
        self.events: list[str] = []
        self.contexts: list[Context] = []
        self.entered = threading.Semaphore(0)
        self.gate: Latch | None = None
        self.on_cancelled: Callable[[Context], object] = lambda context: context.raise_if_done()
        self.on_release: Callable[[], object] = lambda: None

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        self.events.append("begin")
        self.contexts.append(context)
        self.entered.release()
        try:
            if self.gate is not None and not self.gate.wait(context):
                self.on_cancelled(context)
        finally:
            self.events.append("end")

    def release(self, context: Context) -> None:
        self.events.append("release")
        self.contexts.append(context)
        self.on_release()

    def begin_anew(self) -> None:
        self.events.append("begin anew")


@pytest.fixture
def exporter() -> GateExporter:
    return GateExporter()


@pytest.fixture
def in_thread() -> Callable[..., Future[Any]]:
    def start(function: Callable[..., object], *arguments: object) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future

    return start


@pytest.fixture
def metrics() -> MetricsData:
    return MetricsData(resource_metrics=[])
