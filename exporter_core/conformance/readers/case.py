"""One run of one clause about a reader. Order decides; a bound only ever ends a run that fails."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics import MeterProvider

from exporter_core.conformance.base_case import LEAVE, BaseCase, describe_call
from exporter_core.conformance.clauses.canary import Fault
from exporter_core.conformance.observe.journal import words_of
from exporter_core.conformance.readers.rig import DrivenReader, Script, make
from exporter_core.conformance.run.run_clause import Run
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.conformance.timeline import lines

if TYPE_CHECKING:
    from exporter_core.conformance.clause import Clause
    from exporter_core.conformance.observe.journal import Call
    from exporter_core.conformance.readers.rig import ReaderName
    from exporter_core.conformance.run.run_clause import Settings
    from exporter_core.conformance.scheduled import Step

BRIEF: Final = 0.1
"""Seconds of a time-out that is meant to pass."""
LONG: Final = 3600.0
"""Seconds between two exports of a reader that is not to export by itself; and of a time-out that is not to pass."""


class ReaderCanary(Fault, DrivenReader):
    """Passes everything on to a reader; each subclass breaks one promise."""

    def __init__(self, case: ReaderCase, inner: DrivenReader) -> None:
        super().__init__()
        self.case = case
        self.inner = inner
        self.reader = inner.reader
        self.reports = inner.reports

    def close(self) -> None:
        self.inner.close()


class ReaderCase(BaseCase):
    """One run of one clause on a reader.

    Args:
        clause: which.
        name: whose reader.
        patience: seconds after which a run that waits has failed.
        canary: True to wrap the reader in the clause's own fault.
    """

    def __init__(self, clause: Clause, name: ReaderName, patience: float, *, canary: bool) -> None:
        super().__init__(clause, patience, canary=canary)
        self.name: ReaderName = name
        self.script = Script(self.journal)
        self._drivers: list[DrivenReader] = []
        self._gauge: Any = None  # the SDK's instrument

    def reader(self, interval: float = LONG) -> DrivenReader:
        """A reader of a provider that has one gauge."""
        driven = make(self.name, self.script, interval)
        if self.canary is not None:
            driven = self.canary(self, driven)
            self._faults.append(driven)
        self._drivers.append(driven)
        provider = MeterProvider([driven.reader], shutdown_on_exit=False)
        self._gauge = provider.get_meter("conformance").create_gauge("conformance.gauge")
        self.record(1)
        return driven

    def record(self, value: int) -> None:
        """Let the gauge have this value."""
        self._gauge.set(value)

    def entered(self, number: int = 1) -> None:
        """Wait until so many exports have begun; INCONCLUSIVE if they do not."""
        if not self.until(lambda: self.script.begun >= number, fault=None):
            raise VerdictError(Verdict.INCONCLUSIVE, f"export {number} never began")

    def reported(self, call: Call, expected: str) -> None:
        """Fail unless the call raised, or returned False."""
        if call.error is None and call.result is not False:
            raise Failed(expected, describe_call(call) if call.result is None else f"it returned {call.result!r}")
        how = f"raised {type(call.error).__name__}" if call.error is not None else "returned False"
        self.observe(f"{call.name} {how}")

    def succeeded(self, call: Call | Step) -> None:
        """Fail unless the call returned, and not False."""
        super().succeeded(call)
        if call.result is False:
            raise Failed(f"{call.name} succeeds", describe_call(call))

    @property
    def _while_shut(self) -> str:
        return "" if self.script.gate.is_set() else " while the exporter was held up"

    def close(self) -> bool:
        """Let everything end; True if something goes on."""
        self.script.gate.set()
        self.script.failing = lambda _number: False
        for fault in self._faults:
            fault.release()
        for driven in self._drivers:
            # It may raise what the clause has found.
            self.start("the end", lambda one=driven: one.reader.shutdown(timeout_millis=LEAVE * 1000))  # type: ignore[misc]  # binds the loop's value
        ended = self._calls_ended()
        for driven in self._drivers:
            driven.close()
        return not ended


def run_reader_clause(clause: Clause, name: ReaderName, settings: Settings) -> Run:
    """Run one clause on a reader, and if it passes its canary."""
    began = monotonic()
    run = _run(clause, name, settings, canary=False)
    if run.verdict is Verdict.PASS and not run.tainted:
        canary = _run(clause, name, settings, canary=True)
        run.canary = "died" if canary.verdict is Verdict.FAIL else "survived"
        run.canary_seen, run.tainted = canary.seen, canary.tainted
        if run.canary == "survived":
            run.verdict = Verdict.UNOBSERVABLE
            run.seen = f"the canary survived: with its fault ({clause.fault}) the clause passes as well"
    run.seconds = round(monotonic() - began, 4)
    return run


def _run(clause: Clause, name: ReaderName, settings: Settings, *, canary: bool) -> Run:
    run = Run(clause.id, name, Verdict.PASS)
    case = ReaderCase(clause, name, settings.patience, canary=canary)
    try:
        clause.function(case)
        if not case.observations:
            run.verdict, run.seen = Verdict.KIT_ERROR, "the clause ended without an observation"
    except VerdictError as error:
        run.verdict, run.expected, run.seen = error.verdict, error.expected, error.seen
    except Exception as error:  # noqa: BLE001 - what neither a reader nor the kit foresaw
        run.verdict, run.seen = Verdict.KIT_ERROR, words_of(error)
    run.seen = " ".join(run.seen.split())
    run.tainted = case.close()
    run.observations = list(case.observations)
    run.timeline = lines(case.journal.events)
    return run
