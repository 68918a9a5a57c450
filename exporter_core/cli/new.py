"""``exporter-core new``: the start of a plugin, a distribution that installs, loads and passes its own tests."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Annotated, Final

import typer

from exporter_core.cli.output import write
from exporter_core.cli.skeleton import skeleton
from exporter_core.discovery import FIRST_PARTY, installed, origin_of
from exporter_core.errors import SetupError

_LONGEST: Final = 50
_NAME: Final = re.compile(r"[a-z](_?[a-z0-9])*")


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The exporter's name: lower case, digits, underscores.")],
    *,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FOLDER", help="Make this folder instead.")
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Post over HTTP instead of writing to a file.")] = False,
) -> None:
    """Start a plugin distribution that works as it is.

    It is made in the folder exporter-core-NAME, with an exporter that writes JSON Lines to a file or posts them over
    HTTP, a harness for the conformance checker, a README and tests. Nothing that exists is touched.

    Example: exporter-core new --http influxdb
    """
    _check_name(name)
    distribution = f"exporter-core-{name.replace('_', '-')}"
    folder = Path(output if output is not None else distribution)
    files = skeleton(name, distribution, http=http)
    _write(folder, files)
    quoted = shlex.quote(str(folder))
    module = f"exporter_core_{name}/exporter.py"
    write(
        f"Made {folder} with {len(files)} files. It works as it is:\n"
        f"\n"
        f"  cd {quoted}\n"
        f"  pip install -e '.[test]'\n"
        f"  pytest\n"
        f"  exporter-core describe {name}\n"
        f"  exporter-core check {name}\n"
        f"\n"
        f"Then make it send to your backend, in {module}.\n"
    )


def _check_name(name: str) -> None:
    """Raises SetupError unless the name is well-formed and free."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:_LONGEST].rstrip("_")
        hint = f"; did you mean {words!r}?" if words else ""
        raise SetupError(
            f"{name!r:.80} cannot be an exporter's name here: expected lower-case letters, digits and single "
            f"underscores, at most {_LONGEST}, a letter first{hint}"
        )
    for entry in installed():
        if entry.name == name:
            raise SetupError(
                f"an exporter named {name!r} is installed already, by {origin_of(entry)}: choose another name"
            )
    if name in FIRST_PARTY:
        raise SetupError(f"{name!r} is the exporter of the distribution {FIRST_PARTY[name]}: choose another name")


def _write(folder: Path, files: dict[str, str]) -> None:
    """Make the folder with the files, or nothing. Raises SetupError."""
    try:
        folder.mkdir()
    except FileExistsError:
        raise SetupError(f"{folder}: exists; -o makes another folder") from None
    except OSError as error:
        raise SetupError(f"{folder}: cannot be made: {error.strerror or error}") from None
    except ValueError:
        raise SetupError(f"{str(folder)!r:.80}: cannot be made: its name has a null character") from None
    try:
        for name, text in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise SetupError(f"{folder}: cannot be written: {error.strerror or error}") from None
