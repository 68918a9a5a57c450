"""Print the installed CPythons from 3.11 on that run, newest first, one of each minor version.

Each line is a virtual environment and the interpreter for it; ``.venv`` belongs to the interpreter that runs this.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST = (3, 11)
DESCRIBE = (
    "import platform, sys;"
    "print(*sys.version_info[:2], sys.version_info.releaselevel, platform.python_implementation(), sys.executable)"
)


def candidates() -> Iterator[Path]:
    """Yield interpreters: this one, then those on PATH, then pyenv's."""
    yield Path(sys.executable)
    for folder in os.get_exec_path():
        yield from (path for path in Path(folder).glob("python3.*") if re.fullmatch(r"python3\.\d+", path.name))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from pyenv.glob("versions/*/bin/python")


def described(path: Path) -> tuple[tuple[int, int], str] | None:
    """Return version and real path of a released CPython that is new enough and runs, else None."""
    try:
        done = subprocess.run([path, "-c", DESCRIBE], capture_output=True, text=True, timeout=30, check=True)
        major, minor, level, implementation, executable = done.stdout.rstrip("\n").split(" ", 4)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    version = int(major), int(minor)
    if version < OLDEST or level != "final" or implementation != "CPython":
        return None
    return version, executable


def main() -> None:
    """Print one line for each interpreter."""
    found: dict[tuple[int, int], str] = {}
    for path in candidates():
        description = described(path)
        if description is not None:
            found.setdefault(*description)
    for version, executable in sorted(found.items(), reverse=True):
        venv = ".venv" if version == sys.version_info[:2] else ".venv-{}.{}".format(*version)
        print(venv, executable)


if __name__ == "__main__":
    main()
