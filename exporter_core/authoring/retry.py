"""Retrying what failed for the moment: exponential back-off with jitter, as OpenTelemetry-Go has it."""

from __future__ import annotations

import random
import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from pydantic import Field

from exporter_core.authoring.options import Interval, Milliseconds, NullIsDefault
from exporter_core.errors import ContextCancelledError, DeadlineExceededError, ExporterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.context import Context

_GROWTH: Final = 1.5
_JITTER: Final = 0.5
_LONGEST: Final = 9_223_372_036.0  # seconds that a thread can wait at most
_SECONDS: Final = re.compile(r"\d+(\.\d+)?")

T = TypeVar("T")


class RetryOptions(NullIsDefault):
    """Retries of requests that failed for the moment: exponential back-off with jitter."""

    enabled: Annotated[bool, Field(strict=True)] = True
    """Retry at all."""

    initial_interval: Interval = 1000
    """Milliseconds before the second attempt, with ±50 % jitter; each wait is 1.5 times the last. A server that asks
    for a longer wait gets it."""

    max_interval: Interval = 5000
    """Milliseconds that the wait grows to."""

    max_elapsed_time: Milliseconds = 60_000
    """Milliseconds after which there is no further attempt; 0 for no such limit."""


class RetryableError(ExporterError):
    """An attempt failed, and another one may succeed.

    Args:
        message: what happened, in one line, without secrets.
        retry_after: seconds that the server asks to wait, None if it does not say.
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after: float | None = retry_after


class GaveUpError(ExporterError):
    """There is no time for another attempt; other requests of the same export would fare no better."""


class Retrying:
    """Makes attempts until one succeeds, one fails for good, or no time is left for another.

    Args:
        options: whether, and for how long.
        uniform: draws from an interval; the jitter.
        monotonic: tells seconds.
    """

    def __init__(
        self,
        options: RetryOptions,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._uniform = uniform
        self._monotonic = monotonic

    def run(self, context: Context, attempt: Callable[[], T]) -> T:
        """Return what the first successful ``attempt()`` returns.

        Raises:
            GaveUpError: no time is left for another attempt, or the exporter is being shut down; its cause is the last
                one's RetryableError.
            ExporterError: an attempt failed for good.
            DeadlineExceededError, ContextCancelledError: as soon as the context is done, in a wait too; with the last
                attempt's failure.
        """
        attempts = context._attempts_of_call()
        failures: list[RetryableError] = []
        begun = self._monotonic()
        interval = self._options.initial_interval / 1000
        try:
            while True:
                try:
                    return attempt()
                except RetryableError as error:
                    failures.append(error)
                    attempts.last_failure = str(error)
                    context.raise_if_done()
                    if not self._options.enabled:
                        raise ExporterError(str(error)) from error
                    wait = max(interval * self._uniform(1 - _JITTER, 1 + _JITTER), error.retry_after or 0.0)
                    # Neither seconds nor a count: they vary, and lines that vary cannot be counted as repeated ones.
                    limit = self._limit_before(wait, context, begun)
                    if limit is not None:
                        raise GaveUpError(f"{error}; gave up: no time left to retry before {limit}") from error
                    if not attempts.pause(context, wait):
                        raise GaveUpError(f"{error}; not retried: the exporter is being shut down") from error
                interval = min(interval * _GROWTH, self._options.max_interval / 1000)
                attempts.repeated += 1
        except (DeadlineExceededError, ContextCancelledError) as error:
            if not failures:
                raise
            raise type(error)(f"{error}; the last attempt failed: {failures[-1]}") from failures[-1]

    def _limit_before(self, wait: float, context: Context, begun: float) -> str | None:
        """Return the name of the limit that leaves no time for such a wait; None if there is time."""
        remaining = context.remaining()
        if remaining is not None and wait >= remaining:
            return "the deadline"
        limit = self._options.max_elapsed_time / 1000
        if limit and self._monotonic() - begun + wait > limit:
            return f"max_elapsed_time ({limit:g} s) is over"
        return None


def retry_after_seconds(value: str, date: str | None = None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks to wait; None for what is neither seconds nor a date.

    Args:
        value: the header's value; more seconds than a thread can wait are as many as it can.
        date: the answer's own ``Date`` header, which a date counts from, so that the two clocks need not agree.
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), _LONGEST)
    until = _timestamp(value)
    if until is None:
        return None
    now = _timestamp(date) if date else None
    return max(0.0, until - (time.time() if now is None else now))


def _timestamp(date: str) -> float | None:
    try:
        parsed = parsedate_to_datetime(date)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
