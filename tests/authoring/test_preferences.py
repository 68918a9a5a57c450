"""What each preference answers for each instrument kind, as the specification has it."""

import typing

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import DefaultAggregation, ExponentialBucketHistogramAggregation

from exporter_core import InstrumentKind
from exporter_core.authoring import HistogramAggregation, PreferenceOptions, TemporalityPreference

CUMULATIVE, DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA
DELTA_KINDS = {
    "cumulative": set(),
    "delta": {"counter", "observable_counter", "histogram"},
    "low_memory": {"counter", "histogram"},
    None: set(),
}


@pytest.mark.parametrize("preference", [*typing.get_args(TemporalityPreference), None])
def test_the_kinds_that_a_preference_names_are_delta_and_all_others_cumulative(preference) -> None:
    options = PreferenceOptions(temporality_preference=preference)
    assert {kind: options.temporality_of(kind) for kind in InstrumentKind} == {
        kind: DELTA if kind in DELTA_KINDS[preference] else CUMULATIVE for kind in InstrumentKind
    }


@pytest.mark.parametrize("preference", [*typing.get_args(HistogramAggregation), None])
def test_histograms_alone_may_be_exponential(preference) -> None:
    options = PreferenceOptions(default_histogram_aggregation=preference)
    found = {kind: type(options.aggregation_of(kind)) for kind in InstrumentKind}
    exponential = preference == "base2_exponential_bucket_histogram"
    assert found.pop(InstrumentKind.HISTOGRAM) is (
        ExponentialBucketHistogramAggregation if exponential else DefaultAggregation
    )
    assert set(found.values()) == {DefaultAggregation}


@pytest.mark.parametrize("preference", typing.get_args(HistogramAggregation))
def test_each_answer_is_another_aggregation_so_that_a_change_of_one_is_in_no_other(preference) -> None:
    options = PreferenceOptions(default_histogram_aggregation=preference)
    first, second = (options.aggregation_of(InstrumentKind.HISTOGRAM) for _ in range(2))
    assert first is not second


def test_importing_it_does_not_import_the_sdk(run_python) -> None:
    loaded = run_python("import sys, exporter_core.authoring; print(*sys.modules)").split()
    assert "opentelemetry" not in loaded
