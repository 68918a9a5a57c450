"""``exporter-core init``: a config file for some exporters, with every option described in comments."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Annotated, Final

import typer

from exporter_core.cli.inspection import inspect_exporters
from exporter_core.cli.listing import exporter_names
from exporter_core.cli.output import write_result
from exporter_core.option_table import as_yaml, options
from exporter_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exporter_core.cli.inspection import CheckResult
    from exporter_core.option_table import Option

_WIDTH: Final = 100
_HEAD: Final = """\
# OpenTelemetry declarative configuration for exporter-core.
#   exporter-core validate FILE   checks this file
#   exporter-core probe FILE      sends one metric through each exporter
#   exporter-core run FILE        exports this machine's metrics
# ${NAME} is replaced by an environment variable, ${NAME:-default} with a default; a dollar sign is written $$.
file_format: "1.1"

# The service that the metrics describe.
resource:
  attributes:
    - name: service.name
      value: "${OTEL_SERVICE_NAME:-unknown_service}"

meter_provider:
  readers:
"""

_READER: Final = """\
    - periodic:
        # Milliseconds between the starts of two exports.
        interval: 60000
        # Milliseconds that one export may take.
        timeout: 30000
        exporter:
"""

_PULL_READER: Final = """\
    # Serves when it is asked. Each process that runs this file needs a port of its own.
    - pull:
        exporter:
"""

_TAIL: Final = """
# Settings of exporter-core itself.
# exporter_core:
#   # Where each exporter's code runs: thread keeps deadlines on time, inline uses the caller's thread.
#   exporters:
{exporters}
#   plugins:
#     # Never import these, by exporter name or by distribution; with "allow", import only these.
#     block: []
"""


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

    Each exporter gets a reader of its own. Every option is in the file, with its description and default; those that
    you must fill in are marked REQUIRED.

    Example: exporter-core init sqlite -o metrics.yaml
    """
    results = inspect_exporters(names)
    write_result(output, _config_text([(name, results[name]) for name in names]), replace=force)


def _config_text(exporters: Sequence[tuple[str, CheckResult]]) -> str:
    """Return a config file with a reader for each exporter, given by its name and the result of its inspection."""
    text = [_HEAD]
    for number, (name, result) in enumerate(exporters):
        reader = _PULL_READER if result.entry.pull else _READER
        text += ["\n" * bool(number), reader, *(f"{line}\n" for line in _indented(_exporter(name, result), " " * 10))]
    names = dict.fromkeys(as_yaml(name) for name, _ in exporters)
    text.append(_TAIL.format(exporters="\n".join(f"#     {name}: {{runner: thread}}" for name in names)))
    return "".join(text)


def _exporter(name: str, result: CheckResult) -> list[str]:
    """The lines under ``exporter:``."""
    lines = _options(options(result.config_schema or {}), name, "", 12)
    return [*_comment(result.docstring.partition("\n\n")[0], 10), f"{as_yaml(name)}:", *_indented(lines, "  ")]


def _options(found: Sequence[Option], exporter: str, prefix: str, indent: int) -> list[str]:
    """Return the lines of options, each with its comment; options of a nested model stand below the model's own.

    An optional option is itself a comment; inside a nested model only if it has no value that could stand there, so
    that the model's lines are valid when all of them are uncommented.
    """
    lines: list[str] = []
    rest = list(found)
    while rest:
        option, *rest = rest
        inner = [one for one in rest if one.name.startswith(f"{option.name}.")]
        del rest[: len(inner)]
        key = as_yaml(option.name.removeprefix(prefix))
        if inner:
            nested = _options(inner, exporter, f"{option.name}.", indent + 2)
            empty = all(line.startswith("#") or not line for line in nested)
            braces = " {}  # instead of the braces, options may stand below" if empty and not option.nullable else ""
            body = [f"{key}:{braces}", *_indented(nested, "  ")]
        else:
            body = [f"{key}: {_value(option, exporter)}".rstrip()]
            if option.required:
                body[0] += "  # REQUIRED"
        if not option.required and not (prefix and _has_value(option)):
            body = _indented(body, "# ")
        kind = "secret, best kept in the environment" if option.secret else option.type.replace("`", "")
        lines += [""] * bool(lines)
        lines += [*_comment(option.description, indent), *_comment(f"({kind})", indent), *body]
    return lines


def _has_value(option: Option) -> bool:
    """Return True if the option may stand in the file as :func:`_value` writes it, without a change of its meaning."""
    return (option.default is not None and not option.example) or (option.nullable and not option.secret)


def _value(option: Option, exporter: str) -> str:
    """Return the value in the file: the default; for a secret, a reference to an environment variable.

    An option that may be null, or is required, is left empty without a default; the rest gets an empty list or mapping,
    or an example where that would be wrong.
    """
    if option.secret:
        variable = re.sub(r"[^A-Z0-9]+", "_", f"{exporter}_{option.name}".upper())
        return f'"${{{variable if variable[0].isalpha() else f"EXPORTER_{variable}"}}}"'
    if not option.required and option.example is not None and not option.default:
        return as_yaml(option.example)
    if option.default is None:
        empty = {"mapping": "{}", "list": "[]"}
        return "" if option.required else empty.get(option.type.partition(" ")[0], "")
    return as_yaml(option.default).replace("$", "$$")  # no reference to an environment variable


def _comment(text: str, indent: int) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(printable(" ".join(text.split())), _WIDTH - indent - 2)]


def _indented(lines: Iterable[str], by: str) -> list[str]:
    return [f"{by}{line}".rstrip() for line in lines]
