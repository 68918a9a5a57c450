"""HND: what becomes of an exporter's errors, and what they say."""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.canaries.handling import TellsSecret
from exporter_core.conformance.canaries.retrying import Swallows
from exporter_core.conformance.clause import clause
from exporter_core.conformance.verdicts import Failed
from exporter_core.errors import ExporterCoreError
from exporter_core.guard import GuardedExporter
from exporter_core.reader import PeriodicReader

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context
    from exporter_core.contract import InstrumentKind

_INTERVAL = 0.02  # seconds


class _Counted:
    """Passes on to an exporter, and keeps the errors of its exports."""

    def __init__(self, inner: Driven) -> None:
        self._inner = inner
        self.attempts = 0

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        return self._inner.temporality(instrument_kind)

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        return self._inner.aggregation(instrument_kind)

    def export(self, context: Context, metrics: MetricsData) -> None:
        self.attempts += 1
        self._inner.export(context, metrics)

    def force_flush(self, context: Context) -> None:
        self._inner.force_flush(context)

    def shutdown(self, context: Context) -> None:
        self._inner.shutdown(context)


@clause(
    "HND-01",
    "MUST",
    "an export error reaches the error handler exactly once",
    words="Every failure of a scheduled export is reported, once.",
    technique="S",
    check="the exporter raises when it fails, so that the reader can report it",
    canary=Swallows,
    after=("KND-01", "SHD-06"),
)
def handled(case: Case) -> None:
    """A reader with an exporter that was shut down: each of its exports is reported once."""
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - this clause alone needs it

    exporter = case.exporter()
    case.do("shutdown", lambda: exporter.shutdown(case.calm()))
    counted = _Counted(exporter)
    handled: list[Exception] = []
    first = threading.Event()

    def handler(error: Exception) -> None:
        handled.append(error)
        first.set()

    reader = PeriodicReader(
        GuardedExporter(counted, name=case.subject.target), interval=_INTERVAL, error_handler=handler
    )
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("conformance").create_counter("conformance.counter").add(1)
    try:
        reported = first.wait(case.patience)
    finally:
        stopped = case.start("reader shutdown", lambda: reader.shutdown(1000))
        stopped.wait(case.patience)
    if not reported:
        raise Failed("the error handler is called", f"{counted.attempts} exports, and not one report")
    # The last export is the shutdown's own: its error is raised there, or counts as handled.
    reports = len(handled) + (stopped.error is not None)
    if not counted.attempts - 1 <= reports <= counted.attempts + 1:
        raise Failed(f"{counted.attempts} failed exports make as many reports", f"{reports} reports")
    if len(set(map(id, handled))) != len(handled):
        raise Failed("each error is reported once", "one error was reported twice")
    case.observe(f"{counted.attempts} failed exports, {len(handled)} reports")


@clause(
    "HND-02",
    "SHOULD",
    "errors are typed, chain their cause, carry no secret",
    words="Plugins raise ExporterError (or anything else: the guard wraps what they raise), without secrets.",
    technique="S",
    check="raise ExporterError(...) from error, with a message that holds no URL, header or body",
    canary=TellsSecret,
    hygiene=True,
    after=("EXP-05",),
)
def errors(case: Case) -> None:
    """Look at the errors of a cancelled export, a refused one and one whose connection was reset."""
    exporter = case.exporter()
    context = case.done_contexts()[1][1]
    _look(case, case.raised(case.do("export", lambda: exporter.export(context, case.batch().metrics))))
    if not case.has_harness:
        return
    for step in ("status:401", "reset"):
        if step.partition(":")[0] in case.harness.faults:
            case.harness.fault(step)
            call = case.sent(case.exporter(), case.batch(), case.background().child(timeout=0.2))
            error = case.raised(call, when=f"with {step}")
            _look(case, error)
            if step == "reset" and error.__cause__ is None and not isinstance(error, TimeoutError):
                raise Failed("the cause is chained", f"{type(error).__name__} has no __cause__")


def _look(case: Case, error: BaseException) -> None:
    if not isinstance(error, ExporterCoreError):
        raise Failed("an error of exporter_core.errors", f"{type(error).__module__}.{type(error).__qualname__}")
    secret: Any = case.harness.secret if case.has_harness else None
    if secret and any(secret in text for text in (str(error), repr(error), "".join(_lines(error)))):
        raise Failed("no secret in the error", "the secret of the options is in its text")


def _lines(error: BaseException) -> list[str]:
    return list(traceback.TracebackException.from_exception(error).format_exception_only())
