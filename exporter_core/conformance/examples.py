"""Fixed metrics data with every kind of point, every type of attribute, and the values at the edges of each.

The identities of the points come from :mod:`exporter_core.conformance.observe.tokens`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

if TYPE_CHECKING:
    from collections.abc import Callable

_CUMULATIVE, _DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA
_START: Final = 1_700_000_000_000_000_001
_TIME: Final = 1_700_000_060_123_456_789
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.30.0"
_MOST, _LEAST = 2**63 - 1, -(2**63)  # of a signed integer of 64 bits
_NUMBERS: Final = (
    *(math.nan, math.inf, -math.inf, 0.0, -0.0, 0.1, 1.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308),
    *(0, 1, -1, 2**53 + 1, _MOST, _LEAST),
)
_ATTRIBUTES: Final[dict[str, Any]] = {  # Any: whatever an attribute can be
    "text": "naïve ⚙ ☃ \U0001f9ed",
    "text.empty": "",
    "text.marks": "\" ' \\ \n \t = , ; { } # % \x7f",
    "text.long": "0123456789abcdef" * 260,
    "text.right.to.left": "שלום",
    "text.combining": "e\u0301",
    "flag": True,
    "flag.not": False,
    "integer": 1,
    "integer.most": _MOST,
    "integer.least": _LEAST,
    "number": 1.0,
    "number.small": 5e-324,
    "texts": ("b", "a", "é"),
    "flags": (True, False),
    "integers": (3, _LEAST, 1),
    "numbers": (0.5, -0.0, 1.0),
    "ключ": "a name that is not ASCII",
}
"""Every type that the metrics API takes, each name telling the type."""


def every_kind(identified: Callable[..., dict[str, Any]]) -> MetricsData:
    """The metrics data; ``identified`` gives each point its attributes, with those that it is called with."""

    def numbers(*values: float, exemplars: tuple[Exemplar, ...] = ()) -> list[NumberDataPoint]:
        return [NumberDataPoint(identified(), _START, _TIME, value, exemplars) for value in values]

    def histogram(*values: Any) -> HistogramDataPoint:  # Any: the SDK's own fields, from the count on
        return HistogramDataPoint(identified(), _START, _TIME, *values)

    def exponential(*values: Any) -> ExponentialHistogramDataPoint:  # Any: as above
        return ExponentialHistogramDataPoint(identified(), _START, _TIME, *values)

    none = Buckets(0, [])
    gauges = [
        Metric("conformance.gauge", "gauge ⚙ with edges", "Cel", Gauge(numbers(*_NUMBERS))),
        Metric("conformance.attributes", "", "", Gauge([NumberDataPoint(identified(**_ATTRIBUTES), _START, _TIME, 1)])),
    ]
    sums = [
        Metric("conformance.sum", "", "By", Sum(numbers(7, _MOST, exemplars=_exemplars()), _CUMULATIVE, True)),
        Metric("conformance.sum.delta", "", "{request}", Sum(numbers(2.5, 0), _DELTA, True)),
        Metric("conformance.upDown.MixedCase", "", "1", Sum(numbers(-2.5, _LEAST), _CUMULATIVE, False)),
        Metric("conformance.up_down.delta", "", "", Sum(numbers(-1, math.nan), _DELTA, False)),
        Metric("conformance.gauge", "another of this name", "By", Sum(numbers(3), _CUMULATIVE, True)),
    ]
    histograms = [
        histogram(6, 21.5, [1, 2, 3], [0.0, 10.0], 0.5, 12.0, _exemplars()),
        histogram(0, 0.0, [0, 0], [-0.5], math.inf, -math.inf),  # nothing recorded, as the SDK has it
        histogram(2, math.inf, [2], [], 1.0, math.inf),  # no bounds
        histogram(3, -7, [3, 0], [_MOST], -5, -1),  # of integers
    ]
    exponentials = [
        exponential(5, 9.5, 3, 1, Buckets(-1, [1, 0, 2]), Buckets(0, [1]), 0, -1.0, 8.0, _exemplars()),
        exponential(0, 0.0, 20, 0, none, none, 0, math.inf, -math.inf),
        exponential(2, 2.0, -10, 0, Buckets(-2, [1, 1]), none, 0, 1e-300, 1e300),
    ]
    distributions = [
        Metric("conformance.histogram", "", "s", Histogram(histograms, _CUMULATIVE)),
        Metric("conformance.histogram.delta", "", "s", Histogram([histogram(1, 3, [0, 1], [1], 3, 3)], _DELTA)),
        Metric("conformance.exponential", "", "s", ExponentialHistogram(exponentials, _DELTA)),
        Metric(
            "conformance.exponential.cumulative",
            "",
            "s",
            ExponentialHistogram([exponential(1, 1, 0, 0, Buckets(0, [1]), none, 0, 1, 1)], _CUMULATIVE),
        ),
    ]
    attributes: dict[str, Any] = {
        "scope.attribute": "kept",
        "scope.number": 2,
        "scope.flags": (True, False),
    }  # Any: as above
    scopes = [
        ScopeMetrics(InstrumentationScope("conformance", "1.0", _SCHEMA, attributes), [*gauges, *sums], _SCHEMA),
        ScopeMetrics(InstrumentationScope("conformance.ünïcode"), distributions, ""),
    ]
    resource = Resource({"service.name": "conformance ⚙", "resource.number": 3, "resource.texts": ("a", "b")}, _SCHEMA)
    # Each differs from the one before in one part of its identity.
    named: dict[str, Any] = {"service.name": "conformance.other"}  # Any: as above
    others = [Resource(named), Resource({**named, "service.instance.id": "2"})]
    alike = [
        InstrumentationScope("conformance"),
        InstrumentationScope("conformance", "2.0"),
        InstrumentationScope("conformance", "2.0", "", {"scope.number": 3}),
    ]

    def gauge(value: float) -> Metric:
        return Metric("conformance.gauge", "", "Cel", Gauge(numbers(value)))

    return MetricsData(
        [
            ResourceMetrics(resource, scopes, _SCHEMA),
            *(
                ResourceMetrics(other, [ScopeMetrics(scope, [gauge(1.5)], "") for scope in alike], "")
                for other in others
            ),
        ]
    )


def _exemplars() -> tuple[Exemplar, ...]:
    return (
        Exemplar({"sampled": "yes", "number": 2}, 3, _TIME - 1, span_id=2**64 - 1, trace_id=0xDEF),
        Exemplar({}, -0.5, _TIME, span_id=None, trace_id=None),
    )
