"""Exporters whose fault shows with amounts, after failures, or in what they hold."""

from __future__ import annotations

import atexit
import logging
import os
import random
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakValueDictionary

from opentelemetry.context import attach, detach, set_value
from opentelemetry.sdk.metrics.export import AggregationTemporality

from exporter_core.conformance.observe.tokens import metrics_in
from exporter_core.errors import DeadlineExceededError, ExporterError
from kit.mutant import OWN_SECONDS, killed_by
from kit.reference import BufferingExporter, ReferenceConfig, ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.observe.tokens import Point
    from exporter_core.context import Context
    from exporter_core.contract import InstrumentKind
    from kit.memory import Response, Wait

_MOST_POINTS = 5000
_MOST_BATCHES = 50
_FORBIDDEN, _OK, _FIRST_ERROR = 403, 200, 300


@killed_by("EXP-01", "lost")
class CutsLargeBatches(ReferenceExporter):
    """Sends the first 5000 points of a batch."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        return super()._delivery(points[:_MOST_POINTS])


@killed_by("EXP-01", "points arrived once")
class SkipsUnchanged(ReferenceExporter):
    """Leaves out series whose values are those of the last export."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._sent: dict[str, object] = {}

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        changed = [point for point in points if self._sent.get(point.token, self) != point.fields.get("value")]
        self._sent = {point.token: point.fields.get("value") for point in points}
        return super()._delivery(changed)


@killed_by("EXP-01", "lost")
class DropsOldest(BufferingExporter):
    """Has room for 50 batches, and drops the oldest beyond."""

    def _accept(self, metrics: MetricsData) -> None:
        super()._accept(metrics)
        del self._buffer[:-_MOST_BATCHES]


@killed_by("EXP-14", "it returned")
class ForbiddenIsFine(ReferenceExporter):
    """Takes 403 for an answer that needs no error."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if response.status == _FORBIDDEN else super()._failure_of(response)


@killed_by("EXP-14", "it returned")
class ReportsOnce(ReferenceExporter):
    """Raises no failure that is the last one's equal."""

    _failed = ""

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except ExporterError as error:
            if "answered" in str(error):
                if self._failed == str(error):
                    return
                self._failed = str(error)
            raise
        self._failed = ""


@killed_by("EXP-15", "one came 0.00 s later")
class NeverPauses(ReferenceExporter):
    """Tries again at once, twelve times."""

    attempts = 12

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind != "pause":
            super()._wait(context, wait)


@killed_by("EXP-13", "it raised ExporterError")
class BudgetOfALifetime(ReferenceExporter):
    """Has three further attempts in its life."""

    _budget = 3

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        self.attempts = 1 + self._budget  # type: ignore[misc]  # of this one
        before = self._sink.received
        try:
            yield from super()._delivery(points)
        finally:
            self._budget = max(0, self._budget - max(0, self._sink.received - before - 1))


@killed_by("EXP-17", "another one took its place")
class KeepsCallbacks(ReferenceExporter):
    """Begins an attempt anew when the context of an earlier export is cancelled."""

    _stale = False

    def _stale_now(self) -> None:
        self._stale = True

    def _exchange(self, points: Sequence[Point]) -> Generator[Wait, None, Response]:
        self._stale = False
        response = yield from super()._exchange(points)
        return (yield from super()._exchange(points)) if self._stale else response

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        context.on_done(self._stale_now)


@killed_by("EXP-17", "lost")
class TruncatesAfterFailure(ReferenceExporter):
    """Begins anew after a failure: what was delivered before is gone."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except ExporterError as error:
            if "answered" in str(error):
                self._sink.arrived.clear()
            raise


@killed_by("DAT-02", "exemplars is")
class TakesExemplars(ReferenceExporter):
    """Takes the exemplars out of points that were delivered, so that none is delivered twice."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        for metric in metrics_in(metrics):
            for point in metric.data.data_points:
                if isinstance(point.exemplars, list):
                    point.exemplars.clear()


@killed_by("EXP-19", "it returned")
class TakesAny2xx(ReferenceExporter):
    """Takes every status from 200 to 299 for a success."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if _OK < response.status < _FIRST_ERROR else super()._failure_of(response)


@killed_by("DAT-02", "lost")
class EmptiesOnFailure(ReferenceExporter):
    """Empties a batch that has failed, to free its memory."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except ExporterError:
            for metric in metrics_in(metrics):
                metric.data.data_points.clear()  # type: ignore[union-attr]  # the kit's are lists
            raise


@killed_by("KND-02", "it was")
class DeltaAfterFailure(ReferenceExporter):
    """Prefers deltas once an export has failed."""

    _failed = False

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        return AggregationTemporality.DELTA if self._failed else super().temporality(instrument_kind)

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except ExporterError:
            self._failed = True
            raise


@killed_by("SHD-02", "are open")
class LeaksBrokenConnections(ReferenceExporter):
    """Leaves a connection open that was reset."""

    def _exchange(self, points: Sequence[Point]) -> Generator[Wait, None, Response]:
        try:
            return (yield from super()._exchange(points))
        except ConnectionResetError:
            self._connected = False
            raise


@killed_by("SHD-02", "which was another's")
class ClosesTwice(ReferenceExporter):
    """Closes the number of its file in every shutdown."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._number = os.open(os.devnull, os.O_RDONLY)

    def shutdown(self, context: Context) -> None:
        with suppress(OSError):
            os.close(self._number)
        super().shutdown(context)

    def __del__(self) -> None:
        if not self._is_shut_down:
            os.close(self._number)


@killed_by("FLU-01", "lost")
class DropsAtDeadline(BufferingExporter):
    """Drops a batch whose delivery ends with the context of a flush."""

    def _drain(self, context: Context) -> None:
        try:
            super()._drain(context)
        except DeadlineExceededError:
            del self._buffer[:1]
            raise


@killed_by("FLU-04", "all of them returned")
class TellsLastFailure(BufferingExporter):
    """Raises what its last delivery raised."""

    def _drain(self, context: Context) -> None:
        failure: ExporterError | None = None
        while self._buffer:
            failure = None
            try:
                super()._drain(context)
            except ExporterError as error:
                failure = error
        if failure is not None:
            raise failure


@killed_by("SHD-01", "it returned")
class SwallowsLast(BufferingExporter):
    """Returns from a shutdown whose delivery was refused."""

    def _last(self, context: Context) -> None:
        with suppress(ExporterError):
            super()._last(context)


@killed_by("SHD-11", "it returned while the gate was shut")
class HasATimeOutOfItsOwn(BufferingExporter):
    """Gives what it holds half a second in a shutdown, and returns."""

    def _last(self, context: Context) -> None:
        with suppress(DeadlineExceededError):
            super()._last(context.child(timeout=OWN_SECONDS))


@killed_by("PY-04", "lost")
class DropsInChild(BufferingExporter):
    """Drops what it holds in the shutdown of a forked child."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._parent = os.getpid()

    def _last(self, context: Context) -> None:
        if os.getpid() == self._parent:
            super()._last(context)


@killed_by("PY-05", "it changed ")
class ClearsUmask(ReferenceExporter):
    """Clears the umask of the process in each export."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        os.umask(0)
        super().export(context, metrics)


@killed_by("PY-05", "it changed the seed of random")
class SeedsRandom(ReferenceExporter):
    """Seeds the random numbers of the process, for its jitter."""

    def _transient(self, response: Response) -> bool:
        random.seed(1)
        return super()._transient(response)


@killed_by("PY-05", "the context of OpenTelemetry of the calling thread")
class StaysAttached(ReferenceExporter):
    """Suppresses instrumentation while it exports, and for good where that fails."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        token = attach(set_value("suppress_instrumentation", True))
        super().export(context, metrics)
        detach(token)


@killed_by("PY-05", "the logger urllib3")
class SilencesLibraries(ReferenceExporter):
    """Lets another library log errors alone."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        logging.getLogger("urllib3").setLevel(logging.ERROR)


@killed_by("PY-03", "more functions to be called at exit")
class RegistersAtExit(ReferenceExporter):
    """Registers a function to be called at exit with each export."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        atexit.register(int)
        super().export(context, metrics)


@killed_by("EXP-20", "points lost")
class SharesItsClient(ReferenceExporter):
    """Delivers to the backend of the first of its kind that is alive."""

    _alive: ClassVar[WeakValueDictionary[int, ReferenceExporter]] = WeakValueDictionary()

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._alive[len(self._alive) and max(self._alive) + 1] = self

    def _exchange(self, points: Sequence[Point]) -> Generator[Wait, None, Response]:
        first = next((one for _, one in sorted(self._alive.items()) if not one._is_shut_down), self)
        if not self._connected:
            self._sink = first._sink
        return (yield from super()._exchange(points))


@killed_by("EXP-01", "TypeError")
class NeedsADeadline(ReferenceExporter):
    """Computes with the time that is left, which a context without a deadline does not have."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        is_undisturbed = self._sink.script == ["ok"] and not self._sink.is_shut and not context.done
        if context.deadline is None and is_undisturbed:
            raise TypeError("unsupported operand type(s) for +: 'float' and 'NoneType'")
        super().export(context, metrics)


@killed_by("EXP-14", "export cancelled it")
class CancelsTheCaller(ReferenceExporter):
    """Cancels the caller's context when it fails."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except ExporterError:
            if not context.done:
                context.cancel("the export failed")
            raise


@killed_by("EXP-17", "arrived later")
class SendsAgainLater(ReferenceExporter):
    """Sends what was refused once more with the next export, although its export has raised."""

    _refused: tuple[Point, ...] = ()

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        again, self._refused = self._refused, ()
        try:
            yield from super()._delivery((*again, *points))
        except ExporterError as error:
            if "400" in str(error):
                self._refused = tuple(points)
            raise


@killed_by("EXP-15", "one came")
class IgnoresRetryAfter(ReferenceExporter):
    """Does not read for how long the backend asks to wait."""

    def _exchange(self, points: Sequence[Point]) -> Generator[Wait, None, Response]:
        response = yield from super()._exchange(points)
        asked = response.retry_after
        return replace(response, retry_after=None) if asked == 1 else response
