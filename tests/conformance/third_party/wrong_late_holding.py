"""Wrong exporters that hold data, made from Queued and Buffered."""

from __future__ import annotations

import atexit
import copy
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric, MetricsData, ResourceMetrics, ScopeMetrics

from exporter_core import Context, ExporterError, ExporterShutdownError, InstrumentKind
from exporter_core.otlp import encode
from third_party.right_late_holding import Buffered, Queued

LOG = logging.getLogger(__name__)


class FullQueueDrops(Queued):
    """The queue has room for 2048 batches, and drops the next one with a warning."""

    def put(self, body: object) -> None:
        if len(self.queue) >= 2048:
            LOG.warning("the queue is full")
            return
        super().put(body)


class EmptyQueueIsDone(Queued):
    """force_flush waits until the queue is empty, not until the batch that was taken out of it is delivered."""

    def force_flush(self, context: Context) -> None:
        if self.down:
            return
        context.raise_if_done()
        with self.changed:
            target = self.accepted
            while self.queue and not context.done:
                self.changed.wait(0.01)
            if self.queue:
                context.raise_if_done()
        self.tell(0, target)


class LaterSuccessForgives(Queued):
    """Remembers only how the last delivery went: a success after a failure hides it from the flush."""

    def tell(self, start: int, target: int) -> None:
        with self.changed:
            if self.failures and self.failures[-1][0] < self.completed:
                self.failures.clear()
        super().tell(start, target)


class ThreadDiesAtFailure(Queued):
    """The thread ends after a failed delivery without another being started: what comes later stays in the queue."""

    def work(self) -> None:
        while True:
            with self.changed:
                if not self.queue:
                    self.thread = None
                    return
                body = self.queue.popleft()
            error = self.try_to_send(body)
            with self.changed:
                self.completed += 1
                if error is not None:
                    self.failures.append((self.completed, error))
                self.changed.notify_all()
            if error is not None:
                return


class GivesUpDraining(Queued):
    """shutdown waits two seconds for its thread at most, cancels the rest and returns as if it were done."""

    def shutdown(self, context: Context) -> None:
        with self.changed:
            if self.down:
                raise ExporterShutdownError("the exporter has been shut down")
            self.down = True
        short = context.child(timeout=2.0)
        self.drain(short)
        with self.changed:
            left = self.accepted - self.completed
            self.stopping = True
            if left:
                self.queue.clear()
                self.life.cancel("the exporter was shut down")
            self.changed.notify_all()
        thread = self.thread
        if thread is not None:
            thread.join()
        self.sender.close()
        context.raise_if_done()
        if left:
            LOG.warning("%d batches were not delivered", left)
            return
        self.tell(0, self.accepted)


class PoolAtExit(Queued):
    """Sends on a ThreadPoolExecutor, whose threads the interpreter waits for at its exit."""

    def make_thread(self):
        pool = ThreadPoolExecutor(1)
        return _PoolThread(pool, self.work)


class _PoolThread:
    def __init__(self, pool: ThreadPoolExecutor, target) -> None:
        self.pool, self.target = pool, target

    def start(self) -> None:
        self.future = self.pool.submit(self.target)
        self.pool.shutdown(wait=False)

    def join(self) -> None:
        self.future.result()
        self.pool.shutdown(wait=True)


class ChildKeepsThread(Queued):
    """A forked child believes that its parent's thread works for it."""

    def begin_anew(self) -> None:
        thread = self.thread
        super().begin_anew()
        self.thread = thread


class AnswersUnderLock(Queued):
    """temporality waits for the lock that a worker holds while it sends."""

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        with self.sending:
            return super().temporality(instrument_kind)

    def fresh(self) -> None:
        super().fresh()
        self.sending = threading.Lock()

    def try_to_send(self, body):
        with self.sending:
            return super().try_to_send(body)


class RegistersEachAtExit(Queued):
    """Registers its own shutdown with atexit, for good."""

    def __init__(self, config) -> None:
        super().__init__(config)
        atexit.register(self._at_exit)

    def _at_exit(self) -> None:
        if not self.down:
            self.shutdown(Context.with_timeout(1))


class FlushesSixtyFour(Buffered):
    """A flush sends 64 batches at most, and returns."""

    def deliver_held(self, context: Context) -> None:
        if self.down:
            super().deliver_held(context)
            return
        for _ in range(64):
            with self.lock:
                if not self.held:
                    return
                body = self.held[0]
            try:
                self.sender.send(context, body)
            except Exception:
                if not context.done:
                    with self.lock:
                        self.held.pop(0)
                raise
            with self.lock:
                self.held.pop(0)


class NothingHeldNoLook(Buffered):
    """force_flush returns at once where nothing is held, also with a context that is done."""

    def force_flush(self, context: Context) -> None:
        with self.lock:
            if not self.held and not self.turn.locked():
                return
        super().force_flush(context)


class FirstFailureEnds(Buffered):
    """A flush that meets a failure forgets all batches behind the one that failed."""

    def deliver_held(self, context: Context) -> None:
        with self.lock:
            held, self.held = self.held, []
        for body in held:
            self.sender.send(context, body)


class CopiesLists(Buffered):
    """Keeps a copy of the lists and points, but the mappings of attributes are the caller's own."""

    def encode(self, metrics: MetricsData):
        return MetricsData(
            [
                ResourceMetrics(
                    copy.copy(rm.resource),
                    [
                        ScopeMetrics(
                            sm.scope,
                            [Metric(m.name, m.description, m.unit, _with_points(m.data)) for m in sm.metrics],
                            sm.schema_url,
                        )
                        for sm in rm.scope_metrics
                    ],
                    rm.schema_url,
                )
                for rm in metrics.resource_metrics
            ]
        )

    def deliver_held(self, context: Context) -> None:
        with self.lock:
            self.held = [body if isinstance(body, bytes) else encode(body) for body in self.held]
        super().deliver_held(context)


def _with_points(data):
    import dataclasses

    points = []
    for point in data.data_points:
        changes = {
            f.name: (copy.deepcopy(getattr(point, f.name)) if f.name != "attributes" else point.attributes)
            for f in dataclasses.fields(point)
        }
        points.append(type(point)(**changes))
    return dataclasses.replace(data, data_points=points)


class TimerFlush(Buffered):
    """Starts a timer at the first batch that flushes after 30 seconds, and leaves it running at the shutdown."""

    timer: threading.Timer | None = None

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        if self.timer is None:
            self.timer = threading.Timer(30.0, _flush_later, [self])
            self.timer.daemon = True
            self.timer.start()

    def begin_anew(self) -> None:
        super().begin_anew()
        self.timer = None


def _flush_later(exporter: Buffered) -> None:
    exporter.timer = None
    try:
        exporter.force_flush(Context.with_timeout(10))
    except ExporterError as error:
        LOG.warning("a flush failed: %s", error)


class CancelledShutdownReturns(Buffered):
    """shutdown asks `remaining() == 0` for a done context, so that one that was cancelled goes unnoticed."""

    def shutdown(self, context: Context) -> None:
        with self.lock:
            if self.down:
                raise ExporterShutdownError("the exporter has been shut down")
            self.down = True
        if not self.take_turn(context):
            running = self.ending
            if running is not None:
                running.cancel("the exporter was shut down")
            self.turn.acquire()
        try:
            if context.remaining() == 0.0:
                context.raise_if_done()
            with self.lock:
                empty = not self.held
            if not empty:
                self.deliver_held(context)
        finally:
            self.sender.close()
            self.turn.release()
