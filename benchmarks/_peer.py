"""An environment of its own for a peer whose requirements the project's own versions do not meet."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = ROOT / ".tools" / "bin" / "uv"


def enter(module: str, *packages: str) -> None:
    """Go on in the environment that has a module: this one, or one in ``.tools`` that is made of the packages.

    The official remote-write exporter needs a protobuf below 7, which the project's other tools do not allow. Ours
    needs no protobuf, and runs beside it there.
    """
    try:
        if importlib.util.find_spec(module) is not None:
            return
    except ModuleNotFoundError:
        pass  # nor the package above it
    place = ROOT / ".tools" / f"peer-{packages[0]}"
    python = place / "bin" / "python"
    if Path(sys.executable) == python:
        raise SystemExit(f"{place} lacks {module}: remove the folder, it is made anew")
    if not (place / "complete").exists():
        plugin = ROOT / "plugins" / "exporter-core-prometheus"
        subprocess.run([UV, "venv", "-q", "--clear", "-p", sys.executable, place], check=True)
        subprocess.run(
            [UV, "pip", "install", "-q", "-p", python, "-e", f"{ROOT}[net]", "-e", plugin, *packages], check=True
        )
        (place / "complete").touch()
    os.execv(python, [str(python), *sys.argv])  # noqa: S606 - the same program, with another interpreter
