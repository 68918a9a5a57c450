"""The right MetricExporter of the OpenTelemetry SDK that others are made from."""

from __future__ import annotations

import logging
import os
import threading
import weakref

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from exporter_core import Context, PartialSuccessError
from exporter_core.authoring import keep_untouched
from exporter_core.otlp import encode
from third_party.late_transport import HttpConfig, Sender

LOG = logging.getLogger(__name__)
ALIVE: weakref.WeakSet = weakref.WeakSet()


def _after_fork() -> None:
    for exporter in list(ALIVE):
        exporter.begin_anew()


os.register_at_fork(after_in_child=_after_fork)


class SdkHttp(MetricExporter):
    """Right: an exporter of the SDK, over HTTP."""

    sender_class = Sender

    def __init__(self, endpoint: str, token: str = "") -> None:
        super().__init__()
        self.config = HttpConfig(endpoint=endpoint, token=token)
        self.sender = self.sender_class(self.config)
        self.lock = threading.Lock()
        self.life = Context.background()
        self.down = False
        ALIVE.add(self)

    def begin_anew(self) -> None:
        keep_untouched(*self.sender.inherited())
        self.sender = self.sender_class(self.config)
        self.lock = threading.Lock()
        self.life = Context.background()

    def encode(self, metrics: MetricsData) -> bytes:
        return encode(metrics)

    def export(self, metrics_data, timeout_millis: float = 10_000, **kwargs) -> MetricExportResult:
        if self.down:
            LOG.warning("exported after shutdown")
            return MetricExportResult.FAILURE
        context = self.life.child(timeout=timeout_millis / 1000)
        if not self.lock.acquire(timeout=timeout_millis / 1000):
            return MetricExportResult.FAILURE
        try:
            if self.down:
                return MetricExportResult.FAILURE
            self.deliver(context, metrics_data)
        except PartialSuccessError as error:
            LOG.warning("%d points were rejected", error.rejected_points)
            return MetricExportResult.FAILURE
        except Exception as error:
            LOG.error("the export failed: %s", type(error).__name__)
            return MetricExportResult.FAILURE
        finally:
            self.lock.release()
        return MetricExportResult.SUCCESS

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        self.sender.send(context, self.encode(metrics))

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs) -> None:
        if self.down:
            LOG.warning("shut down before")
            return
        self.down = True
        if not self.lock.acquire(timeout=max(timeout_millis, 0) / 1000):
            self.life.cancel("shut down")
            self.lock.acquire()
        self.sender.close()
        self.lock.release()
