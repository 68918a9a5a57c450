"""The exporter ``otlp_file``: OTLP's JSON, a line an export, to standard output or a file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from exporter_core import Context, Destination, PartialSuccessError
from exporter_core.authoring import FileMode, Output, SerialExporter, stated
from exporter_core.otlp import JsonEncoder
from exporter_core_otlp.config import OtlpConfig
from exporter_core_otlp.exporter import Advising
from exporter_core_otlp.lines import LineFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.metrics.export import MetricsData

BEGINS: Final = b'{"resourceMetrics":'
"""The beginning of every line."""
_EXPECTED: Final = "expected stdout, or file:///absolute/path/to/file.jsonl"
_FILE_ONLY: Final = ("max_file_bytes", "max_old_files", "file_mode", "fsync")


class OtlpFileConfig(OtlpConfig):
    """Options of the ``otlp_file`` exporter: those of OpenTelemetry's ``otlp_file/development``, and rotation."""

    output_stream: str = "stdout"
    """`stdout`, or the file as `file:///absolute/path/to/file.jsonl`. The file is created when it does not exist; its
    directory has to exist."""

    max_file_bytes: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Bytes that the file may grow to before it is renamed to `file.jsonl.1` and a new one is begun; a line is never
    divided. Without it, the file grows without limit. Not in OpenTelemetry's schema."""

    max_old_files: Annotated[int, Field(strict=True, ge=1, le=1000)] = 5
    """Renamed files that are kept, `.1` being the newest. Not in OpenTelemetry's schema."""

    file_mode: FileMode | None = None
    """Permissions of a file that is created, such as `"0640"`, in quotes; those of one that is there stay. Without it,
    the process's umask decides, which commonly lets everybody read. Not in OpenTelemetry's schema."""

    fsync: Annotated[bool, Field(strict=True)] = False
    """Let flush and shutdown return only when the disk has what was written, so that no power failure can undo it.
    Not in OpenTelemetry's schema."""

    @field_validator("output_stream")
    @classmethod
    def _names_an_output(cls, value: str) -> str:
        _path(value)
        return value

    @model_validator(mode="after")
    def _only_files_are_rotated(self) -> OtlpFileConfig:
        given = [name for name in _FILE_ONLY if getattr(self, name) != type(self).model_fields[name].default]
        if given and self.path is None:
            raise stated(f"{given[0]} is for a file; output_stream is stdout")
        return self

    def config_warnings(self) -> Mapping[str, str]:
        """Warn about a directory that does not exist."""
        if self.path is None or self.path.parent.is_dir():
            return {}
        return {"output_stream": f"the directory {self.path.parent} does not exist: create it, or change the path"}

    @property
    def path(self) -> Path | None:
        """The file; None for standard output."""
        return _path(self.output_stream)


def _path(output_stream: str) -> Path | None:
    if output_stream == "stdout":
        return None
    parts = urlsplit(output_stream)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise stated(_EXPECTED)
    if parts.query or parts.fragment:
        raise stated(f"{_EXPECTED}; in a path, ? is written %3F and # is written %23")
    path = unquote(parts.path)
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise stated(_EXPECTED)
    return Path(path)


class OtlpFileExporter(Advising, SerialExporter[OtlpFileConfig]):
    """Write metrics as lines of OTLP JSON, to standard output or a file.

    A line is one batch: an ``ExportMetricsServiceRequest`` in OTLP's JSON. Several processes may write to a file;
    :mod:`exporter_core_otlp.lines` keeps its lines whole.
    """

    keeps_metrics_unchanged = True

    def __init__(self, config: OtlpFileConfig) -> None:
        super().__init__(config)
        self._encoder = JsonEncoder()
        self._output = Output("stdout")
        path = config.path
        self._file: LineFile | None = None
        if path is not None:
            self._file = LineFile(
                path,
                begins=BEGINS,
                max_bytes=config.max_file_bytes,
                max_old_files=config.max_old_files,
                fsync=config.fsync,
                mode=None if config.file_mode is None else int(config.file_mode, 8),
            )

    def destination(self) -> Destination:
        """Return the file, and a command that shows the newest line there."""
        path = self.config.path
        if path is None:
            return Destination("standard output")
        return Destination(str(path), f"tail -n 1 {shlex.quote(str(path))}")

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        """Write the metrics as one line; an empty batch writes nothing.

        Raises:
            PartialSuccessError: everything was written but points that OTLP cannot hold; the message names one.
            ExporterError: the file or standard output cannot be written to.
        """
        encoded = self._encoder.encode(metrics)
        line = encoded.data + b"\n"
        if encoded.points and self._file is not None:
            self._file.append(context, line)
        elif encoded.points:
            self._output.write(context, lambda _target: line)
        for omitted in encoded.omitted:
            self.advise(omitted)
        if encoded.dropped:
            first, lost = encoded.dropped[0], len(encoded.dropped)
            raise PartialSuccessError(
                f"{lost} of {encoded.points + lost} points cannot be written: metric {first.metric!r}: {first.reason}",
                rejected_points=lost,
            )

    def force_flush(self, context: Context) -> None:
        """Return when the disk has what was written, with ``fsync``; at once without, for nothing is held.

        Raises the error of a done context, and ExporterError when the disk cannot take it.
        """
        super().force_flush(context)
        if self._file is not None and not self.is_shut_down:
            self._file.sync()

    def release(self, context: Context) -> None:  # noqa: ARG002 - a disk cannot be hurried
        """Flush, and close the file; standard output is the process's."""
        if self._file is not None:
            self._file.close()

    def begin_anew(self) -> None:
        """Let go of the parent's lock on the file."""
        if self._file is not None:
            self._file.begin_anew()
