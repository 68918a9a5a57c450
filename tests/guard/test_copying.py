"""copy=True: the exporter gets a copy that shares nothing changeable with the application's data."""

from __future__ import annotations

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.version import __version__ as sdk_version

from exporter_core.guard.copying import copy_metrics
from exporter_core.testing import FakeExporter

LIST: object = (1, 2) if sdk_version.startswith("1.44.") else [1, 2]  # 1.44 takes no lists as values of attributes

runners = pytest.mark.parametrize("runner", ["thread", "inline"])


@pytest.fixture
def real_metrics():
    """What the SDK collects, every kind of data in it."""
    reader = InMemoryMetricReader()
    resource = Resource({"service.name": "shop", "hosts": ["a", "b"]})
    views = [View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation())]
    provider = MeterProvider([reader], resource, views=views)
    meter = provider.get_meter("scope", attributes={"team": ["x", "y"]})
    meter.create_counter("counter").add(1, {"route": "/", "codes": LIST})
    meter.create_histogram("histogram").record(3, {"route": "/"})
    meter.create_histogram("exponential").record(3, {"route": "/"})
    meter.create_observable_gauge("gauge", [lambda options: [Observation(1.5, {"cpu": "0"})]])
    metrics = reader.get_metrics_data()
    provider.shutdown()
    return metrics


def vandalise(value, changed):
    """Change everything inside that can be changed."""
    if isinstance(value, dict):
        changed.append(dict(value))
        value.clear()
        value["vandal"] = True
    elif isinstance(value, list):
        for item in value:
            vandalise(item, changed)
        changed.append(list(value))
        value.clear()
    elif hasattr(value, "attributes") and not hasattr(value, "__dataclass_fields__"):
        vandalise_attributes(value, changed)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            vandalise(getattr(value, name), changed)
            object.__setattr__(value, name, None)


def vandalise_attributes(owner, changed):
    if owner.attributes:
        changed.append(dict(owner.attributes))
        mapping = getattr(owner.attributes, "_dict", owner.attributes)
        mapping.clear()


def test_a_copy_is_equal(real_metrics):
    assert copy_metrics(real_metrics) == real_metrics
    assert copy_metrics(real_metrics).to_json() == real_metrics.to_json()


@runners
def test_whatever_an_exporter_changes_the_callers_data_stays(guarded, runner, context, real_metrics):
    before, changed = real_metrics.to_json(), []
    guard = guarded(
        FakeExporter(on_export=lambda context, metrics: vandalise(metrics, changed)), runner=runner, copy=True
    )
    guard.export(context, real_metrics)
    assert len(changed) > 10
    assert real_metrics.to_json() == before
    assert guard.stats().points_accepted == 4


def test_the_applications_own_attributes_stay(guarded, context, metrics):
    def export(context, metrics):
        resource_metrics = metrics.resource_metrics[0]
        resource_metrics.resource.attributes._dict["service.name"] = "vandal"
        point = resource_metrics.scope_metrics[0].metrics[0].data.data_points[0]
        point.attributes["point"] = "vandal"

    guarded(FakeExporter(on_export=export), copy=True).export(context, metrics)
    resource_metrics = metrics.resource_metrics[0]
    assert resource_metrics.resource.attributes == {"service.name": "tests"}
    assert resource_metrics.scope_metrics[0].metrics[0].data.data_points[0].attributes == {"point": 0}


@runners
def test_without_it_the_batch_is_handed_on_as_it_is(guarded, runner, context, metrics):
    handed = []
    guarded(FakeExporter(on_export=lambda context, metrics: handed.append(metrics)), runner=runner).export(
        context, metrics
    )
    assert handed[0] is metrics


def test_what_is_no_batch_of_the_sdks_is_copied_as_far_as_it_goes():
    marker = object()
    value = {"list": [1, (marker, ["x"])]}
    copied = copy_metrics(value)
    assert copied == value
    assert copied["list"] is not value["list"]
    assert copied["list"][1][0] is marker
    assert copied["list"][1][1] is not value["list"][1][1]
