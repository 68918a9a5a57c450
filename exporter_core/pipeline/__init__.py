"""``Pipeline``: the readers and guarded exporters that one config file describes, as one thing to flush and shut down.

``lifecycle`` is the pipeline; ``building`` makes its parts, or none; ``reports`` says what was delivered.
"""

from exporter_core.pipeline.lifecycle import Pipeline
from exporter_core.pipeline.reports import PipelineReport, ReaderReport

__all__ = ["Pipeline", "PipelineReport", "ReaderReport"]
