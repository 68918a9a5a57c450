"""The options of the ``console`` exporter.

The first two are those that OpenTelemetry's configuration schema gives its ``console`` exporter; the others are ours.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from exporter_core import ExporterConfig
from exporter_core.preferences import HistogramAggregation, TemporalityPreference  # noqa: TC001 - pydantic reads the annotations


class ConsoleConfig(ExporterConfig):
    """What to show, how, and where."""

    temporality_preference: TemporalityPreference | None = Field(
        default="cumulative",
        description=(
            "Whether points count from the start of the process or from the last export. `cumulative`: always from "
            "the start. `delta`: counters, observable counters and histograms count from the last export. "
            "`low_memory`: counters and histograms do. Null means cumulative."
        ),
    )
    default_histogram_aggregation: HistogramAggregation | None = Field(
        default="explicit_bucket_histogram",
        description=(
            "How histogram instruments are aggregated where no view says otherwise: in buckets with fixed bounds, "
            "or in base-2 exponential buckets, which fit themselves to the data. Null means the first."
        ),
    )
    format: Literal["auto", "table", "json"] = Field(
        default="auto",
        description=(
            "`table`: for people. `json`: JSON Lines, one object per data point, for programs. "
            "`auto`: a table on a terminal, JSON Lines otherwise."
        ),
    )
    stream: Literal["stdout", "stderr"] = Field(
        default="stdout",
        description="Which of the process's standard streams to write to.",
    )
