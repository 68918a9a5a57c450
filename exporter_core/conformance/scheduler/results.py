"""The result of a scheduled run: the outcome of each function, the switches that replay it, and the problem if any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from exporter_core.conformance.scheduler.instructions import Site


class ScheduleError(RuntimeError):
    """The scheduler is used wrongly, or a schedule ended without a result."""


class DeadlockError(ScheduleError):
    """The thread that opened the schedule waits for something that nobody will do."""


class Abandoned(BaseException):
    """Raised inside a scheduled thread to end it, since its schedule is over."""


class Switch(NamedTuple):
    """Control passed to ``thread`` where a thread would have gone on, or another one would have come, by default.

    ``handover`` is None for a preemption before the instruction number ``step`` (from 1). Else a thread had blocked or
    ended: the hand-over of that number (from 1) went to ``thread`` instead of the first one that could run.
    """

    step: int
    thread: int
    handover: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thread that waits."""

    thread: str
    operation: str
    """Its operation, such as ``Queue.get``, and the object of it."""
    place: str
    """The place, as ``file:line``."""
    holder: str | None
    """The thread that holds what it waits for, if anybody can."""

    def __str__(self) -> str:
        held = "" if self.holder is None else f", held by {self.holder!r}"
        return f"{self.thread!r} waits in {self.operation} at {self.place}{held}"


@dataclass(frozen=True, slots=True)
class Deadlock:
    """Every thread waits, and for no time."""

    waiting: tuple[Waiting, ...]

    @property
    def cycle(self) -> tuple[str, ...]:
        """Threads of which each waits for the next and the last for the first; empty if there is no such cycle."""
        holders = {waiting.thread: waiting.holder for waiting in self.waiting}
        for start in holders:
            path = [start]
            while (following := holders.get(path[-1])) is not None and following not in path:
                path.append(following)
            if following == start:
                return tuple(path)
        return ()

    def __str__(self) -> str:
        cycle = self.cycle
        round_trip = f" ({' -> '.join([*cycle, cycle[0]])})" if cycle else ""
        return f"deadlock{round_trip}: {'; '.join(map(str, self.waiting))}"


@dataclass(frozen=True, slots=True)
class FunctionOutcome:
    """The outcome of one function of a run."""

    ended: bool = False
    """True if it returned or raised; False if the run ended before it did."""
    value: object = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A scheduled run."""

    outcomes: tuple[FunctionOutcome, ...]
    """One for each function, in their order."""
    trace: tuple[Switch, ...]
    """The switches so far, of which ``Schedule(replay=...)`` makes the same interleaving."""
    places: tuple[str, ...]
    """For each switch the thread that lost control, and where: ``'NAME' at FILE:LINE``."""
    steps: int
    """Instructions of the subject that the schedule's threads have executed in all its runs."""
    passes: tuple[tuple[Site, int], ...]
    """Each site, with the number of times that a thread came to it, in the order of first coming."""
    deadlock: Deadlock | None
    livelock: str | None
    """The threads' occupations when the step limit was reached, else None."""
    stalled: str | None
    """The occupation of a thread that the scheduler cannot see, and that ended the run; else None."""
    unseen: tuple[str, ...]
    """Events that the scheduler cannot see."""
    diverged: bool
    """True if a replay met another situation than the one recorded."""

    @property
    def problem(self) -> str | None:
        """The reason why a run ended before its functions did, in one line; None if it did not."""
        if self.deadlock is not None:
            return str(self.deadlock)
        return self.livelock or self.stalled
