"""Harnesses that show the conformance checker what the OTLP exporters deliver, and let their backend fail."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from exporter_core.conformance import Capabilities, FileSinkHarness, SinkHarness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_SECRET: Final = "canary-5f3a9e"  # noqa: S105 - what must not appear in errors


class OtlpHttpHarness(SinkHarness):
    """An OTLP/HTTP sink of its own for each run."""

    kind = "otlp_http"
    secret = _SECRET

    def config(self) -> Mapping[str, Any]:
        """The sink."""
        return _options(self.endpoint)


class OtlpGrpcHarness(SinkHarness):
    """An OTLP/gRPC sink of its own for each run."""

    kind = "otlp_grpc"
    secret = _SECRET

    def config(self) -> Mapping[str, Any]:
        """The sink."""
        return _options(self.endpoint)


def _options(endpoint: str) -> Mapping[str, Any]:
    """The endpoint and a secret header; waits are short, and bounded by nothing but the context that is handed in."""
    return {
        "endpoint": endpoint,
        "headers": [{"name": "api-key", "value": _SECRET}],
        "timeout": 0,
        "retry": {"initial_interval": 20, "max_interval": 50, "max_elapsed_time": 0},
    }


class OtlpFileHarness(FileSinkHarness):
    """A file of its own for each run. The gate is the lock on it: no line can be written while the harness has that."""

    capabilities = Capabilities.without_answers("a file")
    gated = True
    faults = frozenset({"ok", "refuse"})

    def setup(self, directory: Path, stamp: Callable[..., object]) -> None:
        """Choose the file."""
        super().setup(directory, stamp)
        self._lock: BinaryIO | None = None

    def config(self) -> Mapping[str, Any]:
        """The file."""
        return {"output_stream": self.path.as_uri()}

    def fault(self, *steps: str) -> None:
        """Have the name lead to a directory that does not exist, or to the file again."""
        aside = self.path.with_name("aside")
        if steps[0] == "refuse":
            if self.path.exists():
                self.path.rename(aside)
            self.path.symlink_to(self.path.with_name("missing") / "file")
        elif self.path.is_symlink():
            self.path.unlink()
            if aside.exists():
                aside.rename(self.path)

    def shut(self) -> None:
        """Take the lock."""
        self._lock = self.path.open("ab")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def open(self) -> None:
        """Give the lock back."""
        lock, self._lock = self._lock, None
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_UN)
            lock.close()

    def teardown(self) -> None:
        """Give the lock back, and end the run's sink."""
        self.open()
        super().teardown()
