"""``SharedCollection``: one collection of the SDK that serves several readers of a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import DefaultAggregation

from exporter_core.clock import MONOTONIC, Clock
from exporter_core.context import Context
from exporter_core.contract import InstrumentKind
from exporter_core.forking import renew_after_fork
from exporter_core.reader.collection import Collection
from exporter_core.reader.periodic import begin_flushes, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource

    from exporter_core.guard import GuardedExporter
    from exporter_core.reader.jobs import Job
    from exporter_core.reader.periodic import PeriodicReader


def sharing_key(exporter: GuardedExporter, *among: object) -> Hashable | None:
    """Return what the readers that can share a collection have in common; None for one that cannot.

    Aggregations have no equality: each kind has the SDK's default, or the same object.

    Args:
        exporter: the reader's.
        among: what else has to be equal.
    """
    if any(exporter.temporality(kind) is not AggregationTemporality.CUMULATIVE for kind in InstrumentKind):
        return None  # what a busy exporter misses of delta data would be lost
    aggregations = [exporter.aggregation(kind) for kind in InstrumentKind]
    return (*among, *(None if type(one) is DefaultAggregation else id(one) for one in aggregations))


def shares_with_others(exporter: GuardedExporter) -> bool:
    """Return True for an exporter of cumulative data in the SDK's default aggregations."""
    key = sharing_key(exporter)
    return isinstance(key, tuple) and not any(key)


class SharedCollection(Collection):
    """Give it to the MeterProvider in the place of its readers, which are made with ``collection=``.

    The readers' exporters take cumulative data only, and want the same aggregations: what one misses, the next
    collection has.

    Args:
        exporter: one of theirs; gives temporality and aggregation by kind.
        cardinality_limits: the most attribute sets of an instrument, by kind.
        resource: returns the resource of each batch; the provider's unless given.
        clock: the readers' clock.
    """

    def __init__(
        self,
        exporter: GuardedExporter,
        *,
        cardinality_limits: Mapping[InstrumentKind, int] | None = None,
        resource: Callable[[], Resource] | None = None,
        clock: Clock = MONOTONIC,
    ) -> None:
        super().__init__(exporter, cardinality_limits, resource, clock)
        self._readers: list[PeriodicReader] = []
        renew_after_fork(self)  # before its readers, which begin with it

    @property
    def readers(self) -> Sequence[PeriodicReader]:
        """The readers that it serves."""
        return self._readers

    def add(self, reader: PeriodicReader) -> None:
        """Serve this reader too."""
        self._readers.append(reader)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush every reader, side by side; raises their error, or a group of them."""
        context = self._context(timeout_millis)
        return self._finished(begin_flushes(self._readers, context))

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:  # noqa: ARG002 # Any: the SDK's signature
        """Shut every reader down, side by side; raises their error, or a group of them."""
        if self._moving:
            return
        context = self._context(timeout_millis)
        self._finished([job for reader in self._readers if (job := reader.begin_shutdown(context)) is not None])

    def _finished(self, jobs: Sequence[Job[PeriodicReader]]) -> bool:
        errors = [job.error for job in finish(jobs) if job.error is not None]
        if len(errors) > 1:
            raise ExceptionGroup(f"{len(errors)} readers failed", errors)
        if errors:
            raise errors[0]
        return True

    def _context(self, timeout_millis: float) -> Context:
        deadline = self._clock.monotonic() + max(0.0, timeout_millis / 1000)
        return Context(deadline=deadline, clock=self._clock)

    def _renew_after_fork(self) -> None:
        self._renew_collection()
