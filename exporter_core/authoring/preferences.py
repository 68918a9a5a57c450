"""OpenTelemetry's two preferences as options: temporality, and the aggregation of histograms.

Source: https://opentelemetry.io/docs/specs/otel/metrics/sdk_exporters/otlp/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from exporter_core.contract import InstrumentKind
from exporter_core.exporter import ExporterConfig

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import AggregationTemporality
    from opentelemetry.sdk.metrics.view import Aggregation

TemporalityPreference = Literal["cumulative", "delta", "low_memory"]
"""Values of the option ``temporality_preference``."""
HistogramAggregation = Literal["explicit_bucket_histogram", "base2_exponential_bucket_histogram"]
"""Values of the option ``default_histogram_aggregation``."""

_DELTA: Final = {
    "delta": frozenset({InstrumentKind.COUNTER, InstrumentKind.OBSERVABLE_COUNTER, InstrumentKind.HISTOGRAM}),
    "low_memory": frozenset({InstrumentKind.COUNTER, InstrumentKind.HISTOGRAM}),
}


class PreferenceOptions(ExporterConfig):
    """The options that let users choose temporality and histogram aggregation. ``null`` means the default.

    Options of the first of several base classes are listed last.
    """

    temporality_preference: TemporalityPreference | None = "cumulative"
    """Temporality of the points. `cumulative`: all count from the start of the process. `delta`: counters, observable
    counters and histograms count from the last export. `low_memory`: counters and histograms do."""

    default_histogram_aggregation: HistogramAggregation | None = "explicit_bucket_histogram"
    """Buckets of histograms that no view configures: with fixed bounds, or exponential ones, which adapt to the
    data."""

    @property
    def is_default(self) -> bool:
        """True for cumulative points in the SDK's default aggregations."""
        histograms = self.default_histogram_aggregation or "explicit_bucket_histogram"
        return (self.temporality_preference or "cumulative") == "cumulative" and histograms.startswith("explicit")

    def temporality_of(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """Return delta for the kinds that ``temporality_preference`` names, cumulative for all others."""
        from opentelemetry.sdk.metrics.export import AggregationTemporality  # noqa: PLC0415 - keeps this module light

        is_delta = instrument_kind in _DELTA.get(self.temporality_preference or "cumulative", ())
        return AggregationTemporality.DELTA if is_delta else AggregationTemporality.CUMULATIVE

    def aggregation_of(self, instrument_kind: InstrumentKind) -> Aggregation:
        """Return the SDK's default, for histograms as ``default_histogram_aggregation`` says; a new one each time."""
        from opentelemetry.sdk.metrics.view import (  # noqa: PLC0415 - keeps this module light
            DefaultAggregation,
            ExponentialBucketHistogramAggregation,
        )

        is_exponential = self.default_histogram_aggregation == "base2_exponential_bucket_histogram"
        if is_exponential and instrument_kind == InstrumentKind.HISTOGRAM:
            return ExponentialBucketHistogramAggregation()
        return DefaultAggregation()
