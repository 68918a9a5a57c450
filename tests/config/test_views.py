from collections.abc import Callable
from typing import Any, get_args
from unittest.mock import patch

import pytest
from hypothesis import given, strategies as st
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View

from exporter_core.config import parse_config, sdk_view
from exporter_core.config.findings import Findings
from exporter_core.config.models import InstrumentName, View as ViewModel
from exporter_core.config.views import check_view
from exporter_core.contract import InstrumentKind
from exporter_core.errors import ConfigError


@pytest.fixture
def read(registry, minimal) -> Callable[..., ViewModel]:
    def read(stream: dict[str, Any], **selector: Any) -> ViewModel:
        view = {"selector": selector, "stream": stream}
        return parse_config(minimal(provider={"views": [view]}), registry=registry).views[0]

    return read


@pytest.fixture
def faults(read) -> Callable[..., list[str]]:
    def faults(stream: dict[str, Any], **selector: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(stream, **selector)
        return [str(problem).removeprefix("meter_provider.views[0].") for problem in caught.value.problems]

    return faults


def test_a_view_is_read_whole(read) -> None:
    view = read(
        {
            "name": "n",
            "description": "d",
            "aggregation": {"explicit_bucket_histogram": {"boundaries": [1, 2.5], "record_min_max": False}},
            "aggregation_cardinality_limit": 9,
            "attribute_keys": {"included": ["a", "b"]},
        },
        instrument_name="i",
        instrument_type="histogram",
        unit="s",
        meter_name="m",
        meter_version="1",
        meter_schema_url="u",
    )
    assert dict(view.selector) == {
        "instrument_name": "i",
        "instrument_type": "histogram",
        "unit": "s",
        "meter_name": "m",
        "meter_version": "1",
        "meter_schema_url": "u",
    }
    stream = view.stream
    assert (stream.name, stream.description, stream.aggregation_cardinality_limit) == ("n", "d", 9)
    assert stream.attribute_keys.included == ["a", "b"]
    assert stream.aggregation.chosen == "explicit_bucket_histogram"
    assert dict(stream.aggregation.explicit_bucket_histogram) == {"boundaries": [1.0, 2.5], "record_min_max": False}
    made = sdk_view(view)
    assert (made._instrument_type, made._attribute_keys) == (Histogram, {"a", "b"})


def test_a_views_limit_reaches_the_sdk(read, sdk_with_limits) -> None:
    view = read({"aggregation_cardinality_limit": 9}, instrument_name="i")
    with patch("opentelemetry.sdk.metrics.view.View") as made:
        sdk_view(view)
        sdk_view(read({}, instrument_name="i"))
    assert [call.kwargs.get("aggregation_cardinality_limit") for call in made.call_args_list] == [9, None]


def test_a_views_limit_that_the_sdk_does_not_have_is_ignored_with_a_warning(
    registry, minimal, sdk_without_limits
) -> None:
    view = {"selector": {"instrument_name": "i"}, "stream": {"aggregation_cardinality_limit": 9}}
    config = parse_config(minimal(provider={"views": [view]}), registry=registry)
    (warning,) = config.warnings
    assert str(warning) == (
        "meter_provider.views[0].stream.aggregation_cardinality_limit is ignored: "
        f"OpenTelemetry SDK {sdk_without_limits} does not have it; 1.45.2 does"
    )
    with patch("opentelemetry.sdk.metrics.view.View") as made:
        sdk_view(config.views[0])
    assert "aggregation_cardinality_limit" not in made.call_args.kwargs


@pytest.mark.parametrize(
    ("stream", "selector", "fault"),
    [
        ({}, {}, "selector: expected at least one criterion, such as instrument_name"),
        (
            {"name": "x"},
            {"instrument_name": "a*"},
            "stream.name: a view whose instrument_name has wildcards cannot rename",
        ),
        ({"name": "x"}, {"instrument_name": "a?"}, "stream.name: a view whose instrument_name has wildcards"),
        (
            {"aggregation": {"explicit_bucket_histogram": {"boundaries": [1, 3, 2]}}},
            {"unit": "s"},
            "stream.aggregation.explicit_bucket_histogram.boundaries[2]: expected boundaries in increasing order",
        ),
        (
            {"aggregation": {"explicit_bucket_histogram": {"boundaries": [1, float("inf")]}}},
            {"unit": "s"},
            "stream.aggregation.explicit_bucket_histogram.boundaries[1]: expected a finite number",
        ),
        (
            {"aggregation": {"base2_exponential_bucket_histogram": {"max_size": 16385}}},
            {"unit": "s"},
            "stream.aggregation.base2_exponential_bucket_histogram.max_size: the OpenTelemetry Python SDK has at most",
        ),
        (
            {"aggregation": {"base2_exponential_bucket_histogram": {"max_scale": 21}}},
            {"unit": "s"},
            "stream.aggregation.base2_exponential_bucket_histogram.max_scale: expected a value of at most 20",
        ),
        (
            {"aggregation": {"sum": None, "drop": None}},
            {"unit": "s"},
            "stream.aggregation: expected only one of default, drop, ",
        ),
        ({"aggregation": {}}, {"unit": "s"}, "stream.aggregation: expected one of default, drop, "),
        (
            {"aggregation": {"summ": None}},
            {"unit": "s"},
            "stream.aggregation: unknown key 'summ'; did you mean 'sum'?",
        ),
        (
            {},
            {"instrument_type": "histgram"},
            "selector.instrument_type: expected 'counter', 'up_down_counter', 'histogram', 'gauge', ",
        ),
        ({"aggregation_cardinality_limit": 0}, {"unit": "s"}, "stream.aggregation_cardinality_limit: expected a value"),
    ],
)
def test_what_the_sdk_cannot_do_is_an_error(faults, stream: Any, selector: Any, fault: str) -> None:
    (found,) = faults(stream, **selector)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    "aggregation",
    [
        {"default": None},
        {"drop": {}},
        {"sum": None},
        {"last_value": None},
        {"explicit_bucket_histogram": None},
        {"explicit_bucket_histogram": {"boundaries": []}},
        {"base2_exponential_bucket_histogram": None},
        {"base2_exponential_bucket_histogram": {"max_size": 2, "max_scale": -10, "record_min_max": False}},
    ],
)
def test_every_aggregation_works_in_the_sdk(read, aggregation: dict[str, Any]) -> None:
    view = sdk_view(read({"aggregation": aggregation}, instrument_name="i"))
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], views=[view], shutdown_on_exit=False)
    provider.get_meter("m").create_histogram("i").record(5)
    data = reader.get_metrics_data()
    assert (data is None) is ("drop" in aggregation)
    provider.shutdown()


@pytest.mark.parametrize("kind", list(InstrumentKind))
def test_a_view_selects_by_every_instrument_kind(read, kind: InstrumentKind) -> None:
    view = sdk_view(read({"name": "renamed", "attribute_keys": {"included": ["a"]}}, instrument_type=kind.value))
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], views=[view], shutdown_on_exit=False)
    meter = provider.get_meter("m")
    for name in InstrumentKind:
        create = getattr(meter, f"create_{name.value}")
        if name.startswith("observable"):
            create(f"my_{name}", callbacks=[])
        else:
            instrument = create(f"my_{name}")
            getattr(instrument, {"histogram": "record", "gauge": "set"}.get(name, "add"))(1, {"a": 1, "b": 2})
    data = reader.get_metrics_data()
    metrics = {
        metric.name: metric for r in data.resource_metrics for scope in r.scope_metrics for metric in scope.metrics
    }
    if not kind.startswith("observable"):
        assert f"my_{kind}" not in metrics
        assert [dict(point.attributes) for point in metrics["renamed"].data.data_points] == [{"a": 1}]
    provider.shutdown()


names = st.none() | st.text("ab*?.", min_size=1, max_size=3)


@given(
    selector=st.fixed_dictionaries(
        {},
        optional={
            "instrument_name": names,
            "instrument_type": st.sampled_from([kind.value for kind in InstrumentKind]),
            "unit": names,
            "meter_name": names,
        },
    ),
    stream=st.fixed_dictionaries(
        {}, optional={"name": names, "aggregation_cardinality_limit": st.none() | st.integers(1)}
    ),
)
def test_every_view_that_is_accepted_can_be_made(selector: dict[str, Any], stream: dict[str, Any]) -> None:
    findings = Findings(None)
    view = ViewModel.model_validate({"selector": selector, "stream": stream})
    check_view(view, (), findings)
    try:
        findings.raise_problems()
    except ConfigError:
        with pytest.raises(Exception, match=r"Some instrument selection|declared with wildcard"):
            sdk_view(view)
    else:
        assert isinstance(sdk_view(view), View)


@pytest.mark.parametrize(
    ("keys", "kept"),
    [
        ({"excluded": ["a"]}, ["a.b", "a.b.c", "B", "a[b]", "a\nb"]),
        ({"excluded": ["a*"]}, ["B"]),
        ({"included": ["a.?"]}, ["a.b"]),
        ({"included": ["a*"], "excluded": ["a.*"]}, ["a", "a[b]", "a\nb"]),
        ({"included": ["a?b"]}, ["a.b", "a\nb"]),
        ({"included": ["a[b]", "?"]}, ["a", "B", "a[b]"]),
        ({"included": ["b"]}, []),
    ],
)
def test_attribute_keys_are_kept_and_left_out_by_patterns(keys: dict[str, Any], kept: list[str]) -> None:
    model = ViewModel.model_validate({"selector": {"instrument_name": "i"}, "stream": {"attribute_keys": keys}})
    view = sdk_view(model)
    reader = InMemoryMetricReader()
    counter = MeterProvider([reader], views=[view], shutdown_on_exit=False).get_meter("m").create_counter("i")
    counter.add(1, dict.fromkeys(["a", "a.b", "a.b.c", "B", "a[b]", "a\nb"], 1))
    data = reader.get_metrics_data()
    assert data is not None
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert list(point.attributes or {}) == kept


def test_the_config_knows_exactly_the_instrument_kinds_of_the_contract() -> None:
    assert set(get_args(InstrumentName)) == {kind.value for kind in InstrumentKind}
