"""Further right exporters of unusual design."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from exporter_core import Context, ContextCancelledError, ExporterError, ExporterShutdownError
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.exporter import Exporter
from third_party.harnesses import FileHarness, HoldingHarness, OtlpHarness
from third_party.right import PathConfig, renew_in_child
from third_party.transport import (
    TRANSIENT,
    Answer,
    HttpConfig,
    RefusedError,
    address_of,
    encode,
    exchange,
    judge,
    post,
    read_answer,
    request_bytes,
    retry_after,
    wait_until,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData


class ChildProcessExporter(SerialExporter[PathConfig]):
    """Give each batch to a child process, which appends it to the file."""

    conformance_harness = FileHarness

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        line = encode(metrics) + b"\n"
        command = ["/bin/dd", f"of={self.config.path}", "oflag=append", "conv=notrunc", "bs=1M", "status=none"]
        with tempfile.TemporaryFile() as batch:
            batch.write(line)
            batch.seek(0)
            child = subprocess.Popen(command, stdin=batch, stderr=subprocess.PIPE)
            handle = context.on_done(child.kill)
            try:
                _, said = child.communicate()
            finally:
                handle.unregister()
        if child.returncode:
            context.raise_if_done()
            raise ExporterError(f"dd failed: {said.decode(errors='replace').strip()}")


class BlockingExporter(SerialExporter[HttpConfig]):
    """Use http.client with blocking sockets, which another thread shuts down when the context is done."""

    conformance_harness = OtlpHarness

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.connection: http.client.HTTPConnection | None = None

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        body = encode(metrics)
        post(context, lambda running: self.attempt(running, body))

    def attempt(self, context: Context, body: bytes) -> Answer:
        """Send once, over the kept connection if it is alive."""
        context.raise_if_done()
        if self.connection is not None and self.is_stale(self.connection.sock):
            self.drop()
        fresh = self.connection is None
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*address_of(self.config.endpoint))
            self.connection.sock = socket.socket()
        wire = self.connection.sock
        handle = context.on_done(lambda: self.interrupt(wire))
        try:
            if fresh:
                wire.connect(address_of(self.config.endpoint))
            token = self.config.token.get_secret_value()
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
            self.connection.request("POST", urlsplit(self.config.endpoint).path or "/", body, headers)
            response = self.connection.getresponse()
            content = response.read()
            if response.will_close:
                self.drop()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, content)
        except http.client.RemoteDisconnected as error:
            self.drop()
            context.raise_if_done()
            raise ConnectionResetError("the connection was closed before an answer") from error
        except http.client.HTTPException as error:
            self.drop()
            context.raise_if_done()
            raise ExporterError("the answer is not HTTP, or was cut short") from error
        except OSError:
            self.drop()
            context.raise_if_done()
            raise
        finally:
            handle.unregister()

    def is_stale(self, wire: socket.socket) -> bool:
        """True when the other end has closed."""
        try:
            return wire.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def interrupt(self, wire: socket.socket) -> None:
        """End whatever waits for the socket, on another thread."""
        with contextlib.suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def release(self, context: Context) -> None:
        self.drop()

    def begin_anew(self) -> None:
        if self.connection is not None:
            keep_untouched(self.connection.sock)
        self.connection = None


class AsyncExporter(Exporter[HttpConfig]):
    """Deliver in coroutines; cancellation of the task is the cancellation of the export."""

    conformance_harness = OtlpHarness

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.lock = threading.Lock()
        self.closed = False
        self.lifetime = Context.background().child()

    async def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        body = encode(metrics)
        pause = 0.1
        for number in range(1, 6):
            asked = 0.0
            try:
                return judge(await self.attempt(body))
            except RefusedError as error:
                if error.answer.status not in TRANSIENT or number == 5:
                    raise
                asked = retry_after(error.answer)
            except TimeoutError:
                raise
            except OSError as error:
                if number == 5:
                    raise ExporterError(f"the backend cannot be reached: {error.strerror or error}") from error
            await context.sleep(max(asked, pause))
            context.raise_if_done()
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            pause *= 2
        return None

    async def attempt(self, body: bytes) -> Answer:
        """Post over a connection of its own."""
        reader, writer = await asyncio.open_connection(*address_of(self.config.endpoint))
        try:
            writer.write(request_bytes(self.config.endpoint, body, self.config.token.get_secret_value()))
            await writer.drain()
            chunks = iter([await reader.read()])
            return read_answer(lambda: next(chunks, b""))
        finally:
            writer.transport.abort()

    async def shutdown(self, context: Context) -> None:
        with self.lock:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down already")
            self.closed = True
        context.raise_if_done()


class SpoolExporter(Exporter[HttpConfig]):
    """Write each batch into a folder of the exporter's own; a flush posts the files in order and removes them."""

    conformance_harness = HoldingHarness

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self.closed = False
        self.begin()
        renew_in_child(self, self.begin)

    def begin(self) -> None:
        """Begin with an empty folder, made when it is needed; the parent's is the parent's."""
        self.condition = threading.Condition()
        self.busy = False
        self.folder: Path | None = None
        self.names: list[Path] = []
        self.count = 0
        self.lifetime = Context.background().child()

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        body = encode(metrics)
        with self.condition:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down")
            if self.folder is None:
                self.folder = Path(tempfile.mkdtemp(prefix="spool-"))
            name = self.folder / f"{self.count:08}"
            self.count += 1
            unfinished = name.with_suffix(".part")
            unfinished.write_bytes(body)
            unfinished.rename(name)
            self.names.append(name)

    def force_flush(self, context: Context) -> None:
        if self.closed:
            return
        context.raise_if_done()
        self.flush(context)

    def flush(self, context: Context) -> None:
        """Post what is in the folder; a file that the backend refuses is removed and told."""
        with self.condition:
            if not wait_until(self.condition, context, lambda: not self.busy):
                context.raise_if_done()
            self.busy = True
        failure: ExporterError | None = None
        try:
            while True:
                with self.condition:
                    if not self.names:
                        break
                    name = self.names[0]
                try:
                    self.deliver(context, name.read_bytes())
                except ExporterError as error:
                    failure = failure or error
                with self.condition:
                    name.unlink(missing_ok=True)
                    del self.names[0]
        finally:
            with self.condition:
                self.busy = False
                self.condition.notify_all()
        if failure is not None:
            raise failure

    def deliver(self, context: Context, body: bytes) -> None:
        """Send with retries, no longer than this exporter or the caller lasts."""
        token = self.config.token.get_secret_value()
        running = context.child()
        handle = self.lifetime.on_done(lambda: running.cancel("the exporter was shut down"))
        try:
            post(running, lambda context: exchange(context, self.config.endpoint, body, token))
        except ContextCancelledError as error:
            context.raise_if_done()
            raise ExporterShutdownError("the exporter was shut down") from error
        finally:
            handle.unregister()

    def shutdown(self, context: Context) -> None:
        with self.condition:
            if self.closed:
                raise ExporterShutdownError("the exporter has been shut down already")
            self.closed = True
        try:
            context.raise_if_done()
            self.flush(context)
        finally:
            self.lifetime.cancel("the exporter was shut down")
            if self.folder is not None:
                shutil.rmtree(self.folder, ignore_errors=True)
