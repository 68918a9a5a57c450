"""Wrong exporters in how they hold batches, flush and shut down."""

from __future__ import annotations

import atexit
import copy
import dataclasses
import os
import threading
import time
import weakref

from exporter_core import (
    Context,
    ContextCancelledError,
    DeadlineExceededError,
    ExporterError,
    ExporterShutdownError,
    PartialSuccessError,
)
from third_party import keen_transport
from third_party.keen_base import copied
from third_party.right_keen_holding import LIVE, Held, Job


class NotifyOne(Held):
    """Wakes one waiting flush where several have ended."""

    def tell(self):
        self.cond.notify()


class CountsOnlySuccess(Held):
    """Counts a batch as done only after success, and a flush waits until none is left."""

    def renew(self):
        super().renew()
        self.pending = 0

    def add(self, kept):
        super().add(kept)
        self.pending += 1

    def send(self, context, kept):
        super().send(context, kept)
        self.pending -= 1

    def force_flush(self, context):
        super().force_flush(context)
        while self.pending and not context.wait(0.01):
            pass
        context.raise_if_done()


class ChildResends(Held):
    """Keeps in a forked child what the parent holds, and delivers it too."""

    def begin_anew(self):
        kept = list(self.held)
        super().begin_anew()
        self.held = kept


class RegistersEach(Held):
    """Registers a bound method of each exporter for forks, so that none is ever let go."""

    def __init__(self, config):
        super().__init__(config)
        LIVE.discard(self)
        os.register_at_fork(after_in_child=self.begin_anew)


def drain_at_exit(box):
    one = box()
    if one is not None and not one.closed:
        try:
            one.force_flush(Context.background())
        except ExporterError:
            pass


class FlushesAtExit(Held):
    """Flushes what it holds when the interpreter ends, without a deadline."""

    def __init__(self, config):
        super().__init__(config)
        box = weakref.ref(self)

        def function():
            drain_at_exit(box)

        atexit.register(function)
        weakref.finalize(self, atexit.unregister, function).atexit = False


def series(metrics):
    for resource in metrics.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    yield (
                        repr(resource.resource.attributes),
                        scope.scope.name,
                        metric.name,
                        repr(sorted(point.attributes.items(), key=repr)),
                    )


class LatestOnly(Held):
    """Keeps only the latest of held batches that have the same series."""

    def keep(self, metrics):
        return (frozenset(series(metrics)), super().keep(metrics))

    def body(self, kept):
        return kept[1]

    def add(self, kept):
        if kept[0]:
            self.held = [one for one in self.held if one[0] != kept[0]]
        super().add(kept)


class SharesBuckets(Held):
    """Copies points and attributes, but shares the lists of counts and exemplars until the flush."""

    def keep(self, metrics):
        return copied(metrics, point=lambda p: dataclasses.replace(p, attributes=copy.deepcopy(dict(p.attributes))))

    def body(self, kept):
        return keen_transport.encoded(self.encoder, kept)


class Holds2048(Held):
    """Holds 2,048 batches at most, and drops the oldest silently."""

    def add(self, kept):
        super().add(kept)
        del self.held[:-2048]


class Holds10000(Held):
    """Holds 10,000 batches at most, and drops the oldest silently."""

    def add(self, kept):
        super().add(kept)
        del self.held[:-10000]


class FlushTurn(Held):
    """A flush with a deadline waits for its turn behind another one without a deadline."""

    def renew(self):
        super().renew()
        self.turn = threading.Lock()

    def force_flush(self, context):
        context.raise_if_done()
        with self.turn:
            super().force_flush(context)


def by_wall_clock(call, context):
    left = context.remaining()
    until = None if left is None else time.time() + left
    own, stop = Context.background(), threading.Event()
    handle = context.on_done(lambda: None if isinstance(context.error(), TimeoutError) else own.cancel())
    late = []

    def watch():
        while not stop.wait(0.02):
            if until is not None and time.time() >= until:
                late.append(1)
                own.cancel()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        call(own)
    except ContextCancelledError as error:
        if late:
            raise DeadlineExceededError("the deadline has passed") from error
        raise
    finally:
        handle.unregister()
        stop.set()
        thread.join()


class FlushWallClock(Held):
    """Counts the deadline of a flush by the wall clock."""

    def force_flush(self, context):
        context.raise_if_done()
        by_wall_clock(super().force_flush, context)


class HeldPoisonedByPartial(Held):
    """After a flush that had points rejected, every later one raises the same again."""

    last = None

    def run(self, job, batches):
        super().run(job, batches)
        if isinstance(job.error, PartialSuccessError):
            self.last = job.error
        if job.error is None and self.last is not None:
            job.error = PartialSuccessError(
                "the backend refused some points", rejected_points=self.last.rejected_points
            )


class RegistersUnderLock(Held):
    """Registers for the end of the context under the lock that the callback takes."""

    def shutdown(self, context):
        with self.cond:
            if self.closed:
                raise ExporterShutdownError("shut down already")
            self.closed = True
            job = Job(context)
            self.start(job)
            worker = self.worker
            others = list(self.jobs)

            def stop():
                with self.cond:
                    for one in others:
                        one.context.cancel()

            cancel = context.on_done(stop)
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


class SecondWaits(Held):
    """A second shutdown waits for the first one before it is refused."""

    def renew(self):
        super().renew()
        self.turn = threading.Lock()

    def shutdown(self, context):
        with self.turn:
            super().shutdown(context)


class ForgetsPutBack(Held):
    """A shutdown after a flush that was cancelled drops what that flush put back."""

    def renew(self):
        super().renew()
        self.back = []

    def run(self, job, batches):
        super().run(job, batches)
        if isinstance(job.error, (TimeoutError, ContextCancelledError)) and not self.closed:
            with self.cond:
                self.back += self.held
                self.held.clear()

    def force_flush(self, context):
        with self.cond:
            self.held[:0] = self.back
            self.back.clear()
        super().force_flush(context)


class ExportWaitsForShutdown(Held):
    """An export during a shutdown waits for its end, whatever its context says."""

    def renew(self):
        super().renew()
        self.turn = threading.Lock()

    def export(self, context, metrics):
        with self.turn:
            super().export(context, metrics)

    def shutdown(self, context):
        if self.closed:
            raise ExporterShutdownError("shut down already")
        with self.turn:
            super().shutdown(context)


class ShutdownWallClock(Held):
    """Counts the deadline of a shutdown by the wall clock."""

    def shutdown(self, context):
        if context.done:
            super().shutdown(context)
            return
        by_wall_clock(super().shutdown, context)


class ForkResurrects(Held):
    """Exports again in a forked child although it was shut down."""

    def begin_anew(self):
        super().begin_anew()
        self.closed = False


class ShutdownSwallowsPartial(Held):
    """A shutdown does not tell that the backend rejected some of what was held."""

    def shutdown(self, context):
        try:
            super().shutdown(context)
        except PartialSuccessError:
            pass


class ShutdownSwallowsFailure(Held):
    """A shutdown whose last delivery is refused returns."""

    def shutdown(self, context):
        try:
            super().shutdown(context)
        except ExporterShutdownError:
            raise
        except ExporterError:
            pass


class ShutdownSendsWithoutRetry(Held):
    """A shutdown sends what is held only once, so that a busy backend loses it."""

    def send(self, context, kept):
        if not self.closed:
            super().send(context, kept)
            return
        body, _ = self.body(kept)
        keen_transport.attempts(context, lambda: self.connection.post(context, body), most=1)
