"""One run of one clause about a reader. Order decides; a bound only ever ends a run that fails."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics import MeterProvider

from exporter_core.conformance.base_case import LEAVE, BaseCase, describe_call
from exporter_core.conformance.clauses.canary import Fault
from exporter_core.conformance.readers.rig import (
    DrivenReader,
    ReaderName,
    Script,
    ScriptedExporter,
    make,
    make_exporter,
)
from exporter_core.conformance.run.run_clause import run_with_canary
from exporter_core.conformance.run.verdicts import Failed, Run, Settings, Verdict, VerdictError

if TYPE_CHECKING:
    from pathlib import Path

    from exporter_core.conformance.clause import Clause
    from exporter_core.conformance.observe.journal import ObservedCall
    from exporter_core.conformance.rounds import Step

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
        settings: seed and bounds.
        directory: an empty folder, which no clause needs.
        canary: True to wrap the reader in the clause's own fault.
    """

    def __init__(self, clause: Clause, name: ReaderName, settings: Settings, directory: Path, *, canary: bool) -> None:
        super().__init__(clause, settings, directory, canary=canary)
        self.name: ReaderName = name
        self._scripts: list[Script] = []
        self.script = self.another_script()
        self._drivers: list[DrivenReader] = []
        self._gauge: Any = None  # the SDK's instrument

    def reader(self, interval: float = LONG) -> DrivenReader:
        """A reader of a provider that has one gauge."""
        return self.readers(self.exporter(self.script), interval=interval)[0]

    def another_script(self) -> Script:
        """A script for the exporter of another reader."""
        self._scripts.append(Script(self.journal))
        return self._scripts[-1]

    def exporter(self, script: Script) -> ScriptedExporter:
        """An exporter that follows the script."""
        return make_exporter(self.name, script)

    def readers(self, *exporters: ScriptedExporter, interval: float = LONG) -> list[DrivenReader]:
        """Readers of one provider that has one gauge, each over its exporter, which may be another one's as well."""
        found = [make(exporter, interval) for exporter in exporters]
        if self.canary is not None:
            found = [self.canary(self, driven) for driven in found]
            self._faults += found  # type: ignore[arg-type]  # canaries are faults
        self._drivers += found
        provider = MeterProvider([driven.reader for driven in found], shutdown_on_exit=False)
        self._gauge = provider.get_meter("conformance").create_gauge("conformance.gauge")
        self.record(1)
        return found

    def forget(self) -> None:
        """Let go of the readers and calls so far, and of what they recorded with."""
        for driven in self._drivers:
            driven.close()
        self._drivers.clear()
        self._calls.clear()
        self._gauge = None

    def in_time(self, call: ObservedCall, expected: str) -> None:
        """Fail unless the call ends within half a second, and the noise beside it, of the end of its time."""
        self.ends(call, expected)
        if self.canary is None and self.is_late(call):
            raise Failed(expected, f"it ended {call.lateness * 1000:.0f} ms later{self._while_shut}")

    def record(self, value: int) -> None:
        """Let the gauge have this value."""
        self._gauge.set(value)

    def entered(self, number: int = 1) -> None:
        """Wait until so many exports have begun; INCONCLUSIVE if they do not."""
        if not self.until(lambda: self.script.begun >= number, fault=None):
            raise VerdictError(Verdict.INCONCLUSIVE, f"export {number} never began")

    def reported(self, call: ObservedCall, expected: str) -> None:
        """Fail unless the call raised, or returned False."""
        if call.error is None and call.result is not False:
            raise Failed(expected, describe_call(call) if call.result is None else f"it returned {call.result!r}")
        how = f"raised {type(call.error).__name__}" if call.error is not None else "returned False"
        self.observe(f"{call.name} {how}")

    def succeeded(self, call: ObservedCall | Step) -> None:
        """Fail unless the call returned, and not False."""
        super().succeeded(call)
        if call.result is False:
            raise Failed(f"{call.name} succeeds", describe_call(call))

    @property
    def _while_shut(self) -> str:
        return "" if all(script.gate.is_set() for script in self._scripts) else " while the exporter was held up"

    def close(self) -> None:
        for script in self._scripts:
            script.gate.set()
            script.failing = lambda _number: False
        for fault in self._faults:
            fault.release()
        for driven in self._drivers:
            # It may raise what the clause has found.
            self.start("the end", lambda one=driven: one.reader.shutdown(timeout_millis=LEAVE * 1000))  # type: ignore[misc]  # binds the loop's value
        self.tainted = not self._calls_ended()
        for driven in self._drivers:
            driven.close()


def run_reader_clause(clause: Clause, name: ReaderName, settings: Settings) -> Run:
    """Run one clause on a reader, and if it passes its canary."""
    return run_with_canary(clause, name, settings, partial(ReaderCase, clause, name, settings))
