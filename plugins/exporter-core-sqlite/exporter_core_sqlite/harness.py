"""How the conformance checker of exporter-core sees what the SQLite exporter delivers, and holds it up.

The gate is the database's write lock, taken by another process, as a connection of this one would cross every fork: no
export can end while that has it.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

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

_GATEKEEPER = """
import sqlite3, sys
gate = None
for line in sys.stdin:
    number, _, path = line.rstrip("\\n").partition(" ")
    if gate is not None:
        gate.rollback()
        gate.close()
        gate = None
    if path:
        gate = sqlite3.connect(path, timeout=60, isolation_level=None)
        gate.execute("BEGIN IMMEDIATE")
    print(number, flush=True)
"""


class _Gatekeeper:
    """The process that takes the write lock. It ends when its standard input does, with this process."""

    def __init__(self) -> None:
        program = [sys.executable, "-I", "-S", "-c", _GATEKEEPER]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)  # noqa: S603 - the line above
        self._numbers = count()

    def hold(self, path: str) -> None:
        """Take the write lock of this database; give back that of another one."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe, as asked for
        assert self._process.stdout is not None  # noqa: S101 - as above
        number = next(self._numbers)
        self._process.stdin.write(f"{number} {path}\n".encode())
        while (line := self._process.stdout.readline()) != f"{number}\n".encode():
            if not line:  # any other line is the answer to a forked child that was killed
                raise ChildProcessError("the process that takes the write lock has ended")

    def give_back(self) -> None:
        """Give the write lock back, if one is held."""
        self.hold("")


class SqliteHarness(Harness):
    """A database file of its own for each run."""

    capabilities = Capabilities.without_answers("a file")
    gated = True
    faults = frozenset({"refuse"})
    _gatekeeper: ClassVar[_Gatekeeper | None] = None

    def setup(self, directory: Path, stamp: Callable[[str, str], object]) -> None:  # noqa: ARG002 - the lock tells nothing
        """Create the file, so that the gate is the lock of one that is set up."""
        if SqliteHarness._gatekeeper is None:
            SqliteHarness._gatekeeper = _Gatekeeper()
        self._gate = SqliteHarness._gatekeeper
        self._path = directory / "metrics.db"
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
        """Have the write lock taken."""
        self._gate.hold(str(self._path))

    def open(self) -> None:
        """Have the write lock given back."""
        self._gate.give_back()

    def teardown(self) -> None:
        """Have the write lock given back."""
        self._gate.give_back()
