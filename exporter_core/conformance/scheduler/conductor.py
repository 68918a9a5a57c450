"""``Conductor``: hands control from one scheduled thread to the next, where its policy says.

Exactly one of the scheduled threads runs at any moment, the one that was handed the baton; all others wait for theirs.
So the code here needs no lock. The thread that opened the schedule (the owner) is one of them, with index 0: it runs
uninterrupted, and while it waits it watches that the others get on.
"""

from __future__ import annotations

import sys
import threading
from _thread import get_ident
from typing import TYPE_CHECKING, Final

from exporter_core.conformance.scheduler.instructions import Site, watch_instructions
from exporter_core.conformance.scheduler.results import Abandoned, Deadlock, DeadlockError, ScheduleError, Switch
from exporter_core.conformance.scheduler.threads import Awaited, ScheduledThread, State, place_of
from exporter_core.conformance.scheduler.unscheduled import unseen_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.conformance.scheduler.policy import Policy
    from exporter_core.conformance.scheduler.subjects import Interruptible

FAIR_STEPS: Final = 5000
"""Instructions that one thread executes without blocking before the others get a turn."""


class Conductor:
    """Runs the threads of a schedule one at a time.

    Args:
        policy: chooses the thread that goes on.
        interruptible: the code whose instructions are the points where control may pass.
        max_steps: the subject's instructions, and the hand-overs, after which the run is called a livelock.
        stall_seconds: real seconds without a step or a hand-over after which the run is called stalled.
    """

    def __init__(self, policy: Policy, interruptible: Interruptible, *, max_steps: int, stall_seconds: float) -> None:
        self._policy = policy
        self._max_steps = max_steps
        self._stall_seconds = stall_seconds
        self._instructions = watch_instructions(interruptible, self._on_instruction)
        self.now: float = 0.0
        """Virtual seconds since the schedule was opened."""
        self._members: list[ScheduledThread] = []
        self._by_ident: dict[int, ScheduledThread] = {}
        self._by_thread: dict[threading.Thread, ScheduledThread] = {}
        self._steps = self._handovers = self._streak = 0
        self._changed = False  # a thread has become able to run, so the policy is to be asked at the next step
        self._interrupting = self._ending = self._bypass = False
        self._passes: dict[Site, int] = {}
        self._trace: list[Switch] = []
        self._places: list[str] = []
        self._deadlock: Deadlock | None = None
        self._livelock: str | None = None
        self._stalled: str | None = None
        self._unseen: dict[str, None] = {}
        self._owner = self._running = ScheduledThread(0, "")

    # --- for the shims -------------------------------------------------------------------------------------------

    def participant(self) -> ScheduledThread | None:
        """The scheduled thread that calls; None for every other thread of the process."""
        return None if self._bypass else self._by_ident.get(get_ident())

    def member_of(self, thread: threading.Thread) -> ScheduledThread | None:
        """The scheduled thread behind a thread object, as long as the schedule lasts."""
        return self._by_thread.get(thread) if self._by_ident else None

    def _watch_instructions(self) -> None:
        """Have instructions reported, in what the threads have begun as well."""
        stacks = sys._current_frames()
        members = [member for member in self._members[1:] if member.ident in stacks]
        self._instructions.watch([stacks[member.ident] for member in members if member.ident is not None])

    def note_unseen(self, text: str) -> None:
        """Remember something that the scheduler has no part in."""
        self._unseen[text] = None

    def wait(
        self, member: ScheduledThread, awaited: Awaited | None, until: float | None, ready: Callable[[], bool]
    ) -> bool:
        """Let others run until ``ready()``; False if virtual time reaches ``until`` before."""
        while not ready():
            self._check(member)
            if until is not None and self.now >= until:
                return False
            member.state, member.awaited, member.until = State.BLOCKED, awaited, until
            if awaited is not None:
                awaited.waiters.append(member)
            try:
                self._hand_over(member)
            finally:
                member.state, member.awaited, member.until = State.RUNNABLE, None, None
                if awaited is not None:
                    awaited.waiters.remove(member)
        return True

    def wake(self, awaited: Awaited) -> None:
        """Let its waiters look again."""
        for member in awaited.waiters:
            member.state = State.RUNNABLE
            self._changed = True

    def give_way(self, member: ScheduledThread) -> None:
        """Let the others run first."""
        self._check(member)
        self._policy.yielded(member)
        self._hand_over(member)

    def adopt(self, thread: threading.Thread, start: Callable[[threading.Thread], None]) -> None:
        """Start a thread as one of the schedule's."""
        starter = self.participant()
        if starter is not None:
            self._check(starter)
        member = ScheduledThread(len(self._members), thread.name, thread)
        run = thread.run

        def scheduled_run() -> None:
            del thread.run  # the attribute of the instance; the method shows again
            member.ident = get_ident()
            self._by_ident[member.ident] = member
            try:
                member.baton.acquire()
                if not self._ending:
                    # Threads that the subject starts outlast a run that is not interrupted, and are in later ones.
                    if self._interrupting or starter is not self._owner:
                        self._instructions.enter()
                    try:
                        run()
                    finally:
                        self._instructions.leave()
            except Abandoned:
                pass
            except BaseException as error:
                if not self._ending:
                    member.error = error
                    raise
            finally:
                self._end(member)

        thread.run = scheduled_run  # type: ignore[method-assign]  # for this one start
        self._bypass = True
        try:
            # What start() itself waits for is no business of the schedule's.
            thread._started = threading.Event()  # type: ignore[attr-defined]  # as Thread.__init__ makes it
            self._members.append(member)
            self._by_thread[thread] = member
            try:
                start(thread)
            except BaseException:
                self._members.remove(member)
                del self._by_thread[thread]
                raise
        finally:
            self._bypass = False
        self._policy.admit(member)
        self._changed = True

    # --- handing over --------------------------------------------------------------------------------------------

    def _on_instruction(self, site: Site | None) -> None:
        member = self._by_ident.get(get_ident())
        if member is None or member is self._owner:
            return
        if self._ending:
            member.rest -= 1
            if member.rest < 0:
                raise Abandoned
            return
        if not self._interrupting or self._bypass:
            return
        self._steps = step = self._steps + 1
        self._streak += 1
        at_site = False
        if site is not None:
            self._passes[site] = number = self._passes.get(site, 0) + 1
            at_site = number in self._policy.sites.get(site, ())
        if (
            at_site
            or self._changed
            or step >= self._policy.next_step
            or self._streak >= FAIR_STEPS
            or step >= self._max_steps
        ):
            self._at_a_point(member, step, at_site=at_site)

    def _at_a_point(self, member: ScheduledThread, step: int, *, at_site: bool) -> None:
        if step >= self._max_steps:
            self._livelock = self._describe_livelock(member)
            self._ending = True
            self._pass_on(member, self._owner)
            return
        if self._streak >= FAIR_STEPS:
            self._policy.yielded(member)
            self._streak = 0
        self._changed = False
        chosen = self._policy.preempt(step, member, self._runnable(), at_site=at_site)
        if chosen is not member:
            self._trace.append(Switch(step, chosen.index))
            self._places.append(f"{member.name!r} at {place_of(2)}")
            self._pass_on(member, chosen)

    def _hand_over(self, member: ScheduledThread) -> None:
        """Let the next one run, which may be this one again, since time has passed."""
        chosen = self._next(member)
        if chosen is not member:
            self._pass_on(member, chosen)
        elif member is self._owner:
            self._check(member)

    def _next(self, member: ScheduledThread) -> ScheduledThread:
        while not (runnable := self._runnable()):
            waiting = [each for each in self._members if each.state is State.BLOCKED]
            due = min((each.until for each in waiting if each.until is not None), default=None)
            if due is None:
                self._deadlock = Deadlock(tuple(each.waiting() for each in waiting if self._matters(each)))
                if unseen := unseen_threads():
                    self.note_unseen(unseen)
                self._ending = True
                return self._owner
            self.now = max(self.now, due)
            for each in waiting:
                if each.until is not None and each.until <= self.now:
                    each.state = State.RUNNABLE
        self._handovers += 1
        if self._handovers > self._max_steps:
            self._livelock = self._describe_livelock(member)
            self._ending = True
            return self._owner
        chosen = self._policy.succeed(self._handovers, runnable)
        if chosen is not runnable[0]:
            self._trace.append(Switch(self._steps, chosen.index, self._handovers))
            self._places.append(f"{member.name!r} at its end, or in a wait")
        return chosen

    def _pass_on(self, member: ScheduledThread, chosen: ScheduledThread) -> None:
        self._streak = 0
        self._running = chosen
        chosen.baton.release()
        if member is self._owner:
            self._watch()
        else:
            member.baton.acquire()
        self._check(member)

    def _runnable(self) -> list[ScheduledThread]:
        return [member for member in self._members if member.state is State.RUNNABLE]

    def _matters(self, member: ScheduledThread) -> bool:
        """True if a thread belongs in the report of a deadlock: the owner only waits for the functions to end."""
        return not (member is self._owner and isinstance(member.awaited, Everyone))

    # --- ending --------------------------------------------------------------------------------------------------

    def _check(self, member: ScheduledThread) -> None:
        """Raise if the schedule is over."""
        if not self._ending:
            return
        if member is not self._owner:
            raise Abandoned
        if self._deadlock is not None:
            raise DeadlockError(str(self._deadlock))
        raise ScheduleError(self._livelock or self._stalled or f"the schedule is over (a wait at {place_of(2)})")

    def _describe_livelock(self, member: ScheduledThread) -> str:
        places = [f"{member.name!r} runs at {place_of(2)}"]
        places += [str(each.waiting()) for each in self._members if each.state is State.BLOCKED and self._matters(each)]
        return f"livelock: no end after {self._steps} steps and {self._handovers} hand-overs: {'; '.join(places)}"

    def _watch(self) -> None:
        """Wait for the owner's baton, as long as the others get on."""
        seen = -1
        while not self._owner.baton.acquire(timeout=self._stall_seconds):
            if seen == (seen := self._steps + self._handovers):
                running = self._running
                what = running.waiting()
                operation = "" if what.operation == "time.sleep" else f" (in {what.operation})"
                self._stalled = (
                    f"stalled: {running.name!r} is at {what.place}{operation}, in code or in a wait that the "
                    f"scheduler cannot see"
                )
                self._unseen[self._stalled] = None
                self._ending = True
                return

    def _end(self, member: ScheduledThread) -> None:
        member.state = State.ENDED
        if member.ident is not None:
            self._by_ident.pop(member.ident, None)
        if not self._ending:
            self.wake(member)
            chosen = self._next(member)
            self._streak = 0
            self._running = chosen
            chosen.baton.release()
        member.ended.release()


class Everyone(Awaited):
    """The end of all functions of a run."""

    __slots__ = ("_members",)

    def __init__(self, members: list[ScheduledThread]) -> None:
        super().__init__()
        self._members = members
        for member in members:
            member.waiters = self.waiters  # whose end wakes the same waiters

    def ended(self) -> bool:
        """True if all have ended."""
        return all(member.state is State.ENDED for member in self._members)

    def describe(self) -> str:
        """A noun for messages."""
        return "the end of all functions"
