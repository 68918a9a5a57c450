"""Output of ``exporter-core check``: its report in the form and to the file asked for, and a progress bar meanwhile."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from exporter_core.cli import output
from exporter_core.cli.output import STANDARD_OUTPUT, write_result
from exporter_core.errors import SetupError
from exporter_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter_core.conformance.run.verdicts import Report, Run

Form = Literal["text", "json", "html", "junit"]

_NARROWEST, _WIDTH, _WIDEST = 70, 80, 110  # columns


class Look(TypedDict):
    """The look of text."""

    colour: bool
    width: int


def text_look(file: str | None) -> Look:
    """Return colours and the terminal's width for text on a terminal; else no colours and 80 columns."""
    if file not in (None, STANDARD_OUTPUT) or sys.stdout is None or not sys.stdout.isatty():
        return {"colour": False, "width": _WIDTH}
    width = max(_NARROWEST, min(get_terminal_size().columns, _WIDEST))
    return {"colour": output.coloured(sys.stdout), "width": width}


def as_json_text(value: Any) -> str:  # Any: JSON
    """Return the value as a JSON document."""
    return json.dumps(value, indent=2) + "\n"


def check_form(form: Form) -> None:
    """Raise SetupError if a report of this form cannot be made here: better before a check than after it."""
    if form == "html" and find_spec("jinja2") is None:
        raise SetupError("an HTML report needs Jinja2: pip install 'exporter-core[conformance]'")


def write_report(report: Report, form: Form, file: str | None, *, strict: bool, verbose: bool = False) -> None:
    """Write the report, to standard output unless a file is given."""
    write_result(file, _text(report, form, file, strict=strict, verbose=verbose), replace=True)


def _text(report: Report, form: Form, file: str | None, *, strict: bool, verbose: bool) -> str:
    from exporter_core.conformance import report as reports  # noqa: PLC0415 - imports the SDK

    if form == "json":
        return as_json_text(reports.as_json(report, strict=strict))
    if form == "junit":
        return reports.as_junit(report, strict=strict)
    if form == "html":
        from exporter_core.conformance.report.html import as_html  # noqa: PLC0415 - imports Jinja2

        return as_html(report, strict=strict)
    return reports.as_text(report, strict=strict, verbose=verbose, **text_look(file))


class Progress:
    """The clauses at work and the number of results. Safe from any thread; shows nothing by itself."""

    def __init__(self, show: Callable[[int, str], object] = lambda _done, _now: None) -> None:
        self._show = show
        self._done = 0
        self._now: dict[str, str] = {}

    def begun(self, clause: str, mode: str) -> None:
        """Note that a clause begins in a mode."""
        self._now[mode] = clause
        self._update()

    def ended(self, _run: Run) -> None:
        """Count the result of a clause."""
        self._done += 1
        self._update()

    def _update(self) -> None:
        self._show(
            self._done, "  ".join(f"{mode} {clause}" for mode, clause in sorted(self._now.items(), reverse=True))
        )


@contextmanager
def progress_bar(target: str, results: int) -> Iterator[Progress]:
    """Show a bar on standard error meanwhile, if that is a terminal; it leaves nothing behind.

    Args:
        target: the exporter under test, or ``readers``.
        results: the number of results to expect.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield Progress()
        return
    from rich.progress import (  # noqa: PLC0415 - a terminal
        BarColumn,
        MofNCompleteColumn,
        Progress as Bar,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}", style="dim", markup=False),
    )
    with Bar(*columns, console=output.console(sys.stderr), transient=True) as bar:
        task = bar.add_task(printable(target).rpartition(":")[2], total=results, now="")
        yield Progress(lambda done, now: bar.update(task, completed=done, now=now))
