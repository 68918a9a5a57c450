"""EXP-01 to EXP-04: success means delivered, unchanged, once, and before the call returns."""

from __future__ import annotations

import copy
import gc
import inspect
import threading
from collections import Counter
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from math import inf
from time import monotonic, sleep
from typing import TYPE_CHECKING, ClassVar

from exporter_core.conformance.base_case import describe_call
from exporter_core.conformance.clause import clause
from exporter_core.conformance.clauses.canary import Canary
from exporter_core.conformance.clauses.parts import ORDINARY, parts_of
from exporter_core.conformance.observe.clock import EVERY, local_time, stepped_clock
from exporter_core.conformance.observe.tokens import TokenBatch, metrics_in, unlike
from exporter_core.conformance.resources import Resources
from exporter_core.conformance.run.verdicts import Failed, VerdictError
from exporter_core.conformance.sinks.records import digest
from exporter_core.context import Context
from exporter_core.masking import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.clauses.parts import Parts
    from exporter_core.conformance.observe.harness import Harness
    from exporter_core.conformance.observe.journal import ObservedCall
    from exporter_core.conformance.subject import Driven

_QUIET = 0.2  # seconds for threads to end, whose errors and late requests are looked for
_BESIDE = 0.05  # seconds in which late requests are looked for where nothing tells that there will be no more
_GIVEN = 0.5  # seconds for an export to end whose deadline has passed, or soon has
_LATER = 1.0  # seconds after which a request that was answered 503 is sent again
_BETWEEN = 0.001  # seconds between two counts of the requests
_SEVERAL, _MANY = 200, 12  # points of a batch, and such batches: more than a small file holds before it is rotated
_LARGE = 5_021  # points of a large batch, which the largest one is ten times as large as
_FEW, _WIDE = 3, 120  # metrics of a scope, scopes of a resource, and resources of a batch
_ONE_REQUEST = frozenset({"otlp_http", "remote_write", "http"})  # kinds of sinks that serve one a connection at a time
_UNIFORM = 1_021  # points of a metric that is large enough for several requests
_APART = 8  # batches, each under another resource
_BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"  # an hour of a day in October comes twice
_OFTEN, _OFTEN_SECONDS = 260, 5.0  # exports of one exporter, more than a byte counts, and seconds for them
_IDLE = 3600.0  # seconds between two exports
_AT_REST = 6.0  # seconds in which a thread has sent what was accepted
_SOONER = (0.1, 1.0)  # seconds in which most have
_POINTS_A_BATCH = 23  # of the largest batch, for each small batch that is held
_ROOM = 0.3  # seconds in which a full queue may make room
_HELD = 120  # batches
_HEAVY = 10  # batches that are held, of as many points of a hundred thousand bytes: more than some count as room
_LONG = 15.0  # seconds for amounts; what takes longer is not looked at
_SOON = 10.0  # seconds that the delivery of many batches may take
_ANOTHER = "2"  # ends another secret, which the first one is the beginning of
_SCHEMES = ("", "Bearer ", "Token ")  # of headers that have the secret itself
_DELIVER = "Deliver the metrics, or accept them for delivery by the next force_flush or shutdown; return when done."


def without_last_points(metrics: MetricsData) -> MetricsData:
    """A copy in which each metric lacks its last point."""
    fewer = copy.deepcopy(metrics)
    for metric in metrics_in(fewer):
        object.__setattr__(metric.data, "data_points", list(metric.data.data_points)[:-1])
    return fewer


class DropsPoint(Canary):
    """Leaves out the last point."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        return self.inner.export(context, without_last_points(metrics))


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
    """Export and read back, points of equal values and series that repeat too, and a batch with a context that has no
    deadline; an exporter that holds data is flushed first. Then another exporter, a large batch, one of many metrics,
    scopes and resources, many batches, an export an hour after another one, hundreds of exports of batches that the
    caller lets go of, and more batches and bytes held than a queue may have room for.
    """
    with never_delivering(case):
        _delivers(case)


@contextmanager
def never_delivering(case: Case) -> Iterator[None]:
    """Tell a failure of an exporter of which nothing arrives at all from that of one that loses something."""
    try:
        yield
    except Failed as failure:
        if case.canary is not None or (case.arrived() and not case.had_nothing):
            raise
        case.never_delivers = True
        if case.unreached:
            seen = f"{failure.seen}; the sink saw nothing at all: do the options point at it?"
            raise Failed(failure.expected, seen) from failure.__cause__
        raise


def _delivers(case: Case) -> None:
    exporter = case.exporter()
    first, second, equal = case.batch(), case.batch(1), case.tokens.equal()
    small = (second, equal, first)
    for batch in (*small, case.tokens.again(first)):
        case.accepted(exporter, batch)
    timeless = case.batch(1)
    call = case.export(exporter, timeless, case.background_context())
    if call.error is not None:
        raise Failed("export succeeds with a context that has no deadline", describe_call(call)) from call.error
    _delivered(case, exporter, *small, timeless)
    repeated = Counter(case.arrived())
    missing = [token for token in first.tokens if repeated[token] < 2]  # noqa: PLR2004 - a batch, and the same series
    if missing:
        raise Failed("a series arrives again when its value is the same", f"{len(missing)} points arrived once")
    if case.canary is not None:
        return
    case.shut_down(exporter)
    other = case.exporter()
    more = [case.batch(_SEVERAL) for _ in range(_MANY)]
    for batch in more:
        case.accepted(other, batch)
    _delivered(case, other, *small, timeless, *more)
    if case.capabilities.holds and case.harness.gated:
        _held(case)
    _an_hour_later(case)
    _often(case, other)
    gc.disable()  # nothing of so many points is garbage, and looking through them again and again takes long
    try:
        _large(case, other)
    finally:
        gc.enable()
    last = case.batch(1)
    call = case.send(other, last)
    if case.until(lambda: call.over, seconds=_GIVEN) and call.succeeded:  # else it may be at one that took too long
        expected = "what arrived before a large batch is still there after the next one"
        case.delivered(*small, timeless, *more, last, expected=expected)


def _an_hour_later(case: Case) -> None:
    """Export, step the clocks forward an hour, and export: an exporter that was idle is as good as a new one, and what
    it holds is as good as new.

    In an hour, what a thread has begun to send would long be over: the clocks step again later where that may not be.
    """
    for seconds in _SOONER if case.capabilities.holds else ():
        try:
            _idle_for_an_hour(case, seconds)
        except Failed as failure:
            case.journal.stamp("note", f"once more, later, since {failure.seen}")
        else:
            return
    _idle_for_an_hour(case, _AT_REST)


def _idle_for_an_hour(case: Case, seconds: float) -> None:
    """Step the clocks once what is accepted has arrived, after so many seconds at the latest."""
    exporter, batch, held = case.exporter(), case.batch(1), case.batch(1)
    with stepped_clock(EVERY) as step:
        case.succeeded(case.sent(exporter, case.batch(1)))
        case.accepted(exporter, held)
        case.until(lambda: case.has_arrived(held), seconds=seconds)
        step(_IDLE)
        call = case.sent(exporter, batch)
        if call.error is not None:
            raise Failed("export succeeds an hour after another one", describe_call(call)) from call.error
        case.delivered(held, batch, expected="every point has arrived, of an export and of one an hour before it")
        case.shut_down(exporter)


def _often(case: Case, exporter: Driven) -> None:
    """Export and flush hundreds of times: every export of an exporter's life is like the first."""
    events = len(case.journal.events)
    flushed = _OFTEN // 2 if case.capabilities.holds else 0  # the others are held together, if there is room
    call, done = _exporting(case, exporter, _OFTEN, flushed=flushed, until=monotonic() + _OFTEN_SECONDS)
    ended = case.until(lambda: call.over, seconds=_LONG)
    del case.journal.events[events:]  # hundreds
    case.journal.stamp("note", f"{len(done)} exports one after the other; then {describe_call(call)}")
    if not ended:
        return
    if call.error is not None and (not flushed or len(done) <= flushed):
        expected = f"export number {len(done) + 1} in a row succeeds"
        raise Failed(expected, describe_call(call)) from call.error
    _delivered(case, exporter, *done)


def _exporting(
    case: Case,
    exporter: Driven,
    number: int,
    make: Callable[[], TokenBatch] | None = None,
    *,
    seconds: float = _LONG,
    flushed: int = 0,
    until: float = inf,
) -> tuple[ObservedCall, list[TokenBatch]]:
    """Start to export so many batches, of which nothing is left when the next one is made; those accepted are listed.

    ``make`` makes a batch, of one point unless it is given. Each call has a deadline of so many ``seconds``. So many
    of the batches are each followed by a flush (``flushed``). ``until`` is the time at which it stops.
    """
    done = list[TokenBatch]()

    def export() -> None:
        for place in range(number):
            batch = make() if make else case.batch(1)
            exporter.export(Context.with_timeout(seconds), batch.metrics)
            done.append(batch.without_metrics())
            del batch  # another one is made in its place
            if place < flushed:
                exporter.force_flush(Context.with_timeout(seconds))
            if monotonic() > until:
                break

    return case.start("export", export), done


def _delivered(case: Case, exporter: Driven, *batches: TokenBatch) -> None:
    if case.capabilities.holds:
        context = case.long_context()
        flush = case.start("force_flush", lambda: exporter.force_flush(context), context)
        arrived = -1
        while case.canary is None and not case.until(lambda: flush.over, seconds=_LONG):
            before, arrived = arrived, len(case.arrived())
            if arrived == before:
                break  # it does not go on
        case.ends(flush, "force_flush ends")
        case.succeeded(flush)
        case.delivered(*batches, expected="every accepted point has arrived after the flush")
    else:
        case.delivered(*batches, expected="every point has arrived when export returns, as nothing is held")


def _large(case: Case, exporter: Driven) -> None:
    """Export batches larger than limits of points and bytes that backends have; to refuse one is no loss, but for one
    that a program makes with the SDK's own limit.

    The largest one is smaller where the one before took so long that it would take too long.
    """
    if case.capabilities.translates:  # what a format makes of a point is told from its fields
        _exported(case, exporter, case.batch(_SEVERAL * _MANY))
        return
    ordinary = case.tokens.large(min(ORDINARY, case.points))
    if _exported(case, exporter, ordinary, refusable=False) is None:
        return
    fewer, wide = min(_LARGE, case.points), case.tokens.wide(min(_WIDE, case.points))
    call = _exported(case, exporter, wide) and _exported(case, exporter, case.tokens.large(fewer))
    if call is None:
        return
    most = min(case.points, int(fewer * _LONG / max(call.seconds, _BETWEEN)))
    if most < case.points:
        case.observe(f"a batch of {case.points} points would take too long, and was not looked at")
    if most >= 2 * fewer:
        _exported(case, exporter, case.tokens.large(most))


def _exported(case: Case, exporter: Driven, batch: TokenBatch, *, refusable: bool = True) -> ObservedCall | None:
    """Export, and fail unless what is accepted arrives; None if it was refused, or took too long."""
    points, call = len(batch.points), case.send(exporter, batch)
    if not case.until(lambda: call.over, seconds=_LONG):
        call.cancel()
        case.observe(f"an export of {points} points took longer than {_LONG:g} s, and was not looked at")
        return None
    if call.error is not None:
        problems = [text for one in case.exchanges_so_far() if one.stored is None for text in one.problems]
        if problems:  # the backend could not read it: that is no limit of the backend's
            raise Failed(f"the backend can read a batch of {points} points", problems[-1]) from call.error
        if not refusable:
            raise Failed(f"a batch of {points} points is exported", describe_call(call)) from call.error
        case.observe(f"a batch of {points} points is refused: {describe_call(call)}")
        return None
    case.delivered(batch, expected=f"every point of a batch of {points} has arrived")
    return call


def _held(case: Case) -> None:
    """Hold one batch after the other, and some that are heavy; many more where they are delivered soon."""
    few, many = _HELD, case.points // _POINTS_A_BATCH
    began = monotonic()
    if not _all_delivered(case, few):
        return
    soon = (monotonic() - began) * many / few < _SOON
    _all_delivered(case, _HEAVY, lambda: case.tokens.heavy(_HEAVY))
    if soon:
        _all_delivered(case, many)


def _all_delivered(case: Case, number: int, make: Callable[[], TokenBatch] | None = None) -> bool:
    """Export so many batches while the gate is shut: what is accepted is delivered once it is open.

    False if that takes too long to be looked at.
    """
    exporter, events = case.exporter(), len(case.journal.events)
    case.shut()
    call, accepted = _exporting(case, exporter, number, make, seconds=_ROOM)
    case.until(lambda: call.over, seconds=_LONG)
    case.open_for(call)
    context = case.long_context()
    flush = case.start("force_flush", lambda: exporter.force_flush(context), context)
    ended = case.until(lambda: flush.over, seconds=_LONG)
    del case.journal.events[events:]  # thousands
    case.journal.stamp("note", f"{len(accepted)} batches held; then {describe_call(call)}")
    if not ended:
        context.cancel("by the clause")
        return False
    case.succeeded(flush)
    case.delivered(*accepted, expected="every accepted point has arrived after the flush")
    case.shut_down(exporter)
    return True


def without_scope_attributes(metrics: MetricsData) -> MetricsData:
    """A copy in which no scope has attributes."""
    changed = copy.deepcopy(metrics)
    for of_resource in changed.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            of_scope.scope._attributes = {}  # type: ignore[assignment]  # the SDK's own has no other way in
    return changed


class Corrupts(Canary):
    """Changes an attribute of every point, and drops those of the scope."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        changed = without_scope_attributes(metrics)
        for metric in metrics_in(changed):
            for point in metric.data.data_points:
                point.attributes["text"] = "corrupted"  # type: ignore[index]  # made by the kit, of dictionaries
        return self.inner.export(context, changed)


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
    """Export every kind of point with its extremes, batches that Hypothesis makes from the seed, one of many points of
    one metric, and some that the caller lets go of, each of another resource; then points that share an identity and
    differ in one thing each, such as an attribute that is 1, 1.0 or True, or the hour that local time has twice.
    """
    from exporter_core.conformance.generated import batches_of  # noqa: PLC0415 - a fifth of a second, for this one

    exporter = case.exporter()
    batches = [case.rich()]
    generated = case.canary is None and not case.capabilities.translates
    # The fixed ones show a canary's fault, which is in every batch. Translations confuse the names of generated ones.
    if generated:
        batches += batches_of(case.seed)
        if case.sink_kind.startswith("otlp"):
            batches.append(case.tokens.beyond(nested=not case.subject.of_the_sdk))
        plain = case.batch()
        case.succeeded(case.sent(exporter, plain))  # what cannot be read after this one is the exporter's doing
        case.delivered(plain, expected="every point of a plain batch arrives")
    for batch in batches:
        case.succeeded(case.sent(exporter, batch))
    if generated:
        uniform = case.tokens.uniform(min(_UNIFORM, case.points))
        if _exported(case, case.exporter(), uniform, refusable=False) is not None:  # a request a point takes long
            batches.append(uniform)
    if case.canary is None:
        batches += _let_go_of(case, exporter)
    case.delivered(*batches, expected="every point arrives as it was", whole=True)
    if generated:
        with local_time(_BERLIN):
            _alike(case, exporter)


def _let_go_of(case: Case, exporter: Driven) -> list[TokenBatch]:
    """Export batches of which nothing is left when the next one is made, which may have the same place in memory."""
    places = set[int]()
    numbers = iter(range(_APART))
    flushed = _APART if case.capabilities.holds else 0
    call, done = _exporting(case, exporter, _APART, lambda: case.tokens.apart(next(numbers), places), flushed=flushed)
    case.ends(call, f"{_APART} exports end")
    case.succeeded(call)
    return done


def _alike(case: Case, exporter: Driven) -> None:
    """Export points that share an identity twice, in another order the second time: none is taken for another one."""
    batches = case.tokens.alike()
    for batch in batches:
        case.succeeded(case.sent(exporter, batch))
    token = batches[0].tokens[0]
    arrived = [point for point in case.read_back() if point.token == token]
    sent = [point for batch in batches for point in batch.points]
    difference = unlike(sent, arrived, ignore=case.capabilities.not_carried)
    if difference:
        raise Failed("points that differ in one thing, such as an attribute's type, arrive as they were", difference)
    case.observe(f"{len(sent)} points that share an identity arrived")


class SendsTwice(Canary):
    """Exports every batch twice."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        self.inner.export(context, metrics)
        return self.inner.export(context, metrics)


@clause(
    "EXP-03",
    "SHOULD",
    "no duplicates on clean success",
    words=_DELIVER,
    technique="S",
    check="never send again what the backend has taken",
    canary=SendsTwice,
    derived=True,
    after=("EXP-01",),
    needs=("read_back",),
)
def once(case: Case) -> None:
    """Export, flush and shut down: every point arrives once, those of large batches too."""
    exporter = case.exporter()
    batches = [case.batch(), case.batch()]
    for batch in batches:
        case.succeeded(case.sent(exporter, batch))
    case.flush(exporter)
    case.shut_down(exporter)
    case.delivered(*batches, expected="every point arrives once", once=True)
    if case.canary is None and not case.capabilities.translates:
        other = case.exporter()
        more = [case.tokens.large(min(ORDINARY + 1, case.points)), case.tokens.wide(_FEW)]
        if all(_exported(case, other, batch) for batch in more):
            case.delivered(*more, expected="every point of large batches arrives once", once=True)


class SendsToTheFirst(Canary):
    """Delivers through the exporter of this kind that was made first, also when that is shut down."""

    _first: ClassVar[tuple[Case, Driven] | None] = None

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        if self._first is None or self._first[0] is not case:
            SendsToTheFirst._first = case, inner

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        """Make an export or a flush of the first one."""
        assert self._first is not None  # noqa: S101 - there is at least this one
        own, self.inner = self.inner, self._first[1]
        try:
            return call(context)
        finally:
            self.inner = own


@clause(
    "EXP-20",
    "SHOULD",
    "two exporters in one process are independent of each other",
    words=_DELIVER,
    technique="S",
    check="clients, connections, queues and flags belong to the exporter, not to its class or module",
    canary=SendsToTheFirst,
    derived=True,
    after=("EXP-01",),
    needs=("read_back",),
)
def independent(case: Case) -> None:
    """Make two exporters with a backend each: each delivers to its own, also where both have accepted before either
    delivers, and the second one still does so after the first one's shutdown. Make one with another secret: neither
    sends the other one's.
    """
    harnesses = case.harness, case.other_harness()
    exporters = [case.exporter(harness) for harness in harnesses]
    for _ in range(2):
        batches = [case.batch() for _ in harnesses]
        for exporter, batch in zip(exporters, batches, strict=True):
            case.accepted(exporter, batch)
        for exporter in exporters:
            case.succeeded(case.flush(exporter))
    for harness, batch in zip(harnesses, batches, strict=True):
        _is_at(harness, batch, "each of two exporters delivers to where its own options point")
    case.succeeded(case.shut_down(exporters[0]))
    last = case.batch()
    call = case.sent(exporters[1], last)
    if call.error is not None:
        expected = "export succeeds after the shutdown of another exporter"
        raise Failed(expected, describe_call(call)) from call.error
    _is_at(harnesses[1], last, "an export after the shutdown of another exporter arrives")
    case.observe("two exporters delivered, each to its own backend, and one after the shutdown of the other")
    if case.canary is None:
        _with_secrets_of_their_own(case)


def _with_secrets_of_their_own(case: Case) -> None:
    """Make an exporter with another secret between two exports of one, and compare the headers of their requests."""
    exporter, secret = case.exporter(), case.harness.secret
    with_another = case.pointing(lambda text: text.replace(secret, f"{secret}{_ANOTHER}")) if secret else None
    if with_another is None or case.sent(exporter, case.batch()).error is not None:
        return
    own = _last_headers(case)
    try:
        other = case.exporter(with_another)
    except Exception:  # noqa: BLE001 - its options, or its constructor, do not allow this secret
        return
    calls = [case.sent(exporter, case.batch())]
    later = _last_headers(case)
    calls.append(case.sent(other, case.batch()))
    of_other = _last_headers(case)
    if any(call.error is not None for call in calls):
        return  # another clause's business
    for name, value in later.items():
        if own.get(name) != value == of_other.get(name):
            expected = "an exporter goes on with its own secret once another one is made"
            raise Failed(expected, f"its {name} is that of the other one's requests")
    taken = {digest(f"{scheme}{secret}") for scheme in _SCHEMES}
    for name, value in of_other.items():
        if value in taken:
            raise Failed("an exporter sends its own secret", f"its {name} has that of one that was made before")


def _last_headers(case: Case) -> dict[str, str]:
    """The headers of the latest request that hold a secret, each as its digest."""
    last = max(case.exchanges_so_far(), key=lambda one: one.seconds, default=None)
    if last is None:
        return {}
    secret = {name.lower() for name, value in last.headers if MASK in value}
    return {name: value for name, value in last.digests if name in secret}


def _is_at(harness: Harness, batch: TokenBatch, expected: str) -> None:
    lost = set(batch.tokens).difference(harness.read_identities())
    if lost:
        raise Failed(expected, f"{len(lost)} of {len(batch.points)} points lost")


class ReturnsFuture(Canary):
    """Returns before the export is done."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        future: Future[object] = Future()
        self.case.start("detached export", lambda: future.set_result(self.inner.export(context, metrics)))
        return future


@clause(
    "EXP-04",
    "MUST",
    "synchronous: no detached work, no detached error",
    words=_DELIVER,
    technique="S",
    check="every operation returns None, after its work is done: no future, no fire-and-forget",
    canary=ReturnsFuture,
)
def synchronous(case: Case) -> None:
    """Each operation returns None, export not before its delivery where nothing is held; an export that has failed
    sends nothing afterwards: at its deadline, when it was cancelled, or when one of its several requests was refused;
    it lets go of the request that was not answered; no thread dies of an error.
    """
    before = Resources.now()
    with _thread_errors() as errors:
        exporter = case.exporter()
        call = case.export(exporter)
        case.succeeded(call)
        _returned_nothing(call)
        case.observe("export returned None")
        _returned_nothing(case.flush(exporter))
        if case.has_harness and case.harness.gated and not case.capabilities.holds:
            _waits_for_its_delivery(case, exporter)
            if case.counts_requests:
                if "hang" in case.harness.faults and case.canary is None:
                    _waits_for_every_part(case, exporter)
                _sends_nothing_later("its deadline", partial(_sent_later, case, before))
                if case.cancellable and case.canary is None:
                    _sends_nothing_later("it was cancelled", partial(_sent_later, case, before, cancel=True))
        _returned_nothing(case.shut_down(exporter))
        case.until(lambda: Resources.now().threads <= before.threads, seconds=_QUIET)
    if errors:
        raise Failed("no error outside the calls", errors[0])


def _returned_nothing(call: ObservedCall) -> None:
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
    case.open_for(call)
    case.observe("export did not return before its delivery")


def _waits_for_every_part(case: Case, exporter: Driven) -> None:
    """Let one of a batch's several requests hang: an export that returns has not waited for it. Let one be refused: an
    export that raises sends no other one later.
    """
    parts = parts_of(case, exporter)
    for number in parts.places:
        batch = parts.make()
        case.harness.fault(*["ok"] * (number - 1), "hang", "ok")
        call = case.send(case.exporter(), batch, case.short_context(_GIVEN))
        case.until(lambda: call.over, seconds=2 * _GIVEN)  # noqa: B023 - awaited here
        case.harness.fault("ok")
        if call.succeeded and not case.has_arrived(batch):
            expected = "export returns when all of its requests are answered"
            raise Failed(expected, f"it returned while request {number} of {parts.requests} was not")
    if parts.places and {"status", "retry-after"} <= case.harness.faults:
        _sends_nothing_later("one of its requests was refused", partial(_sent_after_refusal, case, parts))


def _sends_nothing_later(end: str, count: Callable[[], int]) -> None:
    """Let an export fail, and look for requests from then on.

    What it sent before may be stored later. That a further request left just before its end and arrived after it, or
    that the end of its connection takes long, happens once, if at all: what is at fault does so each time.
    """
    failures = list[Failed]()
    for _ in range(2):
        try:
            later = count()
        except Failed as failure:
            failures.append(failure)
        else:
            if not later:
                return
            failures.append(
                Failed("an export that has failed sends no further request", f"requests after {end}: {later}")
            )
    raise failures[-1]


def _sent_after_refusal(case: Case, parts: Parts) -> int:
    """Count the requests that arrived after an export had failed, the first of whose several requests was refused."""
    at_first = case.harness.requests()
    case.harness.fault("status:400", f"retry-after:{_LATER:g}")
    call = case.send(case.exporter(), parts.make(), case.background_context())
    try:
        if not case.until(lambda: call.over, seconds=_GIVEN):
            call.cancel()  # it waits for its other requests
            case.until(lambda: call.over, seconds=_GIVEN)
            return 0
        sleep(_QUIET)  # what had left by then arrives
        sent = case.harness.requests()
        if sent - at_first > 1:  # otherwise it sends one after the other
            case.until(lambda: case.harness.requests() > sent, seconds=2 * _LATER)
        return case.harness.requests() - sent
    finally:
        case.harness.fault("ok")


def _sent_later(case: Case, before: Resources, *, cancel: bool = False) -> int:
    """Count the requests that arrived after an export had ended at its deadline, or with ``cancel`` when it was
    cancelled; 0 if that cannot be told.
    """
    # Its work may go on after it has ended for its caller, in sight or not.
    beside = case.mode == "guarded" or inspect.iscoroutinefunction(case.subject.exporter_class.export)
    end = "when it was cancelled" if cancel else "at its deadline"
    at_first = case.harness.requests()
    case.shut()
    try:
        counts: list[tuple[int, int]] = []

        def count() -> None:
            counts.append((case.harness.requests(), case.harness.connections() or 0))

        # Its requests are counted before its deadline passes, however busy the machine is.
        parked = case.attempted(lambda: _cancelled_at_gate(case, count) if cancel else case.blocked_at_gate(count))
        if parked is None:
            return 0
        exporter, call = parked
        sent, connected = counts[-1]  # an attempt before this one may have left a connection open
        while not cancel and not call.wait(_BETWEEN):
            requests = case.harness.requests()
            if call.due or call.over:
                break
            sent = requests
        ended = call.wait(_GIVEN) and (not beside or case.until(lambda: case.journal.is_idle, seconds=_QUIET))
        if not ended or call.error is None:
            case.journal.stamp("note", f"it did not end {end}, which is another clause's business")
            return 0
        if case.sink_kind in _ONE_REQUEST and not case.until(lambda: (case.harness.connections() or 0) < connected):
            expected = f"an export that ended {end} lets go of its request, which was not answered"
            raise Failed(expected, "its connection is still open")
        if sent == at_first:  # nothing shows that its one request had left by then
            return 0
    finally:
        case.open()
    case.until(
        lambda: case.harness.requests() > sent or not (beside or Resources.now().threads - before.threads),
        seconds=_BESIDE if beside else _QUIET,
    )
    later = case.harness.requests() - sent
    case.shut_down(exporter)
    if not later:
        case.observe(f"an export that ended {end} sent nothing afterwards")
    return later


def _cancelled_at_gate(case: Case, act: Callable[[], None]) -> tuple[Driven, ObservedCall]:
    """Return an exporter whose export stood before the shut gate, and was cancelled there after ``act``."""
    exporter = case.exporter()
    call = case.send(exporter, case.batch(), case.background_context())
    case.await_entry(call)
    act()
    call.cancel()
    return exporter, call


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
