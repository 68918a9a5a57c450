"""What the benchmarks share: figures with what they are to reach, shown as a table and as JSON."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
