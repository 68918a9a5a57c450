"""RDR: what a reader promises, whoever's it is."""

from __future__ import annotations

import gc
import os
import threading
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from exporter_core.conformance.base_case import describe_call
from exporter_core.conformance.clause import READERS, Clause, clause, registered, select
from exporter_core.conformance.clauses.python import in_child
from exporter_core.conformance.observe.noise import NoiseMeter
from exporter_core.conformance.readers.case import BRIEF, LONG, ReaderCanary, ReaderCase
from exporter_core.conformance.readers.rig import FAILURES, DrivenReader
from exporter_core.conformance.resources import Resources
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError

if TYPE_CHECKING:
    from collections.abc import Sequence


_OFTEN: Final = 0.01  # seconds between two exports of a reader whose schedule is tried
_SETTLE: Final = 0.02  # seconds in which a flush that does not wait is caught; it decides nothing else
_SEVERAL: Final = 4  # flushes, or readers
_INTERVAL: Final = 0.25  # seconds between two exports of a reader that is busy with them
_BUSY, _SHORT = 0.8, 0.8  # parts of it: what an export takes, and what a pause is shorter than
_TICKS: Final = 8  # exports until a schedule without a short pause is taken to drift


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
    call = case.start("force_flush", lambda: driven.flush(BRIEF), case.short_context(BRIEF))
    case.in_time(call, f"force_flush ends when its {BRIEF:g} s are up")
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
    call = case.start("shutdown", lambda: driven.shutdown(BRIEF), case.short_context(BRIEF))
    case.in_time(call, f"shutdown ends when its {BRIEF:g} s are up")
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


# --- several readers, and many ---------------------------------------------------------------------------------------


@clause(
    "RDR-12",
    "MUST",
    "every failed export is told: what was recorded is delivered or reported",
    words="Every failure is raised or reported, once.",
    technique="F",
    check="each failed export reaches the caller, or the error handler, of a flush as well as of a shutdown",
    canary=SaysTrue,
)
def accounted(case: ReaderCase) -> None:
    """Let every other export fail, flush some times and shut down: each export delivered, or its failure was told."""
    case.script.way, case.script.failing = FAILURES[case.name][0], lambda number: number % 2 == 1
    driven = case.reader()
    calls = [case.do("force_flush", lambda: driven.flush(LONG)) for _ in range(_SEVERAL)]
    calls.append(case.do("shutdown", lambda: driven.shutdown(LONG)))
    failed = case.script.begun - len(case.script.delivered)
    told = len(driven.reports) + sum(call.error is not None or call.result is False for call in calls)
    if told != failed:
        raise Failed("each failed export is told once", f"{failed} exports failed, and {told} failures were told")
    case.observe(f"of {case.script.begun} exports {failed} failed, and each failure was told")


class FlushesFirstAlone(ReaderCanary):
    """Delivers nothing in a flush once an exporter was called."""

    def flush(self, seconds: float) -> object:
        return True if self.case.script.begun else self.inner.flush(seconds)


@clause(
    "RDR-13",
    "MUST",
    "two readers of one provider each deliver what was recorded, and wait for themselves alone",
    words="Each reader collects for itself; a hung exporter holds up its own reader only.",
    technique="G",
    check="collecting takes nothing from another reader, and no lock is held while an exporter works",
    canary=FlushesFirstAlone,
)
def beside_another(case: ReaderCase) -> None:
    """Flush one of two readers whose other exporter is held up, then the other one: both deliver."""
    scripts = [case.script, case.another_script()]
    first, second = case.readers(*map(case.exporter, scripts))
    case.record(7)
    case.script.gate.clear()
    parked = case.start("force_flush", lambda: first.flush(LONG))
    case.entered()
    case.succeeded(case.do("force_flush of the other reader", lambda: second.flush(LONG)))
    case.script.gate.set()
    case.ends(parked, "force_flush ends once the exporter is let go")
    for script in scripts:
        if 7 not in script.delivered:  # noqa: PLR2004 - what was recorded above
            raise Failed("what was recorded is delivered by each of two readers", "one has not delivered it")
    case.observe("both readers delivered, one of them while the exporter of the other was held up")


class ExportsBeside(ReaderCanary):
    """Exports in a flush without a look at who else does."""

    def flush(self, seconds: float) -> object:
        self.case.start("detached flush", lambda: self.inner.flush(seconds))
        self.case.script.begun += 1
        return True


@clause(
    "RDR-14",
    "MUST",
    "an exporter that two readers share is called by one of them at a time",
    words="Called by one caller at a time.",
    technique="G",
    check="whoever exports waits for the turn of the exporter, not of the reader",
    canary=ExportsBeside,
)
def shared(case: ReaderCase) -> None:
    """Flush two readers over one exporter that is held up: the second export begins after the first."""
    exporter = case.exporter(case.script)
    first, second = case.readers(exporter, exporter)
    case.script.gate.clear()
    calls = [case.start("force_flush", lambda: first.flush(LONG))]
    case.entered()
    calls.append(case.start("force_flush", lambda: second.flush(LONG)))
    if case.until(lambda: case.script.begun > 1, seconds=_SETTLE, fault=None):
        raise Failed("one export at a time of a shared exporter", "a second one began while the first was held up")
    case.script.gate.set()
    for call in calls:
        case.ends(call, "force_flush ends once the exporter is let go")
        case.succeeded(call)
    case.observe("the second reader exported after the first")


class Drifts(ReaderCanary):
    """Rests for an interval after each export."""

    def __init__(self, case: ReaderCase, inner: DrivenReader) -> None:
        super().__init__(case, inner)
        case.script.rest = _INTERVAL


@clause(
    "RDR-15",
    "SHOULD",
    "the time that an export takes does not shift the schedule",
    words="Exports at the interval, counted from the beginning of one to that of the next.",
    technique="S",
    check="the next wait ends at a time of the schedule, not an interval after the export",
    canary=Drifts,
    derived=True,
)
def keeps_schedule(case: ReaderCase) -> None:
    """Let each export take most of an interval: the pause to the next one is shorter than the interval.

    One short pause shows it, since a pause of a whole interval is never short; slow machines only make them longer.
    """
    case.script.seconds = _BUSY * _INTERVAL
    case.reader(_INTERVAL)
    ticks = _TICKS if case.canary is None else 2
    noise = NoiseMeter(lambda: case.script.begun >= ticks)
    case.until(lambda: case.script.begun >= ticks or _shortest(case) < _SHORT * _INTERVAL, fault=None)
    if _shortest(case) < _SHORT * _INTERVAL:
        case.observe(f"an export began {1000 * _shortest(case):.0f} ms after the end of the one before it")
        return
    if case.canary is None and noise.seconds > _BUSY * _INTERVAL / 2:
        raise VerdictError(Verdict.INCONCLUSIVE, f"a machine that was {noise.seconds * 1000:.0f} ms late itself")
    seen = f"{1000 * _shortest(case):.0f} ms is the shortest of {case.script.begun - 1} pauses"
    raise Failed(f"pauses between exports shorter than the interval of {1000 * _INTERVAL:.0f} ms", seen)


def _shortest(case: ReaderCase) -> float:
    """Seconds of the shortest pause between two exports so far."""
    events = [event for event in case.journal.events if event.text.startswith("export ")]
    pairs = [(one, other) for one, other in pairwise(events) if (one.kind, other.kind) == ("leave", "enter")]
    return min((other.seconds - one.seconds for one, other in pairs), default=float("inf"))


class LeaksThread(ReaderCanary):
    """Starts a thread for each reader, and keeps it."""

    def __init__(self, case: ReaderCase, inner: DrivenReader) -> None:
        super().__init__(case, inner)
        threading.Thread(target=self.released.wait, name="leaked", daemon=True).start()

    @property
    def is_leaking(self) -> bool:
        return not self.released.is_set()


@clause(
    "RDR-16",
    "SHOULD",
    "nothing remains of readers that were shut down",
    words="Python hygiene: what is made again and again must not pile up.",
    technique="Q",
    check="shutdown ends the thread that exports, and waits for its end",
    canary=LeaksThread,
    hygiene=True,
)
def leaves_nothing(case: ReaderCase) -> None:
    """Make, use and shut down readers: no thread or descriptor of theirs remains."""

    def cycle() -> None:
        driven = case.reader()
        case.do("force_flush", lambda: driven.flush(LONG))
        case.do("shutdown", lambda: driven.shutdown(LONG))

    cycle()
    gc.collect()
    before = Resources.now()
    for _ in range(_SEVERAL):
        cycle()
    case.forget()
    gc.collect()
    if not case.until(lambda: not before.added(), fault="is_leaking"):
        raise Failed(f"nothing remains of {_SEVERAL} readers", ", ".join(before.added()))
    case.observe(f"nothing remained of {_SEVERAL} readers")


class DeafInChild(ReaderCanary):
    """Delivers nothing in a forked child."""

    def __init__(self, case: ReaderCase, inner: DrivenReader) -> None:
        super().__init__(case, inner)
        self._parent = os.getpid()

    def flush(self, seconds: float) -> object:
        return self.inner.flush(seconds) if os.getpid() == self._parent else True


@clause(
    "RDR-17",
    "SHOULD",
    "a forked child delivers what it records, and its parent goes on",
    words="Python hygiene: os.fork copies locks in the state in which they are, and no thread.",
    technique="C",
    check="os.register_at_fork(after_in_child=...) renews locks and the thread that exports",
    canary=DeafInChild,
    hygiene=True,
)
def forked(case: ReaderCase) -> None:
    """Fork while an export is held up: the child records and flushes; then the parent's export ends, and a new one."""
    driven = case.reader()
    case.script.gate.clear()
    parked = case.start("force_flush", lambda: driven.flush(LONG))
    case.entered()

    def child() -> str:
        case.script.gate.set()
        case.record(7)
        call = case.do("force_flush", lambda: driven.flush(LONG))
        return "" if 7 in case.script.delivered else f"not delivered: {describe_call(call)}"  # noqa: PLR2004 - as above

    seen = in_child(case, child)
    if seen:
        raise Failed("a child delivers what it records", seen)
    case.script.gate.set()
    case.ends(parked, "the parent's export ends once the exporter is let go")
    case.record(9)
    case.do("force_flush", lambda: driven.flush(LONG))
    if 9 not in case.script.delivered:  # noqa: PLR2004 - what was recorded above
        raise Failed("the parent goes on", "what it recorded after the fork is not delivered")
    case.observe("the child delivered what it recorded, and the parent went on")
