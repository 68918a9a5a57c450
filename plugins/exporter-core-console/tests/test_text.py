"""Numbers, attributes and sparklines for people."""

import math

import pytest
from exporter_core_console.text import (
    attributes_text,
    clock_text,
    exponential_counts,
    number_text,
    printable,
    sparkline,
)
from hypothesis import given, strategies as st
from opentelemetry.sdk.metrics.export import Buckets, ExponentialHistogramDataPoint


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (-1234567, "-1,234,567"),
        (2**63, "9,223,372,036,854,775,808"),
        (0.0, "0"),
        (0.5, "0.5"),
        (0.123456789, "0.123457"),
        (100.0, "100"),
        (1234.5678, "1,234.57"),
        (99999999.9, "100,000,000"),
        (-0.00001234, "-1.234e-05"),
        (1e15, "1e+15"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_a_number_is_short_and_grouped_by_thousands(number, text):
    assert number_text(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_shown_to_six_significant_digits(number):
    shown = float(number_text(number).replace(",", ""))
    assert math.isclose(shown, number, rel_tol=1e-5)


@given(st.text(st.characters(exclude_categories=[])))
def test_no_text_from_outside_acts_on_the_terminal(text):
    for shown in (printable(text), attributes_text({text: text}), attributes_text({"k": [text, {text: text}]})):
        assert shown.isprintable()


def test_attributes_stand_apart_and_can_be_told_from_each_other():
    assert (
        attributes_text({"a": "GET", "b": "two words", "c": "", "d": True, "e": None, "f": b"\x01", "g": [1, "x"]})
        == 'a=GET b="two words" c="" d=true e=null f=0x01 g=[1, x]'
    )
    assert attributes_text({"m": {"k": "a=b"}, "n": 1.5}) == 'm={k: "a=b"} n=1.5'
    assert attributes_text(None) == ""


def test_a_time_is_shown_to_the_second_and_a_missing_one_not_at_all():
    assert clock_text(1_763_892_060_123_456_789) == "2025-11-23 10:01:00 UTC"
    assert clock_text(0) == ""


def test_a_sparkline_spans_the_buckets_in_use_and_marks_empty_ones_apart():
    assert sparkline([0, 0, 1, 0, 8, 4, 0]) == "▁·█▄"
    assert sparkline([0, 0, 1, 0, 8, 4, 0], unicode=False) == ":.@+"
    assert sparkline([0, 0]) == ""
    assert sparkline([]) == ""


@given(st.lists(st.integers(0, 2**64 - 1), max_size=200))
def test_a_sparkline_is_at_most_twenty_columns_and_has_a_full_one(counts):
    line = sparkline(counts)
    assert len(line) <= 20
    assert bool(line) == any(counts)
    assert not line or "█" in line


def test_exponential_buckets_go_from_the_lowest_values_to_the_highest():
    def counts(zero, positive, negative):
        return exponential_counts(
            ExponentialHistogramDataPoint(
                {}, 0, 0, 9, 1.0, 0, zero, Buckets(0, positive), Buckets(0, negative), 0, 0, 0
            )
        )

    assert counts(5, [1, 2], [3, 4]) == [4, 3, 5, 1, 2]
    assert counts(0, [1, 2], [0]) == [0, 1, 2]
    assert counts(0, [1], [3]) == [3, 0, 1]
