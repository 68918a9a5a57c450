"""``exporter-core list``: its options, and ``--check``; the rows come from :mod:`exporter_core.cli.listing`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from exporter_core.cli.listing import Row, emit_rows, rows, show_rows
from exporter_core.cli.output import write_traceback

if TYPE_CHECKING:
    from exporter_core.discovery import PluginPolicy
    from exporter_core.exporter import ExporterConfig
    from exporter_core.registry import ExporterRegistry


def list_exporters(
    *,
    check: Annotated[bool, typer.Option("--check", help="Import each exporter in a child process.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Scan the installed packages again.")] = False,
    config: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="Apply the plugins section of this config file.")
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the tracebacks of plugins' errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> int:
    """Show the exporters that are installed.

    No exporter is imported without --check. With it, the exit code is 1 if one cannot be used.

    Example: exporter-core list --check
    """
    found = rows(_policy(config) if config is not None else None, refresh=refresh)
    if check:
        found = _checked(found, verbose=verbose)
    (emit_rows if json else show_rows)(found)
    return 1 if any(row.status == "failed" for row in found) else 0


def _checked(found: list[Row], *, verbose: bool) -> list[Row]:
    """Return the rows with the outcome of importing every exporter that may be imported."""
    from exporter_core.cli.inspection import check_all  # noqa: PLC0415 - of use to --check only

    results = check_all(row.entry for row in found if row.status in {"ok", "conflict", "shadowed"})
    failures = {result.entry: result for result in results if not result.ok}
    if verbose:
        for result in failures.values():
            write_traceback(result.traceback)
    return [
        row._replace(status="failed", reason=failures[row.entry].reason, place=failures[row.entry].place)
        if row.entry in failures
        else row
        for row in found
    ]


def _policy(path: str) -> PluginPolicy:
    """Return the allow and block lists of a config file, which is checked without importing a plugin.

    Raises:
        ConfigError: the file is wrong.
    """
    from exporter_core.config import load_config  # noqa: PLC0415 - imports pydantic

    return load_config(path, registry=cast("ExporterRegistry", _AnyExporter())).policy


class _AnyExporter:
    """A registry in which every name is an exporter that takes any options."""

    def entries(self) -> tuple[()]:
        return ()

    def select(self, name: str, *, pull: bool = False) -> object:  # noqa: ARG002 - the same for all
        return name

    def config_model(self, name: str, *, pull: bool = False) -> type[ExporterConfig]:  # noqa: ARG002 - as above
        from pydantic import ConfigDict  # noqa: PLC0415 - of use to --config only

        from exporter_core.exporter import ExporterConfig  # noqa: PLC0415 - imports pydantic

        class AnyOptions(ExporterConfig):
            model_config = ConfigDict(extra="allow")

        return AnyOptions
