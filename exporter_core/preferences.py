"""What OpenTelemetry's two preferences mean for each instrument kind, for exporters that have them as options.

Source: https://opentelemetry.io/docs/specs/otel/metrics/sdk_exporters/otlp/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from exporter_core.contract import InstrumentKind

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import AggregationTemporality
    from opentelemetry.sdk.metrics.view import Aggregation

__all__ = ["HistogramAggregation", "TemporalityPreference", "preferred_aggregation", "preferred_temporality"]

TemporalityPreference = Literal["cumulative", "delta", "low_memory"]
"""What the option ``temporality_preference`` may be."""
HistogramAggregation = Literal["explicit_bucket_histogram", "base2_exponential_bucket_histogram"]
"""What the option ``default_histogram_aggregation`` may be."""

_DELTA: Final = {
    "cumulative": frozenset[InstrumentKind](),
    "delta": frozenset({InstrumentKind.COUNTER, InstrumentKind.OBSERVABLE_COUNTER, InstrumentKind.HISTOGRAM}),
    "low_memory": frozenset({InstrumentKind.COUNTER, InstrumentKind.HISTOGRAM}),
}


def preferred_temporality(preference: TemporalityPreference, instrument_kind: InstrumentKind) -> AggregationTemporality:
    """Delta for the kinds that ``temporality_preference`` has so, cumulative for all others."""
    from opentelemetry.sdk.metrics.export import AggregationTemporality  # noqa: PLC0415 - keeps this module light

    delta = instrument_kind in _DELTA[preference]
    return AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE


def preferred_aggregation(preference: HistogramAggregation, instrument_kind: InstrumentKind) -> Aggregation:
    """The SDK's default aggregation, for histograms as ``default_histogram_aggregation`` says; a new one each time."""
    from opentelemetry.sdk.metrics.view import (  # noqa: PLC0415 - as above
        DefaultAggregation,
        ExponentialBucketHistogramAggregation,
    )

    if preference == "base2_exponential_bucket_histogram" and instrument_kind == InstrumentKind.HISTOGRAM:
        return ExponentialBucketHistogramAggregation()
    return DefaultAggregation()
