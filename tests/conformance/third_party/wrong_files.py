"""Wrong exporters to files, pipes and plain sockets."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from exporter_core import Context, ExporterError, ExporterShutdownError
from exporter_core.authoring import SerialExporter
from exporter_core.exporter import Exporter
from third_party.harnesses import FileHarness, FullDiskHarness, HoldingFileHarness, RotatingHarness
from third_party.right import LinesExporter, LockedFileExporter, PathConfig
from third_party.transport import Wire, encode

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from third_party.right import LinesConfig


class AppendingExporter(SerialExporter[PathConfig]):
    """Append a line a batch."""

    conformance_harness = FileHarness

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        context.raise_if_done()
        try:
            self.write(encode(metrics) + b"\n")
        except OSError as error:
            raise ExporterError(f"the file cannot be written: {error.strerror}") from error

    def write(self, line: bytes) -> None:
        """Append a line."""
        with self.config.path.open("ab") as file:
            file.write(line)


class FullDiskIsFine(AppendingExporter):
    """A full disk is not to trouble the application: export returns."""

    conformance_harness = FullDiskHarness

    def write(self, line: bytes) -> None:
        try:
            super().write(line)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


class ShortWrite(AppendingExporter):
    """The count that ``os.write`` returns is not looked at; a page at most is written at once."""

    def write(self, line: bytes) -> None:
        number = os.open(self.config.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(number, line[:1_000_000])
        finally:
            os.close(number)


class BuffersInUserland(AppendingExporter):
    """The file stays open, and its buffer is never flushed: the last lines arrive when it is closed."""

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        self.file = None

    def write(self, line: bytes) -> None:
        if self.file is None:
            self.file = self.config.path.open("ab", buffering=1 << 16)
        self.file.write(line)

    def release(self, context: Context) -> None:
        if self.file is not None:
            self.file.close()


class FlushIsForClosing(BuffersInUserland):
    """The same, and the harness says that lines are held; but a flush does nothing."""

    conformance_harness = HoldingFileHarness


class RotatesAway(AppendingExporter):
    """Above 64 KiB the file becomes ``.1``, and what was ``.1`` is gone."""

    conformance_harness = RotatingHarness

    def write(self, line: bytes) -> None:
        path = self.config.path
        if path.exists() and path.stat().st_size > 65536:
            path.replace(path.with_suffix(".1"))
        super().write(line)


class TruncatesAfterFailure(AppendingExporter):
    """After a failed write the file is opened anew, with ``w``: what was delivered before is gone."""

    failed = False

    def write(self, line: bytes) -> None:
        try:
            with self.config.path.open("wb" if self.failed else "ab") as file:
                file.write(line)
        except OSError:
            self.failed = True
            raise
        self.failed = False


class OpensWithW(AppendingExporter):
    """An exporter's first write replaces the file: what an earlier one delivered, or the parent of a fork, is gone."""

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        self.mode = "wb"

    def write(self, line: bytes) -> None:
        with self.config.path.open(self.mode) as file:
            file.write(line)
        self.mode = "ab"

    def begin_anew(self) -> None:
        self.mode = "wb"


class ReplacesTheFile(AppendingExporter):
    """Each batch is written to a new file that takes the old one's place, as for Prometheus' textfile collector."""

    def write(self, line: bytes) -> None:
        fresh = self.config.path.with_suffix(".new")
        fresh.write_bytes(line)
        if self.config.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        fresh.replace(self.config.path)


class ClosesANumberTwice(LockedFileExporter):
    """Every shutdown closes the descriptor's number, the second one too, when it is no longer the exporter's."""

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        self.number = -1

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        if self.number < 0:
            self.number = os.open(os.devnull, os.O_RDONLY)
        super().deliver(context, metrics)

    def shutdown(self, context: Context) -> None:
        if self.number >= 0:
            try:
                os.close(self.number)
            except OSError:
                pass
        super().shutdown(context)


class ClosesANumberAfterFailure(LockedFileExporter):
    """A descriptor that failed is closed at once, and again by the shutdown."""

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        self.number = -1

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        if self.number < 0:
            self.number = os.open(os.devnull, os.O_RDONLY)
        try:
            super().deliver(context, metrics)
        except Exception:
            os.close(self.number)
            raise

    def release(self, context: Context) -> None:
        if self.number >= 0:
            try:
                os.close(self.number)
            except OSError:
                pass


class LeavesHalfALine(Exporter[PathConfig]):
    """A line is written in two parts without a lock: two exports at once mix theirs."""

    conformance_harness = FileHarness
    closed = False

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down")
        context.raise_if_done()
        data = encode(metrics)
        try:
            with self.config.path.open("ab", buffering=0) as file:
                file.write(data[: len(data) // 2])
                file.write(data[len(data) // 2 :])
                file.write(b"\n")
        except OSError as error:
            raise ExporterError(f"the file cannot be written: {error.strerror}") from error

    def force_flush(self, context: Context) -> None:
        if not self.closed:
            context.raise_if_done()

    def shutdown(self, context: Context) -> None:
        if self.closed:
            raise ExporterShutdownError("the exporter has been shut down already")
        self.closed = True
        context.raise_if_done()


class SendsOnce(LinesExporter):
    """``send`` in the place of ``sendall``: what does not fit into the socket's buffer is lost."""

    def write(self, context: Context, wire: Wire, data: bytes) -> None:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        wire.socket.send(data)


class KeepsConnection(LinesExporter):
    """Keep the connection from one export to the next; the server's taking is not waited for."""

    def __init__(self, config: LinesConfig) -> None:
        super().__init__(config)
        self.wire: Wire | None = None

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        data = encode(metrics) + b"\n"
        try:
            if self.wire is None:
                host, _, port = self.config.address.rpartition(":")
                self.wire = Wire((host, int(port)))
                self.wire.connect(context)
            self.wire.send(context, data)
        except BaseException as error:
            if self.wire is not None:
                self.wire.close()
            self.wire = None
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                raise ExporterError(f"the server cannot be reached: {error.strerror}") from error
            raise

    def release(self, context: Context) -> None:
        if self.wire is not None:
            self.wire.close()


class SharesConnectionWithChild(KeepsConnection):
    """Parent and child of a fork write to the same connection, and the child's shutdown ends it for both."""

    def release(self, context: Context) -> None:
        if self.wire is not None:
            try:
                self.wire.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.wire.close()


class ForgetsHalfSentLine(KeepsConnection):
    """After a deadline in mid-line the connection is kept: the next line is glued to half of this one."""

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        data = encode(metrics) + b"\n"
        try:
            if self.wire is None:
                host, _, port = self.config.address.rpartition(":")
                wire = Wire((host, int(port)))
                wire.connect(context)
                self.wire = wire
            self.wire.send(context, data)
        except TimeoutError:
            raise
        except OSError as error:
            self.wire = None
            raise ExporterError(f"the server cannot be reached: {error.strerror}") from error
