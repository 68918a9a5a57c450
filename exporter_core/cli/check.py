"""``exporter-core check``: the clauses of the exporter contract, checked against one exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from exporter_core.cli.check_input import options_of, stopped_by_signals
from exporter_core.cli.completion import exporter_names
from exporter_core.cli.files import check_writable, write_result
from exporter_core.cli.progress import progress
from exporter_core.cli.reports import as_json_text, check_form, text_look, write_report
from exporter_core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter_core.cli.reports import Form
    from exporter_core.conformance.clause import Clause
    from exporter_core.conformance.run.engine import Report


def check(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|module:Class", help="The exporter.", show_default=False, autocompletion=exporter_names
        ),
    ] = None,
    *,
    clause: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB", help="Which clauses: 'SHD-*', a technique's letter, '!P' for all but these; repeatable."
        ),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The exporter by itself only.")] = False,
    guarded: Annotated[bool, typer.Option("--guarded", help="The exporter behind the guard only.")] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Decides what is random.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="A SHOULD that failed counts as a MUST.")] = False,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["text", "json", "html", "junit"] | None,
        typer.Option(metavar="FORM", help="Of the report: text, json, html, junit. [text]", show_default=False),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="The same as --format json; also for --list, --explain.")
    ] = False,
    file: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write the report to this file.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="MAPPING|FILE",
            help="Options of the exporter in JSON or YAML, or a file with them; they go before those of its harness.",
        ),
    ] = None,
    harness: Annotated[
        str | None, typer.Option(metavar="module:Class", help="Observe the exporter through this harness, not its own.")
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
    readers: Annotated[
        bool, typer.Option("--readers", help="Check readers instead: this package's and the OpenTelemetry SDK's.")
    ] = False,
    explain: Annotated[str | None, typer.Option(metavar="ID", help="Say what a clause asks for.")] = None,
    list_clauses: Annotated[bool, typer.Option("--list", help="Show every clause.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Write the JSON Schema of the JSON report.")] = False,
) -> int:
    """Check an exporter against the exporter contract.

    Each clause is checked on the exporter by itself (raw) and behind the guard, in processes of their own. Exit codes:
    0 conformant, 1 a MUST failed, 2 wrong usage, 3 partial or inconclusive, 4 the checker failed.

    Example: exporter-core check sqlite --clause 'SHD-*'
    """
    form = _form(format, json=json)
    if schema:
        _write_schema(file)
        return 0
    if list_clauses or explain is not None:
        patterns = clause or [] if explain is None else [explain]
        _tell_of(patterns, form, file, whole=explain is not None, readers=readers or _of_readers(patterns))
        return 0
    check_writable(file)
    check_form(form)
    if readers:
        if any(one is not None for one in (target, config, harness, sink)) or raw or guarded:
            raise SetupError("--readers: there is no exporter to name, point at anything or guard")
        report = _checked_readers(clause or [])
    else:
        if target is None:
            raise SetupError("which exporter? give a name (exporter-core list shows them) or module:Class")
        if harness is not None and sink is not None:
            raise SetupError("--harness and --sink: choose one")
        both = raw == guarded
        report = _checked(
            target,
            clause or [],
            [*(["raw"] if raw or both else []), *(["guarded"] if guarded or both else [])],
            seed,
            options=None if config is None else options_of(config),
            harness=harness,
            sink=sink,
            allow_real_backend=allow_real_backend,
        )
    from exporter_core.conformance.report import conclude  # noqa: PLC0415 - imports the SDK

    write_report(report, form, file, strict=strict)
    return conclude(report, strict=strict).exit_code


def _checked(target: str, patterns: list[str], modes: list[Any], seed: int, **options: Any) -> Report:  # Any: of check
    from exporter_core.conformance.run.engine import check as run  # noqa: PLC0415 - imports the SDK
    from exporter_core.conformance.run.run_clause import Settings  # noqa: PLC0415 - as above

    results = len(_select(patterns)) * len(modes)
    with progress(target, results) as shown, stopped_by_signals() as stop:
        return run(
            target,
            patterns=patterns,
            modes=modes,
            settings=Settings(seed=seed),
            progress=shown.ended,
            begun=shown.begun,
            stop=stop,
            **options,
        )


def _checked_readers(patterns: list[str]) -> Report:
    from exporter_core.conformance.readers import READERS  # noqa: PLC0415 - as above
    from exporter_core.conformance.run.engine import check_readers  # noqa: PLC0415 - imports the SDK

    results = len(_select(patterns, readers=True)) * len(READERS)
    with progress("readers", results) as shown, stopped_by_signals() as stop:
        return check_readers(patterns=patterns, progress=shown.ended, begun=shown.begun, stop=stop)


def _form(form: Form | None, *, json: bool) -> Form:
    if json and form not in (None, "json"):
        raise SetupError(f"--json and --format {form}: choose one")
    return "json" if json else form or "text"


def _of_readers(patterns: Sequence[str]) -> bool:
    """Whether the clauses asked for are those of readers, which have identifiers of their own."""
    return bool(patterns) and all(pattern.upper().startswith("RDR") for pattern in patterns)


def _select(patterns: Sequence[str], *, readers: bool = False) -> list[Clause]:
    from exporter_core.conformance.clause import in_order, select  # noqa: PLC0415 - imports the SDK
    from exporter_core.conformance.readers import select_reader_clauses  # noqa: PLC0415 - as above

    found = select_reader_clauses(patterns) if readers else select(patterns)
    if not found:
        command = f"check{' --readers' * readers} --list"
        raise SetupError(f"no clause matches {' '.join(patterns)}; exporter-core {command} shows them all")
    return in_order(found)


def _tell_of(patterns: Sequence[str], form: Form, file: str | None, *, whole: bool, readers: bool) -> None:
    """Write about clauses without checking anything: a line about each, or all that there is."""
    found = _select(patterns, readers=readers)
    if form == "json":
        from exporter_core.conformance.report.json_report import clause_as_json  # noqa: PLC0415 - JSON only

        text = as_json_text([clause_as_json(one) for one in found])
    elif form == "text":
        from exporter_core.conformance.clause import TECHNIQUES  # noqa: PLC0415 - text only
        from exporter_core.conformance.report.text import explained, listed  # noqa: PLC0415 - text only

        look = text_look(file)
        text = (
            "\n".join(explained(one, TECHNIQUES[one.technique], **look) for one in found)
            if whole
            else listed(found, **look)
        )
    else:
        raise SetupError(f"--format {form}: reports only; clauses are written as text or json")
    write_result(file, text, replace=True)


def _write_schema(file: str | None) -> None:
    from exporter_core.conformance.report import json_schema  # noqa: PLC0415 - the schema only

    write_result(file, as_json_text(json_schema()), replace=True)
