"""Wrong answers about instrument kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.metrics.view import Aggregation, DefaultAggregation

from exporter_core.conformance.canaries.base import Canary, Serialised
from exporter_core.contract import InstrumentKind

if TYPE_CHECKING:
    from exporter_core.conformance.case import Case
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context


class NoneForGauge(Canary):
    """Answers None for gauges."""

    def temporality(self, kind: InstrumentKind) -> Any:
        return None if kind is InstrumentKind.GAUGE else self.inner.temporality(kind)


class Flips(Canary):
    """Answers another temporality once it has exported."""

    _exported = False

    def temporality(self, kind: InstrumentKind) -> AggregationTemporality:
        answer = self.inner.temporality(kind)
        cumulative, delta = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA
        return (delta if answer == cumulative else cumulative) if self._exported else answer

    def export(self, context: Context, metrics: MetricsData) -> object:
        self._exported = True
        return self.inner.export(context, metrics)


class _Options(DefaultAggregation):
    shared: dict[str, object]


class SharesAnswer(Canary):
    """Hands out one dictionary of its own in every answer."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._shared: dict[str, object] = {}

    def aggregation(self, kind: InstrumentKind) -> Aggregation:  # noqa: ARG002 - the same for all
        answer = _Options()
        answer.shared = self._shared
        return answer


class LocksAnswers(Serialised):
    """Answers under the lock that it exports under."""

    def temporality(self, kind: InstrumentKind) -> AggregationTemporality:
        with self.turn():
            return self.inner.temporality(kind)
