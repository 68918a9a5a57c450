"""Exporters that make the wrong thing of an answer that is rare: many points refused, a date, a busy last backend."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from exporter_core.errors import ExporterCoreError, PartialSuccessError
from kit.mutant import killed_by
from kit.reference import BufferingExporter, ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.observe.tokens import Point
    from exporter_core.context import Context
    from kit.memory import Response, Wait


@killed_by("EXP-16", "it is 2")
class CountsInOneByte(ReferenceExporter):
    """Reads the first byte of the number of refused points alone."""

    def _exchange(self, points: Sequence[Point]) -> Generator[Wait, None, Response]:
        response = yield from super()._exchange(points)
        return replace(response, rejected=response.rejected & 127)


@killed_by("EXP-17", "it raised PartialSuccessError")
class RaisesPartialSuccessAgain(ReferenceExporter):
    """Adds up the points that were refused, and raises their number in each later export."""

    _refused = 0

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except PartialSuccessError as error:
            self._refused = error.rejected_points or 0
            raise
        if self._refused:
            raise PartialSuccessError("points were refused", rejected_points=self._refused)


@killed_by("EXP-13", "it raised ExporterError: the backend answered 503")
class LastAttemptIsOne(BufferingExporter):
    """Tries once what a shutdown delivers."""

    def _last(self, context: Context) -> None:
        self.attempts = 1  # type: ignore[misc]  # of this exporter alone, which is over
        super()._last(context)


@killed_by("EXP-15", "attempts in 0.5 s")
class ReadsNoDates(ReferenceExporter):
    """Takes a Retry-After that is a date for none."""

    def _exchange(self, points: Sequence[Point]) -> Generator[Wait, None, Response]:
        response = yield from super()._exchange(points)
        return replace(response, retry_after=None) if response.retry_after == 60 else response


@killed_by("EXP-15", "ms at least before")
class StormsOnceEnded(ReferenceExporter):
    """Tries again at once, twelve times, when the context of an earlier export has ended between two attempts."""

    attempts = 12
    _has_ended = False

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind == "pause" and self._has_ended:
            return
        try:
            super()._wait(context, wait)
        except ExporterCoreError:
            if wait.kind == "pause":
                self._has_ended = True
            raise
