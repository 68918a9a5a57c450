"""The Typer application: the table of commands, which imports a command's module when that command runs."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from exporter_core import __version__
from exporter_core.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "exporter-core"


class Command(NamedTuple):
    """A command: the function in the module of the same name below ``exporter_core.cli``, and its one-line help."""

    function: str
    summary: str


COMMANDS: Final = {
    "list": Command("list_exporters", "Show the exporters that are installed."),
    "describe": Command("describe", "Show an exporter's options."),
    "init": Command("init", "Write a config file, with comments, for some exporters."),
    "validate": Command("validate", "Check config files."),
    "probe": Command("probe", "Send one metric through each exporter of a config file."),
    "run": Command("run", "Export this machine's metrics."),
    "doctor": Command("doctor", "Show what is installed, configured and reachable."),
    "check": Command("check", "Check an exporter against the exporter contract."),
    "schema": Command("schema", "Write the JSON Schema of the config file."),
    "new": Command("new", "Start a plugin distribution that works as it is."),
}
"""The commands, in the order in which help shows them."""

# Typer's base class of usage errors is not public; its BadParameter is. Any: to mypy it is no exception.
_USAGE_ERROR: Final[Any] = typer.BadParameter.__mro__[1]
_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Commands(TyperGroup):
    """The commands by name and summary; the module of a command is imported when the command is used."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # Any: Typer's own types, which are not public
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _imported(str(name)), rest


def _imported(name: str) -> Any:  # Any: a command of Typer's, whose type is not public
    function = COMMANDS[name].function
    command_module = import_module(f"exporter_core.cli.{function}")
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_SETTINGS)
    alone.command(name)(getattr(command_module, function))
    command = get_command(alone)
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            # Typer shows an argument's Python type behind its name: "NAME <list[str]>".
            vars(parameter)["display_type_rich"] = lambda ctx: None  # noqa: ARG005 - passed by this name
    return command


app = typer.Typer(
    cls=_Commands,
    rich_markup_mode=None,
    context_settings=_SETTINGS,
    help="Choose an OpenTelemetry metrics exporter by name, and trust it.",
    epilog="Exit codes: 0 success, 1 a failure while running, 2 wrong usage or configuration.",
)


def _print_version(value: bool) -> None:
    if value:
        output.write(f"{PROGRAM} {__version__}\n")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.summary)(lambda: None)  # stands for a function that is not imported


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit code. Wrong usage is printed, other errors are raised."""
    group = get_command(app)
    if "_EXPORTER_CORE_COMPLETE" in os.environ:
        group.main(list(arguments), prog_name=PROGRAM)  # a shell asks for completions; this exits
    if not arguments:
        group.main(["--help"], prog_name=PROGRAM, standalone_mode=False)
        return 2
    try:
        with group.make_context(PROGRAM, list(arguments)) as context:
            return group.invoke(context) or 0
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        return 130
    except _USAGE_ERROR as error:
        return output.report_usage(error)
