"""Right exporters of the SDK's interface."""

from __future__ import annotations

import os
import threading
from collections import deque

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult

from third_party.local_base import ALL
from third_party.local_encoder import LineEncoder
from third_party.local_harnesses import SdkFileHarness, SdkHeldFileHarness


class SdkFile(MetricExporter):
    """Has the SDK's interface, and writes a line a batch."""

    conformance_harness = SdkFileHarness
    enc = LineEncoder()

    def __init__(self, path, preferred_temporality=None, preferred_aggregation=None):
        super().__init__(preferred_temporality, preferred_aggregation)
        self._path = path
        self._lock = threading.Lock()
        self._down = False
        ALL.add(self)

    def _fresh(self):
        self._lock = threading.Lock()

    def write(self, data):
        size = os.stat(self._path).st_size if os.path.isfile(self._path) else 0
        with open(self._path, "ab", buffering=0) as file:
            left = memoryview(data)
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                file.truncate(size)
                raise

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        if not self._lock.acquire(timeout=timeout_millis / 1000):
            return MetricExportResult.FAILURE
        try:
            if self._down:
                return MetricExportResult.FAILURE
            self.write(self.enc.line(metrics_data))
        except OSError:
            return MetricExportResult.FAILURE
        finally:
            self._lock.release()
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis=10_000):
        if not self._lock.acquire(timeout=timeout_millis / 1000):
            return False
        self._lock.release()
        return True

    def shutdown(self, timeout_millis=30_000, **kwargs):
        self._down = True
        if self._lock.acquire(timeout=timeout_millis / 1000):
            self._lock.release()


class SdkQueue(MetricExporter):
    """Has the SDK's interface over a queue and a thread."""

    conformance_harness = SdkHeldFileHarness
    enc = LineEncoder()

    def __init__(self, path, preferred_temporality=None, preferred_aggregation=None):
        super().__init__(preferred_temporality, preferred_aggregation)
        self._path = path
        self._fresh()
        ALL.add(self)

    def _fresh(self):
        self._cv = threading.Condition()
        self._items = deque()
        self._accepted = self._finished = 0
        self._bad = []
        self._thread = None
        self._down = getattr(self, "_down", False)
        self._abandon = False

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        data = self.enc.line(metrics_data)
        with self._cv:
            if self._down:
                return MetricExportResult.FAILURE
            self._items.append(data)
            self._accepted += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
        return MetricExportResult.SUCCESS

    def _work(self):
        while True:
            with self._cv:
                if self._abandon:
                    self._items.clear()
                if not self._items:
                    self._thread = None
                    self._cv.notify_all()
                    return
                data = self._items[0]
            error = None
            try:
                self.write(data)
            except OSError as problem:
                error = problem
            with self._cv:
                if self._items:
                    self._items.popleft()
                self._finished += 1
                if error:
                    self._bad.append(error)
                self._cv.notify_all()

    write = SdkFile.write

    def _drain(self, millis):
        target = self._accepted
        if not self._cv.wait_for(lambda: self._finished >= target or self._abandon, millis / 1000):
            raise TimeoutError("not all was written in time")
        if self._finished < target:
            raise RuntimeError("shut down before all was written")
        bad, self._bad = self._bad, []
        if bad:
            raise RuntimeError(f"{len(bad)} batches were not written") from bad[0]

    def force_flush(self, timeout_millis=10_000):
        with self._cv:
            self._drain(timeout_millis)
        return True

    def shutdown(self, timeout_millis=30_000, **kwargs):
        with self._cv:
            if self._down:
                return
            self._down = True
            thread = self._thread
            try:
                self._drain(timeout_millis)
            finally:
                self._abandon = True
                self._cv.notify_all()
        if thread is not None:
            thread.join(0.2)
