"""Print the Chromium that the tests of the HTML report use; with ``--fetch``, bring Debian's if there is none.

It is the one that the environment variable CHROMIUM names, else the one in ``.tools``, else a Chromium or Chrome on
PATH. Fetching needs no root and touches nothing outside ``.tools``: Debian's package and its missing dependencies are
downloaded with apt and unpacked. Without a browser it prints the way out and ends with 1.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOOLS = Path(__file__).parents[1] / ".tools"
HOME = TOOLS / "chromium"
OWN = HOME / "run"
"""The program that starts the one in ``.tools``."""
NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><dir>{folder}</dir><cachedir>{cache}</cachedir></fontconfig>
"""
WAY_OUT = (
    "no Chromium: install one (apt-get install chromium) or name one in CHROMIUM; the tests of the HTML report need it"
)


class FetchError(Exception):
    """A program cannot be fetched; the message says why."""


def find() -> str | None:
    """Return the program to start, None if none runs."""
    return first_that_runs("CHROMIUM", OWN, *NAMES)


def first_that_runs(variable: str, own: Path, *names: str) -> str | None:
    """Return the program that the environment variable names, else the own one, else one on PATH; None if none runs."""
    named = os.environ.get(variable)
    candidates = [named] if named else [str(own), *(shutil.which(name) or "" for name in names)]
    return next((one for one in candidates if one and runs(one)), None)


def runs(program: str) -> bool:
    """Return True for a program that starts: on some systems the name is only a hint at another package."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def fetch() -> None:
    """Put Debian's into ``.tools``. Raises FetchError."""
    with unpacked("chromium", download) as root:
        program = root / "usr/lib/chromium/chromium"
        if not program.exists():
            raise FetchError("the package chromium has no program here")
        shutil.rmtree(HOME, ignore_errors=True)
        HOME.mkdir()
        root.rename(HOME / "root")
    write_start(HOME / "root")


@contextmanager
def unpacked(name: str, download: Callable[[Path, list[str]], None]) -> Iterator[Path]:
    """Give a folder in ``.tools`` that Debian packages are unpacked in; it is gone afterwards unless it was moved.

    Args:
        name: the beginning of the name of the folder around it.
        download: downloads the packages into a folder, with further options of apt-get.

    Raises:
        FetchError: they cannot be downloaded or unpacked.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise FetchError("this is no Debian")
    TOOLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=TOOLS) as folder:
        place = Path(folder)
        packages = place / "packages"
        packages.mkdir()
        try:
            download(packages, [])
        except FetchError:
            # The machine's lists of packages are missing, or older than the packages: lists of our own.
            lists = own_lists(place)
            apt(["update", "-q"], lists, place)
            download(packages, lists)
        root = place / "root"
        for package in packages.glob("*.deb"):
            command(["dpkg", "-x", str(package), str(root)], place)
        yield root


def own_lists(place: Path) -> list[str]:
    """The options that keep apt's lists and cache in a folder of our own, which needs no root."""
    for name in ("lists/partial", "cache/archives/partial"):
        (place / name).mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={place / 'lists'}", "-o", f"Dir::Cache={place / 'cache'}"]


def download(into: Path, options: list[str]) -> None:
    """Download the package, what it needs that is not installed, and a font in case there is none."""
    plan = apt(["-s", "install", "--no-install-recommends", "chromium", "fonts-dejavu-core"], options, into)
    names = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    if "chromium" not in names:
        raise FetchError("apt would not install chromium")
    apt(["download", "-q", *names], options, into)


def apt(arguments: list[str], options: list[str], place: Path) -> str:
    """Run apt-get without its locks and as this user; what it said."""
    return command(["apt-get", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=", *options, *arguments], place)


def command(words: list[str], place: Path) -> str:
    """Run a program in a folder; what it said. Raises FetchError."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise FetchError(f"{shlex.join(words[:1])} failed: {said[-1]}")
    return done.stdout


def write_start(root: Path) -> None:
    """Write the program that starts it with the libraries and, where the machine has none, the fonts beside it."""
    own = root / "usr/lib/chromium"
    found = (path for path in root.rglob("*.so*") if re.search(r"\.so(\.\d+)*$", path.name))
    libraries = sorted({str(path.parent) for path in found if not path.is_relative_to(own)})
    lines = ["#!/bin/sh", f"export LD_LIBRARY_PATH={shlex.quote(os.pathsep.join(libraries))}"]
    if not Path("/etc/fonts/fonts.conf").exists():
        fonts = HOME / "fonts.conf"
        fonts.write_text(FONTS.format(folder=escape(str(root / "usr/share/fonts")), cache=escape(str(HOME / "fonts"))))
        lines.append(f"export FONTCONFIG_FILE={shlex.quote(str(fonts))}")
    lines.append(f'exec {shlex.quote(str(root / "usr/lib/chromium/chromium"))} "$@"')
    OWN.write_text("\n".join(lines) + "\n", encoding="utf-8")
    OWN.chmod(0o755)


def main() -> int:
    """Find it, or fetch it."""
    found = find()
    if found is None and "--fetch" in sys.argv[1:] and not os.environ.get("CHROMIUM"):
        print("make: fetching Chromium for the tests of the HTML report", file=sys.stderr)
        try:
            fetch()
        except FetchError as error:
            print(f"make: Chromium cannot be fetched: {error}", file=sys.stderr)
        found = find()
    if found is None:
        print(WAY_OUT, file=sys.stderr)
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
