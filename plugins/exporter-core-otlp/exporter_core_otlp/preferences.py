"""What every OTLP exporter has: temporality and aggregation as its options say, and a word on what is no failure."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeVar

from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import DefaultAggregation, ExponentialBucketHistogramAggregation

from exporter_core import Exporter, InstrumentKind
from exporter_core_otlp.config import OtlpConfig

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.view import Aggregation

__all__ = ["OtlpExporter"]

# As OpenTelemetry's configuration defines the preferences; kinds that are not named are cumulative.
_DELTA: Final = {
    "cumulative": frozenset[InstrumentKind](),
    "delta": frozenset({InstrumentKind.COUNTER, InstrumentKind.OBSERVABLE_COUNTER, InstrumentKind.HISTOGRAM}),
    "low_memory": frozenset({InstrumentKind.COUNTER, InstrumentKind.HISTOGRAM}),
}

_logger: Final = logging.getLogger(__name__)

OtlpConfigT = TypeVar("OtlpConfigT", bound=OtlpConfig)


class OtlpExporter(Exporter[OtlpConfigT]):
    """Base of the OTLP exporters: the two operations that only look up options."""

    _advice = ""

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """As the option ``temporality_preference`` says."""
        delta = instrument_kind in _DELTA[self.config.temporality_preference]
        return AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """The SDK's default, for histograms as the option ``default_histogram_aggregation`` says."""
        exponential = self.config.default_histogram_aggregation == "base2_exponential_bucket_histogram"
        if exponential and instrument_kind == InstrumentKind.HISTOGRAM:
            return ExponentialBucketHistogramAggregation()
        return DefaultAggregation()

    def advise(self, text: str) -> None:
        """Log what is no failure; the same once."""
        if text != self._advice:
            self._advice = text
            _logger.warning("%s", text)
