"""The harness that shows the conformance checker what the console exporter writes."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

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

from exporter_core.conformance import Capabilities, StdoutSinkHarness, flatten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter_core.conformance import Point


class ConsoleHarness(StdoutSinkHarness):
    """JSON Lines on a standard output of each run's own."""

    capabilities = Capabilities.without_answers("a stream")
    faults = frozenset({"refuse"})

    def config(self) -> dict[str, Any]:
        """Return the option for JSON Lines."""
        return {"format": "json"}

    def read_identities(self) -> Iterator[str]:
        """Read no more of each line than the identity."""
        for line in self.sink.content().splitlines():
            if line:
                yield json.loads(line)["attributes"].get("conformance.token", "")

    def decode(self, content: bytes) -> Iterator[Point]:
        """Read the points of all lines."""
        for line in content.splitlines():
            if line:
                yield from flatten(_metrics_data(json.loads(line)))


def _metrics_data(line: dict[str, Any]) -> MetricsData:
    """The SDK's objects for a line, which has one point."""
    scope, resource = line["scope"], line["resource"]
    metric = Metric(line["metric"], line["description"], line["unit"], _data(line))
    about = InstrumentationScope(scope["name"], scope["version"], "", scope["attributes"])
    of_scope = ScopeMetrics(about, [metric], scope["schema_url"])
    return MetricsData([ResourceMetrics(Resource(resource["attributes"]), [of_scope], resource["schema_url"])])


def _data(line: dict[str, Any]) -> Gauge | Sum | Histogram | ExponentialHistogram:
    kind = line["kind"]
    common: dict[str, Any] = {  # Any: the fields differ in type
        "attributes": line["attributes"],
        "start_time_unix_nano": _nanoseconds(line["start_time"]),
        "time_unix_nano": _nanoseconds(line["time"]),
        "exemplars": list(_exemplars(line)),
    }
    if kind == "gauge":
        return Gauge([NumberDataPoint(**common, value=_number(line["value"]))])
    temporality = AggregationTemporality[line["temporality"].upper()]
    if kind == "sum":
        return Sum([NumberDataPoint(**common, value=_number(line["value"]))], temporality, line["monotonic"])
    summary: dict[str, Any] = {name: _number(line[name]) for name in ("count", "sum", "min", "max")}
    if kind == "histogram":
        bounds = [_number(bound) for bound in line["bounds"]]
        point = HistogramDataPoint(**common, **summary, bucket_counts=line["bucket_counts"], explicit_bounds=bounds)
        return Histogram([point], temporality)
    buckets: dict[str, Any] = {name: Buckets(**line[name]) for name in ("positive", "negative")}
    numbers: dict[str, Any] = {name: line[name] for name in ("scale", "zero_count", "flags")}
    return ExponentialHistogram([ExponentialHistogramDataPoint(**common, **summary, **buckets, **numbers)], temporality)


def _exemplars(line: dict[str, Any]) -> Iterator[Exemplar]:
    for one in line["exemplars"]:
        yield Exemplar(
            one["attributes"],
            _number(one["value"]),
            _nanoseconds(one["time"]),
            None if one["span_id"] is None else int(one["span_id"], 16),
            None if one["trace_id"] is None else int(one["trace_id"], 16),
        )


def _number(value: float | str) -> float:
    return float(value) if isinstance(value, str) else value


def _nanoseconds(time: str | None) -> int:
    if time is None:  # an unknown start
        return 0
    seconds, _, fraction = time.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 10**9 + int(fraction)
