"""What an exporter wants of each kind of instrument, in the SDK's words: by instrument class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter_core.contract import InstrumentKind
from exporter_core.instruments import INSTRUMENT_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.metrics.export import AggregationTemporality
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.guard import GuardedExporter


def temporalities(exporter: GuardedExporter) -> dict[type, AggregationTemporality]:
    """The exporter's temporality for each instrument class."""
    return {cls: exporter.temporality(kind) for kind, cls in INSTRUMENT_CLASSES.items()}


def aggregations(exporter: GuardedExporter) -> dict[type, Aggregation]:
    """The exporter's default aggregation for each instrument class."""
    return {cls: exporter.aggregation(kind) for kind, cls in INSTRUMENT_CLASSES.items()}


def cardinality_limits(
    limits: Mapping[InstrumentKind, int],
) -> dict[Any, int]:  # Any: the SDK's alias for these classes is not public
    """The limits by instrument class; raises ValueError for what is no instrument kind."""
    return {INSTRUMENT_CLASSES[InstrumentKind(kind)]: limit for kind, limit in limits.items()}
