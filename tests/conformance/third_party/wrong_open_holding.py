"""Wrong exporters that hold batches in a queue."""

from __future__ import annotations

import threading
from collections import deque

from exporter_core import Context, ContextCancelledError, ExporterError, ExporterShutdownError, PartialSuccessError
from third_party.right_open_holding import HttpQueue, Item


class UnboundedShutdown(HttpQueue):
    """Waits in shutdown until the queue is empty, however long that takes."""

    def shutdown(self, context):
        with self.condition:
            if self.is_shut_down:
                raise ExporterShutdownError("shut down")
            self.is_shut_down = True
            items = self.unreported + list(self.queue)
            while not all(item.done for item in items):
                self.condition.wait()
            error = self.settle(items)
        self.release()
        context.raise_if_done()
        if error is not None:
            raise error


class WorkerDies(HttpQueue):
    """Catches nothing in its worker, which dies of the first failure."""

    def work(self):
        me = threading.current_thread()
        while True:
            with self.condition:
                if not self.queue or self.worker is not me:
                    if self.worker is me:
                        self.worker = None
                    return
                item = self.queue[0]
            item.rejected = self.client.send(self.working.child(timeout=self.request_seconds), item.data)
            with self.condition:
                self.finish(item)


class DropsWhenFull(HttpQueue):
    """Drops a batch silently when a hundred are queued."""

    def make_room(self, context, size):
        pass

    def export(self, context, metrics):
        if self.is_shut_down:
            raise ExporterShutdownError("shut down")
        if len(self.queue) >= 100:
            context.raise_if_done()
            return
        super().export(context, metrics)


class FlushSeesEmptyQueue(HttpQueue):
    """Takes an item off the queue before it is sent; a flush waits until the queue is empty, not until it is sent."""

    def work(self):
        me = threading.current_thread()
        while True:
            with self.condition:
                if not self.queue or self.worker is not me:
                    if self.worker is me:
                        self.worker = None
                    self.condition.notify_all()
                    return
                item = self.queue.popleft()
                self.held -= len(item.data)
                self.condition.notify_all()
            try:
                item.rejected = self.client.send(self.working.child(timeout=self.request_seconds), item.data)
            except Exception as error:  # noqa: BLE001 - whoever waits is told
                item.error = error
            with self.condition:
                self.finish(item)


class FlushGivesUpQuietly(HttpQueue):
    """Waits for the delivery while the context lasts, and returns without an error if that was not long enough."""

    def force_flush(self, context):
        if self.is_shut_down and self.worker is None:
            return
        context.raise_if_done()
        with self.condition:
            items = self.unreported + list(self.queue)
            self.wait_for(context, items)
            error = self.settle([item for item in items if item.done])
        if error is not None:
            raise error


class LooksOutsideTheLock(HttpQueue):
    """Looks at the shutdown flag before it encodes, outside the lock, and not again when it enqueues."""

    def export(self, context, metrics):
        if self.is_shut_down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        bodies, dropped = self.encode(metrics)
        with self.condition:
            self.make_room(context, sum(map(len, bodies)))
            for body in bodies:
                self.queue.append(Item(body))
                self.held += len(body)
            if self.queue:
                self.start_worker()
        if dropped:
            raise PartialSuccessError("points that OTLP cannot hold", rejected_points=dropped)


class ForgetsTheFork(HttpQueue):
    """Does nothing in a forked child, where its worker thread does not exist."""

    def begin_anew(self):
        pass


class ChildSendsAgain(HttpQueue):
    """Makes a new lock and worker in a forked child, and keeps the queue, so that both send what was held."""

    def begin_anew(self):
        queue, held = self.queue, self.held
        super().begin_anew()
        self.queue, self.held = deque(Item(item.data) for item in queue), held
        self.held = held


class SuccessClearsTheError(HttpQueue):
    """Keeps the last failure until a later batch succeeds, which clears it before any flush has told it."""

    def finish(self, item):
        super().finish(item)
        if item.error is None and not item.rejected:
            self.unreported.clear()

    def force_flush(self, context):
        if self.is_shut_down and self.worker is None:
            return
        context.raise_if_done()
        with self.condition:
            items = self.unreported + list(self.queue)
            self.wait_for(context, items)
            if not all(item.done for item in items):
                context.raise_if_done()
            error = self.settle(list(self.unreported))
        if error is not None:
            raise error


class NonDaemonWorker(HttpQueue):
    """Has a worker that is no daemon, and holds up the exit of the interpreter while a request hangs."""

    def start_worker(self):
        if self.worker is None:
            self.worker = threading.Thread(target=self.work, name="open-worker", daemon=False)
            self.worker.start()


class EncodesInTheWorker(HttpQueue):
    """Queues the caller's batch itself, and encodes it on the worker."""

    def encode(self, metrics):
        class Later:
            def __len__(self):
                return 1

        later = Later()
        later.metrics = metrics
        return [later], 0

    def fresh(self):
        super().fresh()
        self.client.max_points = self.max_points

    def __init__(self, config):
        super().__init__(config)
        send = self.client.send
        encoder = self.encoder
        self.client.send = lambda context, later: send(context, encoder.encode(later.metrics).data)


class FlushSendsItself(HttpQueue):
    """Sends in a flush what is queued, beside the worker, which is sending the first of it."""

    def force_flush(self, context):
        if self.is_shut_down and self.worker is None:
            return
        context.raise_if_done()
        client = self.client_class(self.config)
        try:
            while True:
                with self.condition:
                    if not self.queue:
                        break
                    item = self.queue[0]
                try:
                    item.rejected = client.send(context, item.data)
                except Exception as error:  # noqa: BLE001 - whoever waits is told
                    context.raise_if_done()
                    item.error = error
                with self.condition:
                    self.finish(item)
        finally:
            client.close()
        with self.condition:
            error = self.settle(list(self.unreported))
        if error is not None:
            raise error


class TenSecondsOfItsOwn(HttpQueue):
    """Waits in shutdown for 10 seconds at most, and then returns as if all were delivered, with time left."""

    def shutdown(self, context):
        with self.condition:
            if self.is_shut_down:
                raise ExporterShutdownError("shut down")
            self.is_shut_down = True
            items = self.unreported + list(self.queue)
            worker = self.worker
            self.wait_for(context.child(timeout=10.0), items)
        self.working.cancel("the exporter is shut down")
        if worker is not None:
            worker.join(5)
        with self.condition:
            error = self.settle(
                [item for item in items if item.done and not isinstance(item.error, ContextCancelledError)]
            )
            self.queue.clear()
        self.release()
        context.raise_if_done()
        if error is not None:
            raise error


class SendsUnderTheLock(HttpQueue):
    """Holds the queue's lock while its worker sends, so that exports and flushes wait for the backend."""

    def work(self):
        me = threading.current_thread()
        while True:
            with self.condition:
                if not self.queue or self.worker is not me:
                    if self.worker is me:
                        self.worker = None
                    return
                item = self.queue[0]
                try:
                    item.rejected = self.client.send(self.working.child(timeout=self.request_seconds), item.data)
                except Exception as error:  # noqa: BLE001 - whoever waits is told
                    item.error = error
                self.finish(item)


class WakesOne(HttpQueue):
    """Wakes one waiter with notify() where several flushes may wait."""

    def finish(self, item):
        if self.queue and self.queue[0] is item:
            self.queue.popleft()
            self.held -= len(item.data)
        item.done = True
        item.data = b""
        if item.error is not None or item.rejected:
            self.unreported.append(item)
        self.condition.notify()


class NewestOnly(HttpQueue):
    """Replaces what is queued by a newer batch, as if points were always cumulative."""

    def export(self, context, metrics):
        with self.condition:
            while len(self.queue) > 1:
                old = self.queue.pop()
                old.done = True
                self.held -= len(old.data)
        super().export(context, metrics)


class EmptyIsAlwaysFine(HttpQueue):
    """Returns from the export of an empty batch before it looks at anything, also after a shutdown."""

    def export(self, context, metrics):
        if not metrics.resource_metrics:
            return
        super().export(context, metrics)


class DoesNotLookAtTheContext(HttpQueue):
    """Accepts a batch whose context is already done, since queueing takes no time."""

    def export(self, context, metrics):
        super().export(Context.background(), metrics)


class ShutdownLooksFirst(HttpQueue):
    """Raises the error of a done context before it has released anything."""

    def shutdown(self, context):
        if not self.is_shut_down:
            context.raise_if_done()
        super().shutdown(context)


class SecondShutdownWarns(HttpQueue):
    """Logs a warning in a second shutdown, as the SDK's exporters do."""

    def shutdown(self, context):
        if self.is_shut_down:
            import logging

            logging.getLogger("open").warning("Exporter already shutdown, ignoring call")
            return
        super().shutdown(context)


class ShutdownIsTriedAgain(HttpQueue):
    """Takes its flag back when a shutdown times out, so that it can be tried again."""

    def shutdown(self, context):
        try:
            super().shutdown(context)
        except ExporterShutdownError:
            raise
        except TimeoutError:
            self.is_shut_down = False
            self.working = Context.background()
            raise


class ShutdownTellsNothing(HttpQueue):
    """Logs what could not be delivered at shutdown, and returns."""

    def shutdown(self, context):
        try:
            super().shutdown(context)
        except (ExporterShutdownError, TimeoutError, ContextCancelledError):
            raise
        except ExporterError:
            import logging

            logging.getLogger("open").error("the last batches were not delivered")  # noqa: TRY400 - as it was written


class ShutdownDropsTheRest(HttpQueue):
    """Waits in shutdown for the request in flight only, and reports nothing of those queued behind it."""

    def shutdown(self, context):
        with self.condition:
            first = self.queue[0] if self.queue else None
            if not self.is_shut_down and first is not None:
                rest = list(self.queue)[1:]
                for item in rest:
                    self.queue.remove(item)
                    item.done = True
        super().shutdown(context)


class RequeuesForEver(HttpQueue):
    """Puts a batch that was refused for good back into the queue, and tries it again and again, reporting nothing."""

    def work(self):
        me = threading.current_thread()
        while True:
            with self.condition:
                if not self.queue or self.worker is not me or self.working.done:
                    if self.worker is me:
                        self.worker = None
                    return
                item = self.queue[0]
            try:
                item.rejected = self.client.send(self.working.child(timeout=self.request_seconds), item.data)
            except Exception as error:  # noqa: BLE001 - whoever waits is told
                if not self.working.done:
                    self.working.wait(0.1)
                    continue
                item.error = error
            with self.condition:
                self.finish(item)


class HalfTheFlush(HttpQueue):
    """Waits in a flush for the batches behind the one in flight, and not for that one."""

    def force_flush(self, context):
        if self.is_shut_down and self.worker is None:
            return
        context.raise_if_done()
        with self.condition:
            items = self.unreported + list(self.queue)[1:]
            self.wait_for(context, items)
            if not all(item.done for item in items):
                context.raise_if_done()
            error = self.settle(items)
        if error is not None:
            raise error


class RefusesAfterThreeFailures(HttpQueue):
    """Opens a circuit breaker after three failures, and never closes it: exports are dropped without an error."""

    def fresh(self):
        super().fresh()
        self.failures = 0

    def finish(self, item):
        super().finish(item)
        self.failures = self.failures + 1 if item.error is not None else 0

    def export(self, context, metrics):
        if self.failures >= 3 and not self.is_shut_down:
            context.raise_if_done()
            return
        super().export(context, metrics)


class LeavesTheWorker(HttpQueue):
    """Neither cancels nor joins its worker at a shutdown whose time is up: it goes on sending for 30 seconds."""

    def shutdown(self, context):
        with self.condition:
            if self.is_shut_down:
                raise ExporterShutdownError("shut down")
            self.is_shut_down = True
            items = self.unreported + list(self.queue)
            self.wait_for(context, items)
            error = self.settle([item for item in items if item.done])
            pending = not all(item.done for item in items)
        if not pending:
            self.release()
        context.raise_if_done()
        if error is not None:
            raise error
