"""One run of one clause about an exporter: the exporter, its harness, contexts, the gate, and what may be asserted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from time import monotonic, sleep
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from exporter_core.conformance.at_rest import AtRest
from exporter_core.conformance.base_case import IN_TIME, LEAVE, LOOK, SHORT, BaseCase, describe_call
from exporter_core.conformance.observe.harness import (
    HARNESS_ERRORS,
    Capabilities,
    Harness,
    UnreadableError,
    failed_in,
    watched,
)
from exporter_core.conformance.observe.journal import (
    LOGGED,
    Exchange,
    ObservedCall,
    UnknownAnswer,
    outcome_of,
    words_of,
)
from exporter_core.conformance.observe.sink_harness import StdoutSinkHarness
from exporter_core.conformance.observe.sink_option import in_texts
from exporter_core.conformance.observe.tokens import Point, TokenBatch, Tokens, compare, compare_identities
from exporter_core.conformance.places import own_files, raised_in
from exporter_core.conformance.run.verdicts import Failed, Settings, Verdict, VerdictError
from exporter_core.conformance.subject import Driven, Mode, Subject, inexpressible
from exporter_core.context import Context
from exporter_core.errors import ExporterShutdownError
from exporter_core.masking import Masker, secrets_of

if TYPE_CHECKING:
    from pathlib import Path

    from exporter_core.conformance.clause import Clause
    from exporter_core.exporter import ExporterConfig

_T = TypeVar("_T")

_DEADLINES = (SHORT, 0.2, 1.0, 5.0)
DEADLINE_CLAUSES: Final[Mapping[str, tuple[str, ...]]] = {
    "export": ("EXP-06", "EXP-07", "EXP-08", "EXP-09"),
    "force_flush": ("FLU-03",),
    "shutdown": ("SHD-04",),
}
"""The clauses about each operation's deadline; the first of them fails for a call that none of them has seen."""
WORKING_CLAUSES: Final[Mapping[str, tuple[str, ...]]] = {
    "export": ("EXP-01",),
    "force_flush": ("FLU-01", "EXP-01"),
    "shutdown": ("SHD-01", "SHD-02", "EXP-01"),
}
"""The clauses about each operation itself; the first of them fails for a call that hangs until it is cancelled, if none
has failed."""
_NEVER_OF_CALLS = ("KND", "DAT", "PY")  # families that are about something else, whatever the backend does
_REFUSALS = ("status:400", "full", "refuse")  # the best first
_MOMENT = 0.02  # seconds for what a clause cannot see; see Case.started
_OWN_LIMIT = 5.3  # seconds after which most time-outs that an exporter has of its own are over


class Case(BaseCase):
    """One run of one clause on an exporter.

    Args:
        clause: which.
        subject: the exporter.
        mode: raw or behind the guard.
        settings: seed and bounds.
        directory: an empty folder.
        canary: True to wrap the exporter in the clause's own fault.
        failed: the clauses that did not pass before.
    """

    def __init__(
        self,
        clause: Clause,
        subject: Subject,
        mode: Mode,
        settings: Settings,
        directory: Path,
        *,
        canary: bool,
        failed: Mapping[str, Verdict] | None = None,
    ) -> None:
        super().__init__(clause, settings, directory, canary=canary)
        self.subject = subject
        self.mode: Mode = mode
        self.tokens = Tokens(f"{clause.id}-{mode}")
        self.options: ExporterConfig | None = None
        """The options of the last exporter that was built."""
        self.on_real_threads = False
        """True while a scenario of calls beside each other runs on real threads, and not under the scheduler."""
        self.own_files = own_files(subject.exporter_class)
        self.failed: Mapping[str, Verdict] = failed or {}
        """The clauses that did not pass before."""
        self.had_nothing = False
        """True if nothing had arrived when a call had outlasted the patience; what came later, it was cancelled for."""
        self._is_shut = False
        self._has_read = False
        self._driven: list[Driven] = []
        self._harness: Harness | None = None
        self._other_harness: Harness | None = None

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
        """True if deliveries can be seen."""
        return self.subject.harness is not None

    @property
    def cancellable(self) -> bool:
        """True if the exporter can be told that a call is cancelled."""
        return not self.judged_by_sdk

    @property
    def judged_by_sdk(self) -> bool:
        """True for an exporter of the OpenTelemetry SDK by itself, which owes what the SDK's specification asks."""
        return self.mode == "raw" and self.subject.of_the_sdk

    @property
    def capabilities(self) -> Capabilities:
        """The properties that the exporter's harness claims for it."""
        return self.subject.harness.capabilities if self.subject.harness else Capabilities()

    def await_own_limit(self, condition: Callable[[], bool]) -> None:
        """Wait for the condition until a time-out of the exporter's own is over, less long where the checker has less
        patience; where every thread waits for another one, there is no such time-out.
        """
        at_rest = AtRest()
        self.until(lambda: condition() or at_rest(), seconds=min(_OWN_LIMIT, self.patience * 3 / 4))

    def ample_context(self) -> Context:
        """A context with more time than anything takes, on which a time-out of the exporter's own is soon over.

        An exporter of the SDK is told milliseconds, which last as long as they do.
        """
        return self.long_context() if self.subject.of_the_sdk else self.hurried_context()

    def other_harness(self) -> Harness:
        """A harness with a backend of its own; the first one where there cannot be another."""
        assert self.subject.harness is not None  # noqa: S101 - a clause that needs two needs one
        if self.writes_to_stdout or getattr(self.subject.harness, "port", False):
            return self.harness
        directory = self.directory / "other"
        directory.mkdir()
        try:
            other = watched(self.subject.harness())
            other.setup(directory, self.journal.stamp)
        except Exception as error:  # noqa: BLE001 - one is all that an author has to provide for
            self.journal.stamp("note", f"no second backend: {words_of(error)}")
            return self.harness
        self._other_harness = other
        return other

    def pointing(self, change: Callable[[str], str]) -> Harness | None:
        """The harness with every text of its options changed; None if that changes nothing."""
        config = self.harness.config()
        changed = in_texts(config, change)
        return None if changed == config else cast("Harness", SimpleNamespace(config=lambda: changed))

    def exporter(self, harness: Harness | None = None) -> Driven:
        """A fresh exporter, in a canary run with the clause's fault; ``harness`` points it at another backend."""
        driven = self.plain_exporter(harness=harness)
        if self.canary is None:
            return driven
        self._faults.append(self.canary(self, driven))
        return cast("Driven", self._faults[-1])

    def plain_exporter(self, mode: Mode | None = None, harness: Harness | None = None) -> Driven:
        """A fresh exporter without any canary; in the case's own mode, and at its backend, unless others are given."""
        config: object = (harness or self.harness).config() if self.has_harness else {}
        if not isinstance(config, Mapping):
            wrong = f"the harness failed in config: it returned {type(config).__name__}, not a mapping"
            raise VerdictError(Verdict.KIT_ERROR, wrong)
        self.options = self.subject.validated(config)
        driven = self.subject.drive(mode or self.mode, self.options, self.journal)
        self._driven.append(driven)
        reason = inexpressible(driven, self.clause)
        if reason is not None:
            raise VerdictError(Verdict.INEXPRESSIBLE, reason)
        return driven

    @property
    def unreached(self) -> bool:
        """True if options that were given may point elsewhere: the backend counts requests, and saw none at all."""
        if not (self.subject.options or getattr(self.subject.harness, "pointed", False)):
            return False
        return self.counts_requests and not self.harness.requests() and not self.harness.connections()

    @property
    def refusal(self) -> str | None:
        """The step of a fault script by which a delivery fails for good; None if the harness knows none."""
        return self.first_known(_REFUSALS)

    def first_known(self, steps: Iterable[str]) -> str | None:
        """The first of these steps of a fault script that the harness knows; None if it knows none of them."""
        faults = self.harness.faults if self.has_harness else ()
        return next((step for step in steps if step.partition(":")[0] in faults), None)

    @property
    def counts_requests(self) -> bool:
        """True if the harness counts the requests that reach the backend."""
        return getattr(self.subject.harness, "requests", None) is not Harness.requests

    @property
    def sink_kind(self) -> str:
        """The kind of the sink, such as ``otlp_http``; empty for a harness of another kind."""
        return getattr(self.subject.harness, "kind", "")

    @property
    def writes_to_stdout(self) -> bool:
        """True if the backend is the process's standard output."""
        return self.subject.harness is not None and issubclass(self.subject.harness, StdoutSinkHarness)

    def forget(self) -> None:
        """Let go of the exporters and calls so far."""
        self._driven.clear()
        self._calls.clear()

    def batch(self, points: int = 3) -> TokenBatch:
        """A batch of points that were never seen before."""
        return self.tokens.batch(points)

    # --- calls ---------------------------------------------------------------------------------------------------

    def started(self, operation: str, function: Callable[[], object], context: Context | None = None) -> ObservedCall:
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

    def send(self, exporter: Driven, batch: TokenBatch, context: Context | None = None) -> ObservedCall:
        """Start to export, and to flush if the exporter holds data, in one call."""
        context = context or self.long_context()
        return self.start("export", lambda: self._send(exporter, batch, context), context)

    def sent(self, exporter: Driven, batch: TokenBatch, context: Context | None = None) -> ObservedCall:
        """:meth:`send`, to its end."""
        call = self.send(exporter, batch, context)
        self.ends(call, "export ends")
        return call

    def _send(self, exporter: Driven, batch: TokenBatch, context: Context) -> object:
        result = exporter.export(context, batch.metrics)
        if self.capabilities.holds:
            result = exporter.force_flush(context)
        return result

    def export(self, exporter: Driven, batch: TokenBatch | None = None, context: Context | None = None) -> ObservedCall:
        """Export to the end: points that were never seen before and a long deadline, unless others are given."""
        own, context = batch or self.batch(), context or self.long_context()
        return self.do("export", lambda: exporter.export(context, own.metrics), context)

    def accepted(self, exporter: Driven, batch: TokenBatch) -> None:
        """:meth:`export`; fails the clause unless it succeeds."""
        self.succeeded(self.export(exporter, batch))

    def flush(self, exporter: Driven, context: Context | None = None) -> ObservedCall:
        """Flush to the end."""
        context = context or self.long_context()
        return self.do("force_flush", lambda: exporter.force_flush(context), context)

    def shut_down(self, exporter: Driven, context: Context | None = None) -> ObservedCall:
        """Shut down to the end."""
        context = context or self.long_context()
        return self.do("shutdown", lambda: exporter.shutdown(context), context)

    def has_come(self, call: ObservedCall) -> int:
        """The number of different points that have arrived; 0 for a call that has to end whatever arrives."""
        if not self.has_harness or call.due or call.context in self._brief:
            return 0
        try:
            return len(set(self.arrived()))
        except VerdictError:  # what is on its way may be half there
            return 0

    def outlasted(self, call: ObservedCall, context: Context | None, expected: str, seen: str) -> VerdictError:
        """The verdict on a call that had not ended when patience did.

        A clause about time fails. In any other the call is asked to end. One that does not then blocks the clause, and
        fails that about the operation's deadline. One that does keeps its context: the clause fails, or, if it is about
        something else than calls, that about the operation itself.
        """
        judges = DEADLINE_CLAUSES.get(call.name)
        if self.canary is not None or judges is None or {"deadline", "cancellation"}.intersection(self.clause.needs):
            return Failed(expected, seen)
        self.had_nothing = self.has_harness and not self.arrived()
        ignored = call.due or (context is not None and context.done)
        if context is not None and not context.done and self.cancellable:
            context.cancel("the checker's patience is over")
            if call.wait(IN_TIME):
                seen = f"{seen}; it ended when it was cancelled"
                return self._hung(call, expected, seen)
            ignored, seen = True, f"{seen}, nor {IN_TIME:g} s after it was cancelled"
        self.overran = call.name if ignored else ""
        judge = next((one for one in judges if self.failed.get(one) is Verdict.FAIL), judges[0])
        return VerdictError(Verdict.BLOCKED, f"{seen}, which {judge} is about", expected)

    def _hung(self, call: ObservedCall, expected: str, seen: str) -> VerdictError:
        """The verdict on a call that hung, and that ended when it was asked to."""
        judges = WORKING_CLAUSES[call.name]
        if self.clause.id in judges or self.clause.family not in _NEVER_OF_CALLS:
            return Failed(expected, seen)
        self.hung = call.name
        judge = next((one for one in judges if self.failed.get(one) is Verdict.FAIL), judges[0])
        return VerdictError(Verdict.BLOCKED, f"{seen}, which {judge} is about", expected)

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

    def await_entry(self, call: ObservedCall) -> None:
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
                seen = f"{call.name} ended before it reached the sink: {describe_call(call)}"
                raise VerdictError(Verdict.INCONCLUSIVE, seen)
            if monotonic() > until:
                raise VerdictError(Verdict.INCONCLUSIVE, f"{call.name} never reached the sink")
            sleep(LOOK)
        self.journal.stamp("note", "the subject stands before the gate")

    def send_to_gate(
        self, exporter: Driven, batch: TokenBatch | None = None, context: Context | None = None
    ) -> ObservedCall:
        """Shut the gate, and start an export that stands before it."""
        self.shut()
        call = self.send(exporter, batch or self.batch(), context)
        self.await_entry(call)
        return call

    def open_for(self, *calls: ObservedCall) -> None:
        """Open the gate; fails the clause unless the calls end."""
        self.open()
        for call in calls:
            self.ends(call, f"{call.name} ends once the gate is open")

    def blocked_at_gate(
        self, act: Callable[[], None] | None = None, *, at_least: float = SHORT
    ) -> tuple[Driven, ObservedCall]:
        """An exporter whose export, with a deadline that is meant to pass, stands before the shut gate.

        Args:
            at_least: seconds of the deadline.
            act: done before the deadline passes; again, with a longer one, if it was not.
        """
        return self._with_deadline(lambda: self.await_entry, act, at_least)

    def with_request_in_flight(self, *, at_least: float = SHORT) -> tuple[Driven, ObservedCall]:
        """An exporter whose export, with a deadline that is meant to pass, has sent a request."""
        return self._with_deadline(lambda: partial(self.await_requests, self.harness.requests() + 1), None, at_least)

    def _with_deadline(
        self, arrival: Callable[[], Callable[[ObservedCall], None]], act: Callable[[], None] | None, at_least: float
    ) -> tuple[Driven, ObservedCall]:
        """Start an export with a short deadline; on a busy machine it can pass on the way: then with a longer one."""
        for seconds in sorted({at_least, *(one for one in _DEADLINES if one > at_least)}):
            await_arrival = arrival()
            exporter, context = self.exporter(), self.short_context(seconds)
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
            self.open_for(call)
            self.shut()
        return exporter, call

    def attempted(self, attempt: Callable[[], _T]) -> _T | None:
        """Return the attempt's result; None, with a note in the timeline, where it was INCONCLUSIVE."""
        try:
            return attempt()
        except VerdictError as error:
            if error.verdict is not Verdict.INCONCLUSIVE:
                raise
            self.journal.stamp("note", error.seen)
            return None

    def await_requests(self, number: int, call: ObservedCall) -> None:
        """Wait until so many requests have arrived."""
        if not self.until(lambda: self.harness.requests() >= number or call.over, fault=None):
            raise VerdictError(Verdict.INCONCLUSIVE, f"request {number} never arrived")
        if self.harness.requests() < number:
            raise VerdictError(Verdict.INCONCLUSIVE, f"the call ended before request {number}: {describe_call(call)}")

    # --- assertions ----------------------------------------------------------------------------------------------

    @property
    def _while_shut(self) -> str:
        return " while the gate was shut" if self._is_shut else ""

    def raised(self, call: ObservedCall, kind: type[BaseException] = Exception, *, when: str = "") -> BaseException:
        """Fail unless the call raised such an error; return the error."""
        if self.judged_by_sdk:
            kind, error = Exception, "an error or returns a failure"  # the interface has no types of errors
        else:
            error = "an error" if kind is Exception else kind.__name__
        if not isinstance(call.error, kind) or isinstance(call.error, UnknownAnswer):
            raise Failed(f"{call.name} raises {error}{when and ' ' + when}", describe_call(call)) from call.error
        self.observe(f"{call.name} {outcome_of(call.error)}{when and ' ' + when}{call.late}")
        return call.error

    def is_refusal(self, error: BaseException | None) -> bool:
        """True for the error of a call after shutdown: the shutdown error, or any failure of an SDK's exporter."""
        kind = Exception if self.judged_by_sdk else ExporterShutdownError
        return isinstance(error, kind) and not isinstance(error, UnknownAnswer)

    def read_back(self) -> list[Point]:
        """Everything that has arrived; KIT_ERROR if the harness fails."""
        return self._all_of("read_back")

    def arrived(self) -> list[str]:
        """The identity of every point that has arrived; KIT_ERROR if the harness fails."""
        if getattr(self.subject.harness, "read_identities", None) is Harness.read_identities:
            return [point.token for point in self.read_back()]  # whose failure is named then
        return self._all_of("read_identities")

    def exchanges_so_far(self) -> list[Exchange]:
        """The requests that the backend got until now, with their answers."""
        return self._all_of("wire_log")

    def _all_of(self, method: str) -> list[Any]:  # Any: points or exchanges
        try:
            found = list(getattr(self.harness, method)())
        except VerdictError:
            raise
        except UnreadableError as error:
            # What was read before, by the same harness, says whose fault that is; what is on its way may be half there.
            if self._has_read and all(call.over for call in self._calls):
                raise Failed("what arrives can be read", f"decoding it raised {error}") from error
            raise failed_in(method, error.__cause__ or error) from error
        except HARNESS_ERRORS as error:  # of a generator, which the harness has returned
            raise failed_in(method, error) from error
        self._has_read |= bool(found) and method != "wire_log"
        return found

    def delivered(self, *batches: TokenBatch, expected: str, whole: bool = False, once: bool = False) -> None:
        """Fail unless every point of the batches has arrived, as it was if ``whole``, one time if ``once``."""
        sent = [point for batch in batches for point in self._expected(batch)]
        if whole:
            found = compare(sent, self.read_back(), ignore=self.capabilities.not_carried)
        else:
            found = compare_identities([point.token for point in sent], self.arrived())
        # What others of its batches had is no news.
        found = replace(found, foreign=tuple(one for one in found.foreign if not self.tokens.has_made(one)))
        wrong = bool(found.lost) or (whole and bool(found.corrupted)) or (once and bool(found.duplicated))
        if wrong:
            raise Failed(expected, found.describe() + (f": {found.corrupted[0]}" if whole and found.corrupted else ""))
        self.observe(f"{sum(len(batch.points) for batch in batches)} points arrived")

    def has_arrived(self, batch: TokenBatch) -> bool:
        """True if every point of the batch has arrived."""
        return set(batch.tokens) <= set(self.arrived())

    def rich(self) -> TokenBatch:
        """A batch of every kind of point that the exporter's format has a form for."""
        batch = self.tokens.rich()
        return batch.only(point.token for point in self._expected(batch)) if self.capabilities.translates else batch

    def _expected(self, batch: TokenBatch) -> list[Point]:
        """The points of a batch as they are to arrive."""
        if not self.capabilities.translates:
            return list(batch.points)
        return [point for point in map(self.harness.expected, batch.points) if point is not None]

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let everything end; see :meth:`BaseCase.close`."""
        try:
            if self._harness is not None:
                if self._is_shut:
                    self.open()
                if "ok" in self._harness.faults:
                    self._harness.fault("ok")
        finally:
            for fault in self._faults:
                fault.release()
            leave = threading.Thread(target=self._leave, name="conformance-leave", daemon=True)
            leave.start()
            leave.join(LEAVE)
            for context in self._contexts:
                context.cancel("the clause is over")
            if self._harness is not None:
                try:
                    self.exchanges = self._all_of("wire_log")[:LOGGED]
                finally:
                    self._harness.teardown()
            if self._other_harness is not None:
                self._other_harness.teardown()
            leave.join(LEAVE)
            self.tainted = not self._calls_ended() or leave.is_alive() or self.tainted

    def unforeseen(self, error: Exception) -> VerdictError:
        """Return INCONCLUSIVE before an exporter is built."""
        if not self._driven:
            return VerdictError(Verdict.INCONCLUSIVE, f"the exporter cannot be built: {words_of(error)}")
        if raised_in(error, self.own_files):
            return Failed("the exporter raises nothing outside its calls", f"it raised {words_of(error)}")
        return super().unforeseen(error)

    def masker(self) -> Callable[[str], str]:
        """A function that masks the secrets of the harness and of the options."""
        own = [self.subject.harness.secret or ""] if self.subject.harness else []
        return Masker([*own, *secrets_of(self.options)])

    def _leave(self) -> None:
        for context in self._contexts:
            context.cancel("the clause is over")
        for driven in self._driven:
            try:
                driven.shutdown(Context.with_timeout(LEAVE / 2))
            except BaseException:  # noqa: BLE001, S110 - it may have been shut down, or be what the clause found
                pass
