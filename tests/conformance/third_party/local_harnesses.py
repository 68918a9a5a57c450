"""Harnesses of exporters to files, databases, child processes and streams."""

from __future__ import annotations

import glob
import sqlite3
import subprocess
import sys

from exporter_core.conformance import Capabilities, FileSinkHarness, Harness, SinkHarness, flatten
from exporter_core.otlp import decode_json


class LocalFileHarness(FileSinkHarness):
    """A file of its own for each clause."""

    capabilities = Capabilities.without_answers("a file")

    def config(self):
        return {"path": str(self.path)}


LOCKER = """
import sqlite3,sys
db=sqlite3.connect(sys.argv[1],timeout=1,isolation_level=None)
held=False
for line in sys.stdin:
    line=line.strip()
    try:
     if line=='shut' and not held: db.execute('BEGIN EXCLUSIVE'); held=True
     if line=='open' and held: db.execute('ROLLBACK'); held=False
     if line=='refuse': db.execute("CREATE TRIGGER IF NOT EXISTS no BEFORE INSERT ON batch BEGIN SELECT RAISE(ABORT,'refused'); END")
     if line=='ok': db.execute("DROP TRIGGER IF EXISTS no")
    except sqlite3.Error as e: line='err'
    print(line,flush=True)
"""  # noqa: E501


SCHEMA = "CREATE TABLE IF NOT EXISTS batch (id INTEGER PRIMARY KEY, body TEXT NOT NULL)"


class DatabaseHarness(Harness):
    """A database of its own for each clause; a helper locks it, and refuses rows."""

    capabilities = Capabilities.without_answers("a database")
    gated = True
    faults = frozenset({"ok", "refuse"})

    def setup(self, directory, stamp):
        self.file = str(directory / "b.db")
        db = sqlite3.connect(self.file)
        db.execute(SCHEMA)
        db.commit()
        db.close()
        self.helper = subprocess.Popen(
            [sys.executable, "-SE", "-c", LOCKER, self.file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.isshut = False

    def tell(self, word):
        self.helper.stdin.write(word + "\n")
        self.helper.stdin.flush()
        self.helper.stdout.readline()

    def config(self):
        return {"path": self.file}

    def shut(self):
        self.isshut = True
        self.tell("shut")

    def open(self):
        self.isshut = False
        self.tell("open")

    def fault(self, *steps):
        self.tell(steps[-1])

    def after_fork(self):
        self.open()

    def read_back(self):
        # A reader beside the lock has to wait; clauses look when the gate is open, or whether nothing came.
        db = sqlite3.connect(self.file, timeout=0.05)
        try:
            rows = db.execute("SELECT body FROM batch ORDER BY id").fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            db.close()
        out = []
        for (row,) in rows:
            out += flatten(decode_json(row))
        return out

    def teardown(self):
        self.helper.kill()
        self.helper.wait()
        self.helper.stdin.close()
        self.helper.stdout.close()


class PipeHarness(FileSinkHarness):
    """A file that the exporter's child process writes, with a secret."""

    capabilities = Capabilities.without_answers("a pipe")
    secret = "s3cr3t-key-5512"
    gated = True

    def config(self):
        return {"path": str(self.path), "key": self.secret}


class HeldFileHarness(FileSinkHarness):
    """A file for exporters that hold batches."""

    capabilities = Capabilities(
        holds=True,
        not_applicable=dict.fromkeys(
            ("EXP-07", "EXP-08", "EXP-09", "EXP-11", "EXP-13", "EXP-15", "EXP-16", "EXP-18", "EXP-19"), "a file"
        ),
    )
    gated = True

    def config(self):
        return {"path": str(self.path)}


class SdkFileHarness(FileSinkHarness):
    """A file for exporters of the SDK."""

    capabilities = Capabilities.without_answers("a file")

    def config(self):
        return {"path": str(self.path)}


class SdkHeldFileHarness(HeldFileHarness):
    """A file for exporters of the SDK that hold batches."""


class HeldDatabaseHarness(DatabaseHarness):
    """A database for exporters that hold batches."""

    capabilities = HeldFileHarness.capabilities


def decode_lines(content):
    """Return the points of lines of OTLP JSON."""
    out = []
    for line in content.splitlines():
        out += flatten(decode_json(line))
    return out


class StreamHarness(SinkHarness):
    """A TCP server that reads a connection to its end, for exporters that hold batches."""

    kind = "tcp"
    capabilities = Capabilities(
        holds=True,
        not_applicable=dict.fromkeys(
            ("EXP-07", "EXP-09", "EXP-11", "EXP-13", "EXP-15", "EXP-16", "EXP-18", "EXP-19"), "a stream of bytes"
        ),
    )

    def config(self):
        return {"address": self.address}

    def decode(self, content):
        return decode_lines(content)


class AsyncStreamHarness(StreamHarness):
    """The same for exporters that hold nothing."""

    capabilities = Capabilities(
        not_applicable=dict.fromkeys(
            ("EXP-07", "EXP-09", "EXP-11", "EXP-13", "EXP-15", "EXP-16", "EXP-18", "EXP-19"), "a stream of bytes"
        )
    )


class RotatedFilesHarness(Harness):
    """A file and all those that it was rotated to."""

    capabilities = Capabilities.without_answers("files")

    def setup(self, directory, stamp):
        self.file = str(directory / "m.jsonl")

    def config(self):
        return {"path": self.file}

    def read_back(self):
        out = []
        for name in sorted(glob.glob(self.file + "*")):
            with open(name, "rb") as f:
                for line in f:
                    out += flatten(decode_json(line))
        return out
