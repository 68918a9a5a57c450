import pytest
from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core.routing import MetricFilter
from exporter_core.routing.filter import _MOST_NAMES


def batch(*scopes: list[str]) -> MetricsData:
    made = [
        ScopeMetrics(
            InstrumentationScope(f"scope {number}"),
            [Metric(name, "", "1", Gauge([NumberDataPoint({}, 0, 1, 1)])) for name in names],
            "",
        )
        for number, names in enumerate(scopes)
    ]
    return MetricsData([ResourceMetrics(Resource({}), made, "")])


def names(metrics: MetricsData | None) -> list[list[str]] | None:
    if metrics is None:
        return None
    return [
        [one.name for one in scope.metrics] for resource in metrics.resource_metrics for scope in resource.scope_metrics
    ]


@pytest.mark.parametrize(
    ("include", "exclude", "kept"),
    [
        ((), (), [["http.requests", "http.errors"], ["process.cpu"]]),
        (("http.*",), (), [["http.requests", "http.errors"]]),
        (("http.*", "process.???"), ("*.errors",), [["http.requests"], ["process.cpu"]]),
        ((), ("http.requests",), [["http.errors"], ["process.cpu"]]),
        (("HTTP.*",), (), None),
        ((), ("*",), None),
    ],
)
def test_the_exporter_gets_the_metrics_whose_names_fit(include, exclude, kept):
    whole = batch(["http.requests", "http.errors"], ["process.cpu"])
    assert names(MetricFilter(include, exclude)(whole)) == kept
    assert names(whole) == [["http.requests", "http.errors"], ["process.cpu"]]


def test_names_without_end_are_remembered_within_a_bound():
    chosen = MetricFilter(["a*"])
    for number in range(_MOST_NAMES + 2):
        assert chosen.keeps(f"a{number}")
    assert len(chosen._kept) <= _MOST_NAMES
