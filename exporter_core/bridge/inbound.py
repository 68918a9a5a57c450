"""Makes a ``MetricExporter`` of the OpenTelemetry SDK an exporter of the contract.

The SDK's interface has no cancellation, and most of its exporters ignore their time-out. The guard keeps the contract
for them.
"""

from __future__ import annotations

import inspect
import threading
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExportResult
from opentelemetry.sdk.metrics.view import DefaultAggregation

from exporter_core.bridge.logs import heard
from exporter_core.errors import ContractError, ExporterError, ExporterShutdownError
from exporter_core.instruments import INSTRUMENT_CLASSES
from exporter_core.masking import Masker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.context import Context
    from exporter_core.contract import InstrumentKind

SDK_OPERATIONS: Final = ("export", "force_flush", "shutdown")
"""The methods of a ``MetricExporter``."""

_TIMEOUT: Final = "timeout_millis"
_SHORTEST: Final = 1.0  # milliseconds; some exporters take 0 for "no limit"


class InboundExporter:
    """An exporter of the contract that passes every call to a ``MetricExporter`` of the OpenTelemetry SDK.

    - Each call gets the time until the deadline as ``timeout_millis``, if the method takes it; without a deadline the
      exporter's own default holds. Cancellation cannot be passed on.
    - ``export`` fails unless it returns ``MetricExportResult.SUCCESS``; ``force_flush`` and ``shutdown`` fail if they
      return anything but True or None. The return value gives no reason, so the error has what the exporter logged in
      the calling thread through the loggers of its class's modules. Exceptions pass through.
    - ``shutdown`` calls only the exporter's ``shutdown``, once. The exporter flushes there what it holds.
    - Temporality and aggregation are those that the SDK's readers would use: the exporter's
      ``_preferred_temporality`` and ``_preferred_aggregation``, read once; cumulative and the SDK's default where it
      has none.

    Args:
        exporter: anything with the methods of ``opentelemetry.sdk.metrics.export.MetricExporter``.
        masker: masks secrets in what the exporter logged.

    Raises:
        ContractError: a method is missing, is async, or takes something else; or a preference is for no kind of
            instrument.
    """

    def __init__(self, exporter: Any, *, masker: Masker | None = None) -> None:  # Any: MetricExporter, or like one
        self._exporter = exporter
        self._masker = masker or Masker()
        self._takes_timeout = {name: _takes_timeout(exporter, name) for name in SDK_OPERATIONS}
        self._temporalities: dict[InstrumentKind, AggregationTemporality] = _by_kind(exporter, "_preferred_temporality")
        self._aggregations: dict[InstrumentKind, Aggregation] = _by_kind(exporter, "_preferred_aggregation")
        self._mutex = threading.Lock()
        self._shut_down = False

    @property
    def bounded(self) -> frozenset[str]:
        """The operations whose methods take ``timeout_millis``, and so can be told a deadline."""
        return frozenset(name for name, takes in self._takes_timeout.items() if takes)

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """The exporter's preference for this kind, else cumulative."""
        return self._temporalities.get(instrument_kind, AggregationTemporality.CUMULATIVE)

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """The exporter's preference for this kind, else the SDK's default."""
        return self._aggregations.get(instrument_kind) or DefaultAggregation()

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Have the exporter export, and raise unless it returns SUCCESS."""
        if self._shut_down:
            raise ExporterShutdownError("the exporter has been shut down", operation="export")
        context.raise_if_done()
        self._finish("export", context, metrics)

    def force_flush(self, context: Context) -> None:
        """Have the exporter flush, and raise if it returns a failure."""
        if self._shut_down:
            return
        context.raise_if_done()
        self._finish("force_flush", context)

    def shutdown(self, context: Context) -> None:
        """Have the exporter shut down, once; also when the context is done, whose error is raised afterwards."""
        with self._mutex:
            if self._shut_down:
                raise ExporterShutdownError("the exporter has been shut down already", operation="shutdown")
            self._shut_down = True
        done_before = context.error()
        self._finish("shutdown", context)
        if done_before is not None:
            raise done_before

    def _finish(self, operation: str, context: Context, *arguments: object) -> None:
        failure = failure_in(operation, *self.call(operation, context, *arguments))
        if failure is not None:
            raise ExporterError(failure, operation=operation)

    def call(self, operation: str, context: Context, *arguments: object) -> tuple[object, list[str]]:
        """Call the exporter's method as the SDK does, and nothing else; return its answer and what it logged."""
        options: dict[str, float] = {}
        remaining = context.remaining()
        if self._takes_timeout[operation] and remaining is not None and isfinite(remaining):
            options[_TIMEOUT] = max(remaining * 1000, _SHORTEST)
        with heard(type(self._exporter), self._masker) as logged:
            answer = getattr(self._exporter, operation)(*arguments, **options)
        return answer, logged


def is_failure(answer: object) -> bool:
    """True for an answer of the SDK's interface that stands for a failure."""
    return answer is False or answer is MetricExportResult.FAILURE


def failure_in(operation: str, answer: object, logged: list[str]) -> str | None:
    """The failure that an exporter's answer stands for, in words with what it logged; None for a success."""
    if operation == "export":
        succeeded, failed = answer is MetricExportResult.SUCCESS, answer is MetricExportResult.FAILURE
        expected = "MetricExportResult.SUCCESS or FAILURE"
    else:
        succeeded = answer is None or answer is True or answer is MetricExportResult.SUCCESS
        failed, expected = answer is False or answer is MetricExportResult.FAILURE, "True or False"
    if succeeded:
        return None
    return f"it returned {_shown(answer)}" + (f" {_reason(logged)}" if failed else f"; expected {expected}")


def _reason(logged: list[str]) -> str:
    return f"and logged: {'; '.join(logged)}" if logged else "and logged no reason"


def _shown(answer: object) -> str:
    if isinstance(answer, bool | MetricExportResult | None):
        return str(answer)
    return f"an object of type {type(answer).__name__}"


def _takes_timeout(exporter: object, operation: str) -> bool:
    """Return True if the method takes the time-out; some that were written for older versions of the SDK do not."""
    where = f"{type(exporter).__module__}.{type(exporter).__qualname__}.{operation}"
    method = getattr(exporter, operation, None)
    if not callable(method):
        raise ContractError(f"{where} is missing; a MetricExporter has the methods {', '.join(SDK_OPERATIONS)}")
    if inspect.iscoroutinefunction(method):
        raise ContractError(f"{where} is async; the methods of a MetricExporter are plain ones, which the SDK calls")
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return True  # it cannot be read, as of code in C: the SDK itself passes the time-out
    arguments = (None,) if operation == "export" else ()
    for options, takes in (({_TIMEOUT: 0}, True), ({}, False)):
        try:
            signature.bind(*arguments, **options)
        except TypeError:
            continue
        return takes
    expected = "(metrics_data, timeout_millis)" if arguments else "(timeout_millis)"
    raise ContractError(f"{where} takes {signature}; expected what a MetricExporter takes, {expected}")


def _by_kind(exporter: object, attribute: str) -> dict[InstrumentKind, Any]:  # Any: whatever the exporter prefers
    """Return a preference by instrument kind; the SDK has it by instrument class."""
    preferred: Mapping[type, Any] = getattr(exporter, attribute, None) or {}  # Any: as above
    kinds = {instrument_class: kind for kind, instrument_class in INSTRUMENT_CLASSES.items()}
    unknown = [instrument_class for instrument_class in preferred if instrument_class not in kinds]
    if unknown:
        name = getattr(unknown[0], "__qualname__", None) or type(unknown[0]).__qualname__
        raise ContractError(
            f"{type(exporter).__module__}.{type(exporter).__qualname__}.{attribute} has {name}, which is no instrument "
            f"class of opentelemetry.sdk.metrics"
        )
    return {kinds[instrument_class]: choice for instrument_class, choice in preferred.items()}
