"""Wrong answers about instrument kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.metrics.view import Aggregation, DefaultAggregation

from exporter_core.contract import InstrumentKind
from kit.reference import ReferenceExporter

if TYPE_CHECKING:
    from exporter_core.context import Context


class NoneForGauge(ReferenceExporter):
    """Has no answer for gauges."""

    def temporality(self, instrument_kind: InstrumentKind) -> Any:
        return None if instrument_kind is InstrumentKind.GAUGE else AggregationTemporality.CUMULATIVE


class Flips(ReferenceExporter):
    """Answers otherwise once it has exported."""

    _exported = False

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        return AggregationTemporality.DELTA if self._exported else AggregationTemporality.CUMULATIVE

    def export(self, context: Context, metrics: MetricsData) -> None:
        self._exported = True
        super().export(context, metrics)


class _Options(DefaultAggregation):
    def __init__(self, options: dict[str, object]) -> None:
        self.options = options


class SharesAnswer(ReferenceExporter):
    """Hands out one dictionary in every answer."""

    _options: ClassVar[dict[str, object]] = {}

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        return _Options(self._options)


class LocksAnswers(ReferenceExporter):
    """Answers in the turn of its exports."""

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        self._turn._lock.acquire()
        try:
            return super().temporality(instrument_kind)
        finally:
            self._turn.give_back()


class FlipsOptions(ReferenceExporter):
    """Answers with other boundaries once it has exported."""

    _boundaries: tuple[float, ...] = (1.0, 2.0)

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        answer = DefaultAggregation()
        answer.boundaries = self._boundaries  # type: ignore[attr-defined]  # as a subclass would have it
        return answer

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        self._boundaries = (5.0,)
