"""What docs/command-line.md says is so: its commands are run, its JSON keys are those that come out."""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from exporter_core.cli import inspection
from exporter_core.cli.app import COMMANDS

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
SESSIONS = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
STEPS = [step for session in SESSIONS for step in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]]
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.nightly
@pytest.mark.timeout(400)  # some forty processes, one after the other
def test_every_command_does_what_the_page_shows(tmp_path):
    """All of them one after the other, as they stand: later ones use the files of earlier ones."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for step in STEPS:
        command, _, expected = step.partition("\n")
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 or "validate" in command, f"{command}\n{done.stdout}"
        assert doctest.OutputChecker().check_output(expected.strip("\n"), done.stdout.strip("\n"), doctest.ELLIPSIS), (
            f"$ {command}\n{done.stdout}\nbut the page shows:\n{expected}"
        )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_section_in_which_it_is_run(name):
    assert f"$ exporter-core {name}" in SECTIONS[name]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
def test_every_option_is_on_the_page(cli, name):
    options = set(re.findall(r"--[a-z]+[a-z-]*", cli(name, "--help").out.partition("Options:")[2])) - {"--help"}
    assert {
        option for option in options if option not in SECTIONS[name] and f"{option[1:3]} " not in SECTIONS[name]
    } == set()


def keys(value, prefix: str = "") -> set[str]:
    """The paths of the keys in JSON, as the page writes them."""
    if isinstance(value, list):
        return {key for item in value for key in keys(item, f"{prefix}[]")}
    if isinstance(value, dict):
        dot = f"{prefix}." if prefix else ""
        return {key for name, item in value.items() for key in {f"{dot}{name}"} | keys(item, f"{dot}{name}")}
    return set()


def documented(name: str) -> set[str]:
    rows = re.findall(r"^\| (`.*?) \| [^|]* \|$", SECTIONS[name].partition("| key | value |")[2], re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`(.*?)`", row)}


def test_the_keys_of_list_are_those_on_the_page(cli, plugins):
    folder = plugins.folder / "bad-1.0.dist-info"
    folder.mkdir()
    folder.joinpath("entry_points.txt").write_bytes(b"[exporter_core.exporters.v1]\nx = \xff\n")
    assert keys(json.loads(cli("list", "--json").out)) == documented("list")


def test_the_keys_of_describe_are_those_on_the_page(cli):
    said = json.loads(cli("describe", "console", "--json").out)
    assert keys({**said, "schema": None, "temporality": None}) == documented("describe")


def test_the_keys_of_doctor_are_those_on_the_page(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, "check_all", lambda entries, **_: [])
    right = tmp_path / "right.yaml"
    right.write_text('file_format: "1.1"\nmeter_provider: {readers: [periodic: {exporter: {none: }}]}\n')
    page = json.loads(cli("doctor", str(right), "--json").out)
    page["versions"] |= {"packages": {}, "missing_for_extras": {}}
    assert keys({**page, "environment": {}}) == documented("doctor")


def test_the_keys_of_validate_are_those_on_the_page(cli, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("a: b\n")
    assert keys(json.loads(cli("validate", str(wrong), "--json").out)) == documented("validate")
