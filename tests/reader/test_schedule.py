import math

import pytest
from hypothesis import given, strategies as st

from exporter_core.reader.schedule import Schedule

starts = st.floats(0, 1e6)
intervals = st.floats(0.001, 1e5)


@given(starts, intervals, st.lists(st.floats(0, 1e4), max_size=20))
def test_every_tick_is_a_whole_number_of_intervals_after_the_start(
    start: float, interval: float, took: list[float]
) -> None:
    schedule = Schedule(start, interval)
    now = start
    for seconds in took:
        now = max(now, schedule.due) + seconds
        schedule.advance(now)
        number = round((schedule.due - start) / interval)
        assert schedule.due == start + number * interval


@given(starts, intervals, st.lists(st.floats(0, 1e4), max_size=20))
def test_the_next_tick_lies_ahead_and_is_the_first_that_does(start: float, interval: float, took: list[float]) -> None:
    schedule = Schedule(start, interval)
    now = start
    for ticks, seconds in enumerate(took, start=1):
        now = max(now, schedule.due) + seconds
        schedule.advance(now)
        assert schedule.due > now
        number = round((schedule.due - start) / interval)
        assert number == ticks + schedule.missed + 1  # each is made or missed
        assert schedule.missed == 0 or start + (number - 1) * interval <= math.nextafter(now, math.inf)


def test_a_tick_that_ends_as_the_next_is_due_misses_it() -> None:
    schedule = Schedule(0.0, 10.0)
    schedule.advance(20.0)
    assert (schedule.due, schedule.missed) == (30.0, 1)


def test_a_tick_that_ends_just_before_the_next_misses_none() -> None:
    schedule = Schedule(0.0, 10.0)
    schedule.advance(19.999)
    assert (schedule.due, schedule.missed) == (20.0, 0)


@pytest.mark.parametrize("now", [0.0, 1e9])
def test_an_infinite_interval_has_no_tick(now: float) -> None:
    schedule = Schedule(5.0, math.inf)
    schedule.advance(now)
    assert (schedule.due, schedule.missed) == (math.inf, 0)
