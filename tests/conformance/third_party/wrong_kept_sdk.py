"""Wrong exporters of the SDK's interface."""

from __future__ import annotations

import logging
import threading

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExportResult

from third_party.local_base import ALL
from third_party.right_kept_sdk import SdkFile, SdkQueue


class TakesMillisForSeconds(SdkQueue):
    """Takes milliseconds for seconds."""

    def _drain(self, millis):
        super()._drain(millis * 1000)


class ReturnsNone(SdkFile):
    """Returns nothing from an export that was good."""

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        result = super().export(metrics_data, timeout_millis, **kwargs)
        if result is not MetricExportResult.SUCCESS:
            return result


class TrueOnTimeout(SdkQueue):
    """Answers a flush with True when the time is up."""

    def force_flush(self, timeout_millis=10_000):
        with self._cv:
            target = self._accepted
            self._cv.wait_for(lambda: self._finished >= target, timeout_millis / 1000)
            bad, self._bad = self._bad, []
        return not bad


class WarnsAfterShutdown(SdkFile):
    """Answers an export after the shutdown with SUCCESS, and a warning."""

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        if self._down:
            logging.getLogger("mine").warning("already shut down")
            return MetricExportResult.SUCCESS
        return super().export(metrics_data, timeout_millis, **kwargs)


class NoSuperInit(SdkFile):
    """Does not call the constructor of the base class, so that a reader finds no preferences."""

    def __init__(self, path):
        self._path = path
        self._lock = threading.Lock()
        self._down = False
        ALL.add(self)


class ShutdownDrops(SdkQueue):
    """Shutdown drops what is queued."""

    def shutdown(self, timeout_millis=30_000, **kwargs):
        with self._cv:
            self._down = self._abandon = True
            thread = self._thread
        if thread is not None:
            thread.join(timeout_millis / 1000)


class AnySuccess(SdkFile):
    """Catches every exception of an export, logs it, and answers SUCCESS."""

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        try:
            with self._lock:
                if self._down:
                    return MetricExportResult.FAILURE
                self.write(self.enc.line(metrics_data))
        except Exception:
            logging.getLogger("mine").exception("export")
        return MetricExportResult.SUCCESS


class DropsEmptyInPlace(SdkFile):
    """Takes metrics without points out of the caller's own lists."""

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        for r in metrics_data.resource_metrics:
            for s in r.scope_metrics:
                if isinstance(s.metrics, list):
                    s.metrics[:] = [m for m in s.metrics if m.data.data_points]
        return super().export(metrics_data, timeout_millis, **kwargs)


class LosesFlushFailure(SdkQueue):
    """Logs the failure of a flush, and answers True."""

    def force_flush(self, timeout_millis=10_000):
        try:
            super().force_flush(timeout_millis)
        except RuntimeError:
            logging.getLogger("mine").exception("flush")
        return True


class ShutdownFlushesForever(SdkQueue):
    """Shutdown waits for the thread without a time-out."""

    def shutdown(self, timeout_millis=30_000, **kwargs):
        with self._cv:
            if self._down:
                return
            self._down = True
            self._cv.wait_for(lambda: self._finished >= self._accepted)
            bad, self._bad = self._bad, []
        if bad:
            raise RuntimeError("not written")


class KwargNames(SdkFile):
    """Names the parameter timeout instead of timeout_millis."""

    def export(self, metrics_data, timeout=10):
        return super().export(metrics_data, timeout * 1000)


class WrongPreferenceKeys(SdkFile):
    """Hands names of instruments to the base class instead of their classes."""

    def __init__(self, path):
        super().__init__(path, {"Counter": AggregationTemporality.DELTA})
