"""The guard's laws, whatever the order of calls: a state machine against a model, and many threads at once."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from opentelemetry.sdk.metrics.export import MetricsData

from exporter_core.context import Context
from exporter_core.errors import (
    ContextCancelledError,
    DeadlineExceededError,
    ExporterBusyError,
    ExporterError,
    ExporterShutdownError,
)
from exporter_core.guard import GuardedExporter
from exporter_core.testing import FakeClock, FakeExporter

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0


class Batch(MetricsData):
    """A batch that can be told from others."""


class Recording:
    """An exporter that sees who is inside, and does with each batch what the test says when it says it."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.changed = threading.Condition(self.mutex)
        self.inside: list[object] = []
        self.most_inside = 0
        self.entered: Counter[int] = Counter()
        self.delivered: Counter[int] = Counter()
        self.verdicts: dict[int, BaseException | None] = {}
        self.shutdowns = 0
        self.after_shutdown: list[str] = []

    def export(self, context, metrics):
        batch = id(metrics)
        with self.changed:
            if self.shutdowns and not self.inside and not context.done:
                self.after_shutdown.append("export")
            self.inside.append(batch)
            self.most_inside = max(self.most_inside, len(self.inside))
            self.entered[batch] += 1
            self.changed.notify_all()
            arrived = self.changed.wait_for(lambda: batch in self.verdicts, PATIENCE)
            self.inside.remove(batch)
            self.changed.notify_all()
            verdict = self.verdicts[batch] if arrived else TimeoutError()
            if verdict is None:
                self.delivered[batch] += 1
        if verdict is not None:
            raise verdict

    def shutdown(self, context):
        with self.changed:
            self.shutdowns += 1

    def decide(self, batch: int, verdict: BaseException | None) -> None:
        with self.changed:
            self.verdicts[batch] = verdict
            self.changed.notify_all()

    def await_(self, condition) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE)


class One:
    """One export: its batch, context and answer."""

    def __init__(self, guard: GuardedExporter, context: Context) -> None:
        self.metrics = Batch([])
        self.key = id(self.metrics)
        self.context = context
        self.answer: Future[Any] = Future()
        threading.Thread(target=self._run, args=(guard,), daemon=True).start()

    def _run(self, guard: GuardedExporter) -> None:
        try:
            self.answer.set_result(guard.export(self.context, self.metrics))
        except BaseException as error:  # noqa: BLE001 - it is the test's
            self.answer.set_exception(error)


class GuardMachine(RuleBasedStateMachine):
    """One export at most is inside; the model knows which, who waits, and what each caller has to be told."""

    runner = "thread"

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.exporter = Recording()
        self.guard = GuardedExporter(
            FakeExporter(on_export=self.exporter.export, on_shutdown=self.exporter.shutdown), name="model"
        )
        self.running: One | None = None
        self.abandoned: One | None = None
        self.waiting: list[One] = []
        self.all: list[One] = []
        self.is_shut_down = False

    def expect(self, one: One, *kinds: type[BaseException] | None) -> None:
        error = one.answer.exception(PATIENCE)
        assert (None if error is None else type(error)) in kinds, error

    def settle(self) -> None:
        """The lane is free: the first who waits is let in."""
        if self.waiting:
            self.running = self.waiting.pop(0)
            key = self.running.key
            self.exporter.await_(lambda: key in self.exporter.inside)

    @rule(timeout=st.sampled_from([None, 0, 5, 50]))
    def export(self, timeout: float | None) -> None:
        one = One(self.guard, self.clock.context(timeout=timeout))
        self.all.append(one)
        if self.is_shut_down:
            self.expect(one, ExporterShutdownError)
        elif timeout == 0:
            self.expect(one, DeadlineExceededError)
        elif self.abandoned is not None:
            self.expect(one, ExporterBusyError)
        elif self.running is None:
            self.waiting.append(one)
            self.settle()
        else:
            self.waiting.append(one)
            self.clock.await_sleepers(1 + len(self.waiting))

    @precondition(lambda self: self.running is not None)
    @rule(fails=st.booleans())
    def end_export(self, fails: bool) -> None:
        one, self.running = self.running, None
        assert one is not None
        self.exporter.decide(one.key, OSError("no route") if fails else None)
        self.expect(one, ExporterError if fails else None)
        self.settle()

    @precondition(lambda self: self.abandoned is not None)
    @rule(fails=st.booleans())
    def end_abandoned(self, fails: bool) -> None:
        one, self.abandoned = self.abandoned, None
        assert one is not None
        self.exporter.decide(one.key, OSError("no route") if fails else None)
        self.exporter.await_(lambda: one.key not in self.exporter.inside)
        if self.waiting:
            self.settle()
        else:
            self.free()

    def free(self) -> None:
        tick, patience = threading.Event(), Context.with_timeout(PATIENCE)
        while self.guard.busy:
            assert not patience.done
            tick.wait(0.001)

    @precondition(lambda self: self.running is not None)
    @rule()
    def cancel_running(self) -> None:
        one, self.running = self.running, None
        assert one is not None
        one.context.cancel("the test")
        self.expect(one, ContextCancelledError)
        self.abandoned = one

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel_waiting(self, data: st.DataObject) -> None:
        one = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        one.context.cancel("the test")
        self.expect(one, ContextCancelledError)

    @rule(seconds=st.sampled_from([1, 5, 60]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for one in [one for one in self.waiting if one.context.done]:
            self.waiting.remove(one)
            self.expect(one, DeadlineExceededError)
        if self.running is not None and self.running.context.done:
            self.expect(self.running, DeadlineExceededError)
            self.abandoned, self.running = self.running, None

    @rule()
    def flush(self) -> None:
        self.guard.force_flush(Context.with_timeout(PATIENCE))

    @precondition(lambda self: self.is_shut_down)
    @rule()
    def shut_down_again(self) -> None:
        with pytest.raises(ExporterShutdownError):
            self.guard.shutdown(Context.with_timeout(PATIENCE))

    @precondition(lambda self: not self.is_shut_down)
    @rule(patient=st.booleans())
    def shut_down(self, patient: bool) -> None:
        """Either the running export is ended first, as a shutdown with time lets it, or it is cancelled."""
        self.is_shut_down = True
        if patient and self.running is not None:
            shutdown: Future[Any] = Future()

            def run() -> None:
                shutdown.set_result(self.guard.shutdown(Context.with_timeout(PATIENCE)))

            threading.Thread(target=run, daemon=True).start()
            one, self.running = self.running, None
            self._expect_refused()
            assert not shutdown.done()
            self.exporter.decide(one.key, None)
            self.expect(one, None)
            shutdown.result(PATIENCE)
            return
        hurried = Context.with_timeout(PATIENCE)
        if self.running is not None:
            hurried.cancel("at once")
        try:
            self.guard.shutdown(hurried)
        except ContextCancelledError:
            pass  # the exporter's own may be quicker
        self._expect_refused()
        if self.running is not None:
            self.expect(self.running, ExporterShutdownError)
            self.abandoned, self.running = self.running, None

    def _expect_refused(self) -> None:
        for one in self.waiting:
            self.expect(one, ExporterShutdownError)
        self.waiting.clear()

    @invariant()
    def never_two_inside(self) -> None:
        assert self.exporter.most_inside <= 1
        assert all(count == 1 for count in self.exporter.entered.values())

    @invariant()
    def nobody_was_told_a_success_that_was_none(self) -> None:
        for one in self.all:
            if one.answer.done() and one.answer.exception() is None:
                assert self.exporter.delivered[one.key] == 1

    @invariant()
    def shutdown_is_called_once_and_nothing_after_it(self) -> None:
        assert self.exporter.shutdowns <= 1
        assert not self.exporter.after_shutdown

    def teardown(self) -> None:
        for one in self.all:
            self.exporter.decide(one.key, None)
        try:
            self.guard.shutdown(Context.with_timeout(PATIENCE))
        except ExporterShutdownError:
            pass
        for one in self.all:
            one.answer.exception(PATIENCE)
        stats = self.guard.stats()
        successes = sum(one.answer.exception() is None for one in self.all)
        assert stats.exports_ok == successes


TestGuardMachine = GuardMachine.TestCase
TestGuardMachine.settings = settings(stateful_step_count=30, deadline=None)


class Counting(FakeExporter):
    """Counts who is inside, without a lock that would keep them apart."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random
        self.inside: list[int] = []
        self.most_inside = 0
        self.delivered: list[int] = []
        self.shutdowns = 0
        self.entered_after_shutdown = 0
        self.some = threading.Event()

    def export(self, context, metrics):
        self.inside.append(id(metrics))
        self.most_inside = max(self.most_inside, len(self.inside))
        self.entered_after_shutdown += self.shutdowns
        if self.random.random() < 0.2:
            context.wait(0.002)
        self.delivered.append(id(metrics))
        if len(self.delivered) > 20:
            self.some.set()
        self.inside.remove(id(metrics))

    def force_flush(self, context): ...

    def shutdown(self, context):
        self.shutdowns += 1


THREADS, EACH = 10, 30


class Stress:
    """Threads that export, flush, cancel and shut down at once, and the answers that they got."""

    def __init__(self, runner: str, seed: int) -> None:
        self.seed = seed
        self.exporter = Counting(Random(seed))  # noqa: S311 - a run that can be repeated
        self.guard = GuardedExporter(self.exporter, name="stress", runner=runner)
        self.together = threading.Barrier(THREADS)
        self.batches: list[Batch] = []  # kept, so that no two have the same identity
        self.exports: list[tuple[int, BaseException | None]] = []
        self.flushes: list[BaseException | None] = []
        self.shutdowns: list[BaseException | None] = []

    def run(self) -> None:
        callers = [threading.Thread(target=self.call, args=(number,), daemon=True) for number in range(THREADS)]
        closers = [threading.Thread(target=self.shut_down, daemon=True) for _ in range(3)]
        for thread in [*callers, *closers]:
            thread.start()
        for thread in [*callers, *closers]:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def call(self, number: int) -> None:
        random = Random(self.seed * 1000 + number)  # noqa: S311 - as above
        self.together.wait(PATIENCE)
        for _ in range(EACH):
            context = Context.with_timeout(random.choice([0.0, 0.0005, 0.005, PATIENCE]))
            if random.random() < 0.3:
                threading.Thread(target=context.cancel, daemon=True).start()
            if random.random() < 0.2:
                self.flushes.append(outcome(self.guard.force_flush, context))
            metrics = Batch([])
            self.batches.append(metrics)
            self.exports.append((id(metrics), outcome(self.guard.export, context, metrics)))

    def shut_down(self) -> None:
        self.exporter.some.wait(PATIENCE)
        self.shutdowns.append(outcome(self.guard.shutdown, Context.with_timeout(PATIENCE)))


def outcome(function: Callable[..., None], *arguments: object) -> BaseException | None:
    try:
        function(*arguments)
    except BaseException as error:  # noqa: BLE001 - it is judged by the test
        return error
    return None


@pytest.mark.parametrize("runner", ["thread", "inline"])
@pytest.mark.parametrize("seed", range(3))
def test_many_threads_in_any_order(runner, seed):
    """Each batch is delivered once or not at all, and a caller without an error has been delivered."""
    stress = Stress(runner, seed)
    stress.run()
    exporter, exports = stress.exporter, stress.exports
    assert (exporter.most_inside, exporter.shutdowns, exporter.entered_after_shutdown) == (1, 1, 0)
    assert stress.shutdowns.count(None) == 1
    assert {type(error) for error in stress.shutdowns} == {type(None), ExporterShutdownError}
    assert len(exports) == THREADS * EACH
    delivered = set(exporter.delivered)
    assert len(delivered) == len(exporter.delivered)
    well = {key for key, error in exports if error is None}
    assert well <= delivered
    assert not {key for key, error in exports if isinstance(error, ExporterBusyError)} & delivered
    allowed = DeadlineExceededError | ContextCancelledError | ExporterBusyError | ExporterShutdownError | None
    assert all(isinstance(error, allowed) for error in [*stress.flushes, *dict(exports).values()])
    assert stress.guard.stats().exports_ok == len(well)
