"""Wrong shapes of an exporter, and wrong answers about instrument kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.metrics.view import Aggregation, DefaultAggregation

from exporter_core.contract import InstrumentKind
from kit.mutant import killed_by
from kit.reference import ReferenceExporter

if TYPE_CHECKING:
    from exporter_core.context import Context


@killed_by("INT-01", "has the parameter 'retries', one too many")
class ExtraArgument(ReferenceExporter):
    """Requires one argument more than the contract has."""

    def export(self, context: Context, metrics: MetricsData, retries: int) -> None:  # type: ignore[override]
        super().export(context, metrics)


@killed_by("INT-01", "forceflush")
class Misspells(ReferenceExporter):
    """Has an operation that nobody calls."""

    def forceflush(self, context: Context) -> None:
        """Meant to be ``force_flush``."""


@killed_by("KND-01", "it is None")
class NoneForGauge(ReferenceExporter):
    """Has no answer for gauges."""

    def temporality(self, instrument_kind: InstrumentKind) -> Any:
        return None if instrument_kind is InstrumentKind.GAUGE else AggregationTemporality.CUMULATIVE


@killed_by("KND-02", "it was")
class Flips(ReferenceExporter):
    """Answers otherwise once it has exported."""

    _answer = AggregationTemporality.CUMULATIVE

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        return self._answer

    def export(self, context: Context, metrics: MetricsData) -> None:
        self._answer = AggregationTemporality.DELTA
        super().export(context, metrics)


class _Options(DefaultAggregation):
    def __init__(self, options: object) -> None:
        self.options = options


@killed_by("KND-02", "it was")
class FlipsOptions(ReferenceExporter):
    """Answers with other boundaries once it has exported."""

    _boundaries: tuple[float, ...] = (1.0, 2.0)

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        return _Options(self._boundaries)

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        self._boundaries = (5.0,)


@killed_by("KND-03", "a change of one answer is in the next")
class SharesAnswer(ReferenceExporter):
    """Hands out one dictionary in every answer."""

    _options: ClassVar[dict[str, object]] = {}

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        return _Options(self._options)


@killed_by("KND-05", "temporality had not ended")
class LocksAnswers(ReferenceExporter):
    """Answers in the turn of its exports."""

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        self._turn._lock.acquire()
        self._turn.give_back()
        return super().temporality(instrument_kind)
