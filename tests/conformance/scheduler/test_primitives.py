"""What scheduled threads get instead of the standard library's primitives behaves like these, in virtual time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from exporter_core.conformance.scheduler import DeadlockError, Schedule
from exporter_core.context import Context
from exporter_core.errors import ContextCancelledError
from exporter_core.sync import Signal

REAL = time.monotonic


def nothing():
    """The subject of schedules that need none."""


MAKERS: dict[str, Callable[[], object]] = {
    "Lock": lambda: threading.Lock(),  # noqa: PLW0108 - the name is looked up when it is called
    "RLock": lambda: threading.RLock(),  # noqa: PLW0108 - the name is looked up when it is called
    "Condition": lambda: threading.Condition(),  # noqa: PLW0108 - the name is looked up when it is called
    "Event": lambda: threading.Event(),  # noqa: PLW0108 - the name is looked up when it is called
    "Semaphore": lambda: threading.Semaphore(2),
    "BoundedSemaphore": lambda: threading.BoundedSemaphore(2),
    "Queue": lambda: queue.Queue(2),
    "LifoQueue": lambda: queue.LifoQueue(2),
    "SimpleQueue": lambda: queue.SimpleQueue(),  # noqa: PLW0108 - as above
}

LOCKING = [
    ("acquire", (False,)),
    ("acquire", (True, 0.001)),
    ("acquire", (True, 0)),
    ("acquire", (True, -2)),
    ("acquire", (True, float("nan"))),
    ("acquire", (True, 1e300)),
    ("acquire", (False, 1)),
    ("release", ()),
    ("__exit__", (None, None, None)),
]
OPERATIONS = {
    "Lock": [*LOCKING, ("locked", ())],
    "RLock": LOCKING,
    "Condition": [*LOCKING, ("wait", (0.001,)), ("notify", ()), ("notify_all", ())],
    "Event": [("set", ()), ("clear", ()), ("is_set", ()), ("wait", (0.001,))],
    "Semaphore": [("acquire", (False,)), ("acquire", (True, 0.001)), ("acquire", (False, 1)), ("release", ())],
    "Queue": [
        ("put", ("a", False)),
        ("put", ("b", True, 0.001)),
        ("put", ("b", True, -1)),
        ("get", (False,)),
        ("get", (True, 0.001)),
        ("get", (True, -1)),
        ("qsize", ()),
        ("empty", ()),
        ("full", ()),
        ("task_done", ()),
    ],
    "SimpleQueue": [
        ("put", ("a",)),
        ("put_nowait", ("b",)),
        ("get", (False,)),
        ("get_nowait", ()),
        ("get", (True, 0.001)),
        ("get", (True, -1)),
        ("qsize", ()),
        ("empty", ()),
    ],
}
OPERATIONS["BoundedSemaphore"] = OPERATIONS["Semaphore"]
OPERATIONS["LifoQueue"] = OPERATIONS["Queue"]


def perform(subject, operations):
    """What each operation returned, or the type of its error."""
    answers = []
    for name, arguments in operations:
        try:
            answers.append(getattr(subject, name)(*arguments))
        except Exception as error:  # noqa: BLE001 - one of the answers
            answers.append(type(error))
    return answers


@pytest.mark.parametrize("kind", MAKERS)
@given(data=st.data())
def test_operations_answer_as_those_of_the_real_ones(kind, data):
    operations = data.draw(st.lists(st.sampled_from(OPERATIONS[kind]), max_size=12))
    expected = perform(MAKERS[kind](), operations)
    with Schedule(subject=nothing) as schedule:
        here = perform(MAKERS[kind](), operations)
        beside = schedule.run([lambda: perform(MAKERS[kind](), operations)]).outcomes[0].value
    assert here == expected
    assert beside == expected


def test_a_time_out_passes_in_virtual_time_alone():
    began = REAL()
    with Schedule(subject=nothing) as schedule:
        event = threading.Event()

        def wait():
            start = time.monotonic()
            return event.wait(3600), time.monotonic() - start

        def sleep():
            start = time.monotonic()
            time.sleep(60)
            return time.monotonic() - start

        waited, slept = schedule.run([wait, sleep]).outcomes
    found, seconds = waited.value
    assert not found
    assert seconds == pytest.approx(3600)
    assert slept.value == pytest.approx(60)
    assert REAL() - began < 60


def test_time_stands_still_while_anybody_can_run():
    with Schedule(3, subject=nothing) as schedule:
        result = schedule.run([lambda: time.sleep(1), lambda: [time.monotonic() for _ in range(1000)]])
    assert len(set(result.outcomes[1].value)) == 1


def test_sleepers_wake_in_the_order_of_their_times():
    woken = []
    with Schedule(5, subject=nothing) as schedule:

        def sleeper(seconds):
            return lambda: (time.sleep(seconds), woken.append(seconds))

        schedule.run([sleeper(seconds) for seconds in (3, 1, 2, 0.5)])
    assert woken == [0.5, 1, 2, 3]


@pytest.mark.parametrize("seed", range(10))
def test_a_bounded_queue_hands_everything_over_in_order(seed):
    with Schedule(seed, subject=test_a_bounded_queue_hands_everything_over_in_order) as schedule:
        items = queue.Queue(2)
        taken = []

        def put():
            for number in range(20):
                items.put(number)
            items.put(None)

        def take():
            while (item := items.get()) is not None:
                taken.append(item)

        result = schedule.run([put, take])
    assert result.problem is None
    assert taken == list(range(20))


@pytest.mark.parametrize("seed", range(10))
def test_a_semaphore_lets_no_more_in_than_it_has(seed):
    inside, most = [], []
    with Schedule(seed, subject=test_a_semaphore_lets_no_more_in_than_it_has) as schedule:
        semaphore = threading.BoundedSemaphore(2)

        def enter():
            with semaphore:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

        result = schedule.run([enter] * 5)
    assert result.problem is None
    assert len(most) == 5
    assert max(most) <= 2


@pytest.mark.parametrize("seed", range(10))
def test_a_barrier_lets_all_through_together(seed):
    with Schedule(seed, subject=test_a_barrier_lets_all_through_together) as schedule:
        barrier = threading.Barrier(3)
        result = schedule.run([barrier.wait] * 3)
    assert sorted(outcome.value for outcome in result.outcomes) == [0, 1, 2]


def test_a_context_waits_in_virtual_time_and_ends_when_it_is_cancelled():
    with Schedule(1, subject=nothing) as schedule:
        timed, cancelled = Context.with_timeout(50), Context.background()
        result = schedule.run(
            [lambda: timed.wait(3600), lambda: cancelled.wait(3600), lambda: (time.sleep(10), cancelled.cancel())]
        )
        assert [outcome.value for outcome in result.outcomes[:2]] == [True, True]
        assert schedule.now == pytest.approx(50)
        assert isinstance(cancelled.error(), ContextCancelledError)


def test_a_deadline_calls_back_on_a_scheduled_timer_thread():
    with Schedule(1, subject=nothing) as schedule:
        context, called = Context.with_timeout(50), Signal()
        handle = context.on_done(called.set)
        result = schedule.run([lambda: called.wait(3600)])
        handle.unregister()
        assert result.outcomes[0].value is True
        assert schedule.now == pytest.approx(50)


def test_threads_that_the_subject_starts_join_the_schedule():
    with Schedule(4, subject=test_threads_that_the_subject_starts_join_the_schedule) as schedule:
        done = []

        def start_some():
            threads = [threading.Thread(target=lambda: (time.sleep(5), done.append(1))) for _ in range(3)]
            for thread in threads:
                thread.start()
            alive = [thread.is_alive() for thread in threads]
            threads[0].join(1)
            still = threads[0].is_alive()
            for thread in threads:
                thread.join()
            return alive, still, [thread.is_alive() for thread in threads], len(done)

        outcome = schedule.run([start_some]).outcomes[0]
    assert outcome.value == ([True] * 3, True, [False] * 3, 3)


def test_a_pool_of_threads_works_in_a_schedule():
    from concurrent.futures import ThreadPoolExecutor

    with Schedule(4, subject=test_a_pool_of_threads_works_in_a_schedule) as schedule:

        def squares():
            with ThreadPoolExecutor(3) as pool:
                return list(pool.map(lambda number: number * number, range(10)))

        result = schedule.run([squares, squares])
    assert [outcome.value for outcome in result.outcomes] == [[number * number for number in range(10)]] * 2


def test_the_owner_takes_part_while_it_builds_and_checks():
    with Schedule(4, subject=nothing) as schedule:
        requests, answers = queue.SimpleQueue(), queue.SimpleQueue()

        def serve():
            while True:
                answers.put(requests.get() * 2)

        threading.Thread(target=serve, daemon=True).start()
        requests.put(1)
        assert answers.get() == 2
        result = schedule.run([lambda: requests.put(2), answers.get])
        assert result.outcomes[1].value == 4
        requests.put(3)
        assert answers.get(timeout=1) == 6


def test_the_owners_own_deadlock_is_an_error_with_the_reason():
    with Schedule(4, subject=nothing), pytest.raises(DeadlockError, match=r"waits in Queue.get .*test_primitives\.py"):
        queue.Queue().get()


def test_sleeping_for_no_time_lets_the_others_run():
    with Schedule(4, subject=test_sleeping_for_no_time_lets_the_others_run) as schedule:
        seen = []

        def spin():
            while not seen:
                time.sleep(0)

        result = schedule.run([spin, lambda: seen.append(1)])
    assert result.problem is None


def test_spinning_without_blocking_lets_the_others_run_in_the_end():
    for seed in (None, 0, 1, 2, 3):
        with Schedule(seed, subject=test_spinning_without_blocking_lets_the_others_run_in_the_end) as schedule:
            seen = []

            def spin(seen=seen):
                while not seen:
                    pass

            result = schedule.run([spin, lambda seen=seen: seen.append(1)])
        assert result.problem is None
