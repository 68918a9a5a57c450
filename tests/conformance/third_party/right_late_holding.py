"""The right exporters that hold data: with a thread, and without one."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque

from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core import Context, Exporter, ExporterError, ExporterShutdownError, PartialSuccessError
from exporter_core.authoring import keep_untouched
from exporter_core.conformance import Capabilities
from third_party.late_transport import HttpConfig, Sender, encode
from third_party.right_late_http import OtlpHarness

ALIVE: weakref.WeakSet = weakref.WeakSet()


def _after_fork() -> None:
    for exporter in list(ALIVE):
        exporter.begin_anew()


os.register_at_fork(after_in_child=_after_fork)


class HoldingHarness(OtlpHarness):
    capabilities = Capabilities(holds=True)


class Queued(Exporter[HttpConfig]):
    """Right: a queue, and a thread that sends."""

    conformance_harness = HoldingHarness
    sender_class = Sender
    batch_timeout: float | None = None

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.sender = self.sender_class(config)
        self.fresh()
        ALIVE.add(self)

    def fresh(self) -> None:
        self.changed = threading.Condition()
        self.queue: deque = deque()
        self.accepted = 0
        self.completed = 0
        self.told = 0
        self.failures: list[tuple[int, BaseException]] = []
        self.down = False
        self.stopping = False
        self.life = Context.background()
        self.thread: threading.Thread | None = None

    def begin_anew(self) -> None:
        keep_untouched(*self.sender.inherited())
        self.sender = self.sender_class(self.config)
        down = self.down
        self.fresh()
        self.down = down

    def encode(self, metrics: MetricsData) -> object:
        return encode(metrics)

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.down:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        body = self.encode(metrics)
        with self.changed:
            if self.down:
                raise ExporterShutdownError("the exporter has been shut down")
            self.put(body)

    def put(self, body: object) -> None:
        self.queue.append(body)
        self.accepted += 1
        if self.thread is None:
            self.thread = self.make_thread()
            self.thread.start()
        self.changed.notify_all()

    def make_thread(self) -> threading.Thread:
        return threading.Thread(target=self.work, daemon=True, name="sender")

    def work(self) -> None:
        while True:
            with self.changed:
                if not self.queue:  # an idle exporter has no thread
                    self.thread = None
                    return
                body = self.queue.popleft()
            error = self.try_to_send(body)
            with self.changed:
                self.completed += 1
                if error is not None:
                    self.failures.append((self.completed, error))
                    del self.failures[:-100]
                self.changed.notify_all()

    def try_to_send(self, body) -> BaseException | None:
        try:
            self.sender.send(self.life.child(timeout=self.batch_timeout), body)
        except Exception as error:
            return error
        return None

    def drain(self, context: Context) -> None:
        """Wait until what was accepted is completed, or the context is done."""
        with self.changed:
            target = self.accepted
            while self.completed < target and not context.done:
                self.changed.wait(0.01)

    def tell(self, start: int, target: int) -> None:
        with self.changed:
            untold = [error for number, error in self.failures if start < number <= target]
            self.told = max(self.told, target)
            self.failures = [(n, e) for n, e in self.failures if n > target]
        for error in untold:
            if isinstance(error, PartialSuccessError):
                raise error
        if untold:
            raise ExporterError(f"{len(untold)} batches were not delivered") from untold[0]

    def force_flush(self, context: Context) -> None:
        if self.down:
            return
        context.raise_if_done()
        with self.changed:
            target = self.accepted
        self.drain(context)
        with self.changed:
            if self.completed < target:
                context.raise_if_done()
        self.tell(0, target)

    def shutdown(self, context: Context) -> None:
        with self.changed:
            if self.down:
                raise ExporterShutdownError("the exporter has been shut down")
            self.down = True
        self.drain(context)
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
            raise ExporterError(f"{left} batches were not delivered")
        self.tell(0, self.accepted)


class QueuedTimeout(Queued):
    """Right: as Queued, and a batch has at most 30 s."""

    batch_timeout = 30.0


class Buffered(Exporter[HttpConfig]):
    """Right: a list of batches, sent by the caller of force_flush or shutdown."""

    conformance_harness = HoldingHarness
    sender_class = Sender

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.sender = self.sender_class(config)
        self.fresh()
        ALIVE.add(self)

    def fresh(self) -> None:
        self.lock = threading.Lock()  # guards the fields
        self.turn = threading.Lock()  # one delivery at a time
        self.held: list[bytes] = []
        self.down = False
        self.ending: Context | None = None

    def begin_anew(self) -> None:
        keep_untouched(*self.sender.inherited())
        self.sender = self.sender_class(self.config)
        down = self.down
        self.fresh()
        self.down = down

    def encode(self, metrics: MetricsData) -> bytes:
        return encode(metrics)

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.down:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        body = self.encode(metrics)
        with self.lock:
            if self.down:
                raise ExporterShutdownError("the exporter has been shut down")
            self.held.append(body)

    def take_turn(self, context: Context) -> bool:
        while not self.turn.acquire(timeout=0.01):
            if context.done:
                return False
        return True

    def deliver_held(self, context: Context) -> None:
        """Send what is held; called in turn. What fails is dropped and reported, what there was no time for stays."""
        errors: list[BaseException] = []
        while True:
            with self.lock:
                if not self.held:
                    break
                body = self.held[0]
            try:
                self.sender.send(context, body)
            except Exception as error:
                if context.done:
                    raise
                errors.append(error)
            with self.lock:
                self.held.pop(0)
        for error in errors:
            if isinstance(error, PartialSuccessError):
                raise error
        if errors:
            raise ExporterError(f"{len(errors)} batches were not delivered") from errors[0]

    def force_flush(self, context: Context) -> None:
        if self.down:
            return
        context.raise_if_done()
        if not self.take_turn(context):
            context.raise_if_done()
        try:
            child = context.child()
            self.ending = child
            if self.down:
                return
            self.deliver_held(child)
        finally:
            self.ending = None
            self.turn.release()

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
            context.raise_if_done()
            self.deliver_held(context)
        finally:
            self.sender.close()
            self.turn.release()
