"""Running a scenario under many seeds, and what is known of the first one that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from exporter_core.conformance.scheduler.results import ScheduleError, Switch
from exporter_core.conformance.scheduler.schedule import Schedule

if TYPE_CHECKING:
    from exporter_core.conformance.scheduler.instructions import Site
    from exporter_core.conformance.scheduler.subjects import Subject

Scenario: TypeAlias = Callable[[Schedule], object]

SEEDS = range(53)
"""A race that one seed in twelve finds is missed by all of them once in a hundred times."""


@dataclass(frozen=True, slots=True)
class _Setting:
    """What all runs of an exploration have in common."""

    scenario: Scenario
    subject: Subject | tuple[Subject, ...]
    depth: int
    max_steps: int
    stall_seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """An interleaving under which the scenario fails."""

    seed: int | None
    """None if it fails without any preemption."""
    error: BaseException
    """What the scenario raised; a ScheduleError for a deadlock or a livelock."""
    switches: tuple[Switch, ...]
    """Replays it, as ``Schedule(replay=switches, ...)``."""
    places: tuple[str, ...]
    """For each switch the thread that lost control, and where."""
    unseen: tuple[str, ...]
    """What the run met that the scheduler cannot see."""
    length: int
    """The ``length`` that belongs to the seed."""
    passes: tuple[tuple[Site, int], ...]
    """The ``passes`` that belong to the seed."""
    _setting: _Setting = field(repr=False)

    def replay(self) -> Failure | None:
        """Run the same interleaving again; None if the scenario does not fail."""
        return self._with(self.switches)

    def shrink(self, *, replays: int = 200) -> Failure:
        """Leave out switches, one by one, as long as the scenario still fails in the same way."""
        best, position = self, 0
        while position < len(best.switches) and replays > 0:
            shorter = self._with(best.switches[:position] + best.switches[position + 1 :])
            replays -= 1
            if shorter is not None and type(shorter.error) is type(self.error):
                best = shorter
            else:
                position += 1
        return best

    def _with(self, switches: Sequence[Switch]) -> Failure | None:
        run = _run(self._setting, replay=switches)
        if run.error is None:
            return None
        return replace(self, error=run.error, switches=run.switches, places=run.places, unseen=run.unseen)

    def __str__(self) -> str:
        where = "without a preemption" if self.seed is None else f"with seed {self.seed}"
        return f"fails {where} ({len(self.switches)} switches): {type(self.error).__name__}: {self.error}"


@dataclass(frozen=True, slots=True)
class Exploration:
    """What came of a scenario under the seeds tried."""

    failure: Failure | None
    """The first, or None."""
    seeds: int
    """How many seeds were tried, the failing one included."""
    steps: int
    """The subject's instructions in all runs."""
    stalled: int
    """How many runs ended for a wait that the scheduler cannot see: one says nothing, and ends the exploration."""
    unseen: tuple[str, ...]
    """What any run met that the scheduler cannot see."""


@dataclass(frozen=True, slots=True)
class _Run:
    error: BaseException | None
    switches: tuple[Switch, ...]
    places: tuple[str, ...]
    steps: int
    passes: tuple[tuple[Site, int], ...]
    stalled: bool
    unseen: tuple[str, ...]


def explore(
    scenario: Scenario,
    *,
    subject: Subject | tuple[Subject, ...],
    seeds: Iterable[int] = SEEDS,
    depth: int = 3,
    max_steps: int = 100_000,
    stall_seconds: float = 5.0,
) -> Exploration:
    """Run ``scenario(schedule)`` without preemption, then with each seed until it fails.

    It fails by raising, an AssertionError for instance, or when one of its runs ends in a deadlock or a livelock. The
    first run tells how long the scenario is, so that what a seed does depends on nothing but the scenario.

    Args:
        scenario: builds a subject inside the open schedule, runs functions on it, and checks what came of them.
        subject: see :class:`Schedule`.
        seeds: those to try, in order.
        depth: see :class:`Schedule`.
        max_steps: see :class:`Schedule`.
        stall_seconds: see :class:`Schedule`.
    """
    setting = _Setting(scenario, subject, depth, max_steps, stall_seconds)
    run = _run(setting)
    length, passes = max(run.steps, 1), run.passes
    tried, steps, stalled, unseen = 0, run.steps, int(run.stalled), dict.fromkeys(run.unseen)
    seed: int | None = None
    remaining = iter(seeds)
    while run.error is None:
        seed = None if stalled else next(remaining, None)
        if seed is None:
            return Exploration(None, tried, steps, stalled, tuple(unseen))
        run = _run(setting, seed=seed, length=length, passes=passes)
        tried += 1
        steps += run.steps
        stalled += run.stalled
        unseen.update(dict.fromkeys(run.unseen))
    failure = Failure(seed, run.error, run.switches, run.places, run.unseen, length, passes, setting)
    return Exploration(failure, tried, steps, stalled, tuple(unseen))


def _run(
    setting: _Setting,
    *,
    seed: int | None = None,
    length: int = 1,
    passes: Sequence[tuple[Site, int]] = (),
    replay: Sequence[Switch] | None = None,
) -> _Run:
    schedule = Schedule(
        seed,
        subject=setting.subject,
        depth=setting.depth,
        length=length,
        passes=passes,
        replay=replay,
        max_steps=setting.max_steps,
        stall_seconds=setting.stall_seconds,
    )
    error: BaseException | None = None
    with schedule:
        try:
            setting.scenario(schedule)
        except Exception as raised:  # noqa: BLE001 - this is how a scenario says that it failed
            error = raised
    result = schedule.result
    if result is None:
        raise error or ScheduleError("the scenario ran nothing: it has to call schedule.run([...])")
    stalled = result.stalled is not None
    if stalled:
        error = None
    elif result.problem is not None:
        error = ScheduleError(result.problem)
    return _Run(error, result.trace, result.places, result.steps, result.passes, stalled, result.unseen)
