"""Real instruments of every kind, through a real provider."""

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Sum
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    DefaultAggregation,
    ExplicitBucketHistogramAggregation,
    LastValueAggregation,
)

from exporter_core.contract import InstrumentKind
from exporter_core.guard import GuardedExporter
from exporter_core.instruments import NO_CARDINALITY_LIMITS
from exporter_core.reader import PeriodicReader, SharedCollection
from exporter_core.testing import FakeExporter

DELTA, CUMULATIVE = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE
WITH_TEMPORALITY = [kind for kind in InstrumentKind if kind not in ("gauge", "observable_gauge")]


def record(meter: Any, kind: InstrumentKind, attributes: int = 1) -> None:
    """Have an instrument of this kind record 5 under each of so many attribute sets."""
    create = getattr(meter, f"create_{kind}")
    sets = [{"number": number} for number in range(attributes)]
    if kind.startswith("observable"):
        create(str(kind), [lambda options: [Observation(5, one) for one in sets]])
        return
    instrument = create(str(kind))
    method = {"histogram": "record", "gauge": "set"}.get(kind, "add")
    for one in sets:
        getattr(instrument, method)(5, one)


def data_of(exporter: FakeExporter, batch: int = -1) -> dict[str, Any]:
    (resource,) = exporter.exported[batch].resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: metric.data for metric in scope.metrics}


def test_every_kind_of_instrument_arrives(rig: Callable) -> None:
    one = rig()
    for kind in InstrumentKind:
        record(one.meter, kind)
    assert one.provider.force_flush()
    data = data_of(one.exporter)
    assert set(data) == set(InstrumentKind)
    expected = {
        "counter": Sum,
        "up_down_counter": Sum,
        "histogram": Histogram,
        "gauge": Gauge,
        "observable_counter": Sum,
        "observable_up_down_counter": Sum,
        "observable_gauge": Gauge,
    }
    assert {name: type(one) for name, one in data.items()} == expected
    for name, one_kind in data.items():
        (point,) = one_kind.data_points
        assert (point.sum if name == "histogram" else point.value) == 5
        assert point.attributes == {"number": 0}


@pytest.mark.parametrize("kind", WITH_TEMPORALITY)
def test_the_exporters_temporality_holds_for_that_kind_of_instrument_alone(kind: InstrumentKind, rig: Callable) -> None:
    one = rig(on_temporality=lambda asked: DELTA if asked == kind else CUMULATIVE)
    for other in InstrumentKind:
        record(one.meter, other)
    assert one.reader.force_flush()
    data = data_of(one.exporter)
    for other in WITH_TEMPORALITY:
        assert data[other].aggregation_temporality == (DELTA if other == kind else CUMULATIVE)


def test_delta_and_cumulative_readers_of_one_provider_each_get_their_own(rig: Callable) -> None:
    delta, cumulative = rig(delta=True, attach=False), rig(attach=False)
    provider = MeterProvider([delta.reader, cumulative.reader], shutdown_on_exit=False)
    counter = provider.get_meter("test").create_counter("c")
    for value in (1, 2, 3):
        counter.add(value)
        provider.force_flush()
    assert delta.values() == [1, 2, 3]
    assert cumulative.values() == [1, 3, 6]


@pytest.mark.parametrize("kind", ["gauge", "counter", "observable_gauge"])
def test_the_exporters_aggregation_holds_for_that_kind_of_instrument_alone(kind: str, rig: Callable) -> None:
    def aggregation(asked: InstrumentKind) -> Aggregation:
        other = ExplicitBucketHistogramAggregation([1.0]) if kind == "counter" else LastValueAggregation()
        return other if asked == kind else DefaultAggregation()

    one = rig(on_aggregation=aggregation)
    for other in InstrumentKind:
        record(one.meter, other)
    assert one.reader.force_flush()
    data = data_of(one.exporter)
    assert isinstance(data[kind], Histogram if kind == "counter" else Gauge)
    assert isinstance(data["histogram"], Histogram)
    assert isinstance(data["up_down_counter"], Sum)


@pytest.mark.parametrize("kind", list(InstrumentKind))
def test_a_cardinality_limit_holds_for_its_kind_of_instrument_alone(kind: InstrumentKind) -> None:
    exporter = FakeExporter()
    guard = GuardedExporter(exporter, name="fake")
    if NO_CARDINALITY_LIMITS:
        with guard, pytest.raises(ValueError, match=r"^cardinality_limits: .* does not have it"):
            PeriodicReader(guard, interval=3600, cardinality_limits={kind: 3})
        return
    reader = PeriodicReader(guard, interval=3600, cardinality_limits={kind: 3})
    provider = MeterProvider([reader], shutdown_on_exit=False)
    for other in InstrumentKind:
        record(provider.get_meter("test"), other, attributes=10)
    provider.shutdown()
    data = data_of(exporter)
    for other in InstrumentKind:
        overflown = [point for point in data[other].data_points if point.attributes.get("otel.metric.overflow")]
        assert bool(overflown) == (other == kind)


@pytest.mark.parametrize("shared", [False, True])
def test_the_sdk_knows_it_as_a_periodic_metric_reader(shared: bool) -> None:
    guard = GuardedExporter(FakeExporter(), name="fake")
    collection = SharedCollection(guard) if shared else None
    reader = PeriodicReader(guard, collection=collection)
    assert reader.collection._otel_component_type == "periodic_metric_reader"
    reader.shutdown()
