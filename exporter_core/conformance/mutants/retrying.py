"""Wrong conclusions from what a backend answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.reference import ReferenceExporter
from exporter_core.errors import ExporterError

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.memory import Response
    from exporter_core.context import Context


class OneAttempt(ReferenceExporter):
    """Never tries again."""

    def _back_off(self, context: Context, seconds: float) -> None:
        context.raise_if_done()
        raise ExporterError(f"gave up instead of waiting {seconds:g} s")


class SwallowsFailure(ReferenceExporter):
    """Logs a refusal, and returns."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if response.status in (400, 500) else super()._failure_of(response)


class RetriesRefusals(ReferenceExporter):
    """Tries again what was refused for good."""

    def _transient(self, response: Response) -> bool:  # noqa: ARG002 - the fault
        return True


class Storms(ReferenceExporter):
    """Comes back at once, for ever, if the backend says Retry-After: 0."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        while self._sink.script[0] == "retry-after:0":
            self._exchange(context, metrics)
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
        failure = super()._failure_of(response)
        self._failed = self._failed or (failure is not None and not self._transient(response))
        return ExporterError("an earlier export failed") if self._failed else failure


class RedirectIsFine(ReferenceExporter):
    """Takes 2xx and 3xx for success, whatever the body is."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if 200 <= response.status < 400 and not response.rejected else super()._failure_of(response)  # noqa: PLR2004 - status codes
