"""Right exporters to files."""

from __future__ import annotations

import os

from third_party.local_base import Turns
from third_party.local_harnesses import LocalFileHarness, RotatedFilesHarness


class FileExporter(Turns):
    """Appends to a file that stays open, and takes back a write that is cut short."""

    conformance_harness = LocalFileHarness
    _fd = None

    def _fresh(self):
        super()._fresh()
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None

    def opened(self):
        if self._fd is None:
            self._fd = os.open(self.config.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        return self._fd

    def deliver(self, context, data):
        fd = self.opened()
        size = os.fstat(fd).st_size
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(fd, left) :]
        except OSError:
            if len(left) < len(data):
                os.ftruncate(fd, size)
            raise

    def release(self):
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)


class RightRotating(FileExporter):
    """Begins a new file at 20 KB, and keeps old ones under numbers."""

    conformance_harness = RotatedFilesHarness

    def deliver(self, context, data):
        fd = self.opened()
        if os.fstat(fd).st_size and os.fstat(fd).st_size + len(data) > 20000:
            self.rotate()
        super().deliver(context, data)

    def rotate(self):
        self.release()
        n = 1
        while os.path.exists(self.name(n)):
            n += 1
        os.rename(self.config.path, self.name(n))

    def name(self, n):
        return f"{self.config.path}.{n}"
