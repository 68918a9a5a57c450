"""The choice of the thread that runs next: by PCT's priorities and change points, by a record, or by plain order."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from exporter_core.conformance.scheduler.instructions import Site
    from exporter_core.conformance.scheduler.results import Switch
    from exporter_core.conformance.scheduler.threads import ScheduledThread


class Policy:
    """Chooses at the points that the schedule asks about. ``runnable`` is never empty, and in the order of starting.

    This one never preempts, and lets the first thread that can run go on.
    """

    next_step: float = math.inf
    """The next step at which to ask, apart from those after a thread has become able to run."""
    diverged = False

    def __init__(self) -> None:
        self.sites: Mapping[Site, Collection[int]] = {}
        """The passes through these sites at which to ask as well."""

    def admit(self, thread: ScheduledThread) -> None:
        """Take a thread in."""

    def yielded(self, thread: ScheduledThread) -> None:
        """Put a thread behind the others, which it lets go first or keeps from running."""

    def preempt(
        self,
        step: int,  # noqa: ARG002 - for those that override it
        running: ScheduledThread,
        runnable: Sequence[ScheduledThread],  # noqa: ARG002 - as above
        *,
        at_site: bool = False,  # noqa: ARG002 - as above
    ) -> ScheduledThread:
        """Choose the thread that goes on at this step; ``at_site`` if it is one of the sites' passes."""
        return running

    def succeed(self, handover: int, runnable: Sequence[ScheduledThread]) -> ScheduledThread:  # noqa: ARG002 - as above
        """Choose the thread that follows one that has blocked or ended."""
        return runnable[0]


class Priorities(Policy):
    """PCT: random priorities, and ``depth - 1`` random steps, of ``length`` expected, where the running one drops.

    If the passes through the sites of a calm run are known, two seeds in three draw among these instead. One seed after
    the other takes the next site, alone at first, in later rounds together with others: a bug that needs a single
    preemption is often hidden by a second one.
    """

    def __init__(self, seed: int, depth: int, length: int, passes: Sequence[tuple[Site, int]] = ()) -> None:
        super().__init__()
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        drawn: dict[Site, set[int]] = {}
        points: list[int] = []
        if passes and seed % 3 and depth > 1:
            rounds, turn = divmod(seed - seed // 3 - 1, len(passes))
            for site, number in (passes[turn], *self._random.choices(passes, k=rounds % (depth - 1))):
                drawn.setdefault(site, set()).add(self._random.randint(1, number))
        else:
            points = self._random.sample(range(1, max(length, depth) + 1), depth - 1)
        self.sites = drawn
        self._drops = {step: value for value, step in enumerate(points, start=1)}
        self._pending = sorted(points, reverse=True)
        self._at_sites = self._random.sample(range(1, depth), depth - 1)
        self._first = depth
        self._priority: dict[ScheduledThread, float] = {}
        self._lowest = 0
        self.next_step = self._pending[-1] if self._pending else math.inf

    def admit(self, thread: ScheduledThread) -> None:
        # Above every drop. The owner comes first: it runs when what it waited for is over, and is not under test.
        self._priority[thread] = math.inf if thread.index == 0 else self._first + self._random.random()

    def yielded(self, thread: ScheduledThread) -> None:
        if thread.index:
            self._lowest -= 1
            self._priority[thread] = self._lowest

    def preempt(
        self, step: int, running: ScheduledThread, runnable: Sequence[ScheduledThread], *, at_site: bool = False
    ) -> ScheduledThread:
        while self._pending and self._pending[-1] <= step:
            self._priority[running] = self._drops[self._pending.pop()]
            self.next_step = self._pending[-1] if self._pending else math.inf
        if at_site:
            self._priority[running] = self._at_sites.pop()
        return self.succeed(0, runnable)

    def succeed(self, handover: int, runnable: Sequence[ScheduledThread]) -> ScheduledThread:  # noqa: ARG002 - see Policy
        return max(runnable, key=self._priority.__getitem__)


class InOrder(Policy):
    """No preemption: a thread runs until it blocks, then the first that can; one that yielded only after the others."""

    def __init__(self) -> None:
        super().__init__()
        self._behind: dict[ScheduledThread, int] = {}
        self._yields = 0

    def admit(self, thread: ScheduledThread) -> None:
        self._behind[thread] = 0

    def yielded(self, thread: ScheduledThread) -> None:
        self._yields += 1
        self._behind[thread] = self._yields

    def preempt(
        self,
        step: int,  # noqa: ARG002 - see Policy
        running: ScheduledThread,
        runnable: Sequence[ScheduledThread],
        *,
        at_site: bool = False,  # noqa: ARG002 - see Policy
    ) -> ScheduledThread:
        # A thread that has just yielded is behind everybody, any other has nobody to let go first.
        return self.succeed(0, runnable) if self._behind[running] == self._yields > 0 else running

    def succeed(self, handover: int, runnable: Sequence[ScheduledThread]) -> ScheduledThread:  # noqa: ARG002 - see Policy
        return min(runnable, key=self._behind.__getitem__)


class Recorded(Policy):
    """The switches of a record, and between them the first that can run."""

    def __init__(self, switches: Sequence[Switch]) -> None:
        super().__init__()
        self._preemptions = [switch for switch in reversed(switches) if switch.handover is None]
        self._handovers = {switch.handover: switch.thread for switch in switches if switch.handover is not None}
        self._look_ahead()

    def preempt(
        self,
        step: int,
        running: ScheduledThread,
        runnable: Sequence[ScheduledThread],
        *,
        at_site: bool = False,  # noqa: ARG002 - see Policy
    ) -> ScheduledThread:
        if not self._preemptions or self._preemptions[-1].step > step:
            return running
        wanted = self._preemptions.pop().thread
        self._look_ahead()
        return self._find(wanted, runnable) or running

    def succeed(self, handover: int, runnable: Sequence[ScheduledThread]) -> ScheduledThread:
        wanted = self._handovers.get(handover)
        return runnable[0] if wanted is None else self._find(wanted, runnable) or runnable[0]

    def _look_ahead(self) -> None:
        self.next_step = self._preemptions[-1].step if self._preemptions else math.inf

    def _find(self, wanted: int, runnable: Sequence[ScheduledThread]) -> ScheduledThread | None:
        found = next((thread for thread in runnable if thread.index == wanted), None)
        self.diverged = self.diverged or found is None
        return found
