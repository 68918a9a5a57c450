"""The tutorial is run from its first line to its last: its commands print what it shows, its changes apply."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial-conformance.md").read_text(encoding="utf-8")
STEPS = re.findall(r"^```(console|diff)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


class Shell:
    """Runs the page's steps one after the other, as somebody would who reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "EXPORTER_CORE_CACHE": str(folder / "index"),
            "NO_COLOR": "1",
        }

    def run(self, command: str) -> str:
        if command.startswith("cd "):
            self.folder /= command.removeprefix("cd ")
            return ""
        if command.startswith("pip install -e "):
            self._install()
            return ""
        if command.startswith("pip install "):
            return ""  # this very package, which is there
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        return done.stdout

    def _install(self) -> None:
        """What installing in editable mode comes to; tests/packaging installs a new plugin for real."""
        project = tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        info = self.site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        (info / "entry_points.txt").write_text(
            "".join(
                f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
                for group, points in project["entry-points"].items()
            )
        )
        self.environment["PYTHONPATH"] = f"{self.site}{os.pathsep}{self.folder}"

    def apply(self, change: str) -> None:
        """Make a change: what stands there without the lines that are added becomes what stands there with them."""
        head, *lines = change.splitlines(keepends=True)
        file = self.folder / head.removeprefix("--- ").strip()
        before = "".join(line[1:] for line in lines if not line.startswith("+"))
        after = "".join(line[1:] for line in lines if not line.startswith("-"))
        text = file.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{text}\ndoes not have, or has more than once:\n{before}"
        file.write_text(text.replace(before, after), encoding="utf-8")


@pytest.mark.nightly
@pytest.mark.timeout(400)  # a dozen processes, one after the other, that check an exporter
def test_the_tutorial_goes_as_it_says(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    checker = doctest.OutputChecker()
    for kind, text in STEPS:
        if kind == "diff":
            shell.apply(text)
            continue
        for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = step.partition("\n")
            printed = shell.run(command)
            assert checker.check_output(expected.strip("\n"), printed.strip("\n"), doctest.ELLIPSIS), (
                f"$ {command}\n{printed}\nbut the page shows:\n{expected}"
            )
