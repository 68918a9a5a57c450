"""An exporter of the OpenTelemetry SDK by itself: called as the SDK calls it, and judged by the SDK's specification.

The driver adds nothing: it looks at no context, keeps no state and makes no error. What the SDK's interface has no
channel for is INEXPRESSIBLE; the rest is judged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from exporter_core.bridge.inbound import InboundExporter, failure_in, is_failure
from exporter_core.conformance.observe.journal import AnsweredFailure, UnknownAnswer
from exporter_core.conformance.run.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.context import Context
    from exporter_core.contract import InstrumentKind


class SdkDriver:
    """Calls the methods of a ``MetricExporter`` with the time left as ``timeout_millis``, and nothing else.

    An answer that stands for a failure is raised as :class:`AnsweredFailure`.
    """

    def __init__(self, bridge: InboundExporter) -> None:
        self._bridge = bridge
        self.bounded = bridge.bounded
        """The operations whose methods take ``timeout_millis``."""

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """The preference that a reader of the SDK would use."""
        return self._bridge.temporality(instrument_kind)

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """The preference that a reader of the SDK would use."""
        return self._bridge.aggregation(instrument_kind)

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Export; AnsweredFailure unless the answer is SUCCESS."""
        self._call("export", context, metrics)

    def force_flush(self, context: Context) -> None:
        """Flush; AnsweredFailure if the answer is False."""
        self._call("force_flush", context)

    def shutdown(self, context: Context) -> None:
        """Shut down."""
        self._call("shutdown", context)

    def read(self) -> None:
        """Let the SDK make a reader over the exporter, which it asks for its preferences; one without a schedule."""
        PeriodicExportingMetricReader(self._bridge._exporter, export_interval_millis=math.inf)

    def _call(self, operation: str, context: Context, *arguments: object) -> None:
        answer, logged = self._bridge.call(operation, context, *arguments)
        failure = failure_in(operation, answer, logged)
        if failure is not None:
            raise (AnsweredFailure if is_failure(answer) else UnknownAnswer)(failure)


class Sentence(NamedTuple):
    """A sentence of OpenTelemetry's specification of the metrics SDK."""

    text: str
    url: str


_ONCE: Final = "the OpenTelemetry SDK calls shutdown once for each exporter, and takes no answer from a second call"
_NO_CONTEXT: Final = "a MetricExporter of the OpenTelemetry SDK cannot be told that a call is over before it begins"
_READ_ONCE: Final = "a reader of the OpenTelemetry SDK reads the preferences once, when it is made"

WITHOUT_CHANNEL: Final[Mapping[str, tuple[Verdict, str]]] = {
    "INT-01": (Verdict.NOT_APPLICABLE, "an exporter of the OpenTelemetry SDK has the SDK's own interface"),
    "KND-02": (Verdict.NOT_APPLICABLE, _READ_ONCE),
    "KND-03": (Verdict.NOT_APPLICABLE, _READ_ONCE),
    "KND-04": (Verdict.NOT_APPLICABLE, _READ_ONCE),
    "KND-05": (Verdict.NOT_APPLICABLE, _READ_ONCE),
    "EXP-05": (Verdict.INEXPRESSIBLE, _NO_CONTEXT),
    "FLU-02": (Verdict.INEXPRESSIBLE, _NO_CONTEXT),
    "SHD-07": (Verdict.INEXPRESSIBLE, _ONCE),
}
"""The verdicts, with their reasons, on clauses that the SDK's interface has no channel for."""

STANDS_ALONE: Final[Mapping[str, frozenset[str]]] = {"SHD-03": frozenset({"SHD-06"})}
"""Clauses that build on others only because of an error that the SDK's interface has no channel for."""

_PAGE: Final = "https://opentelemetry.io/docs/specs/otel/metrics/sdk/"
_EXPORT: Final = f"{_PAGE}#exportbatch"
_FLUSH: Final = f"{_PAGE}#forceflush-2"
_SHUTDOWN: Final = f"{_PAGE}#shutdown-2"
_DELIVERED: Final = Sentence(
    "Success - The batch has been successfully exported. For protocol exporters this typically means that the data is "
    "sent over the wire and delivered to the destination server.",
    _EXPORT,
)
_FAILED: Final = Sentence("Failure - exporting failed. The batch must be dropped.", _EXPORT)
_BOUNDED: Final = Sentence(
    "Export MUST NOT block indefinitely, there MUST be a reasonable upper limit after which the call must time out "
    "with an error result (Failure).",
    _EXPORT,
)
_RETRYING: Final = Sentence(
    "Any retry logic that is required by the exporter is the responsibility of the exporter.", _EXPORT
)
_FLUSHED: Final = Sentence(
    "This is a hint to ensure that the export of any Metrics the exporter has received prior to the call to ForceFlush "
    "SHOULD be completed as soon as possible, preferably before returning from this method.",
    _FLUSH,
)
_CLEANUP: Final = Sentence("This is an opportunity for exporter to do any cleanup required.", _SHUTDOWN)
_FINAL: Final = Sentence(
    "Shutdown SHOULD be called only once for each MetricExporter instance. After the call to Shutdown subsequent calls "
    "to Export are not allowed and should return a Failure result.",
    _SHUTDOWN,
)
_SAFE: Final = Sentence(
    "MetricExporter - ForceFlush and Shutdown MUST be safe to be called concurrently.",
    f"{_PAGE}#concurrency-requirements",
)

SPECIFICATION: Final[Mapping[str, Sentence]] = {
    **dict.fromkeys(("EXP-01", "EXP-02", "EXP-03", "EXP-04"), _DELIVERED),
    **dict.fromkeys(("EXP-06", "EXP-07", "EXP-08", "EXP-09", "EXP-12"), _BOUNDED),
    **dict.fromkeys(("EXP-13", "EXP-15"), _RETRYING),
    **dict.fromkeys(("EXP-14", "EXP-16", "EXP-18"), _FAILED),
    "FLU-01": _FLUSHED,
    "FLU-03": Sentence("ForceFlush SHOULD complete or abort within some timeout.", _FLUSH),
    "FLU-04": Sentence(
        "ForceFlush SHOULD provide a way to let the caller know whether it succeeded, failed or timed out.", _FLUSH
    ),
    "FLU-05": _SAFE,
    **dict.fromkeys(("SHD-01", "SHD-02", "SHD-03"), _CLEANUP),
    "SHD-04": Sentence(
        "Shutdown SHOULD NOT block indefinitely (e.g. if it attempts to flush the data and the destination is "
        "unavailable).",
        _SHUTDOWN,
    ),
    **dict.fromkeys(("SHD-05", "SHD-06", "SHD-07", "SHD-09", "SHD-10"), _FINAL),
    "SHD-08": _SAFE,
    "CON-01": Sentence(
        "Export should never be called concurrently with other Export calls for the same exporter instance.", _EXPORT
    ),
}
"""The specification's own sentence for what a clause promises, where it has one."""
