"""A file of whole lines, which several processes append to and rotate at once.

Every line is written under an exclusive ``flock`` on the file itself, so that a line is whole for whoever has the lock:

- A process that was killed in mid-line leaves a piece, which the next one that has the lock removes: the line was never
  accepted. Any other text at the end is not ours; it is kept, and ended by a line feed.
- A write that fails half-way is undone by cutting the file back to its size before.
- A file is rotated by renaming it, under its own lock. A process that waited for that lock finds that the name leads to
  another file, and begins again with that one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from typing import TYPE_CHECKING, Final

from exporter_core import ExporterError

if TYPE_CHECKING:
    from pathlib import Path

    from exporter_core import Context

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02
"""Seconds between two looks at a lock that another process has. A blocking flock could not be given up."""
_BLOCK: Final = 65536


class LineFile:
    """Appends lines to the file of this path, for one caller at a time.

    Args:
        path: the file, created when it does not exist.
        begins: the beginning of every line; tells an unfinished one of ours from other text.
        max_bytes: the size beyond which the file is rotated; None for no limit. A longer line has a file of its own.
        max_old_files: how many rotated files are kept, as ``path.1`` (the newest), ``path.2`` and so on.
        fsync: let :meth:`sync` synchronise the file with the disk.
        mode: permissions of a file that is created; None leaves them to the umask.
    """

    def __init__(
        self,
        path: Path,
        *,
        begins: bytes,
        max_bytes: int | None,
        max_old_files: int,
        fsync: bool,
        mode: int | None = None,
    ) -> None:
        self._path = path
        self._name = str(path)  # which the system takes sooner than a Path
        self._begins = begins
        self._max_bytes = max_bytes
        self._max_old_files = max_old_files
        self._fsync = fsync
        self._mode = mode
        self._locked_descriptor: int | None = None
        self._unsynced: int | None = None  # a descriptor of the file written last, for sync alone
        self._state = threading.Lock()  # held for a moment only, by whoever replaces or copies that descriptor

    def begin_anew(self) -> None:
        """Close a forked child's copy of a locked descriptor: it would hold the lock if its owner were killed."""
        self._state = threading.Lock()
        descriptor, self._locked_descriptor = self._locked_descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def append(self, context: Context, line: bytes) -> None:
        """Write the line, which ends in a line feed, whole or not at all.

        Raises:
            DeadlineExceededError, ContextCancelledError: the context was done before the lock was free.
            ExporterError: the file cannot be written; it is as it was.
        """
        try:
            while not self._append(context, line):
                pass
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                raise  # the context's own; the system's have a number
            raise ExporterError(f"cannot write to {self._path}: {_reason(error)}") from error

    def sync(self) -> None:
        """Synchronise with the disk what was written, if ``fsync`` is set. Safe beside :meth:`append`.

        Raises ExporterError when that fails.
        """
        try:
            with self._state:
                if self._unsynced is None:
                    return
                copy = os.dup(self._unsynced)  # an append may close the original, once that is synchronised
            try:
                os.fsync(copy)
            finally:
                os.close(copy)
            _fsync_directory(self._path)
        except OSError as error:
            raise ExporterError(f"cannot synchronise {self._path} with the disk: {_reason(error)}") from error

    def close(self) -> None:
        """Synchronise the file and let go of it; :meth:`append` opens it again. Raises as :meth:`sync` does."""
        try:
            self.sync()
        finally:
            self._replace_unsynced(None)

    def _append(self, context: Context, line: bytes) -> bool:
        """Write the line to the file that the path leads to; return False if that is another file by then."""
        descriptor = self._open()
        self._locked_descriptor = descriptor
        try:
            _lock(context, descriptor)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ExporterError(f"cannot write to {self._path}: it is not a regular file")
            if not self._leads_to(status):
                return False
            size = self._end_of_whole_lines(descriptor, status.st_size)
            if self._max_bytes is not None and size and size + len(line) > self._max_bytes:
                self._rotate(descriptor)
                return False
            self._write(descriptor, size, line)
            return True
        finally:
            self._locked_descriptor = None
            _unlock_and_close(descriptor)

    def _open(self) -> int:
        if self._mode is None:
            return os.open(self._name, _FLAGS, 0o666)
        try:
            descriptor = os.open(self._name, _FLAGS | os.O_EXCL, self._mode)
        except FileExistsError:
            return os.open(self._name, _FLAGS, self._mode)
        try:
            os.fchmod(descriptor, self._mode)  # the umask may have taken some of it
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _leads_to(self, status: os.stat_result) -> bool:
        try:
            return os.path.samestat(os.stat(self._name), status)  # noqa: PTH116 - beside fstat
        except FileNotFoundError:
            return False

    def _end_of_whole_lines(self, descriptor: int, size: int) -> int:
        """Complete or remove the last line; return the size of the file."""
        if not size or os.pread(descriptor, 1, size - 1) == b"\n":
            return size
        start = size
        while start:
            at = max(0, start - _BLOCK)
            found = os.pread(descriptor, start - at, at).rfind(b"\n")
            start = at + found + 1 if found >= 0 else at
            if found >= 0:
                break
        if self._begins.startswith(os.pread(descriptor, len(self._begins), start)):
            os.ftruncate(descriptor, start)
            return start
        self._write(descriptor, size, b"\n")
        return size + 1

    def _write(self, descriptor: int, size: int, line: bytes) -> None:
        if self._fsync:
            self._remember(descriptor)  # before anything is written: it may fail
        try:
            written = os.write(descriptor, line)
            while written < len(line):  # the disk is full, which the next write says; or it is more than one can take
                written += os.write(descriptor, memoryview(line)[written:])
        except BaseException:
            os.ftruncate(descriptor, size)
            raise

    def _remember(self, descriptor: int) -> None:
        """Keep one descriptor for sync; a file that was rotated away is synchronised here."""
        old = self._unsynced
        if old is not None and os.path.samestat(os.fstat(old), os.fstat(descriptor)):
            return
        if old is not None:
            os.fsync(old)
        self._replace_unsynced(os.dup(descriptor))

    def _replace_unsynced(self, descriptor: int | None) -> None:
        with self._state:
            old, self._unsynced = self._unsynced, descriptor
        if old is not None:
            os.close(old)

    def _rotate(self, descriptor: int) -> None:
        if self._fsync:
            os.fsync(descriptor)
        # Only as far as there is no gap: a process that was killed in mid-rotation has left one.
        last = next((n for n in range(1, self._max_old_files) if not self._old(n).exists()), self._max_old_files)
        for number in range(last, 1, -1):
            self._old(number - 1).replace(self._old(number))
        self._path.replace(self._old(1))

    def _old(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _lock(context: Context, descriptor: int) -> None:
    pause = _SHORTEST_PAUSE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if context.wait(pause):
                context.raise_if_done()
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            context.raise_if_done()
            return


def _unlock_and_close(descriptor: int) -> None:
    try:
        # Closing alone would not do: a copy in a forked child would go on holding the lock.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _fsync_directory(path: Path) -> None:
    """Make the file's name durable: a new file's, or one that another was renamed to."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_REASONS: Final = {
    errno.ENOENT: "its directory does not exist",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file may not grow any more (a limit of the process or of the file system)",
    errno.EROFS: "the file system is read-only",
    errno.ENOLCK: "the file system has no locks (flock)",
    errno.EOPNOTSUPP: "the file system has no locks (flock)",
}


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or (error.strerror or type(error).__name__).lower()
