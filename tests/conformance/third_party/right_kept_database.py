"""Right exporters to SQLite."""

from __future__ import annotations

import sqlite3

from exporter_core import ExporterError, ExporterShutdownError
from third_party.local_base import Turns
from third_party.local_harnesses import DatabaseHarness, HeldDatabaseHarness


class SqliteExporter(Turns):
    """Makes one transaction a batch, and waits for the lock in steps."""

    conformance_harness = DatabaseHarness
    _db = None

    def _fresh(self):
        super()._fresh()
        self.__dict__.setdefault("_kept", [])
        if self._db is not None:
            self._kept.append(self._db)  # the parent's: never touched here
        self._db = None

    def connect(self):
        if self._db is None:
            db = sqlite3.connect(self.config.path, timeout=0, isolation_level=None, check_same_thread=False)
            self._db = db
        return self._db

    def insert(self, db, data):
        db.execute("INSERT INTO batch (body) VALUES (?)", (data.decode(),))

    def deliver(self, context, data):
        try:
            db = self.connect()
            while True:
                try:
                    db.execute("BEGIN IMMEDIATE")
                    break
                except sqlite3.OperationalError as error:
                    if getattr(error, "sqlite_errorcode", 0) & 255 != sqlite3.SQLITE_BUSY:
                        raise
                    context.wait(0.02)
                    context.raise_if_done()
            try:
                self.insert(db, data)
                while True:
                    try:
                        db.execute("COMMIT")
                        break
                    except sqlite3.OperationalError as error:
                        if getattr(error, "sqlite_errorcode", 0) & 255 != sqlite3.SQLITE_BUSY:
                            raise
                        context.wait(0.02)
                        context.raise_if_done()
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise ExporterError("the database refused the batch") from error

    def release(self):
        if self._db is not None:
            db, self._db = self._db, None
            db.close()


class BatchExporter(Turns):
    """Holds up to SIZE batches, and writes them in one transaction: in an export, a flush or the shutdown."""

    conformance_harness = HeldDatabaseHarness
    SIZE = 20
    _db = None
    _hold = ()

    def _fresh(self):
        super()._fresh()
        self.__dict__.setdefault("_kept", [])
        if self._db is not None:
            self._kept.append(self._db)
        self._db = None
        self._hold = []
        self._closing = False

    connect = SqliteExporter.connect
    release = SqliteExporter.release

    def export(self, context, metrics):
        if self._down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        data = self.enc.line(metrics)
        self._take(context)
        self._running = own = context.child()
        try:
            if len(self._hold) >= self.SIZE:
                self.write(own)
            self._hold.append(data)
        finally:
            self._running = None
            self._give()

    def _give(self):
        if self._down and self._late:
            self.release()
        super()._give()

    def write(self, context):
        batch = list(self._hold)
        if not batch:
            return
        try:
            self.store(context, batch)
        except sqlite3.Error as error:
            del self._hold[: len(batch)]  # refused for good: reported, and dropped
            raise ExporterError("the database refused the batches") from error
        del self._hold[: len(batch)]

    def store(self, context, batch):
        db = self.connect()
        self.step(context, db, "BEGIN IMMEDIATE")
        try:
            db.executemany("INSERT INTO batch (body) VALUES (?)", [(one.decode(),) for one in batch])
            self.step(context, db, "COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def step(self, context, db, sql):
        while True:
            context.raise_if_done()
            try:
                db.execute(sql)
                return
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & 255 != sqlite3.SQLITE_BUSY:
                    raise
                context.wait(0.02)

    def force_flush(self, context):
        context.raise_if_done()
        try:
            self._take(context)
        except ExporterShutdownError:
            return
        self._running = own = context.child()
        try:
            self.write(own)
        finally:
            self._running = None
            self._give()

    def shutdown(self, context):
        with self._cv:
            if self._down:
                raise ExporterShutdownError("shut down")
            self._down = True
            while self._busy and not context.done:
                self._cv.wait(0.02)
            if self._busy:
                self._late = True
                if self._running is not None:
                    self._running.cancel("shut down")
                self._hold = []
                context.raise_if_done()
            self._busy = True
        try:
            context.raise_if_done()
            self.write(context)
        finally:
            self.release()
            with self._cv:
                self._busy = False
        context.raise_if_done()
