"""Right exporters with a queue and a worker thread."""

from __future__ import annotations

import collections
import threading
import weakref

from exporter_core import Context, Exporter, ExporterError, ExporterShutdownError, PartialSuccessError
from exporter_core.authoring import keep_untouched
from exporter_core.conformance import Capabilities
from exporter_core.otlp import Encoder
from third_party.right_wild_http import WildHttp
from third_party.wild_base import NetConfig, WildHttpHarness, attempts, holding, told


class Waiter:
    def __init__(self, target):
        self.target = target
        self.errors = []


class WildQueueHarness(WildHttpHarness):
    capabilities = Capabilities(holds=True)


class WildQueue(Exporter[NetConfig]):
    """Puts encoded batches into a queue for a worker, which sends them over HTTP and ends when the queue is empty."""

    conformance_harness = WildQueueHarness

    room_batches = 2000
    room_bytes = 16_000_000
    daemon = True

    def __init__(self, config):
        super().__init__(config)
        self._http = WildHttp(config)
        self._encoder = Encoder()
        self.closed = False
        self.reset()
        self.enlist()

    def enlist(self):
        holding.add(self)

    def reset(self):
        self.lock = threading.Condition()
        self.items = collections.deque()
        self.bytes = 0
        self.accepted = self.finished = 0
        self.failed = []
        self.waiters = []
        self.worker = None
        self.stop = Context.background()

    def after_fork(self):
        keep_untouched(self.worker, self.lock, self.stop)
        self._http.begin_anew()
        self.reset()
        self._encoder = Encoder()

    # waiting
    def wait_for(self, context, condition):
        """Under the lock: wait until the condition holds, or raise the context's error."""

        def wake():
            with self.lock:
                self.lock.notify_all()

        handle = None
        if not condition():
            self.lock.release()
            try:
                handle = context.on_done(wake)
            finally:
                self.lock.acquire()
        try:
            while not condition():
                context.raise_if_done()
                self.lock.wait(context.remaining())
        finally:
            if handle is not None:
                handle.unregister()

    def has_room(self):
        return self.closed or (len(self.items) < self.room_batches and (self.bytes < self.room_bytes))

    # operations
    def export(self, context, metrics):
        if self.closed:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        item = self.prepare(metrics)
        if item is None:
            return
        with self.lock:
            self.make_room(context)
            if self.closed:
                raise ExporterShutdownError("shut down")
            self.put(item)

    def prepare(self, metrics):
        encoded = self._encoder.encode(metrics)
        return (encoded.data, len(encoded.dropped)) if encoded.points or encoded.dropped else None

    def size(self, item):
        return len(item[0])

    def make_room(self, context):
        self.wait_for(context, self.has_room)

    def put(self, item):
        self.accepted += 1
        self.items.append(item)
        self.bytes += self.size(item)
        if self.worker is None:
            self.worker = threading.Thread(target=self.run, daemon=self.daemon)
            self.worker.start()

    def run(self):
        while True:
            with self.lock:
                if not self.items:
                    self.worker = None
                    self.lock.notify_all()
                    return
                item = self.items.popleft()
                self.bytes -= self.size(item)
                stop = self.stop
            error = None
            try:
                self.send(stop, item)
            except Exception as caught:
                error = caught
            with self.lock:
                self.finished += 1
                if error is not None:
                    self.note(error)
                self.lock.notify_all()

    def send(self, context, item):
        data, dropped = item
        rejected, text = 0, ""
        if data:
            rejected, text = attempts(context, lambda: self._http.attempt(context, data))
        told(rejected + dropped, text)

    def note(self, error):
        those = [waiter for waiter in self.waiters if waiter.target >= self.finished]
        for waiter in those:
            waiter.errors.append(error)
        if not those:
            self.failed.append(error)
            del self.failed[:-100]

    def drain(self, context):
        with self.lock:
            waiter = Waiter(self.accepted)
            waiter.errors, self.failed = self.failed, []
            self.waiters.append(waiter)
            try:
                self.wait_for(context, lambda: self.finished >= waiter.target)
            finally:
                self.waiters.remove(waiter)
        self.complain(waiter.errors)

    def complain(self, errors):
        if not errors:
            return
        if all(isinstance(error, PartialSuccessError) for error in errors):
            raise PartialSuccessError("points were refused", rejected_points=sum(e.rejected_points for e in errors))
        worst = next(error for error in errors if not isinstance(error, PartialSuccessError))
        raise ExporterError(f"{len(errors)} batches were not delivered: {worst}") from worst

    def force_flush(self, context):
        context.raise_if_done()
        self.drain(context)

    def shutdown(self, context):
        self.close()
        try:
            context.raise_if_done()
            self.drain(context)
        finally:
            self.end()

    def close(self):
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("shut down")
            self.closed = True
            self.lock.notify_all()

    def end(self):
        with self.lock:
            self.stop.cancel("shut down")
            self.finished += len(self.items)
            for _ in range(len(self.items)):
                self.note(ExporterError("a shutdown ended the delivery"))
            self.items.clear()
            self.bytes = 0
            worker = self.worker
        if worker is not None:
            worker.join()
        self._http.drop()


def _work(reference, box):
    while True:
        with box.lock:
            while not box.items and not box.closing:
                box.lock.wait(0.05)
                if reference() is None:
                    return
            if not box.items:
                return
        exporter = reference()
        if exporter is None:
            return
        exporter.step()
        del exporter


class _Box:
    """The state that exporter and worker share."""


class WeakWorkerExporter(WildQueue):
    """The queue's worker lives as long as its exporter, to which it refers weakly."""

    def put(self, item):
        self.accepted += 1
        self.items.append(item)
        self.bytes += self.size(item)
        if self.worker is None:
            box = self.box = _Box()
            box.lock, box.items, box.closing = self.lock, self.items, False
            self.worker = threading.Thread(target=_work, args=[weakref.ref(self), box], daemon=True)
            self.worker.start()
        self.lock.notify_all()

    def step(self):
        with self.lock:
            if not self.items:
                return
            item = self.items.popleft()
            self.bytes -= self.size(item)
            stop = self.stop
        error = None
        try:
            self.send(stop, item)
        except Exception as caught:
            error = caught
        with self.lock:
            self.finished += 1
            if error is not None:
                self.note(error)
            self.lock.notify_all()

    def end(self):
        with self.lock:
            if self.worker is not None:
                self.box.closing = True
                self.lock.notify_all()
        super().end()
