"""``exporter-core validate``: every problem and warning of config files, with the place of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from exporter_core.cli.output import emit_json, report, stdout_kept, tracebacks, warn_of, write, write_note
from exporter_core.errors import ConfigError
from exporter_core.printable import printable

if TYPE_CHECKING:
    from exporter_core.config import PipelineConfig
    from exporter_core.config.sharing import Sharing
    from exporter_core.errors import ConfigProblem


def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="The config files.")],
    *,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the tracebacks of plugins' errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> int:
    """Check config files.

    Each problem is a line FILE:LINE:COL: message; a setting that is ignored is a line with "warning:". The exporters
    that a file names are imported; nothing is built or sent. The exit code is 2 if there is a problem.

    Example: exporter-core validate metrics.yaml
    """
    outcomes = [(file, _outcome(file, verbose=verbose)) for file in files]
    if json:
        emit_json({"files": [_as_json(file, outcome) for file, outcome in outcomes]})
    else:
        for file, outcome in outcomes:
            _show(file, outcome)
    return 2 if any(isinstance(outcome, ConfigError) for _, outcome in outcomes) else 0


def _outcome(file: str, *, verbose: bool) -> PipelineConfig | ConfigError:
    from exporter_core.config import load_config  # noqa: PLC0415 - imports pydantic

    with stdout_kept():  # plugins may print while they are imported
        try:
            with tracebacks(verbose):
                return load_config(file)
        except ConfigError as error:
            return error


def _show(file: str, outcome: PipelineConfig | ConfigError) -> None:
    if isinstance(outcome, ConfigError):
        report(outcome)
        return
    for warning in outcome.warnings:
        warn_of(warning)
    for reader in outcome.readers:
        if reader.pull:
            what = f"{reader.label} serves from one process; a server of several workers needs a port for each of them"
            write_note(f"{reader.place or file}: note: {what}, or a scrape sees one worker")
    labels = ", ".join(reader.label for reader in outcome.readers)
    count = len(outcome.readers)
    what = f"{count} reader{'s' * (count != 1)}: {labels}" if count else "nothing is exported"
    write(f"{printable(file)}: fine, {printable(what)}\n")
    sharing = _sharing(outcome)
    for group in sharing.groups:
        write(f"  one collection serves {printable(_listed(group))}\n")
    if sharing.unknown:
        write(f"  known when it is built: if {printable(_listed(sharing.unknown))} can share a collection\n")


def _sharing(config: PipelineConfig) -> Sharing:
    from exporter_core.config import sharing_of  # noqa: PLC0415 - imports pydantic

    return sharing_of(config)


def _listed(labels: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))


def _as_json(file: str, outcome: PipelineConfig | ConfigError) -> dict[str, Any]:  # Any: JSON
    found: dict[str, list[Any]] = {
        "problems": [],
        "warnings": [],
        "readers": [],
        "shared_collections": [],
    }  # Any: as above
    if isinstance(outcome, ConfigError):
        found["problems"] = [_problem(one) for one in outcome.problems]
    else:
        found["warnings"] = [_problem(one) for one in outcome.warnings]
        found["readers"] = [reader.label for reader in outcome.readers]
        found["shared_collections"] = _sharing(outcome).groups
    return {"file": file, "valid": not found["problems"], **found}


def _problem(problem: ConfigProblem) -> dict[str, Any]:  # Any: JSON
    return {
        "message": problem.message,
        "line": problem.line,
        "column": problem.column,
        "path": list(problem.path),
    }
