"""Wrong exporters in their texts, clocks, locks, logs and statuses."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import unicodedata
import weakref
from dataclasses import replace

from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource

from exporter_core import Context, ExporterError
from third_party.open_transport import Again, HttpClient
from third_party.right_open_holding import HttpQueue
from third_party.right_open_http import HttpSerial
from third_party.wrong_open_content import Rewrites

log = logging.getLogger("open.f")


_LOCK = threading.Lock()


class _LocksConnecting(HttpClient):
    def connect(self, context):
        while not _LOCK.acquire(timeout=0.02):
            context.raise_if_done()
        try:
            super().connect(context)
        finally:
            _LOCK.release()


class LocksConnecting(HttpSerial):
    """Connects under a lock of the module's that a child, forked at that moment, inherits locked: it never connects."""

    client_class = _LocksConnecting


class FlushesWhenItExits(HttpQueue):
    """Flushes at the interpreter's exit without a time-out."""

    def __init__(self, config):
        super().__init__(config)
        me = weakref.ref(self)

        def flush():
            exporter = me()
            if exporter is not None and not exporter.is_shut_down:
                exporter.force_flush(Context.background())

        atexit.register(flush)
        weakref.finalize(self, atexit.unregister, flush).atexit = False


class JoinsSequences(Rewrites):
    """Sends attributes that are sequences as one text, joined by commas."""

    def point(self, metric, point):
        return replace(
            point,
            attributes={
                k: ",".join(map(str, v)) if isinstance(v, (list, tuple)) else v
                for k, v in (point.attributes or {}).items()
            },
        )


class UnitOne(HttpSerial):
    """Sends the unit "1" as no unit."""

    def encode(self, metrics):
        return super().encode(
            MetricsData(
                [
                    replace(
                        r,
                        scope_metrics=[
                            replace(s, metrics=[replace(m, unit="" if m.unit == "1" else m.unit) for m in s.metrics])
                            for s in r.scope_metrics
                        ],
                    )
                    for r in metrics.resource_metrics
                ]
            )
        )


class StripsValues(Rewrites):
    """Strips white space from attribute values."""

    def point(self, metric, point):
        return replace(
            point, attributes={k: v.strip() if isinstance(v, str) else v for k, v in (point.attributes or {}).items()}
        )


class NormalisesText(Rewrites):
    """Normalises attribute values to NFC."""

    def point(self, metric, point):
        return replace(
            point,
            attributes={
                k: unicodedata.normalize("NFC", v) if isinstance(v, str) else v
                for k, v in (point.attributes or {}).items()
            },
        )


class ExemplarsWithoutAttributes(Rewrites):
    """Sends exemplars without their filtered attributes."""

    def point(self, metric, point):
        return replace(point, exemplars=[replace(e, filtered_attributes={}) for e in point.exemplars or ()])


class DropsSdkAttributes(HttpSerial):
    """Leaves out the resource's telemetry.sdk.* attributes, to save bytes."""

    def encode(self, metrics):
        return super().encode(
            MetricsData(
                [
                    replace(
                        r,
                        resource=Resource(
                            {k: v for k, v in r.resource.attributes.items() if not k.startswith("telemetry.sdk.")},
                            r.resource.schema_url,
                        ),
                    )
                    for r in metrics.resource_metrics
                ]
            )
        )


class SkipsPointsNoNewer(Rewrites):
    """Leaves out points that are not newer than the last one of their series, as if they would be refused."""

    def __init__(self, config):
        super().__init__(config)
        self.last = {}

    def point(self, metric, point):
        key = (metric.name, str(sorted((k, str(v)) for k, v in (point.attributes or {}).items())))
        if self.last.get(key, -1) >= point.time_unix_nano:
            return None
        self.last[key] = point.time_unix_nano
        if len(self.last) > 50000:
            self.last.clear()
        return point


class UnboundedCache(Rewrites):
    """Caches a text for every attribute set that it has ever seen, and never forgets one."""

    def __init__(self, config):
        super().__init__(config)
        self.cache = {}

    def point(self, metric, point):
        key = repr(point.attributes)
        self.cache.setdefault(key, key * 3)
        return point


class _ElapsedByWallClock(HttpClient):
    def send(self, context, body):
        self.begun = time.time()
        return super().send(context, body)

    def attempt(self, context, body):
        try:
            return super().attempt(context, body)
        except Again as error:
            if time.time() - self.begun > 60:
                raise ExporterError(f"gave up after a minute: {error}") from error
            raise


class ElapsedByWallClock(HttpSerial):
    """Counts the minute that it tries for by time.time(): a step of the clock ends the retrying, with time left."""

    client_class = _ElapsedByWallClock


class _LogsAtDebug(HttpClient):
    def request(self, context, body):
        log.debug("request: %s", self.headers(body))
        return super().request(context, body)


class LogsAtDebug(HttpSerial):
    """Logs the headers of each request, at the level DEBUG."""

    client_class = _LogsAtDebug


class LastPointWins(HttpSerial):
    """Keeps one point for each set of attributes of a metric, the last one."""

    def encode(self, metrics):
        def unique(points):
            kept = {}
            for p in points:
                kept[tuple(sorted((k, type(v).__name__, str(v)) for k, v in (p.attributes or {}).items()))] = p
            return list(kept.values())

        return super().encode(
            MetricsData(
                [
                    replace(
                        r,
                        scope_metrics=[
                            replace(
                                s,
                                metrics=[
                                    replace(m, data=replace(m.data, data_points=unique(m.data.data_points)))
                                    for m in s.metrics
                                ],
                            )
                            for s in r.scope_metrics
                        ],
                    )
                    for r in metrics.resource_metrics
                ]
            )
        )


class _SocketTimeoutAtConnect(HttpClient):
    def connect(self, context):
        super().connect(context)
        self.sock.settimeout(context.remaining())

    def request(self, context, body):
        if self.sock is not None and self.is_stale():
            self.close()
        if self.sock is None:
            self.connect(context)
        try:
            self.write(context, self.sock, ("\r\n".join(self.headers(body)) + "\r\n\r\n").encode() + body)
            answer, keep = self.read_answer(context, self.sock)
        except BaseException:
            self.close()
            raise
        if not keep:
            self.close()
        return answer


class SocketTimeoutAtConnect(HttpSerial):
    """Sets the socket's time-out where it connects: a kept-alive connection has that of an earlier export."""

    client_class = _SocketTimeoutAtConnect


class _SilentOn404(HttpClient):
    def judge(self, answer):
        if answer.status in (405, 410, 501):
            log.warning("the server does not take metrics")
            return 0
        return super().judge(answer)


class SilentOn501(HttpSerial):
    """Takes 405, 410 and 501 for a server that does not want metrics: logs, and returns."""

    client_class = _SilentOn404


class _BadGatewayIsFinal(HttpClient):
    def judge(self, answer):
        if answer.status in (502, 504):
            raise ExporterError(f"the server answered {answer.status}")
        return super().judge(answer)


class BadGatewayIsFinal(HttpSerial):
    """Tries again after 503 and 429 alone: one 502 or 504 of a load balancer loses the batch."""

    client_class = _BadGatewayIsFinal
