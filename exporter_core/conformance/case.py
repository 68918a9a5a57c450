"""One run of one clause: the exporter, its harness, calls that can be watched, and what may be asserted.

Every wait is bounded. A bound only ever ends a run that fails: what decides is order, never a duration.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from exporter_core.conformance.observe.harness import HARNESS_ERRORS, failed_in, watched
from exporter_core.conformance.observe.journal import Call, Journal, words_of
from exporter_core.conformance.observe.tokens import Batch, Tokens, compare
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.conformance.subject import inexpressible
from exporter_core.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from exporter_core.conformance.clause import Clause
    from exporter_core.conformance.observe.harness import Capabilities, Harness
    from exporter_core.conformance.observe.journal import Event, Exchange
    from exporter_core.conformance.observe.tokens import Point
    from exporter_core.conformance.scheduled import Step
    from exporter_core.conformance.subject import Driven, Mode, Subject
    from exporter_core.exporter import ExporterConfig

SHORT = 0.03
"""Seconds of a deadline that is meant to pass."""

_T = TypeVar("_T")

_DEADLINES = (SHORT, 0.2, 1.0, 5.0)
_LOOK = 0.0005  # seconds between two looks, at first
_LOOK_MOST = 0.008
_HELD = 0.05  # seconds for which a canary has to hold a call that it holds, lest a moment's wait counts
_LOOKS = 5
_MOMENT = 0.02  # seconds for what a clause cannot see; see Case.started
_LATE = 0.1  # seconds after which the end of a call is looked into that its context is to have ended
_CONTROLS, _CONTROLLED = 5, 1.0  # calls at most that it is compared with, and seconds for them; one at least
_LEAVE = 2.0  # seconds that calls and shutdowns may take when a clause is over


class Case:
    """One run of one clause.

    Args:
        clause: which.
        subject: the exporter.
        mode: raw or behind the guard.
        directory: an empty folder.
        seed: decides what is random.
        schedules: how many seeds a scheduled clause tries, from ``seed`` on.
        patience: seconds after which a run that waits has failed.
        canary: whether to wrap the exporter in the clause's own fault.
    """

    def __init__(
        self,
        clause: Clause,
        subject: Subject,
        mode: Mode,
        *,
        directory: Path,
        seed: int,
        schedules: int,
        patience: float,
        canary: bool,
    ) -> None:
        self.clause = clause
        self.subject = subject
        self.mode: Mode = mode
        self.directory = directory
        self.seed = seed
        self.schedules = schedules
        self.patience = patience
        self.journal = Journal()
        self.tokens = Tokens(f"{clause.id}-{mode}")
        self.options: ExporterConfig | None = None
        """The options of the last exporter that was built."""
        self.observations: list[str] = []
        self.exchanges: list[Exchange] = []
        """The requests that the backend got, once the run is over."""
        self.tainted = False
        """Whether something of this run goes on although it is over."""
        self.canary = clause.canary if canary else None
        """The fault that the exporter is wrapped in."""
        self.found_seed: int | None = None
        """The seed of the scheduler that a failure was found with."""
        self._is_shut = False
        self._contexts: list[Context] = []
        self._calls: list[Call] = []
        self._driven: list[Driven] = []
        self._wrapped: list[Any] = []
        self._wrapped_before: list[Any] = []
        self._harness: Harness | None = None

    # --- the parts -----------------------------------------------------------------------------------------------

    @property
    def harness(self) -> Harness:
        """The harness, set up. Raises VerdictError if there is none."""
        if self._harness is None:
            if self.subject.harness is None:
                raise VerdictError(Verdict.UNOBSERVABLE, "there is no harness: nothing shows what was delivered")
            try:
                harness = watched(self.subject.harness())
            except HARNESS_ERRORS as error:
                raise failed_in("__init__", error) from error
            harness.setup(self.directory, self.journal.stamp)
            self._harness = harness
        return self._harness

    @property
    def has_harness(self) -> bool:
        """Whether deliveries can be seen."""
        return self.subject.harness is not None

    @property
    def cancellable(self) -> bool:
        """Whether the exporter can be told that a call is cancelled."""
        return self.mode == "guarded" or not self.subject.of_the_sdk

    @property
    def capabilities(self) -> Capabilities:
        """What the exporter says that it is."""
        from exporter_core.conformance.observe.harness import Capabilities  # noqa: PLC0415 - a value, not a type

        return self.subject.harness.capabilities if self.subject.harness else Capabilities()

    def exporter(self) -> Driven:
        """A fresh exporter, in a canary run with the clause's fault."""
        driven = self.plain_exporter()
        if self.canary is None:
            return driven
        wrapped = self.canary(self, driven)
        self._wrapped.append(wrapped)
        return cast("Driven", wrapped)

    def plain_exporter(self) -> Driven:
        """A fresh exporter without any canary."""
        config: object = self.harness.config() if self.has_harness else {}
        if not isinstance(config, Mapping):
            wrong = f"the harness failed in config: it returned {type(config).__name__}, not a mapping"
            raise VerdictError(Verdict.KIT_ERROR, wrong)
        self.options = self.subject.validated(config)
        driven = self.subject.drive(self.mode, self.options, self.journal)
        self._driven.append(driven)
        reason = inexpressible(driven, self.clause)
        if reason is not None:
            raise VerdictError(Verdict.INEXPRESSIBLE, reason)
        return driven

    def unguarded(self) -> Driven:
        """The last exporter anew, raw: for what the guard cannot be built around."""
        assert self.options is not None  # noqa: S101 - one was to be built before
        driven = self.subject.drive("raw", self.options, self.journal)
        self._driven.append(driven)
        return driven

    def forget(self) -> None:
        """Let go of the exporters and calls so far."""
        self._driven.clear()
        self._wrapped_before += self._wrapped
        self._wrapped.clear()
        self._calls.clear()

    def batch(self, points: int = 3) -> Batch:
        """A batch of points that were never seen before."""
        return self.tokens.batch(points)

    # --- contexts ------------------------------------------------------------------------------------------------

    def calm(self) -> Context:
        """A context with more time than anything takes."""
        return self._kept(Context.with_timeout(3600))

    def short(self, seconds: float = SHORT) -> Context:
        """A context whose deadline is meant to pass."""
        self.journal.stamp("note", f"a deadline of {seconds:g} s")
        return self._kept(Context.with_timeout(seconds))

    def background(self) -> Context:
        """A context without a deadline, cancelled when the run is over."""
        return self._kept(Context.background())

    def done_contexts(self) -> list[tuple[str, Context]]:
        """A context that has expired and one that was cancelled, with their names."""
        cancelled = Context.background()
        cancelled.cancel("by the clause")
        return [("an expired context", Context.with_timeout(0)), ("a cancelled context", cancelled)]

    def _kept(self, context: Context) -> Context:
        self._contexts.append(context)
        return context

    # --- calls ---------------------------------------------------------------------------------------------------

    def start(self, name: str, function: Callable[[], object], context: Context | None = None) -> Call:
        """Call on a thread of its own; see :class:`Call`."""
        call = Call(function, name, self.journal, context)
        self._calls.append(call)
        return call

    def started(self, operation: str, function: Callable[[], object], context: Context | None = None) -> Call:
        """:meth:`start`, and give the call a moment to get to where it waits: the clause cannot see that it does.

        Where the moment is too short the clause is blunt, and never wrong.
        """
        before = self._entries(operation)
        call = self.start(operation, function, context)
        self.until(lambda: self._entries(operation) > before or call.over, seconds=_MOMENT)
        call.wait(_MOMENT)
        return call

    def _entries(self, operation: str) -> int:
        return sum((event.kind, event.text) == ("enter", operation) for event in self.journal.events)

    def do(self, name: str, function: Callable[[], object]) -> Call:
        """Call, and wait for the end. Fails the clause if it does not come."""
        call = self.start(name, function)
        self.ends(call, f"{name} ends")
        return call

    def send(self, exporter: Driven, batch: Batch, context: Context | None = None) -> Call:
        """Start to export, and to flush if the exporter holds data, in one call."""
        context = context or self.calm()
        return self.start("export", lambda: self._send(exporter, batch, context), context)

    def sent(self, exporter: Driven, batch: Batch, context: Context | None = None) -> Call:
        """:meth:`send`, to its end."""
        call = self.send(exporter, batch, context)
        self.ends(call, "export ends")
        return call

    def _send(self, exporter: Driven, batch: Batch, context: Context) -> object:
        result = exporter.export(context, batch.metrics)
        if self.capabilities.holds:
            result = exporter.force_flush(context)
        return result

    def accepted(self, exporter: Driven, batch: Batch) -> None:
        """Export, to its end; fails the clause unless it succeeds."""
        call = self.do("export", lambda: exporter.export(self.calm(), batch.metrics))
        self.succeeded(call)

    # --- the gate ------------------------------------------------------------------------------------------------

    def shut(self) -> None:
        """Shut the sink."""
        self._is_shut = True
        self.harness.shut()
        self.journal.stamp("gate", "shut")

    def open(self) -> None:
        """Open the sink."""
        self.journal.stamp("gate", "opened")
        self._is_shut = False
        self.harness.open()

    def await_entry(self, call: Call) -> None:
        """Wait until the call stands before the shut gate; INCONCLUSIVE or FAIL if it never does."""
        operation = "force_flush" if self.capabilities.holds else "export"
        until = monotonic() + self.patience

        def there() -> bool:
            entered = self.harness.entered()
            if entered is None:  # the backend cannot tell: what has begun is given a moment to get there
                return self._entries(operation) > 0 and not call.wait(_MOMENT)
            return entered

        while not there():
            if call.over:
                raise VerdictError(Verdict.INCONCLUSIVE, f"{call.name} ended before it reached the sink: {told(call)}")
            if monotonic() > until:
                raise VerdictError(Verdict.INCONCLUSIVE, f"{call.name} never reached the sink")
            sleep(_LOOK)
        self.journal.stamp("note", "the subject stands before the gate")

    def parked(self, act: Callable[[], None] | None = None) -> tuple[Driven, Call]:
        """An exporter whose export, with a deadline that is meant to pass, stands before the shut gate.

        Args:
            act: done before the deadline passes; again, with a longer one, if it was not.
        """
        return self._running_out(lambda: self.await_entry, act)

    def asked(self) -> tuple[Driven, Call]:
        """An exporter whose export, with a deadline that is meant to pass, has sent a request."""

        def arrival() -> Callable[[Call], None]:
            number = self.harness.requests() + 1
            return lambda call: self.await_requests(number, call)

        return self._running_out(arrival)

    def _running_out(
        self, arrival: Callable[[], Callable[[Call], None]], act: Callable[[], None] | None = None
    ) -> tuple[Driven, Call]:
        """Start an export with a short deadline; on a busy machine it can pass on the way: then with a longer one."""
        for seconds in _DEADLINES:
            await_arrival = arrival()
            exporter, context = self.exporter(), self.short(seconds)
            call = self.send(exporter, self.batch(), context)
            try:
                await_arrival(call)
            except VerdictError:
                if seconds == _DEADLINES[-1] or not call.over or not context.done:
                    raise
                continue
            if act is None:
                break
            act()
            if not context.done:
                break
            # Whoever still stands before the gate is not to be taken for the next one.
            self.open()
            self.ends(call, "export ends once the gate is open")
            self.shut()
        return exporter, call

    def attempted(self, attempt: Callable[[], _T]) -> _T | None:
        """What the attempt brings about; None, and a note of it, where that did not come to pass."""
        try:
            return attempt()
        except VerdictError as error:
            if error.verdict is not Verdict.INCONCLUSIVE:
                raise
            self.journal.stamp("note", error.seen)
            return None

    def await_requests(self, number: int, call: Call) -> None:
        """Wait until so many requests have arrived."""
        if not self.until(lambda: self.harness.requests() >= number or call.over, fault=None):
            raise VerdictError(Verdict.INCONCLUSIVE, f"request {number} never arrived")
        if self.harness.requests() < number:
            raise VerdictError(Verdict.INCONCLUSIVE, f"the call ended before request {number}: {told(call)}")

    def until(
        self,
        condition: Callable[[], bool],
        *,
        seconds: float | None = None,
        fault: Literal["is_holding", "is_leaking"] | None = "is_holding",
    ) -> bool:
        """Wait for the condition, to the end of patience unless ``seconds`` are given; whether it came.

        In a canary run the wait is over as well once the fault itself has kept it from coming for a while; ``fault`` is
        None for what no fault keeps from coming.
        """
        limit = monotonic() + (self.patience if seconds is None else seconds)
        looks, since, pause = 0, 0.0, _LOOK
        while not condition():
            now = monotonic()
            if now > limit:
                return False
            if fault is None or not any(getattr(one, fault) for one in (*self._wrapped_before, *self._wrapped)):
                looks = 0
            elif not looks:
                looks, since = 1, now
            else:
                looks += 1
                if looks > _LOOKS and now > since + _HELD:
                    return condition()
            sleep(pause)
            pause = min(2 * pause, _LOOK_MOST)
        return True

    # --- assertions ----------------------------------------------------------------------------------------------

    def observe(self, text: str) -> None:
        """Note the positive evidence for PASS."""
        self.observations.append(text)
        self.journal.stamp("note", text)

    def ends(self, call: Call, expected: str) -> None:
        """Fail unless the call ends; a shut gate stays shut meanwhile, so that the end came before its opening."""
        if call.wait(self.patience) if self.canary is None else self.until(lambda: call.over):
            return
        self.journal.stamp("note", f"{call.name} still runs")
        raise Failed(expected, f"{call.name} had not ended {self.waited}{self._while_shut}")

    def ends_with_context(self, call: Call, expected: str, again: Callable[[Context], Call]) -> None:
        """Fail unless the call ends, and because its context did.

        One that ends late may have ended by itself: then it does so as late without a deadline or a cancellation. One
        that a busy machine made late is held up without.

        Args:
            call: whose deadline passes, or which was cancelled.
            expected: what is promised.
            again: starts the same call in the same situation, with another context.
        """
        self.ends(call, expected)
        if self.canary is None and call.lateness > _LATE and self._ends_without(call, again):
            without = "when it is not cancelled" if call.was_cancelled else "without a deadline"
            seen = f"it ended {call.lateness * 1000:.0f} ms later{self._while_shut}, as it does {without}"
            raise Failed(expected, seen)

    def _ends_without(self, call: Call, again: Callable[[Context], Call]) -> bool:
        """Whether the same call ends by itself about when this one did, every time it is tried.

        An end that came before, as that of one that gives up at once, says that the machine was slow. A short lateness
        is tried more often: there a slow machine could look the same.
        """
        late = call.lateness
        for _ in range(max(1, min(_CONTROLS, int(_CONTROLLED / late)))):
            context = self.background()
            control = again(context)
            if not control.wait(call.seconds + late / 2):
                self.observe(f"{control.name} ended by its context: without, it had not after {call.seconds:.1f} s")
                context.cancel("by the clause")
                control.wait(_LEAVE)
                return False
            if control.seconds < call.seconds - late / 2:
                return False
        return True

    @property
    def _while_shut(self) -> str:
        return " while the gate was shut" if self._is_shut else ""

    @property
    def waited(self) -> str:
        """How long a wait that failed was, in words."""
        return f"{self.patience:g} s later" if self.canary is None else "as its fault held it up"

    def succeeded(self, call: Call | Step) -> None:
        """Fail unless the call returned."""
        if call.error is not None:
            raise Failed(f"{call.name} succeeds", told(call)) from call.error

    def raised(self, call: Call, kind: type[BaseException] = Exception, *, when: str = "") -> BaseException:
        """Fail unless the call raised such an error; the error."""
        expected = f"{call.name} raises {'an error' if kind is Exception else kind.__name__}{when and ' ' + when}"
        if not isinstance(call.error, kind):
            raise Failed(expected, told(call)) from call.error
        self.observe(f"{call.name} raised {type(call.error).__name__}{when and ' ' + when}{call.late}")
        return call.error

    def read_back(self) -> list[Point]:
        """What has arrived; KIT_ERROR if the harness fails."""
        try:
            return list(self.harness.read_back())
        except VerdictError:
            raise
        except HARNESS_ERRORS as error:  # of a generator, which the harness has returned
            raise failed_in("read_back", error) from error

    def delivered(self, *batches: Batch, expected: str, whole: bool = False, once: bool = False) -> None:
        """Fail unless every point of the batches has arrived, as it was if ``whole``, one time if ``once``."""
        found = compare(
            [point for batch in batches for point in batch.points],
            self.read_back(),
            ignore=self.capabilities.not_carried,
        )
        wrong = bool(found.lost) or (whole and bool(found.corrupted)) or (once and bool(found.duplicated))
        if wrong:
            raise Failed(expected, found.describe() + (f": {found.corrupted[0]}" if whole and found.corrupted else ""))
        self.observe(f"{sum(len(batch.points) for batch in batches)} points arrived")

    def has_arrived(self, *batches: Batch) -> bool:
        """Whether every point of the batches has arrived."""
        arrived = {point.token for point in self.read_back()}
        return all(arrived.issuperset(batch.tokens) for batch in batches)

    def nothing_of(self, batch: Batch, *, expected: str) -> None:
        """Fail if a point of the batch has arrived."""
        arrived = {point.token for point in self.read_back()}.intersection(batch.tokens)
        if arrived:
            raise Failed(expected, f"{len(arrived)} of its {len(batch.points)} points arrived")
        self.observe("none of its points arrived")

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let everything end; sets :attr:`tainted` if something does not."""
        try:
            if self._harness is not None:
                if self._is_shut:
                    self.open()
                if "ok" in self._harness.faults:
                    self._harness.fault("ok")
        finally:
            for wrapped in (*self._wrapped_before, *self._wrapped):
                wrapped.release()
            leave = threading.Thread(target=self._leave, name="conformance-leave", daemon=True)
            leave.start()
            leave.join(_LEAVE)
            for context in self._contexts:
                context.cancel("the clause is over")
            if self._harness is not None:
                try:
                    self.exchanges = list(self._harness.wire_log())
                except VerdictError:
                    raise
                except HARNESS_ERRORS as error:  # of a generator, as above
                    raise failed_in("wire_log", error) from error
                finally:
                    self._harness.teardown()
            leave.join(_LEAVE)
            limit = monotonic() + _LEAVE
            for call in self._calls:
                call.wait(max(0.0, limit - monotonic()))
            self.tainted = self.tainted or leave.is_alive() or any(not call.over for call in self._calls)

    def _leave(self) -> None:
        for context in self._contexts:
            context.cancel("the clause is over")
        for driven in self._driven:
            try:
                driven.shutdown(Context.with_timeout(_LEAVE / 2))
            except BaseException:  # noqa: BLE001, S110 - it may have been shut down, or be what the clause found
                pass


def told(call: Call | Step) -> str:
    """How a call came out; in one line once it is masked."""
    if not call.over:
        return f"{call.name} still runs"
    if call.error is not None:
        return f"it raised {words_of(call.error)}"
    return "it returned" if call.result is None else f"it returned {type(call.result).__name__}"


def lines(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Events as JSON has them, in the order in which they happened, the first one at 0 seconds."""
    ordered = sorted(events, key=lambda event: event.seconds)
    since = _clock(events)
    return [{"seconds": since(event.seconds), "kind": event.kind, "text": event.text} for event in ordered]


def wire_lines(exchanges: Sequence[Exchange], events: Sequence[Event]) -> list[dict[str, Any]]:
    """Exchanges as JSON has them, in seconds of the same timeline."""
    since = _clock(events)
    return [
        {
            **one._asdict(),
            "seconds": since(one.seconds),
            "stored": since(one.stored),
            "answered": since(one.answered),
            "headers": [list(header) for header in one.headers],
            "problems": list(one.problems),
        }
        for one in sorted(exchanges, key=lambda one: one.seconds)
    ]


def _clock(events: Sequence[Event]) -> Callable[[float | None], float | None]:
    start = min((event.seconds for event in events), default=0.0)
    return lambda seconds: None if seconds is None else round(seconds - start, 6)
