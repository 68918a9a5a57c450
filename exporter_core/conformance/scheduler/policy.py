"""Who runs next: by PCT's priorities and change points, by a record, or whoever can."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from exporter_core.conformance.scheduler.instructions import Site
    from exporter_core.conformance.scheduler.results import Switch
    from exporter_core.conformance.scheduler.tasks import Task


class Policy(Protocol):
    """Decides at the points that the schedule asks about. ``runnable`` is never empty, and in the order of starting."""

    next_step: float
    """The next step at which to ask, apart from those after a thread has become able to run."""
    sites: Mapping[Site, Collection[int]]
    """The passes through these sites at which to ask as well."""
    diverged: bool

    def admit(self, task: Task) -> None:
        """Take a thread in."""
        ...

    def yielded(self, task: Task) -> None:
        """Put a thread behind the others, which it lets go first or keeps from running."""
        ...

    def preempt(self, step: int, running: Task, runnable: Sequence[Task], *, at_site: bool = False) -> Task:
        """Who goes on at this step; whether it is one of the sites' passes."""
        ...

    def succeed(self, handover: int, runnable: Sequence[Task]) -> Task:
        """Who comes after a thread that has blocked or ended."""
        ...


class Priorities:
    """PCT: random priorities, and ``depth - 1`` random steps, of ``length`` expected, where the running one drops.

    If the passes through the sites of a calm run are known, two seeds in three draw among these instead. One seed after
    the other takes the next site, alone at first, in later rounds together with others: a bug that needs a single
    preemption is often hidden by a second one.
    """

    def __init__(self, seed: int, depth: int, length: int, passes: Sequence[tuple[Site, int]] = ()) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        drawn: dict[Site, set[int]] = {}
        points: list[int] = []
        if passes and seed % 3 and depth > 1:
            rounds, turn = divmod(seed - seed // 3 - 1, len(passes))
            for site, number in (passes[turn], *self._random.choices(passes, k=rounds % (depth - 1))):
                drawn.setdefault(site, set()).add(self._random.randint(1, number))
        else:
            points = self._random.sample(range(1, max(length, depth) + 1), depth - 1)
        self.sites: Mapping[Site, Collection[int]] = drawn
        self._drops = {step: value for value, step in enumerate(points, start=1)}
        self._pending = sorted(points, reverse=True)
        self._at_sites = self._random.sample(range(1, depth), depth - 1)
        self._first = depth
        self._priority: dict[Task, float] = {}
        self._lowest = 0
        self.next_step: float = self._pending[-1] if self._pending else math.inf
        self.diverged = False

    def admit(self, task: Task) -> None:
        """Draw its priority."""
        # Above every drop. The owner comes first: it runs when what it waited for is over, and is not under test.
        self._priority[task] = math.inf if task.index == 0 else self._first + self._random.random()

    def yielded(self, task: Task) -> None:
        """Drop below every other."""
        if task.index:
            self._lowest -= 1
            self._priority[task] = self._lowest

    def preempt(self, step: int, running: Task, runnable: Sequence[Task], *, at_site: bool = False) -> Task:
        """The highest, after the drops that are due."""
        while self._pending and self._pending[-1] <= step:
            self._priority[running] = self._drops[self._pending.pop()]
            self.next_step = self._pending[-1] if self._pending else math.inf
        if at_site:
            self._priority[running] = self._at_sites.pop()
        return self._highest(runnable)

    def succeed(self, handover: int, runnable: Sequence[Task]) -> Task:  # noqa: ARG002 - see Policy
        """The highest."""
        return self._highest(runnable)

    def _highest(self, runnable: Sequence[Task]) -> Task:
        return max(runnable, key=self._priority.__getitem__)


class InOrder:
    """No preemption: a thread runs until it blocks, then the first that can; one that yielded only after the others."""

    def __init__(self) -> None:
        self._behind: dict[Task, int] = {}
        self._yields = 0
        self.next_step: float = math.inf
        self.sites: Mapping[Site, Collection[int]] = {}
        self.diverged = False

    def admit(self, task: Task) -> None:
        """Put it among those that have not yielded."""
        self._behind[task] = 0

    def yielded(self, task: Task) -> None:
        """Put it last."""
        self._yields += 1
        self._behind[task] = self._yields

    def preempt(self, step: int, running: Task, runnable: Sequence[Task], *, at_site: bool = False) -> Task:  # noqa: ARG002 - see Policy
        """Another one only if this one has just yielded."""
        # A thread that has just yielded is behind everybody, any other has nobody to let go first.
        return min(runnable, key=self._behind.__getitem__) if self._behind[running] == self._yields > 0 else running

    def succeed(self, handover: int, runnable: Sequence[Task]) -> Task:  # noqa: ARG002 - see Policy
        """The first, of those that yielded longest ago."""
        return min(runnable, key=self._behind.__getitem__)


class Recorded:
    """The switches of a record, and between them the first that can run."""

    def __init__(self, switches: Sequence[Switch]) -> None:
        self._preemptions = [switch for switch in reversed(switches) if switch.handover is None]
        self._handovers = {switch.handover: switch.thread for switch in switches if switch.handover is not None}
        self.diverged = False
        self.next_step: float = math.inf
        self.sites: Mapping[Site, Collection[int]] = {}
        self._look_ahead()

    def admit(self, task: Task) -> None:
        """Nothing: the record knows."""

    def yielded(self, task: Task) -> None:
        """Nothing: the record knows."""

    def preempt(self, step: int, running: Task, runnable: Sequence[Task], *, at_site: bool = False) -> Task:  # noqa: ARG002 - see Policy
        """The one recorded for this step."""
        if not self._preemptions or self._preemptions[-1].step > step:
            return running
        wanted = self._preemptions.pop().thread
        self._look_ahead()
        return self._of(wanted, runnable) or running

    def succeed(self, handover: int, runnable: Sequence[Task]) -> Task:
        """The one recorded for this hand-over, or the first."""
        wanted = self._handovers.get(handover)
        if wanted is None:
            return runnable[0]
        return self._of(wanted, runnable) or runnable[0]

    def _look_ahead(self) -> None:
        self.next_step = self._preemptions[-1].step if self._preemptions else math.inf

    def _of(self, wanted: int, runnable: Sequence[Task]) -> Task | None:
        for task in runnable:
            if task.index == wanted:
                return task
        self.diverged = True
        return None
