"""Further wrong exporters that hold batches: bounded queues, marks, merged batches, flushes that end early."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import queue
import threading
from functools import partial
from typing import Any

from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core import Context, ExporterError, ExporterShutdownError
from third_party.right import JournalExporter, QueuedExporter, ThreadPoolExporter, WriteBehindExporter, serve
from third_party.right_more import Mark, StandardQueueExporter
from third_party.transport import encode, wait_until

# --- the standard library's queue -------------------------------------------------------------------------------------


class PutsWithoutTimeout(StandardQueueExporter):
    """The queue has room for ten batches, and export puts another one into it without a time-out."""

    room = 10

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        body = encode(metrics)
        self.start()
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            self.queue.put(body)


class FlushJoinsTheQueue(StandardQueueExporter):
    """A flush waits with ``queue.join()``, which has no time-out."""

    def force_flush(self, context: Context) -> None:
        if self.closed:
            return
        context.raise_if_done()
        self.queue.join()
        if self.thread is not None:
            self.wait_for_mark(context)


class ShutdownJoinsTheThread(StandardQueueExporter):
    """A shutdown puts the end into the queue and joins the thread, however long that takes."""

    def shutdown(self, context: Context) -> None:
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down already")
            self.closed = True
        mark = Mark()
        if self.thread is not None:
            self.queue.put(mark)
            self.queue.put(None)
            self.thread.join()
        self.lifetime.cancel("the exporter was shut down")
        context.raise_if_done()
        if mark.failure is not None:
            raise ExporterError(f"a batch was not delivered: {mark.failure}") from mark.failure


class TwoWorkersOneMark(StandardQueueExporter):
    """Two threads take from the queue: one reaches the flush's mark while the other one still sends."""

    def start(self) -> None:
        is_first = self.thread is None
        super().start()
        if is_first:
            arguments = [self.queue, self.lifetime, self.config]
            self.second = threading.Thread(target=self.work, args=arguments, daemon=True)
            self.second.start()

    def stop(self) -> None:
        if self.thread is not None:
            with contextlib.suppress(queue.Full):
                self.queue.put_nowait(None)
            self.second.join(1)
        super().stop()


class OneQueueForAll(StandardQueueExporter):
    """The queue is the class's: a batch goes to the backend of whichever exporter's thread takes it out."""

    shared: queue.Queue[bytes | Mark | None] = queue.Queue(64)

    def begin(self) -> None:
        super().begin()
        self.queue = self.shared


class FlushNeedsAnExport(StandardQueueExporter):
    """A flush before the first export asks the thread that is not there yet, and raises AttributeError."""

    def force_flush(self, context: Context) -> None:
        if not self.closed and not self.thread.is_alive():  # type: ignore[union-attr]
            raise ExporterError("the thread has died")
        super().force_flush(context)


class ShutdownNeedsAnExport(StandardQueueExporter):
    """A shutdown before the first export joins the thread that is not there, and raises AttributeError."""

    def stop(self) -> None:
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(None)
        self.thread.join(1)  # type: ignore[union-attr]


class ThreadGoesOn(StandardQueueExporter):
    """A shutdown that raises, as with no time left, leaves the thread as it is, with what it still has to send."""

    def shutdown(self, context: Context) -> None:
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down already")
            self.closed = True
        if self.thread is not None:
            self.wait_for_mark(context)
        context.raise_if_done()
        self.lifetime.cancel("the exporter was shut down")
        self.stop()


# --- a queue and a thread ---------------------------------------------------------------------------------------------


class FlushWaitsASecond(QueuedExporter):
    """A flush waits for a second at most, and returns, whatever is delivered by then."""

    def force_flush(self, context: Context) -> None:
        if self.closed:
            return
        context.raise_if_done()
        with self.condition:
            count = self.accepted
            wait_until(self.condition, context.child(timeout=1), lambda: self.drained(count) or self.lifetime.done)
        context.raise_if_done()
        self.tell()


class SharesAttributes(QueuedExporter):
    """The queue holds a copy of everything but the attributes, which are the caller's own mappings."""

    def prepare(self, metrics: MetricsData) -> object:
        return dataclasses.replace(metrics, resource_metrics=[self.copy(one) for one in metrics.resource_metrics])

    def copy(self, thing: Any) -> Any:
        """Copy a resource, a scope, a metric, its data or a point, and what is in it."""
        changes: dict[str, Any] = {}
        for field, value in vars(thing).items():
            if field in {"scope_metrics", "metrics", "data_points"}:
                changes[field] = [self.copy(one) for one in value]
            elif field == "data":
                changes[field] = self.copy(value)
            elif isinstance(value, list):
                changes[field] = list(value)
        return dataclasses.replace(thing, **changes)

    def body(self, item: object) -> bytes:
        return encode(item)  # type: ignore[arg-type]


class ReusesItsBuffer(QueuedExporter):
    """Batches are encoded into one buffer, and views of it are queued: a later batch overwrites what still waits."""

    def begin(self) -> None:
        super().begin()
        self.buffer = bytearray(1 << 16)

    def prepare(self, metrics: MetricsData) -> object:
        body = encode(metrics)
        if len(body) > len(self.buffer):
            self.buffer = bytearray(2 * len(body))
        self.buffer[: len(body)] = body
        return memoryview(self.buffer)[: len(body)]

    def body(self, item: object) -> bytes:
        return bytes(item)  # type: ignore[call-overload]


class ReturnsWithTheFirst(ThreadPoolExporter):
    """Resources are sent side by side, and export returns when the first of them is done."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        bodies = [encode(MetricsData(resource_metrics=[one])) for one in metrics.resource_metrics]
        if not self.pool:
            self.pool = [threading.Thread(target=serve, args=[self.tasks], daemon=True) for _ in range(self.threads)]
            for thread in self.pool:
                thread.start()
        done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        for body in bodies:
            self.tasks.put(partial(self.send, context, body, done))
        failure = done.get() if bodies else None
        if failure is not None:
            raise failure


# --- write-behind -----------------------------------------------------------------------------------------------------


class ShutdownSendsAgain(WriteBehindExporter):
    """What a flush has sent stays in the list until the next export, and a shutdown before that sends it again."""

    def begin(self) -> None:
        super().begin()
        self.sent: list[bytes] = []

    def export(self, context: Context, metrics: MetricsData) -> None:
        self.sent = []
        super().export(context, metrics)

    def deliver(self, context: Context, body: bytes) -> None:
        super().deliver(context, body)
        self.sent.append(body)

    def shutdown(self, context: Context) -> None:
        if not self.closed:
            with self.condition:
                self.held[:0] = self.sent
        super().shutdown(context)


class ShutdownCanBeTriedAgain(WriteBehindExporter):
    """A shutdown that raises has not happened: the exporter is open again."""

    def shutdown(self, context: Context) -> None:
        lifetime = self.lifetime
        try:
            super().shutdown(context)
        except ExporterShutdownError:
            raise
        except Exception:
            if lifetime.done:
                self.lifetime = Context.background().child()
            self.closed = False
            raise


class NewestOfEachMetric(WriteBehindExporter):
    """Held batches are merged: of each metric the newest one is kept, since it is cumulative anyway."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        with self.condition:
            if len(self.held) > 1 and not self.busy:
                self.held[:] = [self.merge([json.loads(body) for body in self.held])]

    def merge(self, documents: list[dict[str, Any]]) -> bytes:
        """Return one body with the last metric of each name, by resource and scope."""
        found: dict[str, Any] = {}
        for document in documents:
            for resource in document.get("resourceMetrics", ()):
                for scope in resource.get("scopeMetrics", ()):
                    for metric in scope.get("metrics", ()):
                        key = json.dumps([resource.get("resource"), scope.get("scope"), metric.get("name")])
                        found[key] = {**resource, "scopeMetrics": [{**scope, "metrics": [metric]}]}
        return json.dumps({"resourceMetrics": list(found.values())}).encode()


class FlushesTenAtMost(WriteBehindExporter):
    """A flush sends ten batches at most, to be quick, and returns; a shutdown sends them all."""

    def force_flush(self, context: Context) -> None:
        if self.closed:
            return
        context.raise_if_done()
        with self.condition:
            rest = self.held[10:]
            del self.held[10:]
        try:
            self.flush(context)
        finally:
            with self.condition:
                self.held.extend(rest)


class FailedBatchStaysFirst(WriteBehindExporter):
    """A batch that the backend refuses stays in front of the list: every later flush fails of it again."""

    def flush(self, context: Context) -> None:
        with self.condition:
            if not wait_until(self.condition, context, lambda: not self.busy):
                context.raise_if_done()
            self.busy = True
        try:
            while True:
                with self.condition:
                    if not self.held:
                        break
                    body = self.held[0]
                self.deliver(context, body)
                with self.condition:
                    del self.held[0]
        finally:
            with self.condition:
                self.busy = False
                self.condition.notify_all()


class DropsTheBatchThatFills(WriteBehindExporter):
    """The batch that fills the list is the one whose export flushes it, and is not put into the list itself."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        with self.condition:
            is_full = not self.closed and len(self.held) >= self.most - 1
        if not is_full:
            return super().export(context, metrics)
        context.raise_if_done()
        return self.flush(context)


class OneListForAll(WriteBehindExporter):
    """The list of held batches is the class's: an exporter's flush sends those of another one, too."""

    shared: list[bytes] = []  # noqa: RUF012 - the fault

    def begin(self) -> None:
        super().begin()
        self.held = self.shared


# --- a journal --------------------------------------------------------------------------------------------------------


class LocksInTwoOrders(JournalExporter):
    """Export takes the list's lock and then the file's, a flush takes them in the opposite order."""

    def begin(self) -> None:
        super().begin()
        self.file_lock = threading.Lock()

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        line = encode(metrics) + b"\n"
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            self.held.append(line)
            with self.file_lock:
                if len(self.held) > 1000:
                    held, self.held = self.held, []
                    self.write(b"".join(held))

    def flush(self) -> None:
        with self.file_lock, self.lock:
            held, self.held = self.held, []
            self.write(b"".join(held))


class SilentAfterAFailure(JournalExporter):
    """A flush whose write fails says so; from then on lines are taken, and thrown away without a word."""

    broken = False

    def write(self, data: bytes) -> None:
        if self.broken:
            return
        try:
            super().write(data)
        except ExporterError:
            self.broken = True
            raise


class TwoShutdownsWin(JournalExporter):
    """A shutdown looks at the flag and sets it without the lock: two at once both return."""

    def shutdown(self, context: Context) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down already")
        self.flush()
        with self.lock:
            self.closed = True
        self.flush()
        context.raise_if_done()
