"""SHD: shutting down, once and for good."""

from __future__ import annotations

import gc
import inspect
import os
import tempfile
import threading
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from exporter_core.conformance.base_case import describe_call
from exporter_core.conformance.clause import clause
from exporter_core.conformance.clauses.canary import Canary, Holds, HoldsUntilFlush, Leaks, Serialised, Swallows
from exporter_core.conformance.clauses.flush import flushed_too_late
from exporter_core.conformance.resources import Resources, kept_by_multiprocessing, without_room
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.conformance.scheduled import exercised
from exporter_core.conformance.sdk import WITHOUT_CHANNEL
from exporter_core.errors import ExporterShutdownError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.observe.journal import ObservedCall
    from exporter_core.conformance.observe.tokens import TokenBatch
    from exporter_core.conformance.rounds import Round, Step
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context

_FAILURES = ("status:400", "reset", "garbage", "truncate", "partial:1", "full", "quota", "refuse", "hang")
_LARGE = 2_000  # points of a batch that an exporter may treat in another way
_NO_ROOM = "a full disk"  # where the harness cannot mend what it breaks
_EXPORTS = 3  # before a shutdown
_ASKED = 4  # seconds that a backend asks to wait
_ANSWERED = 0.03  # seconds for an exporter to read that, and to wait
_BACKING_OFF = 0.2  # seconds of a deadline that is over before
_FAILING = 0.2  # seconds in which an export fails
_LOOK = 0.002  # seconds between two looks of a canary
_ENDED = 2.5  # seconds for it to have ended; whoever takes longer is not looked at after failures
_UNWINDING = 1.0  # seconds in which a call has ended that a shutdown has ended
_BESIDE = 0.05  # seconds in which a shutdown has begun
_OTHERS = 32  # descriptors that are not the exporter's
_QUIET = 0.5  # seconds for what might still send; an exporter that keeps something for longer is looked at as it is
_HELD = 5  # batches: more than a shutdown that drops some might leave alone
_RELEASES = "Flush what is held, release every resource, and return; also release when the context is already done."
_HONOURS = "Safe beside every other operation and itself. Honours the deadline and the cancellation of the context."
_AFTERWARDS = "Afterwards export does nothing and raises ExporterShutdownError, and so does a second shutdown."


class DropsBuffer(Holds):
    """Accepts everything, and drops it in shutdown."""


@clause(
    "SHD-01",
    "MUST",
    "flushes what is held",
    words=_RELEASES,
    technique="S",
    check="shutdown delivers before it releases",
    canary=DropsBuffer,
    after=("EXP-01",),
    needs=("read_back",),
)
def flushes(case: Case) -> None:
    """Export some batches, shut down, and read back. If the exporter holds data, then shut down with a batch whose
    flush ended at its deadline, with one that the backend refuses for good, and with one of which it refuses points.
    """
    exporter = case.exporter()
    batches = [case.batch() for _ in range(_HELD)]
    for batch in batches:
        case.accepted(exporter, batch)
    case.succeeded(case.shut_down(exporter))
    case.delivered(*batches, expected="every accepted point has arrived when shutdown returns")
    if case.capabilities.holds and not case.judged_by_sdk and case.canary is None:
        if case.harness.gated:
            _after_late_flush(case)
        _reports_failure(case)


def _after_late_flush(case: Case) -> None:
    """Shut down with a batch held whose flush ended at its deadline, with the gate open: it raises, or delivers."""
    found = flushed_too_late(case)
    if found is not None and case.shut_down(found[0]).error is None:
        case.delivered(
            found[1], expected="a shutdown after a flush that ended at its deadline raises, or delivers the rest"
        )


def _reports_failure(case: Case) -> None:
    """Shut down with a batch held that the backend refuses for good, or some points of it: it raises."""
    if case.refusal is not None:
        _raises_after(case, case.refusal)
    # An exporter of the SDK may log a partial success.
    if {"partial", "ok"} <= case.harness.faults and not case.subject.of_the_sdk:
        _raises_after(case, "partial:2", "ok")


def _raises_after(case: Case, *steps: str) -> None:
    exporter = case.exporter()
    case.harness.fault(*steps)
    call = case.export(exporter)
    if call.error is None:
        case.raised(case.shut_down(exporter), when=f"as what it holds is refused with {steps[0]}")


@clause(
    "SHD-02",
    "MUST",
    "releases threads, descriptors, sockets, children",
    words=_RELEASES,
    technique="Q",
    check="join every thread that was started, close everything that was opened",
    canary=Leaks,
)
def releases(case: Case) -> None:
    """Compare threads, descriptors, sockets, children and temporary files before the exporter is made and after its
    shutdown; likewise after a large batch, after exports that failed, and after a shutdown beside an export in flight,
    with time left and at its deadline.
    """
    before = _before(case)
    with _temporary_files(case) as left:
        exporter = case.exporter()
        for _ in range(_EXPORTS):
            call = case.export(exporter)
        if call.error is not None and case.has_harness:
            raise VerdictError(Verdict.INCONCLUSIVE, f"it may have opened nothing: export, {describe_call(call)}")
        case.succeeded(case.shut_down(exporter))
        _released(case, before)
        _leaves_no_files(left)
    case.observe(f"nothing remains (export: {describe_call(call)})")
    if case.canary is None:
        for step in ("ok", *_FAILURES):
            if {"ok", step.partition(":")[0]} <= _faults(case) and not _nothing_remains_after(case, step):
                return
        _touches_its_own(case)
        if case.has_harness and case.harness.gated:
            for seconds in (None, _FAILING):
                _nothing_remains_beside(case, seconds)


def _nothing_remains_beside(case: Case, seconds: float | None) -> None:
    """Shut down while a delivery waits at the shut gate, with so many seconds or with much time: nothing remains."""
    gc.collect()
    before = Resources.now()
    if _ended_beside(case, seconds):
        case.forget()
        gc.collect()
        when = "with time left" if seconds is None else "at its deadline"
        _released(case, before, f"after a shutdown beside an export in flight, {when}")


def _ended_beside(case: Case, seconds: float | None) -> bool:
    """True if both end once the gate is open; else that is another clause's business."""
    exporter = case.exporter()
    running = case.attempted(partial(case.send_to_gate, exporter))
    if running is None:
        return False
    context = case.long_context() if seconds is None else case.short_context(seconds)
    stopping = case.start("shutdown", partial(exporter.shutdown, context))
    case.until(lambda: stopping.over, seconds=_BESIDE if seconds is None else _ENDED)
    # The guard ends a coroutine that is in flight, before its exporter's shutdown.
    is_judged = not case.judged_by_sdk and not inspect.iscoroutinefunction(case.subject.exporter_class.export)
    is_done = seconds is None and stopping.succeeded and is_judged
    if is_done and not case.until(lambda: running.over, seconds=_UNWINDING):
        expected = "shutdown with time left returns when nothing is in flight any more"
        raise Failed(expected, "it returned while an export was still before the gate")
    case.open()
    return case.until(lambda: stopping.over and running.over and case.journal.is_idle)


@contextmanager
def _temporary_files(case: Case) -> Iterator[Callable[[], list[str]]]:
    """Give the process a folder of its own for temporary files in the block; the function lists what is in it."""
    folder, before = Path(tempfile.mkdtemp(prefix="temporary-", dir=case.directory)), tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        yield lambda: sorted(
            one.name for one in folder.iterdir() if str(one) != kept_by_multiprocessing().get("tempdir")
        )
    finally:
        tempfile.tempdir = before
        kept = kept_by_multiprocessing()
        if Path(kept.get("tempdir") or "").parent == folder:
            kept["tempdir"] = None  # it is gone with this one


def _nothing_remains_after(case: Case, step: str) -> bool:
    """Export twice to a backend that fails in this way, and shut down: the second exporter leaves nothing.

    False if an export does not end, which is another clause's business.
    """
    when = f"after exports that met {step} and a shutdown"
    for number in range(2):
        gc.collect()
        before = Resources.now()  # the harness is set up by now; to read a large batch back each time takes long
        with _temporary_files(case) as left:
            exporter = case.exporter()
            if not _has_failed(case, exporter, step) or not _has_failed(case, exporter, step):
                return False
            # What is held may hang as well, for as long as a shutdown has time for it.
            case.shut_down(exporter, case.short_context(_FAILING) if step == "hang" else None)
            case.forget()
            del exporter
            gc.collect()
            if number:
                _released(case, before, when)
                _leaves_no_files(left, when)
    return True


def _leaves_no_files(left: Callable[[], list[str]], when: str = "after shutdown") -> None:
    if left():
        raise Failed(f"nothing remains {when}", f"temporary files: {', '.join(left())}")


def _has_failed(case: Case, exporter: Driven, step: str) -> bool:
    """Export to a backend that fails in this way, which is over then; False if the export does not end."""
    if step == _NO_ROOM:
        with without_room():
            call = case.send(exporter, case.batch(), case.short_context(_FAILING))
            return case.until(lambda: call.over, seconds=_ENDED)
    case.harness.fault(step)
    batch = case.tokens.large(min(_LARGE, case.points)) if step == "ok" else case.batch()
    call = case.send(exporter, batch, case.short_context(_FAILING))
    # Behind the guard one that ignores its deadline still runs when its call is over.
    ended = case.until(lambda: call.over and case.journal.is_idle, seconds=_ENDED)
    case.harness.fault("ok")
    return ended


def _faults(case: Case) -> frozenset[str]:
    return case.harness.faults if case.has_harness else frozenset()


def _touches_its_own(case: Case) -> None:
    """Shut down, open other files, and shut down again: those files stay open; likewise after a failed export."""
    can = [one for one in ("status:400", "reset", "refuse") if {"ok", one.partition(":")[0]} <= _faults(case)]
    for step in ("", *(can or [_NO_ROOM])):
        exporter = case.exporter()
        if step and not _has_failed(case, exporter, step):
            return  # another clause's business
        if not step:
            case.export(exporter)
            case.shut_down(exporter)
        others = [os.open(os.devnull, os.O_RDONLY) for _ in range(_OTHERS)]
        try:
            case.shut_down(exporter)
            case.forget()
            del exporter
            gc.collect()
            closed = [number for number in others if not _is_open(number)]
        finally:
            for number in others:
                with suppress(OSError):
                    os.close(number)
        if closed:
            when = f"a shutdown after an export that met {step}" if step else "a second shutdown"
            seen = f"it closed descriptor {closed[0]}, which was another's"
            raise Failed(f"{when} closes nothing that is not the exporter's", seen)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _released(case: Case, before: Resources, when: str = "after shutdown") -> None:
    """Fail unless the process gets back to what it had, and the backend sees every connection close."""
    if not case.until(lambda: not before.added(), fault="is_leaking"):
        raise Failed(f"nothing remains {when}", ", ".join(before.added()))
    if case.has_harness and not case.until(lambda: not case.harness.connections()):
        raise Failed("the backend saw every connection close", f"{case.harness.connections()} are open")


def _before(case: Case) -> Resources:
    """Count the process's resources before an exporter is made; the harness is set up first, so as not to count."""
    if case.has_harness:
        case.harness.config()
        case.read_back()
    gc.collect()
    return Resources.now()


class ShutdownLeavesEarly(Canary):
    """Does not shut down with a context that is done."""

    def shutdown(self, context: Context) -> object:
        context.raise_if_done()
        return self.inner.shutdown(context)


@clause(
    "SHD-03",
    "MUST",
    "raises an error when the context is already done, and releases all the same",
    words=_RELEASES,
    technique="X",
    check="release first, then context.raise_if_done()",
    canary=ShutdownLeavesEarly,
    after=("SHD-02", "SHD-06"),
)
def done_before(case: Case) -> None:
    """Shut down with an expired context, then with a cancelled one: it raises, and nothing remains; likewise where
    nothing was ever exported, and where nothing is held any more.
    """
    for name, context in case.done_contexts()[: 1 if case.judged_by_sdk else 2]:
        _shut_down_done(case, context, f"with {name}", case.export)
        if case.canary is None and not case.judged_by_sdk:
            _shut_down_done(case, context, f"with {name}, before any export", lambda _: None)
            if case.has_harness and case.capabilities.holds:
                _shut_down_done(
                    case, context, f"with {name}, after a flush", lambda exporter: case.sent(exporter, case.batch())
                )


def _shut_down_done(case: Case, context: Context, when: str, use: Callable[[Driven], object]) -> None:
    before = _before(case)
    exporter = case.exporter()
    use(exporter)
    stopping = case.shut_down(exporter, context)
    if not case.judged_by_sdk:  # shutdown returns nothing in the SDK, and export afterwards is SHD-06's business
        case.raised(stopping, when=when)
        after = case.export(exporter)
        if not isinstance(after.error, ExporterShutdownError):
            raise Failed(f"shut down, although {when}", f"export afterwards: {describe_call(after)}")
    _released(case, before)
    case.observe(f"nothing remained after a shutdown {when}")


class ShutdownJoins(Serialised):
    """Waits in shutdown for the running export, however long it takes."""

    def shutdown(self, context: Context) -> object:
        with self.turn():
            return self.inner.shutdown(context)


@clause(
    "SHD-04",
    "MUST",
    "deadline and cancellation with an export hung in flight",
    words=_HONOURS,
    technique="G",
    check="the wait for a running export ends with shutdown's context",
    canary=ShutdownJoins,
    needs=("gate", "deadline"),
)
def hung(case: Case) -> None:
    """Shut down while an export waits at the shut gate: one shutdown has a deadline, another is cancelled; then while
    one waits to try again, as the backend asked it to. Last, shut down with a deadline while another shutdown
    waits for what is at the gate; where data is held, export so as well.
    """
    _stopped(case, "at its deadline")
    if case.cancellable:
        _stopped(case, "when it is cancelled")
    if "retry-after" in case.harness.faults and case.canary is None:
        _stopped_in_backoff(case)
    if case.canary is None and not case.judged_by_sdk:  # the SDK calls shutdown once
        _beside_shutdown(case)


def _beside_shutdown(case: Case) -> None:
    """Shut down while another shutdown with much time waits for what is at the shut gate: it ends at its deadline, or
    at once; likewise an export where data is held. Elsewhere one is in flight, and there is one at a time.

    What is refused at once on a busy machine is late in itself: only one that does not end says that it waits.
    """
    if case.capabilities.holds:
        case.shut()
        found = _flush_at_gate(case)
    else:
        found = _sent_to_gate(case)
    if found is None:
        return
    exporter, metrics = found.exporter, found.batch.metrics
    waiting = case.started("shutdown", partial(exporter.shutdown, case.long_context()))
    context = case.short_context()
    calls = [case.start("shutdown", partial(exporter.shutdown, context), context)]
    if case.capabilities.holds:
        calls.append(case.start("export", partial(exporter.export, context, metrics), context))
    for call in calls:
        case.ends(call, f"{call.name} ends at its deadline beside a shutdown that waits")
        case.observe(f"{call.name} beside a shutdown that waits: {describe_call(call)}")
    case.open_for(found.running, waiting)


def _stopped_in_backoff(case: Case) -> None:
    def begun(context: Context) -> ObservedCall:
        exporter, before = case.exporter(), case.harness.requests()
        case.harness.fault(f"retry-after:{_ASKED}")
        export = case.send(exporter, case.batch())
        case.until(lambda: export.over or case.harness.requests() > before)
        export.wait(_ANSWERED)
        return case.started("shutdown", lambda: exporter.shutdown(context), context)

    stopping = begun(case.short_context(_BACKING_OFF))
    case.ends_with_context(stopping, "shutdown ends at its deadline beside an export that waits to try again", begun)
    case.observe(f"beside a back-off: {describe_call(stopping)}{stopping.late}")
    case.harness.fault("ok")


def _stopped(case: Case, how: str) -> None:
    parked: list[ObservedCall] = []

    def set_free() -> None:
        if parked:
            case.open_for(parked.pop())

    def begun(own: Context | None = None) -> ObservedCall:
        set_free()
        exporter = case.exporter()
        parked.append(case.send_to_gate(exporter))
        context = own or (case.short_context() if how == "at its deadline" else case.background_context())
        return case.started("shutdown", lambda: exporter.shutdown(context), context)

    stopping = begun()
    if how == "when it is cancelled":
        stopping.cancel()
    case.ends_with_context(stopping, f"shutdown ends {how}", begun)
    case.observe(f"shutdown ended {how}, while the gate was shut{stopping.late}")
    set_free()


class StillSends(Canary):
    """Sends after its shutdown, and answers as before all the same."""

    _down = False

    def export(self, context: Context, metrics: MetricsData) -> object:
        if self._down:
            other = self.case.plain_exporter()
            other.export(context, metrics)
            other.shutdown(context)
        return self.inner.export(context, metrics)

    def shutdown(self, context: Context) -> object:
        self._down = True
        return self.inner.shutdown(context)


@clause(
    "SHD-05",
    "MUST",
    "export after shutdown sends nothing",
    words=_AFTERWARDS,
    technique="S",
    check="check the shutdown flag before anything is sent",
    canary=StillSends,
    needs=("read_back",),
)
def nothing_sent(case: Case) -> None:
    """Export after shutdown, flush, and read back when no thread or connection that could still send is left."""
    before, batch = _before(case), case.batch()
    exporter = case.exporter()
    case.succeeded(case.shut_down(exporter))
    case.export(exporter, batch)
    case.flush(exporter)
    if not case.until(lambda: not before.added() and not case.harness.connections(), seconds=_QUIET):
        case.journal.stamp("note", f"not quiet: {', '.join(before.added()) or 'a connection is open'}")
    arrived = set(batch.tokens).intersection(case.arrived())
    if arrived:
        seen = f"{len(arrived)} of its {len(batch.points)} points arrived"
        raise Failed("nothing of an export after shutdown arrives", seen)
    case.observe("none of its points arrived")


class ReturnsAfterShutdown(Swallows):
    """Returns from an export after shutdown."""


@clause(
    "SHD-06",
    "MUST",
    "export after shutdown raises the shutdown error",
    words=_AFTERWARDS,
    technique="S",
    check="raise ExporterShutdownError in export once shutdown was called",
    canary=ReturnsAfterShutdown,
)
def export_after(case: Case) -> None:
    """Export after shutdown, with time left and with a done context; then flush, which returns."""
    exporter = case.exporter()
    case.succeeded(case.shut_down(exporter))
    # A raw async def export may be cancelled by a context that is done before its first line is run.
    is_cancelled = case.mode == "raw" and inspect.iscoroutinefunction(case.subject.exporter_class.export)
    done = () if is_cancelled or case.judged_by_sdk else case.done_contexts()
    for name, context in (("time left", case.long_context()), *done):
        call = case.export(exporter, context=context)
        case.raised(call, ExporterShutdownError, when=f"after shutdown, with {name}")
    if not case.judged_by_sdk:
        case.succeeded(case.flush(exporter))


class SecondShutdownReturns(Canary):
    """Returns from every shutdown."""

    def shutdown(self, context: Context) -> object:
        try:
            return self.inner.shutdown(context)
        except ExporterShutdownError:
            return None


@clause(
    "SHD-07",
    "MUST",
    "a second shutdown raises the shutdown error",
    words=_AFTERWARDS,
    technique="S",
    check="raise ExporterShutdownError in every shutdown but the first",
    canary=SecondShutdownReturns,
)
def second(case: Case) -> None:
    """Shut down twice."""
    exporter = case.exporter()
    case.succeeded(case.shut_down(exporter))
    call = case.shut_down(exporter)
    case.raised(call, ExporterShutdownError, when="the second time")


class CheckThenSet(Canary):
    """Checks whether it is shut down, and sets the flag in a second step."""

    seed = 1
    _down = False

    def shutdown(self, context: Context) -> object:
        if self._down:
            raise ExporterShutdownError("shut down already")
        self.between()
        self._down = True
        try:
            return self.inner.shutdown(context)
        except ExporterShutdownError:
            return None


@clause(
    "SHD-08",
    "MUST",
    "of several shutdowns at once one wins, and resources are released once",
    words=_AFTERWARDS,
    technique="P",
    check="check and set the flag in one step, under a lock",
    canary=CheckThenSet,
    after=("EXP-01", "EXP-03", "SHD-01", "SHD-07"),
)
def one_winner(case: Case) -> None:
    """Run three shutdowns at once: one returns, the others raise the shutdown error; held data arrives once."""

    def scenario(one: Round) -> None:
        exporter = one.exporter()
        batch = case.batch(1)
        if case.has_harness:
            one.accepted(exporter, batch)
        shutdowns = [one.shutdown(exporter) for _ in range(3)]
        one.beside(*([step] for step in shutdowns))
        if not case.judged_by_sdk:  # it calls shutdown once
            _one_won(shutdowns)
        if case.has_harness:
            one.delivered(batch, expected="what is held arrives once")
            one.closed_once()

    exercised(case, scenario, "one of three shutdowns won")
    if case.judged_by_sdk:
        raise VerdictError(Verdict.INEXPRESSIBLE, f"{WITHOUT_CHANNEL['SHD-07'][1]}; nothing was released twice")


def _one_won(shutdowns: Sequence[Step]) -> None:
    expected = "one of three shutdowns returns, and the others raise ExporterShutdownError"
    for step in shutdowns:
        if step.error is not None and not isinstance(step.error, ExporterShutdownError):
            raise Failed(expected, describe_call(step))
    winners = sum(step.error is None for step in shutdowns)
    if winners != 1:
        raise Failed(expected, f"{winners} of 3 returned")


class FlagAfterDrain(HoldsUntilFlush):
    """Holds batches, delivers them in shutdown, and accepts more until that is done."""

    seed = 3
    _down = False

    def export(self, context: Context, metrics: MetricsData) -> object:
        if self._down:
            raise ExporterShutdownError("shut down")
        return super().export(context, metrics)

    def shutdown(self, context: Context) -> object:
        for metrics in tuple(self.held):
            self.inner.export(context, metrics)
        self.between()
        self._down = True
        return self.inner.shutdown(context)


@clause(
    "SHD-09",
    "MUST",
    "an export during a shutdown never both succeeds and is lost",
    words=_AFTERWARDS,
    technique="P",
    check="refuse exports before the last delivery begins, under the lock that export accepts under",
    canary=FlagAfterDrain,
    derived=True,
    after=("EXP-03", "SHD-01", "SHD-06"),
    needs=("read_back",),
)
def accepted_or_refused(case: Case) -> None:
    """Run three exports of one caller during a shutdown: those that return are delivered; one begun later raises."""

    def scenario(one: Round) -> None:
        exporter = one.exporter()
        batches = [case.batch(1) for _ in range(3)]
        exports = [one.export(exporter, batch) for batch in batches]
        stopping = one.shutdown(exporter)
        one.beside(exports, [stopping])
        case.succeeded(stopping)
        for export in exports:
            if export.begun > stopping.ended and not case.is_refusal(export.error):
                raise Failed(
                    "an export that begins when shutdown has returned raises ExporterShutdownError",
                    describe_call(export),
                )
        successes = [batch for batch, export in zip(batches, exports, strict=True) if export.error is None]
        one.delivered(
            *successes, expected="what an export accepted has arrived, once, when both it and shutdown returned"
        )

    exercised(case, scenario, "no export beside shutdown both succeeded and was lost")


class Resurrects(Canary):
    """Works again after a shutdown that failed."""

    def shutdown(self, context: Context) -> object:
        try:
            return self.inner.shutdown(context)
        except Exception:
            self.inner = self.case.plain_exporter()
            raise


@clause(
    "SHD-10",
    "SHOULD",
    "a shutdown that timed out is final",
    words=_AFTERWARDS,
    technique="G",
    check="the state changes before the wait, and is not changed back",
    canary=Resurrects,
    derived=True,
    after=("SHD-04", "SHD-06"),
    needs=("gate", "deadline"),
)
def final(case: Case) -> None:
    """Let a shutdown time out while an export hangs, open the gate, and export again."""
    exporter = case.exporter()
    export = case.send_to_gate(exporter)
    stopping = case.start("shutdown", lambda: exporter.shutdown(case.short_context()))
    case.ends(stopping, "shutdown ends at its deadline")
    case.open_for(export)
    case.raised(case.export(exporter), ExporterShutdownError, when="after a shutdown that timed out")
    if not case.judged_by_sdk:
        case.raised(case.shut_down(exporter), ExporterShutdownError, when="after one that timed out")


class Abandons(Canary):
    """Lets an export return as if it were done as soon as a shutdown begins, and shuts nothing down."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._stopping = threading.Event()

    def export(self, context: Context, metrics: MetricsData) -> object:
        call = self.case.start("abandoned export", lambda: self.inner.export(context, metrics))
        while not call.wait(_LOOK):
            if self._stopping.is_set():
                return None
        if call.error is not None:
            raise call.error
        return None

    def shutdown(self, context: Context) -> object:  # noqa: ARG002 - that is the fault
        self._stopping.set()
        return None


@clause(
    "SHD-11",
    "MUST",
    "a shutdown with time left beside an export in flight delivers or reports",
    words=_RELEASES,
    technique="G",
    check="shutdown waits for the running export as long as its context lasts; an export that it ends raises",
    canary=Abandons,
    derived=True,
    after=("EXP-01", "SHD-01"),
    needs=("read_back", "gate"),
)
def beside_export(case: Case) -> None:
    """Shut down with much time while a delivery waits at the shut gate, and look for some seconds, after which most
    time-outs of an exporter's own are over, or until every thread waits for another one: nothing returns as if it were
    done that is not. Where data is held, also beside a flush that waits there.
    """
    case.shut()
    starts = [_flush_at_gate] * (case.capabilities.holds and case.canary is None) + [_export_at_gate]
    found = [one for start in starts if (one := start(case)) is not None]
    stops = [case.start("shutdown", partial(one.exporter.shutdown, case.ample_context())) for one in found]
    calls = [*stops, *(one.running for one in found)]
    case.await_own_limit(lambda: all(call.over for call in calls))
    for one, stopping in zip(found, stops, strict=True):
        _nothing_claimed(case, one, stopping, " while the gate was shut")
    case.open_for(*calls)
    for one, stopping in zip(found, stops, strict=True):
        _nothing_claimed(case, one, stopping, "")
        ends = f"shutdown, {describe_call(stopping)}; {one.running.name}, {describe_call(one.running)}"
        case.observe(f"beside a delivery in flight: {ends}")


class _InFlight(NamedTuple):
    """A delivery that waits at the shut gate, or will as soon as something asks for it."""

    exporter: Driven
    batch: TokenBatch
    running: ObservedCall
    """The export, or the flush."""
    is_held: bool = True
    """True if an export has accepted the batch."""


def _sent_to_gate(case: Case) -> _InFlight:
    exporter, batch = case.exporter(), case.batch()
    return _InFlight(exporter, batch, case.send_to_gate(exporter, batch))


def _export_at_gate(case: Case) -> _InFlight:
    exporter, batch = case.exporter(), case.batch()
    call = case.start("export", partial(exporter.export, case.long_context(), batch.metrics))
    is_held = case.capabilities.holds and case.until(lambda: call.over, seconds=_ENDED)
    if not is_held:  # nor does one hold data that delivers by itself, and waits for that
        case.await_entry(call)
    return _InFlight(exporter, batch, call, is_held)


def _flush_at_gate(case: Case) -> _InFlight | None:
    """None if the flush does not come to the gate, such as where nothing is left to flush."""
    exporter, batch = case.exporter(), case.batch()
    call = case.start("export", partial(exporter.export, case.long_context(), batch.metrics))
    if not case.until(lambda: call.succeeded, seconds=_ENDED):
        return None
    flush = case.start("force_flush", partial(exporter.force_flush, case.long_context()))
    case.attempted(partial(case.await_entry, flush))
    return None if flush.over else _InFlight(exporter, batch, flush)


def _nothing_claimed(case: Case, one: _InFlight, stopping: ObservedCall, when: str) -> None:
    """Fail if the export, or where data is held the shutdown, has returned without a delivery; a flush is FLU-01's."""
    claims = stopping if one.is_held else one.running
    if one.running.error is None and claims.succeeded and not case.has_arrived(one.batch):
        raise Failed(
            f"{claims.name} beside the other returns when the data is delivered, or raises", f"it returned{when}"
        )
