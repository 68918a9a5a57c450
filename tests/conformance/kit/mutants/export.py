"""Exports that lose, change or repeat data, or outlive their context."""

from __future__ import annotations

import asyncio
import copy
import math
import threading
import time
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.clauses.export import without_last_points, without_scope_attributes
from exporter_core.conformance.observe.tokens import metrics_in
from exporter_core.context import Context
from exporter_core.errors import DeadlineExceededError, ExporterCoreError
from kit.mutants.waiting import OWN_SECONDS, POLL, cancelled, detached, on_cancel
from kit.reference import AsyncExporter, BufferingExporter, ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.observe.tokens import Point
    from kit.memory import Response, Wait


class DropsPoint(ReferenceExporter):
    """Leaves out the last point of each metric."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        super()._deliver(context, without_last_points(metrics))


class ClaimsToHoldNothing(BufferingExporter):
    """Holds data, and says that it does not."""

    conformance_harness = ReferenceExporter.conformance_harness


class DropsScopeAttributes(ReferenceExporter):
    """Forgets the attributes of scopes."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        super()._deliver(context, without_scope_attributes(metrics))


class SendsTwice(ReferenceExporter):
    """Sends each batch two times."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        super()._deliver(context, metrics)
        super()._deliver(context, metrics)


class ReturnsFuture(ReferenceExporter):
    """Returns a future."""

    def export(self, context: Context, metrics: MetricsData) -> Any:
        super().export(context, metrics)
        future: Future[None] = Future()
        future.set_result(None)
        return future


class FlushReturnsTrue(ReferenceExporter):
    """Says that a flush went well."""

    def force_flush(self, context: Context) -> Any:
        super().force_flush(context)
        return True


class ShutdownReturnsFuture(ReferenceExporter):
    """Returns a future of its shutdown."""

    def shutdown(self, context: Context) -> Any:
        super().shutdown(context)
        return Future()


class DoesNotLook(ReferenceExporter):
    """Exports with a context that is done."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        is_plain = self._sink.script == ["ok"] and not self._sink.is_shut  # other clauses are about what is not
        super().export(Context.background() if context.done and is_plain else context, metrics)


class DropsDeadline(ReferenceExporter):
    """Waits for a response without a deadline; a cancellation ends it."""

    _seconds = math.inf

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind == "response":
            own = Context.with_timeout(self._seconds)
            handle = on_cancel(context, own)
            try:
                wait.block(own)
            finally:
                handle.set()
        else:
            super()._wait(context, wait)


class OwnTimeout(DropsDeadline):
    """Waits for a response as long as it sees fit, whatever the deadline; a cancellation ends it."""

    _seconds = OWN_SECONDS


class PerReadTimeout(ReferenceExporter):
    """Has a time-out for each read alone."""

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind == "piece":
            wait.block(Context.with_timeout(1.0))
        else:
            super()._wait(context, wait)


class NoConnectTimeout(ReferenceExporter):
    """Connects without a time-out."""

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind == "connect":
            wait.block(Context.background())
        else:
            super()._wait(context, wait)


class SleepsRetryAfter(ReferenceExporter):
    """Waits as long as the backend asks; a cancellation ends it."""

    def _back_off(self, context: Context, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._sink.is_closed and not cancelled(context):
            time.sleep(POLL)
        context.raise_if_done()


class IgnoresCancel(ReferenceExporter):
    """Waits for a response to the deadline, cancelled or not."""

    _seconds: float | None = None

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind == "response":
            wait.block(Context(deadline=context.deadline).child(timeout=self._seconds))
        super()._wait(context, wait)


class OwnTimeoutOrDeadline(IgnoresCancel):
    """Waits for a response as long as it sees fit, to the deadline at most, cancelled or not."""

    _seconds = OWN_SECONDS


class SwallowsTaskCancellation(AsyncExporter):
    """Goes on waiting for a response when its task is cancelled, to the deadline."""

    async def _exchange_async(self, context: Context, points: Sequence[Point]) -> Response:
        own = Context(deadline=context.deadline)
        exchange = asyncio.ensure_future(super()._exchange_async(own, points))
        while not exchange.done():
            try:
                await asyncio.shield(exchange)
            except asyncio.CancelledError:
                pass
        return exchange.result()


class SleepsInBackoff(ReferenceExporter):
    """Sleeps between attempts, to the deadline, cancelled or not."""

    def _back_off(self, context: Context, seconds: float) -> None:
        remaining = context.remaining()
        until = time.monotonic() + (seconds if remaining is None else min(seconds, remaining))
        while time.monotonic() < until and not self._sink.is_closed:
            time.sleep(POLL)
        context.raise_if_done()


class WallClock(ReferenceExporter):
    """Counts its deadline on the wall clock."""

    def _wait(self, context: Context, wait: Wait) -> None:
        remaining = context.remaining()
        end = time.time() + (3600 if remaining is None else remaining)
        while time.time() < end and not cancelled(context) and not self._sink.is_closed:
            try:
                wait.block(Context.with_timeout(POLL))
            except DeadlineExceededError:
                continue
            if wait._ready() or wait.kind == "piece":
                return
        context.raise_if_done()
        raise DeadlineExceededError("the wall clock says that it is late")


class RoundsIntegers(ReferenceExporter):
    """Sends integers as real numbers."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        changed = copy.deepcopy(metrics)
        for metric in metrics_in(changed):
            for point in metric.data.data_points:
                if isinstance(getattr(point, "value", None), int):
                    object.__setattr__(point, "value", float(point.value))  # type: ignore[union-attr]  # it has one
        super()._deliver(context, changed)


class DropsExemplars(ReferenceExporter):
    """Forgets exemplars."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        changed = copy.deepcopy(metrics)
        for metric in metrics_in(changed):
            for point in metric.data.data_points:
                object.__setattr__(point, "exemplars", ())
        super()._deliver(context, changed)


class Detaches(ReferenceExporter):
    """Delivers on a thread of its own, and returns when the backend is slow to answer."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        is_first = not self._sink.requests  # other clauses are about that one
        detached(partial(super().export, context, metrics), context, self._sink, waits=is_first)


class DeliversLater(ReferenceExporter):
    """Says that the deadline passed while the backend did not answer, and goes on trying on a thread of its own."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except DeadlineExceededError:
            if self._sink.is_shut:
                threading.Thread(target=self._later, args=(copy.deepcopy(metrics),), daemon=True).start()
            raise

    def _later(self, metrics: MetricsData) -> None:
        try:
            super().export(Context.with_timeout(1.0), metrics)
        except (ExporterCoreError, ConnectionError):
            pass  # nobody is there to be told


class DiesBeside(ReferenceExporter):
    """Starts a thread beside each export that dies of an error."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        thread = threading.Thread(target=self._bookkeeping, name="bookkeeping", daemon=True)
        thread.start()
        thread.join()

    def _bookkeeping(self) -> None:
        raise OSError("the books are gone")
