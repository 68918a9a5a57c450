"""A right exporter that holds encoded batches."""

from __future__ import annotations

import os
import threading
import weakref

from exporter_core import (
    ContextCancelledError,
    DeadlineExceededError,
    Exporter,
    ExporterShutdownError,
    PartialSuccessError,
)
from exporter_core.authoring import keep_untouched
from exporter_core.otlp import Encoder
from third_party import keen_transport
from third_party.keen_base import Conf, HoldingHarness

LIVE = weakref.WeakSet()
os.register_at_fork(after_in_child=lambda: [one.begin_anew() for one in list(LIVE)])


class Job:
    def __init__(self, context):
        self.context = context.child()
        self.done, self.taken, self.error = False, False, None


class Held(Exporter[Conf]):
    """Holds encoded batches; a worker delivers them for each flush, and ends when there is nothing to do."""

    conformance_harness = HoldingHarness

    def __init__(self, config):
        super().__init__(config)
        self.connection = keen_transport.Connection(config)
        self.encoder = Encoder()
        self.renew()
        LIVE.add(self)

    def renew(self):
        self.cond = threading.Condition(threading.Lock())
        self.held, self.jobs, self.worker, self.closed = [], [], None, False

    def begin_anew(self):
        keep_untouched(self.connection, self.cond, self.worker, self.held, self.jobs)
        closed = self.closed
        self.connection, self.encoder = keen_transport.Connection(self.config), Encoder()
        self.renew()
        self.closed = closed

    # what is held

    def keep(self, metrics):
        return keen_transport.encoded(self.encoder, metrics)

    def body(self, kept):
        return kept

    # operations

    def export(self, context, metrics):
        if self.closed:
            raise ExporterShutdownError("shut down already")
        context.raise_if_done()
        kept = self.keep(metrics)
        with self.cond:
            if self.closed:
                raise ExporterShutdownError("shut down already")
            self.add(kept)

    def add(self, kept):
        self.held.append(kept)

    def force_flush(self, context):
        context.raise_if_done()
        job = Job(context)
        with self.cond:
            if self.closed and not self.held and not self.jobs:
                return
            self.start(job)
        self.await_job(context, job)
        if job.error is not None:
            raise job.error

    def start(self, job):
        self.jobs.append(job)
        if self.worker is None:
            self.worker = threading.Thread(target=self.work, daemon=True)
            self.worker.start()

    def wake(self):
        with self.cond:
            self.cond.notify_all()

    def await_job(self, context, job):
        handle = context.on_done(self.wake)
        try:
            with self.cond:
                while not job.done:
                    if context.done and not job.taken:
                        if job in self.jobs:
                            self.jobs.remove(job)
                        job.done = True
                        context.raise_if_done()
                    self.cond.wait()
        finally:
            handle.unregister()

    def shutdown(self, context):
        with self.cond:
            if self.closed:
                raise ExporterShutdownError("shut down already")
            self.closed = True
            job = Job(context)
            self.start(job)
            worker = self.worker
            others = list(self.jobs)
        cancel = context.on_done(lambda: [one.context.cancel() for one in others])
        try:
            worker.join()
        finally:
            cancel.unregister()
            with self.cond:
                self.held.clear()
            self.connection.close()
        if job.error is not None:
            raise job.error
        context.raise_if_done()

    # the worker

    def work(self):
        while True:
            with self.cond:
                if not self.jobs:
                    self.worker = None
                    return
                job = self.jobs[0]
                job.taken = True
                batches, self.held = self.held, []
            self.run(job, batches)
            with self.cond:
                self.jobs.remove(job)
                job.done = True
                self.tell()

    def tell(self):
        self.cond.notify_all()

    def run(self, job, batches):
        while batches:
            try:
                job.context.raise_if_done()
            except (DeadlineExceededError, ContextCancelledError) as error:
                job.error = job.error or error
                with self.cond:
                    self.held[:0] = batches
                return
            kept = batches.pop(0)
            try:
                self.send(job.context, kept)
            except Exception as error:  # noqa: BLE001 - whoever flushes is told
                job.error = job.error or error
                if isinstance(error, (DeadlineExceededError, ContextCancelledError)):
                    batches.insert(0, kept)  # the next flush tries again
        try:
            job.context.raise_if_done()
        except (DeadlineExceededError, ContextCancelledError) as error:
            job.error = job.error or error

    def send(self, context, kept):
        body, dropped = self.body(kept)
        keen_transport.attempts(context, lambda: self.connection.post(context, body))
        if dropped:
            raise PartialSuccessError("some points do not fit", rejected_points=dropped)
