"""``exporter-core schema``: the JSON Schema of the config file, for editors."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from exporter_core.cli.files import write_text
from exporter_core.cli.output import emit_json, warn
from exporter_core.errors import SetupError

if TYPE_CHECKING:
    from exporter_core.discovery import PluginEntry
    from exporter_core.exporter import ExporterConfig
    from exporter_core.registry import ExporterRegistry

__all__ = ["schema"]


def schema(
    *,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write the JSON Schema of the config file.

    It has the options of every installed exporter, which are all imported; those that cannot be are left out, with a
    warning. Editors complete and check a file by it.

    Example: exporter-core schema -o exporter-core.schema.json
    """
    from exporter_core.config import json_schema  # noqa: PLC0415 - imports pydantic
    from exporter_core.registry import ExporterRegistry  # noqa: PLC0415 - imports pluggy

    # What a plugin prints while it is imported is no part of the schema.
    with contextlib.redirect_stdout(sys.stderr):
        made = json_schema(_Warning(ExporterRegistry()))
    if output is None:
        emit_json(made)
    else:
        write_text(output, json.dumps(made, indent=2) + "\n", replace=force)


class _Warning:
    """The registry, with a warning for each exporter that cannot be loaded."""

    def __init__(self, registry: ExporterRegistry) -> None:
        self._registry = registry

    def entries(self) -> tuple[PluginEntry, ...]:
        return self._registry.entries()

    def select(self, name: str) -> PluginEntry:
        return self._registry.select(name)

    def config_model(self, name: str) -> type[ExporterConfig]:
        try:
            return self._registry.config_model(name)
        except SetupError as error:
            warn(f"left out: {error}")
            raise
