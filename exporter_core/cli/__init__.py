"""The command line ``exporter-core``: one module a command, imported when that command runs.

A command is a row in ``COMMANDS`` of :mod:`exporter_core.cli.app` and a Typer function in a module of its own:

- Its signature is its options and arguments (``Annotated[..., typer.Option(...)]``), its docstring its help. The
  docstring begins with the row's summary and ends with a paragraph ``Example: exporter-core ...``.
- It returns None or 0 on success, 1 after a failure, or raises: an error of :mod:`exporter_core.errors` becomes lines
  on standard error and an exit code, 2 for wrong input and 1 for a failure
  (:func:`exporter_core.cli.output.report`). No expected error is a traceback.
- At module level it imports the names that its signature needs, and light modules; pydantic, pluggy, OpenTelemetry and
  rich stay in the functions that use them.
- Results go to standard output, for people through :func:`~exporter_core.cli.output.show`, for programs
  (``--json``) through :func:`~exporter_core.cli.output.emit_json`, never by print; errors, warnings and progress to
  standard error.
  Text from plugins, files or the network goes through :func:`~exporter_core.cli.output.printable`.

A broken pipe ends a command silently with 1, Ctrl-C with 130; a command that has work to finish handles signals itself.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from exporter_core.cli import output
from exporter_core.errors import ExporterCoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

_LIST_FLAGS = {"--json", "--refresh"}
_WITHOUT_A_CHECK = ("-h", "--help", "--list", "--explain", "--schema")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code. The arguments are those of the process unless given."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["list"] and "--json" in given and _LIST_FLAGS.issuperset(given[1:]):
        return _guarded(lambda: _list(given))
    code = _guarded(lambda: _any_command(given))
    if arguments is None:
        gc.freeze()  # the process ends: to look for garbage in all that it has imported takes a tenth of a second
    return code


def _list(arguments: list[str]) -> int:
    """Run ``list --json``, which programs call often, without the 100 ms that importing Typer takes."""
    from exporter_core.cli.listing import emit_rows, rows  # noqa: PLC0415 - one command's module

    emit_rows(rows(refresh="--refresh" in arguments))
    return 0


def _any_command(arguments: list[str]) -> int:
    if arguments[:1] == ["check"] and not any(one.startswith(_WITHOUT_A_CHECK) for one in arguments):
        from exporter_core.conformance.run.fork_server import WorkerServer  # noqa: PLC0415 - for a check only

        WorkerServer.get()  # which imports the checker while this process imports Typer
    try:
        from exporter_core.cli.app import run_command  # noqa: PLC0415 - imports Typer
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"typer", "rich"}:
            raise
        output.fail("the command line needs Typer and rich: pip install 'exporter-core[cli]'")
        return 2
    return run_command(arguments)


def _guarded(command: Callable[[], int]) -> int:
    """Run the command and return its exit code; 1 if its output cannot be written, 130 after Ctrl-C."""
    try:
        code = command()
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except ExporterCoreError as error:
        return output.report(error)
    except BrokenPipeError:
        output.discard_output()
        return 1
    except OSError as error:
        output.discard_output()
        output.fail(f"{error.filename or 'standard output'}: {error.strerror or error}")
        return 1
    except Exception as error:
        from exporter_core.discovery import failed_over  # noqa: PLC0415 - errors only

        lines = failed_over(error)
        for line in lines:
            output.fail(line)
        if not lines:
            raise
        return 2
    return code
