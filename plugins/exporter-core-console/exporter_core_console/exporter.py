"""The exporter renders each batch as text and writes it before ``export`` returns; and its options.

Two options are those of OpenTelemetry's configuration schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from exporter_core.authoring import Output, PreferenceOptions, SerialExporter, Target
from exporter_core_console.json_lines import json_lines

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core import Context


class ConsoleConfig(PreferenceOptions):
    """Options of the ``console`` exporter."""

    format: Literal["auto", "table", "json"] = "auto"
    """`table`: for people. `json`: JSON Lines, one object per data point, for programs. `auto`: a table on a terminal,
    JSON Lines otherwise."""

    stream: Literal["stdout", "stderr"] = "stdout"
    """The standard stream to write to."""


class ConsoleExporter(SerialExporter[ConsoleConfig]):
    """Show metrics on the console: a readable table on a terminal, JSON Lines otherwise.

    An export ends with its context also when nobody reads the pipe, or when the terminal is stopped. Where
    ``sys.stdout`` or ``sys.stderr`` was replaced by an object that is not a plain text file over a file descriptor, as
    in a notebook or under a test's capture, the text goes through that object's own ``write``, which takes as long as
    it takes.
    """

    keeps_metrics_unchanged = True

    def __init__(self, config: ConsoleConfig) -> None:
        super().__init__(config)
        self._output = Output(config.stream)

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        """Write the metrics; an empty batch writes nothing.

        Raises ExporterError when the stream cannot be written to. A part may have been written when the context ends.
        """
        self._output.write(context, lambda target: self._render(context, metrics, target))

    def _render(self, context: Context, metrics: MetricsData, target: Target) -> str:
        if self.config.format == "json" or (self.config.format == "auto" and not target.is_terminal):
            return json_lines(context, metrics)
        from exporter_core_console.table import table  # noqa: PLC0415 - rich is 70 ms that JSON Lines need not pay

        return table(context, metrics, width=target.width(), style=target.style())
