"""EXP-05 to EXP-12: deadline and cancellation end an export, whatever the backend does."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from exporter_core.conformance.base_case import SHORT, describe_call
from exporter_core.conformance.clause import clause
from exporter_core.conformance.clauses.by_name import reached_by_name
from exporter_core.conformance.clauses.canary import Canary, IgnoresContext
from exporter_core.conformance.clauses.parts import parts_of
from exporter_core.conformance.observe.clock import stepped_clock
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.context import Context
from exporter_core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.observe.journal import ObservedCall
    from exporter_core.conformance.observe.tokens import TokenBatch
    from exporter_core.conformance.subject import Driven

_TIMES_LONGER = 4
_HELD = 120  # batches, which is more than some queues have room for
_ROOM = 20_000  # characters of each
_MANY_HELD, _FILLING = 2_100, 5.0  # small batches, which is more than most queues have room for, and seconds for them
_HUNG = 1.0  # seconds after which an export has not ended at its short deadline
_FURTHER = 0.3, 2.5  # seconds of a deadline by which an exporter tries again; the longer ones for long back-offs
_HEAVY = 2.0  # seconds in which a heavy batch is sent
_SLOW = 0.7  # seconds until a slow answer comes: a whole deadline after it is noticeably late
_AFTER_SLOW = ("retry-after:1", 1.9), ("status:503", 1.4), ("status:503", 2.5)
"""Slow answers, and seconds of a deadline that leaves time for another attempt after each; the last for long pauses."""
_MORE = 0.35  # seconds of a deadline that leaves time for several attempts, and for several bytes
_ANSWERED = 0.03  # seconds for the exporter to read an answer and be in its back-off; too few make the clause blunt
_UNDER_WAY = 0.15  # seconds in which an export gets to where it waits
_RETRY_AFTER = 3600, 4
"""Seconds that a backend asks to wait; an exporter with a time-out of its own gives up at once over the longer ones."""
_HONOURS = (
    "Honours the deadline and the cancellation of the context, retries included: raises its error when it is done."
)


@clause(
    "EXP-05",
    "MUST",
    "raises an error when the context is already done",
    words=_HONOURS,
    technique="X",
    check="context.raise_if_done() before anything else",
    canary=IgnoresContext,
)
def done_before(case: Case) -> None:
    """Export with an expired context, then with a cancelled one; likewise after an export that was good."""
    for name, context in case.done_contexts():
        case.raised(case.export(case.exporter(), context=context), when=f"with {name}")
    if case.has_harness and case.canary is None:
        used = case.exporter()
        case.export(used)
        for name, context in case.done_contexts():
            case.raised(case.export(used, context=context), when=f"with {name}, after another export")


@clause(
    "EXP-06",
    "MUST",
    "the deadline holds when a response never comes",
    words=_HONOURS,
    technique="G",
    check="every wait for the backend is bounded by context.remaining()",
    canary=IgnoresContext,
    needs=("gate", "deadline"),
)
def no_response(case: Case) -> None:
    """Export with a short deadline, then with a longer one, while the gate is shut: it ends before the gate opens.
    Then export to a backend that reads nothing, and, where a batch is sent in several requests, to one that does not
    answer the second one. Where data is held, export until there is no more room.
    """
    case.shut()
    _ends_at_its_deadline(case, case.blocked_at_gate()[1], "while the gate was shut")
    if case.canary is None:
        # With more time an attempt that has all of it, after others that had, is noticeably late.
        _ends_at_its_deadline(case, case.blocked_at_gate(at_least=_MORE)[1], "while the gate was shut")
        case.open()
        if "silence" in case.harness.faults:
            _nobody_reads(case)
        if {"ok", "hang"} <= case.harness.faults:
            _in_a_further_request(case)
        if case.capabilities.holds:  # last: what it holds may be delivered from then on
            _without_room(case)


def _in_a_further_request(case: Case) -> None:
    """Export a batch of several requests, of which the second one is never answered; then the first one late, too."""
    case.harness.fault("ok")
    parts = parts_of(case, case.exporter())
    if not parts.places:
        return

    def exported(context: Context, slow: float = 0.0) -> ObservedCall:
        case.harness.fault("ok", "hang")
        if slow:
            case.shut()
        call = case.send(case.exporter(), parts.make(), context)
        if slow:
            call.wait(slow)
            case.open()
        return call

    for seconds, slow in ((_FURTHER[0], 0.0), (2 * _SLOW, _SLOW)):
        call = exported(case.short_context(seconds), slow)
        expected = "export ends at its deadline while the second request of a batch was not answered"
        case.ends_with_context(call, expected, lambda context, slow=slow: exported(context, slow))  # type: ignore[misc]  # binds
        case.observe(f"the second request of a batch was not answered: {describe_call(call)}{call.late}")
    case.harness.fault("ok")


def _nobody_reads(case: Case) -> None:
    """Export more than the buffers of a connection hold, to a backend that accepts it and reads nothing."""

    def export(context: Context) -> ObservedCall:
        case.harness.fault("silence")
        return case.send(case.exporter(), batch, context)

    batch = case.tokens.heavy()
    usual = case.send(case.exporter(), batch, case.short_context(_HEAVY))
    case.until(lambda: usual.over)
    # Most of the time goes by before the first byte is sent.
    call = export(case.short_context(_FURTHER[0] + (2 * usual.seconds if usual.succeeded else 0.0)))
    case.ends_with_context(call, "export ends at its deadline while the backend read nothing of it", export)
    case.observe(f"the backend read nothing: {describe_call(call)}{call.late}")
    case.harness.fault("ok")


def _without_room(case: Case) -> None:
    """Export again and again while nothing is delivered: an export that waits for room ends at its deadline."""
    exporter, events = case.exporter(), len(case.journal.events)
    case.shut()
    seconds = SHORT
    for number in range(_HELD):
        batch, context = case.tokens.heavy(1, _ROOM), case.short_context(seconds)
        call = case.start("export", lambda: exporter.export(context, batch.metrics), context)  # noqa: B023 - awaited here
        expected = f"export ends at its deadline after {number} others"
        case.ends(call, expected)
        if case.is_late(call):
            raise Failed(expected, f"it ended {call.lateness * 1000:.0f} ms later")
        if call.error is not None and seconds > SHORT:
            break
        seconds = SHORT if call.error is None else _MORE  # a busy machine needs more to get to where it waits
    else:
        call = _filling(case, exporter)
        case.ends(call, "export ends at its deadline though thousands are held")
    del case.journal.events[events:-1]  # hundreds
    case.observe(f"after at least {number} exports while the gate was shut: {describe_call(call)}{call.late}")


def _filling(case: Case, exporter: Driven) -> ObservedCall:
    """Export thousands of small batches, as long as that takes no time, until one raises that had time enough."""
    until, begun = time.monotonic() + _FILLING, threading.Event()

    def fill() -> None:
        begun.wait()
        seconds = SHORT
        for _ in range(_MANY_HELD):
            call.context = Context.with_timeout(seconds)
            try:
                exporter.export(call.context, case.batch(1).metrics)
            except Exception:
                if seconds > SHORT or not call.context.done:
                    raise
                seconds = _MORE  # as above
            else:
                seconds = SHORT
            if time.monotonic() > until:
                break

    call = case.start("export", fill)
    begun.set()
    return call


@clause(
    "EXP-07",
    "MUST",
    "the deadline holds when a response drips",
    words=_HONOURS,
    technique="F",
    check="the time-out of a whole request, not that of a single read (requests and httpx have only the latter)",
    canary=IgnoresContext,
    faults=("drip",),
    needs=("deadline",),
)
def dripping(case: Case) -> None:
    """Export with a short deadline to a backend that sends its answer a byte at a time, for ever; then to one that
    sends the head of its answer alone.
    """
    case.harness.fault("drip")
    # Each byte comes long before this deadline: a time-out for each read goes on for ever.
    _ends_at_its_deadline(case, case.with_request_in_flight(at_least=_MORE)[1], "while the answer dripped")
    if "stall" in case.harness.faults and case.canary is None:
        case.harness.fault("stall")
        _ends_at_its_deadline(case, case.with_request_in_flight()[1], "while the body of the answer did not come")


@clause(
    "EXP-08",
    "MUST",
    "the deadline holds when connecting hangs",
    words=_HONOURS,
    technique="F",
    check="connecting has a time-out of its own, from context.remaining(); so have the look-up of a name and the TLS "
    "handshake",
    canary=IgnoresContext,
    faults=("blackhole",),
    needs=("deadline",),
)
def connecting(case: Case) -> None:
    """Export with a short deadline to a backend that never answers a connection, on an exporter's first connection and
    on a later one; then to one whose name is never looked up, and, where the options have an http URL, to one whose
    TLS handshake never goes on.

    Nobody sees an attempt to connect: the deadline leaves time for one, going by an export that succeeds.
    """
    control = case.sent(case.exporter(), case.batch())
    if control.error is not None:
        raise VerdictError(Verdict.INCONCLUSIVE, f"an export to the backend as it is: {describe_call(control)}")
    seconds = max(SHORT, _TIMES_LONGER * control.seconds)
    case.harness.fault("blackhole")
    call = case.send(case.exporter(), case.batch(), case.short_context(seconds))
    _ends_at_its_deadline(case, call, "while connecting hung")
    if case.canary is not None:
        return
    case.harness.fault("ok")
    exporter = case.exporter()
    case.sent(exporter, case.batch())
    case.harness.fault("blackhole")
    call = case.send(exporter, case.batch(), case.short_context(seconds))
    case.ends_with_context(call, "export ends at its deadline while connecting again hung", _again(case))
    case.observe(f"connecting again: {describe_call(call)}{call.late}")
    case.harness.fault("ok")
    if case.harness.tier == "wire":
        _looking_up(case)
        if "silence" in case.harness.faults:
            _shaking_hands(case)


def _looking_up(case: Case) -> None:
    """Export to the backend by a name, whose look-ups hang; what C code looks up is not seen."""
    with reached_by_name(case) as backend:
        if backend is None:
            return
        backend.lookups.hang()
        call = backend.export(case.short_context(max(SHORT, _TIMES_LONGER * backend.seconds)))
        case.ends_with_context(call, "export ends at its deadline while the look-up of a name hung", backend.export)
    case.observe(f"the look-up of a name hung: {describe_call(call)}{call.late}")


def _shaking_hands(case: Case) -> None:
    """Export to the backend with https, where nothing answers the client's first message."""
    secure = case.pointing(lambda text: text.replace("http://", "https://", 1))
    if secure is None:
        return
    case.harness.fault("silence")

    def export(context: Context) -> ObservedCall:
        return case.send(case.exporter(secure), case.batch(), context)

    try:
        for seconds in _FURTHER:  # to load the certificates that it trusts takes time
            call = export(case.short_context(seconds))
            case.until(lambda: call.over or bool(case.harness.connections()))  # noqa: B023 - awaited here
            has_connected = bool(case.harness.connections())
            if call.over and not call.overrun:
                case.journal.stamp("note", f"with https it does not connect: {describe_call(call)}")
                return
            case.ends_with_context(call, "export ends at its deadline while the TLS handshake hung", export)
            if has_connected:
                break
    except SetupError as error:
        case.journal.stamp("note", f"it takes no https: {error}")
        return
    case.observe(f"the TLS handshake hung: {describe_call(call)}{call.late}")


@clause(
    "EXP-09",
    "MUST",
    "the deadline bounds all retrying, Retry-After: 3600 included",
    words=_HONOURS,
    technique="F",
    check="the back-off is context.wait(seconds), never longer than the context lasts",
    canary=IgnoresContext,
    faults=("retry-after",),
    needs=("deadline",),
)
def retry_after(case: Case) -> None:
    """Export with a short deadline to a backend that answers 503 with Retry-After: 3600, then with Retry-After: 4; to
    one that hangs at a further attempt; and to one that takes long to answer the first one.
    """
    for seconds in _RETRY_AFTER:
        case.harness.fault(f"retry-after:{seconds}")
        _ends_at_its_deadline(case, case.with_request_in_flight()[1], f"with Retry-After: {seconds}")
    if "status" in case.harness.faults and case.canary is None:
        for step in {"hang", "blackhole"} & case.harness.faults:
            if not _ends_at_the_first_attempt(case, step):
                continue  # another clause's business
            _on_a_further_attempt(case, step)
            if step == "hang" and case.harness.gated:
                _after_a_slow_answer(case)


def _ends_at_the_first_attempt(case: Case, step: str) -> bool:
    case.harness.fault(step)
    call = case.send(case.exporter(), case.batch(), case.short_context())
    return case.until(lambda: call.over, seconds=_HUNG) and call.lateness <= _HUNG / 4


def _on_a_further_attempt(case: Case, step: str) -> None:
    """Export to a backend that answers 503, and hangs at the next attempt; where none comes in time, with more time."""
    for seconds in _FURTHER:
        exporter, before = case.exporter(), case.harness.requests()
        case.harness.fault("status:503", step)
        call = case.send(exporter, case.batch(), case.short_context(seconds))
        case.ends_with_context(call, f"export ends at its deadline while a further attempt met {step}", _again(case))
        case.observe(f"a further attempt met {step}: {describe_call(call)}{call.late}")
        if not call.overrun or case.harness.requests() > before + 1 or step == "blackhole":
            return


def _after_a_slow_answer(case: Case) -> None:
    """Export to a backend that takes long to answer 503, and hangs at the next attempt: that has what time is left. It
    asks to wait for a second in between; where that is too long, it does not ask.
    """

    def export(context: Context, step: str) -> ObservedCall:
        case.harness.fault(step, "hang")
        case.shut()
        call = case.send(case.exporter(), case.batch(), context)
        call.wait(_SLOW)
        case.open()
        return call

    for step, seconds in _AFTER_SLOW:
        before = case.harness.requests()
        call = export(case.short_context(seconds), step)
        expected = "export ends at its deadline while an attempt after a slow answer hung"
        case.ends_with_context(call, expected, lambda context, step=step: export(context, step))  # type: ignore[misc]  # binds
        case.observe(f"an attempt after a slow answer hung: {describe_call(call)}{call.late}")
        if case.harness.requests() > before + 1 or (step == "status:503" and not call.overrun):
            return


def _ends_at_its_deadline(case: Case, call: ObservedCall, when: str) -> None:
    case.ends_with_context(call, f"export ends at its deadline {when}", _again(case))
    case.raised(call, when=when)


def _again(case: Case) -> Callable[[Context], ObservedCall]:
    """The same export with another context, on a fresh exporter."""
    return lambda context: case.send(case.exporter(), case.batch(), context)


@clause(
    "EXP-10",
    "MUST",
    "ends at once when it is cancelled in flight",
    words=_HONOURS,
    technique="G",
    check="context.on_done or context.wait wakes whatever waits for the backend",
    canary=IgnoresContext,
    needs=("gate", "cancellation"),
)
def cancelled_in_flight(case: Case) -> None:
    """Cancel an export that waits at the shut gate: it ends before the gate opens; likewise one whose first attempt was
    answered 503, and whose second one hangs; one that is connecting; one of which the backend reads nothing; one that
    waits for the answer to the second of a batch's several requests; and where data is held, one that waits for room.
    """
    call = case.send_to_gate(case.exporter(), context=case.background_context())
    call.cancel()
    case.ends_with_context(call, "export ends when it is cancelled", _again(case))
    case.raised(call, when="when it was cancelled, while the gate was shut")
    if case.canary is None:
        case.open()
        if {"status", "hang"} <= case.harness.faults:
            _in_a_further_attempt(case)
            _in_another_phase(case)
        if case.capabilities.holds:  # last: what it holds may be delivered from then on
            _cancelled_without_room(case)


def _cancelled_without_room(case: Case) -> None:
    """Export until there is no more room while nothing is delivered, and cancel the next export, which waits for it."""
    exporter, events = case.exporter(), len(case.journal.events)
    case.shut()

    def begun(context: Context) -> ObservedCall:
        batch = case.tokens.heavy(1, _ROOM)
        return case.started("export", lambda: exporter.export(context, batch.metrics), context)

    for _ in range(_HELD):
        filling = begun(case.short_context())
        if not case.until(lambda: filling.over) or filling.error is not None:  # noqa: B023 - awaited here
            break
    else:
        many = _filling(case, exporter)
        if not case.until(lambda: many.over) or many.error is None:  # noqa: B023 - no loop variable
            return  # there is room, or another clause's business
    del case.journal.events[events:]  # hundreds
    call = begun(case.background_context())
    if not call.over:  # else it is refused at once
        call.cancel()
        case.ends_with_context(call, "export ends when it is cancelled while there is no room", begun)
    case.observe(f"cancelled while there was no room: {describe_call(call)}{call.late}")


def _in_another_phase(case: Case) -> None:
    """Cancel an export in each phase but the wait for an answer; nobody sees an attempt to connect."""

    def exported(step: str, make: Callable[[], TokenBatch]) -> Callable[[Context], ObservedCall]:
        def export(context: Context) -> ObservedCall:
            batch = make()
            case.harness.fault(*step.split())
            call = case.send(case.exporter(), batch, context)
            call.wait(_UNDER_WAY)
            return call

        return export

    phases: list[tuple[str, str, Callable[[], TokenBatch]]] = [
        ("silence", "while the backend read nothing of it", case.tokens.heavy),
        ("blackhole", "while connecting", case.batch),
    ]
    case.harness.fault("ok")
    parts = parts_of(case, case.exporter())
    if parts.places:
        phases.append(("ok hang", "in the second request of a batch", parts.make))
    for step, when, make in phases:
        if not set(step.split()) <= case.harness.faults:
            continue
        export = exported(step, make)
        call = export(case.background_context())
        if not call.over:
            call.cancel()
            case.ends_with_context(call, f"export ends when it is cancelled {when}", export)
        case.observe(f"cancelled {when}: {describe_call(call)}{call.late}")
    case.harness.fault("ok")


def _in_a_further_attempt(case: Case) -> None:
    def attempt_again(context: Context) -> ObservedCall:
        before = case.harness.requests()
        case.harness.fault("status:503", "hang")
        call = case.send(case.exporter(), case.batch(), context)
        case.until(lambda: call.over or case.harness.requests() > before + 1)
        return call

    call = attempt_again(case.background_context())
    if call.over:
        case.journal.stamp("note", f"no further attempt: {describe_call(call)}")
        return
    call.cancel()
    case.ends_with_context(call, "export ends when it is cancelled in a further attempt", attempt_again)
    case.observe(f"cancelled in a further attempt: {describe_call(call)}{call.late}")


@clause(
    "EXP-11",
    "MUST",
    "ends at once when it is cancelled between two attempts",
    words=_HONOURS,
    technique="F",
    check="context.wait instead of time.sleep between two attempts",
    canary=IgnoresContext,
    faults=("retry-after",),
    needs=("cancellation",),
)
def cancelled_in_backoff(case: Case) -> None:
    """Cancel an export that was answered 503 with Retry-After: 3600; with Retry-After: 4 where that is too long for it
    to wait.
    """
    for seconds in _RETRY_AFTER:
        before = case.harness.requests()
        case.harness.fault(f"retry-after:{seconds}")
        call = case.send(case.exporter(), case.batch(), case.background_context())
        case.await_requests(before + 1, call)
        if not case.until(lambda: call.over, seconds=_ANSWERED):  # noqa: B023 - awaited here
            break
    call.cancel()
    case.ends_with_context(call, "export ends when it is cancelled in its back-off", _again(case))
    case.raised(call, when="when it was cancelled in its back-off")


class WallClock(Canary):
    """Counts the deadline on the wall clock."""

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        remaining = context.remaining()
        end = time.time() + (3600 if remaining is None else remaining)
        own = self.case.background_context()

        def watch() -> None:
            while not own.done and not self.released.wait(0.001):
                if time.time() >= end:
                    own.cancel("the wall clock says that it is late")

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            with self.holding(lambda: context.done and not own.done):
                return call(own)
        finally:
            own.cancel("done")
            watcher.join()


@clause(
    "EXP-12",
    "MUST",
    "immune to the wall clock stepping an hour",
    words="Honours the deadline of the context, which is in monotonic seconds.",
    technique="F",
    check="time.monotonic() or context.remaining(), never time.time()",
    canary=WallClock,
    derived=True,
    heeds=("EXP-06", "SHD-04"),
    needs=("gate", "deadline"),
)
def wall_clock(case: Case) -> None:
    """Step the clock back while a deadline runs, a shutdown's too, and forward while there is time left."""
    ignores_deadline = case.failed.get("EXP-06") is Verdict.FAIL  # whatever the clock says
    if not ignores_deadline:
        case.shut()
        with stepped_clock() as step:
            _, call = case.blocked_at_gate(lambda: step(-3600.0))
            expected = "export ends at its deadline although the clock went back an hour"
            case.ends(call, expected)
            if case.canary is None and case.is_late(call):
                raise Failed(expected, f"it ended {call.lateness * 1000:.0f} ms later")
            case.raised(call, when="although the clock went back an hour")
        case.open()
    other = case.exporter()
    with stepped_clock() as step:
        call = case.send_to_gate(other)
        step(7200.0)
        case.open_for(call)
    case.succeeded(call)
    if "status" in case.harness.faults and case.canary is None:
        _in_backoff(case)
    if case.canary is None and not case.judged_by_sdk and "SHD-04" not in case.failed:
        _in_shutdown(case)
    if ignores_deadline:
        raise VerdictError(Verdict.BLOCKED, "EXP-06 failed first: it keeps no deadline, whatever the clock says")


def _in_shutdown(case: Case) -> None:
    """Step the clock back while a shutdown with a deadline waits for an export at the shut gate."""
    exporter = case.exporter()
    with stepped_clock() as step:
        export = case.send_to_gate(exporter)
        context = case.short_context(_MORE)
        stopping = case.start("shutdown", lambda: exporter.shutdown(context), context)
        case.until(lambda: stopping.over, seconds=_UNDER_WAY)
        step(-3600.0)
        if not case.until(lambda: stopping.over) or case.is_late(stopping):
            raise Failed("shutdown ends at its deadline although the clock went back an hour", describe_call(stopping))
    case.open_for(export)


def _in_backoff(case: Case) -> None:
    """Step the clock between two attempts: where the third one, or the second, succeeds otherwise, it does so then."""

    def stepped(busy: int, seconds: float) -> ObservedCall:
        exporter, before = case.exporter(), case.harness.requests()
        case.harness.fault(*["status:503"] * busy, "ok")
        with stepped_clock() as step:
            call = case.send(exporter, case.batch())
            case.until(lambda: call.over or case.harness.requests() > before)
            step(seconds)
            case.ends(call, "export ends although the clock was stepped in its back-off")
        return call

    busy = next((number for number in (2, 1) if stepped(number, 0.0).error is None), None)
    if busy is None:
        return  # it tries nothing again
    for seconds in (7200.0, -7200.0):
        call = stepped(busy, seconds)
        if call.error is not None:
            expected = f"a further attempt although the clock was stepped {seconds:+g} s in the back-off"
            raise Failed(expected, describe_call(call)) from call.error
    case.observe("a further attempt succeeded although the clock was stepped in the back-off")
