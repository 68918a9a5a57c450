"""What every OTLP exporter has: temporality and aggregation as its options say, and a word on what is no failure."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeVar

from exporter_core import Exporter
from exporter_core_otlp.config import OtlpConfig

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import AggregationTemporality
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core import InstrumentKind

_logger: Final = logging.getLogger(__name__)

OtlpConfigT = TypeVar("OtlpConfigT", bound=OtlpConfig)


class OtlpExporter(Exporter[OtlpConfigT]):
    """Base of the OTLP exporters: the two operations that only look up options."""

    _advice = ""

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """As the option ``temporality_preference`` says."""
        return self.config.temporality_of(instrument_kind)

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """The SDK's default, for histograms as the option ``default_histogram_aggregation`` says."""
        return self.config.aggregation_of(instrument_kind)

    def advise(self, text: str) -> None:
        """Log what is no failure; the same once."""
        if text != self._advice:
            self._advice = text
            _logger.warning("%s", text)
