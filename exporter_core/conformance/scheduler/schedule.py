"""``Schedule``: the context manager that runs the threads of a scenario one at a time."""

from __future__ import annotations

import gc
import threading
from _thread import allocate_lock, get_ident
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

from exporter_core.conformance.scheduler.conductor import Conductor, Everyone
from exporter_core.conformance.scheduler.policy import InOrder, Policy, Priorities, Recorded
from exporter_core.conformance.scheduler.results import Abandoned, FunctionOutcome, Result, ScheduleError, Switch
from exporter_core.conformance.scheduler.shims import Shims
from exporter_core.conformance.scheduler.subjects import Interruptible, Subject
from exporter_core.conformance.scheduler.threads import State
from exporter_core.conformance.scheduler.unscheduled import UNSEEN_SOCKETS, sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from exporter_core.conformance.scheduler.instructions import Site

_LEAVING_SECONDS: Final = 2.0  # real ones, for a thread to end that is told to

_open: Final = allocate_lock()


class Schedule(Conductor):
    """A context manager: within it the shims are in place, and :meth:`run` schedules functions beside each other.

    Build the subject inside: the locks, queues and times that it asks for are then cooperative, and the threads
    that it starts join the schedule. They are ended when the block is left.

    Args:
        seed: decides where control passes; None for no preemption at all.
        subject: the code at whose instructions control may pass; one subject, or a tuple of them.
        depth: how many ordering constraints a bug may need; one less is the number of preemptions, at least 1.
        length: how many steps the scenario is expected to have; the preemptions fall among them.
        passes: how often a calm run passes which sites, from its result; two seeds in three preempt there, where
            races are most often. Without them all seeds preempt anywhere.
        replay: the ``trace`` of an earlier result, instead of a seed.
        max_steps: the subject's instructions, and the hand-overs, after which the run is called a livelock.
        stall_seconds: real seconds without a step or a hand-over after which the run is called stalled.
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        subject: Subject | tuple[Subject, ...],
        depth: int = 3,
        length: int = 1000,
        passes: Sequence[tuple[Site, int]] = (),
        replay: Sequence[Switch] | None = None,
        max_steps: int = 100_000,
        stall_seconds: float = 5.0,
    ) -> None:
        if depth < 1 or length < 1 or max_steps < 1:
            raise ValueError("depth, length and max_steps are at least 1")
        if seed is not None and replay is not None:
            raise ValueError("a schedule takes a seed or a replay, and not both")
        policy: Policy = InOrder()
        if replay is not None:
            policy = Recorded(replay)
        elif seed is not None:
            policy = Priorities(seed, depth, length, passes)
        interruptible = Interruptible(subject if isinstance(subject, tuple) else (subject,))
        super().__init__(policy, interruptible, max_steps=max_steps, stall_seconds=stall_seconds)
        self._shims = Shims(self, interruptible.modules)
        self._collecting = False
        self.result: Result | None = None
        """The result of the last run."""

    def __enter__(self) -> Self:
        if self._members:
            raise ScheduleError("a schedule is used once; make another of the same seed")
        if not _open.acquire(blocking=False):
            raise ScheduleError("another schedule is open in this process; leave its with block first")
        try:
            self._instructions.start()
        except BaseException:
            _open.release()
            raise
        owner = self._owner
        owner.name, owner.ident = threading.current_thread().name, get_ident()
        self._members.append(owner)
        self._policy.admit(owner)
        self._by_ident[owner.ident] = owner
        self._collecting = gc.isenabled()
        gc.disable()  # finalizers would run at points that no seed decides
        self._shims.install()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._end_all()
        finally:
            self._by_ident.clear()
            self._shims.remove()
            self._instructions.stop()
            if self._collecting:
                gc.enable()
            _open.release()

    # --- running -------------------------------------------------------------------------------------------------

    def run(self, functions: Sequence[Callable[[], object]], *, interrupted: bool = True) -> Result:
        """Call the functions beside each other, each on a thread of its own; raises nothing of theirs.

        Returns when all have ended, or when they cannot: ``Result.problem`` then says why, and the threads are ended.

        Args:
            functions: the functions to call.
            interrupted: let control pass, and count steps, at the subject's instructions; not needed where a scenario
                prepares something, or checks a result.

        Raises:
            ScheduleError: called outside the with block, from another thread, or after a run with a problem.
        """
        if self.participant() is not self._owner or not self._members:
            raise ScheduleError("run() belongs on the thread that opened the schedule, inside its with block")
        if self._ending:
            raise ScheduleError("this schedule is over: an earlier run did not end")
        outcomes = [FunctionOutcome()] * len(functions)
        open_before = sockets()
        members = []
        for number, function in enumerate(functions):
            thread = threading.Thread(
                target=self._recorded, args=(outcomes, number, function), name=_name_of(number, function), daemon=True
            )
            thread.start()
            members.append(self._by_thread[thread])
        self._interrupting, self._changed = interrupted, True
        if interrupted:
            self._watch_instructions()
        everyone = Everyone(members)
        try:
            self.wait(self._owner, everyone, None, everyone.ended)
        except ScheduleError:
            self._end_all()  # self._problem() says why
        finally:
            self._interrupting = False
            self._instructions.rest()
        if sockets() - open_before:
            self.note_unseen(UNSEEN_SOCKETS)  # made by C code; those that Python makes are noted when they are made
        if interrupted and not self._steps:
            self._unseen["no instruction of the subject was executed, so nothing could be interrupted"] = None
        self.result = Result(
            outcomes=tuple(outcomes),
            trace=tuple(self._trace),
            places=tuple(self._places),
            steps=self._steps,
            passes=tuple(self._passes.items()),
            deadlock=self._deadlock,
            livelock=self._livelock,
            stalled=self._stalled,
            unseen=tuple(self._unseen),
            diverged=self._policy.diverged,
        )
        return self.result

    def _recorded(self, outcomes: list[FunctionOutcome], number: int, function: Callable[[], object]) -> None:
        try:
            outcomes[number] = FunctionOutcome(ended=True, value=function())
        except Abandoned:
            raise
        except BaseException as error:  # noqa: BLE001 - the outcome is what the caller asks for
            if not self._ending:
                outcomes[number] = FunctionOutcome(ended=True, error=error)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Keep the calling thread out of the schedule: uninterrupted, with the real locks and times.

        For a test that looks at a backend while its schedule is open. Nothing in it may wait for a scheduled thread.
        """
        before, self._bypass = self._bypass, True
        try:
            yield
        finally:
            self._bypass = before

    def _end_all(self) -> None:
        """End the threads that have not ended, one by one. Called by the owner."""
        self._ending = True
        self._watch_instructions()
        for member in self._members[1:]:
            stuck = self._stalled is not None and member is self._running
            if member.state is not State.ENDED and not stuck:
                member.baton.release()
            if member.thread is None or not member.ended.acquire(timeout=0.1 if stuck else _LEAVING_SECONDS):
                self._unseen[f"the thread {member.name!r} did not end and is left behind"] = None
            else:
                member.ended.release()
                self._shims.join_for_real(member.thread, _LEAVING_SECONDS)


def _name_of(number: int, function: Callable[[], object]) -> str:
    name = getattr(function, "__name__", "<lambda>")
    return f"thread {number}" if name == "<lambda>" else f"thread {number}: {name}"
