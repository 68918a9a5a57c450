"""``exporter-core init``: a config file for some exporters, with every option described in comments."""

from __future__ import annotations

from typing import Annotated

import typer

from exporter_core.cli.completion import exporter_names
from exporter_core.cli.files import write_result
from exporter_core.cli.inspection import ask
from exporter_core.cli.template import config_text


def init(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="The exporters' names.", autocompletion=exporter_names),
    ],
    *,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file; - is standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a config file, with comments, for some exporters.

    Each exporter gets a reader of its own. Every option stands there with its default and what it means; what has to be
    filled in is marked REQUIRED.

    Example: exporter-core init sqlite -o metrics.yaml
    """
    results = ask(names)
    text = config_text([(name, results[name]) for name in names])
    write_result(output, text, replace=force)
