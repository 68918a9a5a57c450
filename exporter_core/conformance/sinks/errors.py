"""The exceptions of sinks."""

from __future__ import annotations

from exporter_core.errors import ExporterCoreError


class SinkError(ExporterCoreError):
    """A sink cannot do an operation, for instance because its process was killed."""


class SinkStartError(SinkError):
    """A sink did not start; the message says why and the way out."""


class SinkPortTakenError(SinkStartError):
    """Another program listens on the port that the sink was to use."""


class SinkTimeoutError(SinkError, TimeoutError):
    """An awaited event did not happen within the bound."""
