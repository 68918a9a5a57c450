"""Wrong exporters with a queue and a worker thread."""

from __future__ import annotations

import copy
import logging
import os

from exporter_core import Context, ExporterError, ExporterShutdownError, PartialSuccessError
from third_party.right_wild_holding import WildQueue

logger = logging.getLogger("wild.wrong")


class DropsNewestWhenFull(WildQueue):
    """Drops the batch with a line in the log when the queue is full, as put_nowait in a logging handler would."""

    room_batches = 512

    def export(self, context, metrics):
        if self.closed:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        item = self.prepare(metrics)
        if item is None:
            return
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("shut down")
            if not self.has_room():
                logger.warning("Queue full, dropping metrics")
                return
            self.put(item)


class DequeMaxlen(WildQueue):
    """Keeps the queue like a deque with a maxlen, which drops the oldest batch without a word."""

    def make_room(self, context):
        while len(self.items) >= 256:
            item = self.items.popleft()
            self.bytes -= self.size(item)
            self.finished += 1


class WaitsForRoomForEver(WildQueue):
    """Waits for ever for room in a full queue, as queue.put does."""

    def make_room(self, context):
        while not self.has_room():
            self.lock.wait()


class JoinsQueue(WildQueue):
    """Flushes by queue.join(), which knows neither deadline nor cancellation."""

    def force_flush(self, context):
        context.raise_if_done()
        self.drain(Context.background())


class FlushWaitsForEmpty(WildQueue):
    """Waits in force_flush until the queue is empty, not until the batch that was taken out of it is delivered."""

    def force_flush(self, context):
        context.raise_if_done()
        with self.lock:
            self.wait_for(context, lambda: not self.items)
            errors, self.failed = self.failed, []
        self.complain(errors)


class FlushIgnoresErrors(WildQueue):
    """Logs what failed in the background on the worker, and no flush tells it."""

    def note(self, error):
        logger.error("Exception while exporting metrics: %s", type(error).__name__)


class FlushReturnsAtDeadline(WildQueue):
    """Does not look at the answer of Event.wait(timeout): a flush returns at its deadline as if it were done."""

    def force_flush(self, context):
        context.raise_if_done()
        try:
            self.drain(context)
        except TimeoutError:
            logger.debug("flush timed out")


class FlushCapped(WildQueue):
    """Waits three seconds at most in a flush, and then returns with a warning."""

    def force_flush(self, context):
        context.raise_if_done()
        mine = context.child(timeout=3)
        try:
            self.drain(mine)
        except TimeoutError:
            context.raise_if_done()
            logger.warning("flush: still sending in the background")


class FlushIgnoresDone(WildQueue):
    """Returns from a flush with nothing to do before it looks at its context."""

    def force_flush(self, context):
        with self.lock:
            if self.finished == self.accepted and not self.failed:
                return
        context.raise_if_done()
        self.drain(context)


class DrainOnlyInFlush(WildQueue):
    """Stops the worker at shutdown, and drops what is still queued."""

    def shutdown(self, context):
        self.close()
        try:
            context.raise_if_done()
        finally:
            with self.lock:
                self.finished += len(self.items)
                self.items.clear()
                self.bytes = 0
            self.end()


class JoinsWorker(WildQueue):
    """Joins the worker at shutdown, as long as it takes."""

    def shutdown(self, context):
        self.close()
        worker = self.worker
        if worker is not None:
            worker.join()
        try:
            context.raise_if_done()
            self.drain(context)
        finally:
            self.end()


class JoinsFiveSeconds(WildQueue):
    """Waits two seconds for the worker at shutdown, ends it, and returns whatever came of it."""

    def shutdown(self, context):
        self.close()
        try:
            context.raise_if_done()
            self.drain(context.child(timeout=2))
        except TimeoutError:
            context.raise_if_done()
            logger.warning("the worker did not end in time")
        finally:
            self.end()


class ShutdownLogsErrors(WildQueue):
    """Logs the last delivery's errors in shutdown instead of raising them, since shutdown must not fail."""

    def shutdown(self, context):
        self.close()
        try:
            context.raise_if_done()
            self.drain(context)
        except ExporterError as error:
            logger.error("last export failed: %s", error)
        finally:
            self.end()


class ChecksThenSets(WildQueue):
    """Checks and sets the flag of shutdown without a lock."""

    def close(self):
        if self.closed:
            raise ExporterShutdownError("shut down")
        self.closed = True
        with self.lock:
            self.lock.notify_all()


class FlagAfterDrain(WildQueue):
    """Drains first at shutdown, and refuses exports after that."""

    def shutdown(self, context):
        with self.lock:
            if getattr(self, "_closing", False):
                raise ExporterShutdownError("shut down")
            self._closing = True
        try:
            context.raise_if_done()
            self.drain(context)
        finally:
            with self.lock:
                self.closed = True
            self.end()


class ReopensAfterTimeout(WildQueue):
    """Takes its flag back when a shutdown times out, so that it can be tried again."""

    def shutdown(self, context):
        self.close()
        try:
            context.raise_if_done()
            self.drain(context)
        except TimeoutError:
            self.end()
            with self.lock:
                self.stop = Context.background()
                self.closed = False
            raise
        except BaseException:
            self.end()
            raise
        self.end()


class LeavesEarly(WildQueue):
    """Raises the error of a done context at shutdown before it stops its worker."""

    def shutdown(self, context):
        self.close()
        context.raise_if_done()
        try:
            self.drain(context)
        finally:
            self.end()


class HoldsReference(WildQueue):
    """Holds the caller's own batch in the queue, and encodes it when it is sent."""

    def prepare(self, metrics):
        return metrics

    def size(self, item):
        return 1000

    def send(self, context, item):
        encoded = self._encoder.encode(item)
        super().send(context, (encoded.data if encoded.points else b"", len(encoded.dropped)))


class QueuesAShallowCopy(WildQueue):
    """Holds a shallow copy of the batch in the queue, whose points are the caller's."""

    def prepare(self, metrics):
        return copy.copy(metrics)

    def size(self, item):
        return 1000

    def send(self, context, item):
        encoded = self._encoder.encode(item)
        super().send(context, (encoded.data if encoded.points else b"", len(encoded.dropped)))


class WorkerIsNoDaemon(WildQueue):
    """Has a worker that is no daemon, so that the interpreter waits for a request that never ends."""

    daemon = False


class HasNoForkHandler(WildQueue):
    """Renews nothing after a fork: the child believes in a worker that only the parent has."""

    def enlist(self):
        pass


class ParentOnlyShutdown(WildQueue):
    """Does nothing at shutdown in another process than the one that made it, as a guard for atexit in children."""

    def __init__(self, config):
        super().__init__(config)
        self._pid = os.getpid()

    def shutdown(self, context):
        if os.getpid() != self._pid:
            self.close()
            return
        super().shutdown(context)


class ChildSendsTheQueue(WildQueue):
    """Keeps the queue in a forked child, with what the parent is going to deliver, too."""

    def after_fork(self):
        items = list(self.items)
        super().after_fork()
        for item in items:
            self.put(item)


class WorkerWaitsForEver(WildQueue):
    """Has a worker that waits for the next batch for ever and holds its exporter: one that is not shut down stays."""

    def run(self):
        while True:
            with self.lock:
                while not self.items:
                    if self.stop.done or self.closed:
                        self.worker = None
                        self.lock.notify_all()
                        return
                    self.lock.wait(0.2)
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


class WorkerDiesOfRefusal(WildQueue):
    """Has a worker that catches OSError and partial success alone: a refused batch ends it, and no more is sent."""

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
            except (OSError, PartialSuccessError) as caught:
                error = caught
            with self.lock:
                self.finished += 1
                if error is not None:
                    self.note(error)
                self.lock.notify_all()


class SumsPartial(WildQueue):
    """Tells a partial success in the background as a plain error, without a count."""

    def complain(self, errors):
        if errors:
            raise ExporterError(f"{len(errors)} batches were not delivered: {errors[0]}") from errors[0]


class StickyError(WildQueue):
    """Keeps the last error as an attribute and raises it from each later flush, never cleared."""

    def note(self, error):
        super().note(error)
        self._last_error = error

    def force_flush(self, context):
        super().force_flush(context)
        if getattr(self, "_last_error", None) is not None:
            raise ExporterError("a delivery has failed") from self._last_error
