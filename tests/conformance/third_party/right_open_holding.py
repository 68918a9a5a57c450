"""A right exporter that holds batches in a queue, which a worker thread sends; flush and shutdown wait for it."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque

from exporter_core import (
    Context,
    ContextCancelledError,
    Exporter,
    ExporterError,
    ExporterShutdownError,
    PartialSuccessError,
)
from exporter_core.authoring import keep_untouched
from exporter_core.conformance import Capabilities
from exporter_core.otlp import Encoder
from third_party.open_transport import HttpClient, HttpConfig, HttpHarness

ALIVE = weakref.WeakSet()


def _after_fork():
    for exporter in list(ALIVE):
        exporter.begin_anew()


os.register_at_fork(after_in_child=_after_fork)


class QueueHarness(HttpHarness):
    capabilities = Capabilities(holds=True)


class Item:
    def __init__(self, data):
        self.data = data
        self.done = False
        self.error = None
        self.rejected = 0


class HttpQueue(Exporter[HttpConfig]):
    """Holds encoded batches, which a worker thread sends that ends when there is nothing to do."""

    conformance_harness = QueueHarness
    client_class = HttpClient
    max_bytes = 64 * 1024 * 1024
    max_points = 2000
    request_seconds = 30.0

    def __init__(self, config):
        super().__init__(config)
        self.encoder = Encoder()
        self.client = self.client_class(config)
        self.is_shut_down = False
        self.fresh()
        ALIVE.add(self)

    def fresh(self):
        self.condition = threading.Condition()
        self.queue = deque()
        self.held = 0
        self.unreported = []
        self.worker = None
        self.working = Context.background()

    def begin_anew(self):
        keep_untouched(self.condition, self.worker, self.working)
        self.fresh()
        self.client.forget()

    # --- export
    def encode(self, metrics):
        requests = self.encoder.split(metrics, max_points=self.max_points)
        bodies = [request.data for request in requests]
        return bodies, len(requests.dropped)

    def export(self, context, metrics):
        if self.is_shut_down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        bodies, dropped = self.encode(metrics)
        size = sum(map(len, bodies))
        with self.condition:
            if self.is_shut_down:
                raise ExporterShutdownError("shut down")
            self.make_room(context, size)
            for body in bodies:
                self.queue.append(Item(body))
                self.held += len(body)
            if self.queue:
                self.start_worker()
        if dropped:
            raise PartialSuccessError("points that OTLP cannot hold", rejected_points=dropped)

    def make_room(self, context, size):
        if self.queue and self.held + size > self.max_bytes:
            raise ExporterError("the queue is full")

    def start_worker(self):
        if self.worker is None:
            self.worker = threading.Thread(target=self.work, name="open-worker", daemon=True)
            self.worker.start()

    def work(self):
        me = threading.current_thread()
        while True:
            with self.condition:
                if not self.queue or self.worker is not me:
                    if self.worker is me:
                        self.worker = None
                    return
                item = self.queue[0]
            try:
                item.rejected = self.client.send(self.working.child(timeout=self.request_seconds), item.data)
            except Exception as error:  # noqa: BLE001 - whoever waits is told
                item.error = error
            with self.condition:
                self.finish(item)

    def finish(self, item):
        if self.queue and self.queue[0] is item:
            self.queue.popleft()
            self.held -= len(item.data)
        item.done = True
        item.data = b""
        if item.error is not None or item.rejected:
            self.unreported.append(item)
        self.condition.notify_all()

    # --- flush
    def wait_for(self, context, items):
        """Under the lock: until all are done, or the context is."""

        def wake():
            with self.condition:
                self.condition.notify_all()

        handle = None
        self.condition.release()
        try:
            handle = context.on_done(wake)
        finally:
            self.condition.acquire()
        try:
            while not all(item.done for item in items) and not context.done:
                self.condition.wait()
        finally:
            handle.unregister()

    def settle(self, items):
        """Under the lock: the error to raise for these, each told once."""
        rejected, first = 0, None
        count = 0
        for item in items:
            if item in self.unreported:
                self.unreported.remove(item)
            rejected += item.rejected
            if item.error is not None:
                first = first or item.error
                count += 1
        if first is not None:
            error = ExporterError(f"{count} batches were not delivered: {first}")
            error.__cause__ = first
            return error
        if rejected:
            return PartialSuccessError("the server refused points", rejected_points=rejected)
        return None

    def force_flush(self, context):
        if self.is_shut_down and self.worker is None:
            return
        context.raise_if_done()
        with self.condition:
            items = self.unreported + list(self.queue)
            self.wait_for(context, items)
            if not all(item.done for item in items):
                context.raise_if_done()
            error = self.settle(items)
        if error is not None:
            raise error

    def shutdown(self, context):
        with self.condition:
            if self.is_shut_down:
                raise ExporterShutdownError("shut down")
            self.is_shut_down = True
            items = self.unreported + list(self.queue)
            worker = self.worker
            self.wait_for(context, items)
        self.working.cancel("the exporter is shut down")
        if worker is not None:
            worker.join(5)
        with self.condition:
            for item in self.queue:
                item.done, item.error = True, ContextCancelledError("the exporter is shut down")
            self.queue.clear()
            self.condition.notify_all()
            error = self.settle(items)
        self.release()
        context.raise_if_done()
        if error is not None:
            raise error

    def release(self):
        self.client.close()
