"""The options of the ``console`` exporter: those of OpenTelemetry's configuration schema, and two of its own."""

from __future__ import annotations

from typing import Literal

from exporter_core.authoring import PreferenceOptions


class ConsoleConfig(PreferenceOptions):
    """Options of the ``console`` exporter."""

    format: Literal["auto", "table", "json"] = "auto"
    """`table`: for people. `json`: JSON Lines, one object per data point, for programs. `auto`: a table on a terminal,
    JSON Lines otherwise."""

    stream: Literal["stdout", "stderr"] = "stdout"
    """Which of the process's standard streams to write to."""
