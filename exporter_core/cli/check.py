"""``exporter-core check``: the clauses of the exporter contract, checked against one exporter."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from exporter_core.cli.check_output import (
    as_json_text,
    check_form,
    progress_bar,
    text_look,
    write_report,
)
from exporter_core.cli.listing import exporter_names
from exporter_core.cli.output import check_writable, write_result
from exporter_core.cli.stopping import stopped_by_signals
from exporter_core.errors import ConfigError, ConfigProblem, SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter_core.cli.check_output import Form
    from exporter_core.conformance.clause import Clause


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
            metavar="GLOB", help="Check these clauses: 'SHD-*', a technique's letter, '!P' to exclude; repeatable."
        ),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Only the exporter by itself.")] = False,
    guarded: Annotated[bool, typer.Option("--guarded", help="Only the exporter behind the guard.")] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of everything random.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Count a failed SHOULD as a failed MUST.")] = False,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["text", "json", "html", "junit"] | None,
        typer.Option(
            metavar="FORMAT", help="Format of the report: text, json, html, junit. [text]", show_default=False
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Same as --format json; also for --list and --explain.")] = False,
    file: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write the report to this file.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="MAPPING|FILE",
            help="Options of the exporter in JSON or YAML, or a file with them; they override those of its harness.",
        ),
    ] = None,
    harness: Annotated[
        str | None, typer.Option(metavar="module:Class", help="Use this harness instead of the exporter's own.")
    ] = None,
    sink: Annotated[
        str | None,
        typer.Option(
            metavar="KIND[:PORT]",
            help="Observe the exporter through this sink; --config points it there with {endpoint}, {address}, {host}, "
            "{port}, {path}.",
        ),
    ] = None,
    allow_real_backend: Annotated[
        bool, typer.Option("--allow-real-backend", help="Check, without canaries, what may send to a real backend.")
    ] = False,
    readers: Annotated[
        bool, typer.Option("--readers", help="Check readers instead: this package's and the OpenTelemetry SDK's.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Add the exporter's tracebacks to a report as text.")
    ] = False,
    explain: Annotated[str | None, typer.Option(metavar="ID", help="Explain a clause.")] = None,
    list_clauses: Annotated[bool, typer.Option("--list", help="Show every clause.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Write the JSON Schema of the JSON report.")] = False,
) -> int:
    """Check an exporter against the exporter contract.

    Each clause is checked on the exporter by itself (raw) and behind the guard, in child processes. Exit codes:
    0 conformant, 1 a MUST failed, 2 wrong usage, 3 incomplete, 4 the checker failed.

    Example: exporter-core check sqlite --clause 'SHD-*'
    """
    form = _form(format, json=json)
    if schema:
        from exporter_core.conformance.report import json_schema  # noqa: PLC0415 - the schema only

        write_result(file, as_json_text(json_schema()), replace=True)
        return 0
    if list_clauses or explain is not None:
        patterns = clause or [] if explain is None else [explain]
        readers = readers or (bool(patterns) and all(pattern.upper().startswith("RDR") for pattern in patterns))
        _write_clauses(patterns, form, file, whole=explain is not None, readers=readers)
        return 0
    check_writable(file)
    check_form(form)
    _check_extra()
    if readers:
        if any(one is not None for one in (target, config, harness, sink)) or raw or guarded:
            raise SetupError("--readers takes no exporter, --config, --harness, --sink, --raw or --guarded")
    elif target is None:
        raise SetupError("name an exporter (exporter-core list shows them) or module:Class")
    elif harness is not None and sink is not None:
        raise SetupError("--harness and --sink: choose one")
    from exporter_core.conformance.readers import READERS  # noqa: PLC0415 - imports the SDK
    from exporter_core.conformance.report import conclude  # noqa: PLC0415 - as above
    from exporter_core.conformance.run import engine  # noqa: PLC0415 - as above
    from exporter_core.conformance.run.verdicts import Settings  # noqa: PLC0415 - as above

    patterns = clause or []
    options = None if config is None else options_of(config)
    modes: list[Literal["raw", "guarded"]] = ["raw", "guarded"]
    if raw != guarded:
        modes = ["raw" if raw else "guarded"]
    results = len(_select(patterns, readers=readers)) * len(READERS if readers else modes)
    with progress_bar(target or "readers", results) as shown, stopped_by_signals(threading.Event()) as stop:
        if target is None:
            report = engine.check_readers(patterns=patterns, progress=shown.ended, begun=shown.begun, stop=stop)
        else:
            report = engine.check(
                target,
                patterns=patterns,
                modes=modes,
                settings=Settings(seed=seed),
                progress=shown.ended,
                begun=shown.begun,
                stop=stop,
                options=options,
                harness=harness,
                sink=sink,
                allow_real_backend=allow_real_backend,
            )
    write_report(report, form, file, strict=strict, verbose=verbose)
    return conclude(report, strict=strict).exit_code


def _check_extra() -> None:
    """Raise SetupError if the extra ``conformance`` is not installed: clauses would fail one by one."""
    from importlib.util import find_spec  # noqa: PLC0415 - of use to a check only

    for name in ("hypothesis", "grpc", "cramjam", "google.rpc", "opentelemetry.proto"):
        try:
            found = find_spec(name) is not None
        except (ModuleNotFoundError, ValueError):  # its parent is missing, or an import of it is forbidden
            found = False
        if not found:
            raise SetupError(f"check needs {name}, of an extra: pip install 'exporter-core[conformance]'")


def options_of(text: str) -> dict[str, Any]:  # Any: options of an exporter
    """Return the options in a mapping of JSON or YAML, or in a file with one, environment variables substituted.

    A text that is no mapping is the name of a file.

    Raises:
        ConfigError: it is neither; with the position of the problem.
    """
    source = "--config"
    document = _parsed(text, source)
    if isinstance(document, str) and "\n" not in text.strip():
        from exporter_core.config.files import read_text  # noqa: PLC0415 - only for a file

        source = text
        document = _parsed(read_text(text), source)
    if not isinstance(document, dict):
        kind = "null" if document is None else type(document).__name__
        raise ConfigError([ConfigProblem(f"expected a mapping in JSON or YAML, not {kind}", source=source)])
    return document


def _parsed(text: str, source: str) -> object:
    from exporter_core.config.yaml import parse  # noqa: PLC0415 - only for options

    document = parse(text, source=source, environ=os.environ)
    if document.problems:
        raise ConfigError(document.problems)
    return document.root.data()


def _form(form: Form | None, *, json: bool) -> Form:
    if json and form not in (None, "json"):
        raise SetupError(f"--json and --format {form}: choose one")
    return "json" if json else form or "text"


def _select(patterns: Sequence[str], *, readers: bool = False) -> list[Clause]:
    from exporter_core.conformance.clause import in_order, select  # noqa: PLC0415 - imports the SDK
    from exporter_core.conformance.readers import select_reader_clauses  # noqa: PLC0415 - as above

    found = select_reader_clauses(patterns) if readers else select(patterns)
    if not found:
        command = f"check{' --readers' * readers} --list"
        raise SetupError(f"no clause matches {' '.join(patterns)}; exporter-core {command} shows them all")
    return in_order(found)


def _write_clauses(patterns: Sequence[str], form: Form, file: str | None, *, whole: bool, readers: bool) -> None:
    """Write clauses without checking anything: a line about each, or everything about them."""
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
        raise SetupError(f"--format {form} is for reports only; clauses are written as text or json")
    write_result(file, text, replace=True)
