"""RDR: what a reader promises, whoever's it is."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from exporter_core.conformance.base_case import describe_call
from exporter_core.conformance.clause import READERS, Clause, clause, registered, select
from exporter_core.conformance.readers.case import BRIEF, LONG, ReaderCanary, ReaderCase
from exporter_core.conformance.readers.rig import FAILURES, DrivenReader
from exporter_core.conformance.run.verdicts import Failed

if TYPE_CHECKING:
    from collections.abc import Sequence


_OFTEN: Final = 0.01  # seconds between two exports of a reader whose schedule is tried
_SETTLE: Final = 0.02  # seconds in which a flush that does not wait is caught; it decides nothing else


def reader_clauses() -> tuple[Clause, ...]:
    """Every clause about readers."""
    return registered(lambda one: one.family == READERS)


def select_reader_clauses(patterns: Sequence[str] = ()) -> tuple[Clause, ...]:
    """The clauses about readers that match the patterns; see :func:`exporter_core.conformance.clause.select`."""
    return select(patterns, reader_clauses())


# --- reports ---------------------------------------------------------------------------------------------------------


class Deaf(ReaderCanary):
    """Reports nothing."""

    def __init__(self, case: ReaderCase, inner: DrivenReader) -> None:
        super().__init__(case, inner)
        self.reports = []


@clause(
    "RDR-01",
    "MUST",
    "an export error reaches the error handler exactly once",
    words="Every failure of a scheduled export is reported, once.",
    technique="S",
    check="a failed export is handed to the error handler, whether it raised or answered; for the SDK that is its "
    "logger",
    canary=Deaf,
)
def reported(case: ReaderCase) -> None:
    """Let the first of several scheduled exports fail, in each way that an exporter can, and count the reports."""
    for way in FAILURES[case.name]:
        reports = _reports_of_one_failure(case, way)
        if len(reports) != 1:
            told_of = f": {'; '.join(reports)}" if reports else ""
            raise Failed(f"one report of one export that {way}", f"{len(reports)} reports{told_of}")
        case.observe(f"one report of one export that {way}: {reports[0]}")


def _reports_of_one_failure(case: ReaderCase, way: str) -> list[str]:
    first, before = case.script.begun + 1, 0

    def fails(number: int) -> bool:
        nonlocal before
        if number != first:
            return False
        before = len(driven.reports)  # a schedule that begins before a provider has the reader may report that
        return True

    case.script.way, case.script.failing = way, fails
    driven = case.reader(_OFTEN)
    case.entered(first + 2)  # by then the thread that exports is done with the first
    reports = list(driven.reports[before:])
    case.do("shutdown", lambda: driven.shutdown(LONG))
    return reports


class Interrupted(ReaderCanary):
    """Delivers nothing after an export has failed."""

    def __init__(self, case: ReaderCase, inner: DrivenReader) -> None:
        super().__init__(case, inner)
        case.script.failing = lambda _number: True

    @property
    def is_holding(self) -> bool:
        return not self.released.is_set()


@clause(
    "RDR-02",
    "MUST",
    "the schedule survives whatever an export raises",
    words="Whatever is raised, the schedule goes on.",
    technique="S",
    check="the loop of the thread that exports catches BaseException",
    canary=Interrupted,
)
def survives(case: ReaderCase) -> None:
    """Let the first scheduled export raise a BaseException that is no Exception; the next ones deliver."""
    case.script.way = "interrupts"
    case.script.failing = lambda number: number == 1
    case.reader(_OFTEN)
    case.entered()
    if not case.until(lambda: bool(case.script.delivered)):
        raise Failed("a scheduled export after one that raised a BaseException", "there was none")
    case.observe("exports went on after one that raised a BaseException")


# --- flush -----------------------------------------------------------------------------------------------------------


class SaysTrue(ReaderCanary):
    """Returns True from every flush."""

    def flush(self, seconds: float) -> object:
        with suppress(Exception):
            self.inner.flush(seconds)
        return True


@clause(
    "RDR-03",
    "MUST",
    "force_flush raises or returns False when nothing was delivered",
    words="force_flush returns when it is done, and raises or returns False when it is not.",
    technique="F",
    check="the outcome of the export reaches the caller of force_flush",
    canary=SaysTrue,
)
def flush_fails(case: ReaderCase) -> None:
    """Flush with an exporter that fails, in each way that it can."""
    case.script.failing = lambda _number: True
    for way in FAILURES[case.name]:
        case.script.way = way
        driven = case.reader()
        call = case.do("force_flush", lambda one=driven: one.flush(LONG))  # type: ignore[misc]  # binds the loop's value
        case.reported(call, f"force_flush raises or returns False when the export {way}")


class ReturnsAtOnce(ReaderCanary):
    """Flushes on a thread of its own, and returns."""

    def flush(self, seconds: float) -> object:
        self.case.start("detached flush", lambda: self.inner.flush(seconds))
        return True


@clause(
    "RDR-04",
    "MUST",
    "force_flush returns after the delivery",
    words="On return all data recorded before is delivered.",
    technique="G",
    check="force_flush waits for the export",
    canary=ReturnsAtOnce,
)
def flush_delivers(case: ReaderCase) -> None:
    """Flush while the exporter is held up: it returns after the export has gone on."""
    driven = case.reader()
    case.record(7)
    case.script.gate.clear()
    call = case.start("force_flush", lambda: driven.flush(LONG))
    case.entered()
    if call.wait(_SETTLE):
        raise Failed("force_flush returns after the delivery", "it returned while the exporter was held up")
    case.script.gate.set()
    case.ends(call, "force_flush ends once the exporter is let go")
    case.succeeded(call)
    if 7 not in case.script.delivered:  # noqa: PLR2004 - what was recorded above
        raise Failed("what was recorded before the flush is delivered when it returns", "it is not")
    case.observe("what was recorded before the flush had been delivered when it returned")


class FlushWaits(ReaderCanary):
    """Never returns from a flush."""

    def flush(self, seconds: float) -> object:  # noqa: ARG002 - that is the fault
        self.hold()
        return None


@clause(
    "RDR-05",
    "MUST",
    "force_flush is on time with a hung exporter",
    words="force_flush ends when its time is up, and says that nothing was delivered.",
    technique="G",
    check="force_flush waits for the export no longer than its time-out",
    canary=FlushWaits,
)
def flush_on_time(case: ReaderCase) -> None:
    """Flush with a short time-out while the exporter is held up."""
    driven = case.reader()
    case.script.gate.clear()
    call = case.start("force_flush", lambda: driven.flush(BRIEF))
    case.ends(call, f"force_flush ends when its {BRIEF:g} s are up")
    case.reported(call, "force_flush raises or returns False when its time was up")


# --- shutdown --------------------------------------------------------------------------------------------------------


class ShutsNothing(ReaderCanary):
    """Returns from a shutdown without doing anything."""

    def shutdown(self, seconds: float) -> object:  # noqa: ARG002 - that is the fault
        return None


@clause(
    "RDR-06",
    "MUST",
    "shutdown delivers what was recorded before",
    words="shutdown collects and exports once more.",
    technique="S",
    check="the last collection comes before the exporter's shutdown",
    canary=ShutsNothing,
)
def shutdown_delivers(case: ReaderCase) -> None:
    """Record, shut down, and look at what was delivered."""
    driven = case.reader()
    case.record(7)
    case.succeeded(case.do("shutdown", lambda: driven.shutdown(LONG)))
    if 7 not in case.script.delivered:  # noqa: PLR2004 - what was recorded above
        raise Failed("what was recorded before the shutdown is delivered when it returns", "it is not")
    case.observe("what was recorded before the shutdown had been delivered when it returned")


class ShutdownWaits(ReaderCanary):
    """Never returns from a shutdown."""

    def shutdown(self, seconds: float) -> object:  # noqa: ARG002 - that is the fault
        self.hold()
        return None


@clause(
    "RDR-07",
    "MUST",
    "shutdown is on time with a hung exporter",
    words="shutdown ends when its time is up.",
    technique="G",
    check="shutdown waits for a running export no longer than its time-out",
    canary=ShutdownWaits,
)
def shutdown_on_time(case: ReaderCase) -> None:
    """Shut down with a short time-out beside a scheduled export that is held up."""
    case.script.gate.clear()
    driven = case.reader(_OFTEN)
    case.entered()
    call = case.start("shutdown", lambda: driven.shutdown(BRIEF))
    case.ends(call, f"shutdown ends when its {BRIEF:g} s are up")
    case.observe("shutdown ended while the exporter was held up")


class Quiet(ReaderCanary):
    """Returns from every shutdown."""

    def shutdown(self, seconds: float) -> object:
        with suppress(Exception):
            self.inner.shutdown(seconds)
        return None


@clause(
    "RDR-08",
    "MUST",
    "shutdown raises when its last export failed",
    words="shutdown raises when the last export fails.",
    technique="F",
    check="the outcome of the last export reaches the caller of shutdown",
    canary=Quiet,
)
def shutdown_fails(case: ReaderCase) -> None:
    """Shut down with an exporter that fails, in each way that it can."""
    case.script.failing = lambda _number: True
    for way in FAILURES[case.name]:
        case.script.way = way
        driven = case.reader()
        call = case.do("shutdown", lambda one=driven: one.shutdown(LONG))  # type: ignore[misc]  # binds the loop's value
        case.reported(call, f"shutdown raises or returns False when the last export {way}")


class OwnTime(ReaderCanary):
    """Gives the exporter more time than it was given."""

    def shutdown(self, seconds: float) -> object:
        return self.inner.shutdown(seconds + LONG)


@clause(
    "RDR-09",
    "MUST",
    "shutdown hands the exporter the time that is left",
    words="The exporter is shut down within the time of the reader's shutdown.",
    technique="S",
    check="the keyword that the exporter's shutdown takes: timeout_millis",
    canary=OwnTime,
)
def shutdown_time(case: ReaderCase) -> None:
    """Look at the time that the exporter's shutdown is given."""
    driven = case.reader()
    seconds = case.patience
    case.do("shutdown", lambda: driven.shutdown(seconds))
    expected = f"the exporter's shutdown is given at most the {seconds:g} s of the reader's"
    if not case.script.shutdowns:
        raise Failed(expected, "it was not called")
    given = case.script.shutdowns[0]
    if given is None or given > seconds:
        raise Failed(expected, "it was given no time" if given is None else f"it was given {given:g} s")
    case.observe(f"the exporter's shutdown was given {given:.3g} s of {seconds:g}")


class SecondRaises(ReaderCanary):
    """Raises in every shutdown but the first."""

    _down = False

    def shutdown(self, seconds: float) -> object:
        if self._down:
            raise RuntimeError("shut down already")
        self._down = True
        return self.inner.shutdown(seconds)


@clause(
    "RDR-10",
    "MUST",
    "a second shutdown does nothing and returns",
    words="A second shutdown only warns: the provider calls it again at exit.",
    technique="S",
    check="the exporter is shut down once",
    canary=SecondRaises,
)
def second_shutdown(case: ReaderCase) -> None:
    """Shut down twice."""
    driven = case.reader()
    case.do("shutdown", lambda: driven.shutdown(LONG))
    case.succeeded(case.do("second shutdown", lambda: driven.shutdown(LONG)))
    if len(case.script.shutdowns) != 1:
        raise Failed("the exporter is shut down once", f"it was shut down {len(case.script.shutdowns)} times")
    case.observe("the second shutdown returned, and the exporter was shut down once")


class ExportsOn(ReaderCanary):
    """Exports in a flush after its shutdown."""

    def flush(self, seconds: float) -> object:
        self.case.script.begun += 1
        return self.inner.flush(seconds)


@clause(
    "RDR-11",
    "MUST",
    "nothing is exported after shutdown",
    words="After shutdown nothing is sent.",
    technique="S",
    check="force_flush looks at whether the reader has been shut down",
    canary=ExportsOn,
)
def after_shutdown(case: ReaderCase) -> None:
    """Shut down, flush, and count the exports."""
    driven = case.reader()
    case.do("shutdown", lambda: driven.shutdown(LONG))
    before = case.script.begun
    call = case.do("force_flush", lambda: driven.flush(LONG))
    if case.script.begun != before:
        raise Failed("force_flush after shutdown exports nothing", f"it exported; {describe_call(call)}")
    case.observe("a flush after the shutdown exported nothing")
