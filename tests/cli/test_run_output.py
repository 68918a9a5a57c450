"""What ``run`` shows of the values it has delivered."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from exporter_core.cli.run_output import History, quantity, sparkline


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0, "By", "0 B"),
        (1536, "By", "1.5 KiB"),
        (3 * 1024**3, "By", "3 GiB"),
        (0.25, "1", "25.0%"),
        (0.415, "s", "0.415 s"),
        (5939.2, "s", "5,939 s"),
        (273_000, "operations", "273 k"),
        (12, "{collection}", "12"),
        (7, "", "7"),
        (-1536, "By", "-1.5 KiB"),
        (math.inf, "By", "inf"),
        (math.nan, "1", "nan"),
    ],
)
def test_quantities_have_three_digits_and_their_unit(value, unit, shown):
    assert quantity(value, unit) == shown


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=40), st.integers(1, 30))
def test_a_sparkline_has_a_bar_for_each_of_the_last_values(values, width):
    line = sparkline(values, width)
    last = values[-width:]
    assert len(line) == len(last)
    if last and max(last) > min(last):
        assert line[last.index(max(last))] == "█"
        assert line[last.index(min(last))] == "▁"


def test_counters_show_what_they_have_reached_and_their_rate():
    reader = InMemoryMetricReader()
    counter = MeterProvider([reader]).get_meter("test").create_counter("orders", unit="{order}")
    history = History()
    for amount in (1, 2, 3):
        counter.add(amount, {"cpu": 0, "branch": "north"})
        counter.add(amount, {"cpu": 1, "branch": "north"})
        history.record(reader.get_metrics_data())
    (row,) = history.rows()
    assert (row.metric, row.attributes, row.unit, row.latest) == ("orders", "north", "{order}", 12)
    assert len(row.trend) == 2
    assert row.rate == row.trend[-1] > 0


def test_series_that_stay_at_zero_are_counted_and_not_shown():
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    meter.create_gauge("idle").set(0)
    meter.create_gauge("busy").set(1)
    meter.create_histogram("waits").record(1)
    history = History()
    history.record(reader.get_metrics_data())
    assert [row.metric for row in history.rows()] == ["busy"]
    assert history.series_at_zero == 1
