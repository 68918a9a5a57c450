"""Running the command line in this process and in processes of its own, with made-up plugins beside the real ones."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

TIMEOUT = 60.0  # seconds; ends a test that hangs


class Done(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch, inspected_once, warm_python):
    """An empty working folder, an index of the test's own, and nothing that changes how output looks.

    Programs in processes of their own are forked from one that has imported the libraries.
    """
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EXPORTER_CORE_CACHE", str(tmp_path / "index"))
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM", "PYTHONPATH", "PYTHONUNBUFFERED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cli(capsys):
    """Run a command in this process."""
    from exporter_core.cli import main

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as end:  # completion ends so
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture
def command():
    """The start of a command line in a process of its own."""
    return [sys.executable, "-m", "exporter_core"]


@pytest.fixture
def program(command):
    """Run a command in a process of its own."""

    def run(*arguments: str, **environment: str) -> Done:
        done = subprocess.run(
            [*command, *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def shown_on_terminal(command: list[str], columns: int, environment: dict[str, str]) -> tuple[int, str]:
    """Run a command on a terminal; its exit code, and what it showed, standard error included."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = {**os.environ, "TERM": "xterm-256color", **environment}
    process = subprocess.Popen(command, env=child, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux ends a terminal whose other side is closed with an error
        while more := os.read(ours, 65536):
            shown += more
    os.close(ours)
    return process.wait(TIMEOUT), shown.decode().replace("\r\n", "\n")


@pytest.fixture
def on_terminal(command):
    """Run a command on a terminal of some columns; what it showed, standard error included."""

    def run(*arguments: str, columns: int = 80, **environment: str) -> Done:
        return Done(*shown_on_terminal([*command, *arguments], columns, environment), "")

    return run


IN_TURN = """
import json, os, sys
from exporter_core.cli import main
for arguments in json.loads(sys.argv[1]):
    main(arguments)
    os.write(1, b"\\0")
"""


@pytest.fixture
def on_terminal_in_turn():
    """Run commands on a terminal of some columns, one after the other in one process; what each showed."""

    def run(*commands: list[str], columns: int = 80, **environment: str) -> list[str]:
        code, shown = shown_on_terminal([sys.executable, "-c", IN_TURN, json.dumps(commands)], columns, environment)
        *each, rest = shown.split("\0")
        assert (code, len(each), rest) == (0, len(commands), "")
        return each

    return run


class Plugins:
    """A directory of made-up distributions that this process, and those that it starts, find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def add(
        self, name: str, code: str = "", *, distribution: str = "", group: str = "exporter_core.exporters.v1"
    ) -> None:
        """Install an exporter of this name: ``code`` is its module, with the class ``Made``."""
        distribution = distribution or f"made-{name.replace('/', '-')}"
        module = "made_" + "".join(c if c.isalnum() else "_" for c in f"{distribution}_{name}")
        self.folder.joinpath(f"{module}.py").write_text(textwrap.dedent(code or DISCARDING))
        info = self.folder / f"{distribution.replace('-', '_')}-2.5.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {distribution}\nVersion: 2.5\nSummary: What {distribution} does\n"
        )
        info.joinpath("entry_points.txt").write_text(f"[{group}]\n{name} = {module}:Made\n")


DISCARDING = '''
from exporter_core import Exporter, ExporterConfig

class Options(ExporterConfig):
    """No options."""

class Made(Exporter[Options]):
    """Discard metrics."""

    def export(self, context, metrics):
        pass
'''


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """Installs made-up plugins."""
    made = Plugins(tmp_path / "plugins")
    monkeypatch.syspath_prepend(str(made.folder))
    monkeypatch.setenv("PYTHONPATH", str(made.folder))
    yield made
    for name in [name for name in sys.modules if name.startswith("made_")]:
        del sys.modules[name]
