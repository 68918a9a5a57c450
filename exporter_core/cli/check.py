"""``exporter-core check``: the clauses of the exporter contract, checked against one exporter."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from exporter_core.cli import output
from exporter_core.cli.checking import options_of, stopped_by_signals
from exporter_core.cli.completion import exporter_names
from exporter_core.cli.files import check_writable, write_text
from exporter_core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.conformance.engine import Report
    from exporter_core.conformance.running import Run

__all__ = ["check"]


def check(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|module:Class", help="The exporter.", show_default=False, autocompletion=exporter_names
        ),
    ] = None,
    *,
    clause: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Which clauses, such as 'SHD-*'; repeatable.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The exporter by itself only.")] = False,
    guarded: Annotated[bool, typer.Option("--guarded", help="The exporter behind the guard only.")] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Decides what is random.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="A SHOULD that failed counts as a MUST.")] = False,
    format: Annotated[Literal["text", "json"], typer.Option(help="Of the report.")] = "text",  # noqa: A002 - the option
    file: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the report there.")] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="MAPPING|FILE",
            help="Options of the exporter in JSON or YAML, or a file with them; they go before those of its harness.",
        ),
    ] = None,
    sink: Annotated[
        str | None,
        typer.Option(
            metavar="KIND[:PORT]",
            help="Observe the exporter through this sink, at which --config points it: {endpoint}, {address}, {host}, "
            "{port}, {path}.",
        ),
    ] = None,
    allow_real_backend: Annotated[
        bool, typer.Option("--allow-real-backend", help="Go on although the harness points at a real backend.")
    ] = False,
    explain: Annotated[str | None, typer.Option(metavar="ID", help="Say what a clause asks for.")] = None,
    list_clauses: Annotated[bool, typer.Option("--list", help="Show every clause.")] = False,
) -> int:
    """Check an exporter against the exporter contract.

    Each clause is checked on the exporter by itself (raw) and behind the guard, in processes of their own. Exit codes:
    0 conformant, 1 a MUST failed, 2 wrong usage, 3 partial or inconclusive, 4 the checker failed.

    Example: exporter-core check sqlite --clause 'SHD-*'
    """
    if list_clauses:
        _list(clause or [])
        return 0
    if explain is not None:
        _explain(explain)
        return 0
    if target is None:
        raise SetupError("which exporter? give a name (exporter-core list shows them) or module:Class")
    from exporter_core.conformance.engine import check as run  # noqa: PLC0415 - imports the SDK
    from exporter_core.conformance.report import conclude  # noqa: PLC0415 - as above
    from exporter_core.conformance.running import Settings  # noqa: PLC0415 - as above

    given = None if config is None else options_of(config)
    if file is not None:
        check_writable(file)
    both = raw == guarded
    with _Progress(target) as progress, stopped_by_signals() as stop:
        report = run(
            target,
            patterns=clause or [],
            modes=[*(["raw"] if raw or both else []), *(["guarded"] if guarded or both else [])],  # type: ignore[list-item]  # mypy widens the literals
            options=given,
            sink=sink,
            settings=Settings(seed=seed),
            allow_real_backend=allow_real_backend,
            progress=progress,
            stop=stop,
        )
    _write(report, format, file, strict=strict)
    return conclude(report, strict=strict).exit_code


def _write(report: Report, form: str, file: Path | None, *, strict: bool) -> None:
    import json  # noqa: PLC0415 - reports only

    from exporter_core.conformance.report import as_json, as_text  # noqa: PLC0415 - as above

    if form == "json":
        text = json.dumps(as_json(report, strict=strict), indent=2) + "\n"
    else:
        colour = file is None and sys.stdout is not None and output.coloured(sys.stdout)
        text = as_text(report, colour=colour, strict=strict)
    if file is None:
        output.write(text)
    else:
        write_text(file, text, replace=True)


def _list(patterns: list[str]) -> None:
    for one in _select(patterns):
        output.write(f"{one.id:<8}{one.mark:<9}{one.technique}  {one.promise}\n")


def _explain(identifier: str) -> None:
    from exporter_core.conformance.clause import TECHNIQUES  # noqa: PLC0415 - imports the SDK

    for one in _select([identifier]):
        canary = "static: it rests on the mutants" if one.canary is None else one.canary.__doc__
        rows = {
            "level": one.mark,
            "since": f"contract v{one.since}",
            "contract": one.words,
            "technique": f"{one.technique}: {TECHNIQUES[one.technique]}",
            "how": " ".join((one.function.__doc__ or "").split()),
            "canary": canary,
            "look at": one.check,
            "after": ", ".join(one.after) or "-",
        }
        output.write(f"{one.id}  {one.promise}\n")
        output.write("".join(f"  {name:<11}{value}\n" for name, value in rows.items()))


def _select(patterns: list[str]) -> list[Any]:  # Any: clauses, whose type is imported where it is used
    from exporter_core.conformance.clause import select  # noqa: PLC0415 - imports the SDK

    found = select(patterns)
    if not found:
        raise SetupError(f"no clause matches {' '.join(patterns)}; exporter-core check --list shows them all")
    return sorted(found, key=lambda one: one.id)


class _Progress:
    """A line on standard error, on a terminal only, that counts results."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._done = 0
        self._shown = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> Callable[[Run], object]:
        return self._tell

    def __exit__(self, *_exception: object) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def _tell(self, run: Run) -> None:
        self._done += 1
        if self._shown:
            sys.stderr.write(f"\r\033[K{output.printable(self._target)}: {self._done} results, {run.id} {run.mode}")
            sys.stderr.flush()
