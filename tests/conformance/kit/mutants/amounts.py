"""Mutants that are right until there are more points, batches or attempts than one would try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.errors import ExporterError
from kit.mutant import Splits, killed_by
from kit.reference import BufferingExporter, ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.observe.tokens import Point
    from kit.memory import Response, Wait

_MOST = 1000  # points of a request
_ROOM = 200  # batches: fewer than are held where the largest batch is small


class _Cuts(Splits):
    """Sends so many points a request, and is right."""

    def _parts(self, points: Sequence[Point]) -> list[list[Point]]:
        return [list(points[first : first + _MOST]) for first in range(0, len(points) or 1, _MOST)]


@killed_by("EXP-16", "1001 points lost")
class StopsAtPartial(_Cuts):
    """Leaves out the requests of a batch after one of which points were refused."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        for part in self._parts(points):
            yield from self._part(part)


@killed_by("EXP-14", "it returned")
class LastPartDecides(_Cuts):
    """Tells of the last of a batch's requests."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        failure = None
        for part in self._parts(points):
            failure = None
            try:
                yield from self._part(part)
            except ExporterError as error:
                failure = error
        if failure is not None:
            raise failure


@killed_by("EXP-02", "lost")
class CutsNumbersAlone(_Cuts):
    """Leaves exponential histograms out of a batch that it sends in several requests."""

    def _parts(self, points: Sequence[Point]) -> list[list[Point]]:
        if len(points) <= _MOST:
            return super()._parts(points)
        return super()._parts([one for one in points if one.fields["type"] != "ExponentialHistogram"])


@killed_by("EXP-01", "lost")
class DropsBeyondRoom(BufferingExporter):
    """Drops a batch beyond those that its queue has room for, and says nothing."""

    def _accept(self, metrics: MetricsData) -> None:
        if len(self._buffer) < _ROOM:
            super()._accept(metrics)


@killed_by("EXP-14", "it returned")
class EndsQuietly(ReferenceExporter):
    """Returns after the last of its attempts, seconds after the first one."""

    backoff = 0.4

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        self._is_refused = False
        try:
            yield from super()._delivery(points)
        except ExporterError:
            if self._is_refused:
                raise

    def _transient(self, response: Response) -> bool:
        self._is_refused = not super()._transient(response)
        return not self._is_refused
