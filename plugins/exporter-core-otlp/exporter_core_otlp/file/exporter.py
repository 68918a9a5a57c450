"""The exporter: encodes each batch as one line of OTLP's JSON and writes it before ``export`` returns."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final, Protocol

from exporter_core import Context, Destination, PartialSuccessError
from exporter_core.authoring import Output
from exporter_core.otlp import JsonEncoder
from exporter_core_otlp.file.config import OtlpFileConfig
from exporter_core_otlp.file.lines import LineFile
from exporter_core_otlp.forking import reset_after_fork
from exporter_core_otlp.preferences import OtlpExporter
from exporter_core_otlp.turn import Turn

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

BEGINS: Final = b'{"resourceMetrics":'
"""What every line begins with."""


class _Lines(Protocol):
    """Where lines go. All three raise ExporterError."""

    def append(self, context: Context, line: bytes) -> None: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


class OtlpFileExporter(OtlpExporter[OtlpFileConfig]):
    """Write metrics as lines of OTLP JSON, to standard output or a file.

    A line is one batch: an ``ExportMetricsServiceRequest`` in OTLP's JSON. A file may be written to by several
    processes; :mod:`exporter_core_otlp.file.lines` says what keeps its lines whole.
    """

    def __init__(self, config: OtlpFileConfig) -> None:
        super().__init__(config)
        path = config.path
        self._lines: _Lines = (
            _StandardOutput()
            if path is None
            else LineFile(
                path,
                begins=BEGINS,
                max_bytes=config.max_file_bytes,
                max_old_files=config.max_old_files,
                fsync=config.fsync,
            )
        )
        self._encoder = JsonEncoder()
        self._turn = Turn(self._lines.close)
        reset_after_fork(self._turn)

    def destination(self) -> Destination | None:
        """The file, and a command that shows the newest line there."""
        path = self.config.path
        if path is None:
            return Destination("standard output")
        return Destination(str(path), f"tail -n 1 {shlex.quote(str(path))}")

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Write the metrics as one line; an empty batch writes nothing.

        Raises:
            PartialSuccessError: everything was written but points that OTLP cannot hold; the message names one.
            ExporterError: the file or standard output cannot be written to.
        """
        with self._turn.export(context, None) as running:
            encoded = self._encoder.encode(metrics)
            if encoded.points:
                self._lines.append(running, encoded.data + b"\n")
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
        if not self._turn.shut_down:
            context.raise_if_done()
            self._lines.sync()

    def shutdown(self, context: Context) -> None:
        """Wait for a running export while the context lasts, then end that; flush, and let go of the file.

        Raises the context's error if that is done, with the exporter shut down all the same.
        """
        self._turn.shutdown(context)


class _StandardOutput:
    """The process's standard output, which is not ours to close."""

    def __init__(self) -> None:
        self._output = Output("stdout")

    def append(self, context: Context, line: bytes) -> None:
        self._output.write(context, lambda _target: line)

    def sync(self) -> None:
        """Each line has gone out."""

    def close(self) -> None:
        """Nothing is held."""
