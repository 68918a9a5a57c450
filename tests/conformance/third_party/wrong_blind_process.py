"""Wrong exporters in the interface, and in what they share with the process and each other."""

from __future__ import annotations

import logging
import os
import threading
from urllib.parse import urlsplit

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.metrics.view import DefaultAggregation, ExponentialBucketHistogramAggregation

from exporter_core import Context, ExporterError, InstrumentKind
from third_party.blind_base import Base
from third_party.blind_encoder import Enc
from third_party.blind_wire import Http, send
from third_party.right_blind_http import HelperProcess, Remote


class TableWithoutObservables(Base):
    """Takes the aggregation from a table in which the observable kinds are missing."""

    def aggregation(self, instrument_kind):
        return {
            InstrumentKind.COUNTER: DefaultAggregation(),
            InstrumentKind.UP_DOWN_COUNTER: DefaultAggregation(),
            InstrumentKind.HISTOGRAM: ExponentialBucketHistogramAggregation(),
            InstrumentKind.GAUGE: DefaultAggregation(),
        }.get(instrument_kind)


class SetsNoProxy(Base):
    """Keeps proxies away from the backend by setting NO_PROXY in the environment of the process."""

    def __init__(self, config):
        super().__init__(config)
        host = urlsplit(config.endpoint).hostname
        os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), host]))


class Session(Http):
    closed_for_good = False

    def post(self, *a, **k):
        if self.closed_for_good:
            raise ExporterError("the session is closed")
        return super().post(*a, **k)


SESSIONS = {}


def session(config):
    key = "http"
    s = SESSIONS.get(key)
    if s is None or s.closed_for_good:
        s = SESSIONS[key] = Session(config.endpoint)
        s.users = 0
    s.users += 1
    return s


class ClosesSharedSession(Base):
    """Has one session for the whole process, which the first shutdown of an exporter closes for good."""

    def __init__(self, config):
        super().__init__(config)
        self.http = session(config)

    def deliver(self, context, metrics):
        h = Http(self.config.endpoint)
        self.http.host, self.http.port = h.host, h.port
        super().deliver(context, metrics)

    def release(self, context):
        self.http.users -= 1
        self.http.closed_for_good = True
        self.http.close()


class Unwaited(Remote):
    def close(self):
        p, self.proc = self.proc, None
        if p is not None:
            self.guard.detach()
            p.kill()
            p.stdin.close()
            p.stdout.close()
            p.returncode = None


class NeverWaitsForHelper(HelperProcess):
    """Kills its helper process and never waits for it: a zombie each time."""

    remote = Unwaited


LOG = logging.getLogger(__name__)


class SdkIgnoresWhenClosed(MetricExporter):
    """After a shutdown warns, ignores the batch and answers SUCCESS."""

    def __init__(self, endpoint):
        super().__init__()
        self.http, self.enc, self.closed, self.lock = Http(endpoint), Enc(), False, threading.Lock()
        self.running = None

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        if self.closed:
            LOG.warning("exporter already shut down, ignoring the batch")
            return MetricExportResult.SUCCESS
        self.running = context = Context.with_timeout(timeout_millis / 1000)
        try:
            with self.lock:
                send(context, self.http, self.enc.encode(metrics_data), {"Content-Type": "application/x-protobuf"})
            return MetricExportResult.SUCCESS
        except Exception as e:
            LOG.error("export failed: %s", e)
            return MetricExportResult.FAILURE

    def force_flush(self, timeout_millis=10_000):
        return True

    def shutdown(self, timeout_millis=30_000, **kwargs):
        if self.closed:
            return
        self.closed = True
        if not self.lock.acquire(timeout=timeout_millis / 1000):
            if self.running:
                self.running.cancel()
            self.lock.acquire()
        self.http.close()
        self.lock.release()
