"""The built-in exporter ``none``: accepts every batch and delivers it nowhere, for switching metrics off by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.exporter import Exporter, ExporterConfig

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context


class NoneExporter(Exporter[ExporterConfig]):
    """Discard all metrics."""

    keeps_metrics_unchanged = True

    def export(self, context: Context, metrics: MetricsData) -> None:  # noqa: ARG002 - nothing is done with them
        """Return, unless the context is done."""
        context.raise_if_done()
