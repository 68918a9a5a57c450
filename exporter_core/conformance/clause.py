"""A clause is one promise of the contract with the function that checks it; the registry of them.

The functions stand in :mod:`exporter_core.conformance.clauses`, one module a family. Identifiers are never reused.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from exporter_core.conformance.clauses.canary import Fault

Level = Literal["MUST", "SHOULD", "INFO"]
Technique = Literal["S", "X", "G", "F", "P", "Q", "T", "C"]

_Check = TypeVar("_Check", bound="Callable[[Any], None]")

FAMILIES = {
    "INT": "Interface",
    "KND": "Instrument kinds",
    "EXP": "Export",
    "HND": "Errors",
    "DAT": "Data",
    "FLU": "Flush",
    "SHD": "Shutdown",
    "CON": "Concurrency",
    "PY": "Python",
    "RDR": "Readers",
}
"""The families by the first part of their clauses' identifiers, in the order in which people read them."""

READERS = "RDR"
"""The family about readers, which are checked apart from exporters."""

DELIVERS = "EXP-01"
"""The clause that shows that an exporter delivers anything at all."""
FIDELITY = "EXP-02"
"""The clause that exports what Hypothesis makes."""

TECHNIQUES: dict[Technique, str] = {
    "S": "sequential calls, each data point with an identity of its own",
    "X": "a context that is already done",
    "G": "a gate: the sink is shut, and the order relative to its opening decides",
    "F": "a fault script of the sink",
    "P": "the deterministic scheduler: the exporter's own code is interrupted at points that a seed decides; for "
    "sockets and event loops, real threads in every order of their calls at the gate",
    "Q": "quiescence: no thread, descriptor, socket or child remains",
    "T": "introspection",
    "C": "a child process",
}


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One promise, and how it is checked."""

    id: str
    """Such as ``"EXP-06"``; never reused or renumbered."""
    level: Level
    promise: str
    """The promise in one line."""
    words: str
    """The contract's own words."""
    technique: Technique
    check: str
    """The place to look at in an exporter that fails it."""
    function: Callable[[Any], None]  # Any: takes a Case, or a ReaderCase
    canary: type[Fault] | None
    """Makes the wrapper that breaks this promise; None for a static canary, which rests on the mutants."""
    since: int = 1
    """The contract version that first made the promise."""
    derived: bool = False
    """True for a promise that follows from the contract without standing in it; marked by a dagger."""
    hygiene: bool = False
    """True for Python hygiene, which never decides about conformance; marked by a double dagger."""
    after: tuple[str, ...] = ()
    """The clauses that it builds on: it is BLOCKED when one of them failed."""
    heeds: tuple[str, ...] = ()
    """The clauses after whose failure it looks at less."""
    faults: tuple[str, ...] = ()
    """The faults that it needs of the sink, without their arguments."""
    needs: tuple[str, ...] = ()
    """Further needs: of the harness ``"read_back"``, ``"gate"``; of the exporter's interface, which an exporter of
    the OpenTelemetry SDK need not have, ``"deadline"``, ``"cancellation"``."""

    @property
    def family(self) -> str:
        """The first part of the identifier."""
        return self.id.partition("-")[0]

    @property
    def foundations(self) -> tuple[str, ...]:
        """The clauses whose failure blocks this one; all but those of introspection build on the first."""
        return self.after if self.technique == "T" else ("INT-01", *self.after)

    @property
    def is_about_deliveries(self) -> bool:
        """True if it says nothing about an exporter that never delivers: all but EXP-01 and those about answers."""
        return self.family not in ("INT", "KND", READERS) and self.id != DELIVERS

    @property
    def prerequisites(self) -> tuple[str, ...]:
        """The clauses whose results are needed to run this one."""
        first = (DELIVERS,) if self.is_about_deliveries else ()
        return (*self.foundations, *self.heeds, *first)

    @property
    def how(self) -> str:
        """The way it is checked, in one line."""
        return " ".join((self.function.__doc__ or "").split())

    @property
    def fault(self) -> str | None:
        """The fault of its canary, in one line; None for a static canary."""
        return None if self.canary is None else " ".join((self.canary.__doc__ or "").split())

    @property
    def mark(self) -> str:
        """The level with its marks, such as ``"MUST†"``."""
        return f"{self.level}{'†' * self.derived}{'‡' * self.hygiene}"


_clauses: dict[str, Clause] = {}


def clause(
    id: str,  # noqa: A002 - the field's name
    level: Level,
    promise: str,
    *,
    words: str,
    technique: Technique,
    check: str,
    canary: type[Fault] | None,
    derived: bool = False,
    hygiene: bool = False,
    after: tuple[str, ...] = (),
    heeds: tuple[str, ...] = (),
    faults: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
) -> Callable[[_Check], _Check]:
    """Register the decorated function as the check of a clause; the fields are those of :class:`Clause`."""

    def register(function: _Check) -> _Check:
        if id in _clauses:
            raise ValueError(f"clause {id} is defined twice")
        _clauses[id] = Clause(
            id=id,
            level=level,
            promise=promise,
            words=words,
            technique=technique,
            check=check,
            function=function,
            canary=canary,
            derived=derived,
            hygiene=hygiene,
            after=after,
            heeds=heeds,
            faults=faults,
            needs=needs,
        )
        return function

    return register


def registered(wanted: Callable[[Clause], bool]) -> tuple[Clause, ...]:
    """The registered clauses that are wanted, each after those that it builds on: the order in which they are run."""
    ordered: dict[str, Clause] = {}

    def place(one: Clause) -> None:
        for before in one.after:
            place(_clauses[before])
        ordered[one.id] = one

    for one in in_order(filter(wanted, _clauses.values())):
        place(one)
    return tuple(ordered.values())


def clauses() -> tuple[Clause, ...]:
    """Every clause about exporters, in the order in which they are run."""
    from exporter_core.conformance import clauses as families  # noqa: PLC0415 - the families register with this module

    families.load()
    return registered(lambda one: one.family != READERS)


def select(patterns: Sequence[str] = (), among: Sequence[Clause] | None = None) -> tuple[Clause, ...]:
    """The clauses that match one of the patterns, and none of those that begin with ``!``.

    Args:
        patterns: for identifiers, such as ``"SHD-*"``, or the letter of a technique: ``"!P"`` leaves out the scheduled
            clauses. Without one that selects, all clauses are there.
        among: the clauses to choose from; all about exporters unless given.
    """
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")] or ["*"]
    unwanted = [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")]
    found = clauses() if among is None else among
    return tuple(one for one in found if _matches(one, wanted) and not _matches(one, unwanted))


def with_foundations(chosen: Iterable[Clause]) -> tuple[Clause, ...]:
    """The clauses about exporters, and all that they build on, in the order in which they are run."""
    known = {one.id: one for one in clauses()}
    needed: set[str] = set()

    def need(one: Clause) -> None:
        if one.id not in needed:
            needed.add(one.id)
            for before in one.prerequisites:
                need(known[before])

    for one in chosen:
        need(one)
    return tuple(one for one in known.values() if one.id in needed)


def _matches(one: Clause, patterns: Sequence[str]) -> bool:
    return any(one.technique == pattern.upper() or fnmatchcase(one.id, pattern.upper()) for pattern in patterns)


def in_order(found: Iterable[Clause]) -> list[Clause]:
    """Clauses in the order in which people read them: by family, then by number."""
    families = list(FAMILIES)
    return sorted(
        found, key=lambda one: (families.index(one.family) if one.family in FAMILIES else len(families), one.id)
    )
