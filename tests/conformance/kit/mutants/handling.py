"""Errors that are lost, or tell too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.observe.tokens import metrics_in
from exporter_core.errors import ExporterError, ExporterShutdownError
from kit.reference import ReferenceExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context
    from kit.memory import Response


class DiscardsErrors(ReferenceExporter):
    """Swallows the shutdown error of exports that a reader makes."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except ExporterShutdownError:
            if not any(metric.name == "conformance.counter" for metric in metrics_in(metrics)):
                raise


class TellsSecret(ReferenceExporter):
    """Puts the backend's answer, token and all, into the message."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        return failure and type(failure)(f"{response.status}: {response.body}") if response.status == 401 else failure


class Untyped(ReferenceExporter):
    """Raises an error of no type of ours for a refusal of its credentials."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except ExporterError as error:
            if "401" in str(error):
                raise PermissionError(str(error)) from error
            raise


class Unchained(ReferenceExporter):
    """Raises an error without its cause."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        try:
            super()._deliver(context, metrics)
        except ExporterError as error:
            if error.__cause__ is None:
                raise
            raise ExporterError(str(error)) from None


class TellsSecretInCause(ReferenceExporter):
    """Chains an error that has the backend's answer, token and all."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        if failure is not None and response.status == 401:
            failure.__cause__ = ConnectionError(response.body)
        return failure
