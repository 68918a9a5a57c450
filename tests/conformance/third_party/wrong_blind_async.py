"""Wrong exporters over asyncio, whose work goes on after the export has ended."""

from __future__ import annotations

import asyncio

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from exporter_core import ContextCancelledError, ExporterError, PartialSuccessError
from third_party.right_blind_async import AsyncStreams, LoopOnThread


class GatherLeavesSiblings(AsyncStreams):
    """Sends a request for each scope with asyncio.gather: when one fails, the others go on by themselves."""

    async def deliver(self, context, metrics):
        try:
            request = self.enc.request(metrics)
        except (ValueError, TypeError, OverflowError) as e:
            raise ExporterError("the metrics do not fit OTLP") from e
        # a scope metrics, a request
        parts = []
        for r in request.resource_metrics:
            for s in r.scope_metrics:
                p = ExportMetricsServiceRequest()
                x = p.resource_metrics.add(resource=r.resource, schema_url=r.schema_url)
                x.scope_metrics.append(s)
                parts.append(p.SerializeToString())
        limit = asyncio.Semaphore(8)

        async def one(body):
            async with limit:
                await self.send(context, body)

        await asyncio.gather(*[one(p) for p in parts or [b""]])


class GatherLeavesSiblingsOfRefused(AsyncStreams):
    """Adds up partial successes of its requests, but leaves the others running when one of them fails."""

    async def deliver(self, context, metrics):
        try:
            request = self.enc.request(metrics)
        except (ValueError, TypeError, OverflowError) as e:
            raise ExporterError("the metrics do not fit OTLP") from e
        parts = []
        for r in request.resource_metrics:
            for s in r.scope_metrics:
                p = ExportMetricsServiceRequest()
                x = p.resource_metrics.add(resource=r.resource, schema_url=r.schema_url)
                x.scope_metrics.append(s)
                parts.append(p.SerializeToString())
        limit = asyncio.Semaphore(8)

        async def one(body):
            async with limit:
                try:
                    await self.send(context, body)
                except PartialSuccessError as e:
                    return e.rejected_points
                return 0

        n = sum(await asyncio.gather(*[one(p) for p in parts or [b""]]))
        if n:
            raise PartialSuccessError("the backend refused some points", rejected_points=n)


class NeverCancelsFuture(LoopOnThread):
    """Leaves the future behind when the time is up: it goes on on the loop's thread."""

    def give_up(self, future):
        pass


class CancelledFutureGoesOn(LoopOnThread):
    """Cancels the future at the deadline, but leaves it behind when the caller cancels: it delivers later."""

    def deliver(self, context, metrics):
        self.context = context
        super().deliver(context, metrics)

    def give_up(self, future):
        if not isinstance(self.context.error(), ContextCancelledError):
            future.cancel()
