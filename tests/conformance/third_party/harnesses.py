"""Harnesses of the strangers' exporters."""

from __future__ import annotations

from exporter_core.conformance import Capabilities, FileSinkHarness, SinkHarness, flatten
from exporter_core.otlp import decode_json

FILE = {
    "EXP-0[789]": "a file is not connected to, and gives no answer",
    "EXP-1[13568]": "a file gives no answer",
}


class OtlpHarness(SinkHarness):
    """An OTLP/HTTP server for each clause."""

    kind = "otlp_http"
    secret = "s3cret-of-a-stranger"  # noqa: S105 - not one

    def config(self):
        return {"endpoint": self.endpoint, "token": self.secret}


class HoldingHarness(OtlpHarness):
    """The same for exporters that hold batches."""

    capabilities = Capabilities(holds=True)


class PlainHttpHarness(OtlpHarness):
    """Any HTTP server: it answers success with an empty body."""

    kind = "http"
    capabilities = Capabilities(not_applicable={"EXP-16": "a request is taken as a whole or not at all"})

    def decode(self, content):
        return flatten(decode_json(content))


class LinesHarness(SinkHarness):
    """A TCP server that takes a line of JSON a batch."""

    kind = "tcp"
    capabilities = Capabilities(
        not_applicable={
            "EXP-0[79]": "the server does not answer",
            "EXP-1[13568]": "the server does not answer",
        }
    )

    def config(self):
        return {"address": self.address}

    def decode(self, content):
        return [point for line in content.splitlines() if line for point in flatten(decode_json(line))]


class HoldingLinesHarness(LinesHarness):
    """The same for exporters that hold batches."""

    capabilities = Capabilities(holds=True, not_applicable=LinesHarness.capabilities.not_applicable)


class FileHarness(FileSinkHarness):
    """A file of its own for each clause; a folder in its place makes exports fail."""

    capabilities = Capabilities(not_applicable=FILE)
    faults = frozenset({"refuse"})

    def config(self):
        return {"path": str(self.path)}

    def fault(self, *steps):
        if steps[0] == "refuse":
            self.path.unlink(missing_ok=True)
            self.path.mkdir()


class HoldingFileHarness(FileHarness):
    """The same for exporters that hold batches."""

    capabilities = Capabilities(holds=True, not_applicable=FILE)


class FullDiskHarness(FileHarness):
    """A disk without room makes exports fail."""

    def fault(self, *steps):
        if steps[0] == "refuse":
            self.path.unlink(missing_ok=True)
            self.path.symlink_to("/dev/full")


class GrpcHarness(SinkHarness):
    """An OTLP/gRPC server for each clause."""

    kind = "otlp_grpc"

    def config(self):
        return {"address": self.address}


class RotatingHarness(FileHarness):
    """A file and the one that it was rotated to."""

    def read_back(self):
        rotated = self.path.with_suffix(".1")
        found = list(super().read_back())
        if rotated.exists():
            found += [
                point for line in rotated.read_bytes().splitlines() for point in flatten(decode_json(line)) if line
            ]
        return found
