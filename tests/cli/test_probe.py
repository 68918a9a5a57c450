"""``probe`` sends one real metric through each exporter and says, step by step, what came of it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys

import pytest

HEAD = 'file_format: "1.1"\nmeter_provider:\n  readers:\n'
SQLITE = "    - periodic: {exporter: {sqlite: {path: %s}}}\n"


def probe(tmp_path, readers, *arguments):
    file = tmp_path / "metrics.yaml"
    file.write_text(HEAD + readers)
    return subprocess.run(
        [sys.executable, "-m", "exporter_core", "probe", str(file), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_metric_arrives_and_every_step_is_told(tmp_path):
    probed = probe(tmp_path, SQLITE % "metrics.db")
    assert (probed.returncode, probed.stderr) == (0, "")
    assert [line.split()[:3] for line in probed.stdout.splitlines()] == [
        ["OK", "0:sqlite", step] for step in ("load", "export", "force_flush", "shutdown")
    ]
    connection = sqlite3.connect(tmp_path / "metrics.db")
    assert connection.execute("SELECT metric, value FROM latest").fetchall() == [("exporter_core.probe", 1)]
    connection.close()


def test_a_failure_is_told_and_the_other_exporters_are_probed(tmp_path):
    probed = probe(tmp_path, SQLITE % "missing/metrics.db" + SQLITE % "metrics.db", "--json")
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


def test_a_hung_exporter_is_told_in_time(tmp_path):
    file = tmp_path / "metrics.db"
    assert probe(tmp_path, SQLITE % file).returncode == 0
    locked = sqlite3.connect(file, isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    try:
        probed = probe(tmp_path, SQLITE % file, "--timeout", "0.2")
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
def test_wrong_input_names_the_place_and_sends_nothing(tmp_path, readers, words):
    probed = probe(tmp_path, readers)
    assert (probed.returncode, probed.stdout) == (2, "")
    assert all("metrics.yaml:4:" in line for line in probed.stderr.splitlines())
    assert words in probed.stderr


def test_a_file_without_readers_has_nothing_to_probe(tmp_path):
    file = tmp_path / "metrics.yaml"
    file.write_text('file_format: "1.1"\ndisabled: true\n')
    probed = subprocess.run(
        [sys.executable, "-m", "exporter_core", "probe", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert probed.returncode == 0
    assert "no readers" in probed.stderr
