"""What an exporter wants of each kind of instrument, in the SDK's words: by instrument class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk import metrics as sdk

from exporter_core.contract import InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.metrics.export import AggregationTemporality
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.guard import GuardedExporter

__all__ = ["aggregations", "cardinality_limits", "temporalities"]

_INSTRUMENTS: Final[Mapping[InstrumentKind, Any]] = {  # Any: the SDK's alias for these classes is not public
    InstrumentKind.COUNTER: sdk.Counter,
    InstrumentKind.UP_DOWN_COUNTER: sdk.UpDownCounter,
    InstrumentKind.HISTOGRAM: sdk.Histogram,
    InstrumentKind.GAUGE: sdk._Gauge,  # the SDK's own name for it, in its __all__
    InstrumentKind.OBSERVABLE_COUNTER: sdk.ObservableCounter,
    InstrumentKind.OBSERVABLE_UP_DOWN_COUNTER: sdk.ObservableUpDownCounter,
    InstrumentKind.OBSERVABLE_GAUGE: sdk.ObservableGauge,
}


def temporalities(exporter: GuardedExporter) -> dict[type, AggregationTemporality]:
    """The exporter's temporality for each instrument class."""
    return {cls: exporter.temporality(kind) for kind, cls in _INSTRUMENTS.items()}


def aggregations(exporter: GuardedExporter) -> dict[type, Aggregation]:
    """The exporter's default aggregation for each instrument class."""
    return {cls: exporter.aggregation(kind) for kind, cls in _INSTRUMENTS.items()}


def cardinality_limits(limits: Mapping[InstrumentKind, int]) -> dict[Any, int]:  # Any: as above
    """The limits by instrument class; raises ValueError for what is no instrument kind."""
    return {_INSTRUMENTS[InstrumentKind(kind)]: limit for kind, limit in limits.items()}
