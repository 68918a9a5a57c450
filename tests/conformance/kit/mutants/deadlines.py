"""Exports that outlive their context, or do not look at it."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from exporter_core.context import Context
from exporter_core.errors import DeadlineExceededError
from kit.mutant import OWN_SECONDS, POLL, Parametrised, cancellation_only, deadline_only, is_cancelled, killed_by
from kit.reference import AsyncExporter, ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricsData

    from kit.memory import Wait


@killed_by("EXP-05", "it returned")
class DoesNotLook(ReferenceExporter):
    """Exports with a context that is done."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        is_plain = self._sink.script == ["ok"] and not self._sink.is_shut  # other clauses are about what is not
        super().export(Context.background() if context.done and is_plain else context, metrics)


class _OtherContext(Parametrised):
    """Has another context than it was given for each wait of one kind."""

    kind: str
    other: Callable[[Context], Context]

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind != self.kind:
            super()._wait(context, wait)
        else:
            wait.block(type(self).other(context))
            if wait.kind == "pause":
                context.raise_if_done()


@killed_by("EXP-06", "while the gate was shut")
class DropsDeadline(_OtherContext, kind="response", other=cancellation_only):
    """Waits for a response without a deadline; a cancellation ends it."""


@killed_by("EXP-06", "while the gate was shut, as it does without a deadline")
class OwnTimeout(_OtherContext, kind="response", other=lambda context: cancellation_only(context, OWN_SECONDS)):
    """Waits for a response as long as it sees fit, whatever the deadline; a cancellation ends it."""


@killed_by("EXP-07", "export had not ended")
class PerReadTimeout(_OtherContext, kind="piece", other=lambda _context: Context.with_timeout(1.0)):
    """Has a time-out for each read alone."""


@killed_by("EXP-07", "export had not ended")
class HeadIsEnough(_OtherContext, kind="body", other=cancellation_only):
    """Waits without a deadline for the rest of an answer once it has begun; a cancellation ends it."""


@killed_by("EXP-08", "export had not ended")
class NoConnectTimeout(_OtherContext, kind="connect", other=cancellation_only):
    """Connects without a time-out; a cancellation ends it."""


@killed_by("EXP-09", "export had not ended")
class SleepsRetryAfter(_OtherContext, kind="pause", other=cancellation_only):
    """Waits as long as the backend asks; a cancellation ends it."""


@killed_by("EXP-09", "ms later the next time")
class WholeDeadlineEachAttempt(ReferenceExporter):
    """Gives each attempt the time that there was for all of them; a cancellation ends it."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        remaining = context.remaining()
        self._seconds = math.inf if remaining is None else remaining
        self._attempt = cancellation_only(context, self._seconds)
        super()._deliver(context, metrics)

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind == "pause":
            super()._wait(context, wait)
            self._attempt = cancellation_only(context, self._seconds)
        else:
            wait.block(self._attempt)


@killed_by("EXP-10", "export had not ended")
class CancelsFirstAttemptOnly(ReferenceExporter):
    """Waits for a response to the deadline, cancelled or not, once an attempt has failed."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        self._is_further = False
        super()._deliver(context, metrics)

    def _wait(self, context: Context, wait: Wait) -> None:
        self._is_further |= wait.kind == "pause"
        is_deaf = self._is_further and wait.kind == "response"
        super()._wait(deadline_only(context) if is_deaf else context, wait)


@killed_by("EXP-10", "while the gate was shut")
class IgnoresCancel(_OtherContext, kind="response", other=deadline_only):
    """Waits for a response to the deadline, cancelled or not."""


@killed_by("EXP-10", "while the gate was shut, as it does when it is not cancelled")
class OwnTimeoutOrDeadline(
    _OtherContext, kind="response", other=lambda context: deadline_only(context).child(timeout=OWN_SECONDS)
):
    """Waits for a response as long as it sees fit, to the deadline at most, cancelled or not."""


@killed_by("EXP-10", "while the gate was shut")
class SwallowsTaskCancellation(AsyncExporter):
    """Goes on waiting for a response when its task is cancelled, to the deadline."""

    async def _wait_async(self, context: Context, wait: Wait) -> None:
        own = deadline_only(context) if wait.kind == "response" else context
        waiting = asyncio.ensure_future(super()._wait_async(own, wait))
        while not waiting.done():
            try:
                await asyncio.shield(waiting)
            except asyncio.CancelledError:
                if wait.kind != "response":
                    raise
        waiting.result()


@killed_by("EXP-11", "export had not ended")
class SleepsInBackoff(_OtherContext, kind="pause", other=deadline_only):
    """Sleeps between attempts, to the deadline, cancelled or not."""


@killed_by("EXP-12", "while the gate was shut")
class WallClock(ReferenceExporter):
    """Counts its deadline on the wall clock."""

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind == "pause":
            super()._wait(context, wait)
            return
        remaining = context.remaining()
        end = time.time() + (3600 if remaining is None else remaining)
        while time.time() < end and not is_cancelled(context) and not self._sink.is_closed:
            try:
                wait.block(Context.with_timeout(POLL))
            except DeadlineExceededError:
                continue
            if wait.ready() or wait.kind == "piece":
                return
        context.raise_if_done()
        raise DeadlineExceededError("the wall clock says that it is late")


@killed_by("EXP-12", "shutdown")
class ShutdownByTheWallClock(ReferenceExporter):
    """Counts the deadline of a shutdown on the wall clock."""

    def shutdown(self, context: Context) -> None:
        remaining = context.remaining()
        end = time.time() + (3600 if remaining is None else remaining)
        self._close_for_calls()
        got = self._turn.take_if_free()
        while not got and time.time() < end and not is_cancelled(context):
            got = self._turn.take(Context.with_timeout(POLL))
        self._release(got=got)
        context.raise_if_done()
