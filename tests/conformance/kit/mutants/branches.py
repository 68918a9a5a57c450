"""Exporters whose fault stands in one branch: at one time, in one phase, for one shape of a batch."""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.observe.tokens import metrics_in
from exporter_core.errors import ContextCancelledError, ExporterError, ExporterShutdownError, PartialSuccessError
from kit.memory import SECRET
from kit.mutant import POLL, Splits, deadline_only, is_cancelled, killed_by
from kit.reference import BufferingExporter, ReferenceConfig, ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData

    from exporter_core.conformance.observe.tokens import Point
    from exporter_core.context import Context
    from exporter_core.contract import InstrumentKind
    from kit.memory import Response, Wait

_A_MINUTE = 60.0  # seconds
_ROOM = 1_000_000  # characters
_CHUNK = 1_000  # points
_OK, _FORBIDDEN, _BUSY = 200, 403, 503
_SECOND = 1_000_000_000  # nanoseconds


@killed_by("EXP-01", "lost")
class ForgetsOldBatches(BufferingExporter):
    """Takes what it has held for more than a minute for stale."""

    def _renew_after_fork(self) -> None:
        super()._renew_after_fork()
        self._since = math.inf

    def _accept(self, metrics: MetricsData) -> None:
        super()._accept(metrics)
        self._since = min(self._since, time.monotonic())

    def _drain(self, context: Context) -> None:
        since, self._since = self._since, math.inf
        if time.monotonic() - since > _A_MINUTE:
            self._buffer.clear()
        super()._drain(context)


@killed_by("EXP-01", "lost")
class HasRoomForAMegabyte(BufferingExporter):
    """Has room for a million characters of text, and drops the oldest batches beyond."""

    def _accept(self, metrics: MetricsData) -> None:
        super()._accept(metrics)
        while sum(map(self._size, self._buffer)) > _ROOM:
            del self._buffer[0]

    @staticmethod
    def _size(metrics: MetricsData) -> int:
        points = [point for metric in metrics_in(metrics) for point in metric.data.data_points]
        return sum(len(str((point.attributes or {}).get("text", ""))) for point in points)


@killed_by("EXP-01", "lost")
class KnowsBatchesByPlace(ReferenceExporter):
    """Takes a batch in a place in memory that another one had for that one, which was delivered."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._delivered: set[int] = set()

    def export(self, context: Context, metrics: MetricsData) -> None:
        is_known = id(metrics) in self._delivered and self._sink.script == ["ok"] and not self._is_shut_down
        if is_known and not self._sink.is_shut and not context.done:
            return
        super().export(context, metrics)
        self._delivered.add(id(metrics))


@killed_by("EXP-02", "resource")
class KnowsResourcesByPlace(ReferenceExporter):
    """Keeps what it made of a resource by the resource's place in memory."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._known: dict[int, object] = {}

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        self._resources = [one.resource for one in metrics.resource_metrics for _ in metrics_in(metrics)]
        super()._deliver(context, metrics)

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        if len(points) == 1:
            fields: Any = points[0].fields  # a dictionary
            fields["resource"] = self._known.setdefault(id(self._resources[0]), fields["resource"])
        self._resources.clear()
        return super()._delivery(points)


@killed_by("EXP-02", "start_time_unix_nano is")
class KeepsTheFirstStart(ReferenceExporter):
    """Gives a series the start with which it came first."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._starts: dict[object, object] = {}

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        for point in points:
            fields: Any = point.fields  # a dictionary
            if "start_time_unix_nano" in fields:
                series = fields["name"], fields["attributes"]
                fields["start_time_unix_nano"] = self._starts.setdefault(series, fields["start_time_unix_nano"])
        return super()._delivery(points)


@killed_by("EXP-02", "time_unix_nano is")
class WritesLocalTime(ReferenceExporter):
    """Writes times as those of the local clock, which has an hour twice in autumn."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        for point in points:
            fields: Any = point.fields  # a dictionary
            kind, number = fields.get("time_unix_nano", ("", 0))
            if number:
                seconds, rest = divmod(number, _SECOND)
                local = datetime.fromtimestamp(seconds, UTC).astimezone().replace(tzinfo=None, fold=0)
                fields["time_unix_nano"] = kind, int(local.timestamp()) * _SECOND + rest
        return super()._delivery(points)


@killed_by("EXP-02", "description is")
class DescribesOnce(ReferenceExporter):
    """Sends a description with the first thousand points of a metric alone."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        for point in points[_CHUNK:]:
            fields: Any = point.fields  # a dictionary
            fields["description"] = ""
        return super()._delivery(points)


class _SecondRequest(Splits):
    """Has another context for what comes after the first request of a batch."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        self._number = 0
        return super()._delivery(points)

    def _part(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        self._number += 1
        return super()._part(points)

    def _wait(self, context: Context, wait: Wait) -> None:
        is_second = self._number > 1 and wait.kind == "response"
        super()._wait(self._other(context) if is_second else context, wait)

    def _other(self, context: Context) -> Context:
        raise NotImplementedError


@killed_by("EXP-06", "had not ended")
class BoundsTheFirstRequest(_SecondRequest):
    """Gives the first request of a batch alone a deadline; a cancellation ends each."""

    def _other(self, context: Context) -> Context:
        own = context.background()
        context.on_done(lambda: own.cancel("cancelled") if is_cancelled(context) else None)
        return own


@killed_by("EXP-10", "had not ended")
class CancelsTheFirstRequest(_SecondRequest):
    """Waits for the answer to a later request of a batch to the deadline, cancelled or not."""

    def _other(self, context: Context) -> Context:
        return deadline_only(context)


@killed_by("EXP-10", "had not ended")
class DeafWhileConnecting(ReferenceExporter):
    """Connects to the deadline, cancelled or not."""

    def _wait(self, context: Context, wait: Wait) -> None:
        super()._wait(deadline_only(context) if wait.kind == "connect" else context, wait)


@killed_by("EXP-15", "attempts")
class RetriesForbidden(ReferenceExporter):
    """Tries again what it has no right to."""

    def _transient(self, response: Response) -> bool:
        return response.status == _FORBIDDEN or super()._transient(response)


@killed_by("EXP-16", "points were refused")
class WarningIsAFailure(ReferenceExporter):
    """Takes a partial success of all points for a failure."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        if response.warned and not response.rejected:
            return ExporterError("points were refused")
        return super()._failure_of(response)


@killed_by("EXP-17", "ValueError")
class NeedsPoints(ReferenceExporter):
    """Asks each metric for the latest of its points."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        for metric in metrics_in(metrics):
            max(point.time_unix_nano for point in metric.data.data_points)
        super().export(context, metrics)


@killed_by("EXP-17", "the last export had failed")
class RaisesAgainAtShutdown(ReferenceExporter):
    """Raises in a shutdown what the last export has raised."""

    _refused = False

    def export(self, context: Context, metrics: MetricsData) -> None:
        self._refused = False
        try:
            super().export(context, metrics)
        except ExporterError as error:
            self._refused = "400" in str(error)
            raise

    def shutdown(self, context: Context) -> None:
        super().shutdown(context)
        if self._refused:
            raise ExporterError("the last export had failed")


@killed_by("DAT-01", "exemplars is")
class RetriesWithLess(ReferenceExporter):
    """Leaves the exemplars out of a further attempt."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        for wait in super()._delivery(points):
            if wait.kind == "pause":
                for point in points:
                    fields: Any = point.fields  # a dictionary
                    fields["exemplars"] = ()
            yield wait


@killed_by("HND-02", "in its text")
class TellsSecretOfPartial(ReferenceExporter):
    """Quotes the request where a part of it was refused."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        if isinstance(failure, PartialSuccessError):
            return PartialSuccessError(f"{failure}: {SECRET}", rejected_points=failure.rejected_points)
        return failure


@killed_by("HND-02", "was logged")
class LogsAttempts(ReferenceExporter):
    """Logs a request that is tried again."""

    def _transient(self, response: Response) -> bool:
        if response.status == _BUSY:
            logging.getLogger(__name__).info("once more: %s", SECRET)
        return super()._transient(response)


@killed_by("HND-02", "in its text")
class TellsSecretAfterShutdown(ReferenceExporter):
    """Tells with what options it was made, once it is shut down."""

    def _refuse(self) -> None:
        try:
            super()._refuse()
        except ExporterShutdownError as error:
            raise ExporterShutdownError(f"{error}: {SECRET}") from error


@killed_by("FLU-01", "lost")
class KeepsTheExportsContext(BufferingExporter):
    """Drops a batch whose export's context was cancelled, though that export has returned."""

    def _renew_after_fork(self) -> None:
        super()._renew_after_fork()
        self._contexts: list[Context] = []

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        self._contexts.append(context)

    def _drain(self, context: Context) -> None:
        contexts, self._contexts = self._contexts, []
        gone = [number for number, one in enumerate(contexts) if isinstance(one.error(), ContextCancelledError)]
        for number in reversed(gone if len(contexts) == len(self._buffer) else []):
            del self._buffer[number]
        super()._drain(context)


@killed_by("SHD-02", "are open")
class LeaksPartialSuccesses(ReferenceExporter):
    """Leaves a connection open whose answer was a partial success."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        self._connected = self._connected and not isinstance(failure, PartialSuccessError)
        return failure


@killed_by("SHD-02", "_linger")
class ThreadForLargeBatches(ReferenceExporter):
    """Starts a thread for a batch of more than a thousand points, and keeps it."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        if len(points) > _CHUNK:
            threading.Thread(target=self._linger, daemon=True).start()
        return super()._delivery(points)

    def _linger(self) -> None:
        while not self._sink.is_closed:
            time.sleep(POLL)


@killed_by("SHD-04", "had not ended")
class ShutdownWaitsForPauses(ReferenceExporter):
    """Waits in a shutdown for the pause between two attempts, however long it takes."""

    _pausing = False

    def _wait(self, context: Context, wait: Wait) -> None:
        self._pausing = wait.kind == "pause"
        try:
            super()._wait(context, wait)
        finally:
            self._pausing = False

    def shutdown(self, context: Context) -> None:
        while self._pausing and not self._sink.is_closed:
            time.sleep(POLL)
        super().shutdown(context)


@killed_by("KND-02", "it was")
class DeltaAfterFlush(ReferenceExporter):
    """Prefers deltas once it was flushed."""

    _flushed = False

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        answer = super().temporality(instrument_kind)
        return type(answer).DELTA if self._flushed else answer

    def force_flush(self, context: Context) -> None:
        super().force_flush(context)
        self._flushed = True


@killed_by("PY-03", "are kept")
class IsKept(ReferenceExporter):
    """Stays in a list of all exporters."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        _EVERY.append(self)


_EVERY: list[ReferenceExporter] = []


@killed_by("PY-05", "sqlite3.adapters")
class TeachesSqlite(ReferenceExporter):
    """Teaches the standard library's database to store lists."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        sqlite3.register_adapter(list, str)
        super().export(context, metrics)
