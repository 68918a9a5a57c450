"""Wrong exporters in how they try again, read answers and end."""

from __future__ import annotations

import email.utils
import math
import time

from exporter_core import Context, ExporterError, PartialSuccessError
from third_party import keen_transport
from third_party.right_keen_http import Pool


def local_seconds(text):
    if text and not text.replace(".", "").isdigit():
        parsed = email.utils.parsedate(text)
        return max(0.0, time.mktime(parsed) - time.time()) if parsed else None
    return keen_transport.seconds_of(text)


class LocalRetryAfter(Pool):
    """Takes the date in Retry-After for local time."""

    def judge(self, status, headers, data):
        keen_transport.judge(status, headers, data, seconds_of=local_seconds)


class ShortReader(keen_transport.Connection):
    def read(self, response):
        data = response.read(1 << 20)  # short at the end of the stream, without an error
        response.close()
        return data


class ShortRead(Pool):
    """Reads answers with a limit, with which http.client does not notice a body that was cut short."""

    connection = ShortReader


def one_byte(body):
    if len(body) > 3 and body[0] == 0x0A and body[2] == 0x08:
        return body[3] & 0x7F
    return 0


class OneByteVarint(Pool):
    """Reads the count of rejected points as one byte, which is wrong from 128 on."""

    def judge(self, status, headers, data):
        keen_transport.judge(status, headers, data, partial_of=one_byte)


class ForeverWithoutDeadline(Pool):
    """Tries again for ever where the context has no deadline."""

    def attempts(self, context, attempt):
        keen_transport.attempts(context, attempt, 5 if context.remaining() is not None else 10**9)


class PausesByWallClock(Pool):
    """Measures the pause between two attempts by the wall clock."""

    def attempts(self, context, attempt):  # noqa: RET503 - the loop returns or raises
        pause = 0.3
        for number in range(1, 6):
            context.raise_if_done()
            try:
                return attempt()
            except keen_transport.Retry as error:
                wait = max(pause, error.after or 0)
                left = context.remaining()
                if number == 5 or (left is not None and wait >= left):
                    raise ExporterError(f"gave up: {error}") from error
            until = time.time() + wait
            while time.time() < until and not context.wait(0.02):
                pass
            context.raise_if_done()
            pause *= 2


class ThrottledIsImpatient(Pool):
    """Does not honour Retry-After beside 429."""

    def judge(self, status, headers, data):
        if status == 429:
            headers = {name: value for name, value in headers.items() if name != "retry-after"}
        keen_transport.judge(status, headers, data)


class IgnoresDates(Pool):
    """Does not understand a date in Retry-After, and makes its own pause."""

    def judge(self, status, headers, data):
        if not headers.get("retry-after", "0").isdigit():
            headers = {k: v for k, v in headers.items() if k != "retry-after"}
        keen_transport.judge(status, headers, data)


class Breaker(Pool):
    """A deadline that passed opens a circuit breaker for ten seconds."""

    until = 0.0

    def deliver(self, context, metrics):
        if time.monotonic() < self.until:
            raise ExporterError("the circuit is open")
        try:
            super().deliver(context, metrics)
        except TimeoutError:
            self.until = time.monotonic() + 10
            raise


class DeafConnection(keen_transport.Connection):
    def post(self, context, body, judge=keen_transport.judge):
        if context.remaining() is None:
            context = Context.background()
        return super().post(context, body, judge)


class CancelNeedsDeadline(Pool):
    """Notices a cancellation only where the context has a deadline."""

    connection = DeafConnection


class CeilSeconds(Pool):
    """Rounds the deadline up to whole seconds, to one at least."""

    def deliver(self, context, metrics):
        left = context.remaining()
        if left is None:
            super().deliver(context, metrics)
            return
        own = Context.with_timeout(max(1, math.ceil(left)))
        handle = context.on_done(lambda: None if isinstance(context.error(), TimeoutError) else own.cancel())
        try:
            super().deliver(own, metrics)
        finally:
            handle.unregister()


class AccumulatesRejected(Pool):
    """Adds rejected points up over its life: after one partial success every export raises it again."""

    rejected = 0

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except PartialSuccessError as error:
            self.rejected += error.rejected_points
        if self.rejected:
            raise PartialSuccessError("the backend refused some points", rejected_points=self.rejected)
