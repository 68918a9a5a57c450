"""Exporters whose fault shows late in their lives, in a part of a batch, or beside something else in the process."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from exporter_core.errors import ExporterError, PartialSuccessError
from kit.memory import SECRET
from kit.mutant import OWN_SECONDS, POLL, Splits, Tells, is_calm, killed_by
from kit.reference import BufferingExporter, ReferenceConfig, ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.observe.tokens import Point
    from exporter_core.context import Context
    from kit.memory import Wait

_A_MINUTE = 60.0  # seconds
_IN_A_BYTE = 128
_MOST_METRICS = 100
_ROOM = 60
_CHUNK = 1000
_BRIEF = 0.36  # seconds


@killed_by("EXP-01", "expired")
class ExpiresWhenIdle(ReferenceExporter):
    """Fails once where the last export was more than a minute ago."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._used = time.monotonic()

    def export(self, context: Context, metrics: MetricsData) -> None:
        before, self._used = self._used, time.monotonic()
        if self._used - before > _A_MINUTE:
            raise ExporterError("the connection has expired")
        super().export(context, metrics)


@killed_by("EXP-01", "does not fit")
class CountsInAByte(ReferenceExporter):
    """Numbers its exports in a signed byte."""

    _number = 0

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self._number == _IN_A_BYTE:
            raise ExporterError("the number does not fit")
        super().export(context, metrics)
        self._number += 1


@killed_by("EXP-01", "lost")
class SendsTheFirstMetrics(ReferenceExporter):
    """Sends the first 100 metrics of a batch."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        names = dict.fromkeys(point.fields.get("name") for point in points)
        first = set(list(names)[:_MOST_METRICS])
        return super()._delivery([point for point in points if point.fields.get("name") in first])


@killed_by("EXP-02", "attributes['value'] is")
class CachesAttributes(ReferenceExporter):
    """Takes attributes that are equal in Python for the same ones."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._known: dict[object, object] = {}

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        for point in points:
            fields: Any = point.fields  # a dictionary, whose attributes are pairs
            key = tuple((name, _in_python(value)) for name, value in fields["attributes"])
            fields["attributes"] = self._known.setdefault(key, fields["attributes"])
        return super()._delivery(points)


def _in_python(value: object) -> object:
    """The number that a pair of its type and its value stands for."""
    if isinstance(value, tuple) and len(value) == 2 and value[0] in ("int", "float"):
        return float(value[1])
    return value


@killed_by("EXP-02", "lost")
class SkipsNamelessScopes(ReferenceExporter):
    """Leaves out what a scope without a name has recorded."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        return super()._delivery([point for point in points if point.fields.get("scope") or not point.fields])


@killed_by("EXP-13", "ms")
class BackOffOfALifetime(ReferenceExporter):
    """Doubles the pause before a further attempt with every failure, and never begins anew.

    It pretends to wait so long: the pauses differ by more than a busy machine adds to them.
    """

    _pause = 10.0

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind == "pause" and is_calm(context):
            self._sink.ahead += self._pause
            self._pause *= 2
        super()._wait(context, wait)


@killed_by("EXP-13", "it raised")
class RetriesWithinDeadlineOnly(ReferenceExporter):
    """Has no time for a further attempt where there is no deadline."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        self.attempts = 1 if context.deadline is None and self._sink.script[-1] == "ok" else 4  # type: ignore[misc]  # of this one
        super().export(context, metrics)


@killed_by("EXP-03", "duplicated")
class ChunksOverlap(ReferenceExporter):
    """Sends the last point of a chunk of 1000 with the next one, too."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        starts = range(0, len(points), _CHUNK)
        return super()._delivery([point for start in starts for point in points[start : start + _CHUNK + 1]])


@killed_by("EXP-17", "no connection is free")
class LosesSlots(ReferenceExporter):
    """Lets eight exports fail in its life: each keeps what the others wait for."""

    _slots = 8

    def export(self, context: Context, metrics: MetricsData) -> None:
        if not self._slots:
            raise ExporterError("no connection is free")
        try:
            super().export(context, metrics)
        except ExporterError as error:
            self._slots -= "400" in str(error)
            raise


@killed_by("SHD-02", "temporary files")
class LeavesItsFolder(ReferenceExporter):
    """Leaves a temporary folder behind."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if "temporary" in tempfile.gettempdir():  # a folder of the clause's, which is removed with it
            tempfile.mkdtemp()
        super().export(context, metrics)


@killed_by("EXP-14", "it returned")
class LastRequestDecides(Splits):
    """Raises what the last request of a batch has met."""

    _failure: ExporterError | None = None

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        yield from super()._delivery(points)
        if self._failure is not None:
            raise self._failure

    def _part(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        self._failure = None
        try:
            yield from super()._part(points)
        except PartialSuccessError:
            raise
        except ExporterError as error:
            self._failure = error


@killed_by("EXP-13", "duplicated")
class StartsOver(Splits):
    """Sends every request of a batch again where one of several was tried again."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        parts, before = self._parts(points), self._sink.received
        yield from super()._delivery(points)
        if len(parts) > 1 and self._sink.received > before + len(parts):
            yield from super()._delivery(points)


@killed_by("HND-02", "in its text")
class TellsBase64(Tells, told=f"Basic {base64.b64encode(f'user:{SECRET}'.encode()).decode()}"):
    """Quotes the credentials of Basic authentication."""


@killed_by("HND-02", "was logged")
class LogsDeliveries(ReferenceExporter):
    """Logs each delivery, with the secret in an extra field."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        logging.getLogger(__name__).debug("delivered", extra={"token": self.config.token.get_secret_value()})


@killed_by("EXP-06", "had not ended")
class WaitsForRoom(BufferingExporter):
    """Has room for 60 batches, and waits for more without a look at the deadline."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        is_brief = 0 < (context.remaining() or 0) < _BRIEF
        while is_brief and len(self._buffer) >= _ROOM and self._sink.is_shut:
            time.sleep(POLL)
        super().export(context, metrics)


@killed_by("FLU-01", "AttributeError")
class FlushNeedsAnExport(BufferingExporter):
    """Asks in a flush for what the first export makes."""

    _made = False

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        self._made = True

    def force_flush(self, context: Context) -> None:
        if not self._made and not context.done and not self._is_shut_down:
            raise AttributeError("'NoneType' object has no attribute 'join'")
        super().force_flush(context)


@killed_by("FLU-01", "it returned with one")
class FlushHasATimeOutOfItsOwn(BufferingExporter):
    """Waits in a flush for half a second at most, and returns."""

    def force_flush(self, context: Context) -> None:
        try:
            super().force_flush(context.child(timeout=OWN_SECONDS))
        except TimeoutError:
            context.raise_if_done()


@killed_by("EXP-20", "points lost")
class SharesItsBuffer(BufferingExporter):
    """Holds what all exporters of its kind have accepted."""

    _alive: ClassVar[WeakSet[SharesItsBuffer]] = WeakSet()

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        for one in self._alive:
            if not one._is_shut_down:
                self._buffer = one._buffer
        self._alive.add(self)


@killed_by("SHD-02", "_linger")
class LeavesAThread(ReferenceExporter):
    """Leaves a thread behind where an export ends at its deadline."""

    def _wait(self, context: Context, wait: Wait) -> None:
        try:
            super()._wait(context, wait)
        except TimeoutError:
            if wait.kind == "response" and not self._sink.is_shut:
                threading.Thread(target=self._linger, daemon=True).start()
            raise

    def _linger(self) -> None:
        while not self._sink.is_closed:
            time.sleep(POLL)


@killed_by("PY-05", "the event loop of the calling thread")
class SetsEventLoop(ReferenceExporter):
    """Sets an event loop for the calling thread."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        loop = asyncio.new_event_loop()
        loop.close()
        asyncio.set_event_loop(loop)
        super().export(context, metrics)


@killed_by("PY-05", "json.encoder.JSONEncoder.default")
class PatchesJson(ReferenceExporter):
    """Teaches the standard library's encoder to write everything."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        json.JSONEncoder.default = _as_text  # type: ignore[assignment, method-assign]
        super().export(context, metrics)


def _as_text(_: object, value: object) -> str:
    return str(value)
