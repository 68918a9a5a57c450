"""PY: what a Python process expects of any library. These clauses never decide about conformance."""

from __future__ import annotations

import atexit
import gc
import itertools
import json
import os
import pickle
import select
import signal
import sys
import threading
import time
import tracemalloc
import warnings
import weakref
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from opentelemetry.sdk.metrics.export import Gauge, MetricsData

from exporter_core.conformance.base_case import BaseCase, describe_call
from exporter_core.conformance.clause import clause
from exporter_core.conformance.clauses.canary import Canary, Holds, Leaks, Serialised
from exporter_core.conformance.observe.first_state import changed_in_thread, state_of_thread
from exporter_core.conformance.observe.journal import words_of
from exporter_core.conformance.observe.process_state import watched_process
from exporter_core.conformance.resources import Resources, wake_loops
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.observe.journal import ObservedCall
    from exporter_core.conformance.observe.tokens import TokenBatch
    from exporter_core.conformance.subject import Driven

_ODD_INTERVAL = 0.0052  # seconds
_FAILURES = ("status:400", "full", "reset", "refuse")  # the best first: one that a request meets
_TRYING = 0.5  # seconds in which an exporter may go on trying what may get better
_TAKEN = 0.2  # seconds in which an exporter that delivers by itself takes up what it holds
_CYCLES = 8
_SAME, _EXPORTS = 300, 4  # points of a batch, and exports of it in a round
_LEFT = _EXPORTS // 2  # what a round leaves, if each export, or each that failed, leaves one
_FEWEST_ROUNDS, _MOST_ROUNDS = 3, 40
_ROUNDS, _IN_ROUND = 12, 100  # of exports of one point, after each of which the objects are counted
_LONG = 5.0  # seconds
_NOTHING = 2048  # bytes that the journal, among others, keeps of an export
_CHANGED = "changed: "
_BOUNDS = 3  # how many times a child's own patience its parent has


class InheritsLock(Serialised):
    """Exports under a lock that a forked child inherits."""


@clause(
    "PY-01",
    "SHOULD",
    "fork, idle and in mid-export: the child exports and the parent is intact",
    words="Python hygiene: os.fork copies locks in the state in which they are, and no thread.",
    technique="C",
    check="os.register_at_fork(after_in_child=...) renews locks and connections",
    canary=InheritsLock,
    hygiene=True,
    after=("EXP-01", "EXP-03", "EXP-04", "FLU-01"),
    needs=("read_back",),
)
def forks(case: Case) -> None:
    """Fork while idle, with data held, while an export waits at the gate, and while one connects; child and parent
    export. The request that waits at the gate is answered, and a child that is forked after a shutdown exports nothing.
    """
    exporter, held = case.exporter(), case.batch()
    case.succeeded(case.sent(exporter, case.batch()))
    case.accepted(exporter, held)
    _child_exports(case, exporter, "idle")
    case.succeeded(case.sent(exporter, case.batch()))
    case.delivered(held, expected="the parent delivers what it holds, and the child none of it", once=True)
    if case.harness.gated:
        _mid_export(case, exporter)
    if case.canary is None:
        _while_connecting(case)
        _stays_shut_down(case)


def _stays_shut_down(case: Case) -> None:
    """Fork after a shutdown: an export in the child raises, as one in the parent does."""
    exporter = case.exporter()
    case.shut_down(exporter)
    if case.export(exporter).error is None:
        return  # another clause's business

    def child() -> str:
        case.harness.after_fork()
        call = case.export(exporter)
        return describe_call(call) if call.error is None else ""

    seen = in_child(case, child)
    if seen:
        raise Failed("an export in a child that was forked after a shutdown raises", seen)
    case.observe("a child that was forked after a shutdown exported nothing")


def _while_connecting(case: Case) -> None:
    """Fork while an export connects to a backend that does not answer at first; the child exports."""
    if case.harness.tier != "wire" or "blackhole" not in case.harness.faults:
        return
    exporter = case.exporter()
    case.harness.fault("blackhole")
    call = case.send(exporter, case.batch())
    call.wait(_TAKEN)
    if not call.over:
        mended = partial(case.harness.fault, "ok")
        _child_exports(case, exporter, "while an export connected", inherited=True, begun=mended)
    case.harness.fault("ok")
    case.ends(call, "the parent's export ends once it can connect")


def _mid_export(case: Case, exporter: Driven) -> None:
    *firsts, second = (case.batch() for _ in range(2 + case.capabilities.holds))
    before, began = len(case.exchanges_so_far()), time.monotonic()
    parked = _parked(case, exporter, firsts)
    waiting = len(case.exchanges_so_far())
    try:
        _child_exports(case, exporter, "in mid-export", inherited=True)
    finally:
        case.open()
    seconds = time.monotonic() - began
    case.ends(parked, "the parent's export ends once the gate is open")
    case.succeeded(parked)
    if case.canary is None and _was_cut(case, before, waiting) and not _is_cut_alone(case, seconds):
        expected = "the request that the parent waits for is answered, whatever a child does meanwhile"
        raise Failed(expected, "it was cut off, and sent again")
    case.succeeded(case.sent(exporter, second))
    case.delivered(*firsts, second, expected="the parent's exports go on, and the child sends none of them", once=True)


def _was_cut(case: Case, start: int, end: int) -> bool:
    """True if one of these requests was not stored, although others were."""
    found = case.exchanges_so_far()
    return any(one.stored for one in found) and not all(one.stored for one in found[start:end])


def _is_cut_alone(case: Case, seconds: float) -> bool:
    """True if an export that waits at the gate twice as long is sent again without any fork: it has a limit."""
    exporter, before = case.exporter(), len(case.exchanges_so_far())
    parked = _parked(case, exporter, [case.batch()])
    waiting = len(case.exchanges_so_far())
    parked.wait(2 * seconds)
    case.open_for(parked)
    return _was_cut(case, before, waiting)


def _parked(case: Case, exporter: Driven, batches: Sequence[TokenBatch]) -> ObservedCall:
    """Let a delivery stand before the shut gate; of an exporter that holds data, with a batch behind it."""
    if not case.capabilities.holds:
        return case.send_to_gate(exporter, batches[0])
    case.shut()
    for batch in batches:
        case.accepted(exporter, batch)
        case.until(lambda: bool(case.harness.entered()), seconds=_TAKEN)
    flush = case.start("force_flush", partial(exporter.force_flush, case.long_context()))
    case.await_entry(flush)
    return flush


def _child_exports(
    case: Case,
    exporter: Driven,
    when: str,
    *,
    inherited: bool = False,
    begun: Callable[[], object] | None = None,
) -> None:
    """Fail unless a forked child exports; ``inherited`` says that it has an export of its parent's, and ``begun`` is
    called in the parent once it is there.
    """
    batch, before = case.batch(), case.exchanges_so_far()

    def child() -> str:
        case.harness.after_fork()
        call = case.sent(exporter, batch)
        if call.error is not None:
            return describe_call(call)
        lost = set(batch.tokens).difference(case.arrived())
        if not lost and not inherited:  # its shutdown is its own
            case.shut_down(exporter)
        return f"{len(lost)} points lost" if lost else ""

    # Where the gate is outside this process, a child cannot open its own copy; the parent's opens for both.
    shared = inherited and case.harness.entered() is None
    seen = in_child(case, child, case.open if shared else begun)
    if seen:
        raise Failed(f"a child that was forked {when} exports", seen)
    if not (inherited or case.capabilities.holds) and case.canary is None:  # else its parent sends as well
        parents = {one.connection for one in before} - {None}
        if parents.intersection(one.connection for one in case.exchanges_so_far()[len(before) :]):
            expected = f"a child that was forked {when} exports over a connection of its own"
            raise Failed(expected, "its request came over one of its parent's")
    case.observe(f"a child that was forked {when} exported")


class DropsInChild(Holds):
    """Holds every batch, and drops it in a forked child's shutdown."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._parent = os.getpid()

    def force_flush(self, context: Context) -> object:
        while self.held:
            self.inner.export(context, self.held.pop(0))
        return self.inner.force_flush(context)

    def shutdown(self, context: Context) -> object:
        if os.getpid() == self._parent:
            self.force_flush(context)
        return self.inner.shutdown(context)


@clause(
    "PY-04",
    "SHOULD",
    "a child that records and exits loses nothing",
    words="Python hygiene: what a forked child accepts is the child's to deliver, also when it leaves at once.",
    technique="C",
    check="after a fork the child has a buffer, a thread and connections of its own, and shutdown uses those",
    canary=DropsInChild,
    hygiene=True,
    after=("EXP-01", "SHD-01"),
    needs=("read_back",),
)
def records_and_exits(case: Case) -> None:
    """Fork; the child exports one batch and shuts down, without a flush: it has arrived."""
    exporter, batch = case.exporter(), case.batch()
    case.succeeded(case.sent(exporter, case.batch()))

    def child() -> str:
        case.harness.after_fork()
        for call in (case.export(exporter, batch), case.shut_down(exporter)):
            if call.error is not None:
                return describe_call(call)
        lost = set(batch.tokens).difference(case.arrived())
        return f"{len(lost)} points lost" if lost else ""

    seen = in_child(case, child)
    if seen:
        raise Failed("what a child exports has arrived when its shutdown returns", seen)
    case.observe("what a child exported had arrived when its shutdown returned")


class NonDaemonThread(Canary):
    """Starts a thread in an export that holds up the interpreter's exit."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        threading.Thread(target=self.hold, daemon=False).start()
        return self.inner.export(context, metrics)


@clause(
    "PY-02",
    "SHOULD",
    "interpreter exit is bounded with an export in flight",
    words="Python hygiene: a thread that is not a daemon holds up the interpreter's exit.",
    technique="C",
    check="threads are daemons, or are ended by shutdown; no concurrent.futures executor with work that never ends",
    canary=NonDaemonThread,
    hygiene=True,
    after=("KND-01",),
    needs=("gate",),
)
def exits(case: Case) -> None:
    """In a child, export on the main thread, of which new threads are no daemons unless they are told to be; start an
    export that never ends, and leave as the interpreter does.
    """

    def child() -> str:
        exporter = case.exporter()
        with suppress(Exception):  # another clause's business
            exporter.export(Context.with_timeout(case.patience / 2), case.batch().metrics)
        case.send_to_gate(exporter)
        leave: Callable[[], object] = threading._shutdown  # type: ignore[attr-defined]  # what the interpreter's exit calls first
        leave()
        atexit._run_exitfuncs()
        return ""

    case.harness.config()
    seen = in_child(case, child)
    if seen:
        raise Failed("the interpreter exits although an export is in flight", seen)
    case.observe("the interpreter exited although an export was in flight")


@clause(
    "PY-03",
    "SHOULD",
    "no growth over create, export, shutdown cycles, nor when never shut down",
    words="Python hygiene: what is made again and again must not pile up.",
    technique="Q",
    check="no thread, descriptor, atexit function or kept request for each export or each exporter",
    canary=Leaks,
    hygiene=True,
    after=("SHD-02",),
)
def growth(case: Case) -> None:
    """Make, use and shut down some exporters, and let some go without a shutdown: none of those that were shut down is
    kept. Then export the same series again and again, every second time to a backend that refuses it, and look at the
    memory, the threads and the descriptors; and a thousand times the same point, as long as each time leaves something.
    """
    kept: list[weakref.ref[object]] = []

    def cycle(*, shut_down: bool) -> None:
        exporter = case.exporter()
        for _ in range(2):
            case.export(exporter)
        if shut_down:
            case.shut_down(exporter)
            with suppress(TypeError):  # of a class with slots
                kept.append(weakref.ref(getattr(exporter, "exporter", exporter)))

    cycle(shut_down=True)
    case.forget()
    before, functions = Resources.now(), atexit._ncallbacks()
    for number in range(_CYCLES):
        cycle(shut_down=number % 2 == 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # that it was never shut down is what is tried
        case.forget()
        gc.collect()  # exporters may refer to themselves
        wake_loops()  # to which a finaliser may have left it
        if not case.until(lambda: len(before.added()) < _CYCLES // 2, fault="is_leaking"):
            left = before.added()
            raise Failed(f"as much after {_CYCLES} exporters as before", f"{len(left)} more: {', '.join(left[:4])}")
    alive = sum(one() is not None for one in kept)
    if case.canary is None and len(kept) > 1 and alive == len(kept):
        raise Failed("an exporter that was shut down is let go of", f"{alive} of {len(kept)} are kept")
    functions = atexit._ncallbacks() - functions
    if functions >= _CYCLES // 2:
        raise Failed(f"as much after {_CYCLES} exporters as before", f"{functions} more functions to be called at exit")
    case.observe(f"nothing grew over {_CYCLES} exporters")
    if case.canary is None and case.has_harness and case.harness.tier == "wire":  # whose memory is another process's
        _keeps_nothing(case)
        _leaves_no_trace(case)


@dataclass
class _Growth:
    """The memory and the open resources of the process after each round of exports."""

    sizes: list[int] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)

    def look(self) -> None:
        """Add a round."""
        gc.collect()
        self.sizes.append(tracemalloc.get_traced_memory()[0])
        now = Resources.now()
        self.opened.append(len(now.threads) + len(now.descriptors) + len(now.children))

    @property
    def kept(self) -> int:
        """Bytes that each round has left, at least."""
        return min(later - sooner for sooner, later in itertools.pairwise(self.sizes))

    @property
    def left_open(self) -> int:
        """Threads, descriptors and children that each round has left, at least."""
        return min(later - sooner for sooner, later in itertools.pairwise(self.opened))


def _keeps_nothing(case: Case) -> None:
    """Export the same series again and again, every second time to a backend that refuses it: what is kept of each is
    not as large as half of its request, and nothing stays open.

    What has room for the latest alone is full some time, and grows no more.
    """
    exporter, growth, until = case.exporter(), _Growth(), time.monotonic() + _LONG
    refused = case.first_known(_FAILURES) if "ok" in case.harness.faults else None
    make = _copies(case.batch(_SAME))

    def fill() -> None:
        for _ in range(_FEWEST_ROUNDS):  # in the first one, what is kept for good is made
            _round(case, exporter, make, refused)
            growth.look()
        while growth.left_open < _LEFT and growth.kept > _allowed(case) and time.monotonic() < until:
            _round(case, exporter, make, refused)
            growth.look()
            if len(growth.sizes) == _MOST_ROUNDS:
                break

    tracemalloc.start()
    try:
        call = case.start("export", fill)
        case.until(lambda: call.over)
    finally:
        tracemalloc.stop()
    if not call.succeeded:
        return  # another clause's business
    case.shut_down(exporter)
    if growth.left_open >= _LEFT:
        raise Failed("nothing more stays open with each export", f"{growth.left_open} more after {_EXPORTS} exports")
    exports = _EXPORTS * len(growth.sizes)
    if growth.kept > _allowed(case):
        seen = f"{growth.kept // _LEFT} bytes more with each of {exports}"
        raise Failed("memory does not grow with the number of exports", seen)
    case.observe(f"memory did not grow with {exports} exports")


def _copies(batch: TokenBatch) -> Callable[[], MetricsData]:
    """A function that makes the same series in objects of their own, of which an exporter may keep each."""
    (of_resource,) = batch.metrics.resource_metrics
    (of_scope,) = of_resource.scope_metrics
    (metric,) = of_scope.metrics
    points = pickle.dumps(metric.data.data_points)

    def make() -> MetricsData:
        copied = replace(metric, data=Gauge(pickle.loads(points)))  # noqa: S301 - the checker's own
        return MetricsData([replace(of_resource, scope_metrics=[replace(of_scope, metrics=[copied])])])

    return make


def _round(case: Case, exporter: Driven, make: Callable[[], MetricsData], refused: str | None) -> None:
    """Export and flush some times, every second time with this fault."""
    for number in range(_EXPORTS):
        is_refused = refused is not None and number % 2 == 1
        if refused is not None:
            case.harness.fault(refused if is_refused else "ok")
        with suppress(Exception) if is_refused else nullcontext():
            exporter.export(Context.with_timeout(case.patience), make())
            exporter.force_flush(Context.with_timeout(case.patience))
    if refused is not None:
        case.harness.fault("ok")


def _allowed(case: Case) -> float:
    """Bytes that a round may leave: what the checker itself keeps, or half of a request for each of some exports."""
    return _LEFT * max(2 * _NOTHING, max((one.size for one in case.exchanges_so_far()), default=0) / 2)


def _leaves_no_trace(case: Case) -> None:
    """Export the same point again and again, more often than a list of the latest may be long: not each of them leaves
    an object behind. It ends as soon as some have left fewer.
    """
    exporter, metrics, events = case.exporter(), case.batch(1).metrics, len(case.journal.events)
    blocks, until = list[int](), time.monotonic() + _LONG

    def fill() -> None:
        for _ in range(_ROUNDS):
            for _ in range(_IN_ROUND):
                exporter.export(Context.with_timeout(case.patience), metrics)
            exporter.force_flush(Context.with_timeout(case.patience))
            del case.journal.events[events:]
            gc.collect()
            blocks.append(sys.getallocatedblocks())
            more = [later - sooner for sooner, later in itertools.pairwise(blocks)]
            if (more and more[-1] < _IN_ROUND) or time.monotonic() > until:
                return

    call = case.start("export", fill)
    case.until(lambda: call.over)
    case.shut_down(exporter)
    if call.succeeded and len(blocks) == _ROUNDS:
        more = (blocks[-1] - blocks[0]) // (_IN_ROUND * (_ROUNDS - 1))
        expected = "no export leaves something behind for good"
        raise Failed(expected, f"{more} objects more with each of {_IN_ROUND * _ROUNDS} exports of the same point")


class SetsSwitchInterval(Canary):
    """Sets how often all threads of the process take turns, in an export."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        sys.setswitchinterval(_ODD_INTERVAL)
        return self.inner.export(context, metrics)


@clause(
    "PY-05",
    "SHOULD",
    "what belongs to the whole process is left as it was",
    words="Python hygiene: signals, hooks, loggers, warnings, limits, the import path, the standard library's "
    "functions and the environment are the application's.",
    technique="S",
    check="no signal.signal, os.chdir, os.umask, logging.basicConfig, socket.setdefaulttimeout, random.seed, "
    "asyncio.set_event_loop, decimal.getcontext().prec, sys.path.insert, ...; no patched function; what has to be "
    "changed is changed back, also after a failure; nothing is printed",
    canary=SetsSwitchInterval,
    hygiene=True,
)
def leaves_process_alone(case: Case) -> None:
    """Plant values in the process, make an exporter, export, let an export fail, flush and shut down: the values are
    there, nobody has written to standard output, and the standard library's functions are its own. Nor has a call
    changed what belongs to the thread that makes it, or what only the main thread can change, such as the handlers of
    signals.
    """
    # What a harness of another's looks at may be standard output.
    elsewhere = case.has_harness and case.harness.tier == "wire" and not case.writes_to_stdout
    if case.has_harness:
        case.harness.config()
    with watched_process(output=elsewhere) as changed:
        exporter = case.exporter()
        case.sent(exporter, case.batch())
        for _ in _failures(case):
            failing = case.send(exporter, case.batch(), case.short_context(_TRYING))
            case.until(lambda: failing.over, seconds=2 * _TRYING)  # noqa: B023 - awaited here
        case.flush(exporter)
        case.shut_down(exporter)
        found = changed()
        if case.canary is None:
            found += _changed_in_thread(case)
    if case.canary is None:
        found += _changed_on_main_thread(case)
    if found:
        raise Failed("the process is as it was", f"it changed {', '.join(found)}")
    case.observe("the process was as before")


def _changed_on_main_thread(case: Case) -> list[str]:
    """Use an exporter on the main thread of a forked child, where signals can be handled: what it has changed there."""

    def child() -> str:
        with watched_process(output=False, bare=True) as changed:
            exporter = case.exporter()
            if case.has_harness and "hang" in case.harness.faults:
                case.harness.fault("hang", "ok")
                with suppress(Exception):  # another clause's business
                    exporter.export(Context.with_timeout(_TAKEN), case.batch().metrics)
            _use(case, exporter)
            return _CHANGED + ", ".join(changed())

    seen = in_child(case, child)
    changed = seen.removeprefix(_CHANGED)
    return [f"{changed}, in calls on the main thread"] if changed not in ("", seen) else []


def _use(case: Case, exporter: Driven) -> None:
    """Export, let an export fail, flush and shut down, all on this thread."""

    def call(operation: Callable[[Context], object], seconds: float = case.patience / 2) -> None:
        with suppress(Exception):  # another clause's business
            operation(case.short_context(seconds))

    def export(context: Context) -> None:
        exporter.export(context, case.batch().metrics)

    call(export)
    for _ in _failures(case):
        call(export, _TRYING)
        call(exporter.force_flush, _TRYING)
    call(exporter.force_flush)
    call(exporter.shutdown)


def _failures(case: Case) -> Iterator[str]:
    """Let the backend refuse requests, and then connections, while the caller goes through these steps."""
    faults = case.harness.faults if case.has_harness else frozenset[str]()
    for step in dict.fromkeys((case.refusal or "refuse", "refuse")):
        if {"ok", step.partition(":")[0]} <= faults:
            case.harness.fault(step)
            yield step
            case.harness.fault("ok")


def _changed_in_thread(case: Case) -> list[str]:
    """Use an exporter on a thread: what is then another one in it."""
    found: list[str] = []

    def use() -> None:
        exporter, before = case.exporter(), state_of_thread()
        _use(case, exporter)
        found.extend(f"{name} of the calling thread" for name in changed_in_thread(before))

    used = case.start("export", use)
    case.until(lambda: used.over)
    return found


def in_child(case: BaseCase, function: Callable[[], str], forked: Callable[[], object] | None = None) -> str:
    """Call in a forked child, and return its answer, or how it failed. A child that does not end is killed.

    ``forked`` is called in the parent once the child is there.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12: forking a process with threads is the point
        number = os.fork()
    if number == 0:
        os.close(reading)
        _answer(case, function, writing)
    os.close(writing)
    if forked is not None:
        forked()
    case.journal.stamp("note", f"forked child {number}")
    try:
        # The child gives up by itself; longer waits are for one that cannot.
        if not select.select([reading], [], [], _BOUNDS * case.patience)[0]:
            os.kill(number, signal.SIGKILL)
        data = os.read(reading, 65536)
        with suppress(ChildProcessError):  # an exporter may have had SIGCHLD ignored
            os.waitpid(number, 0)
    finally:
        os.close(reading)
    if not data:
        return "the child died, or did nothing any more"
    answer: dict[str, Any] = json.loads(data)
    if answer["inconclusive"]:
        raise VerdictError(Verdict.INCONCLUSIVE, answer["seen"])
    return str(answer["seen"])


def _answer(case: BaseCase, function: Callable[[], str], writing: int) -> NoReturn:
    """Call in this forked child, and end it with the answer, without cleaning up what is the parent's."""
    answers = threading.Lock()

    def answer(seen: str, *, inconclusive: bool = False) -> NoReturn:
        answers.acquire()  # for good: there is one answer
        try:
            os.write(writing, json.dumps({"seen": seen, "inconclusive": inconclusive}).encode())
        finally:
            os._exit(0)

    def give_up() -> None:
        case.until(lambda: False)
        answer(f"the child had not ended {case.waited}")

    threading.Thread(target=give_up, daemon=True).start()
    try:
        seen = function()
    except VerdictError as error:
        answer(error.seen, inconclusive=error.verdict is Verdict.INCONCLUSIVE)
    except BaseException as error:  # noqa: BLE001 - the answer says it
        answer(words_of(error))
    answer(seen)
