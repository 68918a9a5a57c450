"""Right exporters with a queue and a thread."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import deque

from exporter_core import Exporter, ExporterError, ExporterShutdownError
from third_party.local_base import ALL, PathConfig
from third_party.local_encoder import LineEncoder
from third_party.local_harnesses import HeldFileHarness


class QueueExporter(Exporter[PathConfig]):
    """Has a queue and a thread that writes it to a file; the thread ends when there is nothing to do."""

    conformance_harness = HeldFileHarness
    enc = LineEncoder()
    ROOM = 100000

    def __init__(self, config):
        super().__init__(config)
        self._fresh()
        ALL.add(self)

    def _fresh(self):
        self._cv = threading.Condition()
        self._items = deque()
        self._accepted = self._finished = self._reported = 0
        self._failed = []
        self._thread = None
        self._down = getattr(self, "_down", False)
        self._abandon = False

    def export(self, context, metrics):
        if self._down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        data = self.encode(metrics)
        with self._cv:
            while len(self._items) >= self.ROOM and not self._down:
                context.raise_if_done()
                self._cv.wait(0.02)
            if self._down:
                raise ExporterShutdownError("shut down")
            self.accept(data)

    def encode(self, metrics):
        return self.enc.line(metrics)

    def accept(self, data):
        self._items.append(data)
        self._accepted += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        self._cv.notify_all()

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
            except Exception as problem:
                error = problem
            with self._cv:
                if self._items:
                    self._items.popleft()
                self._finished += 1
                if error is not None:
                    self._failed.append((self._finished, error))
                self._cv.notify_all()

    def write(self, data):
        size = os.stat(self.config.path).st_size if os.path.isfile(self.config.path) else None
        with open(self.config.path, "ab", buffering=0) as file:
            left = memoryview(data)
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                if size is not None or len(left) < len(data):
                    file.truncate(size or 0)
                raise

    def _drain(self, context):
        """Under the lock: wait for all that was accepted, and raise what failed."""
        target, since = self._accepted, self._reported
        while self._finished < target and not self._abandon:
            context.raise_if_done()
            self._cv.wait(0.02)
        if self._finished < target:
            raise ExporterShutdownError("shut down before all was delivered")
        failed = [error for number, error in self._failed if since < number <= target]
        self._reported = max(self._reported, target)
        self._failed = [one for one in self._failed if one[0] > target]
        if failed:
            raise ExporterError(f"{len(failed)} batches were not written") from failed[0]

    def force_flush(self, context):
        context.raise_if_done()
        with self._cv:
            self._drain(context)

    def shutdown(self, context):
        with self._cv:
            if self._down:
                raise ExporterShutdownError("shut down")
            self._down = True
            thread = self._thread
            try:
                self._drain(context)
            finally:
                self._abandon = True
                self._cv.notify_all()
        if thread is not None:
            thread.join(0.2 if not context.done else 0.02)
        context.raise_if_done()


class SlowOpen(QueueExporter):
    """Waits for up to four milliseconds before it opens the file."""

    def write(self, data):
        time.sleep(random.random() * 0.004)
        super().write(data)
