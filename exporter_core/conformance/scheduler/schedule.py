"""``Schedule``: runs the threads of a scenario one at a time, and hands over where its policy says.

Exactly one of the scheduled threads runs at any moment, the one that was handed the baton; all others wait for theirs.
So what is here needs no lock. The thread that opened the schedule (the owner) is one of them, with index 0: it runs
uninterrupted, and while it waits it watches that the others get on.
"""

from __future__ import annotations

import gc
import threading
from _thread import allocate_lock, get_ident
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn, Self

from exporter_core.conformance.scheduler.instructions import Site, watch_instructions
from exporter_core.conformance.scheduler.policy import InOrder, Policy, Priorities, Recorded
from exporter_core.conformance.scheduler.results import (
    Abandoned,
    Deadlock,
    DeadlockError,
    Outcome,
    Result,
    ScheduleError,
    Switch,
)
from exporter_core.conformance.scheduler.shims import Shims
from exporter_core.conformance.scheduler.subjects import Interruptible
from exporter_core.conformance.scheduler.tasks import Awaited, State, Task, place_of
from exporter_core.conformance.scheduler.unscheduled import UNSEEN_SOCKETS, sockets, unseen_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from exporter_core.conformance.scheduler.subjects import Subject

FAIR_STEPS: Final = 5000
"""Instructions that one thread executes without blocking before the others get a turn."""

_LEAVING_SECONDS: Final = 2.0  # real ones, for a thread to end that is told to

_open: Final = allocate_lock()


class Schedule:
    """A context manager: within it the shims are in place, and :meth:`run` schedules functions beside each other.

    Build the subject inside: what it asks of ``threading``, ``queue`` and ``time`` is then cooperative, and the threads
    that it starts join the schedule. They are ended when the block is left.

    Args:
        seed: decides where control passes; None for no preemption at all.
        subject: whose instructions are the points where it may pass; one subject, or a tuple of them.
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
        self._policy: Policy
        if replay is not None:
            self._policy = Recorded(replay)
        elif seed is not None:
            self._policy = Priorities(seed, depth, length, passes)
        else:
            self._policy = InOrder()
        self._max_steps = max_steps
        self._stall_seconds = stall_seconds
        interruptible = Interruptible(subject if isinstance(subject, tuple) else (subject,))
        self._instructions = watch_instructions(interruptible, self._on_instruction)
        self._shims = Shims(self, interruptible.modules)
        self.now: float = 0.0
        """Virtual seconds since the schedule was opened."""
        self._tasks: list[Task] = []
        self._by_ident: dict[int, Task] = {}
        self._by_thread: dict[threading.Thread, Task] = {}
        self._steps = self._turns = self._handovers = self._streak = 0
        self._changed = False  # a thread has become able to run, so the policy is to be asked at the next step
        self._interrupting = self._ending = self._bypass = False
        self._passes: dict[Site, int] = {}
        self._trace: list[Switch] = []
        self._places: list[str] = []
        self._deadlock: Deadlock | None = None
        self._livelock: str | None = None
        self._stalled: str | None = None
        self._unseen: dict[str, None] = {}
        self._collecting = False
        self.result: Result | None = None
        """That of the last run."""

    def __enter__(self) -> Self:
        if self._tasks:
            raise ScheduleError("a schedule is used once; make another of the same seed")
        if not _open.acquire(blocking=False):
            raise ScheduleError("another schedule is open in this process; leave its with block first")
        try:
            self._instructions.start()
        except BaseException:
            _open.release()
            raise
        owner = Task(0, threading.current_thread().name)
        self._owner = self._running = owner
        owner.ident = get_ident()
        self._tasks.append(owner)
        self._policy.admit(owner)
        self._by_ident[owner.ident] = owner
        self._collecting = gc.isenabled()
        gc.disable()  # finalizers would run at points that no seed decides
        self._shims.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
            functions: what is called.
            interrupted: whether control passes, and steps are counted, at the subject's instructions; not needed where
                a scenario prepares something, or looks at what came of it.

        Raises:
            ScheduleError: called outside the with block, from another thread, or after a run with a problem.
        """
        if self.participant() is not self._owner_or_none():
            raise ScheduleError("run() belongs on the thread that opened the schedule, inside its with block")
        if self._ending:
            raise ScheduleError("this schedule is over: an earlier run did not end")
        outcomes = [Outcome()] * len(functions)
        open_before = sockets()
        tasks = []
        for number, function in enumerate(functions):
            thread = threading.Thread(
                target=self._recorded, args=(outcomes, number, function), name=_name_of(number, function), daemon=True
            )
            thread.start()
            tasks.append(self._by_thread[thread])
        self._interrupting, self._changed = interrupted, True
        everyone = _Everyone(tasks)
        try:
            self.wait(self._owner, everyone, None, everyone.ended)
        except ScheduleError:
            self._end_all()  # self._problem() says why
        finally:
            self._interrupting = False
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

    def _recorded(self, outcomes: list[Outcome], number: int, function: Callable[[], object]) -> None:
        try:
            outcomes[number] = Outcome(ended=True, value=function())
        except Abandoned:
            raise
        except BaseException as error:  # noqa: BLE001 - the outcome is what the caller asks for
            if not self._ending:
                outcomes[number] = Outcome(ended=True, error=error)

    def _owner_or_none(self) -> Task | object:
        return self._owner if self._tasks else self

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What the calling thread does within is not the subject's: uninterrupted, with the real locks and times.

        For a test that looks at a backend while its schedule is open. Nothing in it may wait for a scheduled thread.
        """
        before, self._bypass = self._bypass, True
        try:
            yield
        finally:
            self._bypass = before

    # --- for the shims -------------------------------------------------------------------------------------------

    def participant(self) -> Task | None:
        """The scheduled thread that calls; None for every other thread of the process."""
        return None if self._bypass else self._by_ident.get(get_ident())

    def task_of(self, thread: threading.Thread) -> Task | None:
        """The scheduled thread behind a thread object, as long as the schedule lasts."""
        return self._by_thread.get(thread) if self._by_ident else None

    def note_unseen(self, text: str) -> None:
        """Remember something that the scheduler has no part in."""
        self._unseen[text] = None

    def wait(self, task: Task, awaited: Awaited | None, until: float | None, ready: Callable[[], bool]) -> bool:
        """Let others run until ``ready()``; False if virtual time reaches ``until`` before."""
        while not ready():
            self._check(task)
            if until is not None and self.now >= until:
                return False
            task.state, task.awaited, task.until = State.BLOCKED, awaited, until
            if awaited is not None:
                awaited.waiters.append(task)
            try:
                self._hand_over(task)
            finally:
                task.state, task.awaited, task.until = State.RUNNABLE, None, None
                if awaited is not None:
                    awaited.waiters.remove(task)
        return True

    def wake(self, awaited: Awaited) -> None:
        """Let whoever waits for it look again."""
        for task in awaited.waiters:
            task.state = State.RUNNABLE
            self._changed = True

    def give_way(self, task: Task) -> None:
        """Let the others run first."""
        self._check(task)
        self._policy.yielded(task)
        self._hand_over(task)

    def adopt(self, thread: threading.Thread, start: Callable[[threading.Thread], None]) -> None:
        """Start a thread as one of the schedule's."""
        starter = self.participant()
        if starter is not None:
            self._check(starter)
        task = Task(len(self._tasks), thread.name, thread)
        run = thread.run

        def scheduled_run() -> None:
            del thread.run  # the attribute of the instance; the method shows again
            task.ident = get_ident()
            self._by_ident[task.ident] = task
            try:
                task.baton.acquire()
                if not self._ending:
                    self._instructions.enter()
                    try:
                        run()
                    finally:
                        self._instructions.leave()
            except Abandoned:
                pass
            except BaseException as error:
                if not self._ending:
                    task.error = error
                    raise
            finally:
                self._end(task)

        thread.run = scheduled_run  # type: ignore[method-assign]  # for this one start
        self._bypass = True
        try:
            # What start() itself waits for is no business of the schedule's.
            thread._started = threading.Event()  # type: ignore[attr-defined]  # as Thread.__init__ makes it
            self._tasks.append(task)
            self._by_thread[thread] = task
            try:
                start(thread)
            except BaseException:
                self._tasks.remove(task)
                del self._by_thread[thread]
                raise
        finally:
            self._bypass = False
        self._policy.admit(task)
        self._changed = True

    # --- handing over --------------------------------------------------------------------------------------------

    def _on_instruction(self, site: Site | None) -> None:
        task = self._by_ident.get(get_ident())
        if task is None or task is self._owner:
            return
        if self._ending:
            task.rest -= 1
            if task.rest < 0:
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
            self._at_a_point(task, step, at_site=at_site)

    def _at_a_point(self, task: Task, step: int, *, at_site: bool) -> None:
        if step >= self._max_steps:
            self._give_up(task)
            return
        if self._streak >= FAIR_STEPS:
            self._policy.yielded(task)
            self._streak = 0
        self._changed = False
        chosen = self._policy.preempt(step, task, self._runnable(), at_site=at_site)
        if chosen is not task:
            self._trace.append(Switch(step, chosen.index))
            self._places.append(f"{task.name!r} at {place_of(2)}")
            self._pass_on(task, chosen)

    def _hand_over(self, task: Task) -> None:
        """Let the next one run, which may be this one again, since time has passed."""
        chosen = self._next(task)
        if chosen is not task:
            self._pass_on(task, chosen)
        elif task is self._owner:
            self._check(task)

    def _next(self, task: Task) -> Task:
        while not (runnable := self._runnable()):
            waiting = [each for each in self._tasks if each.state is State.BLOCKED]
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
        self._turns += 1
        if self._turns > self._max_steps:
            self._livelock = self._describe_livelock(task)
            self._ending = True
            return self._owner
        self._handovers += 1
        chosen = self._policy.succeed(self._handovers, runnable)
        if chosen is not runnable[0]:
            self._trace.append(Switch(self._steps, chosen.index, self._handovers))
            self._places.append(f"{task.name!r} at its end, or in a wait")
        return chosen

    def _pass_on(self, task: Task, chosen: Task) -> None:
        self._streak = 0
        self._running = chosen
        chosen.baton.release()
        if task is self._owner:
            self._watch()
        else:
            task.baton.acquire()
        self._check(task)

    def _runnable(self) -> list[Task]:
        return [task for task in self._tasks if task.state is State.RUNNABLE]

    def _matters(self, task: Task) -> bool:
        """Whether a thread belongs into the report of a deadlock: the owner only waits for the functions to end."""
        return not (task is self._owner and isinstance(task.awaited, _Everyone))

    # --- ending --------------------------------------------------------------------------------------------------

    def _check(self, task: Task) -> None:
        """Raise if the schedule is over."""
        if not self._ending:
            return
        if task is not self._owner:
            raise Abandoned
        self._refuse()

    def _refuse(self) -> NoReturn:
        if self._deadlock is not None:
            raise DeadlockError(str(self._deadlock))
        raise ScheduleError(self._livelock or self._stalled or f"the schedule is over (a wait at {place_of(2)})")

    def _give_up(self, task: Task) -> None:
        self._livelock = self._describe_livelock(task)
        self._ending = True
        self._pass_on(task, self._owner)

    def _describe_livelock(self, task: Task) -> str:
        places = [f"{task.name!r} runs at {place_of(2)}"]
        places += [str(each.waiting()) for each in self._tasks if each.state is State.BLOCKED and self._matters(each)]
        return f"livelock: no end after {self._steps} steps and {self._turns} hand-overs: {'; '.join(places)}"

    def _watch(self) -> None:
        """Wait for the owner's baton, as long as the others get on."""
        seen = -1
        while not self._owner.baton.acquire(timeout=self._stall_seconds):
            if seen == (seen := self._steps + self._turns):
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

    def _end(self, task: Task) -> None:
        task.state = State.ENDED
        if task.ident is not None:
            self._by_ident.pop(task.ident, None)
        if not self._ending:
            self.wake(task)
            chosen = self._next(task)
            self._streak = 0
            self._running = chosen
            chosen.baton.release()
        task.ended.release()

    def _end_all(self) -> None:
        """End the threads that have not ended, one by one. Called by the owner."""
        self._ending = True
        for task in self._tasks[1:]:
            stuck = self._stalled is not None and task is self._running
            if task.state is not State.ENDED and not stuck:
                task.baton.release()
            if task.thread is None or not task.ended.acquire(timeout=0.1 if stuck else _LEAVING_SECONDS):
                self._unseen[f"the thread {task.name!r} did not end and is left behind"] = None
            else:
                task.ended.release()
                self._shims.join_for_real(task.thread, _LEAVING_SECONDS)


class _Everyone(Awaited):
    """The end of all functions of a run."""

    __slots__ = ("_tasks",)

    def __init__(self, tasks: list[Task]) -> None:
        super().__init__()
        self._tasks = tasks
        for task in tasks:
            task.waiters = self.waiters  # whose end wakes the same waiters

    def ended(self) -> bool:
        """Whether all have ended."""
        return all(task.state is State.ENDED for task in self._tasks)

    def describe(self) -> str:
        return "the end of all functions"


def _name_of(number: int, function: Callable[[], object]) -> str:
    name = getattr(function, "__name__", "<lambda>")
    return f"thread {number}" if name == "<lambda>" else f"thread {number}: {name}"
