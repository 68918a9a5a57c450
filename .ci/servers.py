"""Print the Prometheus and VictoriaMetrics that the tests start; with ``--fetch``, bring Debian's if there are none.

Each is the one that the environment variable PROMETHEUS or VICTORIA_METRICS names, else the one in ``.tools``, else the
one on PATH. Fetching needs no root and touches nothing outside ``.tools``: Debian's packages are downloaded with apt
and unpacked; both programs need no other package. Without one of them it prints the way out and ends with 1.
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from browser import TOOLS, FetchError, apt, first_that_runs, unpacked

if TYPE_CHECKING:
    from pathlib import Path

HOME = TOOLS / "servers"
SERVERS = {"prometheus": "PROMETHEUS", "victoria-metrics": "VICTORIA_METRICS"}
"""Debian's packages, which are named like their programs, and the variables that name another program."""


def find(name: str) -> str | None:
    """Return the program to start, None if none runs."""
    return first_that_runs(SERVERS[name], HOME / "usr/bin" / name, name)


def fetch() -> None:
    """Put Debian's into ``.tools``. Raises FetchError."""
    with unpacked("servers", download) as root:
        shutil.rmtree(HOME, ignore_errors=True)
        root.rename(HOME)


def download(into: Path, options: list[str]) -> None:
    """Download the packages."""
    apt(["download", "-q", *SERVERS], options, into)


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
