"""More right exporters of unusual design: split requests, a standard queue, SQLite, a folder, a helper process."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import uuid
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter_core import Context, ExporterError, ExporterShutdownError, PartialSuccessError
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.conformance import Capabilities, Harness, flatten
from exporter_core.exporter import Exporter
from exporter_core.otlp import decode_json
from third_party.harnesses import FILE, HoldingHarness, OtlpHarness
from third_party.right import PathConfig, PlainExporter, renew_in_child
from third_party.transport import Answer, HttpConfig, encode, exchange, post, wake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.metrics.export import MetricsData


# --- a request for each metric ----------------------------------------------------------------------------------------


class SplittingExporter(PlainExporter):
    """Post a request for each metric, in order; points that the backend refuses are told together, at the end."""

    conformance_harness = OtlpHarness

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        self.send_all(context, list(self.split(json.loads(self.encode(metrics)))))

    def split(self, document: dict[str, Any]) -> Iterator[bytes]:
        """Yield the body of each request; a batch without metrics is one request."""
        found = False
        for resource in document.get("resourceMetrics", ()):
            for scope in resource.get("scopeMetrics", ()):
                for metric in scope.get("metrics", ()):
                    found = True
                    part = {**resource, "scopeMetrics": [{**scope, "metrics": [metric]}]}
                    yield json.dumps({"resourceMetrics": [part]}).encode()
        if not found:
            yield b"{}"

    def send_all(self, context: Context, bodies: list[bytes]) -> None:
        """Send the requests one after the other."""
        rejected = 0
        for body in bodies:
            try:
                self.send(context, body)
            except PartialSuccessError as error:
                rejected += error.rejected_points
        if rejected:
            raise PartialSuccessError("the backend refused some points", rejected_points=rejected)


# --- the standard library's queue -------------------------------------------------------------------------------------


class Mark:
    """Stands in the queue behind the batches that a flush waits for."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.failure: Exception | None = None


class StandardQueueExporter(Exporter[HttpConfig]):
    """Put batches into a bounded queue; one thread delivers them, and tells failures to the next mark in the queue."""

    conformance_harness = HoldingHarness
    room = 64

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.closed = False
        self.begin()
        renew_in_child(self, self.begin)

    def begin(self) -> None:
        """Begin with an empty queue, and the thread when there is something to do."""
        self.lock = threading.Lock()
        self.queue: queue.Queue[bytes | Mark | None] = queue.Queue(self.room)
        self.lifetime = Context.background().child()
        self.thread: threading.Thread | None = None
        self.finalizer: weakref.finalize | None = None

    def start(self) -> None:
        """Start the thread, which knows the queue and not the exporter, so that it ends with it."""
        with self.lock:
            if self.thread is None:
                arguments = [self.queue, self.lifetime, self.config]
                self.thread = threading.Thread(target=self.work, args=arguments, daemon=True)
                self.finalizer = weakref.finalize(self, self.lifetime.cancel, "the exporter is gone")
                self.finalizer.atexit = False
                self.thread.start()

    @staticmethod
    def work(items: queue.Queue[bytes | Mark | None], lifetime: Context, config: HttpConfig) -> None:
        """Deliver what is queued until there is a None, or the exporter is gone."""
        failure: Exception | None = None
        while not lifetime.done:
            try:
                item = items.get(timeout=0.2)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, Mark):
                item.failure, failure = failure, None
                item.reached.set()
            else:
                try:
                    post(lifetime, partial(StandardQueueExporter.attempt, config, item))
                except Exception as error:  # noqa: BLE001 - told to the next mark
                    failure = failure or error
            items.task_done()

    @staticmethod
    def attempt(config: HttpConfig, body: bytes, context: Context) -> Answer:
        """Send once."""
        return exchange(context, config.endpoint, body, config.token.get_secret_value())

    def put(self, context: Context, item: bytes | Mark | None) -> None:
        """Put into the queue, or raise the context's error."""
        while True:
            context.raise_if_done()
            with contextlib.suppress(queue.Full):
                return self.queue.put(item, timeout=0.05)

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        body = encode(metrics)
        self.start()
        while True:
            context.raise_if_done()
            with self.lock:  # a shutdown closes under it: nothing is put behind its mark
                if self.closed:
                    raise ExporterShutdownError("the exporter has been shut down")
                with contextlib.suppress(queue.Full):
                    return self.queue.put_nowait(body)
            context.wait(0.01)

    def force_flush(self, context: Context) -> None:
        if self.closed:
            return
        context.raise_if_done()
        if self.thread is not None:
            self.wait_for_mark(context)

    def wait_for_mark(self, context: Context) -> None:
        """Wait until everything before is done, and raise what failed."""
        mark = Mark()
        self.put(context, mark)
        handles = [one.on_done(mark.reached.set) for one in (context, self.lifetime)]
        try:
            mark.reached.wait()
        finally:
            for handle in handles:
                handle.unregister()
        context.raise_if_done()
        if isinstance(mark.failure, PartialSuccessError):
            raise mark.failure
        if mark.failure is not None:
            raise ExporterError(f"a batch was not delivered: {mark.failure}") from mark.failure
        if self.lifetime.done:
            raise ExporterShutdownError("the exporter was shut down before the flush was done")

    def shutdown(self, context: Context) -> None:
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down already")
            self.closed = True
        try:
            if self.thread is not None:
                self.wait_for_mark(context)
            context.raise_if_done()
        finally:
            self.lifetime.cancel("the exporter was shut down")
            self.stop()

    def stop(self) -> None:
        """End the thread, which a cancelled lifetime has interrupted."""
        if self.thread is not None:
            with contextlib.suppress(queue.Full):
                self.queue.put_nowait(None)
            self.thread.join(1)


# --- SQLite -----------------------------------------------------------------------------------------------------------


class PathHarness(Harness):
    """A path of its own for each clause; something of another kind in its place makes exports fail."""

    capabilities = Capabilities(not_applicable=FILE)
    faults = frozenset({"ok", "refuse"})

    def setup(self, directory: Path, stamp: object) -> None:
        self.path, self.aside = directory / "batches", directory / "aside"
        self.refuses = False

    def config(self) -> dict[str, str]:
        return {"path": str(self.path)}

    def fault(self, *steps: Any) -> None:
        refuses = steps[:1] == ("refuse",)
        if refuses and not self.refuses:
            if self.path.is_dir():
                shutil.copytree(self.path, self.aside)
            elif self.path.exists():
                shutil.copyfile(self.path, self.aside)
            self.remove()
            self.refuse()
        elif self.refuses and not refuses:
            self.remove()
            if self.aside.exists():
                self.aside.rename(self.path)
        self.refuses = refuses

    def remove(self) -> None:
        """Remove the path, whatever it is."""
        for remove in (shutil.rmtree, os.unlink):
            with contextlib.suppress(OSError):
                remove(self.path)

    def refuse(self) -> None:
        """Put a folder in the path's place."""
        self.path.mkdir()


class SqliteHarness(PathHarness):
    """A database with a row a batch."""

    def read_back(self) -> list[Any]:
        if not self.path.is_file():
            return []
        with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE name = 'batches'").fetchall()
            rows = database.execute("SELECT body FROM batches ORDER BY rowid").fetchall() if tables else []
        return [point for (body,) in rows for point in flatten(decode_json(body))]


class SqliteRowsExporter(SerialExporter[PathConfig]):
    """Insert a row a batch; where another writer is at it, try again until the context is done."""

    conformance_harness = SqliteHarness
    schema = "CREATE TABLE IF NOT EXISTS batches (body BLOB NOT NULL)"
    insert = "INSERT INTO batches (body) VALUES (?)"

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        body = encode(metrics)
        try:
            self.store(context, body)
        except sqlite3.Error as error:
            raise ExporterError(f"the database cannot be written: {error}") from error

    def store(self, context: Context, body: bytes) -> None:
        """Insert the row over a connection of its own."""
        with contextlib.closing(self.connect()) as database:
            while True:
                context.raise_if_done()
                try:
                    with database:
                        database.execute(self.schema)
                        database.execute(self.insert, [body])
                    return
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error):
                        raise
                context.wait(0.02)

    def connect(self) -> sqlite3.Connection:
        """Open the database."""
        return sqlite3.connect(self.config.path, timeout=0)


# --- a folder ---------------------------------------------------------------------------------------------------------


class FolderHarness(PathHarness):
    """A folder with a file a batch."""

    def read_back(self) -> list[Any]:
        if not self.path.is_dir():
            return []
        files = sorted(one for one in self.path.iterdir() if one.suffix == ".json")
        return [point for one in files for point in flatten(decode_json(one.read_bytes()))]

    def refuse(self) -> None:
        self.path.write_bytes(b"")


class FolderExporter(SerialExporter[PathConfig]):
    """Write a file a batch under a name of its own, as mail is delivered: a reader never sees half of one."""

    conformance_harness = FolderHarness

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        context.raise_if_done()
        body = encode(metrics)
        try:
            self.config.path.mkdir(exist_ok=True)
            self.write(self.config.path / self.name(), body)
        except OSError as error:
            raise ExporterError(f"the folder cannot be written: {error.strerror}") from error

    def name(self) -> str:
        """Return a name that nobody else uses."""
        return f"{uuid.uuid4().hex}.json"

    def write(self, path: Path, body: bytes) -> None:
        """Write the file beside its place, and move it there."""
        unfinished = path.with_suffix(".part")
        try:
            unfinished.write_bytes(body)
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)


# --- a helper process -------------------------------------------------------------------------------------------------

HELPER = """
import os, sys
source, target = sys.stdin.buffer, sys.stdout.buffer
while True:
    head = source.readline()
    if not head:
        break
    path, _, size = head.decode().rstrip("\\n").rpartition(" ")
    line = source.read(int(size))
    if len(line) < int(size):
        break
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(number, view):]
        finally:
            os.close(number)
        answer = "stored"
    except OSError as error:
        answer = error.strerror
    target.write(answer.encode() + b"\\n")
    target.flush()
"""


class LinesFileHarness(PathHarness):
    """A file with a line a batch."""

    def read_back(self) -> list[Any]:
        lines = self.path.read_bytes().splitlines() if self.path.is_file() else []
        return [point for line in lines for point in flatten(decode_json(line))]


class HelperExporter(SerialExporter[PathConfig]):
    """Hand each batch to a helper process that lives as long as the exporter, and wait for its word."""

    conformance_harness = LinesFileHarness

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        self.helper: subprocess.Popen[bytes] | None = None
        self.finalizer: weakref.finalize | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Return the helper, running."""
        if self.helper is None or self.helper.poll() is not None:
            self.stop()
            command = [sys.executable, "-I", "-S", "-c", HELPER]
            self.helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
            for pipe in (self.helper.stdin, self.helper.stdout):
                os.set_blocking(pipe.fileno(), False)  # type: ignore[union-attr]
            self.finalizer = weakref.finalize(self, end_helper, self.helper)
        return self.helper

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        line = encode(metrics) + b"\n"
        helper = self.start()
        try:
            self.exchange(context, helper, f"{self.config.path} {len(line)}\n".encode() + line)
        except ExporterError as error:
            self.failed(error)
            raise

    def exchange(self, context: Context, helper: subprocess.Popen[bytes], data: bytes) -> None:
        """Hand over the batch and read the answer."""
        view, answer = memoryview(data), b""
        while not answer.endswith(b"\n"):
            self.wait(context, helper.stdin if view else helper.stdout)
            try:
                if view:
                    view = view[os.write(helper.stdin.fileno(), view) :]  # type: ignore[union-attr]
                    continue
                more = os.read(helper.stdout.fileno(), 4096)  # type: ignore[union-attr]
            except BlockingIOError:
                continue
            except OSError as error:
                raise HelperLostError("the helper has ended") from error
            if not more:
                raise HelperLostError("the helper has ended")
            answer += more
        if answer != b"stored\n":
            raise ExporterError(f"the file cannot be written: {answer.decode().strip()}")

    def wait(self, context: Context, pipe: Any) -> None:
        """Wait until the pipe is ready, or raise the context's error."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            handle = context.on_done(lambda: wake(theirs))
            try:
                poll = select.poll()
                poll.register(pipe, select.POLLOUT if pipe.writable() else select.POLLIN)
                poll.register(ours, select.POLLIN)
                remaining = context.remaining()
                poll.poll(None if remaining is None else remaining * 1000 + 1)
            finally:
                handle.unregister()
        context.raise_if_done()

    def failed(self, error: ExporterError) -> None:
        """End a helper that was left in the middle of a batch, or has ended: the next export starts another."""
        self.stop()

    def stop(self) -> None:
        """End the helper."""
        if self.finalizer is not None:
            self.finalizer()
        self.helper = self.finalizer = None

    def release(self, context: Context) -> None:
        self.stop()

    def begin_anew(self) -> None:
        if self.helper is not None:
            keep_untouched(self.helper)
        if self.finalizer is not None:
            self.finalizer.detach()
        self.helper = self.finalizer = None


class HelperLostError(ExporterError):
    """The helper process has ended."""


def end_helper(helper: subprocess.Popen[bytes]) -> None:
    """Close the pipes, and end the process."""
    for pipe in (helper.stdin, helper.stdout):
        pipe.close()  # type: ignore[union-attr]
    helper.kill()
    helper.wait()
