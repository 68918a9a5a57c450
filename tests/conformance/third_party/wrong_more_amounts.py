"""Further wrong exporters whose fault depends on how much, how often, how old and how fast."""

from __future__ import annotations

import json
import struct
import time
from typing import TYPE_CHECKING, Any

from exporter_core import ExporterError
from third_party.right import PlainExporter, PooledExporter
from third_party.right_more import SplittingExporter
from third_party.transport import Wire, address_of, judge, post, read_answer, request_bytes
from third_party.wrong_amounts import EditingExporter, series_of
from third_party.wrong_encoding import points_of

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core import Context
    from third_party.transport import Answer, HttpConfig


def key_of(name: str, point: dict[str, Any]) -> str:
    """Return a text for the series of a point."""
    return name + json.dumps(point.get("attributes", []), sort_keys=True)


class SeriesLimitOfALifetime(EditingExporter):
    """The cardinality is limited: the 2001st series of an exporter's life, and all later ones, are left out."""

    most = 2000

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.known: set[str] = set()

    def edit(self, document: dict[str, Any]) -> None:
        for name, points in series_of(document):
            kept = []
            for point in points:
                key = key_of(name, point)
                if len(self.known) < self.most:
                    self.known.add(key)
                if key in self.known:
                    kept.append(point)
            points[:] = kept


class SamplesLargeBatches(EditingExporter):
    """Of a batch with more than 10,000 points every other one is sent, to spare the backend."""

    def edit(self, document: dict[str, Any]) -> None:
        if sum(1 for _ in points_of(document)) > 10_000:
            for _, points in series_of(document):
                del points[1::2]


class SkipsOldPoints(EditingExporter):
    """A point that is not newer than everything sent before is taken for one that was sent already."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.newest = -1

    def edit(self, document: dict[str, Any]) -> None:
        newest = self.newest
        for _, points in series_of(document):
            newest = max([newest, *(int(point.get("timeUnixNano", 0)) for point in points)])
            points[:] = [point for point in points if int(point.get("timeUnixNano", 0)) > self.newest]
        self.newest = newest


class KeepsLastOfSeries(EditingExporter):
    """Points are kept by their attributes: of several of one series in a batch, only the last one is sent."""

    def edit(self, document: dict[str, Any]) -> None:
        for name, points in series_of(document):
            points[:] = {key_of(name, point): point for point in points}.values()


class DropsStalePoints(EditingExporter):
    """A point that is older than an hour is dropped, since the backend would refuse it."""

    def edit(self, document: dict[str, Any]) -> None:
        limit = time.time_ns() - 3_600_000_000_000
        for _, points in series_of(document):
            points[:] = [point for point in points if int(point.get("timeUnixNano", 0)) >= limit]


class ThrottlesExports(PlainExporter):
    """An export within a tenth of a second of the last one returns without sending: that is too often."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.last = 0.0

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        since, self.last = time.monotonic() - self.last, time.monotonic()
        if since >= 0.1:
            super().deliver(context, metrics)
            self.last = time.monotonic()


class NumbersRequestsInAByte(PlainExporter):
    """Requests are numbered in a signed byte: the 129th export of an exporter's life raises struct.error."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.number = 0

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        self.header = struct.pack("b", self.number)
        super().deliver(context, metrics)
        self.number += 1


class ExpiresWhenIdle(PooledExporter):
    """An export that finds a connection idle for more than a second closes it and fails, instead of connecting anew."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.used = time.monotonic()

    def take(self, context: Context) -> Wire:
        is_old = time.monotonic() - self.used > 1
        self.used = time.monotonic()
        if is_old and self.idle:
            for wire in self.idle:
                wire.close()
            self.idle.clear()
            raise ExporterError("the connection has expired")
        return super().take(context)


class LastRequestDecides(SplittingExporter):
    """A batch is sent as a request for each metric, and only the failure of the last request is raised."""

    def send_all(self, context: Context, bodies: list[bytes]) -> None:
        failure: Exception | None = None
        for body in bodies:
            failure = None
            try:
                self.send(context, body)
            except ExporterError as error:
                context.raise_if_done()
                failure = error
        if failure is not None:
            raise failure


class StartsOverWhenBusy(SplittingExporter):
    """A batch is sent as a request for each metric; where one is answered 503, all are sent again from the first."""

    def send_all(self, context: Context, bodies: list[bytes]) -> None:
        *others, last = bodies

        def attempt(running: Context):
            for body in others:
                answer = self.attempt(running, body)
                if answer.status != 200:
                    return answer
                judge(answer)
            return self.attempt(running, last)

        post(context, attempt)


class ForgetsTheRestOfABatch(SplittingExporter):
    """Of a batch with more than 100 metrics the first 100 are sent; the rest is kept for later, and never sent."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.rest: list[bytes] = []

    def send_all(self, context: Context, bodies: list[bytes]) -> None:
        self.rest = bodies[100:]
        super().send_all(context, bodies[:100])


class OverlappingChunks(EditingExporter):
    """More than 1000 points of a metric go out in chunks that overlap by one: the point between two is sent twice."""

    def edit(self, document: dict[str, Any]) -> None:
        for _, points in series_of(document):
            if len(points) > 1000:
                chunks = [points[start : start + 1001] for start in range(0, len(points), 1000)]
                points[:] = [point for chunk in chunks for point in chunk]


class NamesInHeaders(PlainExporter):
    """A header has the name of the first metric, and headers are Latin-1: other names raise UnicodeEncodeError."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        names = [
            metric.name
            for resource in metrics.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        self.header = f"X-Metric-Name: {names[0] if names else ''}\r\n".encode("latin-1")
        super().deliver(context, metrics)

    def attempt(self, context: Context, body: bytes) -> Answer:
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
            request = request_bytes(self.config.endpoint, body, self.config.token.get_secret_value())
            wire.send(context, request.replace(b"\r\n\r\n", b"\r\n" + self.header + b"\r\n", 1))
            return read_answer(lambda: wire.receive(context))
        finally:
            wire.close()
