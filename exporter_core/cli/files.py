"""Writing the files that commands make. An existing file is replaced only on request."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from exporter_core.cli import output
from exporter_core.errors import SetupError

STANDARD_OUTPUT: Final = "-"
"""The file name that stands for standard output."""


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
    """Write a command's result, in UTF-8.

    Args:
        path: the file; its folder has to exist. None and ``-`` are standard output.
        text: the result.
        replace: replace a file that exists.

    Raises:
        SetupError: the file exists, or cannot be written; one line with the reason.
    """
    if path is None or str(path) == STANDARD_OUTPUT:
        output.write(text)
        return
    try:
        with Path(path).open("w" if replace else "x", encoding="utf-8") as file:
            file.write(text)
    except (FileExistsError, IsADirectoryError):
        problem = "is a directory; name a file" if Path(path).is_dir() else "exists; --force replaces it"
        raise SetupError(f"{path}: {problem}") from None
    except OSError as error:
        raise SetupError(f"{path}: cannot be written: {error.strerror or error}") from None
    except ValueError:
        raise SetupError(f"{path!s:.80}: cannot be written: its name has a null character") from None
