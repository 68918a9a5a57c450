"""The options of the ``otlp_file`` exporter: those of OpenTelemetry's ``otlp_file/development``, and rotation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from exporter_core_otlp.config import OtlpConfig

_EXPECTED: Final = "expected stdout, or file:///absolute/path/to/file.jsonl"
_FILE_ONLY: Final = ("max_file_bytes", "max_old_files", "fsync")


class OtlpFileConfig(OtlpConfig):
    """Where the lines go."""

    output_stream: str = "stdout"
    """`stdout`, or the file as `file:///absolute/path/to/file.jsonl`. The file is created when it does not exist; its
    directory has to exist."""

    max_file_bytes: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Bytes that the file may grow to before it is renamed to `file.jsonl.1` and a new one is begun; a line is never
    divided. Without it, the file grows without limit. Not in OpenTelemetry's schema."""

    max_old_files: Annotated[int, Field(strict=True, ge=1, le=1000)] = 5
    """How many renamed files are kept, `.1` being the newest. Not in OpenTelemetry's schema."""

    fsync: bool = False
    """Whether flush and shutdown return only when the disk has what was written, so that no power failure can undo it.
    Not in OpenTelemetry's schema."""

    @field_validator("output_stream")
    @classmethod
    def _names_an_output(cls, value: str) -> str:
        _path(value)
        return value

    @model_validator(mode="after")
    def _only_files_are_rotated(self) -> OtlpFileConfig:
        given = [name for name in _FILE_ONLY if name in self.model_fields_set]
        if given and self.path is None:
            raise ValueError(f"{given[0]} is for a file; output_stream is stdout")
        return self

    @property
    def path(self) -> Path | None:
        """The file; None for standard output."""
        return _path(self.output_stream)


def _path(output_stream: str) -> Path | None:
    if output_stream == "stdout":
        return None
    parts = urlsplit(output_stream)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise ValueError(_EXPECTED)
    if parts.query or parts.fragment:
        raise ValueError(f"{_EXPECTED}; in a path, ? is written %3F and # is written %23")
    path = unquote(parts.path)
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError(_EXPECTED)
    return Path(path)
