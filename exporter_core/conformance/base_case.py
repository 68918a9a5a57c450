"""The base of runs about exporters and about readers: calls that can be watched, waits, and evidence.

Every wait is bounded. A bound only ever ends a run that fails: what decides is order, never a duration.
"""

from __future__ import annotations

import traceback
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Literal

from exporter_core.conformance.observe.clock import HurriedClock
from exporter_core.conformance.observe.journal import AnsweredFailure, Exchange, Journal, ObservedCall, words_of
from exporter_core.conformance.observe.noise import NoiseMeter
from exporter_core.conformance.places import raised_in, waits_in
from exporter_core.conformance.run.verdicts import Failed, Settings, Verdict, VerdictError
from exporter_core.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exporter_core.conformance.clause import Clause
    from exporter_core.conformance.clauses.canary import Fault
    from exporter_core.conformance.rounds import Step

SHORT = 0.03
"""Seconds of a deadline that is meant to pass."""
LEAVE = 2.0
"""Seconds that calls and shutdowns may take when a clause is over."""
LOOK = 0.0005
"""Seconds between two looks at what is waited for, at first."""

_LOOK_MOST = 0.008
_LONG = 600.0  # seconds, which stay a number that a poll can take where they are wrongly taken for milliseconds
IN_TIME = 0.5
"""Seconds after its context's end, beside the machine's noise, at which a call is still in time."""
_LOUDEST = 1.0  # seconds of noise beyond which nothing is said of a late call
_SETTLE = 0.05  # seconds for a call to get back to where the first one was cancelled
_LATE = 0.1  # seconds after its context's end at which a call is late: it is made again without that end
_CONTROLS, _CONTROLLED = 5, 1.0  # calls at most that it is compared with, and seconds for them; one at least
_LOOKS = 5
_FURTHER = 3  # times that patience lasts for a call of which more and more arrives
_HELD = 0.05  # seconds for which a canary has to hold a call that it holds, lest a moment's wait counts


class BaseCase:
    """One run of one clause.

    Args:
        clause: which.
        settings: seed and bounds.
        directory: an empty folder.
        canary: True to wrap the subject in the clause's own fault.
    """

    def __init__(self, clause: Clause, settings: Settings, directory: Path, *, canary: bool) -> None:
        self.clause = clause
        self.directory = directory
        self.seed = settings.seed
        """Decides what is random."""
        self.schedules = settings.schedules
        """The number of seeds that a scheduled clause tries, from :attr:`seed` on."""
        self.points = settings.points
        """The points of the largest batch."""
        self.patience = settings.patience
        """Seconds after which a run that waits has failed."""
        self.canary: type[Any] | None = clause.canary if canary else None  # Any: of an exporter or of a reader
        """The fault that the subject is wrapped in."""
        self.journal = Journal()
        self.observations: list[str] = []
        self.exchanges: list[Exchange] = []
        """The requests that the backend got, once the run is over."""
        self.never_delivers = False
        """True if nothing of any export arrived: what else the exporter does says nothing then."""
        self.overran = ""
        """The operation that went on although its context was done, in a clause that is not about that."""
        self.hung = ""
        """The operation that hung until it was cancelled, in a clause that is not about that."""
        self.own_files: tuple[str, ...] = ()
        """The beginnings of the names of the files with the subject's own code."""
        self.waits_at = ("", "")
        """The place, and the stack, at which the last call waited for longer than it should."""
        self.tainted = False
        """True if something of this run goes on although it is over."""
        self.found_seed: int | None = None
        """The seed of the scheduler that a failure was found with."""
        self._calls: list[ObservedCall] = []
        self._contexts: list[Context] = []
        self._brief: list[Context] = []
        self._noise: dict[ObservedCall, NoiseMeter] = {}
        self._faults: list[Fault] = []

    def observe(self, text: str) -> None:
        """Note the positive evidence for PASS."""
        self.observations.append(text)
        self.journal.stamp("note", text)

    # --- contexts ------------------------------------------------------------------------------------------------

    def long_context(self) -> Context:
        """A context with more time than anything takes."""
        return self._kept(Context.with_timeout(_LONG))

    def short_context(self, seconds: float = SHORT) -> Context:
        """A context whose deadline is meant to pass."""
        self.journal.stamp("note", f"a deadline of {seconds:g} s")
        self._brief.append(self._kept(Context.with_timeout(seconds)))
        return self._brief[-1]

    def hurried_context(self, seconds: float = _LONG) -> Context:
        """A context whose deadline is as far away as it says, and whose own time passes many times faster: with it, an
        exporter that waits by its context gets to the end of long pauses.
        """
        clock = HurriedClock()
        return self._kept(Context(deadline=clock.monotonic() + seconds * clock.speed, clock=clock))

    def background_context(self) -> Context:
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

    def start(self, name: str, function: Callable[[], object], context: Context | None = None) -> ObservedCall:
        """Call on a thread of its own; see :class:`ObservedCall`."""
        call = ObservedCall(function, name, self.journal, context)
        self._calls.append(call)
        if self.canary is None and context is not None and (context.deadline is None or context in self._brief):
            self._noise[call] = NoiseMeter(lambda: call.over)
        return call

    def do(self, name: str, function: Callable[[], object], context: Context | None = None) -> ObservedCall:
        """Call, and wait for the end; see :meth:`ends`. The context is the call's, and not meant to end it."""
        call = self.start(name, function)
        self.ends(call, f"{name} ends", context)
        return call

    def ends(self, call: ObservedCall, expected: str, context: Context | None = None) -> None:
        """Fail unless the call ends; in a clause that is not about time, a call that does not is another's to judge.

        Patience begins at a deadline that is meant to pass: on a busy machine such a deadline can be longer than it.
        """
        seconds = self._remaining(call) + self.patience
        self.waits_at = ("", "")
        if self.canary is not None:
            ended = self.until(lambda: call.over, seconds=seconds)
        else:
            soon = min(seconds, self._remaining(call) + IN_TIME)
            ended = call.wait(soon)
            if not ended:
                self.waits_at = waits_in(call.thread, self.own_files)
                so_far = self.has_come(call)
                ended = call.wait(seconds - soon)
                for _ in range(_FURTHER):
                    before, so_far = so_far, self.has_come(call)
                    if ended or so_far == before:
                        break
                    ended = call.wait(self.patience)  # it is slow, as one may be that sends a request for each point
        if ended:
            return
        self.journal.stamp("note", f"{call.name} still runs")
        self.waits_at = waits_in(call.thread, self.own_files)
        seen = f"{call.name} had not ended {self.waited}{self._while_shut}"
        raise self.outlasted(call, call.context or context, expected, seen)

    def has_come(self, call: ObservedCall) -> int:  # noqa: ARG002 - for a subclass
        """The number of different points that have arrived; 0 if the call has to end whatever arrives."""
        return 0

    def outlasted(
        self,
        call: ObservedCall,  # noqa: ARG002 - for a subclass
        context: Context | None,  # noqa: ARG002 - as above
        expected: str,
        seen: str,
    ) -> VerdictError:
        """The verdict on a call that had not ended when patience did."""
        return Failed(expected, seen)

    def _remaining(self, call: ObservedCall) -> float:
        """Seconds to the deadline of a call whose deadline is meant to pass; 0 for others."""
        return next((context.remaining() or 0.0 for context in self._brief if context is call.context), 0.0)

    def ends_with_context(self, call: ObservedCall, expected: str, again: Callable[[Context], ObservedCall]) -> None:
        """Fail unless the call ends, and because its context did.

        One that ends late may have ended by itself: then it does so as late without a deadline or a cancellation. One
        that a busy machine made late is held up without.

        Args:
            call: whose deadline passes, or which was cancelled.
            expected: what is promised.
            again: starts the same call in the same situation, with another context.
        """
        self.ends(call, expected)
        if self.canary is not None or call.lateness <= _LATE:
            return
        seen = f"it ended {call.lateness * 1000:.0f} ms later{self._while_shut}"
        if self._ends_without(call, again):
            without = "when it is not cancelled" if call.was_cancelled else "without a deadline"
            raise Failed(expected, f"{seen}, as it does {without}")
        if self.is_late(call):
            other = self._repeated(call, again)
            self.ends(other, expected)
            if self.is_late(other):
                raise Failed(expected, f"{seen}, and {other.lateness * 1000:.0f} ms later the next time")

    def is_late(self, call: ObservedCall) -> bool:
        """True if the call ended later than half a second, and the noise beside it, after its context.

        Raises VerdictError, INCONCLUSIVE, for one that was late on a machine too loud to tell.
        """
        noise = self._noise[call].seconds if call in self._noise else 0.0
        if call.lateness > IN_TIME and noise > _LOUDEST:
            itself = f"on a machine that was {noise * 1000:.0f} ms late itself"
            raise VerdictError(Verdict.INCONCLUSIVE, f"it ended {call.lateness * 1000:.0f} ms later, {itself}")
        return call.lateness > IN_TIME + max(noise, call.waited)  # what computes on a busy machine waits for its turn

    def _repeated(self, call: ObservedCall, again: Callable[[Context], ObservedCall]) -> ObservedCall:
        """The same call once more, whose context ends in the same way."""
        if not call.was_cancelled:
            return again(self.short_context(max(SHORT, call.seconds - call.lateness)))
        other = again(self.background_context())
        other.wait(call.cancelled_after + _SETTLE)
        other.cancel()
        return other

    def _ends_without(self, call: ObservedCall, again: Callable[[Context], ObservedCall]) -> bool:
        """Return True if the same call ends by itself about when this one did, every time it is tried.

        An end that came before, as that of one that gives up at once, says that the machine was slow. A short lateness
        is tried more often: there a slow machine could look the same.
        """
        late = call.lateness
        for _ in range(max(1, min(_CONTROLS, int(_CONTROLLED / late)))):
            context = self.background_context()
            control = again(context)
            if not control.wait(call.seconds + late / 2):
                self.observe(f"{control.name} ended by its context: without, it had not after {call.seconds:.1f} s")
                context.cancel("by the clause")
                control.wait(LEAVE)
                return False
            if control.seconds < call.seconds - late / 2:
                return False
        return True

    def succeeded(self, call: ObservedCall | Step) -> None:
        """Fail unless the call returned."""
        if call.error is not None:
            raise Failed(f"{call.name} succeeds", describe_call(call)) from call.error

    def until(
        self,
        condition: Callable[[], bool],
        *,
        seconds: float | None = None,
        fault: Literal["is_holding", "is_leaking"] | None = "is_holding",
    ) -> bool:
        """Wait for the condition, to the end of patience unless ``seconds`` are given; True if it came.

        In a canary run the wait is over as well once the fault itself has kept it from coming for a while; ``fault`` is
        None for what no fault keeps from coming.
        """
        limit = monotonic() + (self.patience if seconds is None else seconds)
        looks, since, pause = 0, 0.0, LOOK
        while not condition():
            now = monotonic()
            if now > limit:
                return False
            if fault is None or not any(getattr(one, fault) for one in self._faults):
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

    @property
    def waited(self) -> str:
        """The length of a wait that failed, in words."""
        return f"{self.patience:g} s later" if self.canary is None else "as its fault held it up"

    @property
    def _while_shut(self) -> str:
        """Words for a time at which deliveries are held up; empty at others."""
        return ""

    def _calls_ended(self) -> bool:
        """Wait for every call, not long; True if they have ended."""
        limit = monotonic() + LEAVE
        for call in self._calls:
            call.wait(max(0.0, limit - monotonic()))
        return all(call.over for call in self._calls)

    def evidence(self, error: VerdictError) -> tuple[str, str]:
        """The place in the subject's own code where it raised or waited, and the whole traceback or stack."""
        if error.__cause__ is None:
            return self.waits_at
        try:
            text = "".join(traceback.format_exception(error.__cause__))
        except BaseException:  # noqa: BLE001 - a subject's error, which may do anything when it is shown
            text = ""
        return raised_in(error.__cause__, self.own_files), text

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let everything end; sets :attr:`tainted` if something does not."""
        raise NotImplementedError

    def unforeseen(self, error: Exception) -> VerdictError:
        """The verdict on a run that ended with an error of no clause's."""
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f" ({place.tb_frame.f_code.co_filename}:{place.tb_lineno})" if place is not None else ""
        return VerdictError(Verdict.KIT_ERROR, f"{words_of(error)}{where}")

    def masker(self) -> Callable[[str], str]:
        """A function that masks the subject's secrets in a text."""
        return str


def describe_call(call: ObservedCall | Step) -> str:
    """Say how a call ended; a message may have several lines until it is masked."""
    if not call.over:
        return f"{call.name} still runs"
    if call.error is not None:
        return str(call.error) if isinstance(call.error, AnsweredFailure) else f"it raised {words_of(call.error)}"
    return "it returned" if call.result is None else f"it returned {type(call.result).__name__}"
