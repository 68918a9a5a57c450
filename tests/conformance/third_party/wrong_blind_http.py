"""Wrong exporters in how they send, try again and read answers."""

from __future__ import annotations

import gzip
import logging
import time
from urllib.parse import urljoin

from exporter_core import DeadlineExceededError
from exporter_core.authoring import keep_untouched
from third_party.blind_base import Base
from third_party.blind_wire import Http, judge, send


class RetryDateIsAnError(Base):
    """Reads Retry-After with int(): a date in it ends the export with a ValueError."""

    def deliver(self, context, metrics):
        send(context, self.http, self.encode(metrics), self.headers(), retry_after=lambda v: int(v) if v else 0)


class FollowsLikeABrowser(Base):
    """Follows redirects to a page, and takes the page's 200 for success."""

    def deliver(self, context, metrics):
        body = self.encode(metrics)

        def follow(answer):
            hops = 0
            while answer.status in (301, 302, 303, 307, 308) and hops < 5:
                url = urljoin(self.config.endpoint, answer.headers["location"])
                other = Http(url)
                try:
                    answer = other.post(context, body, self.headers())
                finally:
                    other.close()
                hops += 1
            if hops and answer.status == 200:
                return
            judge(answer)

        send(context, self.http, body, self.headers(), judge=follow)


class GzipHeaderSticks(Base):
    """Compresses above 1 KiB, and keeps Content-Encoding among its headers for the next plain body."""

    def __init__(self, config):
        super().__init__(config)
        self.session_headers = self.headers()

    def deliver(self, context, metrics):
        body = self.encode(metrics)
        if len(body) > 1024:
            self.session_headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body)
        send(context, self.http, body, self.session_headers)


LOG = logging.getLogger(__name__)


class LogsRetriedHeaders(Base):
    """Logs each failed attempt at DEBUG with the request's headers, the token among them."""

    def deliver(self, context, metrics):
        headers = self.headers()

        def pause(s):
            LOG.debug("retrying in %.1f s: POST %s %r", s, self.http.path, headers)
            context.wait(s)

        send(context, self.http, self.encode(metrics), headers, pause=pause)


class Budget:
    def __init__(self, context):
        self.context = context
        left = context.remaining()
        self.end = None if left is None else time.time() + left

    def _late(self):
        return self.end is not None and time.time() >= self.end

    @property
    def done(self):
        return self._late() or (self.context.done and self.context.remaining() != 0)

    def error(self):
        return self.context.error() or DeadlineExceededError("the time is up")

    def raise_if_done(self):
        if self.done:
            raise self.error()

    def wait(self, s):
        until = time.time() + s
        while time.time() < until and not self.done:
            time.sleep(0.02)
        return self.done


class WallClockBudget(Base):
    """Computes the budget of an export with time.time(), and obeys that in the place of the deadline."""

    def deliver(self, context, metrics):
        send(Budget(context), self.http, self.encode(metrics), self.headers())


class LosesPoolSlots(Base):
    """Borrows one of four connections for each request, and does not give it back when the request failed."""

    def __init__(self, config):
        super().__init__(config)
        self.fill()

    def fill(self):
        self.free, self.out = [Http(self.config.endpoint) for _ in range(4)], []

    def deliver(self, context, metrics):
        body = self.encode(metrics)
        while not self.free:
            if context.wait(0.02):
                raise context.error()
        http = self.free.pop()
        self.out.append(http)
        send(context, http, body, self.headers())
        self.out.remove(http)
        self.free.append(http)

    def release(self, context):
        for h in self.free + self.out:
            h.close()

    def begin_anew(self):
        self.kept = (self.free, self.out)
        keep_untouched(*[h.sock for h in self.free + self.out])
        self.fill()
