"""How far a check has come: a bar on standard error, on a terminal only."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from exporter_core.cli.output import console
from exporter_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter_core.conformance.run.run_clause import Run


class Progress:
    """ErrorSnapshot of what begins and of what ended, from any thread; shows nothing by itself."""

    def __init__(self, show: Callable[[int, str], object] = lambda _done, _now: None) -> None:
        self._show = show
        self._done = 0
        self._now: dict[str, str] = {}

    def begun(self, clause: str, mode: str) -> None:
        """A clause begins in a mode."""
        self._now[mode] = clause
        self._tell()

    def ended(self, _run: Run) -> None:
        """A clause has its result."""
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        self._show(
            self._done, "  ".join(f"{mode} {clause}" for mode, clause in sorted(self._now.items(), reverse=True))
        )


@contextmanager
def progress(target: str, results: int) -> Iterator[Progress]:
    """Shows a bar while it is entered, and leaves nothing behind.

    Args:
        target: what is checked.
        results: how many results there will be.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield Progress()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - a terminal
    from rich.progress import Progress as Bar  # noqa: PLC0415 - a terminal only

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}", style="dim", markup=False),
    )
    with Bar(*columns, console=console(sys.stderr), transient=True) as bar:
        task = bar.add_task(printable(target).rpartition(":")[2], total=results, now="")
        yield Progress(lambda done, now: bar.update(task, completed=done, now=now))
