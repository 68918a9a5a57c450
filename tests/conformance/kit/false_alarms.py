"""Runs the clauses on the reference exporters again and again, half of the time with every core kept busy.

``make false-alarms``, or ``python -m kit.false_alarms 200`` with this folder's parent on the path. These exporters keep
every clause: any verdict but PASS and NOT_APPLICABLE is a false alarm, except UNOBSERVABLE in the asynchronous one's
scheduled clauses, since the scheduler runs no event loop. A second number is that of the schedules that those clauses
try in each run. Exit code 0 if there is no false alarm, 1 if there is one, 2 for a wrong number.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager, nullcontext
from itertools import product
from typing import TYPE_CHECKING, Final

from exporter_core.conformance.clause import clauses
from exporter_core.conformance.run.verdicts import SCHEDULES, Run, Settings, Verdict
from kit.forked import Candidate, run_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporter_core.conformance.subject import Mode

EXPORTERS: Final = ("ReferenceExporter", "BufferingExporter", "AsyncExporter")
_MODES: Final[tuple[Mode, ...]] = ("raw", "guarded")
_FINE: Final = frozenset({Verdict.PASS, Verdict.NOT_APPLICABLE})
_DEFAULT_RUNS: Final = 200
_ARGUMENTS: Final = 2
_TOLD: Final = 100  # runs between two lines that say how many there were


def false_alarms(runs: int, schedules: int = SCHEDULES) -> Iterator[tuple[Candidate, bool, list[str]]]:
    """Run each exporter so often in each mode, every second time with every core kept busy.

    Yields each run as it ends: its candidate, whose seed is the number of the run; True if every core was busy; and
    each false alarm in words.
    """
    for busy in (False, True):
        numbers = range(1 + busy, runs + 1, 2)
        candidates = [
            Candidate(f"kit.reference:{exporter}", mode, Settings(seed=number, schedules=schedules))
            for number, exporter, mode in product(numbers, EXPORTERS, _MODES)
        ]
        with _every_core_busy() if busy else nullcontext():
            for candidate, results in run_all(candidates, at_once=len(EXPORTERS) * len(_MODES)):
                yield candidate, busy, _wrong(candidate, results)


def _wrong(candidate: Candidate, results: Sequence[Run]) -> list[str]:
    runs = {run.id: run for run in results}
    wrong = []
    for clause in clauses():
        run = runs.get(clause.id)
        on_a_loop = clause.technique == "P" and candidate.target.endswith("AsyncExporter")
        if run is None:
            wrong.append(f"{clause.id}: no verdict: it never ended")
        elif run.verdict not in (_FINE | {Verdict.UNOBSERVABLE} if on_a_loop else _FINE):
            wrong.append(f"{clause.id}: {run.verdict}: {run.seen}")
    return wrong


@contextmanager
def _every_core_busy() -> Iterator[None]:
    # Each ends with this process, however that ends.
    program = [sys.executable, "-c", f"import os\nwhile os.getppid() == {os.getpid()}: pass"]
    loads = [subprocess.Popen(program) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for load in loads:
            load.kill()
            load.wait()


def main() -> int:
    """Run as often as the first argument says; show each false alarm as it comes, and a table at the end."""
    numbers = sys.argv[1:] or [str(_DEFAULT_RUNS)]
    if refused := numbers[_ARGUMENTS:] or [given for given in numbers if not given.isdecimal() or not int(given)]:
        sys.stderr.write(f"error: expected a number of runs, and perhaps one of schedules, not {refused[0]!r}\n")
        return 2
    runs: Counter[tuple[str, str, bool]] = Counter()
    alarms: Counter[tuple[str, str, bool]] = Counter()
    for done, (candidate, busy, wrong) in enumerate(false_alarms(*map(int, numbers)), 1):
        about = (candidate.target.partition(":")[2], candidate.mode, busy)
        runs[about] += 1
        alarms[about] += len(wrong)
        if not done % _TOLD:
            sys.stderr.write(f"{done} of {int(numbers[0]) * len(EXPORTERS) * len(_MODES)} runs\n")
        for one in wrong:
            _say(f"{' '.join(about[:2])}, run {candidate.settings.seed}{', every core busy' * busy}: {one}")
    _say(f"{'exporter':<20}{'mode':<10}{'runs':>6}{'alarms':>8}{'busy runs':>12}{'alarms':>8}")
    for exporter, mode in product(EXPORTERS, _MODES):
        of = [(counts[exporter, mode, busy]) for busy in (False, True) for counts in (runs, alarms)]
        _say(f"{exporter:<20}{mode:<10}{of[0]:>6}{of[1]:>8}{of[2]:>12}{of[3]:>8}")
    found = alarms.total()
    _say(f"{found or 'no'} false alarm{'s' * (found != 1)} of {len(clauses())} clauses")
    return 1 if found else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
