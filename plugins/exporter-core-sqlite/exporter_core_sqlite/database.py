"""The database file: opened or refused, created or migrated, and used in transactions that end with their context.

SQLite's busy handler is not used, since a cancellation does not end its sleep. Waits for another process's lock are
waits on the call's context, and a progress handler ends a statement when that context is done.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from exporter_core import DeadlineExceededError, ExporterError
from exporter_core_sqlite.forking import cannot_be_opened, close_before_fork, identity_of
from exporter_core_sqlite.schema import (
    APPLICATION_ID,
    MIGRATING,
    SCHEMA_VERSION,
    add_triggers,
    create,
    has_triggers,
    migrate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from exporter_core import Context
    from exporter_core_sqlite.config import SqliteConfig

_logger: Final = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 0.001
_LAST_RETRY_SECONDS = 0.02
_STEPS_BETWEEN_CHECKS = 1_000  # of SQLite's virtual machine: well under a millisecond
_WAL_BYTES_KEPT = 4 * 1024 * 1024  # what SQLite's automatic checkpoint, every 1,000 pages, lets the file grow to

_HINTS = {
    sqlite3.SQLITE_FULL: "the disk, or the file's allowed size, is full",
    sqlite3.SQLITE_READONLY: "it cannot be written: check the permissions of the file and its directory, and whether "
    "its file system is mounted read-only",
    sqlite3.SQLITE_PERM: "it cannot be written: check the permissions of the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check the permissions of the file and its directory",
    sqlite3.SQLITE_CORRUPT: "the database is corrupt: move the file away, and try `sqlite3 FILE .recover` on it",
    sqlite3.SQLITE_NOTADB: "not a SQLite database; it was left as it is: choose another path",
    sqlite3.SQLITE_IOERR: "reading or writing failed; the disk may be full or failing",
}


class Database:
    """One connection to the file, opened when it is first needed and again after a failure.

    Args:
        config: where it is and how it is used.
    """

    def __init__(self, config: SqliteConfig) -> None:
        self._path = config.path
        self._mode = None if config.file_mode is None else int(config.file_mode, 8)
        self._synchronous = config.synchronous
        self._busy_timeout = config.busy_timeout_seconds
        self._at_work = threading.Lock()  # held while SQLite is; free while this waits for another process's lock
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self.is_held = False
        """True while the connection is closed for a fork."""
        close_before_fork(self)

    @contextmanager
    def transaction(self, context: Context) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed at the end of the block, rolled back on any exception.

        Raises the context's error when it is done before the end, and ExporterError for what SQLite refuses.
        """
        with self._at_work, self._translated(context):
            connection = self._begin(context)
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def tidy(self, context: Context, steps: Callable[[sqlite3.Connection], Iterable[None]]) -> None:
        """Take the steps, each in a write transaction, as long as the context lasts and nobody else writes.

        Raises nothing: the committed steps remain, and the others are left to another call.
        """
        with self._at_work:
            connection = self._connection
            if connection is None or context.error() is not None:
                return
            try:
                _end_with(connection, context)
                connection.execute("BEGIN IMMEDIATE")
                for _ in steps(connection):
                    connection.execute("COMMIT")
                    if context.done:
                        return
                    connection.execute("BEGIN IMMEDIATE")
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                if not _is(error, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT):
                    _logger.warning("%s: old points were not deleted: %s", self._path, _explanation(error))
            finally:
                self._end(connection)

    def close(self) -> None:
        """Close the connection, if there is one. The next transaction opens another."""
        with self._at_work:
            self._close()

    def close_and_hold(self, seconds: float) -> bool:
        """Close the connection, and let none be opened until :meth:`let_go`; return False if there was not the time."""
        if not self._at_work.acquire(timeout=max(0.0, seconds)):
            return False
        try:
            self._close()
        except sqlite3.Error:
            self._at_work.release()
            return False
        self.is_held = True
        return True

    def let_go(self) -> None:
        """Let connections be opened again after :meth:`close_and_hold`."""
        self.is_held = False
        self._at_work.release()

    # --- a transaction ---------------------------------------------------------------------------------------------

    def _begin(self, context: Context) -> sqlite3.Connection:
        if self._connection is not None and self._file != identity_of(self._path):
            self._close()  # the file was removed or replaced: what goes into the open one would be lost
        give_up = time.monotonic() + self._busy_timeout
        pause = _FIRST_RETRY_SECONDS
        while True:
            try:
                if self._connection is None:
                    self._connection = self._open(context)
                    self._file = identity_of(self._path)
                _end_with(self._connection, context)
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not _is(error, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                self._wait(context, pause, give_up, error)
                pause = min(2 * pause, _LAST_RETRY_SECONDS)
                continue
            if _pragma(self._connection, "user_version") == SCHEMA_VERSION:
                return self._connection
            self._close()  # another process migrated the file; opening it says whether this one can go on

    def _wait(self, context: Context, pause: float, give_up: float, error: sqlite3.Error) -> None:
        """Wait for another process to release a lock. Raises the context's error, and ExporterError after too long."""
        left = give_up - time.monotonic()
        if left <= 0:
            raise ExporterError(
                f"{self._path}: another process has kept the database locked for"
                f" {self._busy_timeout:g} s; nothing was stored"
            ) from error
        self._at_work.release()  # a fork that comes in this pause closes the connection
        try:
            is_done = context.wait(min(pause, left))
        finally:
            self._at_work.acquire()
        if is_done:
            reason = context.error()
            if isinstance(reason, DeadlineExceededError):
                raise DeadlineExceededError(
                    f"{self._path}: another process kept the database locked until the deadline; nothing was stored"
                ) from error
            context.raise_if_done()

    def _end(self, connection: sqlite3.Connection) -> None:
        """Leave no transaction open; the connection is closed where that fails."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._close()

    def _close(self) -> None:
        connection, self._connection, self._file = self._connection, None, None
        if connection is not None:
            _end_with(connection, None)  # closing takes as long as it takes
            connection.close()

    @contextmanager
    def _translated(self, context: Context) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if _is(error, sqlite3.SQLITE_INTERRUPT):
                context.raise_if_done()
            # What made the connection fail may be mended by the next export; a connection never mends itself.
            self._close()
            raise ExporterError(f"{self._path}: {_explanation(error)}") from error
        except DeadlineExceededError:
            raise  # though it is an OSError
        except OSError as error:
            self._close()
            raise ExporterError(f"{self._path}: {error.strerror or error}") from error

    # --- opening ---------------------------------------------------------------------------------------------------

    def _create(self, mode: int) -> None:
        """Create the file, which SQLite takes for an empty database, unless it is there; SQLite cannot set the mode."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except OSError:
            return  # it is there; or cannot be made, which SQLite will say
        try:
            os.fchmod(descriptor, mode)  # the umask may have taken some of it
        finally:
            os.close(descriptor)

    def _open(self, context: Context) -> sqlite3.Connection:
        """A connection to our database of the current schema, which is made if there is none.

        Raises ExporterError if the file is something else, before anything of it is changed.
        """
        directory = self._path.parent
        if not directory.is_dir():
            raise ExporterError(f"{self._path}: the directory {directory} does not exist: create it, or change `path`")
        if cannot_be_opened(self._path):
            raise ExporterError(
                f"{self._path}: this process was forked while an export was writing and cannot use the file safely:"
                " fork before exporting, or let the child use another path"
            )
        _refuse_strange_file(self._path)
        # It is used by one thread at a time, under the exporter's own lock.
        if self._mode is not None:
            self._create(self._mode)
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            _end_with(connection, context)
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
            if (
                _pragma(connection, "application_id") != APPLICATION_ID
                or _pragma(connection, "user_version") != SCHEMA_VERSION
                or not has_triggers(connection)
            ):
                self._build(connection, context)
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except BaseException:
            connection.close()
            raise
        if mode != "wal":
            connection.close()
            raise ExporterError(f"{self._path}: the file system does not support write-ahead logging: choose another")
        return connection

    def _build(self, connection: sqlite3.Connection, context: Context) -> None:
        """Create, migrate or complete the schema, unless another process was faster."""
        try:
            while not self._build_step(connection):
                pass
        except sqlite3.Error as error:
            if (
                not _is(error, sqlite3.SQLITE_INTERRUPT)
                or not isinstance(context.error(), DeadlineExceededError)
                or _pragma(connection, "application_id") != APPLICATION_ID
            ):
                raise
            raise DeadlineExceededError(
                f"{self._path}: its migration to schema version {SCHEMA_VERSION} has not ended by the deadline; each"
                " export goes on with it, until one stores its points; this one stored nothing"
            ) from error

    def _build_step(self, connection: sqlite3.Connection) -> bool:
        """Take one step in a transaction; return True if it was the last."""
        # Before write-ahead logging: as soon as the file has a first page, that says it is ours.
        if _pragma(connection, "page_count") == 0:
            # Once there is a page it is too late to choose this. The statement takes the write lock as IMMEDIATE does.
            connection.execute("BEGIN")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        else:
            connection.execute("BEGIN IMMEDIATE")
        try:
            if _pragma(connection, "application_id") != APPLICATION_ID:
                if (
                    _pragma(connection, "page_count") > 1
                    or connection.execute("SELECT 1 FROM sqlite_master").fetchone()
                ):
                    raise ExporterError(_foreign(self._path))
                create(connection)
            else:
                version = _pragma(connection, "user_version")
                if SCHEMA_VERSION < version != MIGRATING:
                    raise ExporterError(_newer(self._path, version))
                if version != SCHEMA_VERSION:
                    migrate(connection)
            is_current = _pragma(connection, "user_version") == SCHEMA_VERSION
            if is_current:
                add_triggers(connection)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return is_current


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A read-only connection to a database of the current schema. Raises ExporterError if it is something else."""
    if not path.exists():
        raise ExporterError(f"{path}: no such file")
    _refuse_strange_file(path)
    connection = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro", uri=True, isolation_level=None)
    try:
        version = _pragma(connection, "user_version")
    except BaseException:
        connection.close()
        raise
    if version == SCHEMA_VERSION:
        return connection
    connection.close()
    if version == MIGRATING:
        raise ExporterError(f"{path}: its migration has not ended: export into it until it has")
    if version > SCHEMA_VERSION:
        raise ExporterError(_newer(path, version))
    raise ExporterError(f"{path}: has schema version {version}: export into it once, which migrates it")


def _refuse_strange_file(path: Path) -> None:
    """Raise ExporterError for a file that is certainly not ours, without locking it or writing anything beside it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        kind = "directory" if stat.S_ISDIR(status.st_mode) else "device, pipe or socket"
        raise ExporterError(f"{path}: expected a file, not a {kind}: change `path`")
    if status.st_size == 0:
        return
    # Through SQLite, since closing a descriptor of one's own would drop the locks that SQLite holds in this process.
    connection = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True, isolation_level=None)
    try:
        if _pragma(connection, "page_count") == 0:
            raise ExporterError(f"{path}: {_HINTS[sqlite3.SQLITE_NOTADB]}")  # too short to be one
        if _pragma(connection, "application_id") != APPLICATION_ID:
            raise ExporterError(_foreign(path))
    except sqlite3.Error as error:
        if _is(error, sqlite3.SQLITE_CORRUPT):
            return  # or another process is making it this very moment: a connection that respects locks will tell
        raise ExporterError(f"{path}: {_explanation(error)}") from error
    finally:
        connection.close()


def _foreign(path: Path) -> str:
    return f"{path}: a SQLite database of another application; it was left as it is: choose another path"


def _newer(path: Path, version: int) -> str:
    return (
        f"{path}: has schema version {version}, this exporter-core-sqlite knows versions up to {SCHEMA_VERSION}:"
        " upgrade it, or choose another path"
    )


def _end_with(connection: sqlite3.Connection, context: Context | None) -> None:
    """Have the connection's statements end when the context is done."""
    connection.set_progress_handler(None if context is None else lambda: context.done, _STEPS_BETWEEN_CHECKS)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _is(error: sqlite3.Error, *codes: int) -> bool:
    """Return True if the error has one of these primary result codes; Python's own sqlite3 errors have no code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def _explanation(error: sqlite3.Error) -> str:
    hint = _HINTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    return f"{hint} ({error})" if hint else str(error)
