"""The contract as a model, for Hypothesis: calls in any sequence, compared with what a simple model says of them.

An addition to the clauses, not one of them: it finds what only comes of a sequence, such as a flush with an expired
context that loses what was held. It makes one call at a time, to a backend that answers at once: deadlines that pass,
cancellation in flight and concurrency are not its subject.

    TestModel = contract_machine(resolve("mine")).TestCase     # in a test module; or run_state_machine_as_test

Points are told apart by identity. Hypothesis is in the extra ``conformance``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from exporter_core.conformance.observe.journal import Journal, words_of
from exporter_core.conformance.observe.tokens import TokenBatch, Tokens, compare, flatten
from exporter_core.conformance.resources import empty_folder
from exporter_core.context import Context
from exporter_core.contract import InstrumentKind
from exporter_core.errors import ExporterShutdownError, SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.conformance.subject import Driven, Mode, Subject

_REFUSES: Final = "status:400"
_BEFORE_SHUTDOWN: Final = 4  # calls; else most sequences would be about what is shut down


def _expired() -> Context:
    return Context.with_timeout(0)


def _cancelled() -> Context:
    context = Context.background()
    context.cancel("by the model")
    return context


_LIVE: Final[Callable[[], Context]] = Context.background
_CONTEXTS: Final = st.sampled_from([_LIVE, lambda: Context.with_timeout(3600), _expired, _cancelled])
_MOSTLY_LIVE: Final = st.one_of(st.just(_LIVE), _CONTEXTS)


def contract_machine(subject: Subject, mode: Mode = "raw") -> type[ContractMachine]:
    """A state machine over the exporter, each example on a fresh one with a fresh harness.

    Args:
        subject: the exporter, with a harness; see :func:`exporter_core.conformance.subject.resolve`.
        mode: raw or behind the guard.

    Raises:
        SetupError: there is no harness, so that nothing shows what was delivered.
    """
    if subject.harness is None:
        raise SetupError(f"{subject.target!r} has no harness: the model compares what was delivered")
    return type("ContractMachine", (ContractMachine,), {"subject": subject, "mode": mode})


class ContractMachine(RuleBasedStateMachine):
    """The model; made for a subject by :func:`contract_machine`."""

    subject: Subject
    mode: Mode

    def __init__(self) -> None:
        super().__init__()
        assert self.subject.harness is not None  # noqa: S101 - contract_machine has looked
        self._folder = empty_folder("conformance-model-")
        self._harness = self.subject.harness()
        journal = Journal()
        self._harness.setup(Path(self._folder.name), journal.stamp)
        options = self.subject.validated(self._harness.config())
        self._exporter: Driven = self.subject.drive(self.mode, options, journal)
        self._tokens = Tokens("model")
        self._answers = {kind: self._exporter.temporality(kind) for kind in InstrumentKind}
        self._holds = self._harness.capabilities.holds
        self._owed: list[TokenBatch] = []
        """Accepted, to be delivered by the next flush or shutdown that returns."""
        self._delivered: list[TokenBatch] = []
        self._uncertain: list[TokenBatch] = []
        """Handed over in a call that raised: some of it may have arrived."""
        self._refused: list[TokenBatch] = []
        """Handed over after shutdown: none of it may arrive."""
        self._failing = self._is_shut_down = False
        self._calls = 0

    # --- calls -------------------------------------------------------------------------------------------------------

    @rule(points=st.integers(0, 3), context=_MOSTLY_LIVE)
    def export(self, points: int, context: Callable[[], Context]) -> None:
        """Hand over points that were never seen before."""
        batch = self._tokens.batch(points) if points else self._tokens.empty()
        own = context()
        error = self._call(lambda: self._exporter.export(own, batch.metrics))
        _hold("export leaves its input as it was", tuple(flatten(batch.metrics)) == batch.points, "it is changed")
        if self._is_shut_down:
            self._refused.append(batch)
            # With a context that is done, an async call may be cancelled before it has begun.
            _raised("export after shutdown", error, Exception if own.done else ExporterShutdownError)
        elif own.done:
            self._uncertain.append(batch)
            _raised("export with a context that is done", error)
        elif self._failing and not self._holds and points:
            self._uncertain.append(batch)
            _raised("export to a backend that refuses", error)
        elif self._failing and error is not None:
            self._uncertain.append(batch)
        else:
            _returned("export", error)
            self._owed.append(batch)
            if not self._holds:
                self._settle("export returns, as nothing is held")

    @rule(context=_MOSTLY_LIVE)
    def force_flush(self, context: Callable[[], Context]) -> None:
        """Flush; what was accepted before arrives if it returns."""
        own = context()
        error = self._call(lambda: self._exporter.force_flush(own))
        if self._is_shut_down:
            if not own.done:
                _returned("force_flush after shutdown", error)
        elif own.done:
            _raised("force_flush with a context that is done", error)
        elif self._failing and any(batch.points for batch in self._owed):
            self._uncertain += self._owed
            self._owed.clear()
            _raised("force_flush of held data to a backend that refuses", error)
        elif not self._failing or error is None:
            _returned("force_flush", error)
            self._settle("force_flush returns")

    @precondition(lambda self: self._calls >= _BEFORE_SHUTDOWN)
    @rule(context=_MOSTLY_LIVE)
    def shutdown(self, context: Callable[[], Context]) -> None:
        """Shut down; what was accepted before arrives if it returns, and it is final if it raises."""
        own = context()
        error = self._call(lambda: self._exporter.shutdown(own))
        if self._is_shut_down:
            _raised("a second shutdown", error, Exception if own.done else ExporterShutdownError)
            return
        self._is_shut_down = True
        if own.done:
            _raised("shutdown with a context that is done", error)
        elif not self._failing:
            _returned("shutdown", error)
            self._settle("shutdown returns")
        self._uncertain += self._owed
        self._owed.clear()

    @rule(kind=st.sampled_from(InstrumentKind))
    def ask(self, kind: InstrumentKind) -> None:
        """Ask for an answer: it stays the same, always."""
        answer = self._exporter.temporality(kind)
        _hold(f"temporality({kind}) stays {self._answers[kind]}", answer == self._answers[kind], f"it is {answer}")

    # --- the backend -------------------------------------------------------------------------------------------------

    @precondition(lambda self: {"ok", "status"} <= self._harness.faults and not self._failing)
    @rule()
    def refuse(self) -> None:
        """Let the backend refuse everything, for good."""
        self._harness.fault(_REFUSES)
        self._failing = True

    @precondition(lambda self: self._failing)
    @rule()
    def accept(self) -> None:
        """Let the backend take everything."""
        self._harness.fault("ok")
        self._failing = False

    # --- what holds at any time --------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_duplicated_changed_or_made_up(self) -> None:
        """Every point that arrived was sent, is unchanged, arrived once, and was not handed over after shutdown."""
        sent = [
            point
            for batches in (self._owed, self._delivered, self._uncertain)
            for one in batches
            for point in one.points
        ]
        found = compare(sent, self._harness.read_back(), ignore=self._harness.capabilities.not_carried)
        _hold("every point arrives at most once", not found.duplicated, f"duplicated: {found.duplicated}")
        _hold("every point arrives as it was", not found.corrupted, f"{found.corrupted}")
        refused = {token for batch in self._refused for token in batch.tokens}
        late = refused.intersection(found.foreign)
        _hold("nothing of an export after shutdown arrives", not late, f"it did: {sorted(late)}")

    def teardown(self) -> None:
        """Shut down what still runs, which delivers what is owed."""
        try:
            if self._failing:
                self.accept()
            if not self._is_shut_down:
                self._calls = _BEFORE_SHUTDOWN
                self.shutdown(_LIVE)
                self.nothing_is_duplicated_changed_or_made_up()
        finally:
            self._harness.teardown()
            self._folder.cleanup()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _call(self, function: Callable[[], object]) -> BaseException | None:
        self._calls += 1
        try:
            function()
        except Exception as error:  # noqa: BLE001 - whatever an exporter raises
            return error
        return None

    def _settle(self, when: str) -> None:
        """Expect everything that is owed to be delivered."""
        owed = [point for batch in self._owed for point in batch.points]
        found = compare(owed, self._harness.read_back())
        _hold(f"every accepted point has arrived when {when}", not found.lost, f"lost: {found.lost}")
        self._delivered += self._owed
        self._owed.clear()


def _hold(expected: str, kept: bool, seen: str) -> None:
    if not kept:
        raise AssertionError(f"expected: {expected}; seen: {seen}")


def _returned(call: str, error: BaseException | None) -> None:
    if error is not None:
        raise AssertionError(f"expected: {call} returns; seen: it raised {words_of(error)}") from error


def _raised(call: str, error: BaseException | None, kind: type[BaseException] = Exception) -> None:
    seen = "it returned" if error is None else f"it raised {words_of(error)}"
    _hold(f"{call} raises {kind.__name__}", isinstance(error, kind), seen)
