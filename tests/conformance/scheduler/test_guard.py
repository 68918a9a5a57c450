"""The guard's own pieces under the scheduler: each race that their comments claim is decided one way is."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core.conformance.scheduler import explore
from exporter_core.context import Context
from exporter_core.errors import ExporterCoreError, ExporterShutdownError
from exporter_core.guard import GuardedExporter
from exporter_core.guard.call import SUCCESS, Call, Outcome
from exporter_core.guard.runners import handover
from exporter_core.guard.runners.handover import HandedOverCall
from exporter_core.guard.runners.inline import SerialInlineRunner
from exporter_core.guard.runners.thread import ThreadRunner
from exporter_core.sync import Latch
from exporter_core.testing import FakeExporter

SUBJECT = ("exporter_core.guard", "exporter_core.clock", "exporter_core.context")
BATCH = MetricsData(resource_metrics=[])


def never_fails(scenario, *, seeds=range(53), subject=SUBJECT):
    found = explore(scenario, subject=subject, seeds=seeds)
    assert found.failure is None, str(found.failure.shrink())
    assert found.stalled == 0
    assert found.steps > len(seeds)


class CarelessCall(HandedOverCall):
    """Looks whether it was withdrawn, instead of taking the lock that decides it."""

    def begin(self):
        return self.result is None


@pytest.fixture(params=[0.0, handover.SOON_SECONDS], ids=["at once", "soon"])
def looked_for(request, monkeypatch):
    """When a caller begins to look for a cancellation: at once, where every race is met, or as it does."""
    monkeypatch.setattr(handover, "SOON_SECONDS", request.param)


@pytest.fixture
def looked_for_at_once(monkeypatch):
    """Callers that look for a cancellation from the beginning."""
    monkeypatch.setattr(handover, "SOON_SECONDS", 0.0)


def make(handed_over):
    """The runner's side of a call."""
    if handed_over.begin():
        handed_over.end(handed_over.call.run())


def one_outcome(call_class):
    def scenario(schedule):
        context = Context.background()
        made, late = [], []
        call = Call("export", lambda: made.append(1), context, {}, on_late=lambda call, _: late.append(call))
        handed_over = call_class(call)
        result = schedule.run([lambda: make(handed_over), lambda: handed_over.wait(lambda _: None), context.cancel])
        assert [outcome.error for outcome in result.outcomes] == [None] * 3
        outcome = handed_over.result.outcome
        assert result.outcomes[1].value is handed_over.result
        assert made == ([] if outcome is Outcome.WITHDRAWN else [1])
        assert late == ([call] if outcome is Outcome.ABANDONED else [])
        assert call.abandoned == (outcome is Outcome.ABANDONED)

    return scenario


@pytest.mark.usefixtures("looked_for")
def test_a_call_has_one_outcome_when_it_ends_as_its_context_is_cancelled():
    never_fails(one_outcome(HandedOverCall), seeds=range(150))


@pytest.mark.usefixtures("looked_for_at_once")
def test_a_call_that_does_not_take_its_lock_is_caught():
    found = explore(one_outcome(CarelessCall), subject=(*SUBJECT, CarelessCall))
    assert found.failure is not None
    assert found.failure.seed is not None


@pytest.mark.usefixtures("looked_for_at_once")
def test_all_outcomes_of_a_call_are_reached():
    reached = set()

    def scenario(schedule, *, outlasts):
        context, left = Context.background(), threading.Event()
        handed_over = HandedOverCall(Call("export", lambda: left.wait() and None if outlasts else None, context, {}))

        def wait():
            handed_over.wait(lambda _: None)
            left.set()

        schedule.run([lambda: make(handed_over), wait, context.cancel])
        reached.add(handed_over.result.outcome)

    for outlasts in (False, True):
        never_fails(partial(scenario, outlasts=outlasts), seeds=range(90))
    assert reached == {Outcome.SUCCEEDED, Outcome.WITHDRAWN, Outcome.ABANDONED}


def test_a_latch_lets_everybody_through_however_it_is_opened():
    def scenario(schedule):
        latch = Latch()
        bounded = Context.with_timeout(5)
        result = schedule.run([lambda: latch.wait(Context.background()), latch.open, lambda: latch.wait(bounded)])
        assert [outcome.value for outcome in result.outcomes] == [True, None, True]

    never_fails(scenario)


def test_a_latch_lets_go_of_a_cancelled_waiter():
    def scenario(schedule):
        latch, context = Latch(), Context.background()
        result = schedule.run([lambda: latch.wait(context.child()), context.cancel])
        assert [outcome.value for outcome in result.outcomes] == [False, None]

    never_fails(scenario)


@pytest.mark.parametrize("build", [lambda: ThreadRunner("runner", object()), lambda: SerialInlineRunner(object())])
def test_a_runner_makes_calls_one_at_a_time_and_none_once_it_refuses(build):
    def scenario(schedule):
        runner = build()
        inside, made = [], []

        def function(name):
            inside.append(name)
            assert len(inside) == 1
            made.append(name)
            inside.pop()

        def perform(name):
            return lambda: runner.perform(Call("export", function, Context.background().child(), {"name": name}))

        def refuse():
            runner.refuse()
            made.append("refused")
            child = Context.background().child()
            return runner.perform(Call("export", lambda: made.append("certain"), child, {}, must_run=True))

        result = schedule.run([perform("a"), perform("b"), refuse])
        runner.close()
        for name, outcome in zip("ab", result.outcomes, strict=False):
            assert outcome.error is None
            went_well = outcome.value is SUCCESS
            assert went_well == (name in made)
            assert went_well or outcome.value.outcome is Outcome.WITHDRAWN
        assert "certain" in made
        assert not set("ab") & set(made[made.index("certain") :])

    never_fails(scenario)


@pytest.mark.parametrize("runner", ["thread", "inline"])
def test_exports_beside_shutdowns_are_delivered_or_refused_and_one_shutdown_wins(runner):
    def scenario(schedule):
        exporter = FakeExporter()
        guard = GuardedExporter(exporter, name="fake", runner=runner)

        def export():
            guard.export(Context.with_timeout(60), BATCH)

        def shutdown():
            guard.shutdown(Context.with_timeout(60))

        result = schedule.run([export, shutdown, export, shutdown])
        first, winner, second, loser = result.outcomes
        errors = [outcome.error for outcome in (winner, loser)]
        assert [type(error) for error in errors if error] == [ExporterShutdownError]
        for outcome in (first, second):
            assert outcome.error is None or isinstance(outcome.error, ExporterShutdownError)
        assert len(exporter.exported) == sum(outcome.error is None for outcome in (first, second))
        assert exporter.calls.index("shutdown") == len(exporter.calls) - 1
        assert guard.stats().state == "shut_down"

    never_fails(scenario, subject="exporter_core.guard")


def test_an_export_that_is_cancelled_while_it_runs_ends_and_the_guard_stays_usable():
    def scenario(schedule):
        gate = threading.Event()
        exporter = FakeExporter(on_export=lambda context, metrics: gate.wait() and None)
        guard = GuardedExporter(exporter, name="fake")
        context = Context.background()
        result = schedule.run([lambda: guard.export(context, BATCH), context.cancel, gate.set])
        error = result.outcomes[0].error
        assert error is None or isinstance(error, ExporterCoreError)
        guard.shutdown(Context.with_timeout(60))
        stats = guard.stats()
        assert stats.exports_ok + stats.exports_failed <= 1  # none, if the context was cancelled before
        assert stats.exports_ok == (error is None)
        assert stats.state == "shut_down"
        assert exporter.calls.count("shutdown") == 1

    never_fails(scenario, subject="exporter_core.guard")
