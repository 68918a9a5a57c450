"""A right exporter that holds lines of JSON and appends them to a file."""

from __future__ import annotations

import errno
import os
import threading

from exporter_core import Exporter, ExporterConfig, ExporterError, ExporterShutdownError, PartialSuccessError
from exporter_core.conformance import Capabilities, FileSinkHarness
from exporter_core.otlp import JsonEncoder
from third_party.wild_base import holding


class FileConfig(ExporterConfig):
    path: str
    """The file."""


class WildFileHarness(FileSinkHarness):
    gated = True
    capabilities = Capabilities(
        holds=True,
        not_applicable={
            "EXP-0[789]": "a file is not connected to and gives no answers",
            "EXP-1[13569]": "a file gives no answers",
            "EXP-18": "a file gives no answers",
        },
    )

    def config(self):
        return {"path": str(self.path)}


class WildFile(Exporter[FileConfig]):
    """Holds lines of OTLP JSON, and appends them to a file when flushed or when there are many."""

    conformance_harness = WildFileHarness

    limit = 4_000_000

    def __init__(self, config):
        super().__init__(config)
        self._encoder = JsonEncoder()
        self.closed = False
        self.reset()
        holding.add(self)

    def reset(self):
        self.turn = threading.Lock()  # held while writing
        self.lock = threading.Lock()  # held for moments
        self.lines = []

    def after_fork(self):
        self.reset()
        self._encoder = JsonEncoder()

    def take_turn(self, context):
        while not self.turn.acquire(timeout=0.01):
            context.raise_if_done()

    def export(self, context, metrics):
        if self.closed:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        line, dropped = self.prepare(metrics)
        if line:
            if self.too_many():
                self.write(context)
            with self.lock:
                if self.closed:
                    raise ExporterShutdownError("shut down")
                self.lines.append(line)
        if dropped:
            raise PartialSuccessError("points that JSON cannot hold", rejected_points=dropped)

    def too_many(self):
        return sum(map(len, self.lines)) > self.limit or len(self.lines) > 2000

    def prepare(self, metrics):
        encoded = self._encoder.encode(metrics)
        return encoded.data + b"\n" if encoded.points else None, len(encoded.dropped)

    def write(self, context):
        """Write what is held; what could not be written before the context's end is held on, what failed is lost."""
        self.take_turn(context)
        try:
            context.raise_if_done()
            with self.lock:
                lines, self.lines = self.lines, []
            if not lines:
                return
            try:
                self.append(context, b"".join(lines))
            except OSError as error:
                if context.done:
                    with self.lock:
                        self.lines[:0] = lines
                    context.raise_if_done()
                raise ExporterError(f"the file cannot be written: {error.strerror}") from error
            except BaseException:
                with self.lock:
                    self.lines[:0] = lines
                raise
        finally:
            self.turn.release()

    def append(self, context, data):
        while True:
            try:
                fd = os.open(self.config.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o644)
                break
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
            context.wait(0.02)
            context.raise_if_done()
        try:
            begin, view = os.fstat(fd).st_size, memoryview(data)
            try:
                while view:
                    context.raise_if_done()
                    try:
                        view = view[os.write(fd, view) :]
                    except BlockingIOError:
                        context.wait(0.02)
            except BaseException:
                if len(view) != len(data):
                    try:
                        os.ftruncate(fd, begin)
                    except OSError:
                        pass
                raise
        finally:
            os.close(fd)

    def force_flush(self, context):
        context.raise_if_done()
        self.write(context)

    def shutdown(self, context):
        self.close()
        context.raise_if_done()
        self.write(context)

    def close(self):
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("shut down")
            self.closed = True
