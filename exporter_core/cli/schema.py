"""``exporter-core schema``: the JSON Schema of the config file, for editors."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from exporter_core.cli.output import stdout_kept, warn, write_result


def schema(
    *,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file; - is standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write the JSON Schema of the config file.

    Editors use it to complete and check config files. It describes the options of every installed exporter, which are
    all imported; an exporter that cannot be loaded is left out, with a warning.

    Example: exporter-core schema -o exporter-core.schema.json
    """
    from exporter_core.config import json_schema  # noqa: PLC0415 - imports pydantic
    from exporter_core.registry import ExporterRegistry  # noqa: PLC0415 - imports pluggy

    with stdout_kept():  # plugins may print while they are imported
        made = json_schema(ExporterRegistry(), left_out=lambda error: warn(f"left out: {error}"))
    write_result(output, json.dumps(made, indent=2) + "\n", replace=force)
