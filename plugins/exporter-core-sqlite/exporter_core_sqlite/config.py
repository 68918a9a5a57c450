"""The options of the SQLite exporter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from exporter_core import ExporterConfig
from exporter_core.authoring import FileMode, PreferenceOptions

if TYPE_CHECKING:
    from collections.abc import Mapping


def _absolute(path: Path) -> Path:
    """The path with ``~`` expanded and made absolute, so that a later change of directory does not move it."""
    try:
        expanded = path.expanduser()
    except RuntimeError:
        raise ValueError("expected a path whose home directory is known; write it out in place of ~") from None
    return Path(os.path.abspath(expanded))  # noqa: PTH100 - Path.resolve would follow symbolic links too


def _names_a_file(value: object) -> object:
    text = str(value)
    if not text.strip():
        raise ValueError("expected the path of a file, not an empty text")
    if text == ":memory:" or text.startswith("file:"):
        raise ValueError("expected the path of a file; a database in memory and SQLite URIs are not supported")
    if "\0" in text:
        raise ValueError("expected the path of a file, without NUL characters")
    return value


class _FileOptions(ExporterConfig):
    """The options that concern the file."""

    path: Annotated[Path, BeforeValidator(_names_a_file), AfterValidator(_absolute)]
    """The database file. It is created when it does not exist; its directory has to exist. `~` is expanded."""

    retention_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Delete points this many seconds after they were exported. Without it, age deletes nothing."""

    max_bytes: Annotated[int, Field(ge=1_048_576)] | None = None
    """Delete the oldest points when the database file would grow beyond this many bytes. The newest export is always
    kept. Without it, size deletes nothing."""

    file_mode: FileMode | None = None
    """Permissions of a file that is created, such as `"0640"`, in quotes; those of one that is there stay. Without it,
    the process's umask decides, which commonly lets everybody read."""

    synchronous: Literal["off", "normal", "full"] = "normal"
    """Durability. `full`: no crash loses an export. `normal`: a power failure can undo the last exports, a crash of the
    process cannot. `off`: a power failure can corrupt the database."""

    busy_timeout_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0
    """Seconds that one export waits while another process holds the database's write lock; never beyond the export's
    own deadline."""

    def config_warnings(self) -> Mapping[str, str]:
        """Warn about a directory that does not exist."""
        directory = self.path.parent
        if directory.is_dir():
            return {}
        return {"path": f"the directory {directory} does not exist: create it, or change `path`"}


class SqliteConfig(PreferenceOptions, _FileOptions):
    """Options of the ``sqlite`` exporter."""
