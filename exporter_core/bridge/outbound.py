"""Gives exporters of the contract to OpenTelemetry's own reader, by name: ours as the SDK's.

The guard keeps what that reader lets it keep; docs/in-your-service.md says what.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from exporter_core.config import validated_environment_options
from exporter_core.context import Context
from exporter_core.errors import ExporterShutdownError
from exporter_core.instruments import INSTRUMENT_CLASSES
from exporter_core.reader.failures import Failures
from exporter_core.registry import ExporterRegistry


class OutboundExporter(MetricExporter):
    """A ``MetricExporter`` of the SDK that exports through an installed exporter of the contract, behind the guard.

    A distribution has a subclass for each exporter, and registers it in the group ``opentelemetry_metrics_exporter``::

        class MyMetricExporter(OutboundExporter, exporter="mine"):
            \"\"\"The exporter `mine` for OpenTelemetry's own reader.\"\"\"

    No operation raises: a failure is one line of the log, and a repeated one is counted.

    Args:
        options: the exporter's options, as ``opentelemetry-configuration`` passes them; without any, those of the
            environment's variables, such as ``EXPORTER_CORE_MINE_PATH``.

    Raises:
        SetupError: the options do not fit, or the exporter cannot be built.
    """

    _name: ClassVar[str]

    def __init_subclass__(cls, *, exporter: str, **options: Any) -> None:  # Any: those of cooperating classes
        super().__init_subclass__(**options)
        cls._name = exporter

    def __init__(self, **options: Any) -> None:  # Any: the exporter's
        registry, name = ExporterRegistry(), self._name
        given = options or validated_environment_options(name, registry.config_model(name), os.environ)
        self._guarded = registry.load(name, given)
        self._failures = Failures(name, self._guarded, None)
        super().__init__(
            preferred_temporality={cls: self._guarded.temporality(kind) for kind, cls in INSTRUMENT_CLASSES.items()},
            preferred_aggregation={cls: self._guarded.aggregation(kind) for kind, cls in INSTRUMENT_CLASSES.items()},
        )

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,
        **kwargs: Any,  # noqa: ARG002 # Any: the SDK's signature
    ) -> MetricExportResult:
        """Export through the guard; FAILURE unless all is delivered in time."""
        try:
            self._guarded.export(_context(timeout_millis), metrics_data)
        except Exception as error:  # noqa: BLE001 - the reader would log a traceback
            self._failures.report(error)
            return MetricExportResult.FAILURE
        self._failures.success()
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush through the guard; False unless all is delivered in time."""
        try:
            self._guarded.force_flush(_context(timeout_millis))
        except Exception as error:  # noqa: BLE001 - see above
            self._failures.report(error)
            return False
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:  # Any: the SDK's signature
        """Shut the exporter down through the guard; the SDK's reader gives the time as ``timeout``."""
        try:
            self._guarded.shutdown(_context(kwargs.get("timeout", timeout_millis)))
        except ExporterShutdownError:
            pass  # done before
        except Exception as error:  # noqa: BLE001 - see above
            self._failures.report(error)
        self._failures.report_suppressed()


def _context(milliseconds: float) -> Context:
    return Context.with_timeout(max(0.0, milliseconds / 1000))
