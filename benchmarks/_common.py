"""What the benchmarks share: their options; figures with what they are to reach, shown as a table and as JSON."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def arguments(description: str | None, *, rounds: int, of: str = "interleaved rounds") -> argparse.ArgumentParser:
    """A parser of ``--rounds``, with its default and what they are rounds of, and ``--json``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=at_least(5), default=rounds, help=f"{of}, at least 5 (default: {rounds})")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser


def at_least(least: int) -> Callable[[str], int]:
    """The type of an argument that is a number, and no smaller one."""

    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"expected at least {least}")
        return int(text)

    return number


@dataclass(frozen=True)
class Row:
    """One figure and, unless it stands there to compare with, what it is to be at most, or at least."""

    what: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    figure: float | None = None
    """What is held against the floor: a ratio, a difference, or the value itself."""
    floor: float | None = None
    floor_unit: str = "x"
    note: str = ""
    at_least: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether it is; None if there is nothing to reach."""
        if self.figure is None or self.floor is None:
            return None
        return self.figure >= self.floor if self.at_least else self.figure <= self.floor


def report(benchmark: str, rows: Sequence[Row], *, as_json: bool, **more: object) -> bool:
    """Print the rows, and as the last line JSON where that is asked for; whether all that is to be reached is."""
    width = max(len(row.what) for row in rows)
    print(f"{'what':<{width}} {'measured':>19}  {'beside':<30} {'peer':>19} {'figure':>8}  {'to reach':<18} reached")
    for row in rows:
        peer = "" if row.peer_value is None else f"{_number(row.peer_value)} {row.unit}"
        held = "" if row.figure is None else f"{row.figure:8.2f}"
        if row.figure is not None and row.floor is not None:
            held += f"  {'at least' if row.at_least else 'at most'} {row.floor:g} {row.floor_unit}"
        verdict = {None: row.note, True: "yes", False: "NO"}[row.reached]
        value = f"{_number(row.value)} {row.unit}"
        print(f"{row.what:<{width}} {value:>19}  {row.peer:<30} {peer:>19} {held:<28} {verdict}".rstrip())
    if as_json:
        head = {"benchmark": benchmark, "python": ".".join(map(str, sys.version_info[:3])), **more}
        print(json.dumps({**head, "rows": [{**asdict(row), "reached": row.reached} for row in rows]}))
    return all(row.reached is not False for row in rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10_000 else f"{value:.3f}"


def peak_memory() -> int:
    """The most bytes that this process has had resident, since :func:`forget_peak_memory` if that was called."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - no file of ours
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def forget_peak_memory() -> None:
    """Have :func:`peak_memory` begin with what is resident at this moment."""
    gc.collect()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:  # noqa: PTH123 - no file of ours
        file.write("5")


def percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


@contextmanager
def one_cpu() -> Iterator[None]:
    """Keep this thread, and those that it starts, on one processor."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
