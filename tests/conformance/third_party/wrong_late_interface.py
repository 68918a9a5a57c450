"""Wrong exporters whose fault is in the interface, the preferences or the process."""

from __future__ import annotations

import functools
import os

from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import DefaultAggregation, ExplicitBucketHistogramAggregation

from exporter_core import Context, ExporterShutdownError, InstrumentKind, PartialSuccessError
from third_party.right_late_http import PlainHttp

DELTA, CUMULATIVE = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE


class MetricsFirst(PlainHttp):
    """Takes the parameters of export in the SDK's order: the metrics first."""

    def export(self, metrics, context: Context) -> None:
        super().export(context, metrics)


class ForgetsObservables(PlainHttp):
    """Its table of temporalities lacks the observable up-down counter, which is a KeyError."""

    table = {
        InstrumentKind.COUNTER: DELTA,
        InstrumentKind.HISTOGRAM: DELTA,
        InstrumentKind.OBSERVABLE_COUNTER: DELTA,
        InstrumentKind.UP_DOWN_COUNTER: CUMULATIVE,
        InstrumentKind.GAUGE: CUMULATIVE,
        InstrumentKind.OBSERVABLE_GAUGE: CUMULATIVE,
    }

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        return self.table[instrument_kind]


class ClosedHasNoPreference(PlainHttp):
    """Raises the shutdown error from temporality, as every other method does."""

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        if self.is_shut_down:
            raise ExporterShutdownError("the exporter has been shut down")
        return super().temporality(instrument_kind)


class SharesBounds(PlainHttp):
    """Hands the list of its bucket bounds out within each histogram aggregation."""

    bounds = [0.0, 5.0, 10.0, 25.0, 50.0, 100.0]

    def aggregation(self, instrument_kind: InstrumentKind):
        if instrument_kind is InstrumentKind.HISTOGRAM:
            made = ExplicitBucketHistogramAggregation(self.bounds)
            made._boundaries = self.bounds
            return made
        return DefaultAggregation()


class CachesOnMethod(PlainHttp):
    """functools.lru_cache on a method, which keeps every exporter that was ever asked."""

    @functools.cache
    def _headers_of(self, path: str) -> dict:
        return self.sender.headers()

    def deliver(self, context: Context, metrics) -> None:
        self._headers_of(self.sender.transport.path)
        super().deliver(context, metrics)


class SetsEnvironment(PlainHttp):
    """Sets NO_PROXY in the environment of the whole process before it connects."""

    def deliver(self, context: Context, metrics) -> None:
        os.environ["NO_PROXY"] = self.sender.transport.host
        super().deliver(context, metrics)


class ErrorsAreUntyped(PlainHttp):
    """Raises a bare Exception without a cause for every failure of the backend."""

    def deliver(self, context: Context, metrics) -> None:
        problem = None
        try:
            super().deliver(context, metrics)
        except PartialSuccessError:
            raise
        except Exception as error:
            context.raise_if_done()
            problem = str(error)
        if problem is not None:
            raise Exception(problem)
