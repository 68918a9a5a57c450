"""A plain exporter on the base class: what it keeps of the contract beyond delivering, the base class keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from exporter_core import ExporterError, PartialSuccessError
from exporter_core.authoring import SerialExporter
from exporter_core.conformance import flatten
from kit.memory import MemoryHarness, backends
from kit.reference import ReferenceConfig

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core import Context
    from exporter_core.conformance import Point
    from kit.memory import Response

ATTEMPTS = 4
TRANSIENT = {429, 502, 503, 504}


class PlainExporter(SerialExporter[ReferenceConfig]):
    """Delivers over one connection, with some retrying inside."""

    conformance_harness: ClassVar = MemoryHarness

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._sink = backends[config.sink]
        self._is_connected = False

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        points = tuple(flatten(metrics))
        for attempt in range(1, ATTEMPTS + 1):
            pause = 0.001 * 2**attempt
            try:
                response = self._ask(context, points)
            except ConnectionError as error:
                self.release(context)
                failure = ExporterError("the backend cannot be reached")
                failure.__cause__ = error
            else:
                if response.status == 200:
                    return judge(response)
                failure = ExporterError(f"the backend answered {response.status}")
                if response.status not in TRANSIENT:
                    break
                pause = max(pause, response.retry_after or 0)
            if attempt < ATTEMPTS:
                context.wait(pause)
                context.raise_if_done()
        raise failure

    def release(self, context: Context) -> None:
        if self._is_connected:
            self._is_connected = False
            self._sink.disconnect()

    def begin_anew(self) -> None:
        self._is_connected = False

    def _ask(self, context: Context, points: tuple[Point, ...]) -> Response:
        if not self._is_connected:
            for wait in self._sink.connect():
                wait.block(context)
                context.raise_if_done()
            self._is_connected = True
        conversation = self._sink.request(points)
        try:
            while True:
                next(conversation).block(context)
                context.raise_if_done()
        except StopIteration as end:
            return end.value
        finally:
            conversation.close()


def judge(response: Response) -> None:
    if not response.complete or response.body != "accepted":
        raise ExporterError("the backend's answer is not one of its protocol")
    if response.rejected:
        raise PartialSuccessError(f"{response.rejected} points were refused", rejected_points=response.rejected)
