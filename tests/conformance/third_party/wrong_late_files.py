"""Wrong exporters to files, SQLite and TCP."""

from __future__ import annotations

import contextlib
import os
import sqlite3

from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core import Context, ExporterError
from third_party.right_late_local import LineFile, Sqlite, TcpLine


class WritesOnce(LineFile):
    """os.write may write less than it was given; nobody looks at how much it was."""

    def write(self, fd: int, data: bytes) -> None:
        os.write(fd, data)


class LeavesHalfLine(LineFile):
    """Leaves the half line of a write that failed, so that the next batch continues it."""

    def write(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


class RotatesMegabytesAway(LineFile):
    """Begins the file anew once it is larger than four megabytes, without keeping the old one."""

    def open(self) -> int:
        with contextlib.suppress(OSError):
            if os.stat(self.config.path).st_size > 4_000_000:
                os.unlink(self.config.path)
        return super().open()


class KeepsTheBrokenFile(LineFile):
    """Keeps the file open, closes it after an error, and never opens it again."""

    file = None

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        data = self.encode(metrics)
        try:
            if self.file is None:
                self.file = self.config.path.open("ab", buffering=0)
        except OSError as error:
            raise ExporterError("the file cannot be opened") from error
        try:
            self.write(self.file.fileno(), data)
        except (OSError, ValueError) as error:
            self.file.close()
            raise ExporterError("the file cannot be written") from error

    def release(self, context: Context) -> None:
        if self.file is not None:
            self.file.close()


class OneRowASeries(Sqlite):
    """INSERT OR REPLACE with the series and the time as the key: points that share them replace each other."""

    def insert(self, rows) -> None:
        self.db.execute("CREATE UNIQUE INDEX IF NOT EXISTS series_time ON points (series, time)")
        self.db.executemany("INSERT OR REPLACE INTO points (series, time, body) VALUES (?, ?, ?)", rows)


class OneThreadOnly(Sqlite):
    """Opens its connection in the constructor, for the thread that makes the exporter alone."""

    def __init__(self, config) -> None:
        super().__init__(config)
        self.db = self.connect()

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.config.path, timeout=0, isolation_level=None)

    def release(self, context: Context) -> None:
        with contextlib.suppress(sqlite3.ProgrammingError):
            super().release(context)


class SendsWhatFits(TcpLine):
    """socket.send instead of sendall: what the kernel has no room for is lost."""

    def write(self, data: bytes) -> None:
        self.sock.call(lambda: self.sock.sock.send(data), 4)
