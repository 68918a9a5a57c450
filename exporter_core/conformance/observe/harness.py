"""The harness, by which an exporter's author shows the checker deliveries, and lets it make the backend misbehave.

A harness is registered in the entry-point group ``exporter_core.harnesses.v1`` under its exporter's name. It is made
anew for every run of a clause.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import wraps
from inspect import ismethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, cast

from exporter_core.conformance.observe.journal import Exchange, words_of
from exporter_core.conformance.run.verdicts import Verdict, VerdictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from exporter_core.conformance.observe.tokens import Point

FAULTS = (
    "ok",
    "status",
    "retry-after",
    "retry-after-date",
    "hang",
    "refuse",
    "blackhole",
    "silence",
    "reset",
    "drip",
    "stall",
    "truncate",
    "partial",
    "redirect",
    "garbage",
)
"""The steps of a fault script of a backend that answers; ``status``, ``retry-after``, ``retry-after-date`` and
``partial`` take a number, as in ``"status:503"``."""

FILE_FAULTS = ("refuse", "full", "quota")
"""The ways in which a file can take no more: it cannot be opened or written, its disk is full, it may not grow."""


@dataclass(frozen=True)
class Capabilities:
    """The properties of the exporter that the clauses depend on. The checker finds out a wrong claim."""

    holds: bool = False
    """True if a successful export may hold data until the next flush or shutdown."""
    not_carried: frozenset[str] = frozenset()
    """The fields of :class:`~exporter_core.conformance.observe.tokens.Point` that its format does not carry."""
    translates: bool = False
    """True if its format has names and values of its own, which :meth:`Harness.expected` makes of what was sent."""
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    """Patterns of clause identifiers that have no meaning for it, each with the reason."""

    @classmethod
    def without_answers(cls, backend: str) -> Capabilities:
        """The properties of an exporter that holds nothing, to a backend (``"a file"``) that is only written to."""
        absent = {
            "EXP-07": "incomplete",
            "EXP-09": "a Retry-After",
            "EXP-11": "a Retry-After",
            "EXP-13": "a transient status",
            "EXP-15": "a permanent status",
            "EXP-16": "a partial success",
            "EXP-18": "a redirect",
            "EXP-19": "another success",
        }
        return cls(
            not_applicable={
                **{clause: f"{backend} gives no answer that could be {what}" for clause, what in absent.items()},
                "EXP-08": f"{backend} is not connected to",
                "FLU-04": "it holds nothing, so that no flush delivers anything",
            }
        )


class Harness(ABC):
    """Points one exporter at a backend, and looks into that backend.

    :meth:`config` and :meth:`read_back` are enough; a harness that can do more lets more clauses be checked.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()
    faults: ClassVar[frozenset[str]] = frozenset()
    """The steps of :data:`FAULTS` that :meth:`fault` can do."""
    gated: ClassVar[bool] = False
    """True if :meth:`shut` and :meth:`open` work."""
    real: ClassVar[bool] = False
    """True for a real backend, whose data a broken exporter would spoil."""
    success: ClassVar[int | None] = None
    """The one HTTP status by which the backend says that it has stored a request; None where there may be others."""
    sockets: ClassVar[bool] = False
    """True if the backend is reached over sockets. The deterministic scheduler does not see a wait for one: scheduled
    clauses then run on real threads at the gate as well."""
    tier: ClassVar[Literal["wire", "probe"]] = "probe"
    """The source of deliveries: ``wire``, a sink of the kit's, or ``probe``, a harness that reads its backend."""
    secret: ClassVar[str | None] = None
    """A secret in :meth:`config` that must not appear in any error."""

    def setup(self, directory: Path, stamp: Callable[..., object]) -> None:  # noqa: B027 - a hook
        """Start the backend.

        Args:
            directory: an empty folder of this run's own.
            stamp: adds to the timeline: ``stamp("wire", "request 1")``, with the monotonic seconds as a third argument
                for an earlier event. Optional to use.
        """

    @abstractmethod
    def config(self) -> Mapping[str, Any]:
        """The exporter's options."""

    @abstractmethod
    def read_back(self) -> Iterable[Point]:
        """Every point that has arrived at the backend, in order, duplicates included; see ``tokens.flatten``."""

    def read_identities(self) -> Iterable[str]:
        """The identity of every point that has arrived, duplicates included, for clauses that look at nothing else."""
        return (point.token for point in self.read_back())

    def forget_arrivals(self) -> None:  # noqa: B027 - a hook
        """Forget what has arrived so far, where that makes later looks quicker; nothing is on its way."""

    def expected(self, point: Point) -> Point | None:
        """The point as it arrives, None if the format has no form for it. Asked only if it ``translates``.

        Fields that arrive beside those that are expected are not compared.
        """
        return point

    def fault(self, *steps: str) -> None:
        """Let the backend answer the coming requests with these steps, one each; the last one goes on for ever."""
        raise NotImplementedError

    def requests(self) -> int:
        """The number of requests that have arrived; needed by clauses that count attempts."""
        raise NotImplementedError

    def shut(self) -> None:
        """Let no delivery end until :meth:`open`."""
        raise NotImplementedError

    def open(self) -> None:
        """Let the deliveries end that :meth:`shut` holds up."""
        raise NotImplementedError

    def entered(self) -> bool | None:
        """True if a delivery is blocked at the shut gate; None where the backend cannot tell."""
        return None

    def connections(self) -> int | None:
        """The number of connections that the backend has open; None where there are none to count."""
        return None

    def wire_log(self) -> Iterable[Exchange]:
        """The requests that the backend got, for the report; asked for once, when the clause is over."""
        return ()

    def after_fork(self) -> None:  # noqa: B027 - a hook
        """Called in a forked child, before the exporter is used there: renew locks, open the gate."""

    def teardown(self) -> None:  # noqa: B027 - a hook
        """Release what :meth:`setup` started; called also when a clause failed."""


def watched(harness: Harness) -> Harness:
    """Wrap a harness: its failures become the verdict KIT_ERROR with the method that failed."""
    return cast("Harness", _Watched(harness))


HARNESS_ERRORS: Final = (Exception, SystemExit)
"""Errors that are the harness's own failure, and not the end of the process."""


class UnreadableError(Exception):
    """The error of arrivals that cannot be decoded: malformed, or in a form that the harness does not know."""


def failed_in(method: str, error: BaseException) -> VerdictError:
    """The verdict on a harness's own failure."""
    return VerdictError(Verdict.KIT_ERROR, f"the harness failed in {method}: {words_of(error)}")


class _Watched:
    def __init__(self, harness: Harness) -> None:
        self._harness = harness

    def __getattr__(self, name: str) -> Any:  # Any: whatever the harness has
        value = getattr(self._harness, name)
        if not ismethod(value):
            return value

        @wraps(value)
        def call(*arguments: object) -> object:
            try:
                return value(*arguments)
            except UnreadableError:
                raise
            except HARNESS_ERRORS as error:
                raise failed_in(name, error) from error

        return call
