"""Wrong shapes of an exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.reference import ReferenceExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context


class ExtraArgument(ReferenceExporter):
    """Requires one argument more than the contract has."""

    def export(self, context: Context, metrics: MetricsData, retries: int) -> None:  # type: ignore[override]
        super().export(context, metrics)


class Misspells(ReferenceExporter):
    """Has an operation that nobody calls."""

    def forceflush(self, context: Context) -> None:
        """Meant to be ``force_flush``."""
