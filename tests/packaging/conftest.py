"""Building wheels and making environments, from what the project's own environment has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

ROOT = Path(__file__).parents[2]
BUILD_TIMEOUT = 60.0
INSTALL_TIMEOUT = 250.0  # seconds; ends a test that hangs


class Build(Protocol):
    def __call__(self, source: Path, target: str = "wheel") -> Path: ...


def run(*command: str | Path, cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run without anything of this process's own environment that would lead back to the source tree, or to this run
    of pytest: its workers share their reports."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in {"PYTHONPATH", "VIRTUAL_ENV"} and not key.startswith("PYTEST_")
    }
    environment.setdefault("UV_CACHE_DIR", str(ROOT / ".tools" / "cache"))
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Build a distribution with the build backend that is installed here; the file made."""

    def build(source: Path, target: str = "wheel") -> Path:
        made = tmp_path / "dist" / source.name
        command = (sys.executable, "-m", "hatchling", "build", "-t", target, "-d", made)
        done = run(*command, cwd=source, timeout=BUILD_TIMEOUT)
        assert done.returncode == 0, done.stdout + done.stderr
        (file,) = (path for path in made.iterdir() if path.suffix == (".whl" if target == "wheel" else ".gz"))
        return file

    return build


class Environment:
    """An environment with nothing in it but what is installed into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self._uv = next(
            (
                str(path)
                for path in (ROOT / ".tools" / "bin" / "uv", shutil.which("uv"))
                if path and Path(path).exists()
            ),
            "",
        )
        assert self._uv, "uv is missing: make setup installs it"
        done = run(self._uv, "venv", "-q", "-p", sys.executable, folder, cwd=folder.parent, timeout=INSTALL_TIMEOUT)
        assert done.returncode == 0, done.stderr

    def install(self, *what: str | Path, pinned: bool = True) -> None:
        """Install, with the pinned versions or the newest, from uv's cache where it has them, else from PyPI."""
        pins = ("-c", ROOT / "constraints.txt") if pinned else ()
        command = (self._uv, "pip", "install", "-q", "-p", self.python, *pins, *what)
        done = run(*command, "--offline", cwd=self.folder, timeout=INSTALL_TIMEOUT)
        if done.returncode != 0:
            done = run(*command, cwd=self.folder, timeout=INSTALL_TIMEOUT)
        assert done.returncode == 0, done.stderr

    def run(self, program: Path) -> str:
        """Run a program in the program's own folder, shielded from this user's own packages; what it printed."""
        done = run(self.python, "-I", program, cwd=program.parent, timeout=INSTALL_TIMEOUT)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An empty environment."""
    return Environment(tmp_path / "environment")
