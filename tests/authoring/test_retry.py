"""When there is another attempt: a law over all options, and how servers may ask for patience."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given, strategies as st

from exporter_core import DeadlineExceededError, ExporterCoreError, ExporterError
from exporter_core.authoring import GaveUpError, RetryableError, Retrying, RetryOptions, retry_after_seconds
from exporter_core.testing import FakeClock


def outcome_of(retrying, context, attempt):
    """What it returns or raises."""
    try:
        return retrying.run(context, attempt)
    except ExporterCoreError as error:
        return error


DELAYS = st.one_of(st.none(), st.floats(0, 100))


@given(
    failures=st.lists(DELAYS, max_size=30),
    took=st.floats(0, 3),
    timeout=st.one_of(st.none(), st.floats(0.001, 200)),
    options=st.builds(
        RetryOptions,
        initial_interval=st.integers(1, 10_000),
        max_interval=st.integers(1, 10_000),
        max_elapsed_time=st.integers(0, 100_000),
    ),
    jitter=st.floats(0.5, 1.5),
)
def test_attempts_keep_to_the_deadline_the_elapsed_time_and_the_servers_wishes(
    failures, took, timeout, options, jitter
):
    clock = FakeClock(auto_advance=True)
    context = clock.context(timeout=timeout)
    begins, ends, begun = [], [], clock.monotonic()

    def attempt():
        context.raise_if_done()
        begins.append(clock.monotonic())
        clock.advance(took)
        ends.append(clock.monotonic())
        if len(begins) <= len(failures):
            raise RetryableError("busy", retry_after=failures[len(begins) - 1])
        return "done"

    retrying = Retrying(options, uniform=lambda low, high: jitter, monotonic=clock.monotonic)
    outcome = outcome_of(retrying, context, attempt)
    if isinstance(outcome, GaveUpError):
        assert str(outcome).startswith("busy; gave up: no time left to retry before ")
        assert not context.done, "it gives up as soon as that is clear, not at the deadline"
        assert isinstance(outcome.__cause__, RetryableError)
    elif isinstance(outcome, DeadlineExceededError):
        assert context.done
    else:
        assert outcome == "done"
        assert len(begins) == len(failures) + 1
    limit = options.max_elapsed_time / 1000
    expected = options.initial_interval / 1000
    for wish, before, after in zip(failures, ends, begins[1:], strict=False):
        waited = after - before
        assert waited == pytest.approx(max(expected * jitter, wish or 0.0), abs=1e-6)
        assert context.deadline is None or after < context.deadline
        assert not limit or after - begun <= limit + 1e-6
        expected = min(expected * 1.5, options.max_interval / 1000)


def test_the_jitter_is_half_of_the_interval_to_either_side():
    clock, asked = FakeClock(auto_advance=True), []
    failures = iter([RetryableError("a"), RetryableError("b")])

    def attempt():
        for failure in failures:
            raise failure

    def uniform(low, high):
        asked.append((low, high))
        return 1.0

    Retrying(RetryOptions(), uniform=uniform, monotonic=clock.monotonic).run(clock.context(), attempt)
    assert asked == [(0.5, 1.5)] * 2


def test_a_failure_for_good_is_passed_on_as_it_is():
    clock, error = FakeClock(), ExporterError("400")

    def attempt():
        raise error

    with pytest.raises(ExporterError) as caught:
        Retrying(RetryOptions()).run(clock.context(), attempt)
    assert caught.value is error


def test_the_error_of_a_deadline_in_a_later_attempt_says_how_the_attempt_before_failed():
    clock = FakeClock(auto_advance=True)
    context = clock.context(timeout=5)
    outcomes = iter([RetryableError("connection refused"), None])

    def attempt():
        failure = next(outcomes)
        if failure:
            raise failure
        clock.advance(10)
        context.raise_if_done()

    with pytest.raises(DeadlineExceededError, match=r"; the last attempt failed: connection refused$"):
        Retrying(RetryOptions(), monotonic=clock.monotonic).run(context, attempt)


def test_messages_of_giving_up_do_not_vary_with_the_jitter():
    options, messages = RetryOptions(max_elapsed_time=10_000), set()
    for jitter in (0.5, 1.0, 1.5):
        for timeout in (None, 7):
            clock = FakeClock(auto_advance=True)

            def attempt():
                raise RetryableError("503")

            retrying = Retrying(options, uniform=lambda low, high, jitter=jitter: jitter, monotonic=clock.monotonic)
            messages.add(str(outcome_of(retrying, clock.context(timeout=timeout), attempt)))
    assert messages == {
        "503; gave up: no time left to retry before the deadline",
        "503; gave up: no time left to retry before max_elapsed_time (10 s) is over",
    }


NOW = time.time()


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("0", None, 0),
        (" 120 ", None, 120),
        ("1.5", None, 1.5),
        ("9999999999999999", None, 9_223_372_036),
        ("9" * 400, None, 9_223_372_036),
        ("Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", 30),
        ("Wednesday, 21-Oct-15 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", 30),
        ("Wed Oct 21 07:28:30 2015", "Wed, 21 Oct 2015 07:28:00 GMT", 30),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:30 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None, 0),
        ("", None, None),
        ("soon", None, None),
        ("-1", None, None),
        ("nan", None, None),
        ("1e999", None, None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_clock(value, date, seconds):
    assert retry_after_seconds(value, date) == seconds


def test_without_the_servers_date_a_date_counts_from_the_wall_clock():
    found = retry_after_seconds(formatdate(time.time() + 3600, usegmt=True))
    assert 0 < found <= 3600
