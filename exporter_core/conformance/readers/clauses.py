"""RDR: what a reader promises, whoever's it is, and the canaries that break each promise."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from exporter_core.conformance.base_case import describe_call
from exporter_core.conformance.clause import Clause
from exporter_core.conformance.readers.case import BRIEF, LONG, ReaderCanary
from exporter_core.conformance.readers.rig import FAILURES
from exporter_core.conformance.run.verdicts import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter_core.conformance.clause import Technique
    from exporter_core.conformance.readers.case import ReaderCase
    from exporter_core.conformance.readers.rig import DrivenReader

_OFTEN: Final = 0.01  # seconds between two exports of a reader whose schedule is tried
_SETTLE: Final = 0.02  # seconds in which a flush that does not wait is caught; it decides nothing else
_clauses: list[Clause] = []

_Check: TypeAlias = "Callable[[ReaderCase], None]"


def _clause(  # noqa: PLR0917 - as they read in a table
    number: int, promise: str, words: str, technique: Technique, check: str, canary: type[ReaderCanary]
) -> Callable[[_Check], _Check]:
    def register(function: _Check) -> _Check:
        of_readers: Any = function  # Any: a clause's function and canary are of exporters elsewhere
        wrapper: Any = canary
        _clauses.append(
            Clause(
                id=f"RDR-{number:02}",
                level="MUST",
                promise=promise,
                words=words,
                technique=technique,
                check=check,
                function=of_readers,
                canary=wrapper,
            )
        )
        return function

    return register


def reader_clauses() -> tuple[Clause, ...]:
    """Every clause about readers."""
    return tuple(_clauses)


def select_reader_clauses(patterns: Sequence[str] = ()) -> tuple[Clause, ...]:
    """The clauses that match one of the patterns; all of them without patterns."""
    return tuple(
        one for one in _clauses if not patterns or any(fnmatchcase(one.id, pattern.upper()) for pattern in patterns)
    )


# --- reports ---------------------------------------------------------------------------------------------------------


class Deaf(ReaderCanary):
    """Reports nothing."""

    def __init__(self, case: ReaderCase, inner: DrivenReader) -> None:
        super().__init__(case, inner)
        self.reports = []


@_clause(
    1,
    "an export error reaches the error handler exactly once",
    "Every failure of a scheduled export is reported, once.",
    "S",
    "a failed export is handed to the error handler, whether it raised or answered; for the SDK that is its logger",
    Deaf,
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
    """Delivers nothing any more once an export has failed."""

    def __init__(self, case: ReaderCase, inner: DrivenReader) -> None:
        super().__init__(case, inner)
        case.script.failing = lambda _number: True
        self.is_holding = True


@_clause(
    2,
    "the schedule survives whatever an export raises",
    "Whatever is raised, the schedule goes on.",
    "S",
    "the loop of the thread that exports catches BaseException",
    Interrupted,
)
def survives(case: ReaderCase) -> None:
    """Let the first scheduled export raise what is no Exception; the next ones deliver."""
    case.script.way = "interrupts"
    case.script.failing = lambda number: number == 1
    case.reader(_OFTEN)
    case.entered()
    if not case.comes(lambda: bool(case.script.delivered)):
        raise Failed("a scheduled export after one that raised a BaseException", "there was none")
    case.observe("exports went on after one that raised a BaseException")


# --- flush -----------------------------------------------------------------------------------------------------------


class SaysTrue(ReaderCanary):
    """Returns True from every flush."""

    def flush(self, seconds: float) -> object:
        try:
            self.inner.flush(seconds)
        except Exception:  # noqa: BLE001, S110 - that is the fault
            pass
        return True


@_clause(
    3,
    "force_flush says so when nothing was delivered",
    "force_flush returns when it is done, and raises or returns False when it is not.",
    "F",
    "the outcome of the export reaches the caller of force_flush",
    SaysTrue,
)
def flush_fails(case: ReaderCase) -> None:
    """Flush with an exporter that fails, in each way that it can."""
    case.script.failing = lambda _number: True
    for way in FAILURES[case.name]:
        case.script.way = way
        driven = case.reader()
        call = case.do("force_flush", lambda one=driven: one.flush(LONG))  # type: ignore[misc]  # binds the loop's value
        case.says_so(call, f"force_flush raises or returns False when the export {way}")


class ReturnsAtOnce(ReaderCanary):
    """Flushes on a thread of its own, and returns."""

    def flush(self, seconds: float) -> object:
        self.case.start("detached flush", lambda: self.inner.flush(seconds))
        return True


@_clause(
    4,
    "force_flush returns after the delivery",
    "On return all data recorded before is delivered.",
    "G",
    "force_flush waits for the export",
    ReturnsAtOnce,
)
def flush_delivers(case: ReaderCase) -> None:
    """Flush while the exporter is held up: it returns after the export has been let go."""
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
    """Waits in a flush for what never comes."""

    def flush(self, seconds: float) -> object:  # noqa: ARG002 - that is the fault
        self.hold()
        return None


@_clause(
    5,
    "force_flush is on time with a hung exporter",
    "force_flush ends when its time is up, and says that nothing was delivered.",
    "G",
    "force_flush waits for the export no longer than its time-out",
    FlushWaits,
)
def flush_on_time(case: ReaderCase) -> None:
    """Flush with a short time-out while the exporter is held up."""
    driven = case.reader()
    case.script.gate.clear()
    call = case.start("force_flush", lambda: driven.flush(BRIEF))
    case.ends(call, f"force_flush ends when its {BRIEF:g} s are up")
    case.says_so(call, "force_flush raises or returns False when its time was up")


# --- shutdown --------------------------------------------------------------------------------------------------------


class ShutsNothing(ReaderCanary):
    """Returns from a shutdown without doing anything."""

    def shutdown(self, seconds: float) -> object:  # noqa: ARG002 - that is the fault
        return None


@_clause(
    6,
    "shutdown delivers what was recorded before",
    "shutdown collects and exports once more.",
    "S",
    "the last collection comes before the exporter's shutdown",
    ShutsNothing,
)
def shutdown_delivers(case: ReaderCase) -> None:
    """Record, shut down, look."""
    driven = case.reader()
    case.record(7)
    case.succeeded(case.do("shutdown", lambda: driven.shutdown(LONG)))
    if 7 not in case.script.delivered:  # noqa: PLR2004 - what was recorded above
        raise Failed("what was recorded before the shutdown is delivered when it returns", "it is not")
    case.observe("what was recorded before the shutdown had been delivered when it returned")


class ShutdownWaits(ReaderCanary):
    """Waits in a shutdown for what never comes."""

    def shutdown(self, seconds: float) -> object:  # noqa: ARG002 - that is the fault
        self.hold()
        return None


@_clause(
    7,
    "shutdown is on time with a hung exporter",
    "shutdown ends when its time is up.",
    "G",
    "shutdown waits for a running export no longer than its time-out",
    ShutdownWaits,
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
        try:
            self.inner.shutdown(seconds)
        except Exception:  # noqa: BLE001, S110 - that is the fault
            pass
        return None


@_clause(
    8,
    "shutdown says so when its last export failed",
    "shutdown raises when the last export fails.",
    "F",
    "the outcome of the last export reaches the caller of shutdown",
    Quiet,
)
def shutdown_fails(case: ReaderCase) -> None:
    """Shut down with an exporter that fails, in each way that it can."""
    case.script.failing = lambda _number: True
    for way in FAILURES[case.name]:
        case.script.way = way
        driven = case.reader()
        call = case.do("shutdown", lambda one=driven: one.shutdown(LONG))  # type: ignore[misc]  # binds the loop's value
        case.says_so(call, f"shutdown raises or returns False when the last export {way}")


class OwnTime(ReaderCanary):
    """Gives the exporter another time than it was given."""

    def shutdown(self, seconds: float) -> object:
        return self.inner.shutdown(seconds + LONG)


@_clause(
    9,
    "shutdown hands the exporter the time that is left",
    "The exporter is shut down within the time of the reader's shutdown.",
    "S",
    "the keyword that the exporter's shutdown takes: timeout_millis",
    OwnTime,
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


@_clause(
    10,
    "a second shutdown does nothing and returns",
    "A second shutdown only warns: the provider calls it again at exit.",
    "S",
    "the exporter is shut down once",
    SecondRaises,
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


@_clause(
    11,
    "nothing is exported after shutdown",
    "After shutdown nothing is sent.",
    "S",
    "force_flush looks at whether the reader has been shut down",
    ExportsOn,
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
