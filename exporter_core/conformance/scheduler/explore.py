"""Running a scenario under many seeds, and the first interleaving that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from exporter_core.conformance.scheduler.results import Result, ScheduleError, Switch
from exporter_core.conformance.scheduler.schedule import Schedule

if TYPE_CHECKING:
    from exporter_core.conformance.scheduler.instructions import Site
    from exporter_core.conformance.scheduler.subjects import Subject

Scenario: TypeAlias = Callable[[Schedule], object]
_RunSchedule: TypeAlias = Callable[..., tuple[BaseException | None, Result]]

SEEDS = range(53)
"""A race that one seed in twelve finds is missed by all of them once in a hundred times."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An interleaving under which the scenario fails."""

    seed: int | None
    """None if it fails without any preemption."""
    error: BaseException
    """The scenario's error; a ScheduleError for a deadlock or a livelock."""
    switches: tuple[Switch, ...]
    """Replays it, as ``Schedule(replay=switches, ...)``."""
    places: tuple[str, ...]
    """For each switch the thread that lost control, and where."""
    unseen: tuple[str, ...]
    """Events of the run that the scheduler cannot see."""
    length: int
    """The ``length`` that belongs to the seed."""
    passes: tuple[tuple[Site, int], ...]
    """The ``passes`` that belong to the seed."""
    _run: _RunSchedule = field(repr=False)

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
        error, result = self._run(replay=switches)
        if error is None:
            return None
        return replace(self, error=error, switches=result.trace, places=result.places, unseen=result.unseen)

    def __str__(self) -> str:
        where = "without a preemption" if self.seed is None else f"with seed {self.seed}"
        return f"fails {where} ({len(self.switches)} switches): {type(self.error).__name__}: {self.error}"


@dataclass(frozen=True, slots=True)
class Exploration:
    """The result of a scenario under the seeds tried."""

    failure: Failure | None
    """The first, or None."""
    seeds: int
    """The number of seeds tried, the failing one included."""
    steps: int
    """The subject's instructions in all runs."""
    stalled: int
    """The number of runs that ended in a wait that the scheduler cannot see: one ends the exploration."""
    unseen: tuple[str, ...]
    """Events of any run that the scheduler cannot see."""


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
    first run measures the length of the scenario, so that the effect of a seed depends on nothing but the scenario.

    Args:
        scenario: builds a subject inside the open schedule, runs functions on it, and checks the results.
        subject: see :class:`Schedule`.
        seeds: those to try, in order.
        depth: see :class:`Schedule`.
        max_steps: see :class:`Schedule`.
        stall_seconds: see :class:`Schedule`.
    """
    run = partial(
        _run,
        scenario,
        partial(Schedule, subject=subject, depth=depth, max_steps=max_steps, stall_seconds=stall_seconds),
    )
    error, result = run()
    length, passes = max(result.steps, 1), result.passes
    results = [result]
    seed: int | None = None
    remaining = iter(seeds)
    while error is None:
        seed = None if result.stalled else next(remaining, None)
        if seed is None:
            break
        error, result = run(seed, length=length, passes=passes)
        results.append(result)
    failure = None
    if error is not None:
        failure = Failure(seed, error, result.trace, result.places, result.unseen, length, passes, run)
    return Exploration(
        failure,
        seeds=len(results) - 1,
        steps=sum(one.steps for one in results),
        stalled=sum(one.stalled is not None for one in results),
        unseen=tuple(dict.fromkeys(text for one in results for text in one.unseen)),
    )


def _run(
    scenario: Scenario, make: Callable[..., Schedule], seed: int | None = None, **options: Any
) -> tuple[BaseException | None, Result]:
    """Run the scenario in a schedule with these options; the error with which it failed, and the result."""
    error: BaseException | None = None
    with make(seed, **options) as schedule:
        try:
            scenario(schedule)
        except Exception as raised:  # noqa: BLE001 - this is how a scenario says that it failed
            error = raised
    result = schedule.result
    if result is None:
        raise error or ScheduleError("the scenario ran nothing: it has to call schedule.run([...])")
    if result.stalled is not None:
        error = None
    elif result.problem is not None:
        error = ScheduleError(result.problem)
    return error, result
