"""Wrong exporters to files."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time

from opentelemetry.sdk.metrics.export import AggregationTemporality

from exporter_core import ExporterError
from third_party.right_kept_files import FileExporter, RightRotating


class BuffersInFile(FileExporter):
    """Writes through a buffered file object and never flushes it before it is closed."""

    _file = None

    def deliver(self, context, data):
        if self._file is None:
            self._file = open(self.config.path, "ab")  # noqa: SIM115
        self._file.write(data)

    def release(self):
        if self._file is not None:
            f, self._file = self._file, None
            f.close()


class GluesHalfALine(FileExporter):
    """Leaves what a short write wrote, so that the next line is glued to it."""

    def deliver(self, context, data):
        fd = self.opened()
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]


class IgnoresShortWrites(FileExporter):
    """Takes no notice of how much os.write has written."""

    def deliver(self, context, data):
        os.write(self.opened(), data)


class TruncatesOnOpen(FileExporter):
    """Opens with O_TRUNC: whoever opens anew, such as another exporter or a child, wipes what was delivered."""

    def opened(self):
        if self._fd is None:
            self._fd = os.open(self.config.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        return self._fd


class OwnOffset(FileExporter):
    """Writes at an offset of its own instead of appending, so that two processes overwrite each other."""

    _pos = None

    def opened(self):
        if self._fd is None:
            self._fd = os.open(self.config.path, os.O_WRONLY | os.O_CREAT, 0o644)
            if self._pos is None:
                self._pos = os.fstat(self._fd).st_size
        return self._fd

    def deliver(self, context, data):
        fd = self.opened()
        left, pos = memoryview(data), self._pos
        try:
            while left:
                n = os.pwrite(fd, left, pos)
                left, pos = left[n:], pos + n
        except OSError:
            if pos > self._pos:
                os.ftruncate(fd, self._pos)
            raise
        self._pos = pos


class LeaksOnError(FileExporter):
    """Opens the file anew after an error, without closing the old descriptor."""

    def deliver(self, context, data):
        try:
            super().deliver(context, data)
        except OSError:
            self._fd = None
            raise


class LeavesTempFiles(FileExporter):
    """Writes to a temporary file first, and leaves it when appending fails."""

    def deliver(self, context, data):
        with tempfile.NamedTemporaryFile(delete=False) as f:
            f.write(data)
        super().deliver(context, data)
        os.unlink(f.name)


class LeavesLockFile(FileExporter):
    """Makes a lock file beside the file for each batch, and does not remove it after a failure."""

    def deliver(self, context, data):
        lock = f"{self.config.path}.lock"
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
        super().deliver(context, data)
        os.unlink(lock)


class FsyncsQuietly(FileExporter):
    """Logs that the disk is full, and returns."""

    def deliver(self, context, data):
        try:
            super().deliver(context, data)
        except OSError as error:
            if error.errno != 28:
                raise
            logging.getLogger("mine").warning("disk full")


class KeyErrorForGauges(FileExporter):
    """Has no answer for observable gauges, but raises a KeyError."""

    def temporality(self, instrument_kind):
        return dict.fromkeys(
            ("COUNTER", "HISTOGRAM", "UP_DOWN_COUNTER", "OBSERVABLE_COUNTER", "OBSERVABLE_UP_DOWN_COUNTER", "GAUGE"),
            AggregationTemporality.CUMULATIVE,
        )[instrument_kind.name]


class RotatesBySecond(RightRotating):
    """Names old files by the second, and overwrites that of the same second."""

    def rotate(self):
        self.release()
        os.rename(self.config.path, f"{self.config.path}.{time.strftime('%Y%m%d-%H%M%S')}")


class TruncatesBeforeRotating(RightRotating):
    """Opens the file for writing before it renames it, so that what it keeps is empty."""

    def rotate(self):
        self.release()
        with open(self.config.path, "w"):
            pass
        super().rotate()


class FdPerThread(FileExporter):
    """Keeps a descriptor for each thread that exports, and closes only that of the thread that shuts down."""

    def _fresh(self):
        super()._fresh()
        self._local = threading.local()
        self._local.fd = None

    def opened(self):
        if getattr(self._local, "fd", None) is None:
            self._local.fd = os.open(self.config.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        return self._local.fd

    def release(self):
        fd, self._local.fd = getattr(self._local, "fd", None), None
        if fd is not None:
            os.close(fd)


class RaisesRuntimeError(FileExporter):
    """Raises a RuntimeError without a cause when the file cannot be written."""

    def deliver(self, context, data):
        try:
            super().deliver(context, data)
        except OSError:
            raise RuntimeError("cannot write") from None


class ThreadPerFailure(FileExporter):
    """Starts a timer thread of an hour for each failure, which would try again."""

    def deliver(self, context, data):
        try:
            super().deliver(context, data)
        except OSError:
            t = threading.Timer(3600, lambda: None)
            t.daemon = True
            t.start()
            raise


class SortsOnFailure(FileExporter):
    """Takes out of the caller's batch what it could not write, so that it is not tried again."""

    def export(self, context, metrics):
        try:
            super().export(context, metrics)
        except ExporterError:
            if isinstance(metrics.resource_metrics, list):
                metrics.resource_metrics.clear()
            raise


class KeepsRequestsOfFailures(FileExporter):
    """Keeps what could not be written in a list that grows with every failure."""

    lost = None

    def deliver(self, context, data):
        try:
            super().deliver(context, data)
        except OSError:
            if self.lost is None:
                self.lost = []
            self.lost.append(data)
            raise
