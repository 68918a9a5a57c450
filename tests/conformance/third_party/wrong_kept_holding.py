"""Wrong exporters with a queue and a thread."""

from __future__ import annotations

import concurrent.futures
import heapq
import json
import logging
import threading
import time
import weakref
from collections import deque
from dataclasses import replace

from opentelemetry.sdk.metrics.view import DefaultAggregation, ExplicitBucketHistogramAggregation

from exporter_core import ExporterError, ExporterShutdownError
from third_party.local_base import ALL
from third_party.right_kept_holding import QueueExporter


class FlushesTillQueueEmpty(QueueExporter):
    """A flush waits until the queue is empty, and not for the batch that was taken out and is being written."""

    def _work(self):
        while True:
            with self._cv:
                if self._abandon:
                    self._items.clear()
                if not self._items:
                    self._thread = None
                    return
                data = self._items.popleft()
            error = None
            try:
                self.write(data)
            except Exception as problem:
                error = problem
            with self._cv:
                self._finished += 1
                if error is not None:
                    self._failed.append((self._finished, error))

    def force_flush(self, context):
        context.raise_if_done()
        with self._cv:
            while self._items:
                context.raise_if_done()
                self._cv.wait(0.01)
            if self._failed:
                error = self._failed.pop()[1]
                self._failed = []
                raise ExporterError("not written") from error


class DoesNotJoin(QueueExporter):
    """Shutdown tells the thread to finish what is queued, and returns at once."""

    def shutdown(self, context):
        with self._cv:
            if self._down:
                raise ExporterShutdownError("shut down")
            self._down = True
            self._cv.notify_all()
        context.raise_if_done()


class StopsBeforeTheRest(QueueExporter):
    """Shutdown sets the stop flag, which the thread looks at before the rest of the queue, joins it, and returns."""

    def shutdown(self, context):
        with self._cv:
            if self._down:
                raise ExporterShutdownError("shut down")
            self._down = self._abandon = True
            thread = self._thread
        while thread is not None and thread.is_alive() and not context.done:
            thread.join(0.02)
        context.raise_if_done()


class KeepsTheLast(QueueExporter):
    """Has a queue of limited length, out of which what is more than 2048 batches falls silently."""

    def _fresh(self):
        super()._fresh()
        self._items = deque(maxlen=2048)

    def _work(self):
        while True:
            with self._cv:
                if self._abandon:
                    self._items.clear()
                if not self._items:
                    self._thread = None
                    self._finished = self._accepted
                    return
                data = self._items.popleft()
            error = None
            try:
                self.write(data)
            except Exception as problem:
                error = problem
            with self._cv:
                self._finished += 1
                if error is not None:
                    self._failed.append((self._finished, error))

    def _drain(self, context):
        target, since = self._accepted, self._reported  # noqa: F841
        while (self._items or self._thread is not None) and self._finished < target and not self._abandon:
            context.raise_if_done()
            self._cv.wait(0.02)
        if self._abandon and self._items:
            raise ExporterShutdownError("shut down")
        failed, self._failed = self._failed, []
        if failed:
            raise ExporterError("not written") from failed[0][1]


class ThreadDies(QueueExporter):
    """The thread catches InterruptedError and BlockingIOError, and dies of other errors."""

    def _work(self):
        while True:
            with self._cv:
                if self._abandon:
                    self._items.clear()
                if not self._items:
                    self._thread = None
                    return
                data = self._items[0]
            try:
                self.write(data)
            except (InterruptedError, BlockingIOError):
                continue
            with self._cv:
                self._items.popleft()
                self._finished += 1


class ShallowCopy(QueueExporter):
    """Keeps a copy of the outermost object, and encodes on the thread."""

    def encode(self, metrics):
        return replace(metrics, resource_metrics=list(metrics.resource_metrics))

    def write(self, data):
        super().write(self.enc.line(data))


class PutDeafToCancel(QueueExporter):
    """Waits for room in its queue of 50 as long as the deadline allows, also when it is cancelled."""

    ROOM = 50

    def export(self, context, metrics):
        if self._down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        data = self.encode(metrics)
        with self._cv:
            self._cv.wait_for(lambda: len(self._items) < self.ROOM or self._down, context.remaining())
            if self._down:
                raise ExporterShutdownError("shut down")
            if len(self._items) >= self.ROOM:
                context.raise_if_done()
            self.accept(data)


class FlushForgetsTimeout(QueueExporter):
    """Takes no notice of the end of a wait: a flush whose time is up returns."""

    def force_flush(self, context):
        context.raise_if_done()
        with self._cv:
            target = self._accepted
            limit = context.remaining()
            end = None if limit is None else time.monotonic() + limit  # noqa: F841
            while self._finished < target and not context.done:
                self._cv.wait(0.02)
            if self._finished >= target:
                self._drain(context)


class JoinsTenSeconds(QueueExporter):
    """Shutdown waits ten seconds for the thread, then logs and returns, however much time its context has."""

    def shutdown(self, context):
        with self._cv:
            if self._down:
                raise ExporterShutdownError("shut down")
            self._down = True
            thread = self._thread
            own = context.child(timeout=10)
            try:
                self._drain(own)
            except TimeoutError:
                logging.getLogger("mine").warning("gave up after 10 s")
            finally:
                self._abandon = True
                self._cv.notify_all()
        if thread is not None:
            thread.join(0.1)
        context.raise_if_done()


class FinalizesItself(QueueExporter):
    """Hands a bound method to a finalizer, which keeps every exporter for ever."""

    def __init__(self, config):
        super().__init__(config)
        self._final = weakref.finalize(self, self._at_end)

    def _at_end(self):
        self._abandon = True


class UsesAPool(QueueExporter):
    """Has the thread of a pool, which the interpreter's exit waits for."""

    _pool = None

    def _fresh(self):
        super()._fresh()
        self._pool = None

    def accept(self, data):
        self._items.append(data)
        self._accepted += 1
        if self._pool is None:
            self._pool = concurrent.futures.ThreadPoolExecutor(1)
        if self._thread is None:
            self._thread = threading.current_thread()
            self._pool.submit(self._work)

    def shutdown(self, context):
        try:
            with self._cv:
                if self._down:
                    raise ExporterShutdownError("shut down")
                self._down = True
                try:
                    self._drain(context)
                finally:
                    self._abandon = True
        finally:
            if self._pool is not None:
                self._pool.shutdown(wait=False)
        context.raise_if_done()


class NoForkHandler(QueueExporter):
    """Does nothing about forks: the child has the parent's locks, and a thread that does not run."""

    def __init__(self, config):
        super().__init__(config)
        ALL.discard(self)


class ChildKeepsQueue(QueueExporter):
    """Renews lock and thread in a forked child, but keeps what the parent holds: both write it."""

    def _fresh(self):
        items = getattr(self, "_items", ())
        super()._fresh()
        for one in items:
            self.accept(one)


class FlushAfterShutdown(QueueExporter):
    """A flush after the shutdown raises the shutdown error."""

    def force_flush(self, context):
        if self._down:
            raise ExporterShutdownError("shut down")
        super().force_flush(context)


class RaisesTheOSError(QueueExporter):
    """Raises the thread's own OSError from a flush."""

    def _drain(self, context):
        try:
            super()._drain(context)
        except ExporterError as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__  # noqa: B904
            raise


class HooksThreads(QueueExporter):
    """Replaces the hook for errors of threads, to log those of its own."""

    def __init__(self, config):
        super().__init__(config)
        threading.excepthook = lambda args: logging.getLogger("mine").error("thread", exc_info=args.exc_value)


class LogsAtShutdown(QueueExporter):
    """Logs what could not be written at shutdown, and returns."""

    def shutdown(self, context):
        try:
            super().shutdown(context)
        except ExporterShutdownError:
            raise
        except ExporterError:
            logging.getLogger("mine").exception("last batches")


class FlagOutsideLock(QueueExporter):
    """Looks at the flag of the shutdown outside of the lock under which it sets it."""

    def shutdown(self, context):
        if self._down:
            raise ExporterShutdownError("shut down")
        with self._cv:
            self._down = True
            thread = self._thread
            try:
                self._drain(context)
            finally:
                self._abandon = True
                self._cv.notify_all()
        if thread is not None:
            thread.join(0.1)
        context.raise_if_done()


class AcceptsTooLate(QueueExporter):
    """Looks at the flag of the shutdown before it encodes, and not again under the lock that it accepts under."""

    def export(self, context, metrics):
        if self._down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        data = self.encode(metrics)
        with self._cv:
            self.accept(data)


class NotDaemon(QueueExporter):
    """Has a thread that is not a daemon."""

    def accept(self, data):
        self._items.append(data)
        self._accepted += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=False)
            self._thread.start()


class SharedAnswer(QueueExporter):
    """Hands out one aggregation, whose boundaries are a list, in every answer."""

    BUCKETS = ExplicitBucketHistogramAggregation(boundaries=[1, 5, 10, 50])

    def aggregation(self, instrument_kind):
        return self.BUCKETS if instrument_kind.name == "HISTOGRAM" else DefaultAggregation()


class DelaysByAge(QueueExporter):
    """Counts the deadline of a flush and of the shutdown by the wall clock."""

    def _drain(self, context):
        end = None if context.remaining() is None else time.time() + context.remaining()
        target = self._accepted
        while self._finished < target and not self._abandon:
            if (end is not None and time.time() >= end) or (end is None and context.done):
                context.raise_if_done()
                raise ExporterError("timed out")
            self._cv.wait(0.02)
            if context.error() is not None and type(context.error()).__name__ == "ContextCancelledError":
                context.raise_if_done()
        super()._drain(context)


class OneFlushAtATime(QueueExporter):
    """Returns at once from a second flush beside a running one, since that one is at it."""

    _flushing = False

    def force_flush(self, context):
        context.raise_if_done()
        if self._flushing:
            return
        self._flushing = True
        try:
            super().force_flush(context)
        finally:
            self._flushing = False


class WorkerEndsRace(QueueExporter):
    """Ends its thread in a second step after the queue was seen empty: an export between starts none."""

    def _work(self):
        while True:
            with self._cv:
                if self._abandon:
                    self._items.clear()
                data = self._items[0] if self._items else None
            if data is None:
                self._thread = None
                return
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


class HeapTies(QueueExporter):
    """Has a heap that is ordered by the second of the batch, then by the document, a dict that does not compare."""

    def _fresh(self):
        super()._fresh()
        self._items = []

    def accept(self, data):
        heapq.heappush(self._items, (int(time.time()), json.loads(data)))
        self._accepted += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    def _work(self):
        while True:
            with self._cv:
                if self._abandon:
                    self._items.clear()
                if not self._items:
                    self._thread = None
                    return
                data = self._items[0]
            error = None
            try:
                self.write(json.dumps(data[1]).encode() + b"\n")
            except Exception as problem:
                error = problem
            with self._cv:
                if self._items:
                    heapq.heappop(self._items)
                self._finished += 1
                if error is not None:
                    self._failed.append((self._finished, error))


class SleepsForFlush(QueueExporter):
    """A flush gives the thread a tenth of a second."""

    def force_flush(self, context):
        context.raise_if_done()
        context.wait(0.1)
        context.raise_if_done()


class IdleEventRace(QueueExporter):
    """Has an event that says that the thread is idle, and clears it after an export has handed over its batch."""

    def _fresh(self):
        super()._fresh()
        self._idle = threading.Event()
        self._idle.set()

    def export(self, context, metrics):
        super().export(context, metrics)
        self._idle.clear()

    def _work(self):
        super()._work()
        self._idle.set()

    def force_flush(self, context):
        context.raise_if_done()
        while not self._idle.wait(0.02):
            context.raise_if_done()
        super().force_flush(context)


class TaskNotDone(QueueExporter):
    """Counts a batch as finished only when it was written: after a failure every flush waits for ever."""

    def _work(self):
        while True:
            with self._cv:
                if self._abandon:
                    self._items.clear()
                if not self._items:
                    self._thread = None
                    self._cv.notify_all()
                    return
                data = self._items.popleft()
            try:
                self.write(data)
            except Exception as problem:
                with self._cv:
                    self._failed.append((self._finished + 1, problem))
                continue
            with self._cv:
                self._finished += 1
                self._cv.notify_all()


class ClearsFailuresFirst(QueueExporter):
    """A flush forgets earlier failures before it looks."""

    def force_flush(self, context):
        context.raise_if_done()
        with self._cv:
            self._failed = []
            self._drain(context)


class TellsOldFailures(QueueExporter):
    """Raises a failure again at every flush, since it never forgets one."""

    def _drain(self, context):
        kept = list(self._failed)
        super()._drain(context)
        if kept and False:  # noqa: SIM223
            pass

    def force_flush(self, context):
        context.raise_if_done()
        with self._cv:
            target = self._accepted
            while self._finished < target and not self._abandon:
                context.raise_if_done()
                self._cv.wait(0.02)
            if self._failed:
                raise ExporterError(f"{len(self._failed)} batches were not written") from self._failed[0][1]


class TwoThreads(QueueExporter):
    """Starts its thread without the lock: two may run, and each writes the head."""

    def export(self, context, metrics):
        if self._down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        data = self.encode(metrics)
        with self._cv:
            if self._down:
                raise ExporterShutdownError("shut down")
            self._items.append(data)
            self._accepted += 1
            need = self._thread is None
        if need:
            thread = threading.Thread(target=self._work, daemon=True)
            thread.start()
            self._thread = thread
