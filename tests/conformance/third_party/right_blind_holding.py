"""Right exporters that hold: a queue with a worker that ends when idle, and a spool of files."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import threading
import weakref
from collections import deque

from exporter_core import Context, Exporter, ExporterError, ExporterShutdownError
from exporter_core.authoring import keep_untouched
from third_party.blind_base import Config, HoldingHarness
from third_party.blind_encoder import Enc
from third_party.blind_wire import TICK, Http, send

QUEUES = weakref.WeakSet()


def _renew_queues():
    for e in list(QUEUES):
        e.after_fork()


os.register_at_fork(after_in_child=_renew_queues)


class Item:
    def __init__(self, body):
        self.body, self.over, self.error, self.told = body, False, None, False


class IdleWorkerQueue(Exporter[Config]):
    """Queues batches for a worker thread that ends when idle; the next flush tells failures."""

    conformance_harness = HoldingHarness
    room = 256

    def __init__(self, config):
        super().__init__(config)
        self.enc = Enc()
        self.headers = {
            "Content-Type": "application/x-protobuf",
            "Authorization": "Bearer " + config.token.get_secret_value(),
        }
        self.fresh()
        self.closed = False
        QUEUES.add(self)

    def fresh(self):
        self.cond = threading.Condition(threading.Lock())
        self.pending, self.items, self.worker = deque(), [], None
        self.http = Http(self.config.endpoint)
        self.stop = Context.background()

    def after_fork(self):
        keep_untouched(self.http.sock, self.cond, self.worker)
        self.fresh()

    def export(self, context, metrics):
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        try:
            item = Item(self.enc.encode(metrics))
        except (ValueError, TypeError, OverflowError) as e:
            raise ExporterError("the metrics do not fit OTLP") from e
        with self.cond:
            while len(self.pending) >= self.room and not self.closed:
                context.raise_if_done()
                self.cond.wait(TICK)
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            self.pending.append(item)
            self.items.append(item)
            if self.worker is None:
                self.worker = threading.Thread(target=self.work, daemon=True)
                self.worker.start()

    def work(self):
        while True:
            with self.cond:
                if not self.pending:
                    self.worker = None
                    self.cond.notify_all()
                    return
                item = self.pending.popleft()
                self.cond.notify_all()
            error = None
            try:
                send(self.stop, self.http, item.body, self.headers)
            except BaseException as e:
                error = e
            with self.cond:
                item.over, item.error, item.body = True, error, None
                if error is None:
                    self.items.remove(item)
                self.cond.notify_all()

    def settle(self, context, items):
        with self.cond:
            while not all(i.over for i in items):
                if context.done:
                    return
                self.cond.wait(TICK)
            untold = [i for i in items if i.error is not None and not i.told]
            for i in untold:
                i.told = True
                self.items.remove(i)
            lost = [i for i in items if i.error is not None]
        if lost:
            raise lost[0].error

    def force_flush(self, context):
        if self.closed and not self.items:
            return
        context.raise_if_done()
        with self.cond:
            items = list(self.items)
        self.settle(context, items)
        if not all(i.over for i in items):
            raise context.error()

    def shutdown(self, context):
        with self.cond:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            self.closed = True
            items = list(self.items)
            self.cond.notify_all()
        try:
            self.settle(context, items)
        finally:
            if context.done:
                self.stop.cancel("the exporter was shut down")
            worker = self.worker
            if worker is not None:
                worker.join()
            self.http.close()
        context.raise_if_done()


SPOOLS = weakref.WeakSet()


def _renew_spools():
    for e in list(SPOOLS):
        e.after_fork()


os.register_at_fork(after_in_child=_renew_spools)


class SpoolFolder(Exporter[Config]):
    """Writes each batch to a file of its own spool; flush and shutdown send the files in order, and remove them."""

    conformance_harness = HoldingHarness

    def __init__(self, config):
        super().__init__(config)
        self.enc, self.closed = Enc(), False
        self.headers = {
            "Content-Type": "application/x-protobuf",
            "Authorization": "Bearer " + config.token.get_secret_value(),
        }
        self.fresh()
        SPOOLS.add(self)

    def fresh(self):
        self.lock, self.turn, self.folder = threading.Lock(), threading.Lock(), None
        self.names, self.count = [], itertools.count()
        self.http, self.stop, self.clean = Http(self.config.endpoint), Context.background(), None

    def after_fork(self):
        keep_untouched(self.http.sock, self.lock, self.turn)
        if self.clean is not None:
            self.clean.detach()
        self.fresh()

    def name(self):
        return f"{next(self.count):012d}.otlp"

    def export(self, context, metrics):
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        try:
            body = self.enc.encode(metrics)
        except (ValueError, TypeError, OverflowError) as e:
            raise ExporterError("the metrics do not fit OTLP") from e
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            if self.folder is None:
                self.folder = tempfile.mkdtemp(prefix="spool-")
                self.clean = weakref.finalize(self, shutil.rmtree, self.folder, True)
            name = os.path.join(self.folder, self.name())
            with open(name, "wb") as f:
                f.write(body)
            if name not in self.names:
                self.names.append(name)

    def take_turn(self, context):
        while not self.turn.acquire(timeout=TICK):
            if context.done:
                raise context.error()

    def drain(self, context):
        """Send what is there now; a batch that is refused is told, and dropped."""
        self.take_turn(context)
        failures = []
        try:
            with self.lock:
                names = list(self.names)
            for name in names:
                with open(name, "rb") as f:
                    body = f.read()
                call = context.child()
                handle = self.stop.on_done(call.cancel)
                try:
                    send(call, self.http, body, self.headers)
                except Exception as e:
                    if context.done:
                        raise
                    if self.stop.done:
                        raise ExporterShutdownError("ended by a shutdown") from e
                    failures.append(e)
                finally:
                    handle.unregister()
                with self.lock:
                    self.names.remove(name)
                os.unlink(name)
        finally:
            self.turn.release()
        if failures:
            raise failures[0]

    def force_flush(self, context):
        if self.closed and not self.names:
            return
        context.raise_if_done()
        self.drain(context)

    def shutdown(self, context):
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            self.closed = True
        try:
            context.raise_if_done()
            self.drain(context)
        finally:
            if context.done:
                self.stop.cancel()
            with self.turn:
                self.names.clear()
                self.http.close()
                if self.clean is not None:
                    self.clean()
