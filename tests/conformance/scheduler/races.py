"""A zoo of classical races, each beside its correct version; the benchmark counts in how many seeds each is found."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple


class Race(NamedTuple):
    name: str
    wrong: type
    right: type
    functions: Callable[[Any], list[Callable[[], object]]]
    holds: Callable[[Any, list[object]], bool]
    """Of the subject, and of what each function returned (its error if it raised)."""


class LostUpdate:
    def __init__(self):
        self.value = 0

    def add(self):
        self.value += 1


class LockedUpdate(LostUpdate):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def add(self):
        with self.lock:
            self.value += 1


class CheckThenSet:
    def __init__(self):
        self.done = False
        self.released = 0

    def shutdown(self):
        if self.done:
            return "late"
        self.done = True
        self.released += 1
        return "first"


class TestAndSet(CheckThenSet):
    __test__ = False

    def __init__(self):
        super().__init__()
        self.turn = threading.Lock()

    def shutdown(self):
        if not self.turn.acquire(blocking=False):
            return "late"
        self.released += 1
        return "first"


KINDS = ("counter", "gauge", "histogram")


class HalfBuiltCache:
    def __init__(self):
        self.cache = None

    def temporality(self):
        if self.cache is None:
            self.cache = {}
            for kind in KINDS:
                self.cache[kind] = kind.upper()
        return self.cache["histogram"]


class WholeCache(HalfBuiltCache):
    def temporality(self):
        cache = self.cache
        if cache is None:
            cache = {kind: kind.upper() for kind in KINDS}
            self.cache = cache
        return cache["histogram"]


class UnlockedSwap:
    def __init__(self):
        self.buffer = []
        self.delivered = []

    def export(self):
        self.buffer.append("batch")

    def flush(self):
        batches = self.buffer
        for batch in batches:
            self.delivered.append(batch)
        self.buffer = []


class LockedSwap(UnlockedSwap):
    def __init__(self):
        super().__init__()
        self.lock = threading.RLock()

    def export(self):
        with self.lock:
            self.buffer.append("batch")

    def flush(self):
        with self.lock:
            super().flush()


class FlagAfterDrain:
    def __init__(self):
        self.closed = False
        self.held = deque()
        self.delivered = []

    def export(self):
        if self.closed:
            raise RuntimeError("shut down")
        self.held.append("batch")
        return "accepted"

    def shutdown(self):
        while self.held:
            self.delivered.append(self.held.popleft())
        self.closed = True


class FlagUnderLock(FlagAfterDrain):
    def __init__(self):
        super().__init__()
        self.condition = threading.Condition()

    def export(self):
        with self.condition:
            return super().export()

    def shutdown(self):
        with self.condition:
            super().shutdown()


class LockOrderInversion:
    def __init__(self):
        self.first = threading.Lock()
        self.second = threading.Lock()

    def export(self):
        with self.first, self.second:
            return "done"

    def shutdown(self):
        with self.second, self.first:
            return "done"


class LockOrder(LockOrderInversion):
    def shutdown(self):
        return self.export()


class LostWakeUp:
    def __init__(self):
        self.ready = False
        self.condition = threading.Condition()

    def wait(self):
        if not self.ready:
            with self.condition:
                self.condition.wait()
        return self.ready

    def tell(self):
        self.ready = True
        with self.condition:
            self.condition.notify_all()
        return self.ready


class KeptWakeUp(LostWakeUp):
    def wait(self):
        with self.condition:
            while not self.ready:
                self.condition.wait()
        return self.ready

    def tell(self):
        with self.condition:
            return super().tell()


class LookThenTake:
    def __init__(self):
        self.queue = SimpleQueue()
        self.queue.put("batch")

    def take(self):
        if self.queue.empty():
            return None
        return self.queue.get()


class TakeOrLeave(LookThenTake):
    def take(self):
        try:
            return self.queue.get_nowait()
        except Empty:
            return None


def _flush_last(subject, outcomes):
    subject.flush()
    return subject.delivered == ["batch"] and outcomes == [None, None]


RACES = (
    Race("lost update", LostUpdate, LockedUpdate, lambda it: [it.add] * 2, lambda it, _: it.value == 2),
    Race(
        "check then set",
        CheckThenSet,
        TestAndSet,
        lambda it: [it.shutdown] * 3,
        lambda it, outcomes: it.released == 1 and sorted(map(str, outcomes)) == ["first", "late", "late"],
    ),
    Race(
        "half-built cache",
        HalfBuiltCache,
        WholeCache,
        lambda it: [it.temporality] * 2,
        lambda _, outcomes: outcomes == ["HISTOGRAM"] * 2,
    ),
    Race("unlocked swap", UnlockedSwap, LockedSwap, lambda it: [it.export, it.flush], _flush_last),
    Race(
        "flag after drain",
        FlagAfterDrain,
        FlagUnderLock,
        lambda it: [it.export, it.shutdown],
        lambda it, outcomes: outcomes[0] != "accepted" or it.delivered == ["batch"],
    ),
    Race(
        "lock order inversion",
        LockOrderInversion,
        LockOrder,
        lambda it: [it.export, it.shutdown],
        lambda _, outcomes: outcomes == ["done"] * 2,
    ),
    Race(
        "lost wake-up",
        LostWakeUp,
        KeptWakeUp,
        lambda it: [it.wait, it.tell],
        lambda _, outcomes: outcomes == [True] * 2,
    ),
    Race(
        "look then take",
        LookThenTake,
        TakeOrLeave,
        lambda it: [it.take] * 2,
        lambda _, outcomes: sorted(map(str, outcomes)) == ["None", "batch"],
    ),
)


def scenario_of(race, subject_class):
    """What ``explore`` runs."""

    def scenario(schedule):
        subject = subject_class()
        result = schedule.run(race.functions(subject))
        if result.problem is None:
            assert race.holds(subject, [outcome.error or outcome.value for outcome in result.outcomes])

    return scenario


def classes_of(subject_class):
    """The class with those it inherits code from."""
    return tuple(each for each in subject_class.__mro__ if each is not object)
