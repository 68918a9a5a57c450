"""Deliberately wrong exporters: the reference exporters, each with one fault that one clause is there to find.

:data:`MUTANTS` says which clause kills which mutant, and with what words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kit.mutants.data import AddsScope, Annotates, EncodesAgain, HoldsReference, SortsInPlace
from kit.mutants.export import (
    ClaimsToHoldNothing,
    DeliversLater,
    Detaches,
    DiesBeside,
    DoesNotLook,
    DropsDeadline,
    DropsExemplars,
    DropsPoint,
    DropsScopeAttributes,
    FlushReturnsTrue,
    IgnoresCancel,
    NoConnectTimeout,
    OwnTimeout,
    OwnTimeoutOrDeadline,
    PerReadTimeout,
    ReturnsFuture,
    RoundsIntegers,
    SendsTwice,
    ShutdownReturnsFuture,
    SleepsInBackoff,
    SleepsRetryAfter,
    SwallowsTaskCancellation,
    WallClock,
)
from kit.mutants.flush import (
    FlushDoesNotLook,
    FlushesEarly,
    FlushIgnoresCancel,
    FlushSwallows,
    FlushWaits,
    FlushWaitsAWhile,
)
from kit.mutants.handling import (
    DiscardsErrors,
    TellsSecret,
    TellsSecretInCause,
    Unchained,
    Untyped,
)
from kit.mutants.interface import ExtraArgument, Misspells
from kit.mutants.kinds import Flips, FlipsOptions, LocksAnswers, NoneForGauge, SharesAnswer
from kit.mutants.python import InheritsLock, NonDaemonThread, ThreadPerExport
from kit.mutants.racing import (
    CheckThenSet,
    FlagAfterDrain,
    HalfBuiltCache,
    SkipsBusyFlush,
    TakesLocksInTwoOrders,
    UnlockedSwap,
)
from kit.mutants.retrying import (
    CountsWrongly,
    GarbageIsFine,
    IgnoresPartialSuccess,
    KeepsTurn,
    OneAttempt,
    Poisoned,
    RedirectIsFine,
    RefusesEmpty,
    RetriesRefusals,
    SendsAgain,
    Storms,
    SwallowsBusy,
    SwallowsFailure,
    SwallowsReset,
    TruncatedIsFine,
)
from kit.mutants.shutdown import (
    DropsBuffer,
    DropsLast,
    KeepsConnection,
    KeepsSocket,
    LeaksSocket,
    LooksAtContextFirst,
    Resurrects,
    ReturnsAfterShutdown,
    SecondShutdownReturns,
    SendsLater,
    ShutdownIgnoresCancel,
    ShutdownJoins,
    ShutdownJoinsAWhile,
    ShutdownLeavesEarly,
    StillSends,
)

if TYPE_CHECKING:
    from kit.reference import ReferenceExporter

__all__ = ["MUTANTS", "Mutant"]


class Mutant(NamedTuple):
    """A wrong exporter, the clause that finds it, and a part of what is then seen."""

    clause: str
    exporter: type[ReferenceExporter]
    seen: str

    @property
    def target(self) -> str:
        """What ``check`` is asked for."""
        return f"{self.exporter.__module__}:{self.exporter.__name__}"


MUTANTS = (
    Mutant("INT-01", ExtraArgument, "has the parameter 'retries', one too many"),
    Mutant("INT-01", Misspells, "forceflush"),
    Mutant("KND-01", NoneForGauge, "it is None"),
    Mutant("KND-02", Flips, "it was"),
    Mutant("KND-02", FlipsOptions, "it was"),
    Mutant("KND-03", SharesAnswer, "a change of one answer is in the next"),
    Mutant("KND-04", HalfBuiltCache, "it raised KeyError"),
    Mutant("KND-05", LocksAnswers, "temporality had not ended"),
    Mutant("EXP-01", DropsPoint, "lost"),
    Mutant("EXP-01", ClaimsToHoldNothing, "lost"),
    Mutant("EXP-02", DropsScopeAttributes, "scope_attributes"),
    Mutant("EXP-02", RoundsIntegers, "value is"),
    Mutant("EXP-02", DropsExemplars, "exemplars is"),
    Mutant("EXP-03", SendsTwice, "duplicated"),
    Mutant("EXP-04", ReturnsFuture, "it returned Future"),
    Mutant("EXP-04", FlushReturnsTrue, "it returned bool"),
    Mutant("EXP-04", ShutdownReturnsFuture, "it returned Future"),
    Mutant("EXP-04", Detaches, "it returned while the gate was shut"),
    Mutant("EXP-04", DeliversLater, "requests after its deadline: 1"),
    Mutant("EXP-04", DiesBeside, "OSError ended thread bookkeeping"),
    Mutant("EXP-05", DoesNotLook, "it returned"),
    Mutant("EXP-06", DropsDeadline, "while the gate was shut"),
    Mutant("EXP-06", OwnTimeout, "while the gate was shut, as it does without a deadline"),
    Mutant("EXP-07", PerReadTimeout, "export had not ended"),
    Mutant("EXP-08", NoConnectTimeout, "export had not ended"),
    Mutant("EXP-09", SleepsRetryAfter, "export had not ended"),
    Mutant("EXP-10", IgnoresCancel, "while the gate was shut"),
    Mutant("EXP-10", OwnTimeoutOrDeadline, "while the gate was shut, as it does when it is not cancelled"),
    Mutant("EXP-10", SwallowsTaskCancellation, "while the gate was shut"),
    Mutant("EXP-11", SleepsInBackoff, "export had not ended"),
    Mutant("EXP-12", WallClock, "while the gate was shut"),
    Mutant("EXP-13", OneAttempt, "it raised ExporterError"),
    Mutant("EXP-13", SendsAgain, "duplicated"),
    Mutant("EXP-14", SwallowsFailure, "it returned"),
    Mutant("EXP-14", SwallowsReset, "it returned"),
    Mutant("EXP-14", SwallowsBusy, "it returned"),
    Mutant("EXP-15", RetriesRefusals, "attempts"),
    Mutant("EXP-15", Storms, "attempts in 0.5 s"),
    Mutant("EXP-16", IgnoresPartialSuccess, "it returned"),
    Mutant("EXP-16", CountsWrongly, "it is 1"),
    Mutant("EXP-17", Poisoned, "an earlier export failed"),
    Mutant("EXP-17", KeepsTurn, "export had not ended"),
    Mutant("EXP-17", RefusesEmpty, "nothing to deliver"),
    Mutant("EXP-18", RedirectIsFine, "it returned"),
    Mutant("EXP-18", TruncatedIsFine, "it returned"),
    Mutant("EXP-18", GarbageIsFine, "it returned"),
    Mutant("HND-01", DiscardsErrors, "not one report"),
    Mutant("HND-02", TellsSecret, "the secret of the options"),
    Mutant("HND-02", Unchained, "has no __cause__"),
    Mutant("HND-02", Untyped, "builtins.PermissionError"),
    Mutant("HND-02", TellsSecretInCause, "the secret of the options"),
    Mutant("DAT-01", HoldsReference, "lost"),
    Mutant("DAT-01", EncodesAgain, "lost"),
    Mutant("DAT-02", Annotates, "attributes"),
    Mutant("DAT-02", SortsInPlace, "in another order"),
    Mutant("DAT-02", AddsScope, "a scope was added"),
    Mutant("FLU-01", FlushesEarly, "it returned while the gate was shut"),
    Mutant("FLU-02", FlushDoesNotLook, "it returned"),
    Mutant("FLU-03", FlushWaits, "force_flush had not ended"),
    Mutant("FLU-03", FlushWaitsAWhile, "while the gate was shut, as it does without a deadline"),
    Mutant("FLU-03", FlushIgnoresCancel, "force_flush had not ended"),
    Mutant("FLU-04", FlushSwallows, "it returned"),
    Mutant("FLU-05", UnlockedSwap, "lost"),
    Mutant("FLU-05", SkipsBusyFlush, "had not arrived"),
    Mutant("FLU-05", TakesLocksInTwoOrders, "deadlock"),
    Mutant("SHD-01", DropsBuffer, "lost"),
    Mutant("SHD-01", DropsLast, "lost"),
    Mutant("SHD-02", LeaksSocket, "socket"),
    Mutant("SHD-03", ShutdownLeavesEarly, "export afterwards: it returned"),
    Mutant("SHD-03", KeepsConnection, "are open"),
    Mutant("SHD-03", KeepsSocket, "socket"),
    Mutant("SHD-04", ShutdownJoins, "shutdown had not ended"),
    Mutant("SHD-04", ShutdownJoinsAWhile, "while the gate was shut, as it does without a deadline"),
    Mutant("SHD-04", ShutdownIgnoresCancel, "shutdown had not ended"),
    Mutant("SHD-05", StillSends, "points arrived"),
    Mutant("SHD-05", SendsLater, "points arrived"),
    Mutant("SHD-06", ReturnsAfterShutdown, "it returned"),
    Mutant("SHD-06", LooksAtContextFirst, "it raised DeadlineExceededError"),
    Mutant("SHD-07", SecondShutdownReturns, "it returned"),
    Mutant("SHD-08", CheckThenSet, "2 of 3 returned"),
    Mutant("SHD-09", FlagAfterDrain, "lost"),
    Mutant("SHD-10", Resurrects, "it returned"),
    Mutant("PY-01", InheritsLock, "had not ended"),
    Mutant("PY-02", NonDaemonThread, "the child had not ended"),
    Mutant("PY-03", ThreadPerExport, "more: thread"),
)
"""Every mutant. That of INT-02 is a registration, not a class: it takes an entry point of another version."""
