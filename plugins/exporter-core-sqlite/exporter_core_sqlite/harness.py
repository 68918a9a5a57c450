"""The harness that shows the conformance checker what the SQLite exporter delivers, and holds deliveries up.

The gate is the database's write lock: no export can end while another process holds it. This process could not hold
it, as its connection would cross every fork.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core import Context
from exporter_core.conformance import Capabilities, Harness, flatten
from exporter_core_sqlite.config import SqliteConfig
from exporter_core_sqlite.database import connect_to_read
from exporter_core_sqlite.exporter import SqliteExporter
from exporter_core_sqlite.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from exporter_core.conformance import Point

_HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


_IDENTITIES = """
SELECT json_extract(s.attributes, '$."conformance.token"')
FROM batches b JOIN points p ON p.id BETWEEN b.first_point_id AND b.last_point_id
JOIN series s ON s.id = p.series_id
"""


class SqliteHarness(Harness):
    """A database file of its own for each run."""

    capabilities = Capabilities.without_answers("a file")
    gated = True
    faults = frozenset({"refuse"})

    def setup(self, directory: Path, stamp: Callable[[str, str], object]) -> None:  # noqa: ARG002 - the lock tells nothing
        """Create the file, so that the gate is the lock of one that is set up."""
        self._gate: subprocess.Popen[bytes] | None = None
        self._path = directory / "metrics.db"
        exporter = SqliteExporter(SqliteConfig(path=self._path))
        exporter.export(Context.background(), MetricsData([]))
        exporter.shutdown(Context.background())

    def config(self) -> Mapping[str, Any]:
        """The file, and patience with its lock beyond that of any clause."""
        return {"path": str(self._path), "busy_timeout_seconds": 3600.0}

    def read_back(self) -> Iterable[Point]:
        """Read the database, as another process would."""
        for metrics in read(self._path):
            yield from flatten(metrics)

    def read_identities(self) -> Iterable[str]:
        """Read no more of the database than the identities."""
        with closing(connect_to_read(self._path)) as connection:
            yield from (identity or "" for (identity,) in connection.execute(_IDENTITIES))

    def forget_arrivals(self) -> None:
        """Forget the batches, whose points nobody finds then."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute("DELETE FROM batches")

    def fault(self, *steps: str) -> None:
        """Replace the database by a file that is none, for the fault ``refuse``."""
        if steps == ("refuse",):
            self._path.write_bytes(b"not a database, " * 512)

    def shut(self) -> None:
        """Start the process that takes the write lock."""
        program = [sys.executable, "-I", "-S", "-c", _HOLD_LOCK, str(self._path)]
        self._gate = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - the line above
        assert self._gate.stdout is not None  # noqa: S101 - it is a pipe, as asked for
        self._gate.stdout.readline()

    def open(self) -> None:
        """End the process that holds the write lock, if there is one."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.communicate(b"\n")  # not only by closing the pipe: a forked child opens the gate, too

    def teardown(self) -> None:
        """Open the gate."""
        self.open()
