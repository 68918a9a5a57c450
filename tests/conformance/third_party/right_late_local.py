"""The right exporters to local things that others are made from: a file, SQLite, a TCP line."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import sqlite3
from pathlib import Path

from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics
from pydantic import Field

from exporter_core import Context, ExporterConfig, ExporterError
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core.conformance import Capabilities, FileSinkHarness, Harness, SinkHarness, flatten
from exporter_core.otlp import decode, decode_json, encode, encode_json
from third_party.late_transport import ContextSocket, connect


class PathConfig(ExporterConfig):
    path: Path = Field(description="The file.")


class FileHarness(FileSinkHarness):
    capabilities = Capabilities.without_answers("a file")

    def config(self):
        return {"path": str(self.path)}


class LineFile(SerialExporter[PathConfig]):
    """Right: OTLP's JSON, a line for each batch; what was half written is taken back."""

    conformance_harness = FileHarness

    def encode(self, metrics: MetricsData) -> bytes:
        text = encode_json(metrics)
        if isinstance(text, str):
            text = text.encode()
        return text + b"\n"

    def open(self) -> int:
        return os.open(self.config.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        data = self.encode(metrics)
        try:
            fd = self.open()
        except OSError as error:
            raise ExporterError("the file cannot be opened") from error
        try:
            self.write(fd, data)
        except OSError as error:
            raise ExporterError("the file cannot be written") from error
        finally:
            os.close(fd)

    def write(self, fd: int, data: bytes) -> None:
        before = os.fstat(fd).st_size
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(fd, view) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, before)
            raise


SCHEMA = (
    "CREATE TABLE IF NOT EXISTS points (id INTEGER PRIMARY KEY AUTOINCREMENT, series TEXT, time INTEGER, body BLOB)"
)


class SqliteHarness(Harness):
    capabilities = Capabilities(
        not_applicable={"EXP-0[78]": "a database file is not connected to", "EXP-18": "it gives no answers"}
    )
    faults = frozenset({"ok", "refuse"})

    def setup(self, directory, stamp):
        self.path = directory / "points.db"
        self._run(SCHEMA)

    def _run(self, sql):
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None, timeout=5)) as db:
            return db.execute(sql).fetchall()

    def config(self):
        return {"path": str(self.path)}

    def _table(self):
        names = {name for (name,) in self._run("SELECT name FROM sqlite_master WHERE type='table'")}
        return "hidden" if "hidden" in names else "points"

    def read_back(self):
        for (body,) in self._run(f"SELECT body FROM {self._table()} ORDER BY rowid"):
            yield from flatten(decode(body))

    def fault(self, *steps):
        want = "points" if steps[-1] == "ok" else "hidden"
        have = self._table()
        if want != have:
            self._run(f"ALTER TABLE {have} RENAME TO {want}")


def singles(metrics: MetricsData):
    """Each point as metrics data of its own."""
    for rm in metrics.resource_metrics:
        for sm in rm.scope_metrics:
            for m in sm.metrics:
                for p in m.data.data_points:
                    one = Metric(m.name, m.description, m.unit, dataclasses.replace(m.data, data_points=[p]))
                    yield (
                        rm,
                        sm,
                        m,
                        p,
                        MetricsData(
                            [
                                ResourceMetrics(
                                    rm.resource, [ScopeMetrics(sm.scope, [one], sm.schema_url)], rm.schema_url
                                )
                            ]
                        ),
                    )


class Sqlite(SerialExporter[PathConfig]):
    """Right: a row for each point, a transaction for each batch."""

    conformance_harness = SqliteHarness
    schema = SCHEMA

    def __init__(self, config: PathConfig) -> None:
        super().__init__(config)
        self.db: sqlite3.Connection | None = None

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.config.path, timeout=0, isolation_level=None, check_same_thread=False)

    def rows(self, metrics: MetricsData):
        return [
            (f"{m.name}{dict(p.attributes or {})}", p.time_unix_nano, encode(one))
            for _, _, m, p, one in singles(metrics)
        ]

    def begin(self, context: Context) -> None:
        while True:
            context.raise_if_done()
            try:
                self.db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) and "busy" not in str(error):
                    raise
            context.wait(0.01)

    def insert(self, rows) -> None:
        self.db.executemany("INSERT INTO points (series, time, body) VALUES (?, ?, ?)", rows)

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        rows = self.rows(metrics)
        try:
            if self.db is None:
                self.db = self.connect()
            self.begin(context)
            self.insert(rows)
            self.commit(context)
        except sqlite3.Error as error:
            self.undo()
            raise ExporterError("the database refused the batch") from error
        except BaseException:
            self.undo()
            raise

    def commit(self, context: Context) -> None:
        while True:
            try:
                self.db.execute("COMMIT")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) and "busy" not in str(error):
                    raise
            context.wait(0.01)
            context.raise_if_done()

    def undo(self) -> None:
        if self.db is not None and self.db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self.db.execute("ROLLBACK")

    def release(self, context: Context) -> None:
        if self.db is not None:
            self.db.close()
            self.db = None

    def begin_anew(self) -> None:
        keep_untouched(self.db)
        self.db = None


class AddressConfig(ExporterConfig):
    host: str = Field(description="The host.")
    port: int = Field(description="The port.")


class TcpHarness(SinkHarness):
    kind = "tcp"
    capabilities = Capabilities.without_answers("a TCP line receiver")

    def config(self):
        host, _, port = self.address.rpartition(":")
        return {"host": host, "port": int(port)}

    def decode(self, content):
        for line in content.splitlines():
            with contextlib.suppress(Exception):
                yield from flatten(decode_json(line))


class TcpLine(SerialExporter[AddressConfig]):
    """Right: OTLP's JSON, a connection for each batch, whose end the receiver confirms by closing."""

    conformance_harness = TcpHarness

    def __init__(self, config: AddressConfig) -> None:
        super().__init__(config)
        self.sock: ContextSocket | None = None

    def encode(self, metrics: MetricsData) -> bytes:
        text = encode_json(metrics)
        if isinstance(text, str):
            text = text.encode()
        return text + b"\n"

    def drop(self) -> None:
        if self.sock is not None:
            self.sock.kill()
            self.sock = None

    def write(self, data: bytes) -> None:
        self.sock.sendall(data)

    def finish(self) -> None:
        """The receiver closes its side once it has read everything."""
        self.sock.sock.shutdown(socket.SHUT_WR)
        while self.sock.recv_into(bytearray(4096)):
            pass

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        data = self.encode(metrics)
        pause = 0.1
        while True:
            context.raise_if_done()
            try:
                self.sock = connect(context, self.config.host, self.config.port)
                self.write(data)
                self.finish()
                self.drop()
                return
            except TimeoutError:
                self.drop()
                raise
            except OSError as error:
                self.drop()
                if pause > 1:
                    raise ExporterError("the receiver cannot be reached") from error
            except BaseException:
                self.drop()
                raise
            context.wait(pause)
            pause *= 2

    def release(self, context: Context) -> None:
        self.drop()

    def begin_anew(self) -> None:
        if self.sock is not None:
            keep_untouched(self.sock, self.sock.sock)
        self.sock = None
