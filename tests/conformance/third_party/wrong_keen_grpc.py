"""Wrong exporters over gRPC, and in what they prefer."""

from __future__ import annotations

from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation

from third_party.right_keen_grpc import CODES, Rpc
from third_party.right_keen_http import Pool


class ExhaustedIsImpatient(Rpc):
    """Does not wait as long as RetryInfo says beside RESOURCE_EXHAUSTED."""

    def pause(self, error):
        pause = super().pause(error)
        return min(pause, 0.01) if pause is not None and error.code() is CODES.RESOURCE_EXHAUSTED else pause


class SharedAggregation(Rpc):
    """Returns one aggregation of the class in each answer, whose boundaries are a list."""

    shared = ExplicitBucketHistogramAggregation([1.0, 2.0])

    def aggregation(self, instrument_kind):
        return self.shared


class TemporalityIsACoroutine(Rpc):
    """Declares the operation temporality as a coroutine."""

    async def temporality(self, instrument_kind):
        return super().temporality(instrument_kind)


class Unspecified(Pool):
    """Has no temporality for gauges."""

    def temporality(self, instrument_kind):
        if "GAUGE" in instrument_kind.name:
            return AggregationTemporality.UNSPECIFIED
        return super().temporality(instrument_kind)
