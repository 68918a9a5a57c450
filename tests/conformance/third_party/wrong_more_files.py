"""Further wrong exporters to files, databases, folders and child processes, and over plain sockets."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import tempfile
import time
from typing import IO, TYPE_CHECKING

from exporter_core import Context, ExporterError
from exporter_core.authoring import SerialExporter, keep_untouched
from third_party.right import LinesExporter, PathConfig
from third_party.right_more import (
    FolderExporter,
    HelperExporter,
    LinesFileHarness,
    SqliteRowsExporter,
)
from third_party.right_unusual import SpoolExporter
from third_party.transport import encode

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.sdk.metrics.export import MetricsData

    from third_party.transport import Wire


# --- a folder ---------------------------------------------------------------------------------------------------------


class NamesBySecond(FolderExporter):
    """A file is named after the second in which it is written: of two batches in a second the later one stays."""

    def name(self) -> str:
        return time.strftime("%Y%m%d-%H%M%S.json")


class CountsFromOne(FolderExporter):
    """Files are numbered from 1 by each exporter: another one at the same folder replaces the first one's."""

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        self.number = 0

    def name(self) -> str:
        self.number += 1
        return f"{self.number:06}.json"


class KeepsTenFiles(FolderExporter):
    """The folder keeps ten files: an older one is removed, whether anybody has read it or not."""

    def write(self, path: Path, body: bytes) -> None:
        super().write(path, body)
        files = sorted(self.config.path.glob("*.json"), key=lambda one: one.stat().st_mtime_ns)
        for one in files[:-10]:
            one.unlink(missing_ok=True)


# --- files ------------------------------------------------------------------------------------------------------------


class WritesToTheOldFile(SerialExporter[PathConfig]):
    """The file is opened once: where it is moved away or removed, later batches go into what has no name any more."""

    conformance_harness = LinesFileHarness

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        self.file: IO[bytes] | None = None

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        line = encode(metrics) + b"\n"
        try:
            if self.file is None:
                self.file = self.config.path.open("ab", buffering=0)
            view = memoryview(line)
            while view:
                view = view[self.file.write(view) :]
        except OSError as error:
            raise ExporterError(f"the file cannot be written: {error.strerror}") from error

    def release(self, context: Context) -> None:
        if self.file is not None:
            self.file.close()

    def begin_anew(self) -> None:
        self.file = None


class LeavesItsFolder(SpoolExporter):
    """The temporary folder of the batches that wait is not removed by the shutdown."""

    def shutdown(self, context: Context) -> None:
        folder, self.folder = self.folder, None
        super().shutdown(context)
        self.folder = folder


# --- SQLite -----------------------------------------------------------------------------------------------------------


class KeptDatabaseExporter(SqliteRowsExporter):
    """Keep one connection to the database."""

    is_checked = False

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        self.database: sqlite3.Connection | None = None

    def store(self, context: Context, body: bytes) -> None:
        while True:
            context.raise_if_done()
            try:
                if self.database is None:
                    self.database = sqlite3.connect(self.config.path, timeout=0, check_same_thread=self.is_checked)
                self.insert_row(self.database, body)
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
            context.wait(0.02)

    def insert_row(self, database: sqlite3.Connection, body: bytes) -> None:
        """Insert the row, and commit."""
        with database:
            database.execute(self.schema)
            database.execute(self.insert, [body])

    def release(self, context: Context) -> None:
        if self.database is not None:
            self.database.close()

    def begin_anew(self) -> None:
        keep_untouched(self.database)
        self.database = None


class BelongsToOneThread(KeptDatabaseExporter):
    """The connection belongs to the thread of the first export: an export, or a shutdown, on another thread fails."""

    is_checked = True


class CommitsAtTheEnd(KeptDatabaseExporter):
    """Rows are committed by the shutdown: until then nobody else sees them."""

    def insert_row(self, database: sqlite3.Connection, body: bytes) -> None:
        database.execute(self.schema)
        database.execute(self.insert, [body])

    def release(self, context: Context) -> None:
        if self.database is not None:
            self.database.commit()
        super().release(context)


class LockedIsDone(SqliteRowsExporter):
    """A database that is locked or cannot be opened is tried three times; then export returns all the same."""

    def store(self, context: Context, body: bytes) -> None:
        for _ in range(3):
            context.raise_if_done()
            with (
                contextlib.suppress(sqlite3.OperationalError),
                contextlib.closing(self.connect()) as database,
                database,
            ):
                database.execute(self.schema)
                database.execute(self.insert, [body])
                return


# --- child processes --------------------------------------------------------------------------------------------------


class CommandExporter(SerialExporter[PathConfig]):
    """Start a command for each batch."""

    conformance_harness = LinesFileHarness

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        self.run(context, encode(metrics) + b"\n")

    def run(self, context: Context, line: bytes) -> None:
        """Append a line with dd."""
        command = ["/bin/dd", f"of={self.config.path}", "oflag=append", "conv=notrunc", "bs=1M", "status=none"]
        with tempfile.TemporaryFile() as batch:
            batch.write(line)
            batch.seek(0)
            child = subprocess.Popen(command, stdin=batch, stderr=subprocess.PIPE)
        handle = context.on_done(child.kill)
        try:
            self.finish(context, child)
        finally:
            handle.unregister()

    def finish(self, context: Context, child: subprocess.Popen[bytes]) -> None:
        """Wait for the command, and raise where it failed."""
        _, said = child.communicate()
        if child.returncode:
            context.raise_if_done()
            raise ExporterError(f"dd failed: {said.decode(errors='replace').strip()}")


class IgnoresExitStatus(CommandExporter):
    """The command's exit status is not looked at, and what it says on standard error is thrown away."""

    def finish(self, context: Context, child: subprocess.Popen[bytes]) -> None:
        child.communicate()
        context.raise_if_done()


class LeavesZombies(CommandExporter):
    """The end of its standard error is taken for the command's end: nobody waits for it, and zombies pile up."""

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        self.children: list[subprocess.Popen[bytes]] = []

    def finish(self, context: Context, child: subprocess.Popen[bytes]) -> None:
        self.children.append(child)
        with child.stderr:  # type: ignore[union-attr]
            said = child.stderr.read()  # type: ignore[union-attr]
        context.raise_if_done()
        if said:
            raise ExporterError(f"dd failed: {said.decode(errors='replace').strip()}")


class BatchOnTheCommandLine(CommandExporter):
    """The batch is an argument of the command: one of more than 128 KiB is refused by the kernel."""

    def run(self, context: Context, line: bytes) -> None:
        command = ["/bin/sh", "-c", 'printf "%s\\n" "$0" >> "$1"', line.rstrip(b"\n"), str(self.config.path)]
        try:
            child = subprocess.Popen(command, stderr=subprocess.PIPE)
        except OSError as error:
            raise ExporterError(f"the command cannot be started: {error.strerror}") from error
        handle = context.on_done(child.kill)
        try:
            self.finish(context, child)
        finally:
            handle.unregister()


class HelperIsGone(HelperExporter):
    """A helper process is ended by a failure, and no other one is started: every later export fails."""

    def start(self) -> subprocess.Popen[bytes]:
        return self.helper or super().start()

    def failed(self, error: ExporterError) -> None:
        if self.helper is not None:
            self.helper.kill()
            self.helper.wait()


class HelperOutlives(HelperExporter):
    """The helper is not ended by the shutdown: it goes when the application does."""

    def release(self, context: Context) -> None:
        """Leave it be."""


class HelperForEachExport(HelperExporter):
    """Every export starts a helper, and forgets the one before instead of ending it."""

    def start(self) -> subprocess.Popen[bytes]:
        self.helper = self.finalizer = None
        return super().start()


# --- plain sockets ----------------------------------------------------------------------------------------------------


class BlocksInSend(LinesExporter):
    """A line is sent with ``sendall`` on a blocking socket without a time-out: a server that stops reading holds it."""

    def write(self, context: Context, wire: Wire, data: bytes) -> None:
        wire.socket.setblocking(True)
        wire.socket.sendall(data)
        wire.socket.setblocking(False)
