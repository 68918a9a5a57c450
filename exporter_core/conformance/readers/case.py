"""One run of one clause about readers. Order decides; a bound only ever ends a run that fails."""

from __future__ import annotations

import threading
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.sdk.metrics import MeterProvider

from exporter_core.conformance.base_case import describe_call
from exporter_core.conformance.observe.journal import Call, Journal, words_of
from exporter_core.conformance.readers.rig import DrivenReader, Script, make
from exporter_core.conformance.run.run_clause import Run
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.conformance.timeline import lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.conformance.clause import Clause
    from exporter_core.conformance.readers.rig import ReaderName
    from exporter_core.conformance.run.run_clause import Settings

BRIEF: Final = 0.1
"""Seconds of a time-out that is meant to pass."""
LONG: Final = 3600.0
"""Seconds between two exports of a reader that is not to export by itself; and of a time-out that is not to pass."""

_LOOK: Final = 0.001
_LEAVE: Final = 2.0


class ReaderCanary(DrivenReader):
    """Passes everything on to a reader; each subclass breaks one promise."""

    def __init__(self, case: ReaderCase, inner: DrivenReader) -> None:
        self.case = case
        self.inner = inner
        self.reader = inner.reader
        self.reports = inner.reports
        self.released = threading.Event()
        self.is_holding = False
        """Whether the fault holds up a call at this moment."""

    def hold(self) -> None:
        """Wait until the clause is over."""
        self.is_holding = True
        self.released.wait()

    def close(self) -> None:
        """The reader's."""
        self.inner.close()


class ReaderCase:
    """One run of one clause.

    Args:
        clause: which.
        name: whose reader.
        patience: seconds after which a run that waits has failed.
        canary: whether to wrap the reader in the clause's own fault.
    """

    def __init__(self, clause: Clause, name: ReaderName, patience: float, *, canary: bool) -> None:
        self.name: ReaderName = name
        self.patience = patience
        self.journal = Journal()
        self.script = Script(self.journal)
        self.observations: list[str] = []
        self._canary = cast("type[ReaderCanary] | None", clause.canary) if canary else None
        self._drivers: list[DrivenReader] = []
        self._calls: list[Call] = []
        self._gauge: Any = None  # the SDK's instrument

    def reader(self, interval: float = LONG) -> DrivenReader:
        """A reader of a provider that has one gauge."""
        driven = make(self.name, self.script, interval)
        if self._canary is not None:
            driven = self._canary(self, driven)
        self._drivers.append(driven)
        provider = MeterProvider([driven.reader], shutdown_on_exit=False)
        self._gauge = provider.get_meter("conformance").create_gauge("conformance.gauge")
        self.record(1)
        return driven

    def record(self, value: int) -> None:
        """Let the gauge have this value."""
        self._gauge.set(value)

    def start(self, name: str, function: Callable[[], object]) -> Call:
        """Call on a thread of its own."""
        call = Call(function, name, self.journal)
        self._calls.append(call)
        return call

    def do(self, name: str, function: Callable[[], object]) -> Call:
        """Call, and wait for the end."""
        call = self.start(name, function)
        self.ends(call, f"{name} ends")
        return call

    def ends(self, call: Call, expected: str) -> None:
        """Fail unless the call ends."""
        if self.comes(lambda: call.over):
            return
        gate = "" if self.script.gate.is_set() else " while the exporter was held up"
        raise Failed(expected, f"{call.name} had not ended {self.patience:g} s later{gate}")

    def until(self, condition: Callable[[], bool]) -> bool:
        """Wait for the condition; whether it came."""
        limit = monotonic() + self.patience
        while not condition():
            if monotonic() > limit:
                return False
            sleep(_LOOK)
        return True

    def comes(self, condition: Callable[[], bool]) -> bool:
        """Wait for what the reader's fault may hold up; whether it came."""
        return self.until(lambda: condition() or self._is_held()) and condition()

    def entered(self, number: int = 1) -> None:
        """Wait until so many exports have begun; INCONCLUSIVE if they do not."""
        if not self.until(lambda: self.script.begun >= number):
            raise VerdictError(Verdict.INCONCLUSIVE, f"export {number} never began")

    def says_so(self, call: Call, expected: str) -> None:
        """Fail unless the call raised, or returned False."""
        if call.error is None and call.result is not False:
            raise Failed(expected, describe_call(call) if call.result is None else f"it returned {call.result!r}")
        how = f"raised {type(call.error).__name__}" if call.error is not None else "returned False"
        self.observe(f"{call.name} {how}")

    def succeeded(self, call: Call) -> None:
        """Fail unless the call returned, and not False."""
        if call.error is not None or call.result is False:
            raise Failed(f"{call.name} succeeds", describe_call(call))

    def observe(self, text: str) -> None:
        """Note the positive evidence for PASS."""
        self.observations.append(text)
        self.journal.stamp("note", text)

    def close(self) -> bool:
        """Let everything end; whether something goes on."""
        self.script.gate.set()
        self.script.failing = lambda _number: False
        for driven in self._drivers:
            if isinstance(driven, ReaderCanary):
                driven.released.set()
            self.start("the end", lambda one=driven: _ended(one))  # type: ignore[misc]  # binds the loop's value
        limit = monotonic() + _LEAVE
        goes_on = not all(call.wait(max(0.0, limit - monotonic())) for call in self._calls)
        for driven in self._drivers:
            driven.close()
        return goes_on

    def _is_held(self) -> bool:
        return any(isinstance(one, ReaderCanary) and one.is_holding for one in self._drivers)


def _ended(driven: DrivenReader) -> None:
    reader = driven.reader
    try:
        reader.shutdown(timeout_millis=_LEAVE * 1000)
    except Exception:  # noqa: BLE001, S110 - it may be what the clause found
        pass


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
        cast("Callable[[ReaderCase], None]", clause.function)(case)
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
