"""--sink file: the gate and the faults of a file, and what they find in exporters that write one."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exporter_core import Exporter, ExporterConfig, ExporterError, ExporterShutdownError
from exporter_core.conformance import FileSinkHarness
from exporter_core.conformance.clause import select
from exporter_core.conformance.observe.journal import Journal
from exporter_core.conformance.observe.sink_option import pointed
from exporter_core.conformance.run.run_clause import run_clause
from exporter_core.conformance.run.verdicts import Settings
from exporter_core.conformance.subject import Subject
from exporter_core.errors import SetupError


class PathConfig(ExporterConfig):
    """The file."""

    path: str


class OpensByName(Exporter[PathConfig]):
    """Opens the file for each export."""

    _is_shut_down = False
    _after_half_a_line = ""

    def export(self, context, metrics) -> None:
        if self._is_shut_down:
            raise ExporterShutdownError("shut down")
        context.raise_if_done()
        try:
            self._write(f"{self._after_half_a_line}{metrics.to_json(indent=None)}\n".encode())
            self._after_half_a_line = ""
        except OSError as error:
            self._after_half_a_line = "\n"
            raise ExporterError("the file cannot be written") from error

    def _write(self, line: bytes) -> None:
        with Path(self.config.path).open("ab") as file:
            file.write(line)

    def force_flush(self, context) -> None:
        if not self._is_shut_down:
            context.raise_if_done()

    def shutdown(self, context) -> None:
        if self._is_shut_down:
            raise ExporterShutdownError("shut down")
        self._is_shut_down = True
        context.raise_if_done()


class KeepsOpen(OpensByName):
    """Keeps the file open, and has the disk take each line."""

    def __init__(self, config) -> None:
        super().__init__(config)
        self._file: Any = Path(config.path).open("ab", buffering=0)  # noqa: SIM115 - kept

    def _write(self, line: bytes) -> None:
        while line:
            line = line[self._file.write(line) :]
        os.fsync(self._file.fileno())

    def shutdown(self, context) -> None:
        self._file.close()
        super().shutdown(context)


class Replaces(OpensByName):
    """Writes a file of its own, which then gets the name."""

    def _write(self, line: bytes) -> None:
        path = Path(self.config.path)
        path.with_name("mine").write_bytes((path.read_bytes() if path.is_file() else b"") + line)
        path.with_name("mine").replace(path)


class GoesOnAfterHalfALine(KeepsOpen):
    """Writes on where a failed write has stopped."""

    @property
    def _after_half_a_line(self) -> str:
        return ""

    @_after_half_a_line.setter
    def _after_half_a_line(self, value: str) -> None:
        """Forget it."""


class IgnoresShortWrites(OpensByName):
    """Does not look how much of a line was written."""

    def _write(self, line: bytes) -> None:
        with Path(self.config.path).open("ab", buffering=0) as file:
            file.write(line)


class Swallows(OpensByName):
    """Takes a full disk for a success."""

    def _write(self, line: bytes) -> None:
        try:
            super()._write(line)
        except OSError:
            pass


def _verdicts(exporter: type, *patterns: str) -> dict[str, str]:
    harness = pointed("file,not_carried=scope_attributes", {"path": "{path}"})
    subject = Subject("here", exporter, harness, None)
    settings = Settings(patience=5, canaries=False)
    return {one.id: run_clause(one, subject, "raw", settings, {}).verdict.value for one in select(patterns)}


@pytest.mark.parametrize("exporter", [OpensByName, KeepsOpen])
def test_an_exporter_to_a_file_is_observed_as_one_to_a_network_is(exporter: type) -> None:
    assert set(_verdicts(exporter, "EXP-01", "EXP-04", "EXP-1[47]", "DAT-01", "PY-01").values()) == {"PASS"}


def test_an_exporter_that_a_fault_does_not_hit_is_not_failed() -> None:
    assert _verdicts(Replaces, "EXP-01", "EXP-14") == {"EXP-01": "PASS", "EXP-14": "PASS"}


@pytest.mark.parametrize("exporter", [IgnoresShortWrites, Swallows])
def test_one_that_takes_a_full_disk_or_a_short_write_for_a_success_fails(exporter: type) -> None:
    assert _verdicts(exporter, "EXP-14") == {"EXP-14": "FAIL"}


def test_one_that_goes_on_after_half_a_line_loses_the_next_batch() -> None:
    assert _verdicts(GoesOnAfterHalfALine, "EXP-14", "EXP-17") == {"EXP-14": "PASS", "EXP-17": "FAIL"}


class WrittenFile(FileSinkHarness):
    """A file that a test writes itself."""

    def config(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def harness(tmp_path: Path):
    made = WrittenFile()
    made.setup(tmp_path, Journal().stamp)
    yield made
    made.teardown()


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line)


@pytest.mark.parametrize("by_name", [False, True], ids=["kept open", "by name"])
def test_while_the_gate_is_shut_a_write_waits_and_nothing_is_lost(harness, by_name: bool) -> None:
    with harness.path.open("ab", buffering=0) as file:
        file.write(b"before\n")
        harness.shut()
        assert harness.entered() is None
        write = partial(_append, harness.path) if by_name else file.write
        writer = threading.Thread(target=write, args=[b"within\n"])
        writer.start()
        while not harness.entered():  # one writer alone: whether a second one has come in as well cannot be asked
            assert writer.is_alive()
        assert harness.sink.content() == b"before\n"
        harness.open()
        writer.join()
        file.write(b"after\n")
    assert harness.sink.content() == b"before\nwithin\nafter\n"
    assert harness.path.read_bytes() == b"before\nafter\n"


def test_each_fault_ends_a_write_with_an_error_until_it_is_over(harness) -> None:
    with harness.path.open("ab", buffering=0) as file:
        for fault in ("refuse", "full"):
            harness.fault(fault)
            with pytest.raises(OSError, match=r"Bad file|No space"):
                file.write(b"lost")
            with pytest.raises(OSError, match=r"directory|No space"), harness.path.open("ab", buffering=0) as other:
                other.write(b"lost")
            harness.fault("ok")
            file.write(b"kept\n")
    assert harness.sink.content() == b"kept\n" * 2


def test_what_a_format_does_not_carry_and_that_data_is_held_can_be_told_beside_the_sink() -> None:
    made = pointed('http:4000,holds,not_carried=flags+exemplars,success=202:{"ok": 1, "n": 2}', None)
    assert made.capabilities.holds
    assert made.capabilities.not_carried == {"flags", "exemplars"}
    assert made.answers == {"success": 202, "body": b'{"ok": 1, "n": 2}'}
    assert "FLU-04" in pointed("file", None).capabilities.not_applicable
    assert "FLU-04" not in pointed("file,holds", None).capabilities.not_applicable


@pytest.mark.parametrize("wrong", ["http,held", "http,not_carried=colour", "http,success=404", "file,success=200"])
def test_a_wrong_property_of_a_sink_is_refused_with_those_there_are(wrong: str) -> None:
    with pytest.raises(SetupError, match=f"--sink {wrong.split('=', maxsplit=1)[0]}.*expected"):
        pointed(wrong, None)
