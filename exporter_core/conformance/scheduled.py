"""Technique P: one scenario of calls beside each other, run under many seeds of the deterministic scheduler.

What is interrupted is the exporter's own code, and behind the guard that of the guard. The harness stands aside: what
it does is neither interrupted nor given cooperative locks.

The scheduler sees no wait for a socket and no event loop. An exporter that has such runs the scenario on real threads
as well: its steps begin in every order while the sink's gate is shut, so that each of them meets the others in flight.
Where there is no gate, what the scheduler cannot see is no evidence: the verdict is UNOBSERVABLE then, unless a promise
was seen broken.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, Final

from exporter_core.conformance.rounds import RealRound, Round, Scenario
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.conformance.scheduler import Exploration, Failure, ScheduleError, explore
from exporter_core.conformance.scheduler.unscheduled import UNSEEN_SOCKETS
from exporter_core.contract import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from exporter_core.conformance.case import Case

_DEPTH: Final = 4
_MAX_STEPS: Final = 300_000
STALL_SECONDS: Final = 5.0
"""Real seconds without an instruction or a hand-over after which a run has met a wait that the scheduler cannot see."""

_BRIEF_STALL: Final = 1.0  # the same, where real threads have shown what there is to see
_AT_ONCE: Final = 5  # rounds on real threads in which all calls begin at once
_REPLAYS: Final = 40  # runs spent on making a failure shorter

_CORE: Final = "exporter_core."
_GUARD: Final = "exporter_core.guard"


def exercised(case: Case, scenario: Scenario, evidence: str, *, reaching: bool = True) -> None:
    """Run the scenario without preemption, then under each seed from the run's own on, until it fails.

    Args:
        case: the run of the clause.
        scenario: builds an exporter, makes calls, and raises Failed where a promise is broken.
        evidence: what no interleaving has broken, for the report.
        reaching: whether the scenario calls operations that may be async.

    Raises:
        Failed: with the seed that shows it.
        VerdictError: UNOBSERVABLE, if something happened that the scheduler cannot see.
    """
    if case.has_harness:
        _ = case.harness  # set up before any schedule is open, with real locks
    blind = _blind(case, reaching=reaching)
    gated = case.has_harness and case.harness.gated
    real = 0
    if (blind is not None and not reaching) or (gated and reaching and (blind is not None or case.harness.sockets)):
        real = _on_real_threads(case, scenario)
    if blind is not None and not real:
        raise VerdictError(Verdict.UNOBSERVABLE, blind)
    if blind is not None:
        case.observe(f"{evidence} in {real} orders of its calls on real threads; {blind}")
        return
    found = _scheduled(case, scenario, beside_real=real > 0)
    if found.failure is not None:
        error = _broken(case, found.failure)
        if not real or isinstance(error, Failed):
            raise error
    unseen = "; ".join(found.unseen)
    if unseen and not real:
        if found.stalled or not (gated and reaching):
            raise VerdictError(Verdict.UNOBSERVABLE, f"the scheduler cannot see all of it: {unseen}")
        real = _on_real_threads(case, scenario)
    _enter(case, evidence, found, real)


def _enter(case: Case, evidence: str, found: Exploration, real: int) -> None:
    """Note the evidence of a scenario that no interleaving has broken."""
    ways = f"{found.seeds + 1} interleavings of {found.steps} instructions of {_names(own_code(case))}"
    if real:
        ways = f"{real} orders of its calls on real threads and in {ways}"
    case.observe(f"{evidence} in {ways}")
    if found.unseen:
        case.observe(f"what the scheduler cannot see rests on the real threads: {'; '.join(found.unseen)}")


def _on_real_threads(case: Case, scenario: Scenario) -> int:
    """Run the scenario in every order of its calls, and with all at once; the number of rounds. Raises Failed."""
    case.on_real_threads = True
    try:
        number, orders_there_are = 0, 1
        while number < orders_there_are:
            one = RealRound(case, number)
            _round(case, scenario, one)
            orders_there_are = one.orders
            number += 1
        for _ in range(_AT_ONCE):
            _round(case, scenario, RealRound(case, None))
    finally:
        case.on_real_threads = False
    return number + _AT_ONCE


def _round(case: Case, scenario: Scenario, one: Round) -> None:
    case.forget()
    case.journal.events.clear()
    one.begin()
    try:
        scenario(one)
    finally:
        one.leave()


def _scheduled(case: Case, scenario: Scenario, *, beside_real: bool) -> Exploration:
    """Run the scenario under the scheduler, without preemption and then under each seed, until it fails.

    Where real threads have run it before, half the seeds do: over sockets each takes ten times as long.
    """
    subject = own_code(case)

    def many(seeds: Iterable[int]) -> Exploration:
        return explore(
            lambda schedule: _round(case, scenario, Round(case, schedule)),
            subject=subject,
            seeds=seeds,
            depth=_DEPTH,
            max_steps=_MAX_STEPS,
            stall_seconds=_BRIEF_STALL if beside_real else STALL_SECONDS,
        )

    seeds = range(case.seed, case.seed + (case.schedules + beside_real) // (1 + beside_real))
    if case.canary is not None:
        recorded: int | None = case.canary.seed
        found = many(seeds if recorded is None else (recorded, *seeds))
    else:
        found = many(())  # what an exporter does the first time in a process does not count in the length
        if found.failure is None and not found.stalled:
            found = many(seeds)
    case.tainted |= found.stalled > 0 or (found.failure is not None and bool(found.failure.unseen))
    return found


def _broken(case: Case, failure: Failure) -> BaseException:
    """The exception to raise for an interleaving that has failed."""
    error = failure.error
    if isinstance(error, ScheduleError):
        # In a deadlock nobody waits for a socket: who does is a thread that runs.
        unseen = [text for text in failure.unseen if text != UNSEEN_SOCKETS]
        if unseen or not str(error).startswith("deadlock"):
            reasons = "; ".join(dict.fromkeys((*unseen, str(error))))
            return VerdictError(Verdict.UNOBSERVABLE, f"the scheduler cannot see all of it: {reasons}")
        error = Failed("every call ends", str(error))
    if not isinstance(error, Failed):
        return error
    if case.canary is None:
        failure = failure.shrink(replays=_REPLAYS)
        failure = failure.replay() or failure  # so that the timeline is that of the shortest
        case.found_seed = failure.seed
    preempted = [place for switch, place in zip(failure.switches, failure.places, strict=True) if not switch.handover]
    for place in preempted:
        case.journal.stamp("note", f"interrupted {place}")
    where = "in plain order" if failure.seed is None else f"with seed {failure.seed}"
    places = f", interrupting {' and '.join(preempted)}" if preempted else ""
    return Failed(error.expected, f"{error.seen} ({where}{places})")


def _blind(case: Case, *, reaching: bool) -> str | None:
    """The reason why the scheduler cannot run it; None if it can."""
    operations = (getattr(case.subject.exporter_class, name, None) for name in OPERATIONS)
    if not any(inspect.iscoroutinefunction(one) for one in operations) or not (reaching or case.mode == "guarded"):
        return None
    return "its async operations take turns on an event loop, which the scheduler does not run"


def own_code(case: Case) -> tuple[ModuleType | type, ...]:
    """The modules whose instructions are interrupted: the exporter's own, those of its base classes, the guard's.

    The exporter's own are all of its package. In a canary run it is the canary's code alone: the fault is there.
    """
    if case.canary is not None:
        return tuple(one for one in inspect.getmro(case.canary) if one is not object)
    first, *bases = dict.fromkeys(one.__module__ for one in inspect.getmro(case.subject.exporter_class))
    own = package_of(first) or with_source(first)
    found: dict[str, ModuleType | type] = {} if own is None else {own.__name__: own}
    for name in bases:
        module = with_source(name)
        of_own = own is not None and hasattr(own, "__path__") and name.startswith(f"{own.__name__}.")
        if module is not None and not of_own and name.partition(".")[0] not in sys.stdlib_module_names:
            found[name] = module
    if case.mode == "guarded":
        found[_GUARD] = sys.modules[_GUARD]
    return tuple(found.values())


def package_of(name: str) -> ModuleType | None:
    """The outermost package that is not a namespace; None for a module of the core, or one without a package."""
    if name.startswith(_CORE):
        return None
    parts = name.split(".")
    packages = (with_source(".".join(parts[:length])) for length in range(1, len(parts) + 1))
    return next((one for one in packages if one is not None and hasattr(one, "__path__")), None)


def with_source(name: str) -> ModuleType | None:
    """The module of this name, if it was imported from a file."""
    module: Any = sys.modules.get(name)  # Any: anything can be put there
    return module if getattr(module, "__file__", None) else None


def _names(subject: Iterable[ModuleType | type]) -> str:
    return ", ".join(one.__name__ for one in subject)
