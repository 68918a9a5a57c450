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
    from collections.abc import Callable, Mapping, Sequence

_CUMULATIVE, _DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA
_START: Final = 1_700_000_000_000_000_001
_TIME: Final = 1_700_000_060_123_456_789
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.30.0"
_MANY, _MANY_EXEMPLARS = 300, 20  # buckets or attributes of a point, and exemplars
_MOST, _LEAST = 2**63 - 1, -(2**63)  # of a signed integer of 64 bits
_NUMBERS: Final = (
    *(math.nan, math.inf, -math.inf, 0.0, -0.0, 0.1, 1.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308),
    *(0, 1, -1, 2**53 + 1, _MOST, _LEAST),
)
_TEXT: Final = 'two lines\n"of\\text"'
_ATTRIBUTES: Final[dict[str, Any]] = {  # Any: whatever an attribute can be
    "text": "naïve ⚙ ☃ \U0001f9ed",
    "text.empty": "",
    "text.marks": "\" ' \\ \n \t = , ; { } # % \x7f",
    "text.space": "\t around \n ",
    "text.lines": "one\u2028two\u2029three\x85four",  # three lines for str.splitlines
    "text.long": "0123456789abcdef" * 4100,  # more than two bytes can count
    "TEXT": "a name that differs from another one in case",
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
    "_hidden": "a name that begins as internal ones do",
    "a-b c$": "a name with marks",
    "0": "a name that is a number",
}
"""Every type that the metrics API takes, each name telling the type."""
_BEYOND: Final[dict[str, Any]] = {  # Any: as above
    "map": {"text": "a", "map": {"integer": 1}, "bytes": b"\x00"},
    "map.empty": {},
    "bytes": b"\xff\x00",
    "bytes.empty": b"",
    "texts.and.none": ("a", None, "", "b"),
    "mixed": (1, 1.0, True, "1", b"1", (1,), {"integer": 1}),
}
"""Further values, which OTLP carries."""
_RESERVED: Final = ("time", "timestamp", "name", "unit", "type", "le", "quantile", "host", "source", "id", "message")
"""Names that formats have a use of their own for."""
_SDK: Final = {"telemetry.sdk.name": "opentelemetry", "telemetry.sdk.language": "python", "host.name": "localhost"}
"""Attributes that every resource of a program has."""
_LONG_NAME: Final = "conformance.long." + "n" * 238  # 255 characters, which the API allows
_BACK: Final = (1_698_539_400, 1_699_162_200)  # seconds, when the clocks of Europe and of North America go back
_HOUR: Final = 3600
_SECOND: Final = 1_000_000_000  # nanoseconds
_RECORDED: Final = (math.inf, -math.inf, math.nan, -0.0, 2**53 + 1, _LEAST)
ALIKE: Final = (1, 1.0, True, "1", "True", "1.0", 0, 0.0, -0.0, False, "", (1,), (1.0,), (True,), ("1",), ())
"""Values that are equal in Python, or that look alike as text, and differ for a backend."""


def every_kind(identified: Callable[..., dict[str, Any]]) -> MetricsData:
    """The metrics data; ``identified`` gives each point its attributes, with those that it is called with."""

    def numbers(*values: float, exemplars: Sequence[Exemplar] = ()) -> list[NumberDataPoint]:
        return [NumberDataPoint(identified(), _START, _TIME, value, list(exemplars)) for value in values]

    def histogram(*values: Any) -> HistogramDataPoint:  # Any: the SDK's own fields, from the count on
        return HistogramDataPoint(identified(), _START, _TIME, *values)

    def exponential(*values: Any) -> ExponentialHistogramDataPoint:  # Any: as above
        return ExponentialHistogramDataPoint(identified(), _START, _TIME, *values)

    none = Buckets(0, [])
    many = {f"attribute.{number}": number for number in range(_MANY)}
    reserved = {**dict.fromkeys(_RESERVED, "kept"), "k" * _MANY: "a long name"}
    gauges = [
        Metric("conformance.gauge", "gauge ⚙ with edges", "Cel", Gauge(numbers(*_NUMBERS))),
        Metric("conformance.attributes", "", "", Gauge([NumberDataPoint(identified(**_ATTRIBUTES), _START, _TIME, 1)])),
        Metric("conformance.attributes.many", "", "", Gauge([NumberDataPoint(identified(**many), _START, _TIME, 1)])),
        Metric(_LONG_NAME, "d" * 5000, "u" * 63, Gauge([NumberDataPoint(identified(**reserved), _START, _TIME, 1)])),
    ]
    sums = [
        Metric(
            "conformance.sum",
            'two lines\n"of\\text"',
            "By",
            Sum(numbers(7, _MOST, exemplars=_exemplars()), _CUMULATIVE, True),
        ),
        Metric("conformance.sum.delta", "", "{request}", Sum(numbers(2.5, 0), _DELTA, True)),
        Metric("conformance.upDown.MixedCase", "", "1", Sum(numbers(-2.5, _LEAST), _CUMULATIVE, False)),
        Metric("conformance.up_down.delta", "", "", Sum(numbers(-1, math.nan), _DELTA, False)),
        Metric("conformance.gauge", "another of this name", "By", Sum(numbers(3), _CUMULATIVE, True)),
        Metric("Conformance.Gauge", "another case", "Cel", Gauge(numbers(4))),
        Metric("conformance.start.unknown", "", "", Sum([NumberDataPoint(identified(), 0, _TIME, 5)], _DELTA, True)),
    ]
    histograms = [
        histogram(6, 21.5, [1, 2, 3], [0.0, 10.0], 0.5, 12.0, _exemplars()),
        histogram(0, 0.0, [0, 0], [-0.5], math.inf, -math.inf),  # nothing recorded, as the SDK has it
        histogram(2, math.inf, [2], [], 1.0, math.inf),  # no bounds
        histogram(3, -7, [3, 0], [_MOST], -5, -1),  # of integers
        histogram(_MANY, 0.0, [1] * _MANY, [0.25 * one for one in range(1, _MANY)], 0.0, 0.0),
    ]
    exponentials = [
        exponential(5, 9.5, 3, 1, Buckets(-1, [1, 0, 2]), Buckets(0, [1]), 0, -1.0, 8.0, _exemplars()),
        exponential(0, 0.0, 20, 0, none, none, 0, math.inf, -math.inf),
        exponential(2, 2.0, -10, 0, Buckets(-2, [1, 1]), none, 0, 1e-300, 1e300),
        exponential(3, 2.0, 1, 0, Buckets(-3, [0, 0, 1, 0]), Buckets(3, [0, 1, 1, 0, 0]), 0, -9.0, 1.0),
        exponential(2 * _MANY, 2.0, 5, 0, Buckets(-_MANY, [1] * _MANY), Buckets(_MANY, [1] * _MANY), 0, -1.0, 1.0),
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
    attributes: dict[str, Any] = {"scope.attribute": "kept", "scope.number": 2, **_ATTRIBUTES}  # Any: as above
    scopes = [
        ScopeMetrics(InstrumentationScope("conformance", "1.0", _SCHEMA, attributes), [*gauges, *sums], _SCHEMA),
        ScopeMetrics(InstrumentationScope("conformance.ünïcode"), distributions, ""),
    ]
    about = {"service.name": "conformance ⚙", "resource.number": 3, **_SDK, **_ATTRIBUTES}
    resource = Resource(about, _SCHEMA)
    # Each differs from the one before in one part of its identity.
    named: dict[str, Any] = {"service.name": "conformance.other"}  # Any: as above
    others = [Resource(named), Resource({**named, "service.instance.id": "2"}), Resource({})]
    alike = [
        InstrumentationScope("conformance"),
        InstrumentationScope("conformance", "2.0"),
        InstrumentationScope("conformance", "2.0", "", {"scope.number": 3}),
        InstrumentationScope(""),
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


def _exemplars() -> list[Exemplar]:
    return [
        Exemplar({"sampled": "yes", **_ATTRIBUTES}, 3, _TIME - 1, span_id=2**64 - 1, trace_id=0xDEF),
        Exemplar({}, -0.5, _TIME, span_id=None, trace_id=None),
        *(Exemplar({"number": number}, number, _TIME, span_id=1, trace_id=1) for number in range(_MANY_EXEMPLARS)),
        *(Exemplar({}, number, _TIME, span_id=1, trace_id=1) for number in _RECORDED),
    ]


def beyond(identified: Callable[..., dict[str, Any]], *, nested: bool) -> MetricsData:
    """Metrics data with what OTLP carries, and few other formats do; ``nested`` for attributes beyond the API's."""
    attributes = {"text.nul": "a\0b", **(_BEYOND if nested else {})}
    gauge = Gauge([NumberDataPoint(identified(**attributes), _START, _TIME, 1)])
    scope = InstrumentationScope("область ⚙", "версия 1", "", attributes)
    none = Buckets(0, [])
    flagged = ExponentialHistogramDataPoint(identified(), _START, _TIME, 0, 0.0, 0, 0, none, none, 1, 0.0, 0.0)
    metrics = [
        Metric("conformance.имя ⚙", "a\0b", "µs/☃", gauge),
        Metric("conformance.flags", "", "", ExponentialHistogram([flagged], _DELTA)),
    ]
    resource = Resource({"service.name": "conformance"})
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])


def alike(identity: Mapping[str, Any], values: Sequence[object], parts: Sequence[int | str]) -> MetricsData:
    """Metrics data whose points all have this identity, and differ in one thing each: an attribute's type, the time,
    the start, the metric, the scope or the resource. Some times are those that a local clock shows twice.

    Args:
        identity: the attributes of all points.
        values: of the attribute that differs.
        parts: of the attribute in which scopes and resources differ; none equals another, since the SDK groups by them.
    """

    def numbered(attributes: Mapping[str, Any], number: int, *, later: int = 0, begun: int = _START) -> NumberDataPoint:
        return NumberDataPoint({**identity, **attributes}, begun, _TIME + later, number)

    typed = [numbered({"value": value}, number) for number, value in enumerate(values)]
    timed = [numbered({}, number, later=number) for number in range(3)]
    timed += [numbered({}, 5, later=(back + hour) * _SECOND - _TIME) for back in _BACK for hour in (0, _HOUR)]
    begun = [numbered({}, 7, begun=_START + number) for number in (0, 1, _HOUR * _SECOND)]
    gauges = [
        Metric("conformance.alike", "", "1", Gauge(typed)),
        Metric("conformance.alike.times", "", "1", Gauge(timed)),
        Metric("conformance.alike.starts", "", "1", Sum(begun, _CUMULATIVE, True)),
    ]
    named = [
        Metric(name, "", unit, Sum([numbered({}, 9)], temporality, True))
        for name in ("conformance.alike.1", "conformance.alike.2")
        for unit in ("", "1")
        for temporality in (_CUMULATIVE, _DELTA)
    ]
    scopes = [
        InstrumentationScope("conformance", version, "", {"scope.value": value})
        for version in ("1", "1.0")
        for value in parts
    ]
    first, *others = [Resource({"service.name": "conformance", "resource.value": value}) for value in parts]
    every = [ScopeMetrics(scope, [*gauges, *named], "") for scope in scopes]
    return MetricsData(
        [ResourceMetrics(first, every, ""), *(ResourceMetrics(other, every[:1], "") for other in others)]
    )
