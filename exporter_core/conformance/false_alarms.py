"""Runs the reference exporters through the checker again and again, half of the time with every core kept busy.

``python -m exporter_core.conformance.false_alarms 200``: each exporter keeps every clause, so anything but PASS or
NOT_APPLICABLE is a false alarm; of the asynchronous one UNOBSERVABLE is not, for the scheduler runs no event loop. Exit
code 0 when there is none, else 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from exporter_core.conformance.engine import check
from exporter_core.conformance.running import Settings
from exporter_core.conformance.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["false_alarms", "main"]

EXPORTERS = ("ReferenceExporter", "BufferingExporter", "AsyncExporter")
_FINE = (Verdict.PASS, Verdict.NOT_APPLICABLE)
_ON_A_LOOP = ("AsyncExporter", Verdict.UNOBSERVABLE)


def false_alarms(runs: int) -> Iterator[tuple[str, int, list[str]]]:
    """For each run its exporter, its number and what was not as it should be; the number is also the seed."""
    for number in range(1, runs + 1):
        with ExitStack() as load:
            if number % 2 == 0:
                load.enter_context(_busy())
            for exporter in EXPORTERS:
                report = check(f"exporter_core.conformance.reference:{exporter}", settings=Settings(seed=number))
                wrong = [
                    f"{clause} {mode}: {run.verdict}: {run.seen}"
                    for (clause, mode), run in report.runs.items()
                    if run.verdict not in _FINE and (exporter, run.verdict) != _ON_A_LOOP
                ]
                yield exporter, number, wrong


@contextmanager
def _busy() -> Iterator[None]:
    """Keep every core busy."""
    program = [sys.executable, "-c", "while True: pass"]
    loads = [subprocess.Popen(program) for _ in range(os.cpu_count() or 1)]  # noqa: S603 - the line above
    try:
        yield
    finally:
        for load in loads:
            load.kill()
            load.wait()


def main() -> int:
    """Run as often as the first argument says, 5 times without one."""
    found = 0
    for exporter, number, wrong in false_alarms(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
        found += len(wrong)
        sys.stdout.write(f"{number:4} {exporter:<18} {'; '.join(wrong) or 'fine'}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{found} false alarms\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
