"""The list of mutants, each with the clause that kills it, and helpers that several share."""

from __future__ import annotations

import math
import threading
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from exporter_core.context import Context
from exporter_core.errors import ContextCancelledError, ExporterError, PartialSuccessError
from kit.reference import ReferenceExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from exporter_core.conformance.observe.tokens import Point
    from kit.memory import MemoryHarness, Response, Wait

POLL = 0.002
"""Seconds between two looks."""
OWN_SECONDS = 0.5
"""A time-out that has nothing to do with any context, under the patience that mutants are waited for with."""
_NEVER = 60.0  # seconds

_Exporter = TypeVar("_Exporter", bound="type[ReferenceExporter]")


class Mutant(NamedTuple):
    """A wrong exporter, the clause that finds it, and a part of what is then seen."""

    clause: str
    exporter: type[ReferenceExporter]
    seen: str

    @property
    def target(self) -> str:
        """Its address for ``check``."""
        return f"{self.exporter.__module__}:{self.exporter.__name__}"


MUTANTS: list[Mutant] = []
"""Every mutant. That of INT-02 is a registration, not a class: it takes an entry point of another version."""


def killed_by(clause: str, seen: str) -> Callable[[_Exporter], _Exporter]:
    """List the decorated exporter as one that the clause finds, and sees this in."""

    def register(exporter: _Exporter) -> _Exporter:
        MUTANTS.append(Mutant(clause, exporter, seen))
        return exporter

    return register


class Parametrised(ReferenceExporter):
    """Takes the values in which mutants of one kind differ as keywords of their class statements."""

    def __init_subclass__(cls, **values: Any) -> None:  # Any: whatever they differ in
        for name, value in values.items():
            setattr(cls, name, value)


class Tells(Parametrised):
    """Ends the words of a failure with what it has been told to keep for itself."""

    told: str

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        if failure is None or isinstance(failure, PartialSuccessError):
            return failure
        return ExporterError(f"{failure} to {self.told}")


class Splits(ReferenceExporter):
    """Sends a request for each metric of a batch, and is right."""

    def _delivery(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        rejected = 0
        for part in self._parts(points):
            try:
                yield from self._part(part)
            except PartialSuccessError as error:
                rejected += error.rejected_points
        if rejected:
            raise PartialSuccessError(f"{rejected} points were refused", rejected_points=rejected)

    def _parts(self, points: Sequence[Point]) -> list[list[Point]]:
        parts = groupby(points, lambda point: [point.fields.get(name) for name in ("resource", "scope", "name")])
        return [list(part) for _, part in parts] or [[]]

    def _part(self, points: Sequence[Point]) -> Generator[Wait, None, None]:
        return super()._delivery(points)


def is_cancelled(context: Context) -> bool:
    """True if the context was cancelled; that its deadline passed does not count."""
    return isinstance(context.error(), ContextCancelledError)


def is_calm(context: Context) -> bool:
    """True if the deadline is one that no clause waits for."""
    return (context.remaining() or 0) > _NEVER


def deadline_only(context: Context) -> Context:
    """A context with the deadline of this one, whose cancellation it ignores."""
    return Context(deadline=context.deadline)


def cancellation_only(context: Context, seconds: float = math.inf) -> Context:
    """A context with a time-out of its own, which is cancelled with this one."""
    own = Context.with_timeout(seconds)
    context.on_done(lambda: own.cancel("cancelled") if is_cancelled(context) else None)
    return own


def detached(call: Callable[[], None], context: Context, sink: MemoryHarness, *, waits: bool = False) -> None:
    """Make the call on a thread, and return when the backend is slow to answer, unless it ``waits``.

    A gate that is shut needs no look at the backend: on a busy machine a clause may not look long enough for that. It
    waits too where a deadline is near or a failure is scripted: other clauses are about those.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - passed on below, if it comes in time
            errors.append(error)

    waits = waits or not is_calm(context) or sink.script != ["ok"]
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive() and (waits or not (sink.is_shut or sink.waiting)):
        thread.join(POLL)
    for error in errors:
        raise error
