"""``probe`` sends one real metric through each exporter and says, step by step, what came of it."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import NamedTuple

import pytest

HEAD = 'file_format: "1.1"\nmeter_provider:\n  readers:\n'
SQLITE = "    - periodic: {exporter: {sqlite: {path: %s}}}\n"


class Probed(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def probe(cli, tmp_path, monkeypatch):
    """Probes a file with these readers."""
    monkeypatch.chdir(tmp_path)

    def run(readers, *arguments):
        file = tmp_path / "metrics.yaml"
        file.write_text(HEAD + readers)
        return Probed(*cli("probe", str(file), *arguments))

    return run


def test_the_metric_arrives_and_every_step_is_told(probe, tmp_path):
    probed = probe(SQLITE % "metrics.db")
    assert (probed.returncode, probed.stderr) == (0, "")
    assert [line.split()[:3] for line in probed.stdout.splitlines()] == [
        ["OK", "0:sqlite", step] for step in ("load", "export", "force_flush", "shutdown")
    ]
    connection = sqlite3.connect(tmp_path / "metrics.db")
    assert connection.execute("SELECT metric, value FROM latest").fetchall() == [("exporter_core.probe", 1)]
    connection.close()


def test_a_failure_is_told_and_the_other_exporters_are_probed(probe, tmp_path):
    probed = probe(SQLITE % "missing/metrics.db" + SQLITE % "metrics.db", "--json")
    told = json.loads(probed.stdout)
    assert (probed.returncode, told["ok"]) == (1, False)
    assert [(step["reader"], step["step"]) for step in told["steps"] if step["error"]] == [("0:sqlite", "export")]
    assert [step["step"] for step in told["steps"] if step["reader"] == "0:sqlite"] == ["load", "export", "shutdown"]
    assert [step["step"] for step in told["steps"] if step["reader"] == "1:sqlite"] == [
        "load",
        "export",
        "force_flush",
        "shutdown",
    ]


def test_a_hung_exporter_is_told_in_time(probe, tmp_path):
    file = tmp_path / "metrics.db"
    assert probe(SQLITE % file).returncode == 0
    locked = sqlite3.connect(file, isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    try:
        probed = probe(SQLITE % file, "--timeout", "0.2")
    finally:
        locked.close()
    assert probed.returncode == 1
    assert any(line.startswith("ERROR 0:sqlite export") for line in probed.stdout.splitlines())


@pytest.mark.parametrize(
    ("readers", "words"),
    [
        ("    - periodic: {exporter: {sqlte: {path: x}}}\n", "sqlite"),
        ("    - periodic: {exporter: {sqlite: {pth: x}}}\n", "path"),
        ("    - periodic: {exporter: {}}\n", "exporter"),
    ],
)
def test_wrong_input_names_the_place_and_sends_nothing(probe, tmp_path, readers, words):
    probed = probe(readers)
    assert (probed.returncode, probed.stdout) == (2, "")
    assert all("metrics.yaml:4:" in line for line in probed.stderr.splitlines())
    assert words in probed.stderr


def test_a_file_without_readers_has_nothing_to_probe(cli, tmp_path):
    file = tmp_path / "metrics.yaml"
    file.write_text('file_format: "1.1"\ndisabled: true\n')
    probed = Probed(*cli("probe", str(file)))
    assert probed.returncode == 0
    assert "no readers" in probed.stderr


def test_an_error_that_a_plugin_did_not_mean_to_raise_names_the_place(probe, plugins):
    code = """
from exporter_core import Exporter

class Made(Exporter):
    def __init__(self, config):
        BUILD

    def export(self, context, metrics):
        raise LookupError("no such thing")
"""
    plugins.add("unbuilt", code.replace("BUILD", "{}['key']"))
    plugins.add("failing", code.replace("BUILD", "pass"))
    probed = probe("    - periodic: {exporter: {unbuilt: }}\n    - periodic: {exporter: {failing: }}\n", "--verbose")
    unbuilt, _, failed, _ = probed.stdout.splitlines()
    assert re.search(r"cannot be built: KeyError: 'key' \(/.*\.py:6\)$", unbuilt)
    assert re.search(r"export failed: LookupError: no such thing \(/.*\.py:9\)$", failed)
    assert "\nKeyError: 'key'\n" in probed.stderr
    assert probed.stderr.endswith("\nLookupError: no such thing\n")
