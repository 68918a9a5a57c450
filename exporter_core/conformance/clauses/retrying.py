"""EXP-13 to EXP-18: what an export makes of a backend's failures, refusals and nonsense."""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from typing import TYPE_CHECKING

from exporter_core.conformance.base_case import describe_call
from exporter_core.conformance.clause import clause
from exporter_core.conformance.clauses.by_name import reached_by_name
from exporter_core.conformance.clauses.canary import Canary, Swallows
from exporter_core.conformance.clauses.parts import parts_of
from exporter_core.conformance.observe.clock import local_time
from exporter_core.conformance.observe.connecting import no_network, watched_connects
from exporter_core.conformance.observe.harness import FILE_FAULTS
from exporter_core.conformance.observe.journal import outcome_of
from exporter_core.conformance.observe.logs import recorded_logs
from exporter_core.conformance.resources import without_room
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.errors import ContextCancelledError, ExporterBusyError, ExporterError, PartialSuccessError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.observe.journal import Exchange, ObservedCall
    from exporter_core.conformance.observe.tokens import TokenBatch
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context

_FINAL = "An error is final: whatever retrying there is has already happened inside."
_FINAL_REFUSAL = "status:400"
_BUSY = "status:503"  # which gets better with time, as far as anybody knows: it is tried again
_REFUSALS = (_FINAL_REFUSAL, "status:500", "reset", "refuse", _BUSY)
_FINAL_STATUSES = (401, 403, 404, 413, 501, 505)
_TOO_MANY = 429
_PASSING_STATUSES = (408, _TOO_MANY, 502, 504)  # which many try again
_OTLP, _OTLP_HTTP, _OTLP_GRPC = "otlp", "otlp_http", "otlp_grpc"  # kinds of sinks, of which the first begins two
_CODES = ("CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "OUT_OF_RANGE", "DATA_LOSS")
"""The status codes of gRPC that no HTTP status of the others stands for."""
_RETRYABLE = (_TOO_MANY, 502, 504)  # by the specification of OTLP/HTTP, beside 503
_OTHER_SUCCESSES = (201, 202, 204, 206)
_IN_A_ROW = 5  # failures that are all reported
_LIFETIME = 3  # exports in an exporter's life that each meet one passing failure
_GROWN, _LONG_PAUSE = 2.5, 0.2  # times that the last pause is the first, and seconds that it takes at least
_FOR_GOOD, _RENEWED = (401, 403, 404), 2  # statuses, and attempts that they may be met with
_TOO_LARGE = 413  # for which a batch of one point cannot be divided
_CONNECTS = 30  # attempts to connect in half a second are a storm, where each may try some addresses
_BURST, _BURST_SECONDS = 6, 0.05  # so many attempts with less than this time between them are a storm
_NONSENSE = ("redirect", "garbage", "truncate")
_MORE_THAN_A_POOL, _ENDED = 33, 12  # exports that fail, by refusals and by deadlines
_QUICK = 0.2  # seconds in which an export is refused
_NAMELESS, _CUT_OFF = "where the backend's name is unknown", "where the network is unreachable"
_PASSING = 0.3  # seconds in which an exporter may try what passes
_TRYING = 0.5  # seconds in which an exporter may go on trying what may get better
_ASKED, _ASKED_MOST = 1, 3  # seconds that a backend asks to wait
_NEARLY, _OWN_PAUSE = 0.9, 0.4  # the part of them that is near enough, and seconds for a pause that is random
_TIMES_SHORTER = 10  # than usual are pauses of another kind
_ANSWERED = 0.03  # seconds for an exporter to read an answer, and to wait
_STORM = 60  # attempts within that time
_LATER, _AHEAD = "retry-after-date:60", "AHEAD-5"  # a minute, and a zone as POSIX writes it, some hours east
_REFUSED, _OF_MANY = 130, 200  # points whose number takes two bytes, and those of a batch with so many


class GivesUp(Canary):
    """Reports a failure that a further attempt has mended."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        self.inner.export(context, metrics)
        raise ExporterError("gave up after the first attempt")


@clause(
    "EXP-13",
    "SHOULD",
    "transient failures are retried inside",
    words=_FINAL,
    technique="F",
    check="try again after 503 and after a reset connection, while the context lasts",
    canary=GivesUp,
    after=("EXP-01", "EXP-03"),
    faults=("status", "reset"),
    needs=("read_back",),
)
def transient(case: Case) -> None:
    """Export to a backend that answers 503 once, then to one that resets the connection once: both batches arrive.
    Likewise without a deadline, with a date in Retry-After, and where one of a batch's several requests meets 503; over
    OTLP/HTTP, with each status that may be tried again; in an exporter's life the pauses do not grow.
    """
    exporter = case.exporter()
    batches = []
    for step in (_BUSY, "reset"):  # before a reset a batch may be stored, and arrive twice: nobody is told
        batch = case.batch()
        case.harness.fault(step, "ok")
        call = case.sent(exporter, batch)
        if call.error is not None:
            raise Failed(f"a retry after {step}", describe_call(call)) from call.error
        batches.append(batch)
        if step == _BUSY:
            case.delivered(batch, expected="what was not taken at first arrives once", once=True)
    case.delivered(*batches, expected="what failed once arrives")
    if case.canary is None:
        other = case.exporter()
        case.harness.fault(_FINAL_REFUSAL, _BUSY, "ok")
        refused = case.sent(other, case.batch(), case.short_context(case.patience / 2))
        call = case.sent(other, case.batch())
        # One that fails from then on, whatever the backend does, is another clause's business.
        if refused.error is not None and call.error is not None and case.sent(other, case.batch()).succeeded:
            expected = f"a retry after {_BUSY}, also in the next export after one that failed"
            raise Failed(expected, describe_call(call)) from call.error
        _pauses_alike(case, exporter)
        _tries_again(case, f"{_BUSY} where there is no deadline", _BUSY, context=case.background_context())
        if {"retry-after", "retry-after-date"} <= case.harness.faults:
            case.harness.fault("retry-after:0", "ok")
            if case.sent(case.exporter(), case.batch()).succeeded:
                _tries_again(case, "a date in Retry-After", "retry-after-date:0")
        for status in _RETRYABLE if case.sink_kind == _OTLP_HTTP else ():
            _tries_again(case, f"status {status}", f"status:{status}")
        _each_part(case)
        if case.capabilities.holds:
            _in_shutdown(case)


def _in_shutdown(case: Case) -> None:
    """Hold a batch, and shut down with a backend that answers 503 once."""
    exporter, batch = case.exporter(), case.batch()
    case.harness.fault("ok")
    case.accepted(exporter, batch)
    case.harness.fault(_BUSY, "ok")
    stopping = case.shut_down(exporter)
    if stopping.error is not None:
        raise Failed(f"a retry after {_BUSY} in a shutdown that delivers", describe_call(stopping)) from stopping.error


def _tries_again(case: Case, what: str, *steps: str, context: Context | None = None) -> None:
    """Fail unless a fresh exporter's export succeeds after these steps."""
    exporter = case.exporter()
    case.harness.fault(*steps, "ok")
    call = case.sent(exporter, case.batch(), context)
    if call.error is not None:
        raise Failed(f"a retry after {what}", describe_call(call)) from call.error


def _pauses_alike(case: Case, exporter: Driven) -> None:
    """Let exports of an exporter's life each meet one failure: each is tried again, and none after a longer pause.

    Pauses are random in many exporters: they have grown if those of two other exporters do so too.
    """
    for one in (exporter, None, None):
        own, pauses = one or case.exporter(), []
        for number in range(_LIFETIME + (one is None)):
            before = len(case.exchanges_so_far())
            case.harness.fault(_BUSY, "ok")
            call = case.sent(own, case.batch())
            if call.error is not None:
                when = f"a retry after {_BUSY} in export {number + 3} of an exporter's life"
                raise Failed(when, describe_call(call)) from call.error
            pauses += _pauses(case.exchanges_so_far()[before:])[:1]
        grow = len(pauses) >= _LIFETIME and all(later > sooner for sooner, later in itertools.pairwise(pauses))
        if not grow or pauses[-1] < max(_LONG_PAUSE, _GROWN * pauses[0]):
            return
    seen = ", ".join(f"{1000 * pause:.0f} ms" for pause in pauses)
    raise Failed("the pause before a second attempt does not grow in an exporter's life", seen)


def _each_part(case: Case) -> None:
    """Let one of a batch's several requests meet 503: that one is tried again, and no other."""
    exporter = case.exporter()
    parts = parts_of(case, exporter)
    for number in parts.places:
        batch = parts.make()
        case.harness.fault(*["ok"] * (number - 1), _BUSY, "ok")
        call = case.sent(exporter, batch)
        if call.error is not None:
            expected = f"a retry after {_BUSY} for request {number} of a batch"
            raise Failed(expected, describe_call(call)) from call.error
        case.delivered(batch, expected=f"each request arrives once, as number {number} met {_BUSY}", once=True)


@clause(
    "EXP-14",
    "MUST",
    "a failure that remains is raised",
    words="Returning means done; every failure is an exception.",
    technique="F",
    check="no except clause ends in a return",
    canary=Swallows,
    needs=("read_back",),
)
def remains(case: Case) -> None:
    """Export to a backend that refuses for good, in each way that the harness can; then to one that stays busy, or
    away, with a context whose own time passes so fast that all attempts are made; to one that answers each kind of
    status; several times in a row to one that refuses, to one that refuses one of a batch's several requests, to one
    whose name nobody knows, and where there is no network.
    """
    can = [step for step in dict.fromkeys(_REFUSALS + FILE_FAULTS) if step.partition(":")[0] in case.harness.faults]
    if not can:
        raise VerdictError(Verdict.UNOBSERVABLE, "the harness cannot let a delivery fail")
    came_to_an_end = False
    for step in can:
        # What is refused for good need not be tried again: the time is for a slow answer alone. With a busy backend it
        # is for every attempt and the pauses between them; who goes on to the deadline raises an error there.
        found = _is_raised(case, step, case.patience / 2 if step in (_FINAL_REFUSAL, _BUSY) else _TRYING)
        if found is None:
            break
        came_to_an_end |= found
    else:
        came_to_an_end = came_to_an_end or any(_is_raised(case, step, case.patience / 2) for step in can)
    if not came_to_an_end:
        raise VerdictError(Verdict.INCONCLUSIVE, "it was still trying at its deadline, whatever the failure was")
    if "status" in case.harness.faults and case.canary is None:
        for look in (_to_the_last_attempt, _each_status, _in_a_row, _one_part, _unknown_name, _no_network):
            look(case)


def _is_raised(case: Case, step: str, seconds: float) -> bool | None:
    """Fail unless an export that fails in this way raises; True if it does so before its deadline, None if it never
    ends.
    """
    exporter, batch = case.exporter(), case.batch()
    if step in FILE_FAULTS and "ok" in case.harness.faults:
        case.sent(exporter, case.batch())  # so that it may have opened what is broken then
    case.harness.fault(step)
    call = case.send(exporter, batch, case.short_context(seconds))
    if not _has_ended(case, call, f"with {step}"):
        return None
    mends = "ok" in case.harness.faults  # else nothing can be read back after the fault
    if mends:
        case.harness.fault("ok")
    if call.succeeded and step in FILE_FAULTS and mends and case.has_arrived(batch):
        case.journal.stamp("note", f"{step} does not hit it: it writes in another way")
        return False
    case.raised(call, when=f"with {step}")
    _left_uncancelled(call, step)
    return not call.overrun


def _to_the_last_attempt(case: Case) -> None:
    """Export to a backend that stays busy, or is away, with time that passes fast enough for all attempts.

    An exporter that does not wait by its context, as one of the SDK cannot, is not looked at so.
    """
    for step in (_BUSY, "reset", "refuse"):
        if step.partition(":")[0] not in case.harness.faults or case.subject.of_the_sdk:
            continue
        exporter, batch = case.exporter(), case.batch()
        case.harness.fault(step)
        call = case.send(exporter, batch, case.hurried_context())
        ended = case.until(lambda: call.over, seconds=_PASSING + case.patience / 4)  # noqa: B023 - awaited here
        call.cancel()
        case.until(lambda: call.over, seconds=_PASSING)  # noqa: B023 - as above
        case.harness.fault("ok")
        if not ended:
            return  # nor would it in the other steps
        case.raised(call, when=f"with {step}, after its last attempt")


def _has_ended(case: Case, call: ObservedCall, when: str, seconds: float | None = None) -> bool:
    if case.until(lambda: call.over, seconds=seconds):
        return True
    case.journal.stamp("note", f"{when} it never ended, which is another clause's business")
    return False


def _left_uncancelled(call: ObservedCall, step: str) -> None:
    if call.context is not None and isinstance(call.context.error(), ContextCancelledError):
        raise Failed("the context is the caller's, who alone cancels it", f"export cancelled it, with {step}")


def _unknown_name(case: Case) -> None:
    """Export to the backend by a name that is not found; what C code looks up is not seen."""
    if case.harness.tier != "wire":
        return
    case.harness.fault("ok")
    with reached_by_name(case) as backend:
        if backend is None:
            return
        backend.lookups.fail()
        batch = case.batch()
        call = backend.export(case.short_context(_TRYING), batch)
        ended = _has_ended(case, call, _NAMELESS)
    if ended and not _has_gone_through(case, call, batch):
        case.raised(call, when=_NAMELESS)


def _no_network(case: Case) -> None:
    """Export where no network leads to the backend; what C code connects is not seen."""
    case.harness.fault("ok")
    exporter, batch = case.exporter(), case.batch()
    with no_network() as refused:
        call = case.send(exporter, batch, case.short_context(_TRYING))
        ended = _has_ended(case, call, _CUT_OFF)
    if refused and ended and not _has_gone_through(case, call, batch):
        case.raised(call, when=_CUT_OFF)


def _has_gone_through(case: Case, call: ObservedCall, batch: TokenBatch) -> bool:
    """True if the batch arrived all the same, over a connection or by an address that the process has kept."""
    return call.succeeded and case.has_arrived(batch)


def _each_status(case: Case) -> None:
    for status in (*_FINAL_STATUSES, *_PASSING_STATUSES, *(_CODES if case.sink_kind == _OTLP_GRPC else ())):
        case.harness.fault(f"status:{status}")
        seconds = _PASSING if status in _PASSING_STATUSES else case.patience / 2
        call = case.send(case.exporter(), case.batch(), case.short_context(seconds))
        if not _has_ended(case, call, f"with status {status}", seconds + _PASSING):
            return
        case.raised(call, when=f"with status {status}")


def _in_a_row(case: Case) -> None:
    exporter = case.exporter()
    case.harness.fault(_FINAL_REFUSAL)
    for number in range(_IN_A_ROW):
        call = case.sent(exporter, case.batch(), case.short_context(case.patience / 2))
        case.raised(call, when=f"with status 400 the time number {number + 1} in a row")


def _one_part(case: Case) -> None:
    case.harness.fault("ok")
    exporter = case.exporter()
    call = case.sent(exporter, case.batch())
    if call.error is not None or not case.counts_requests:
        return  # another clause's business, or nobody counts
    parts = parts_of(case, exporter, largest=True)
    for number in parts.places:
        batch = parts.make()
        case.harness.fault(*["ok"] * (number - 1), _FINAL_REFUSAL, "ok")
        call = case.sent(exporter, batch)
        if call.error is None and not case.has_arrived(batch):
            when = f"where request {number} of a batch met {_FINAL_REFUSAL}"
            raise Failed(f"export raises an error {when}", describe_call(call))


class Retries(Canary):
    """Sends a batch again that was refused for good."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        try:
            self.inner.export(context, metrics)
            return self.inner.force_flush(context)
        except Exception:  # noqa: BLE001 - an exporter of the SDK has failures of its own
            self.inner.export(context, metrics)
            return self.inner.force_flush(context)


@clause(
    "EXP-15",
    "SHOULD",
    "permanent failures are not retried; attempts are bounded and spaced",
    words=_FINAL,
    technique="F",
    check="400 is final; Retry-After: 0 does not mean at once and for ever; it is a number of seconds or a date",
    canary=Retries,
    faults=("status", "retry-after"),
    after=("EXP-14",),
)
def permanent(case: Case) -> None:
    """Count the attempts when the backend answers 400, and 401, 403 and 404, which may be tried once more with renewed
    credentials, and 413; look at the pause that Retry-After asks for, beside 503 and 429, which is longer than that of
    the exporter's own; at those between attempts when it answers 503 with Retry-After: 0, or with a date there, 429,
    503 and resets connections, also once an export was cancelled between two of them, and at those when it refuses
    connections.
    """
    case.succeeded(case.sent(case.exporter(), case.batch(1)))
    usual = case.harness.requests()  # those that an exporter sends besides a batch, such as a greeting, are no attempts
    case.harness.fault(_FINAL_REFUSAL)
    call = case.sent(case.exporter(), case.batch(1), case.short_context(case.patience / 2))
    case.raised(call, when="with status 400")
    attempts = case.harness.requests() - usual
    if not 0 < attempts <= usual:
        raise Failed("one attempt for status 400", f"{attempts} attempts, and {usual} for a success")
    if case.canary is None:
        _waits_as_asked(case)  # first: what has failed before may be tried again later, in sight or not
        _refused_for_good(case, usual)
        if "refuse" in case.harness.faults:
            _connects_spaced(case)
    for step in ("retry-after:0", _LATER, f"status:{_TOO_MANY}", _BUSY, "reset"):
        if step.partition(":")[0] in case.harness.faults:
            with local_time(_AHEAD):  # whoever takes the date for local time finds it over
                attempts = _spaced(case, step)
            case.observe(f"1 attempt for status 400, {attempts} with {step}")
            if step == _LATER and attempts > usual and not case.capabilities.holds:
                seen = f"{attempts} attempts in {_TRYING:g} s"
                raise Failed("no further attempt before the date in Retry-After is over", seen)
        if case.canary is not None:
            return
    if case.cancellable:
        _spaced_after_cancellation(case)


def _spaced_after_cancellation(case: Case) -> None:
    """Cancel an export between two attempts: the next one's pauses are like those before.

    Pauses are random in many exporters: they are another's if they are so twice.
    """
    for _ in range(2):
        exporter = case.exporter()
        case.harness.fault(_BUSY)
        usual, before = _pauses_of(case, exporter), case.harness.requests()
        call = case.send(exporter, case.batch(), case.background_context())
        case.until(lambda: call.over or case.harness.requests() > before)  # noqa: B023 - awaited here
        call.wait(_ANSWERED)
        call.cancel()
        if not case.until(lambda: call.over):  # noqa: B023 - as above
            return  # another clause's business
        pauses = _pauses_of(case, exporter)
        if not usual or len(pauses) <= 1 or _TIMES_SHORTER * max(pauses) >= min(usual):
            return
    longest, shortest = 1000 * max(pauses), 1000 * min(usual)
    seen = f"{longest:.1f} ms at most between {len(pauses) + 1} of them, and {shortest:.1f} ms at least before"
    raise Failed("attempts are spaced, also after an export that was cancelled between two of them", seen)


def _pauses_of(case: Case, exporter: Driven) -> list[float]:
    """Seconds between the attempts of an export that fails."""
    before = len(case.exchanges_so_far())
    call = case.send(exporter, case.batch(), case.short_context(_TRYING))
    case.until(lambda: call.over)
    return _pauses(case.exchanges_so_far()[before:])


def _refused_for_good(case: Case, usual: int) -> None:
    """Export to a backend that refuses whoever asks: with the same credentials that is final, as is a wrong path."""
    for status in (*_FOR_GOOD, *[_TOO_LARGE] * (case.sink_kind == _OTLP_HTTP)):
        before = case.harness.requests()
        case.harness.fault(f"status:{status}")
        call = case.send(case.exporter(), case.batch(1), case.short_context(case.patience / 2))
        case.ends(call, "export ends at its deadline")
        attempts = case.harness.requests() - before - (usual - 1)
        if attempts > _RENEWED:
            raise Failed(f"at most {_RENEWED} attempts for status {status}", f"{attempts} attempts")


def _connects_spaced(case: Case) -> None:
    """Export to a backend that refuses connections: attempts to connect are spaced, where Python code makes them."""
    case.harness.fault("refuse")
    with watched_connects() as times:
        call = case.send(case.exporter(), case.batch(), case.short_context(_TRYING))
        case.ends(call, "export ends at its deadline")
    case.harness.fault("ok")
    for first, last in zip(times, times[_CONNECTS - 1 :], strict=False):
        if last - first < _TRYING:
            seen = f"{_CONNECTS} attempts to connect in {1000 * (last - first):.0f} ms"
            raise Failed("attempts are spaced where connections are refused", seen)
    case.observe(f"{len(times)} attempts to connect in {_TRYING:g} s, all refused")


def _waits_as_asked(case: Case) -> None:
    """Export to a backend that asks to wait: an exporter that tries again does so then, not before.

    It asks for longer than the exporter pauses by itself. One that holds data may still be trying what it was given
    before, and so may one whose caller has left.
    """
    if case.capabilities.holds or not case.until(lambda: case.journal.is_idle):
        return
    own = _first_pause(case, _BUSY)
    asked = _ASKED if own is None else min(math.ceil(own / _NEARLY + _OWN_PAUSE), _ASKED_MOST)
    steps = [f"retry-after:{asked}"]
    if case.harness.tier == "wire":  # another harness need not know a status there
        steps.append(f"{steps[0]}:{_TOO_MANY}")
    for step in steps:
        waited = _first_pause(case, step)
        if waited is not None and waited < asked * _NEARLY:
            beside = f" beside status {_TOO_MANY}" * (step != steps[0])
            seen = f"one came {waited:.2f} s later"
            raise Failed(f"no further attempt before Retry-After: {asked}{beside} is over", seen)
        again = "no further attempt" if waited is None else f"a further attempt {waited:.2f} s later"
        case.observe(f"with {step}, {again}")


def _first_pause(case: Case, step: str) -> float | None:
    """Seconds between the answer that an export meets first and its next attempt; None if it makes none."""
    exporter = case.exporter()  # before: it may greet the backend
    before = len(case.exchanges_so_far())
    case.harness.fault(step, "ok")
    case.sent(exporter, case.batch(1), case.short_context(case.patience / 2))
    return next(iter(_pauses(case.exchanges_so_far()[before:])), None)


def _spaced(case: Case, step: str) -> int:
    """Fail unless the attempts of an export that fails in this way are spaced; their number."""
    exporter, before = case.exporter(), case.harness.requests()
    case.harness.fault(step)
    call = case.send(exporter, case.batch(), case.short_context(_TRYING))
    case.until(lambda: call.over or case.harness.requests() - before > _STORM)
    attempts = case.harness.requests() - before
    if attempts > _STORM:
        raise Failed("attempts are spaced", f"{attempts} attempts in {_TRYING:g} s with {step}")
    case.ends(call, "export ends at its deadline")
    case.raised(call, when=f"with {step}")
    pauses = _pauses(case.exchanges_so_far()[before:])
    for start in range(len(pauses) - _BURST + 2):
        paused = sum(pauses[start : start + _BURST - 1])
        if paused < _BURST_SECONDS:
            raise Failed("attempts are spaced", f"{_BURST} attempts, {1000 * paused:.0f} ms apart in all, with {step}")
    return attempts


def _pauses(exchanges: Sequence[Exchange]) -> list[float]:
    """Seconds between each answer and the next request."""
    return [
        max(0.0, later.seconds - (sooner.answered or sooner.seconds)) for sooner, later in itertools.pairwise(exchanges)
    ]


class Conceals(Swallows):
    """Returns as if nothing had failed, and logs nothing."""

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        before = logging.root.manager.disable
        logging.disable()
        try:
            return super().around(context, call)
        finally:
            logging.disable(before)


@clause(
    "EXP-16",
    "SHOULD",
    "partial success is surfaced, with the count",
    words="The backend took the batch but refused some of its points: PartialSuccessError, rejected_points.",
    technique="F",
    check="read the backend's partial success, count the points that the encoder drops, and raise PartialSuccessError",
    canary=Conceals,
    after=("EXP-14",),
    faults=("partial",),
)
def partial(case: Case) -> None:
    """Export five points to a backend that refuses two of them: it raises, with the count; likewise where it refuses
    one of a batch's several requests, of which the others arrive, where it refuses many points, and where it gives no
    reason. Points that have no form in the exporter's format are reported, too. A partial success without a refused
    point is a success with a warning.

    The SDK's interface has no count: there an exporter fails, or logs a warning.
    """
    exporter = case.exporter()
    case.harness.fault("partial:2", "ok")  # of its several requests, the first
    with recorded_logs(logging.WARNING) as logged:
        call = case.sent(exporter, case.batch(5))
    if case.subject.of_the_sdk:
        if call.error is None and not logged:
            raise Failed(
                "export fails, or logs a warning, with 2 points refused", f"{describe_call(call)}, and logged nothing"
            )
        case.observe(f"export {outcome_of(call.error)} with 2 points refused, and logged {len(logged)} warnings")
        return
    _counted(case, call, 2)
    if case.canary is None:
        _many_refused(case)
        _unfit(case)
        if case.sink_kind.startswith(_OTLP):
            case.harness.fault("partial:1:silent", "ok")
            _counted(case, case.sent(case.exporter(), case.batch()), 1)
        exporter = case.exporter()  # what a failure leaves is another clause's business
        case.harness.fault("partial:0", "ok")
        call = case.sent(exporter, case.batch())
        if call.error is not None:
            raise Failed(
                "export succeeds with a warning that 0 points were refused", describe_call(call)
            ) from call.error
        parts = parts_of(case, exporter, largest=True)
        for number in parts.places:
            batch = parts.make()
            case.harness.fault(*["ok"] * (number - 1), "partial:1", "ok")
            _counted(case, case.sent(exporter, batch), 1)
            lost = len(set(batch.tokens).difference(case.arrived()))
            if lost > 1:
                expected = f"the others of a batch's {parts.requests} requests arrive, as one point of one was refused"
                raise Failed(expected, f"{lost} points lost")
        if parts.places:
            case.harness.fault("partial:1")
            _counted(case, case.sent(exporter, parts.make()), parts.requests)


def _many_refused(case: Case) -> None:
    """Export a batch of which many points are refused, if it is sent in one request."""
    if not case.counts_requests:
        return
    exporter, before = case.exporter(), case.harness.requests()
    case.harness.fault(f"partial:{_REFUSED}", "ok")
    call = case.sent(exporter, case.batch(_OF_MANY))
    if case.harness.requests() == before + 1:
        _counted(case, call, _REFUSED)


def _unfit(case: Case) -> None:
    """Export points that few formats have a form for: a success means that they have arrived in one."""
    exporter, batch = case.exporter(), case.tokens.unfit()
    case.harness.fault("ok")
    if case.sent(exporter, batch).error is None:
        case.delivered(batch, expected="a point without a form in the exporter's format is reported")
    case.flush(exporter)  # the others may be held still


def _counted(case: Case, call: ObservedCall, points: int) -> None:
    """Fail unless the call raised the error of a partial success, with so many points."""
    error = case.raised(call, PartialSuccessError, when=f"with {points} points refused")
    rejected = getattr(error, "rejected_points", None)
    if rejected != points:
        raise Failed(f"rejected_points is {points}", f"it is {rejected}")


class Poisoned(Canary):
    """Fails for ever once it has failed."""

    _failed = False

    def export(self, context: Context, metrics: MetricsData) -> object:
        if self._failed:
            raise ExporterError("an earlier export failed")
        return super().export(context, metrics)

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        try:
            return call(context)
        except BaseException:
            self._failed = True
            raise


@clause(
    "EXP-17",
    "MUST",
    "usable after a failure; an empty batch is fine",
    words=_FINAL,
    technique="F",
    check="a failed export leaves no state behind",
    canary=Poisoned,
    derived=True,
    after=("EXP-01", "EXP-05", "EXP-14"),
    needs=("read_back",),
)
def usable(case: Case) -> None:
    """Export after a failure, an empty batch too, and one of metrics without points; after a request that was stored
    and whose connection was then reset; after an export that ended at its deadline or was cancelled; and after many
    that failed, more than a pool has room for. Flush and shut down after a failure: neither raises it again.
    """
    exporter, history, refused = case.exporter(), case.batch(), case.batch()
    case.succeeded(case.sent(exporter, history))
    name, context = case.done_contexts()[1]
    if not case.judged_by_sdk:
        case.raised(case.export(exporter, context=context), when=f"with {name}")
    if "status" in case.harness.faults:
        case.harness.fault(_FINAL_REFUSAL)
        case.raised(case.sent(exporter, refused, case.short_context(case.patience / 2)), when="with status 400")
        case.harness.fault("ok")
    else:
        _cannot_write(case, exporter)
    batch = case.batch()
    case.succeeded(case.sent(exporter, batch))
    case.succeeded(case.sent(exporter, case.tokens.empty()))
    case.succeeded(case.sent(exporter, case.tokens.hollow()))
    case.delivered(history, batch, expected="an export after a failure is delivered, and what was before is there")
    if case.has_arrived(refused):
        raise Failed("an error of export is final: nothing of it is sent later", "what had been refused arrived later")
    if case.canary is None and {"ok", "status"} <= case.harness.faults:
        _told_once(case)
        _after_partial(case)
        if case.harness.tier == "wire" and "reset" in case.harness.faults:
            _stored_and_reset(case)
        _after_many(case)
    if case.harness.gated:
        _usable_after(case, "at its deadline", case.blocked_at_gate)
        if case.cancellable:
            _usable_after(case, "when it was cancelled", lambda: _cancelled(case))
            _others_go_on(case)


def _cannot_write(case: Case, exporter: Driven) -> None:
    """Let exports fail as those to a file do, after half a line too."""
    can = [one for one in ("full", "quota") if {"ok", one} <= case.harness.faults]
    mends = [one for one in ("refuse",) if {"ok", one} <= case.harness.faults]
    for step in (*can, *mends):
        case.harness.fault(step)
        case.sent(exporter, case.batch())
        case.harness.fault("ok")
    if not can:  # a harness that cannot mend what it breaks; a file is hit all the same
        with without_room():
            case.sent(exporter, case.batch(), case.short_context(_TRYING))


def _told_once(case: Case) -> None:
    """Flush and shut down after an export whose failure was raised: that was its report."""
    exporter = case.exporter()
    case.harness.fault(_FINAL_REFUSAL)
    call = case.sent(exporter, case.batch(), case.short_context(case.patience / 2))
    case.harness.fault("ok")
    if call.error is None or call.overrun or not case.until(lambda: case.journal.is_idle):
        return  # another clause's business
    for again in (case.flush(exporter), case.shut_down(exporter)):
        if again.error is not None:
            expected = f"{again.name} succeeds after an export whose failure was raised"
            raise Failed(expected, describe_call(again)) from again.error


def _after_partial(case: Case) -> None:
    """Export again after a batch some of whose points were refused: that was said once."""
    if "partial" not in case.harness.faults:
        return
    exporter, batch = case.exporter(), case.batch()
    case.harness.fault("partial:1", "ok")
    if case.sent(exporter, case.batch()).error is None:
        return  # another clause's business
    case.harness.fault("ok")
    again = case.sent(exporter, batch)
    if again.error is not None:
        raise Failed(
            "export succeeds after one of whose points some were refused", describe_call(again)
        ) from again.error
    case.delivered(batch, expected="an export after one of whose points some were refused is delivered")


def _stored_and_reset(case: Case) -> None:
    """Export to a backend that stores a request and then resets the connection, once and for ever: whether that is
    tried again or raised is the exporter's choice, since nobody can tell it from a request that was lost. It goes on
    afterwards, and what it has reported it does not send again.
    """
    for then in ("ok", "reset:stored"):
        exporter, batch, more = case.exporter(), case.batch(), case.batch()
        case.harness.fault("reset:stored", then)
        call = case.send(exporter, batch, case.short_context(_TRYING))
        if not case.until(lambda: call.over, seconds=2 * _TRYING):  # noqa: B023 - awaited here
            return  # another clause's business
        case.harness.fault("ok")
        copies = Counter(case.arrived())[batch.tokens[0]]
        case.until(lambda: case.journal.is_idle)  # its caller may have left
        again = case.sent(exporter, more)
        if again.error is not None:
            expected = "export succeeds after a request that was stored and whose connection was reset"
            raise Failed(expected, describe_call(again)) from again.error
        case.delivered(more, expected="an export after a connection that was reset is delivered")
        later = Counter(case.arrived())[batch.tokens[0]]
        if call.error is not None and not case.capabilities.holds and not call.overrun and later > copies:
            raise Failed("an error of export is final: nothing of it is sent later", "what had failed arrived again")
        case.observe(f"stored, then reset: {describe_call(call)}; the batch arrived {later} times")


def _after_many(case: Case) -> None:
    """Let many exports fail, more than a pool has room for, by refusals, then by deadlines: the next one succeeds."""
    exporter = case.exporter()
    events = len(case.journal.events)
    calls: list[ObservedCall] = []
    case.harness.fault(_FINAL_REFUSAL)
    for _ in range(_MORE_THAN_A_POOL):
        calls.append(case.sent(exporter, case.batch(1), case.short_context(_TRYING)))
        if calls[-1].seconds > _QUICK:  # it waits before it says so
            break
    _goes_on(case, exporter, f"{len(calls)} that were refused", calls, events)
    if not case.harness.gated or (case.judged_by_sdk and "export" not in getattr(exporter, "bounded", ())):
        return
    case.shut()
    calls.clear()
    for _ in range(_ENDED):
        context = case.short_context()
        call = case.send(exporter, case.batch(1), context)
        calls.append(call)
        if not case.until(lambda: call.over, seconds=_TRYING):  # noqa: B023 - awaited here
            break
    case.open()
    if all(call.over for call in calls):
        _goes_on(case, exporter, f"{len(calls)} that ended at their deadlines", calls, events)


def _goes_on(case: Case, exporter: Driven, after: str, calls: Sequence[ObservedCall], events: int) -> None:
    case.harness.fault("ok")
    if not case.until(lambda: case.journal.is_idle):
        return  # one goes on although its caller has left
    del case.journal.events[events:]  # hundreds
    case.journal.stamp("note", f"{after}; the last one: {describe_call(calls[-1])}")
    if any(call.error is None for call in calls):
        return  # another clause's business
    batch = case.batch()
    call = case.sent(exporter, batch)
    if call.error is not None:
        raise Failed(f"export succeeds after {after}", describe_call(call)) from call.error
    case.delivered(batch, expected=f"an export after {after} is delivered")


def _others_go_on(case: Case) -> None:
    """Cancel the context of an export that has succeeded, while the next one waits at the gate: that goes on."""
    exporter, past, batch = case.exporter(), case.background_context(), case.batch()
    counts = case.counts_requests
    case.succeeded(case.sent(exporter, case.batch()))  # so that the next two send as much as each other
    before = case.harness.requests() if counts else 0
    case.succeeded(case.sent(exporter, case.batch(), past))
    between = case.harness.requests() if counts else 0
    parked = case.attempted(lambda: case.send_to_gate(exporter, batch))
    past.cancel("by the clause")
    case.open()
    if parked is None:
        return
    expected = "the context of an export that is over ends no other"
    case.ends(parked, "export ends once the gate is open")
    if parked.error is not None:
        raise Failed(expected, describe_call(parked)) from parked.error
    case.until(lambda: case.has_arrived(batch), seconds=_TRYING)  # when it has to is another clause's business
    case.delivered(batch, expected=expected)
    if counts and case.harness.requests() - between > between - before:
        raise Failed(expected, "its attempt ended, and another one took its place")


def _cancelled(case: Case) -> tuple[Driven, ObservedCall]:
    exporter = case.exporter()
    call = case.send(exporter, case.batch(), case.background_context())
    case.await_entry(call)
    call.cancel()
    return exporter, call


def _usable_after(case: Case, when: str, given_up: Callable[[], tuple[Driven, ObservedCall]]) -> None:
    """Export again once an export that stood before the shut gate has been given up, and the gate is open: what is
    refused then raises, whatever the answer to the other one was, and what is not is delivered.
    """
    case.shut()
    attempted = case.attempted(given_up)
    if attempted is None:
        return
    exporter, call = attempted
    ended = case.until(lambda: call.over, seconds=_TRYING)
    refusal = case.refusal if case.canary is None and "ok" in case.harness.faults else None
    if refusal == _FINAL_REFUSAL:
        case.harness.fault(refusal)  # for what comes next: the answer to what stands there is a success
    case.open()
    # Raw, an async def export may still be cleaning up; behind the guard, one that ignores its context still runs.
    usual = ended and call.error is not None and case.until(lambda: case.journal.is_idle)
    if refusal is not None:
        if usual:
            case.harness.fault(refusal)
            refused = case.sent(exporter, case.batch(), case.short_context(case.patience / 2))
            case.raised(refused, when=f"with {refusal.replace(':', ' ')} after one that ended {when}")
        case.harness.fault("ok")
    if not usual:
        case.journal.stamp("note", f"it did not end {when}, which is another clause's business")
        return
    batch, calls = case.batch(), []

    def let_in() -> bool:
        """Return True once the guard has noticed that the call it gave up has ended."""
        calls.append(case.sent(exporter, batch))
        return not isinstance(calls[-1].error, ExporterBusyError)

    case.until(let_in)
    again = calls[-1]
    if again.error is not None:
        raise Failed(f"export succeeds after one that ended {when}", describe_call(again)) from again.error
    case.delivered(batch, expected=f"an export after one that ended {when} is delivered")


@clause(
    "EXP-18",
    "MUST",
    "a redirect, a non-protocol answer or a truncated answer is not mistaken for success",
    words="Returning means done; every failure is an exception.",
    technique="F",
    check="accept the protocol's own success and nothing else",
    canary=Swallows,
    derived=True,
    needs=("read_back",),
)
def nonsense(case: Case) -> None:
    """Export to a backend that answers with a redirect, with no answer of the protocol, and with half an answer."""
    can = [step for step in _NONSENSE if step in case.harness.faults]
    if not can:
        raise VerdictError(Verdict.UNOBSERVABLE, "the harness cannot answer with nonsense")
    if "redirect" in can and case.harness.tier == "wire":
        # Who follows the first asks for a page, and delivers nothing. An empty message is a success, if it is whole.
        can += ["redirect:303", "truncate:empty"]
    if case.sink_kind.startswith(_OTLP):
        can.append("garbage:html")  # OTLP's success is a message of its own, and not a page with status 200 or OK
    for step in can:
        case.harness.fault(step)
        before = case.harness.requests()
        for seconds in (_TRYING, case.patience / 2):
            call = case.sent(case.exporter(), case.batch(), case.short_context(seconds))
            if call.error is None and step == "redirect" and _was_delivered_elsewhere(case):
                case.observe("the batch was sent to the redirect's target, which answered 200")
                break
            case.raised(call, when=f"with {step}")
            # An error that came before any request, or instead of the first one's answer, says nothing of the answer.
            if case.harness.requests() > before + call.overrun:
                break
        if case.harness.requests() == before:
            raise VerdictError(Verdict.INCONCLUSIVE, f"no request arrived with {step}")


def _was_delivered_elsewhere(case: Case) -> bool:
    """True if a redirect was followed with the batch itself, and the answer there, a page with status 200, is a success
    of the protocol: of any but OTLP.
    """
    if case.sink_kind == _OTLP_HTTP:
        return False
    last = case.exchanges_so_far()[-1:]
    return any(one.request.startswith("POST") and one.size and one.answer == "200" for one in last)


class TakesAny2xx(Canary):
    """Takes every status from 200 to 299 for a success."""

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        try:
            return call(context)
        except Exception:
            if self.case.harness.requests():
                return None
            raise


@clause(
    "EXP-19",
    "MUST",
    "every other 2xx is no success",
    words="Returning means done; every failure is an exception.",
    technique="F",
    check="accept the one status that the protocol has for success; a proxy answers 202 or 204 and stores nothing",
    canary=TakesAny2xx,
    derived=True,
    after=("EXP-01", "EXP-14"),
    faults=("status",),
    needs=("read_back",),
)
def other_successes(case: Case) -> None:
    """Export to a backend that answers 201, 202, 204 and 206, and stores nothing."""
    if case.harness.success is None:
        raise VerdictError(Verdict.NOT_APPLICABLE, "its protocol has no one status for success")
    for status in _OTHER_SUCCESSES:
        case.harness.fault(f"status:{status}")
        call = case.sent(case.exporter(), case.batch(), case.short_context(case.patience / 2))
        case.raised(call, when=f"with status {status}")
