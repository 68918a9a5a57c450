"""How the conformance checker of exporter-core sees what the SQLite exporter delivers, and holds it up.

The gate is the database's write lock, taken by a connection of the harness: no export can end while that has it.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core import Context
from exporter_core.conformance import Capabilities, Harness, flatten
from exporter_core_sqlite.config import SqliteConfig
from exporter_core_sqlite.exporter import SqliteExporter
from exporter_core_sqlite.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from exporter_core.conformance import Point

__all__ = ["SqliteHarness"]

_NO_NETWORK = "a file is not connected to"
_NO_ANSWER = "a file gives no answer that could be"


class SqliteHarness(Harness):
    """A database file of its own for each run."""

    capabilities = Capabilities(
        not_applicable={
            "EXP-07": f"{_NO_ANSWER} incomplete",
            "EXP-08": _NO_NETWORK,
            "EXP-09": f"{_NO_ANSWER} a Retry-After",
            "EXP-11": f"{_NO_ANSWER} a Retry-After",
            "EXP-13": f"{_NO_ANSWER} a transient status",
            "EXP-15": f"{_NO_ANSWER} a permanent status",
            "EXP-16": f"{_NO_ANSWER} a partial success",
            "EXP-18": f"{_NO_ANSWER} a redirect",
            "FLU-04": "it holds nothing, so that no flush delivers anything",
        }
    )
    gated = True
    faults = frozenset({"refuse"})

    def setup(self, directory: Path, stamp: Callable[[str, str], object]) -> None:  # noqa: ARG002 - the lock tells nothing
        """Create the file, so that the gate is the lock of one that is set up."""
        self._path = directory / "metrics.db"
        self._gate: sqlite3.Connection | None = None
        exporter = SqliteExporter(SqliteConfig(path=self._path))
        exporter.export(Context.background(), MetricsData([]))
        exporter.shutdown(Context.background())

    def config(self) -> Mapping[str, Any]:
        """The file, and patience with its lock beyond that of any clause."""
        return {"path": str(self._path), "busy_timeout_seconds": 3600.0}

    def read_back(self) -> Iterable[Point]:
        """What another process would read."""
        for metrics in read(self._path):
            yield from flatten(metrics)

    def fault(self, *steps: str) -> None:
        """Put something that is no database in the place of the file, for the one fault that it can do."""
        if steps == ("refuse",):
            self._path.write_bytes(b"not a database, " * 512)

    def shut(self) -> None:
        """Take the write lock."""
        self._gate = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._gate.execute("BEGIN IMMEDIATE")

    def open(self) -> None:
        """Give the write lock back."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.execute("ROLLBACK")
            gate.close()

    def teardown(self) -> None:
        """Give the write lock back."""
        self.open()
