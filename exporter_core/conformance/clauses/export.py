"""EXP-01 to EXP-12: what success means, and that deadline and cancellation end an export whatever the backend does."""

from __future__ import annotations

import inspect
import sys
import threading
import time
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.canaries.export import (
    Corrupts,
    DropsPoint,
    IgnoresContext,
    ReturnsFuture,
    SendsTwice,
    WallClock,
)
from exporter_core.conformance.case import SHORT, told
from exporter_core.conformance.clause import clause
from exporter_core.conformance.observe.harness import Harness
from exporter_core.conformance.resources import Resources
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.observe.journal import Call
    from exporter_core.conformance.observe.tokens import Batch
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context

_QUIET = 0.2  # seconds for threads to end, whose errors and late requests are looked for
_BESIDE = 0.05  # seconds in which late requests are looked for where nothing tells that there will be no more
_GIVEN = 0.5  # seconds for an export to end whose deadline has passed, or soon has
_BETWEEN = 0.001  # seconds between two counts of the requests
_GENERATED = 12  # batches that Hypothesis makes
_TIMES_LONGER = 4
_ANSWERED = (
    0.03  # seconds for an answer to be read, so that the exporter is in its back-off; too few make the clause blunt
)
_DELIVER = "Deliver the metrics, or accept them for delivery by the next force_flush or shutdown; return when done."
_HONOURS = (
    "Honours the deadline and the cancellation of the context, retries included: raises its error when it is done."
)


@clause(
    "EXP-01",
    "MUST",
    "success means delivered, or held and delivered by the next flush or shutdown",
    words=_DELIVER,
    technique="S",
    check="every point of a batch goes out; an exporter that holds data says so in its harness",
    canary=DropsPoint,
    needs=("read_back",),
)
def success(case: Case) -> None:
    """Export; what claims to hold nothing has delivered by then, what holds data has after a flush."""
    exporter = case.exporter()
    first, second = case.batch(), case.batch(1)
    for batch in (first, second):
        case.accepted(exporter, batch)
    if case.capabilities.holds:
        case.succeeded(case.do("force_flush", lambda: exporter.force_flush(case.calm())))
        case.delivered(first, second, expected="every accepted point has arrived after the flush")
    else:
        case.delivered(first, second, expected="every point has arrived when export returns, as nothing is held")


@clause(
    "EXP-02",
    "MUST",
    "what arrives equals what was handed over",
    words=_DELIVER,
    technique="S",
    check="NaN, infinities, extreme integers, Unicode, exemplars, attributes of the scope; or the harness names what "
    "the format does not carry",
    canary=Corrupts,
    derived=True,
    after=("EXP-01",),
    needs=("read_back",),
)
def fidelity(case: Case) -> None:
    """Every kind of point with its extremes, then batches that Hypothesis makes of the seed."""
    from exporter_core.conformance.generated import for_each_batch  # noqa: PLC0415 - a fifth of a second, for this one

    exporter = case.exporter()
    batches = [case.tokens.rich()]
    case.succeeded(case.sent(exporter, batches[0]))

    def send(batch: Batch) -> None:
        batches.append(batch)
        case.succeeded(case.sent(exporter, batch))

    if case.canary is None:  # the fixed ones show a canary's fault, which is in every batch
        for_each_batch(case.tokens, case.seed, send, examples=_GENERATED)
    case.delivered(*batches, expected="every point arrives as it was", whole=True)


@clause(
    "EXP-03",
    "SHOULD",
    "no duplicates on clean success",
    words=_DELIVER,
    technique="S",
    check="nothing is sent again that the backend has taken",
    canary=SendsTwice,
    derived=True,
    after=("EXP-01",),
    needs=("read_back",),
)
def once(case: Case) -> None:
    """Export, flush, shut down: every point arrives one time."""
    exporter = case.exporter()
    batches = [case.batch(), case.batch()]
    for batch in batches:
        case.succeeded(case.sent(exporter, batch))
    case.do("force_flush", lambda: exporter.force_flush(case.calm()))
    case.do("shutdown", lambda: exporter.shutdown(case.calm()))
    case.delivered(*batches, expected="every point arrives once", once=True)


@clause(
    "EXP-04",
    "MUST",
    "synchronous: no detached work, no detached error",
    words=_DELIVER,
    technique="S",
    check="every operation returns None, and when its work is done; no future, no fire-and-forget",
    canary=ReturnsFuture,
)
def synchronous(case: Case) -> None:
    """Each operation returns None, export not before its delivery where nothing is held; an export that ended at its
    deadline sends nothing afterwards, and no thread dies of an error.
    """
    before = Resources.now()
    with _thread_errors() as errors:
        exporter = case.exporter()
        call = case.do("export", lambda: exporter.export(case.calm(), case.batch().metrics))
        case.succeeded(call)
        _returned_nothing(call)
        case.observe("export returned None")
        _returned_nothing(case.do("force_flush", lambda: exporter.force_flush(case.calm())))
        if case.has_harness and case.harness.gated and not case.capabilities.holds:
            _waits_for_its_delivery(case, exporter)
            if getattr(case.subject.harness, "requests", None) is not Harness.requests:  # else nobody counts
                _sends_nothing_later(case, before)
        _returned_nothing(case.do("shutdown", lambda: exporter.shutdown(case.calm())))
        case.until(lambda: Resources.now().threads <= before.threads, seconds=_QUIET)
    if errors:
        raise Failed("no error outside the calls", errors[0])


def _returned_nothing(call: Call) -> None:
    if call.result is not None:
        raise Failed(f"{call.name} returns None when it is done", f"it returned {type(call.result).__name__}")


def _waits_for_its_delivery(case: Case, exporter: Driven) -> None:
    case.shut()
    call = case.send(exporter, case.batch())
    try:
        case.await_entry(call)
    except VerdictError:
        if not call.succeeded:
            raise
    if call.ends_unasked() and call.succeeded:
        raise Failed("export returns when its delivery is done", "it returned while the gate was shut")
    case.open()
    case.ends(call, "export ends once the gate is open")
    case.observe("export did not return before its delivery")


def _sends_nothing_later(case: Case, before: Resources) -> None:
    """Let an export end at its deadline, before the shut gate, and look for requests from then on.

    What it sent before may be stored later. That a further request left just before the deadline and arrived after it
    happens once, if at all: what sends later does so each time.
    """
    for _ in range(2):
        later = _sent_later(case, before)
        if not later:
            return
    raise Failed("an export that has failed sends no further request", f"requests after its deadline: {later}")


def _sent_later(case: Case, before: Resources) -> int:
    """How many requests arrived after the deadline of an export that ended then; 0 if that cannot be told."""
    # Its work may go on although its caller has been told, in sight or not.
    beside = case.mode == "guarded" or inspect.iscoroutinefunction(case.subject.exporter_class.export)
    at_first = case.harness.requests()
    case.shut()
    try:
        parked = case.attempted(case.parked)
        if parked is None:
            return 0
        exporter, call = parked
        sent = case.harness.requests()
        while not call.wait(_BETWEEN):
            count = case.harness.requests()
            if call.due or call.over:
                break
            sent = count
        ended = call.wait(_GIVEN) and (not beside or case.until(lambda: case.journal.is_idle, seconds=_QUIET))
        if not ended or call.error is None:
            case.journal.stamp("note", "it did not end at its deadline, which is another clause's business")
            return 0
        if sent == at_first:  # nothing shows that its one request had left by then
            return 0
    finally:
        case.open()

    def settled() -> bool:
        return case.harness.requests() > sent or not (beside or Resources.now().threads - before.threads)

    case.until(settled, seconds=_BESIDE if beside else _QUIET)
    later = case.harness.requests() - sent
    case.do("shutdown", lambda: exporter.shutdown(case.calm()))
    if not later:
        case.observe("an export that ended at its deadline sent nothing afterwards")
    return later


@contextmanager
def _thread_errors() -> Iterator[list[str]]:
    """The errors that threads die of inside the block, in words."""
    errors: list[str] = []
    before = threading.excepthook
    threading.excepthook = lambda died: errors.append(
        f"{died.exc_type.__name__} ended {'a thread' if died.thread is None else f'thread {died.thread.name}'}"
    )
    try:
        yield errors
    finally:
        threading.excepthook = before


@clause(
    "EXP-05",
    "MUST",
    "a context that is already done: an error",
    words=_HONOURS,
    technique="X",
    check="context.raise_if_done() before anything else",
    canary=IgnoresContext,
)
def done_before(case: Case) -> None:
    """Export with an expired context, then with a cancelled one."""
    for name, context in case.done_contexts():
        exporter = case.exporter()
        call = case.do("export", lambda e=exporter, c=context: e.export(c, case.batch().metrics))  # type: ignore[misc]  # defaults bind the loop's values
        case.raised(call, when=f"with {name}")


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
    """Export with a short deadline while the gate is shut: it ends before the gate opens."""
    case.shut()
    _ends_at_its_deadline(case, case.parked()[1], "while the gate was shut")


@clause(
    "EXP-07",
    "MUST",
    "the deadline holds when a response drips",
    words=_HONOURS,
    technique="F",
    check="the time-out of a whole request, not that of a single read (requests and httpx have only the latter)",
    canary=IgnoresContext,
    after=("EXP-06",),
    faults=("drip",),
    needs=("deadline",),
)
def dripping(case: Case) -> None:
    """Export with a short deadline to a backend whose answer never gets complete."""
    case.harness.fault("drip")
    _ends_at_its_deadline(case, case.asked()[1], "while the answer dripped")


@clause(
    "EXP-08",
    "MUST",
    "the deadline holds when connecting hangs",
    words=_HONOURS,
    technique="F",
    check="connecting has a time-out of its own, from context.remaining()",
    canary=IgnoresContext,
    faults=("blackhole",),
    needs=("deadline",),
)
def connecting(case: Case) -> None:
    """Export with a short deadline to a backend that never answers a connection.

    Nobody sees an attempt to connect: the deadline leaves time for one, going by an export that succeeds.
    """
    began = monotonic()
    control = case.sent(case.exporter(), case.batch())
    if control.error is not None:
        raise VerdictError(Verdict.INCONCLUSIVE, f"an export to the backend as it is: {told(control)}")
    seconds = max(SHORT, _TIMES_LONGER * (monotonic() - began))
    case.harness.fault("blackhole")
    call = case.send(case.exporter(), case.batch(), case.short(seconds))
    _ends_at_its_deadline(case, call, "while connecting hung")


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
    """Export with a short deadline to a backend that asks for an hour's patience."""
    case.harness.fault("retry-after:3600")
    _ends_at_its_deadline(case, case.asked()[1], "with Retry-After: 3600")


def _ends_at_its_deadline(case: Case, call: Call, when: str) -> None:
    case.ends_with_context(call, f"export ends at its deadline {when}", _again(case))
    case.raised(call, when=when)


def _again(case: Case) -> Callable[[Context], Call]:
    """The same export with another context, on a fresh exporter."""
    return lambda context: case.send(case.exporter(), case.batch(), context)


@clause(
    "EXP-10",
    "MUST",
    "cancelled in flight: ends at once",
    words=_HONOURS,
    technique="G",
    check="what waits for the backend is woken by context.on_done or context.wait",
    canary=IgnoresContext,
    needs=("gate", "cancellation"),
)
def cancelled_in_flight(case: Case) -> None:
    """Cancel an export that stands before the shut gate: it ends before the gate opens."""
    exporter, context = case.exporter(), case.background()
    case.shut()
    call = case.send(exporter, case.batch(), context)
    case.await_entry(call)
    call.cancel()
    case.ends_with_context(call, "export ends when it is cancelled", _again(case))
    case.raised(call, when="when it was cancelled, while the gate was shut")


@clause(
    "EXP-11",
    "MUST",
    "cancelled in back-off: wakes at once",
    words=_HONOURS,
    technique="F",
    check="context.wait instead of time.sleep between two attempts",
    canary=IgnoresContext,
    faults=("retry-after",),
    needs=("cancellation",),
)
def cancelled_in_backoff(case: Case) -> None:
    """Cancel an export that has been asked to come back in an hour."""
    exporter, context = case.exporter(), case.background()
    case.harness.fault("retry-after:3600")
    call = case.send(exporter, case.batch(), context)
    case.await_requests(1, call)
    case.until(lambda: call.over, seconds=_ANSWERED)
    call.cancel()
    case.ends_with_context(call, "export ends when it is cancelled in its back-off", _again(case))
    case.raised(call, when="when it was cancelled in its back-off")


@clause(
    "EXP-12",
    "MUST",
    "immune to the wall clock stepping an hour",
    words="Honours the deadline of the context, which is in monotonic seconds.",
    technique="F",
    check="time.monotonic() or context.remaining(), never time.time()",
    canary=WallClock,
    derived=True,
    after=("EXP-06",),
    needs=("gate", "deadline"),
)
def wall_clock(case: Case) -> None:
    """Step the clock back while a deadline runs, and forward while there is time left."""
    case.shut()
    with _stepped_clock() as step:
        _, call = case.parked(lambda: step(-3600.0))
        case.ends(call, "export ends at its deadline although the clock went back an hour")
        case.raised(call, when="although the clock went back an hour")
    case.open()
    other = case.exporter()
    case.shut()
    with _stepped_clock() as step:
        context: Context = case.calm()
        call = case.send(other, case.batch(), context)
        case.await_entry(call)
        step(7200.0)
        case.open()
        case.ends(call, "export ends once the gate is open")
    case.succeeded(call)


@contextmanager
def _stepped_clock() -> Iterator[Callable[[float], None]]:
    """Let ``time.time`` and ``time.time_ns`` be stepped, also where a module has imported them by name."""
    true_time, true_ns = time.time, time.time_ns
    offset = 0.0

    def stepped() -> float:
        return true_time() + offset

    def stepped_ns() -> int:
        return true_ns() + int(offset * 1e9)

    def step(seconds: float) -> None:
        nonlocal offset
        offset += seconds

    replaced: list[tuple[dict[str, Any], str, object]] = []
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", None)
        if not isinstance(names, dict) or names is globals():
            continue
        for name in ("time", "time_ns"):
            value = names.get(name)
            if value is true_time or value is true_ns:
                replaced.append((names, name, value))
                names[name] = stepped if value is true_time else stepped_ns
    try:
        yield step
    finally:
        for names, name, value in replaced:
            names[name] = value
