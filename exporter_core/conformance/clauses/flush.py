"""FLU: what force_flush promises."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from exporter_core.conformance.base_case import SHORT, describe_call
from exporter_core.conformance.clause import clause
from exporter_core.conformance.clauses.canary import Holds, HoldsUntilFlush, IgnoresContext, Serialised, Swallows
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.conformance.scheduled import exercised

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.observe.journal import ObservedCall
    from exporter_core.conformance.observe.tokens import TokenBatch
    from exporter_core.conformance.rounds import Round, Step
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context

_WAITING = 1.3  # seconds of a flush's deadline: more than one that waits for a second
_TRYING = 0.5  # seconds for a flush to end whose deadline has passed
_REFUSED = "status:400"
_WORDS = "Return when everything accepted before is delivered, or raise."
_HONOURS = "Safe beside every other operation and itself. Honours the deadline and the cancellation of the context."


class FlushesEarly(Holds):
    """Accepts everything, and returns from a flush before it is delivered."""

    def force_flush(self, context: Context) -> object:  # noqa: ARG002 - that is the fault
        return None


@clause(
    "FLU-01",
    "MUST",
    "on return all accepted data is readable at the backend",
    words=_WORDS,
    technique="G",
    check="force_flush waits for the delivery, not for its beginning",
    canary=FlushesEarly,
    after=("EXP-01",),
    needs=("read_back",),
)
def readable(case: Case) -> None:
    """Flush before anything was exported, which returns. Export, and read back as soon as the flush returns; if the
    exporter holds data, the gate is shut until the flush waits there. Then hold one whose export's context ends before
    the flush, and two batches, of which one is never answered. Last, flush with much time while the gate is shut, and
    look for some seconds, after which most time-outs of an exporter's own are over.

    An exporter that delivers early, such as on a thread of its own, may have nothing left when the gate is shut.
    """
    exporter = case.exporter()
    nothing = case.flush(exporter)
    if nothing.error is not None:
        expected = "force_flush returns where nothing was exported yet"
        raise Failed(expected, describe_call(nothing)) from nothing.error
    batches = [case.batch(), case.batch()]
    for batch in batches:
        case.accepted(exporter, batch)
    gated = case.capabilities.holds and case.harness.gated
    if gated:
        case.shut()
    flush = case.start("force_flush", lambda: exporter.force_flush(case.long_context()))
    if gated:
        try:
            case.await_entry(flush)
        except VerdictError:
            if not flush.succeeded:
                raise
        tokens = {token for batch in batches for token in batch.tokens}
        if flush.ends_unasked() and not (flush.succeeded and tokens.issubset(case.arrived())):
            raise Failed(
                "force_flush returns when its data is delivered", f"{describe_call(flush)} while the gate was shut"
            )
        case.open()
    case.ends(flush, "force_flush ends")
    case.succeeded(flush)
    case.delivered(*batches, expected="every accepted point is readable when force_flush returns")
    if gated and case.canary is None:
        _after_deadline(case)
        _context_is_over(case)
        if "hang" in case.harness.faults:
            _beside_a_hung_one(case)
        _waits_as_long_as_it_takes(case)


def _waits_as_long_as_it_takes(case: Case) -> None:
    exporter, batch = case.exporter(), case.batch()
    case.shut()
    call = case.start("export", partial(exporter.export, case.long_context(), batch.metrics))
    if not case.until(lambda: call.succeeded, seconds=_TRYING):
        return  # it delivers by itself, and waits for that
    flush = case.start("force_flush", partial(exporter.force_flush, case.ample_context()))
    case.await_own_limit(lambda: flush.over)
    if flush.succeeded and not case.has_arrived(batch):
        seen = f"it returned after {flush.seconds:.1f} s, while the gate was shut"
        raise Failed("force_flush returns when its data is delivered, or raises", seen)
    case.open_for(flush)


def _context_is_over(case: Case) -> None:
    """Cancel the context of an export that has returned, with the gate shut: the batch has been accepted."""
    if not case.cancellable:
        return
    exporter, batch, context = case.exporter(), case.batch(), case.background_context()
    case.shut()
    call = case.start("export", lambda: exporter.export(context, batch.metrics), context)
    held = case.until(lambda: call.over, seconds=_TRYING)  # or it delivers by itself, and waits for that
    if held:
        context.cancel("by the clause")
    case.open()
    if held and call.error is None:
        flush = case.flush(exporter)
        if flush.error is not None:
            expected = "force_flush delivers a batch whose export's context has ended since"
            raise Failed(expected, describe_call(flush)) from flush.error
        case.delivered(batch, expected="what export accepted is delivered, though its context has ended since")


def _beside_a_hung_one(case: Case) -> None:
    """Hold two batches, of which the one that is sent first is never answered: a flush that returns has lost it."""
    exporter, batches, context = case.exporter(), [case.batch() for _ in range(2)], case.short_context(_WAITING)
    case.harness.fault("hang", "ok")
    for batch in batches:
        call = case.start("export", lambda: exporter.export(context, batch.metrics), context)  # noqa: B023 - awaited here
        if not case.until(lambda: call.succeeded, seconds=_TRYING):  # noqa: B023 - as above
            return  # it delivers by itself, and waits for that
    flush = case.start("force_flush", lambda: exporter.force_flush(context), context)
    case.until(lambda: flush.over, seconds=_WAITING + _TRYING)
    if flush.succeeded and not all(case.has_arrived(batch) for batch in batches):
        raise Failed("force_flush returns when every batch is delivered", "it returned with one that was not answered")
    case.harness.fault("ok")


def _after_deadline(case: Case) -> None:
    """Flush with a deadline that passes at the gate, and again once that is open: that raises, or delivers."""
    found = flushed_too_late(case)
    if found is not None and case.flush(found[0]).error is None:
        case.delivered(found[1], expected="a flush after one that ended at its deadline raises, or delivers the rest")


def flushed_too_late(case: Case) -> tuple[Driven, TokenBatch] | None:
    """Hold a batch, let a flush's deadline pass at the shut gate, and open that: the exporter holds the batch still.

    None if the flush ends in another way, which is another clause's business.
    """
    for seconds in (SHORT, _TRYING):  # a busy machine may not get to the gate in the shorter one
        exporter, batch = case.exporter(), case.batch()
        case.accepted(exporter, batch)
        case.shut()
        context = case.short_context(seconds)
        first = case.start("force_flush", lambda: exporter.force_flush(context), context)  # noqa: B023 - awaited here
        has_entered = case.until(lambda: case.harness.entered() or first.over, seconds=_TRYING) and not first.over  # noqa: B023 - as above
        ended = case.until(lambda: first.over, seconds=_TRYING + seconds)  # noqa: B023 - as above
        case.open()
        if not ended or first.error is None or not case.until(lambda: case.journal.is_idle):
            return None
        if has_entered:
            break
    return exporter, batch


@clause(
    "FLU-02",
    "MUST",
    "raises an error when the context is already done",
    words=_HONOURS,
    technique="X",
    check="context.raise_if_done() in force_flush, also where nothing is held",
    canary=IgnoresContext,
)
def done_before(case: Case) -> None:
    """Flush with an expired context, then with a cancelled one; likewise after an export, and where data is held, after
    a flush.
    """
    exporter = case.exporter()
    uses: list[tuple[str, Callable[[], object]]] = [("", lambda: None)]
    if case.has_harness and case.canary is None:
        uses.append((", after an export", lambda: case.export(exporter)))
        if case.capabilities.holds:
            uses.append((", after a flush", lambda: case.sent(exporter, case.batch())))
    for when, use in uses:
        for name, context in case.done_contexts():
            use()
            case.raised(case.flush(exporter, context), when=f"with {name}{when}")


class FlushWaits(Serialised):
    """Waits in a flush for the running export or flush, however long it takes."""


@clause(
    "FLU-03",
    "MUST",
    "deadline and cancellation on a hung backend",
    words=_HONOURS,
    technique="G",
    check="every wait in force_flush, that for the lock of export included, ends with its context",
    canary=FlushWaits,
    needs=("gate", "deadline"),
)
def hung(case: Case) -> None:
    """Flush while a delivery waits at the shut gate: first with a deadline, then cancelled."""
    exporter = case.exporter()
    parked = case.send_to_gate(exporter)
    _flushed(case, exporter, case.short_context(), "at its deadline")
    if case.cancellable:
        _flushed(case, exporter, case.background_context(), "when it is cancelled")
    if parked.over:
        raise VerdictError(Verdict.INCONCLUSIVE, "the delivery that was parked has ended")


def _flushed(case: Case, exporter: Driven, context: Context, when: str) -> None:
    def begun(context: Context) -> ObservedCall:
        return case.started("force_flush", lambda: exporter.force_flush(context), context)

    flush = begun(context)
    if when == "when it is cancelled":
        flush.cancel()
    case.ends_with_context(flush, f"force_flush ends {when}", begun)
    if case.capabilities.holds:  # the batch that is parked was accepted before, and is not delivered
        case.raised(flush, when=f"{when}, while the gate was shut")
    else:
        case.observe(f"force_flush ended {when}, while the gate was shut{flush.late}")


@clause(
    "FLU-04",
    "MUST",
    "a failed flush is reported",
    words=_WORDS,
    technique="F",
    check="force_flush raises what its delivery raised",
    canary=Swallows,
    needs=("read_back",),
)
def reported(case: Case) -> None:
    """Export and flush to a backend that refuses for good: the export or the flush raises."""
    if not case.capabilities.holds:
        raise VerdictError(Verdict.NOT_APPLICABLE, "it holds nothing, so that no flush delivers anything")
    step = case.refusal
    if step is None:
        raise VerdictError(Verdict.UNOBSERVABLE, "the harness cannot let a delivery fail for good")
    exporter, batch = case.exporter(), case.batch()
    case.harness.fault(step)
    call = case.export(exporter, batch)
    if call.error is None:
        call = case.flush(exporter)
    case.raised(call, when=f"with {step.replace(':', ' ')}")
    if step == _REFUSED and case.canary is None:
        _one_of_three(case)


def _one_of_three(case: Case) -> None:
    """Hold three batches, of which the backend refuses the first request: each is delivered, or reported."""
    exporter, batches, calls = case.exporter(), [case.batch() for _ in range(3)], []
    case.harness.fault(_REFUSED, "ok")
    calls += [case.export(exporter, batch) for batch in batches]
    for _ in batches:
        calls.append(case.flush(exporter))
        if calls[-1].error is None:
            break
    errors = sum(call.error is not None for call in calls)
    if not errors:
        raise Failed("an export or a flush raises, as the first of three batches was refused", "all of them returned")
    arrived = set(case.arrived())
    lost = sum(token not in arrived for batch in batches for token in batch.tokens)
    refused = sum(one.points for one in case.harness.wire_log() if one.stored is None)
    if refused and lost > refused:
        raise Failed("what is not delivered is reported", f"{lost} points lost, {refused} of them refused")


class UnlockedSwap(HoldsUntilFlush):
    """Holds batches, and loses those that arrive between the delivery of the others and the new, empty list."""

    seed = 38

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._flushing = threading.Lock()

    def force_flush(self, context: Context) -> object:
        with self._flushing:
            for metrics in tuple(self.held):
                self.inner.export(context, metrics)
            self.between()
            self.held = []
        return self.inner.force_flush(context)


@clause(
    "FLU-05",
    "MUST",
    "concurrent with itself, export, shutdown",
    words=_HONOURS,
    technique="P",
    check="take out the held data and replace it in one step, under the lock of export; take locks in one order",
    canary=UnlockedSwap,
    after=("EXP-01", "EXP-03", "SHD-01"),
    needs=("read_back",),
)
def concurrent(case: Case) -> None:
    """Run two flushes while exports run, then one while a shutdown runs: everything accepted before arrives, once."""

    def held(batch: TokenBatch) -> tuple[TokenBatch, ...]:
        """The batches that a flush has to deliver: none where nothing is held, as they have arrived before."""
        return (batch,) if case.capabilities.holds else ()

    def beside_exports(one: Round) -> None:
        exporter = one.exporter()
        before, *batches = (case.batch(1) for _ in range(3))
        one.accepted(exporter, before)
        exports = [one.export(exporter, batch) for batch in batches]
        flushes = [one.flush(exporter, *held(before)) for _ in range(2)]
        one.beside(exports, *([flush] for flush in flushes))
        last = one.flush(exporter)
        one.alone(last, one.shutdown(exporter))
        for step in (*exports, *flushes, last):
            case.succeeded(step)
        _complete(*flushes)
        one.delivered(before, *batches, expected="every accepted point arrives once, with flushes beside exports")

    def beside_shutdown(one: Round) -> None:
        exporter = one.exporter()
        before = case.batch(1)
        one.accepted(exporter, before)
        flush, stopping = one.flush(exporter), one.shutdown(exporter)
        one.beside([flush], [stopping])
        case.succeeded(stopping)
        one.delivered(before, expected="every accepted point arrives once, with a flush beside shutdown")

    exercised(case, beside_exports, "flushes beside exports lost nothing")
    exercised(case, beside_shutdown, "a flush beside shutdown lost nothing")


def _complete(*flushes: Step) -> None:
    for flush in flushes:
        if isinstance(flush.result, set) and flush.result:
            raise Failed(
                "what was accepted before has arrived when force_flush returns",
                f"{', '.join(sorted(flush.result))} had not arrived",
            )
