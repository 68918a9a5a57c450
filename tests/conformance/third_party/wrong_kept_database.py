"""Wrong exporters to SQLite."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time

from exporter_core import ExporterError, ExporterShutdownError
from third_party.right_kept_database import BatchExporter, SqliteExporter


class FiveSeconds(SqliteExporter):
    """Leaves sqlite3's own time-out of five seconds to wait for a lock."""

    def connect(self):
        if self._db is None:
            self._db = sqlite3.connect(self.config.path, isolation_level=None, check_same_thread=False)
        return self._db


class LockedIsFine(SqliteExporter):
    """Tries for a second to get the lock, then logs and returns."""

    def deliver(self, context, data):
        own = context.child(timeout=1)
        try:
            super().deliver(own, data)
        except TimeoutError:
            logging.getLogger("mine").warning("the database is locked")
            context.raise_if_done()


class CommitsLater(SqliteExporter):
    """Leaves the transaction open until the next export begins."""

    def deliver(self, context, data):
        try:
            db = self.connect()
            if db.in_transaction:
                db.execute("COMMIT")
            db.execute("BEGIN IMMEDIATE")
            self.insert(db, data)
        except sqlite3.Error as error:
            raise ExporterError("refused") from error

    def release(self):
        if self._db is not None and self._db.in_transaction:
            self._db.execute("COMMIT")
        super().release()


class KeyIsTime(SqliteExporter):
    """Takes the time of the last point in microseconds for the row's key, and replaces what is there."""

    def insert(self, db, data):
        times = [
            int(p["timeUnixNano"])
            for r in json.loads(data)["resourceMetrics"]
            for s in r["scopeMetrics"]
            for m in s["metrics"]
            for k in ("sum", "gauge", "histogram", "exponentialHistogram")
            for p in m.get(k, {}).get("dataPoints", ())
        ]
        key = max(times, default=time.time_ns()) // 1000
        db.execute("INSERT OR REPLACE INTO batch (id, body) VALUES (?, ?)", (key & (2**62 - 1), data.decode()))


class ChecksItsThread(SqliteExporter):
    """Leaves SQLite's check of the thread, so that another thread can neither write nor close."""

    def connect(self):
        if self._db is None:
            self._db = sqlite3.connect(self.config.path, timeout=0, isolation_level=None)
        return self._db


class NoRollback(SqliteExporter):
    """Does not roll back what was refused: the next BEGIN fails."""

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
            self.insert(db, data)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            raise ExporterError("refused") from error


class DeafToCancel(SqliteExporter):
    """Waits for the lock until the deadline, and does not look whether it was cancelled."""

    def deliver(self, context, data):
        class Deaf:
            def wait(self, seconds):
                time.sleep(min(seconds, context.remaining() if context.remaining() is not None else seconds))

            def raise_if_done(self):
                if context.remaining() == 0:
                    context.raise_if_done()

        super().deliver(Deaf(), data)


class SwapsFirst(BatchExporter):
    """Takes the batches out before it writes them, and does not put them back when its time is up."""

    def write(self, context):
        batch, self._hold = self._hold, []
        if not batch:
            return
        try:
            self.store(context, batch)
        except sqlite3.Error as error:
            raise ExporterError("refused") from error


class AppendsFirst(BatchExporter):
    """Holds a batch before it makes room: an export that raises for want of time has been accepted all the same."""

    def export(self, context, metrics):
        if self._down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        data = self.enc.line(metrics)
        self._take(context)
        self._running = own = context.child()
        try:
            self._hold.append(data)
            if len(self._hold) >= self.SIZE:
                self.write(own)
        finally:
            self._running = None
            self._give()


class ClearsRace(BatchExporter):
    """Appends without the turn, since appending is atomic, and clears the whole list after a write."""

    SIZE = 10**6

    def export(self, context, metrics):
        if self._down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        self._hold.append(self.enc.line(metrics))

    def write(self, context):
        batch = list(self._hold)
        if not batch:
            return
        try:
            self.store(context, batch)
        except sqlite3.Error as error:
            self._hold.clear()
            raise ExporterError("refused") from error
        self._hold.clear()


class KeepsRefused(BatchExporter):
    """Keeps what was refused for good, and raises it again at every flush."""

    def write(self, context):
        batch = list(self._hold)
        if not batch:
            return
        try:
            self.store(context, batch)
        except sqlite3.Error as error:
            raise ExporterError("refused") from error
        del self._hold[: len(batch)]


class OnlyFullBatches(BatchExporter):
    """Drops batches beyond 200 held ones when the database is locked, with a warning."""

    def export(self, context, metrics):
        if self._down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        data = self.enc.line(metrics)
        self._take(context)
        try:
            if len(self._hold) >= 200:
                logging.getLogger("mine").warning("full")
                return
            self._hold.append(data)
        finally:
            self._give()


class ConnectionPerThread(SqliteExporter):
    """Has a connection for each thread, of which the shutdown closes its own thread's."""

    def _fresh(self):
        super()._fresh()
        self._local = threading.local()

    def connect(self):
        if getattr(self._local, "db", None) is None:
            self._local.db = sqlite3.connect(self.config.path, timeout=0, isolation_level=None, check_same_thread=False)
        return self._local.db

    def release(self):
        db, self._local.db = getattr(self._local, "db", None), None
        if db is not None:
            db.close()


class ShutdownDoesNotWaitSync(SqliteExporter):
    """Shutdown sets the flag and returns beside an export in flight, which goes on and releases at its end."""

    def shutdown(self, context):
        with self._cv:
            if self._down:
                raise ExporterShutdownError("shut down")
            self._down = True
            if self._busy:
                self._late = True
            else:
                self.release()
        context.raise_if_done()
