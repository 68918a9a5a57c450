"""Either reader under one interface, with an exporter that follows a clause's script.

The exporter is of the reader's own kind: one of the contract behind a guard, or a ``MetricExporter``.
"""

from __future__ import annotations

import logging
import threading
from time import sleep
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)

from exporter_core.errors import ExporterError
from exporter_core.exporter import Exporter, ExporterConfig
from exporter_core.guard import GuardedExporter
from exporter_core.reader import PeriodicReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.conformance.observe.journal import Journal
    from exporter_core.context import Context

ReaderName = Literal["exporter_core", "sdk"]
READERS: Final[tuple[ReaderName, ...]] = ("exporter_core", "sdk")
"""The readers: this package's and the SDK's."""

FAILURES: Final[dict[ReaderName, tuple[str, ...]]] = {
    "exporter_core": ("raises",),
    "sdk": ("answers FAILURE", "raises"),
}
"""The ways in which an exporter of each reader's kind reports a failure."""

_LOGGER: Final = "opentelemetry"  # what the SDK's readers have for an error handler


class Refused(Exception):  # noqa: N818 - a failure of an exporter that a clause asks for
    """The failure of a scripted exporter."""


class Interrupt(BaseException):
    """The same as a BaseException that is no Exception."""


class Script:
    """Decides what the exporter does, and records what it was given."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.failing: Callable[[int], bool] = lambda _number: False
        """Returns True if the attempt of this number, from 1, fails."""
        self.way = "raises"
        """The way it fails: ``raises``, ``answers FAILURE`` or ``interrupts``."""
        self.gate = threading.Event()
        """Exports wait for it."""
        self.gate.set()
        self.begun = 0
        self.delivered: list[int | float] = []
        """The values of all points that arrived."""
        self.seconds = 0.0
        """The time that an export takes to deliver."""
        self.rest = 0.0
        """The time that it takes after that."""
        self.shutdowns: list[float | None] = []
        """The seconds that each shutdown was given."""

    def export(self, metrics: MetricsData) -> bool:
        """Deliver, or fail as the script says; return True if it was delivered."""
        self.begun += 1
        number = self.begun
        self._journal.stamp("enter", f"export {number}")
        self.gate.wait()
        if self.failing(number):
            if self.way == "interrupts":
                raise Interrupt
            if self.way == "raises":
                raise Refused(f"export {number} is refused")
            return False
        sleep(self.seconds)
        self.delivered += _values(metrics)
        self._journal.stamp("leave", f"export {number}")
        sleep(self.rest)
        return True

    def shutdown(self, seconds: float | None) -> None:
        """Remember what it was given."""
        self._journal.stamp("enter", "shutdown")
        self.shutdowns.append(seconds)


class DrivenReader:
    """A reader as the clauses use it."""

    reader: MetricReader
    """The reader for a ``MeterProvider``."""
    reports: list[str]
    """The messages that reached the error handler."""

    def flush(self, seconds: float) -> object:
        """Have the reader flush."""
        return self.reader.force_flush(seconds * 1000)

    def shutdown(self, seconds: float) -> object:
        """Have the reader shut down."""
        self.reader.shutdown(seconds * 1000)
        return None

    def close(self) -> None:
        """Undo what it took to watch the reader."""


ScriptedExporter: TypeAlias = "GuardedExporter | _Metric"
"""An exporter of the reader's own kind that follows a script."""


def make_exporter(name: ReaderName, script: Script) -> ScriptedExporter:
    """An exporter of the reader's own kind that follows the script."""
    return (
        GuardedExporter(factory=lambda: _Contract(script), name="scripted")
        if name == "exporter_core"
        else _Metric(script)
    )


def make(exporter: ScriptedExporter, interval: float) -> DrivenReader:
    """A reader, scheduled every ``interval`` seconds, over the exporter."""
    return _Ours(exporter, interval) if isinstance(exporter, GuardedExporter) else _Sdks(exporter, interval)


class _Contract(Exporter[ExporterConfig]):
    def __init__(self, script: Script) -> None:
        super().__init__(ExporterConfig())
        self._script = script

    def export(self, context: Context, metrics: MetricsData) -> None:  # noqa: ARG002 - one that hangs ignores it
        if not self._script.export(metrics):
            raise ExporterError("refused")

    def shutdown(self, context: Context) -> None:
        self._script.shutdown(context.remaining())


class _Ours(DrivenReader):
    def __init__(self, exporter: GuardedExporter, interval: float) -> None:
        self.reports: list[str] = []
        self.reader = PeriodicReader(
            exporter,
            interval=interval,
            timeout=None,
            error_handler=lambda error: self.reports.append(str(error)),
        )


class _Metric(MetricExporter):
    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_kwargs: Any) -> MetricExportResult:  # noqa: ARG002 # Any: the SDK's signature
        return MetricExportResult.SUCCESS if self._script.export(metrics_data) else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002 - as above
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:  # Any: as above
        self._script.shutdown(timeout_millis / 1000)


class _Sdks(DrivenReader):
    def __init__(self, exporter: MetricExporter, interval: float) -> None:
        self._handler = _Handler(logging.WARNING)
        self.reports = self._handler.reports
        self._logger = logging.getLogger(_LOGGER)
        self._propagated, self._logger.propagate = self._logger.propagate, False
        self._logger.addHandler(self._handler)
        self.reader = PeriodicExportingMetricReader(exporter, export_interval_millis=interval * 1000)

    def close(self) -> None:
        self._logger.removeHandler(self._handler)
        self._logger.propagate = self._propagated


class _Handler(logging.Handler):
    """Collects the SDK's reports."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.reports: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.reports.append(record.getMessage())


def _values(metrics: MetricsData) -> list[int | float]:
    return [
        point.value
        for of_resource in metrics.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
        for point in metric.data.data_points
        if hasattr(point, "value")
    ]
