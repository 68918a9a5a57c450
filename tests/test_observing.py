"""Observers are told, on a thread of their own, and can change nothing."""

from __future__ import annotations

import gc
import logging
import threading
from dataclasses import replace

import pytest

from exporter_core.contract import hookimpl
from exporter_core.errors import ContractError
from exporter_core.observing import Observation, Observers

PATIENCE = 30.0
WELL = Observation("files", "export", 0.1, 3, None, late=False)
BADLY = replace(WELL, error="no route")


class Recorder:
    """Hears both hooks."""

    def __init__(self) -> None:
        self.operations: list[Observation] = []
        self.errors: list[Observation] = []

    @hookimpl
    def on_operation(self, observation):
        self.operations.append(observation)

    @hookimpl
    def on_error(self, observation):
        self.errors.append(observation)


class Held:
    """Hangs until it is let go on."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.heard = 0

    @hookimpl
    def on_operation(self, observation):
        self.entered.set()
        assert self.go_on.wait(PATIENCE)
        self.heard += 1


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "exporter-core-observers"]


def test_observers_hear_every_operation_and_errors_apart():
    first, second = Recorder(), Recorder()
    observers = Observers([first, second])
    for observation in (WELL, BADLY, WELL):
        observers.tell(observation)
    assert observers.close(PATIENCE)
    for recorder in (first, second):
        assert recorder.operations == [WELL, BADLY, WELL]
        assert recorder.errors == [BADLY]
    assert observers.dropped == 0


def test_one_hook_is_enough():
    class ErrorsOnly:
        heard = ()

        @hookimpl
        def on_error(self, observation):
            self.heard += (observation,)

    only = ErrorsOnly()
    observers = Observers([only])
    observers.tell(WELL)
    observers.tell(BADLY)
    assert observers.close(PATIENCE)
    assert only.heard == (BADLY,)


def test_a_hung_observer_delays_nobody_and_what_it_missed_is_counted():
    held = Held()
    observers = Observers([held])
    observers.tell(WELL)
    assert held.entered.wait(PATIENCE)
    for _ in range(3000):
        observers.tell(WELL)
    assert not observers.close(0.01)
    heard_or_queued = 3001 - observers.dropped
    assert 1000 < heard_or_queued < 1100
    held.go_on.set()
    assert observers.close(PATIENCE)
    assert held.heard == heard_or_queued


def test_a_log_handler_that_raises_keeps_nobody_from_hearing(monkeypatch):
    class Failing:
        @hookimpl
        def on_operation(self, observation):
            raise ValueError

    def handle(record):
        raise SystemExit(3)

    monkeypatch.setattr(logging.getLogger("exporter_core.observing"), "handle", handle)
    after = Recorder()
    observers = Observers([Failing(), after])
    observers.tell(WELL)
    assert observers.close(PATIENCE)
    assert after.operations == [WELL]


@pytest.mark.parametrize("error", [ValueError("password"), SystemExit(2), KeyboardInterrupt()])
def test_an_observer_that_fails_keeps_nobody_from_hearing_and_is_logged_once(error, caplog):
    class Failing:
        @hookimpl
        def on_operation(self, observation):
            raise error

    before, after = Recorder(), Recorder()
    observers = Observers([before, Failing(), after])
    for _ in range(5):
        observers.tell(BADLY)
    assert observers.close(PATIENCE)
    for recorder in (before, after):
        assert recorder.operations == recorder.errors == [BADLY] * 5
    assert [record.getMessage() for record in caplog.records] == [
        f"an observer failed in on_operation: {type(error).__name__}"
    ]


def test_what_is_told_after_close_is_dropped_and_counted():
    recorder = Recorder()
    observers = Observers([recorder])
    assert observers.close(PATIENCE)
    observers.tell(WELL)
    assert observers.close(PATIENCE)
    assert recorder.operations == []
    assert observers.dropped == 1


def test_a_misspelt_hook_is_found():
    class Misspelt:
        @hookimpl
        def on_operaton(self, observation): ...

    with pytest.raises(ContractError, match=r"^observer .*Misspelt does not fit: unknown hook 'on_operaton'"):
        Observers([Misspelt()])


def test_a_hook_with_another_parameter_is_found():
    class Other:
        @hookimpl
        def on_operation(self, observed): ...

    with pytest.raises(ContractError, match=r"observer .*Other does not fit: .*observed"):
        Observers([Other()])


def test_an_observer_without_a_marked_hook_is_found():
    class Unmarked:
        def on_operation(self, observation): ...

    with pytest.raises(
        ContractError, match=r"Unmarked has no hook: mark on_operation or on_error with exporter_core\."
    ):
        Observers([Unmarked()])


def test_close_and_garbage_collection_end_the_thread():
    def ended(thread):
        thread.join(PATIENCE)
        return not thread.is_alive()

    before = set(threads())
    closed = Observers([Recorder()])
    dropped = Observers([Recorder()])
    started = set(threads()) - before
    assert len(started) == 2
    closed.close(PATIENCE)
    del closed, dropped
    gc.collect()
    assert all(ended(thread) for thread in started)


def test_observers_go_on_in_a_forked_child(run_python):
    printed = run_python(
        """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, from Python 3.12
from exporter_core.contract import hookimpl
from exporter_core.observing import Observation, Observers

heard, entered, go_on = [], threading.Event(), threading.Event()

class Recorder:
    @hookimpl
    def on_operation(self, observation):
        if observation.operation == "hang":
            entered.set()
            go_on.wait(30)
        heard.append(observation.operation)

def tell(operation):
    observers.tell(Observation("files", operation, 0.1, None, None, False))

observers = Observers([Recorder()])
tell("hang")
entered.wait(30)
tell("queued before the fork")
sys.stdout.flush()
child = os.fork()
if child == 0:
    go_on = threading.Event()
    if len(sys.argv) > 1:
        tell(sys.argv[1])
    print("child", observers.close(30), heard, flush=True)
    os._exit(0)
os.waitpid(child, 0)
go_on.set()
print("parent", observers.close(30), heard)
""",
        "in the child",
    )
    assert printed == "child True ['in the child']\nparent True ['hang', 'queued before the fork']\n"


def test_a_forked_child_that_tells_nothing_closes_at_once(run_python):
    printed = run_python(
        """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, from Python 3.12
from exporter_core.contract import hookimpl
from exporter_core.observing import Observers

class Recorder:
    @hookimpl
    def on_operation(self, observation): ...

observers = Observers([Recorder()])
child = os.fork()
if child == 0:
    print(observers.close(0), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(observers.close(30))
"""
    )
    assert printed == "True\nTrue\n"
