"""Print the Prometheus and VictoriaMetrics that the tests start; with ``--fetch``, bring Debian's if there are none.

Each is the one that the environment variable PROMETHEUS or VICTORIA_METRICS names, else the one in ``.tools``, else the
one on PATH. Fetching needs no root and touches nothing outside ``.tools``: Debian's packages are downloaded with apt
and unpacked; both programs need no other package. Without one of them it prints the way out and ends with 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from browser import FetchError, apt, command, own_lists

TOOLS = Path(__file__).parents[1] / ".tools"
HOME = TOOLS / "servers"
SERVERS = {"prometheus": "PROMETHEUS", "victoria-metrics": "VICTORIA_METRICS"}
"""Debian's packages, which are named like their programs, and the variables that name another program."""


def find(name: str) -> str | None:
    """Return the program to start, None if none runs."""
    named = os.environ.get(SERVERS[name])
    candidates = [named] if named else [str(HOME / "usr/bin" / name), shutil.which(name) or ""]
    return next((one for one in candidates if one and runs(one)), None)


def runs(program: str) -> bool:
    """Return True for a program that starts."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def fetch() -> None:
    """Put Debian's into ``.tools``. Raises FetchError."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise FetchError("this is no Debian")
    TOOLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="servers-", dir=TOOLS) as folder:
        place = Path(folder)
        packages = place / "packages"
        packages.mkdir()
        try:
            apt(["download", "-q", *SERVERS], [], packages)
        except FetchError:
            # The machine's lists of packages are missing, or older than the packages: lists of our own.
            lists = own_lists(place)
            apt(["update", "-q"], lists, place)
            apt(["download", "-q", *SERVERS], lists, packages)
        for package in packages.glob("*.deb"):
            command(["dpkg", "-x", str(package), str(place / "root")], place)
        shutil.rmtree(HOME, ignore_errors=True)
        (place / "root").rename(HOME)


def main() -> int:
    """Print the programs; the exit code."""
    if "--fetch" in sys.argv[1:] and not all(map(find, SERVERS)):
        try:
            fetch()
        except FetchError as error:
            print(f"no {' and '.join(SERVERS)} fetched: {error}", file=sys.stderr)
    found = {name: find(name) for name in SERVERS}
    for name, program in found.items():
        if program is None:
            print(
                f"no {name}: install it (apt-get install {name}) or name one in {SERVERS[name]}; the tests of "
                "exporter-core-prometheus need it",
                file=sys.stderr,
            )
        else:
            print(name, program)
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
