"""Wrong conclusions from what a backend answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from exporter_core.errors import ContextCancelledError, DeadlineExceededError, ExporterError, PartialSuccessError
from kit.reference import ReferenceExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context
    from kit.memory import Response, Wait


class OneAttempt(ReferenceExporter):
    """Never tries again."""

    attempts = 1


class SendsAgain(ReferenceExporter):
    """Sends a batch once more when a further attempt has delivered it."""

    def _transient(self, response: Response) -> bool:
        self._tries_again = super()._transient(response)
        return self._tries_again

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        self._tries_again = False
        super()._deliver(context, metrics)
        if self._tries_again:
            super()._deliver(context, metrics)


class SwallowsFailure(ReferenceExporter):
    """Logs a refusal, and returns."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if response.status in (400, 500) else super()._failure_of(response)


class RetriesRefusals(ReferenceExporter):
    """Tries again what was refused for good."""

    def _transient(self, response: Response) -> bool:
        return True


class Storms(ReferenceExporter):
    """Comes back at once, for ever, if the backend says Retry-After: 0."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        while self._sink.script[0] == "retry-after:0":
            self._exchange(context, ())
            context.raise_if_done()
        super()._deliver(context, metrics)


class IgnoresPartialSuccess(ReferenceExporter):
    """Takes partial success for success."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if response.rejected else super()._failure_of(response)


class Poisoned(ReferenceExporter):
    """Fails for ever once a backend has refused something."""

    _failed = False

    def _failure_of(self, response: Response) -> ExporterError | None:
        if self._failed:
            return ExporterError("an earlier export failed")
        failure = super()._failure_of(response)
        self._failed = failure is not None and not self._transient(response)
        return failure


class KeepsTurn(ReferenceExporter):
    """Keeps its turn for ever if its context ends while the backend has not answered."""

    _is_stuck = False

    def _wait(self, context: Context, wait: Wait) -> None:
        try:
            super()._wait(context, wait)
        except (DeadlineExceededError, ContextCancelledError):
            self._is_stuck = True
            raise

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        if self._is_stuck:
            context.wait(math.inf)
            context.raise_if_done()
        super()._deliver(context, metrics)


class RedirectIsFine(ReferenceExporter):
    """Takes 2xx and 3xx for success, whatever the body is."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if 200 <= response.status < 400 and not response.rejected else super()._failure_of(response)


class SwallowsReset(ReferenceExporter):
    """Takes a connection that is reset for good for the end of a delivery."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        try:
            super()._deliver(context, metrics)
        except ExporterError as error:
            if not isinstance(error.__cause__, ConnectionResetError):
                raise


class SwallowsBusy(ReferenceExporter):
    """Gives a batch up without an error when the backend is still busy after the last attempt."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        self._is_busy = failure is not None and self._transient(response)
        return failure

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        self._is_busy = False
        try:
            super()._deliver(context, metrics)
        except ExporterError:
            if not self._is_busy or context.done:
                raise


class CountsWrongly(ReferenceExporter):
    """Says that one point was refused, however many were."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        return PartialSuccessError("a point was refused", rejected_points=1) if response.rejected else failure


class RefusesEmpty(ReferenceExporter):
    """Does not take an empty batch."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        if not metrics.resource_metrics:
            raise ExporterError("nothing to deliver")
        super()._deliver(context, metrics)


class TruncatedIsFine(ReferenceExporter):
    """Takes the beginning of an answer for the answer."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if response.status == 200 and not response.complete else super()._failure_of(response)


class GarbageIsFine(ReferenceExporter):
    """Takes any body for an answer of the protocol."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if response.status == 200 and "<html>" in response.body else super()._failure_of(response)
