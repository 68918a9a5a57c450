"""Wrong conclusions from what a backend answers, and errors that are lost or tell too much."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from exporter_core.conformance.observe.tokens import Point, metrics_in
from exporter_core.errors import (
    ContextCancelledError,
    DeadlineExceededError,
    ExporterError,
    ExporterShutdownError,
    PartialSuccessError,
)
from kit.memory import Response
from kit.mutant import Parametrised, killed_by
from kit.reference import ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context
    from kit.memory import Wait


@killed_by("EXP-13", "it raised ExporterError")
class OneAttempt(ReferenceExporter):
    """Never tries again."""

    attempts = 1


@killed_by("EXP-13", "duplicated")
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


class _TakesForSuccess(Parametrised):
    """Takes some answers for success that are none."""

    accepted: Callable[[Response], bool]

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if type(self).accepted(response) else super()._failure_of(response)


@killed_by("EXP-14", "it returned")
class SwallowsFailure(_TakesForSuccess, accepted=lambda response: response.status in (400, 500)):
    """Logs a refusal, and returns."""


@killed_by("EXP-16", "it returned")
class IgnoresPartialSuccess(_TakesForSuccess, accepted=lambda response: response.rejected > 0):
    """Takes partial success for success."""


@killed_by("EXP-18", "it returned")
class RedirectIsFine(
    _TakesForSuccess, accepted=lambda response: 200 <= response.status < 400 and not response.rejected
):
    """Takes 2xx and 3xx for success, whatever the body is."""


@killed_by("EXP-18", "it returned")
class TruncatedIsFine(_TakesForSuccess, accepted=lambda response: response.status == 200 and not response.complete):
    """Takes the beginning of an answer for the answer."""


@killed_by("EXP-18", "it returned")
class GarbageIsFine(_TakesForSuccess, accepted=lambda response: "<html>" in response.body):
    """Takes any body for an answer of the protocol."""


@killed_by("EXP-14", "it returned")
class SwallowsReset(ReferenceExporter):
    """Takes a connection that is reset for good for the end of a delivery."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        try:
            super()._deliver(context, metrics)
        except ExporterError as error:
            if not isinstance(error.__cause__, ConnectionResetError):
                raise


@killed_by("EXP-14", "it returned")
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


@killed_by("EXP-15", "attempts")
class RetriesRefusals(ReferenceExporter):
    """Tries again what was refused for good."""

    def _transient(self, response: Response) -> bool:
        return True


@killed_by("EXP-15", "attempts in ")
class Storms(ReferenceExporter):
    """Comes back at once, for ever, if the backend says Retry-After: 0."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        while self._sink.script[0] == "retry-after:0":
            yield from self._exchange(())
            yield self._sink.pause(0)
        yield from super()._delivery(points)


@killed_by("EXP-16", "it is 1")
class CountsWrongly(ReferenceExporter):
    """Says that one point was refused, however many were."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        return PartialSuccessError("a point was refused", rejected_points=1) if response.rejected else failure


@killed_by("EXP-17", "an earlier export failed")
class Poisoned(ReferenceExporter):
    """Fails for ever once a backend has refused something."""

    _failed = False

    def _failure_of(self, response: Response) -> ExporterError | None:
        if self._failed:
            return ExporterError("an earlier export failed")
        failure = super()._failure_of(response)
        self._failed = failure is not None and not self._transient(response)
        return failure


@killed_by("EXP-17", "export had not ended")
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


@killed_by("EXP-17", "it returned")
class ReadsTheLastAnswer(ReferenceExporter):
    """Takes the answer to a request that it has given up for the answer to the next one."""

    _is_behind = False

    def _exchange(self, points: Sequence[Point]) -> Generator[Wait, None, Response]:
        was_behind, self._is_behind = self._is_behind, True
        try:
            response = yield from super()._exchange(points)
        except ConnectionError:
            self._is_behind = False
            raise
        self._is_behind = False
        return Response(200, "accepted") if was_behind else response


@killed_by("EXP-17", "nothing to deliver")
class RefusesEmpty(ReferenceExporter):
    """Does not take an empty batch."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        if not metrics.resource_metrics:
            raise ExporterError("nothing to deliver")
        super()._deliver(context, metrics)


@killed_by("HND-01", "not one report")
class DiscardsErrors(ReferenceExporter):
    """Swallows the shutdown error of exports that a reader makes."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except ExporterShutdownError:
            if not any(metric.name == "conformance.asked" for metric in metrics_in(metrics)):
                raise


@killed_by("HND-02", "the secret of the options")
class TellsSecret(ReferenceExporter):
    """Puts the backend's answer, token and all, into the message."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        return failure and type(failure)(f"{response.status}: {response.body}") if response.status == 401 else failure


@killed_by("HND-02", "the secret of the options")
class TellsSecretInCause(ReferenceExporter):
    """Chains an error that has the backend's answer, token and all."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        if failure is not None and response.status == 401:
            failure.__cause__ = ConnectionError(response.body)
        return failure


@killed_by("HND-02", "has no __cause__")
class Unchained(ReferenceExporter):
    """Raises an error without its cause."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        try:
            super()._deliver(context, metrics)
        except ExporterError as error:
            if error.__cause__ is None:
                raise
            raise ExporterError(str(error)) from None


@killed_by("HND-02", "builtins.PermissionError")
class Untyped(ReferenceExporter):
    """Raises an error of no type of ours for a refusal of its credentials."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except ExporterError as error:
            if "401" in str(error):
                raise PermissionError(str(error)) from error
            raise
