"""Wrong exporters in what they hold: in a queue, a spool or a buffer."""

from __future__ import annotations

import queue
import threading
import time
import weakref
from pathlib import Path

from exporter_core import Context, Exporter, ExporterConfig, ExporterError, ExporterShutdownError
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.conformance import Capabilities, FileSinkHarness
from third_party.blind_base import Config, HoldingHarness
from third_party.blind_encoder import Enc
from third_party.blind_wire import Http, send
from third_party.right_blind_holding import IdleWorkerQueue, SpoolFolder


class InFlightIsForgotten(IdleWorkerQueue):
    """Waits in a flush until the queue is empty, not until what was taken out of it has been delivered."""

    def force_flush(self, context):
        if self.closed and not self.items:
            return
        context.raise_if_done()
        with self.cond:
            while self.pending:
                if context.done:
                    raise context.error()
                self.cond.wait(0.02)
            bad = [i for i in self.items if i.error is not None]
            for i in bad:
                self.items.remove(i)
        if bad:
            raise bad[0].error


def _work(q, http, headers, stop, failures):
    while True:
        body = q.get()
        try:
            if body is None:
                return
            send(stop, http, body, headers)
        except BaseException as e:
            failures.append(e)
        finally:
            q.task_done()


class WorkerForgetsFork(Exporter[Config]):
    """Has a queue and a worker thread for its whole life, and knows nothing of fork."""

    conformance_harness = HoldingHarness

    def __init__(self, config):
        super().__init__(config)
        self.enc, self.http, self.stop, self.failures = Enc(), Http(config.endpoint), Context.background(), []
        self.headers = {
            "Content-Type": "application/x-protobuf",
            "Authorization": "Bearer " + config.token.get_secret_value(),
        }
        self.q, self.lock, self.closed = queue.Queue(512), threading.Lock(), False
        self.thread = threading.Thread(
            target=_work, args=(self.q, self.http, self.headers, self.stop, self.failures), daemon=True
        )
        self.thread.start()
        weakref.finalize(self, self.q.put, None).atexit = False

    def export(self, context, metrics):
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        body = self.enc.encode(metrics)
        while True:
            with self.lock:
                if self.closed:
                    raise ExporterShutdownError("the exporter has been shut down")
                try:
                    self.q.put_nowait(body)
                    return
                except queue.Full:
                    pass
            if context.wait(0.02):
                raise context.error()

    def drain(self, context):
        while True:
            with self.q.all_tasks_done:
                if not self.q.unfinished_tasks:
                    break
            if context.wait(0.01):
                raise context.error()
        if self.failures:
            e = self.failures.pop()
            self.failures.clear()
            raise e

    def force_flush(self, context):
        if self.closed:
            return
        context.raise_if_done()
        self.drain(context)

    def shutdown(self, context):
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            self.closed = True
        try:
            context.raise_if_done()
            self.drain(context)
        finally:
            if context.done:
                self.stop.cancel("shut down")
            while not self.q.empty() and context.done:
                try:
                    self.q.get_nowait()
                    self.q.task_done()
                except queue.Empty:
                    break
            self.q.put(None)
            self.thread.join()
            self.http.close()


class SpoolNamesCollide(SpoolFolder):
    """Names the files of its spool by the time in milliseconds: two batches within one overwrite each other."""

    def name(self):
        return f"{int(time.time() * 1000)}.otlp"


class FileConfig(ExporterConfig):
    path: Path


class FileHarness(FileSinkHarness):
    capabilities = Capabilities.without_answers("a file")

    def config(self):
        return {"path": str(self.path)}


class LeavesFileBuffered(SerialExporter[FileConfig]):
    """Keeps the file open, and leaves writing to Python's buffer until it is closed."""

    conformance_harness = FileHarness
    file = None

    def deliver(self, context, metrics):
        try:
            if self.file is None:
                self.file = open(self.config.path, "a", encoding="utf-8")  # noqa: SIM115
            self.file.write(metrics.to_json(indent=None) + "\n")
        except OSError as e:
            raise ExporterError("the file cannot be written") from e

    def release(self, context):
        if self.file is not None:
            try:
                self.file.close()
            except OSError as e:
                raise ExporterError("the file cannot be written") from e

    def begin_anew(self):
        keep_untouched(self.file)
        self.file = None
