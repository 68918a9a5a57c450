"""``Pipeline``: the readers and guarded exporters of one config file, flushed and shut down together.

``lifecycle`` is the pipeline; ``building`` makes its provider, readers and observers; ``reports`` are its results.
``installing`` finds or sets the global provider, ``configuring`` does it all in one call.
"""

from exporter_core.pipeline.configuring import configure
from exporter_core.pipeline.lifecycle import Pipeline
from exporter_core.pipeline.reports import PipelineReport, ReaderReport

__all__ = ["Pipeline", "PipelineReport", "ReaderReport", "configure"]
