"""``exporter-core describe``: an exporter's description, options and temporality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from exporter_core.cli.inspection import inspect_exporters
from exporter_core.cli.listing import exporter_names
from exporter_core.cli.output import emit_json, show
from exporter_core.discovery import origin_of, summary_of
from exporter_core.option_table import Option, as_yaml, options, plain
from exporter_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from exporter_core.cli.inspection import CheckResult


def describe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The exporter's name.", autocompletion=exporter_names)],
    *,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the tracebacks of plugins' errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write JSON, with the JSON Schema of the options.")] = False,
) -> None:
    """Show an exporter's options.

    The exporter is imported in a child process, and built there if all its options have defaults.

    Example: exporter-core describe sqlite
    """
    result = inspect_exporters([name], build=True, verbose=verbose)[name]
    found = options(result.config_schema or {})
    if json:
        entry = result.entry
        emit_json(
            {
                "name": entry.name,
                "distribution": entry.distribution,
                "version": entry.version,
                "summary": summary_of(entry),
                "entry_point": entry.value,
                "group": entry.group,
                "contract_version": entry.contract_version,
                "description": result.docstring,
                "options": [option._asdict() for option in found],
                "temporality": result.temporality,
                "shares_collection": result.shares,
                "schema": result.config_schema,
            }
        )
    else:
        _show(result, found)


def _show(result: CheckResult, found: Sequence[Option]) -> None:
    entry = result.entry
    kind = "pull exporter" if entry.pull else "exporter"
    contract = f"contract v{entry.contract_version}" if not entry.pull else "pull exporter"
    contract = f"{'a ' if entry.pull else 'an '}{kind} of the OpenTelemetry SDK" if entry.of_sdk else contract
    parts: list[RenderableType] = [
        Text.assemble((printable(entry.name), "bold"), f"  {printable(origin_of(entry))}, {contract}"),
        "",
    ]
    if result.docstring:
        parts += [line for paragraph in _paragraphs(result.docstring) for line in (_marked(paragraph), "")]
    if not found:
        parts += ["It has no options.", ""]
    for option in found:
        line = Text.assemble((printable(option.name), "bold"), (f"  {printable(option.type.replace('`', ''))}", "dim"))
        if option.required:
            line.append("  required", "yellow")
        elif option.default not in (None, [], {}):
            line.append(f"  [{printable(plain(option.default))}]", "dim")
        parts += [line, Padding(_marked(option.description), (0, 0, 0, 4))]
        if option.example is not None:
            example = f"Example: `{option.name.rpartition('.')[2]}: {as_yaml(option.example)}`"
            parts.append(Padding(_marked(example), (0, 0, 0, 4)))
        parts.append("")
    if result.shares is not None:
        shared = "shared by readers of the same interval and cardinality limits" if result.shares else "not shared"
        parts.append(Text.assemble(("Collection: ", "bold"), shared))
    parts.append(Text.assemble(("Temporality: ", "bold"), _temporality(result, found)))
    show(Group(*parts))


def _paragraphs(docstring: str) -> list[str]:
    """Return the paragraphs, each on one line unless its lines are indented or a list."""
    paragraphs = docstring.split("\n\n")
    return [
        paragraph
        if any(line[:1] in {" ", "-", "*"} for line in paragraph.splitlines())
        else " ".join(paragraph.split())
        for paragraph in paragraphs
    ]


def _marked(text: str) -> Text:
    """Return the text with everything in backticks in colour."""
    lines = text.replace("``", "`").splitlines()  # reStructuredText doubles them
    marked = Text("\n".join(map(printable, lines)))
    marked.highlight_regex(r"`[^`]+`", "cyan")
    return marked


def _temporality(result: CheckResult, found: Sequence[Option]) -> str:
    """Return the temporality in words, the kinds grouped by it."""
    if result.entry.pull:
        return "cumulative for every instrument kind"
    if result.temporality is None:
        missing = " and ".join(f"`{option.name}`" for option in found if option.required and "." not in option.name)
        return f"unknown until {missing} is set" if missing else "unknown: the exporter cannot be built with defaults"
    kinds: dict[str, list[str]] = {}
    for kind, temporality in result.temporality.items():
        kinds.setdefault(temporality, []).append(kind)
    if len(kinds) == 1:
        return f"{next(iter(kinds))} for every instrument kind{', with the defaults of its options' if found else ''}"
    return "; ".join(f"{temporality} for {', '.join(those)}" for temporality, those in kinds.items())
