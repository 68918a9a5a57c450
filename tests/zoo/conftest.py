"""The zoo: distributions installed into a site directory of the test's own, and a host process that visits them.

A test file has a table of specimens: a module's source, and what selecting or calling it is to say.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from exporter_core.cli.inspection import check_all
from exporter_core.discovery import installed

GROUP = "exporter_core.exporters.v1"
SECRET = "hunter2-of-the-zoo"  # noqa: S105 - a canary
PATIENCE = 60.0  # seconds; only a failing run takes them
CALLS = (("export", 30), ("export", 30), ("force_flush", 30), ("shutdown", 30))

BASE = f'''\
"""What specimens have in common."""
from pydantic import SecretStr, field_validator
from exporter_core import *

SECRET = {SECRET!r}

class Config(ExporterConfig):
    password: SecretStr = SecretStr(SECRET)
    """What must not be seen."""

class Good(Exporter[Config]):
    """Keep the contract."""
    def export(self, context, metrics):
        return None

class Unprintable(Exception):
    def __str__(self):
        raise SystemExit("not to be read")

guard = None
counted = []
seen = []
'''


class Site:
    """A directory of installed distributions, with a well-behaved exporter called ``good`` among them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.install("zoo-good", f"[{GROUP}]\ngood = zoo_base:Good\n", {"zoo_base": BASE})

    @property
    def path(self) -> list[str]:
        return [str(self.folder)]

    def install(self, distribution, entry_points, modules=(), *, version="6.6", metadata=None, file_name=None):
        """Install a distribution as an installer would; ``entry_points`` is the text of its entry_points.txt."""
        info = self.folder / f"{file_name or distribution.replace('-', '_')}-{version}.dist-info"
        headers = f"Metadata-Version: 2.4\nName: {distribution}\nVersion: {version}\nSummary: A specimen\n"
        files = {
            f"{info.name}/METADATA": headers if metadata is None else metadata,
            f"{info.name}/WHEEL": "Wheel-Version: 1.0\nGenerator: zoo\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info.name}/INSTALLER": "pip\n",
            f"{info.name}/entry_points.txt": entry_points,
            **{f"{module}.py": source for module, source in dict(modules).items()},
        }
        files[f"{info.name}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info.name}/RECORD"])
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return info

    def specimen(self, name, source, *, attribute="Plugin", prelude="from zoo_base import *\n"):
        """Install a distribution ``zoo-NAME`` whose module has this source and registers ``Plugin`` as NAME."""
        points = f"[{GROUP}]\n{name} = zoo_{name}{attribute and ':'}{attribute}\n"
        self.install(f"zoo-{name}", points, {f"zoo_{name}": prelude + source})

    def specimens(self, sources):
        for name, source in sources.items():
            self.specimen(name, source)

    def entries(self):
        """The entries of all specimens, by name; the good one is left out."""
        return {entry.name: entry for entry in installed(path=self.path) if entry.name != "good"}

    def checked(self):
        """What ``list --check`` says of each specimen: its failure, or "ok". No secret may be in anything it shows."""
        results = check_all(self.entries().values(), path=self.path, timeout=PATIENCE)
        for result in results:
            assert SECRET not in f"{result.failure}{result.docstring}{result.config_schema}"
            assert "\n" not in (result.failure or "")
        return {result.entry.name: result.failure or "ok" for result in results}


@pytest.fixture(autouse=True)
def index_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EXPORTER_CORE_CACHE", str(tmp_path / "index"))


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def run(site, tmp_path, warm_python):
    """Run a program with the site directory on its path; what it wrote.

    It ends with the expected status, in time, and tells no secret.
    """

    def run(*command, status=0):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))}
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(site.folder)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def visit(run, tmp_path):
    """What each specimen said to one host process that loads and calls them all, in order.

    Takes by name what the host does differently: ``config``, ``timeout`` or ``calls``.
    """

    def visit(names, **differently):
        request, answer = tmp_path / "request.json", tmp_path / "answer.json"
        plans = {name: {"calls": CALLS, **differently.get(name, {})} for name in [*names, *differently]}
        request.write_text(json.dumps(plans))
        run(Path(__file__).with_name("host.py"), request, answer)
        text = answer.read_text()
        assert SECRET not in text
        return json.loads(text)

    return visit


@pytest.fixture
def expect():
    """Compare two tables of texts; ``...`` in an expected text stands for anything."""

    def fits(said, expected):
        if isinstance(said, list):
            return len(said) == len(expected) and all(map(fits, said, expected))
        pattern = ".*".join(map(re.escape, expected.split("...")))
        return re.fullmatch(pattern, said, re.DOTALL) is not None

    def expect(said, expected):
        assert said.keys() == expected.keys()
        assert {name: one for name, one in said.items() if not fits(one, expected[name])} == {}

    return expect
