"""Wrong exporters that hold batches: queues, threads and buffers."""

from __future__ import annotations

import atexit
import copy
import logging
import threading
from typing import TYPE_CHECKING

from exporter_core import (
    Context,
    ContextCancelledError,
    DeadlineExceededError,
    ExporterError,
    ExporterShutdownError,
)
from third_party.right import JournalExporter, QueuedExporter, WriteBehindExporter
from third_party.transport import encode, wait_until

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData


class QueuesReferences(QueuedExporter):
    """The queue holds the caller's own batch, and encodes it when its turn comes."""

    def prepare(self, metrics: MetricsData) -> object:
        return metrics

    def body(self, item: object) -> bytes:
        return encode(item)  # type: ignore[arg-type]


class CopiesShallowly(QueuedExporter):
    """The queue holds a shallow copy of the caller's batch."""

    def prepare(self, metrics: MetricsData) -> object:
        return copy.copy(metrics)

    def body(self, item: object) -> bytes:
        return encode(item)  # type: ignore[arg-type]


class FlushesTillEmpty(QueuedExporter):
    """A flush waits until the queue is empty, and not for the batch that the thread has taken out of it."""

    def drained(self, count: int) -> bool:
        return not self.batches


class DropsTheOldest(QueuedExporter):
    """The queue has room for 50 batches; the oldest one is dropped without a word."""

    def put(self, item: object) -> None:
        super().put(item)
        if len(self.batches) > 50:
            self.batches.popleft()
            self.finished += 1


class RefusesSilently(QueuedExporter):
    """The queue has room for 1000 batches; a further one is not taken, and export returns."""

    most = 1000

    def put(self, item: object) -> None:
        if len(self.batches) < self.most:
            super().put(item)


class ShutdownAbandons(QueuedExporter):
    """A shutdown ends the delivery that runs, although there is time left, and says nothing of it."""

    def drain(self, context: Context) -> None:
        self.lifetime.cancel("the exporter was shut down")

    def tell(self) -> None:
        if not self.closed:
            super().tell()


class ShutdownWaitsASecond(QueuedExporter):
    """A shutdown waits a second for the thread, whatever time it has, and returns."""

    def drain(self, context: Context) -> None:
        with_second = context.child(timeout=1)
        wait_until(self.condition, with_second, lambda: self.drained(self.accepted))

    def tell(self) -> None:
        if not self.closed:
            super().tell()


class LogsLateFailures(QueuedExporter):
    """What the thread could not deliver is logged; neither the flush nor the shutdown raises."""

    def tell(self) -> None:
        if self.failure is not None:
            logging.getLogger(__name__).warning("a batch was lost")
            self.failure = None


class TellsLastFailure(QueuedExporter):
    """A batch that is delivered after one that failed makes the failure forgotten."""

    def deliver(self, context: Context, body: bytes) -> None:
        super().deliver(context, body)
        self.failure = None


class ForgetsFork(QueuedExporter):
    """The child of a fork believes that the parent's thread still works for it: its queue is never emptied."""

    def begin(self) -> None:
        if not hasattr(self, "condition"):
            super().begin()


class SendsTheParentsQueue(QueuedExporter):
    """The child of a fork delivers what the parent had queued, as does the parent."""

    def begin(self) -> None:
        batches = list(getattr(self, "batches", ()))
        super().begin()
        self.batches.extend(batches)
        self.accepted = len(batches)


class JoinsAtExit(QueuedExporter):
    """At the interpreter's exit everything is waited for, however long it takes."""

    def begin(self) -> None:
        super().begin()
        atexit.register(self.wait_at_exit)

    def wait_at_exit(self) -> None:
        """Wait for the thread."""
        thread = self.thread
        if thread is not None:
            thread.join()


class BoundToItsThread(QueuedExporter):
    """The thread starts with the exporter and waits for batches: an exporter that is let go leaves it behind."""

    def begin(self) -> None:
        super().begin()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        while not self.lifetime.done:
            with self.condition:
                self.condition.wait_for(lambda: self.batches or self.lifetime.done)
                if not self.batches:
                    break
                item = self.batches.popleft()
            try:
                self.deliver(self.lifetime, self.body(item))
            except Exception as error:  # noqa: BLE001 - told to the next flush
                with self.condition:
                    self.failure = self.failure or error
            with self.condition:
                self.finished += 1
                self.condition.notify_all()


class ThreadDiesOfFailure(QueuedExporter):
    """The thread ends with the first delivery that fails; the next export starts another, and nobody is told."""

    def work(self) -> None:
        while True:
            with self.condition:
                if not self.batches or self.lifetime.done:
                    self.thread = None
                    self.condition.notify_all()
                    return
                item = self.batches.popleft()
            try:
                self.deliver(self.lifetime, self.body(item))
            finally:
                with self.condition:
                    self.finished += 1
                    if self.finished < self.accepted and not self.batches:
                        self.finished = self.accepted
                    self.thread = None
                    self.condition.notify_all()


class FlushFailsHalfway(WriteBehindExporter):
    """A flush that meets a batch that the backend refuses drops that and all that were held behind it."""

    def deliver(self, context: Context, body: bytes) -> None:
        try:
            super().deliver(context, body)
        except ExporterError:
            with self.condition:
                del self.held[1:]
            raise


class ForgetsBatchAtDeadline(WriteBehindExporter):
    """A batch whose delivery ends with the context of a flush is dropped; the next flush returns."""

    def deliver(self, context: Context, body: bytes) -> None:
        try:
            super().deliver(context, body)
        except (DeadlineExceededError, ContextCancelledError):
            with self.condition:
                del self.held[0]
            raise


class FlushWithoutTurn(WriteBehindExporter):
    """Two flushes deliver the same batches."""

    def flush(self, context: Context) -> None:
        for body in list(self.held):
            self.deliver(context, body)
        self.held.clear()


class FlushClearsLater(JournalExporter):
    """What arrives while a flush writes is cleared with what it has written."""

    def flush(self) -> None:
        self.write(b"".join(self.held))
        self.held.clear()


class FlushWritesTwice(JournalExporter):
    """Two flushes at once write the same lines, and each takes out what it wrote."""

    def flush(self) -> None:
        held = list(self.held)
        self.write(b"".join(held))
        self.held = self.held[len(held) :]


class FlushReturnsBesideAnother(JournalExporter):
    """A flush beside another one returns at once: that one is at it."""

    def flush(self) -> None:
        if not self.lock.acquire(blocking=False):
            return
        try:
            held, self.held = self.held, []
            self.write(b"".join(held))
        finally:
            self.lock.release()


class ClosesAfterTheDrain(JournalExporter):
    """A shutdown writes what is held, and refuses exports afterwards: one between the two is lost."""

    def shutdown(self, context: Context) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down already")
        self.flush()
        self.closed = True
        context.raise_if_done()


class ChecksOutsideTheLock(JournalExporter):
    """Export looks at the flag before it takes the lock, and not under it."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        line = encode(metrics) + b"\n"
        with self.lock:
            self.held.append(line)


class AppendsWithoutLock(JournalExporter):
    """Export copies the list, adds to it and puts it back, without a lock: a flush in between is undone."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        held = list(self.held)
        line = encode(metrics) + b"\n"
        self.held = [*held, line]


class ChildDropsItsLines(JournalExporter):
    """A child of a fork that has recorded and leaves loses what it holds: its flush is the parent's concern."""

    def begin(self) -> None:
        self.is_child = hasattr(self, "held")
        super().begin()

    def flush(self) -> None:
        if not self.is_child:
            super().flush()


class ParentLinesTwice(JournalExporter):
    """A child of a fork writes the lines that its parent held, too."""

    def begin(self) -> None:
        held = list(getattr(self, "held", ()))
        super().begin()
        self.held = held


class SwallowsAtShutdown(JournalExporter):
    """A shutdown whose last write fails returns."""

    def shutdown(self, context: Context) -> None:
        try:
            super().shutdown(context)
        except ExporterShutdownError:
            raise
        except ExporterError:
            logging.getLogger(__name__).warning("the last lines were lost")
