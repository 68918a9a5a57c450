"""Technique P: one scenario of calls beside each other, run under many seeds of the deterministic scheduler.

What is interrupted is the exporter's own code, and behind the guard that of the guard. The harness stands aside: what
it does is neither interrupted nor given cooperative locks. A wait that the scheduler cannot see is no evidence, so
that the verdict is UNOBSERVABLE then, unless a promise was seen broken.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from exporter_core.conformance.observe.journal import outcome_of
from exporter_core.conformance.observe.tokens import TokenBatch, compare
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.conformance.scheduler import Exploration, Failure, Schedule, ScheduleError, explore
from exporter_core.conformance.scheduler.results import Abandoned
from exporter_core.contract import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context

_DEPTH: Final = 4
_MAX_STEPS: Final = 300_000
STALL_SECONDS: Final = 5.0
"""Real seconds without an instruction or a hand-over after which a run has met a wait that the scheduler cannot see."""

_REPLAYS: Final = 40  # runs spent on making a failure shorter

_CORE: Final = "exporter_core."
_GUARD: Final = "exporter_core.guard"


class Step:
    """One call of a scenario: made by one of its threads, and entered in the timeline."""

    over = True  # when a clause looks at it

    def __init__(self, case: Case, name: str, function: Callable[[], object]) -> None:
        self.name = name
        self.result: object = None
        self.error: BaseException | None = None
        self.begun = self.ended = 0
        """The places in the history, from 1; 0 before they are reached."""
        self._case = case
        self._function = function

    def __call__(self) -> None:
        """Make the call."""
        journal = self._case.journal
        self.begun = journal.stamp("call", self.name)
        try:
            self.result = self._function()
        except Abandoned:
            raise
        except BaseException as error:  # noqa: BLE001 - what was raised is what the clause looks at
            self.error = error
        self.ended = journal.stamp("return", f"{self.name} {outcome_of(self.error)}")


class Round:
    """One interleaving of a scenario, with an exporter of its own."""

    def __init__(self, case: Case, schedule: Schedule) -> None:
        self.case = case
        self._schedule = schedule
        self._built: list[Driven] = []

    def exporter(self) -> Driven:
        """A fresh exporter, in a canary run with the clause's fault."""
        step = Step(self.case, "build", lambda: self._built.append(self.case.exporter()))
        self.alone(step)
        if step.error is not None:
            raise step.error
        return self._built[-1]

    def leave(self) -> None:
        """Shut down what the scenario has built, unless it has done so itself."""
        for exporter in self._built:
            context = self._calm()
            try:
                self._run([lambda e=exporter, c=context: e.shutdown(c)], interrupted=False)  # type: ignore[misc]  # binds
            except ScheduleError:
                # The threads of a schedule that came to no end are gone: nobody will give back the locks they held.
                self.case.forget()
                return

    def step(self, name: str, function: Callable[[], object]) -> Step:
        """A call that :meth:`beside` or :meth:`alone` makes."""
        return Step(self.case, name, function)

    def export(self, exporter: Driven, batch: TokenBatch) -> Step:
        """An export."""
        context = self._calm()
        return self.step("export", lambda: exporter.export(context, batch.metrics))

    def flush(self, exporter: Driven, *before: TokenBatch) -> Step:
        """A flush, whose result is what of the batches accepted before had not arrived when it returned."""
        context = self._calm()

        def flush() -> set[str]:
            exporter.force_flush(context)
            return self.missing(*before) if before else set()

        return self.step("force_flush", flush)

    def shutdown(self, exporter: Driven) -> Step:
        """A shutdown."""
        context = self._calm()
        return self.step("shutdown", lambda: exporter.shutdown(context))

    def beside(self, *threads: Sequence[Step]) -> None:
        """Make calls beside each other: those of one sequence one after the other, each sequence on its own thread."""
        self._run([_sequence(steps) for steps in threads], interrupted=True)

    def alone(self, *steps: Step) -> None:
        """Make calls one after the other, uninterrupted."""
        self._run([_sequence(steps)], interrupted=False)

    def accepted(self, exporter: Driven, batch: TokenBatch) -> None:
        """Export alone, to its end; fails the clause unless it succeeds."""
        step = self.export(exporter, batch)
        self.alone(step)
        self.case.succeeded(step)

    def missing(self, *batches: TokenBatch) -> set[str]:
        """The identities that have not arrived so far; for use within a step as well."""
        with self._schedule.aside():
            arrived = {point.token for point in self.case.read_back()}
        return {token for batch in batches for token in batch.tokens} - arrived

    def delivered(self, *batches: TokenBatch, expected: str) -> None:
        """Fail unless every point of the batches has arrived, one time."""
        sent = {point.token: point for batch in batches for point in batch.points}
        with self._schedule.aside():
            arrived = [point for point in self.case.read_back() if point.token in sent]
        found = compare(sent.values(), arrived, ignore=self.case.capabilities.not_carried)
        if found.lost or found.duplicated:
            raise Failed(expected, found.describe())

    def closed_once(self) -> None:
        """Fail if the backend saw a connection close that was closed already."""
        with self._schedule.aside():
            connections = self.case.harness.connections()
        if connections is not None and connections < 0:
            raise Failed("every connection is closed once", f"{-connections} were closed twice")

    def _calm(self) -> Context:
        with self._schedule.aside():
            return self.case.long_context()

    def _run(self, functions: list[Callable[[], None]], *, interrupted: bool) -> None:
        result = self._schedule.run(functions, interrupted=interrupted)
        if result.problem is not None:
            raise ScheduleError(result.problem)


Scenario: TypeAlias = "Callable[[Round], None]"


def _sequence(steps: Sequence[Step]) -> Callable[[], None]:
    def run() -> None:
        for step in steps:
            step()

    run.__name__ = ", ".join(step.name for step in steps)
    return run


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

    def one(schedule: Schedule) -> None:
        case.forget()
        case.journal.events.clear()
        interleaving = Round(case, schedule)
        try:
            scenario(interleaving)
        finally:
            interleaving.leave()

    if blind := _blind(case, reaching=reaching):
        raise VerdictError(Verdict.UNOBSERVABLE, blind)
    subject = own_code(case)

    def many(seeds: Iterable[int]) -> Exploration:
        return explore(
            one, subject=subject, seeds=seeds, depth=_DEPTH, max_steps=_MAX_STEPS, stall_seconds=STALL_SECONDS
        )

    seeds = range(case.seed, case.seed + case.schedules)
    if case.canary is not None:
        recorded: int | None = case.canary.seed
        found = many(seeds if recorded is None else (recorded, *seeds))
    else:
        found = many(())  # what an exporter does the first time in a process does not count in the length
        if found.failure is None and not found.stalled:
            found = many(seeds)
    case.tainted = found.stalled > 0 or (found.failure is not None and bool(found.failure.unseen))
    if found.failure is not None:
        raise _broken(case, found.failure)
    if found.unseen:
        raise VerdictError(Verdict.UNOBSERVABLE, f"the scheduler cannot see all of it: {'; '.join(found.unseen)}")
    if reaching and case.has_harness and case.harness.sockets:
        # Which of a library's own waits a run meets is a matter of time, and no verdict may be.
        raise VerdictError(Verdict.UNOBSERVABLE, "the scheduler does not see who waits for a socket")
    case.observe(f"{evidence} in {found.seeds + 1} interleavings of {found.steps} instructions of {_names(subject)}")


def _broken(case: Case, failure: Failure) -> BaseException:
    """The exception to raise for an interleaving that has failed."""
    error = failure.error
    if isinstance(error, ScheduleError):
        if failure.unseen or not str(error).startswith("deadlock"):
            reasons = "; ".join(dict.fromkeys((*failure.unseen, str(error))))
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
