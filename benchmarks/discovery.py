"""Times of listing the installed exporters at 1,000 distributions, beside its peers.

All sides run in one interleaved run over the same generated site directory, with files as old as those of a usual
installation; the figures are medians. The last rows measure whole processes.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from _common import arguments, at_least

if TYPE_CHECKING:
    from collections.abc import Callable

from exporter_core import discovery
from exporter_core.contract import EXPORTER_GROUP

ROOT = Path(__file__).resolve().parent.parent
EXPORTERS = 8
CALLS = 10  # in a row in each round: a single call would be timed with the caches that the previous row left
MONTH_AGO = 30 * 86400


class Floor(NamedTuple):
    """One figure with its bound: ``value`` must be at most ``limit``."""

    what: str
    value: float
    limit: float
    unit: str

    @property
    def reached(self) -> bool:
        """True if the bound is kept."""
        return self.value <= self.limit


def main() -> int:
    parser = arguments(__doc__, rounds=15, of="rounds of the in-process rows")
    many = at_least(EXPORTERS * 3)
    parser.add_argument("--distributions", type=many, default=1000, help="how many to generate (default: 1000)")
    whole = "rounds of the whole processes, at least 5 (default: 9)"
    parser.add_argument("--process-rounds", type=at_least(5), default=9, help=whole)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exporter-core-benchmark-") as folder:
        site = Path(folder, "lib", "python3", "site-packages")
        generate(site, options.distributions)
        os.environ["EXPORTER_CORE_CACHE"] = str(Path(folder, "index"))
        rows = in_process(site, Path(folder, "stevedore"), options.rounds)
        rows |= whole_processes(Path(folder), site, options.process_rounds)
    floors = floors_of(rows)
    show(rows, floors)
    if options.json:
        print(
            json.dumps(
                {
                    "benchmark": "discovery",
                    "python": ".".join(map(str, sys.version_info[:3])),
                    "distributions": options.distributions,
                    "milliseconds": {name: round(value, 3) for name, value in rows.items()},
                    "floors": [
                        {**floor._asdict(), "value": round(floor.value, 3), "reached": floor.reached}
                        for floor in floors
                    ],
                }
            )
        )
    return 0 if all(floor.reached for floor in floors) else 1


def generate(site: Path, count: int) -> None:
    """Install ``count`` distributions: a third of them with entry points, 8 of those with an exporter."""
    site.mkdir(parents=True)
    exporters = set(range(0, count, count // EXPORTERS // 3 * 3)[:EXPORTERS]) if count >= EXPORTERS * 3 else set()
    description = "A paragraph of the description, as long as paragraphs are.\n\n" * 60
    then = time.time() - MONTH_AGO
    for number in range(count):
        name = f"example_library_{number:04d}"
        info = site / f"{name}-{number % 9}.{number % 20}.{number % 7}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {name.replace('_', '-')}\nVersion: {info.name.split('-')[1][:-5]}\n"
            f"Summary: What library {number} is for\nRequires-Python: >=3.11\nRequires-Dist: typing-extensions>=4\n\n"
            f"{description}"
        )
        (info / "RECORD").write_text("".join(f"{name}/module_{m}.py,sha256={'x' * 43},{m * 997}\n" for m in range(30)))
        package = site / name
        package.mkdir()
        (package / "__init__.py").write_text("")
        (info / "WHEEL").write_text(
            "Wheel-Version: 1.0\nGenerator: example\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        (info / "INSTALLER").write_text("example\n")
        if number % 3 == 0:
            text = f"[console_scripts]\n{name} = {name}.cli:main\n{name}-admin = {name}.admin:main\n"
            if number % 4 == 0:
                text += f"\n[pytest11]\n{name} = {name}.testing\n"
            if number in exporters:
                text += f"\n[{EXPORTER_GROUP}]\nexample_{number} = {name}:ExampleExporter\n"
            (info / "entry_points.txt").write_text(text)
        os.utime(info, (then + number, then + number))
    os.utime(site, (then + count, then + count))


def in_process(site: Path, stevedore_folder: Path, rounds: int) -> dict[str, float]:
    """Milliseconds of each way to list the group, without what importing it costs."""
    from stevedore import _cache as stevedore_cache  # noqa: PLC0415 - stevedore has no public name for it

    path = [str(site)]
    before = sys.path[:]
    # importlib.metadata and stevedore search sys.path; other packages installed here are not among the 1,000.
    sys.path[:] = [*path, *(entry for entry in before if Path(entry).name not in {"site-packages", ROOT.name})]
    discovery.installed()
    measured: dict[str, Callable[[], object]] = {
        "calibration: a loop of 100,000 additions": loop,
        "list, warm index": discovery.installed,
        "stevedore, warm cache": lambda: stevedore_cache.Cache(str(stevedore_folder)).get_group_all(EXPORTER_GROUP),
        "importlib.metadata.entry_points(group=)": lambda: importlib.metadata.entry_points(group=EXPORTER_GROUP),
        "list, cold: scan and write the index": lambda: discovery.installed(path=path, refresh=True),
        "bare scan of the entry_points.txt files": lambda: bare_scan(str(site)),
    }
    for way in measured.values():
        way()
    theirs = {entry.name for entry in importlib.metadata.entry_points(group=EXPORTER_GROUP)}
    if {entry.name for entry in discovery.installed()} != theirs or len(discovery.installed(path=path)) != EXPORTERS:
        raise SystemExit("the two sides list different entry points")
    result = interleaved(measured, rounds, calls=CALLS)
    sys.path[:] = before
    return result


def bare_scan(site: str) -> int:
    """Read every entry_points.txt, and do nothing with it."""
    characters = 0
    for child in os.listdir(site):  # noqa: PTH208 - the barest way is what is measured
        if child.endswith((".dist-info", ".egg-info")):
            try:
                with open(f"{site}/{child}/entry_points.txt", encoding="utf-8") as file:  # noqa: PTH123 - as above
                    characters += len(file.read())
            except FileNotFoundError:
                pass
    return characters


def loop() -> int:
    total = 0
    for number in range(100_000):
        total += number
    return total


def whole_processes(folder: Path, site: Path, rounds: int) -> dict[str, float]:
    """Milliseconds of whole processes, with byte code already compiled."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "PYTHONPATH": str(site)}
    programs = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import exporter_core": [sys.executable, "-c", "import exporter_core"],
        "import opentelemetry.sdk.metrics": [sys.executable, "-c", "import opentelemetry.sdk.metrics"],
    }
    if importlib.util.find_spec("exporter_core.cli") is not None:
        programs["exporter-core list --json, warm"] = [
            sys.executable, "-c", "import sys; from exporter_core.cli import main; sys.exit(main())", "list", "--json",
        ]  # fmt: skip

    def run(command: list[str]) -> None:
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, timeout=60, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command[1:])} failed:\n{done.stderr.decode()}")

    measured: dict[str, Callable[[], object]] = {name: partial(run, command) for name, command in programs.items()}
    for way in [*measured.values()] * 2:
        way()
    return interleaved(measured, rounds)


def interleaved(measured: dict[str, Callable[[], object]], rounds: int, calls: int = 1) -> dict[str, float]:
    """The median time of each in milliseconds; every round runs all of them, each ``calls`` times in a row."""
    times: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, way in measured.items():
            begun = time.perf_counter()
            for _ in range(calls):
                way()
            times[name].append((time.perf_counter() - begun) * 1000 / calls)
    return {name: statistics.median(values) for name, values in times.items()}


def floors_of(rows: dict[str, float]) -> list[Floor]:
    """Return the figures with their bounds."""
    warm, bare = rows["list, warm index"], rows["python -c pass"]
    above = rows["import exporter_core"] - bare
    sdk = rows["import opentelemetry.sdk.metrics"] - bare
    floors = [
        Floor("list, warm index", warm, 3.0, "ms"),
        Floor("list, warm index / stevedore, warm cache", warm / rows["stevedore, warm cache"], 1 / 10, "x"),
        Floor(
            "list, warm index / importlib.metadata", warm / rows["importlib.metadata.entry_points(group=)"], 1 / 20, "x"
        ),
        Floor(
            "list, cold / bare scan",
            rows["list, cold: scan and write the index"] / rows["bare scan of the entry_points.txt files"],
            1.5,
            "x",
        ),
        Floor("import exporter_core above the bare interpreter", above, 30.0, "ms"),
        Floor("import exporter_core / import opentelemetry.sdk.metrics", above / sdk, 1 / 5, "x"),
    ]
    if listed := rows.get("exporter-core list --json, warm"):
        floors.append(Floor("exporter-core list --json, warm", listed, 150.0, "ms"))
    return floors


def show(rows: dict[str, float], floors: list[Floor]) -> None:
    for name, value in rows.items():
        print(f"{name:<58} {value:9.3f} ms")
    if "exporter-core list --json, warm" not in rows:
        print("exporter-core list --json, warm: missing, exporter_core.cli is not there")
    print()
    for floor in floors:
        verdict = "reached" if floor.reached else "NOT REACHED"
        print(f"{floor.what:<58} {floor.value:9.3f} {floor.unit:<2} at most {floor.limit:<6.3g} {verdict}")


if __name__ == "__main__":
    sys.exit(main())
