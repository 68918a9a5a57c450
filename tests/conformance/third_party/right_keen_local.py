"""A right exporter into a file."""

from __future__ import annotations

import os
from pathlib import Path

from exporter_core import ExporterConfig, ExporterError, PartialSuccessError
from exporter_core.authoring import SerialExporter
from exporter_core.conformance import Capabilities, FileSinkHarness
from exporter_core.otlp import JsonEncoder


class FileConf(ExporterConfig):
    path: Path
    """The file."""


class FileHarness(FileSinkHarness):
    capabilities = Capabilities.without_answers("a file")

    def config(self):
        return {"path": str(self.path)}


class Filed(SerialExporter[FileConf]):
    """Appends OTLP JSON to a file whose descriptor is kept, with an fsync after each batch."""

    conformance_harness = FileHarness

    def __init__(self, config):
        super().__init__(config)
        self.fd, self.torn, self.encoder = None, False, JsonEncoder()

    def shape(self, metrics):
        return metrics

    def write(self, data):
        if self.torn:
            data = b"\n" + data
        view = memoryview(data)
        while view:
            written = os.write(self.fd, view)
            self.torn = True
            view = view[written:]
        self.torn = False

    def deliver(self, context, metrics):
        one = self.encoder.encode(self.shape(metrics))
        try:
            if self.fd is None:
                self.fd = os.open(self.config.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self.write(one.data + b"\n")
            try:
                os.fsync(self.fd)
            except OSError as error:
                if error.errno != 22:
                    raise
        except OSError as error:
            raise ExporterError(f"the file cannot be written: {error.strerror}") from error
        if one.dropped:
            raise PartialSuccessError("some points do not fit", rejected_points=len(one.dropped))

    def release(self, context):
        if self.fd is not None:
            fd, self.fd = self.fd, None
            os.close(fd)

    def __del__(self):
        if getattr(self, "fd", None) is not None:
            os.close(self.fd)

    def begin_anew(self):
        self.torn = False  # an O_APPEND descriptor may be shared; whole lines
        self.encoder = JsonEncoder()
