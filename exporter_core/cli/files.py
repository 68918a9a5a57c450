"""Writing the files that commands make; nothing is overwritten unless that is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from exporter_core.cli import output
from exporter_core.errors import SetupError

STANDARD_OUTPUT: Final = "-"
"""The name of a file that stands for standard output."""


def check_writable(path: str | os.PathLike[str] | None) -> None:
    """Raise SetupError if :func:`write_result` could not write the file, or replace it; nothing is written."""
    if path is None or str(path) == STANDARD_OUTPUT:
        return
    file = Path(path)
    if file.is_dir():
        raise SetupError(f"{path}: is a directory; name a file")
    there = file if file.exists() else file.parent
    if not there.exists():
        raise SetupError(f"{path}: cannot be written: the folder {file.parent} does not exist")
    if not os.access(there, os.W_OK):
        raise SetupError(f"{path}: cannot be written: permission denied")


def write_result(path: str | os.PathLike[str] | None, text: str, *, replace: bool = False) -> None:
    """Write what a command made: to standard output without a file or for ``-``, else as :func:`write_text` does."""
    if path is None or str(path) == STANDARD_OUTPUT:
        output.write(text)
    else:
        write_text(path, text, replace=replace)


def write_text(path: str | os.PathLike[str], text: str, *, replace: bool = False) -> None:
    """Write a text file in UTF-8.

    Args:
        path: the file; its folder has to exist.
        text: its content.
        replace: whether a file that exists may be replaced.

    Raises:
        SetupError: it exists, or it cannot be written; one line that says which.
    """
    try:
        with Path(path).open("w" if replace else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        if Path(path).is_dir():
            raise SetupError(f"{path}: is a directory; name a file") from None
        raise SetupError(f"{path}: exists; --force replaces it") from None
    except IsADirectoryError:
        raise SetupError(f"{path}: is a directory; name a file") from None
    except OSError as error:
        raise SetupError(f"{path}: cannot be written: {error.strerror or error}") from None
    except ValueError:
        raise SetupError(f"{path!s:.80}: cannot be written: its name has a null character") from None
