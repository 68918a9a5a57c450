"""Exports that lose, change or repeat data, spoil the caller's, or return before they are done."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from exporter_core.conformance.clauses.export import without_last_points, without_scope_attributes
from exporter_core.conformance.observe.tokens import Point, flatten, metrics_in
from exporter_core.context import Context
from exporter_core.errors import (
    ContextCancelledError,
    DeadlineExceededError,
    ExporterCoreError,
    ExporterError,
    PartialSuccessError,
)
from kit.memory import MemoryHarness, Response, Wait
from kit.mutant import Parametrised, Splits, detached, killed_by
from kit.reference import BufferingExporter, ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData


@killed_by("EXP-01", "lost")
class DropsPoint(ReferenceExporter):
    """Leaves out the last point of each metric."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        super()._deliver(context, without_last_points(metrics))


@killed_by("EXP-01", "lost")
class ClaimsToHoldNothing(BufferingExporter):
    """Holds data, and says that it does not."""

    conformance_harness: ClassVar[type[MemoryHarness]] = MemoryHarness


@killed_by("EXP-02", "scope_attributes")
class DropsScopeAttributes(ReferenceExporter):
    """Forgets the attributes of scopes."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        super()._deliver(context, without_scope_attributes(metrics))


@killed_by("EXP-02", "scope_version")
class MergesNamesakes(ReferenceExporter):
    """Takes scopes of one name for one scope."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        changed = copy.deepcopy(metrics)
        for of_resource in changed.resource_metrics:
            first: dict[str, Any] = {}  # Any: scopes
            for of_scope in of_resource.scope_metrics:
                scope = first.setdefault(of_scope.scope.name, of_scope.scope)
                object.__setattr__(of_scope, "scope", scope)
        super()._deliver(context, changed)


class _ChangesPoints(Parametrised):
    """Changes a field of each point."""

    field: str
    changed: Callable[[object], object]

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        changed = copy.deepcopy(metrics)
        for metric in metrics_in(changed):
            for point in metric.data.data_points:
                object.__setattr__(point, self.field, type(self).changed(getattr(point, self.field, None)))
        super()._deliver(context, changed)


@killed_by("EXP-02", "value is")
class RoundsIntegers(
    _ChangesPoints, field="value", changed=lambda value: float(value) if isinstance(value, int) else value
):
    """Sends integers as real numbers."""


@killed_by("EXP-02", "exemplars is")
class DropsExemplars(_ChangesPoints, field="exemplars", changed=lambda _value: ()):
    """Forgets exemplars."""


@killed_by("EXP-03", "duplicated")
class SendsTwice(ReferenceExporter):
    """Sends each batch two times."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        super()._deliver(context, metrics)
        super()._deliver(context, metrics)


@killed_by("EXP-04", "it returned Future")
class ReturnsFuture(ReferenceExporter):
    """Returns a future."""

    def export(self, context: Context, metrics: MetricsData) -> Any:
        super().export(context, metrics)
        return Future()


@killed_by("EXP-04", "it returned bool")
class FlushReturnsTrue(ReferenceExporter):
    """Says that a flush went well."""

    def force_flush(self, context: Context) -> Any:
        super().force_flush(context)
        return True


@killed_by("EXP-04", "it returned Future")
class ShutdownReturnsFuture(ReferenceExporter):
    """Returns a future of its shutdown."""

    def shutdown(self, context: Context) -> Any:
        super().shutdown(context)
        return Future()


@killed_by("EXP-04", "it returned while the gate was shut")
class Detaches(ReferenceExporter):
    """Delivers on a thread of its own, and returns when the backend is slow to answer."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        is_first = not self._sink.received  # other clauses are about that one
        detached(partial(super().export, context, metrics), context, self._sink, waits=is_first)


@killed_by("EXP-04", "requests after its deadline: 1")
class DeliversLater(ReferenceExporter):
    """Says that the deadline passed while the backend did not answer, and goes on trying on a thread of its own."""

    _end: ClassVar[type[ExporterCoreError]] = DeadlineExceededError

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except self._end:
            if self._sink.is_shut:
                threading.Thread(target=self._later, args=(copy.deepcopy(metrics),), daemon=True).start()
            raise

    def _later(self, metrics: MetricsData) -> None:
        try:
            super().export(Context.with_timeout(10.0), metrics)
        except (ExporterCoreError, ConnectionError):
            pass  # nobody is there to be told


@killed_by("EXP-04", "requests after it was cancelled: 1")
class DeliversWhenCancelled(DeliversLater):
    """Ends when it is cancelled while the backend does not answer, and goes on trying on a thread of its own."""

    _end = ContextCancelledError


@killed_by("EXP-04", "requests after one of its requests was refused: ")
class LeavesTheOthers(Splits):
    """Raises as soon as one of a batch's requests is refused; those after it go on without it."""

    def _parts(self, points: Sequence[Point]) -> list[list[Point]]:
        self._others = super()._parts(points)
        return list(self._others)

    def _part(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        del self._others[0]
        return super()._part(points)

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        try:
            yield from super()._delivery(points)
        except PartialSuccessError:
            raise
        except ExporterError:
            if self._others:
                threading.Thread(target=self._later, args=(self._others,), daemon=True).start()
            raise

    def _later(self, parts: list[list[Point]]) -> None:
        context = Context.with_timeout(10.0)
        try:
            for part in parts:
                for wait in super()._part(part):
                    self._wait(context, wait)
        except (ExporterCoreError, ConnectionError):
            pass  # nobody is there to be told


@killed_by("EXP-04", "OSError ended thread bookkeeping")
class DiesBeside(ReferenceExporter):
    """Starts a thread beside each export that dies of an error."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        thread = threading.Thread(target=self._bookkeeping, name="bookkeeping", daemon=True)
        thread.start()
        thread.join()

    def _bookkeeping(self) -> None:
        raise OSError("the books are gone")


@killed_by("DAT-01", "lost")
class HoldsReference(BufferingExporter):
    """Holds the caller's own batch."""

    def _accept(self, metrics: MetricsData) -> None:
        self._buffer.append(metrics)


@killed_by("DAT-01", "lost")
class HoldsReferenceBehindAnother(BufferingExporter):
    """Holds the caller's own batch where it holds one already."""

    def _accept(self, metrics: MetricsData) -> None:
        if self._buffer:
            self._buffer.append(metrics)
        else:
            super()._accept(metrics)


@killed_by("DAT-01", "lost")
class EncodesAgain(ReferenceExporter):
    """Encodes a batch anew for each attempt."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        self._metrics = metrics
        super()._deliver(context, metrics)

    def _exchange(self, points: Sequence[Point]) -> Generator[Wait, None, Response]:
        return super()._exchange(tuple(flatten(self._metrics)))


class _Spoils(Parametrised):
    """Changes the caller's batch, once it has sent that; one without points is left alone."""

    spoil: Callable[[Any], object]  # Any: scopes, made by the kit, of lists and dictionaries

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        for of_resource in metrics.resource_metrics:
            if any(metric.data.data_points for one in of_resource.scope_metrics[:1] for metric in one.metrics[:1]):
                type(self).spoil(of_resource.scope_metrics)


@killed_by("DAT-02", "attributes")
class Annotates(_Spoils, spoil=lambda scopes: scopes[0].metrics[0].data.data_points[0].attributes.update(exported=1)):
    """Adds an attribute to the caller's points."""


@killed_by("DAT-02", "in another order")
class SortsInPlace(_Spoils, spoil=lambda scopes: scopes[0].metrics[0].data.data_points.reverse()):
    """Sorts the caller's points."""


@killed_by("DAT-02", "a scope was added")
class AddsScope(_Spoils, spoil=lambda scopes: scopes.append(replace(scopes[0], metrics=[]))):
    """Adds an empty scope to the caller's batch."""
