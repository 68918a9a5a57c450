"""A schedule ends whatever its threads do, says why, leaves nothing behind, and does nothing to other threads."""

from __future__ import annotations

import gc
import queue
import socket
import sys
import threading
import time
import types

import pytest

from exporter_core.clock import MONOTONIC
from exporter_core.conformance.scheduler import FunctionOutcome, Predicate, Schedule, ScheduleError, Switch, explore


class Subject:
    """What a run can be interrupted in."""

    def __init__(self):
        self.value = 0
        self.lock = threading.Lock()
        self.other = threading.Lock()

    def add(self):
        self.value += 1
        return self.value

    def fail(self):
        raise KeyError("mine")

    def leave(self):
        raise SystemExit(3)

    def spin(self):
        while True:
            self.value += 1

    def first_then_second(self):
        with self.lock, self.other:
            return "done"

    def second_then_first(self):
        with self.other, self.lock:
            return "done"


def shimmed_names():
    clock = (MONOTONIC.monotonic, MONOTONIC._timer)
    thread = (threading.Thread.start, threading.Thread.join, threading.Thread.is_alive)
    times = (time.sleep, time.monotonic, time.time, time.perf_counter, time.monotonic_ns, time.time_ns)
    by_value = (queue.threading.Lock, queue.time, threading._time, threading._allocate_lock)
    return (threading.Lock, threading.RLock, queue.SimpleQueue, *clock, *thread, *times, *by_value)


# --- outcomes --------------------------------------------------------------------------------------------------------


def test_outcomes_come_in_the_order_of_the_functions_and_raise_nothing():
    with Schedule(1, subject=Subject) as schedule:
        subject = Subject()
        result = schedule.run([subject.add, subject.fail, subject.leave])
    first, second, third = result.outcomes
    assert first == FunctionOutcome(ended=True, value=1)
    assert isinstance(second.error, KeyError)
    assert isinstance(third.error, SystemExit)
    assert result.problem is None
    assert result.steps > 0


def test_without_a_seed_nothing_is_interrupted():
    with Schedule(subject=Subject) as schedule:
        subject = Subject()
        result = schedule.run([subject.add] * 3)
    assert [outcome.value for outcome in result.outcomes] == [1, 2, 3]
    assert result.trace == ()


def test_a_schedule_may_run_several_times():
    with Schedule(1, subject=Subject) as schedule:
        subject = Subject()
        first = schedule.run([subject.add])
        second = schedule.run([subject.add])
    assert (first.outcomes[0].value, second.outcomes[0].value) == (1, 2)
    assert second.steps > first.steps


def test_a_run_that_executes_nothing_of_the_subject_says_so():
    with Schedule(1, subject=Subject) as schedule:
        result = schedule.run([lambda: None])
    assert "no instruction of the subject was executed, so nothing could be interrupted" in result.unseen


@pytest.mark.parametrize(
    "subject",
    [Subject, Subject.add, Predicate(lambda code: code.co_name == "add"), (Subject.add, Subject.fail)],
    ids=["class", "function", "predicate", "tuple"],
)
def test_the_subject_is_a_class_a_function_or_a_predicate(subject):
    with Schedule(1, subject=subject) as schedule:
        assert schedule.run([Subject().add]).steps > 0


def test_the_subject_is_a_module_or_a_package_or_its_name():
    from exporter_core import guard, sync

    with Schedule(1, subject=sync) as schedule:
        assert schedule.run([sync.Signal().set]).steps > 0
    for subject in (guard, "exporter_core.guard"):
        with Schedule(1, subject=subject) as schedule:
            assert schedule.run([lambda: guard.stats.Tally().note_error("no route")]).steps > 0


# --- threads that do not end -----------------------------------------------------------------------------------------


def deadlocked(schedule):
    subject = Subject()
    return schedule.run([subject.first_then_second, subject.second_then_first])


def test_a_deadlock_names_who_holds_what_and_who_waits_for_it():
    failure = explore(deadlocked, subject=Subject).failure
    before = set(threading.enumerate())
    with Schedule(replay=failure.switches, subject=Subject) as schedule:
        result = deadlocked(schedule)
    assert set(threading.enumerate()) <= before
    assert not any(outcome.ended for outcome in result.outcomes)
    first, second = result.deadlock.waiting
    assert (first.thread, first.holder) == (second.holder, second.thread)
    assert set(result.deadlock.cycle) == {"thread 0: first_then_second", "thread 1: second_then_first"}
    line = Subject.first_then_second.__code__.co_firstlineno + 1
    assert first.place == f"{__file__}:{line}"
    assert f"{__file__}:{Subject.__init__.__code__.co_firstlineno + 3}" in first.operation
    assert "\n" not in result.problem


def test_a_deadlock_names_the_operation_of_the_standard_library():
    with Schedule(1, subject=Subject) as schedule:
        result = schedule.run([queue.Queue().get, threading.Event().wait, threading.Condition().acquire])
    operations = [waiting.operation.split(" on ")[0] for waiting in result.deadlock.waiting]
    assert operations == ["Queue.get", "Event.wait"]
    assert result.outcomes[2].ended


def test_a_thread_that_waits_for_itself_is_a_deadlock():
    with Schedule(1, subject=Subject) as schedule:
        lock = threading.Lock()
        result = schedule.run([lambda: (lock.acquire(), lock.acquire())])
    assert result.deadlock.cycle == ("thread 0",)


def test_idle_threads_of_the_subject_are_no_deadlock_and_are_ended():
    before = set(threading.enumerate())
    with Schedule(1, subject=Subject) as schedule:
        thread = threading.Thread(target=queue.SimpleQueue().get, daemon=True)
        result = schedule.run([thread.start])
        assert thread.is_alive()
    assert result.problem is None
    assert not thread.is_alive()
    assert set(threading.enumerate()) <= before


def test_a_livelock_ends_at_the_step_limit_and_says_where():
    with Schedule(1, subject=Subject, max_steps=2000) as schedule:
        result = schedule.run([Subject().spin])
    assert result.livelock.startswith("livelock: no end after 2000 steps")
    assert f"{__file__}:" in result.livelock
    assert not result.outcomes[0].ended


def test_a_livelock_of_time_outs_ends_too():
    with Schedule(1, subject=Subject, max_steps=2000) as schedule:
        event = threading.Event()

        def poll():
            while not event.wait(0.1):
                pass

        result = schedule.run([poll])
    assert "Event.wait" in result.livelock or "hand-overs" in result.livelock


def test_a_wait_that_the_scheduler_cannot_see_ends_the_run_as_stalled():
    unknown = threading.Lock()
    unknown.acquire()
    subject = Subject()
    with Schedule(1, subject=Subject, stall_seconds=0.2) as schedule:
        result = schedule.run([subject.add, unknown.acquire])
        unknown.release()  # which lets the thread find out that it is not wanted any more
    assert "cannot see" in result.stalled
    assert result.stalled in result.unseen
    assert result.deadlock is None


def test_a_stalled_run_is_no_failure_of_the_scenario_and_ends_the_exploration():
    unknown = threading.Lock()
    unknown.acquire()
    found = explore(lambda schedule: schedule.run([unknown.acquire]), subject=Subject, seeds=[1, 2], stall_seconds=0.1)
    unknown.release()  # lets the thread go that waits for it still
    assert found.failure is None
    assert (found.stalled, found.seeds) == (1, 0)


def test_an_abandoned_thread_unwinds_its_finally_blocks():
    unwound = []

    def wait():
        try:
            threading.Event().wait()
        finally:
            unwound.append("finally")

    with Schedule(1, subject=Subject) as schedule:
        result = schedule.run([wait])
    assert result.deadlock is not None
    assert unwound == ["finally"]


def test_locks_in_globals_and_classes_of_the_subjects_module_are_cooperative():
    module = types.ModuleType("subject_with_locks")
    module.__file__ = "subject_with_locks.py"
    code = """
import threading
lock = threading.Lock()
held = threading.Lock()
held.acquire()
class Holder:
    lock = threading.RLock()
    value = 0
    def add(self):
        with lock, Holder.lock:
            Holder.value += 1
"""
    exec(compile(code, module.__file__, "exec"), vars(module))  # noqa: S102 - a module of its own
    module.Holder.__module__ = module.__name__
    real = (module.lock, module.Holder.lock)
    for seed in range(20):
        with Schedule(seed, subject=module, length=60) as schedule:
            result = schedule.run([module.Holder().add] * 3)
        assert result.problem is None
        assert result.unseen == ("subject_with_locks.held is held, and stays a real lock",)
    assert module.Holder.value == 60
    assert (module.lock, module.Holder.lock) == real


# --- what is left behind, and who else sees it -----------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(fails):
    before, collecting, trace = shimmed_names(), gc.isenabled(), sys.gettrace()
    with pytest.raises(ZeroDivisionError) if fails else Schedule(subject=Subject):
        if fails:
            with Schedule(1, subject=Subject) as schedule:
                assert shimmed_names() != before
                schedule.run([Subject().add])
                1 / 0  # noqa: B018 - the error is the point
    assert shimmed_names() == before
    assert (gc.isenabled(), sys.gettrace()) == (collecting, trace)
    if sys.version_info >= (3, 12):
        assert all(sys.monitoring.get_tool(tool) != "exporter-core scheduler" for tool in range(6))


def test_a_module_imported_meanwhile_gets_the_real_names_afterwards():
    module = types.ModuleType("imported_meanwhile")
    with Schedule(subject=Subject):
        exec("from threading import Lock\nfrom time import monotonic", vars(module))  # noqa: S102 - as an import does
        sys.modules[module.__name__] = module
    try:
        assert (module.Lock, module.monotonic) == (threading.Lock, time.monotonic)
    finally:
        del sys.modules[module.__name__]


def test_other_threads_of_the_process_have_real_locks_and_real_time():
    kinds = (type(threading.Lock()), type(threading.RLock()), type(queue.SimpleQueue()))
    ask, answer, seen = threading.Lock(), threading.Lock(), []
    ask.acquire()
    answer.acquire()

    def outside():
        ask.acquire(timeout=30)
        seen.append((type(threading.Lock()), type(threading.RLock()), type(queue.SimpleQueue())))
        start = time.monotonic()
        time.sleep(0.01)
        seen.append(time.monotonic() - start >= 0.01)
        thread = threading.Thread(target=seen.append, args=[sys.gettrace()])
        thread.start()
        thread.join()
        answer.release()

    thread = threading.Thread(target=outside)
    thread.start()
    with Schedule(1, subject=Subject) as schedule:
        ask.release()
        schedule.run([lambda: time.sleep(3600)])
        assert answer.acquire(timeout=30)
    thread.join()
    assert seen == [kinds, True, None]


def test_a_lock_that_outlives_its_schedule_works_on():
    with Schedule(1, subject=Subject):
        subject, condition, items = Subject(), threading.Condition(), queue.SimpleQueue()
    assert subject.first_then_second() == "done"
    with condition:
        assert not condition.wait(0.01)
    items.put(1)
    assert items.get() == 1
    with subject.lock:
        assert not subject.lock.acquire(timeout=0.01)


# --- wrong use -------------------------------------------------------------------------------------------------------


def test_two_schedules_at_once_are_refused():
    with Schedule(subject=Subject), pytest.raises(ScheduleError, match="another schedule is open"):
        Schedule(subject=Subject).__enter__()


def test_running_outside_its_block_is_refused():
    schedule = Schedule(subject=Subject)
    with pytest.raises(ScheduleError, match="inside its with block"):
        schedule.run([])
    with schedule:
        pass
    with pytest.raises(ScheduleError, match="inside its with block"):
        schedule.run([])
    with pytest.raises(ScheduleError, match="used once"):
        schedule.__enter__()


def test_running_on_after_a_problem_is_refused():
    with Schedule(subject=Subject) as schedule:
        schedule.run([threading.Event().wait])
        with pytest.raises(ScheduleError, match="over"):
            schedule.run([Subject().add])


@pytest.mark.parametrize("subject", [(), 3, "no.such.module", sys])
def test_a_subject_that_is_none_is_refused(subject):
    with pytest.raises(TypeError, match="subject"):
        Schedule(subject=subject)


def test_a_seed_and_a_replay_together_are_refused():
    with pytest.raises(ValueError, match="not both"):
        Schedule(1, replay=[], subject=Subject)


def test_a_scenario_that_runs_nothing_is_an_error():
    with pytest.raises(ScheduleError, match="ran nothing"):
        explore(lambda schedule: None, subject=Subject)


def test_a_replay_of_something_else_says_that_it_diverged():
    with Schedule(replay=[Switch(2, 9)], subject=Subject) as schedule:
        result = schedule.run([Subject().add])
    assert result.diverged


# --- aside, uninterrupted, and at sites ------------------------------------------------------------------------------


def test_what_is_done_aside_gets_real_locks_and_is_not_interrupted():
    real = type(threading.Lock())
    steps = set()

    def scenario(schedule):
        subject = Subject()

        def look():
            cooperative = type(threading.Lock())
            with schedule.aside():
                subject.add()
                return cooperative is not real and type(threading.Lock()) is real

        result = schedule.run([look, subject.add])
        assert result.outcomes[0].value
        steps.add(result.steps)

    found = explore(scenario, subject=Subject, seeds=range(10))
    assert found.failure is None, found.failure
    with Schedule(subject=Subject) as schedule:
        alone = schedule.run([Subject().add]).steps
    assert steps == {alone}  # those of the other thread only


def test_an_uninterrupted_run_counts_no_steps_and_needs_none():
    with Schedule(1, subject=Subject) as schedule:
        subject = Subject()
        result = schedule.run([subject.add, subject.add], interrupted=False)
    assert subject.value == 2
    assert (result.steps, result.passes, result.unseen) == (0, (), ())


def test_a_failure_names_the_lines_at_which_threads_were_interrupted():
    def scenario(schedule):
        subject = Subject()
        schedule.run([subject.add, subject.add])
        assert subject.value == 2

    shortest = explore(scenario, subject=Subject).failure.shrink()
    assert len(shortest.places) == len(shortest.switches)
    line = Subject.add.__code__.co_firstlineno + 1
    assert any(place.endswith(f"{__file__}:{line}") for place in shortest.places), shortest.places


def test_seeds_take_the_sites_of_a_calm_run_in_turn():
    from exporter_core.conformance.scheduler.policy import Priorities

    with Schedule(subject=Subject) as schedule:
        subject = Subject()
        passes = schedule.run([subject.add, subject.first_then_second]).passes
    assert len(passes) == 3  # a store, and two locks
    seeds = [seed for seed in range(60) if seed % 3]
    drawn = [Priorities(seed, 4, 100, passes).sites for seed in seeds]
    assert [list(sites) for sites in drawn[:3]] == [[site] for site, _ in passes]
    assert all(passes[turn % 3][0] in sites for turn, sites in enumerate(drawn))
    assert not any(Priorities(seed, 4, 100, passes).sites for seed in range(0, 60, 3))


def test_a_socket_that_a_scheduled_thread_makes_is_unseen():
    def scenario(schedule):
        subject = Subject()
        schedule.run([subject.add, lambda: [one.close() for one in socket.socketpair()]])

    assert "a socket was made" in explore(scenario, subject=Subject, seeds=[]).unseen[0]
