"""Wrong exporters that deliver in coroutines."""

from __future__ import annotations

import asyncio
import time

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData

from exporter_core import Context, ExporterError
from third_party.right_unusual import AsyncExporter
from third_party.transport import TRANSIENT, Answer, retry_after


class BlocksTheLoop(AsyncExporter):
    """A busy backend is waited for with ``time.sleep``: the loop stands still, and hears of no cancellation."""

    async def attempt(self, body: bytes) -> Answer:
        for number in range(5):
            answer = await super().attempt(body)
            if answer.status not in TRANSIENT or number == 4:
                break
            time.sleep(min(5, max(0.1, retry_after(answer))))  # noqa: ASYNC251 - the fault
        return answer


class RetriesCancellation(AsyncExporter):
    """A cancelled task is taken for a lost connection: the attempt is made again, and the task goes on."""

    async def attempt(self, body: bytes) -> Answer:
        for _ in range(4):
            try:
                return await super().attempt(body)
            except asyncio.CancelledError:
                continue
        raise ExporterError("the connection was lost")


class DetachesTask(AsyncExporter):
    """Export creates a task that delivers, and does not await it."""

    async def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            return await super().export(context, metrics)
        context.raise_if_done()
        self.task = asyncio.create_task(super().export(context, metrics))
        return None


class AsyncTemporality(AsyncExporter):
    """Everything is a coroutine, the temporality too, which nobody awaits."""

    async def temporality(self, instrument_kind: object) -> AggregationTemporality:  # type: ignore[override]
        return AggregationTemporality.DELTA


class GathersFailures(AsyncExporter):
    """The resources are sent side by side, and ``gather`` returns their failures, at which nobody looks."""

    async def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed or context.done:
            return await super().export(context, metrics)
        parts = [MetricsData(resource_metrics=[one]) for one in metrics.resource_metrics]
        await asyncio.gather(
            *(super(GathersFailures, self).export(context, one) for one in parts), return_exceptions=True
        )
        return None


class ShieldsTheRequest(AsyncExporter):
    """The request is shielded from cancellation: the export ends in time, and the request goes on and is delivered."""

    async def attempt(self, body: bytes) -> Answer:
        return await asyncio.shield(super().attempt(body))


class OwnTimeout(AsyncExporter):
    """Each request is a task with a time-out of its own, ten seconds; a cancellation meanwhile is not passed on."""

    async def attempt(self, body: bytes) -> Answer:
        task = asyncio.create_task(super().attempt(body))
        end = time.monotonic() + 10
        while not task.done() and (left := end - time.monotonic()) > 0:
            try:
                await asyncio.wait([task], timeout=left)
            except asyncio.CancelledError:
                continue
        if not task.done():
            task.cancel()
            raise ExporterError("the backend did not answer in time")
        return task.result()
