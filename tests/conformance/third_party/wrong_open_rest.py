"""Wrong exporters in their worker, in the process, and in what they tell."""

from __future__ import annotations

import gc
import logging
import signal
import threading

from third_party.open_transport import HttpClient
from third_party.right_open_holding import HttpQueue
from third_party.right_open_http import HttpSerial

log = logging.getLogger("open.g")


class WorkerForEver(HttpQueue):
    """Has a worker that waits for work for ever, and keeps its exporter alive where nobody shuts that down."""

    def start_worker(self):
        super().start_worker()
        self.condition.notify_all()

    def work(self):
        me = threading.current_thread()
        while True:
            with self.condition:
                while not self.queue and not self.working.done and self.worker is me:
                    self.condition.wait()
                if self.worker is not me or not self.queue:
                    return
                item = self.queue[0]
            try:
                item.rejected = self.client.send(self.working.child(timeout=self.request_seconds), item.data)
            except Exception as error:  # noqa: BLE001 - whoever waits is told
                item.error = error
            with self.condition:
                self.finish(item)

    def fresh(self):
        super().fresh()
        condition = self.condition

        def wake():
            with condition:
                condition.notify_all()

        self.working.on_done(wake)


class LogsPartialSuccess(HttpQueue):
    """Logs the points that the server refused; no flush tells of them."""

    def finish(self, item):
        if item.rejected:
            log.warning("%d points were refused", item.rejected)
            item.rejected = 0
        super().finish(item)


class WaitsForRoom(HttpQueue):
    """Waits for room in its queue of 200 kB without a look at the context."""

    max_bytes = 200_000

    def make_room(self, context, size):
        while self.queue and self.held + size > self.max_bytes:
            self.condition.wait()


class _RetryAfterMillis(HttpClient):
    def retry_after(self, headers):
        value = super().retry_after(headers)
        return None if value is None else value / 1000


class RetryAfterMillis(HttpSerial):
    """Takes Retry-After for milliseconds."""

    client_class = _RetryAfterMillis


class HasWarningsLogged(HttpSerial):
    """Has the warnings of the process logged."""

    def __init__(self, config):
        super().__init__(config)
        logging.captureWarnings(True)


class IgnoresSigpipe(HttpSerial):
    """Resets the handler of SIGPIPE, lest a broken connection raise BrokenPipeError, if it is on the main thread."""

    def __init__(self, config):
        super().__init__(config)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)


class CollectorOff(HttpSerial):
    """Turns the garbage collector off while it encodes and sends, and on again only where that has gone well."""

    def deliver(self, context, metrics):
        gc.disable()
        super().deliver(context, metrics)
        gc.enable()


class MarksPoints(HttpSerial):
    """Caches its key of a series as an attribute of the caller's own (frozen) point."""

    def encode(self, metrics):
        for resource in metrics.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        object.__setattr__(point, "_open_key", metric.name)
        return super().encode(metrics)


class TellsForEver(HttpQueue):
    """Tells a failed batch in every later flush and in the shutdown again."""

    def settle(self, items):
        before = list(self.unreported)
        error = super().settle(items)
        self.unreported = before
        return error
