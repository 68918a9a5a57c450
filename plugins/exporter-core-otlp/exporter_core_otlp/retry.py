"""When a failed request is sent again, and when not: OTLP's rules, with OpenTelemetry-Go's back-off.

Sources: https://opentelemetry.io/docs/specs/otlp/ ("Failures", "OTLP/HTTP Throttling", "OTLP/gRPC Throttling");
exponential back-off with jitter as in OpenTelemetry-Go: each wait 1.5 times the one before, give or take half.
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, TypeVar

from exporter_core import DeadlineExceededError, ExporterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core import Context
    from exporter_core_otlp.config import RetryConfig

_GROWTH: Final = 1.5
_JITTER: Final = 0.5
_SECONDS: Final = re.compile(r"\d{1,15}(\.\d+)?")

T = TypeVar("T")


class RetryableError(ExporterError):
    """An attempt failed in a way that another one may not.

    Args:
        message: what happened, in one line, without secrets.
        retry_after: seconds that the server asks to wait, None if it does not say.
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after: float | None = retry_after


class GivenUpError(ExporterError):
    """There is no time for another attempt; what else is to be sent would fare no better."""


@dataclass(slots=True)
class _Failures:
    """The attempts of one request that have failed."""

    count: int = 0
    last: RetryableError | None = None


class Retrying:
    """Makes attempts until one succeeds, fails for good, or there is no time for another.

    Args:
        config: how often and how long.
        uniform: draws from an interval; the jitter.
        monotonic: tells seconds.
    """

    def __init__(
        self,
        config: RetryConfig,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._uniform = uniform
        self._monotonic = monotonic

    def run(self, context: Context, attempt: Callable[[], T]) -> T:
        """What the first successful ``attempt()`` returns.

        Raises:
            GivenUpError: of the last attempt, with why there is no other.
            ExporterError: of an attempt that another one would not better.
            DeadlineExceededError, ContextCancelledError: as soon as the context is done, in a wait too.
        """
        failures = _Failures()
        try:
            return self._attempts(context, attempt, failures)
        except DeadlineExceededError as error:
            if failures.last is None:
                raise
            message = f"{error}; attempt {failures.count} had failed: {failures.last}"
            raise DeadlineExceededError(message) from failures.last

    def _attempts(self, context: Context, attempt: Callable[[], T], failures: _Failures) -> T:
        config = self._config
        begun = self._monotonic()
        interval = config.initial_interval / 1000
        while True:
            try:
                return attempt()
            except RetryableError as error:
                failures.count += 1
                failures.last = error
                context.raise_if_done()
                if not config.enabled:
                    raise ExporterError(str(error)) from error
                delay = max(interval * self._uniform(1 - _JITTER, 1 + _JITTER), error.retry_after or 0.0)
                reason = self._no_time_for(delay, context, begun)
                if reason is not None:
                    tried = f"{failures.count} attempts" if failures.count > 1 else "one attempt"
                    raise GivenUpError(f"{error}; given up after {tried}: {reason}") from error
            context.wait(delay)
            context.raise_if_done()
            interval = min(interval * _GROWTH, config.max_interval / 1000)

    def _no_time_for(self, delay: float, context: Context, begun: float) -> str | None:
        """Why a wait of so many seconds makes no sense; None if it does."""
        remaining = context.remaining()
        if remaining is not None and delay >= remaining:
            return f"the next one, in {delay:.3g} s, would come after the deadline"
        limit = self._config.max_elapsed_time / 1000
        if limit and self._monotonic() - begun + delay > limit:
            return f"the next one, in {delay:.3g} s, would come after the {limit:g} s of max_elapsed_time"
        return None


def retry_after_seconds(value: str, date: str | None = None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header; None for what is neither seconds nor a date.

    Args:
        value: the header's value.
        date: the answer's own ``Date`` header: what a date counts from, so that the two clocks need not agree.
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
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
