"""One round of a scenario: an exporter of its own, calls beside each other, and what has to be true afterwards.

A round runs under the deterministic scheduler, or on real threads that take their steps in an order of its own while
the sink's gate is shut.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, Final, TypeAlias

from exporter_core.conformance.observe.journal import outcome_of
from exporter_core.conformance.observe.tokens import TokenBatch, compare_identities
from exporter_core.conformance.run.verdicts import Failed
from exporter_core.conformance.scheduler import Schedule, ScheduleError
from exporter_core.conformance.scheduler.results import Abandoned

if TYPE_CHECKING:
    from exporter_core.conformance.case import Case
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context

_SETTLES: Final = 0.02  # seconds for a step to end or to get to where it waits; too few make the clause blunt
_SWITCHES: Final = 1e-5  # seconds between two threads that run at once


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

    def __init__(self, case: Case, schedule: Schedule | None) -> None:
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

    def begin(self) -> None:
        """Forget what the rounds before have delivered, which this one would look through each time."""
        if self.case.has_harness:
            with self._aside():
                self.case.harness.forget_arrivals()

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
        with self._aside():
            arrived = self.case.arrived()
        return {token for batch in batches for token in batch.tokens}.difference(arrived)

    def delivered(self, *batches: TokenBatch, expected: str) -> None:
        """Fail unless every point of the batches has arrived, one time."""
        with self._aside():
            found = compare_identities([token for batch in batches for token in batch.tokens], self.case.arrived())
        if found.lost or found.duplicated:
            raise Failed(expected, found.describe())

    def closed_once(self) -> None:
        """Fail if the backend saw a connection close that was closed already."""
        with self._aside():
            connections = self.case.harness.connections()
        if connections is not None and connections < 0:
            raise Failed("every connection is closed once", f"{-connections} were closed twice")

    def _calm(self) -> Context:
        with self._aside():
            return self.case.long_context()

    def _run(self, functions: list[Callable[[], None]], *, interrupted: bool) -> None:
        assert self._schedule is not None  # noqa: S101 - a round without one has a method of its own
        result = self._schedule.run(functions, interrupted=interrupted)
        if result.problem is not None:
            raise ScheduleError(result.problem)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        assert self._schedule is not None  # noqa: S101 - as above
        with self._schedule.aside():
            yield


def _sequence(steps: Sequence[Step]) -> Callable[[], None]:
    def run() -> None:
        for step in steps:
            step()

    run.__name__ = ", ".join(step.name for step in steps)
    return run


class RealRound(Round):
    """A round on real threads, for what the scheduler cannot see: sockets, event loops, threads of C code.

    Args:
        case: the run of the clause.
        number: the number of the order in which the steps of :meth:`beside` begin: one begins when those before it
            have ended, or wait at the shut gate or for one another. None to let all begin at once, at the open gate.
    """

    def __init__(self, case: Case, number: int | None) -> None:
        super().__init__(case, None)
        self._number = number
        self.orders = 0
        """The number of orders that there are, once the calls were made."""

    def beside(self, *threads: Sequence[Step]) -> None:
        """Make calls beside each other, in the order of this round; the gate is opened when the last has begun."""
        possible = orders([len(steps) for steps in threads])
        self.orders = len(possible)
        order = () if self._number is None else possible[self._number]
        gated = bool(order) and self.case.has_harness and self.case.harness.gated
        turns = [[threading.Event() for _ in steps] for steps in threads]
        done = [[threading.Event() for _ in steps] for steps in threads]

        def run(number: int) -> None:
            for step, turn, end in zip(threads[number], turns[number], done[number], strict=True):
                turn.wait()
                step()
                end.set()

        running = [self._start(lambda n=number: run(n), steps) for number, steps in enumerate(threads)]  # type: ignore[misc]  # binds
        if gated:
            self.case.shut()
        begun = [0] * len(threads)
        for number in order:
            place = begun[number]
            begun[number] += 1
            turns[number][place].set()
            done[number][place].wait(_SETTLES)
        with _switching_often():
            for turn in (turn for of_thread in turns for turn in of_thread):
                turn.set()
            if gated:
                self.case.open()
            self._end(running)

    def _run(self, functions: list[Callable[[], None]], *, interrupted: bool) -> None:  # noqa: ARG002 - of schedules
        self._end([self._start(function, ()) for function in functions])

    def _start(self, function: Callable[[], None], steps: Sequence[Step]) -> threading.Thread:
        names = ", ".join(step.name for step in steps)
        thread = threading.Thread(target=function, name=f"conformance-{names or 'alone'}", daemon=True)
        thread.start()
        return thread

    def _end(self, running: Sequence[threading.Thread]) -> None:
        if not self.case.until(lambda: not any(thread.is_alive() for thread in running)):
            self.case.tainted = True
            stuck = ", ".join(thread.name.removeprefix("conformance-") for thread in running if thread.is_alive())
            raise Failed("every call ends", f"not ended {self.case.waited}: {stuck}")

    def leave(self) -> None:
        """Shut down what the scenario has built, unless it has done so itself."""
        self._run([partial(_shut_down, exporter, self._calm()) for exporter in self._built], interrupted=False)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        yield


def _shut_down(exporter: Driven, context: Context) -> None:
    with suppress(Exception):  # most have been shut down
        exporter.shutdown(context)


@contextmanager
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCHES)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def orders(lengths: Sequence[int]) -> list[tuple[int, ...]]:
    """Every order in which threads with so many steps can begin them; threads are told by their numbers."""
    steps = [number for number, length in enumerate(lengths) for _ in range(length)]
    return sorted(set(permutations(steps)))


Scenario: TypeAlias = Callable[[Round], None]
