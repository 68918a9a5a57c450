"""Interpreter exit: held up no longer than the shutdown deadline, and the last export and shutdown still get through.

The children print what happened; the test's own time-out is what ends one that would never exit.
"""

from __future__ import annotations

import threading

import pytest

from exporter_core import Context
from exporter_core.guard import GuardedExporter
from exporter_core.testing import FakeExporter

pytestmark = pytest.mark.usefixtures("warm_python")

PROGRAM = """
import asyncio, atexit, sys, threading, time
from opentelemetry.sdk.metrics.export import MetricsData
from exporter_core import Context, DeadlineExceededError
from exporter_core.guard import GuardedExporter
from exporter_core.testing import FakeExporter

METRICS = MetricsData([])

class Async(FakeExporter):
    async def export(self, context, metrics):
        await asyncio.to_thread(self.exported.append, metrics)

    async def shutdown(self, context):
        await asyncio.to_thread(self.calls.append, "shutdown")

class Blocking(FakeExporter):
    async def export(self, context, metrics):
        await asyncio.to_thread(threading.Event().wait)

def hang(*_):
    threading.Event().wait()

def last_words(guard, exporter):
    def at_exit():
        try:
            guard.export(Context.with_timeout(30), METRICS)
            guard.force_flush(Context.with_timeout(30))
            guard.shutdown(Context.with_timeout(30))
            print(len(exporter.exported), exporter.calls[-1], guard.state, flush=True)
        except BaseException as error:
            print("failed:", repr(error), flush=True)
    atexit.register(at_exit)
"""


@pytest.mark.parametrize("runner", ["thread", "inline"])
def test_export_flush_and_shutdown_get_through_at_exit(run_python, runner):
    printed = run_python(
        PROGRAM
        + """
exporter = FakeExporter()
last_words(GuardedExporter(exporter, name="last", runner=sys.argv[1]), exporter)
""",
        runner,
    )
    assert printed == "1 shutdown shut_down\n"


def test_those_of_an_async_exporter_get_through_at_exit(run_python):
    printed = run_python(
        PROGRAM
        + """
exporter = Async()
last_words(GuardedExporter(exporter, name="last"), exporter)
"""
    )
    assert printed == "1 shutdown shut_down\n"


@pytest.mark.parametrize("exporter", ["FakeExporter(on_export=hang)", "FakeExporter(on_shutdown=hang)", "Blocking()"])
def test_a_hung_exporter_does_not_hold_up_exit(run_python, exporter):
    printed = run_python(
        PROGRAM
        + f"""
guard = GuardedExporter({exporter}, name="hung")

def fly():
    try:
        guard.export(Context.background(), METRICS)
    except BaseException:
        pass  # a daemon thread that writes its traceback while the interpreter ends would abort it

flying = threading.Thread(target=fly, daemon=True)
flying.start()

def at_exit():
    try:
        guard.shutdown(Context.with_timeout(0.1))
    except DeadlineExceededError:
        pass
    print(guard.state, flush=True)

atexit.register(at_exit)
"""
    )
    assert printed == "shut_down\n"


@pytest.mark.parametrize("exporter", ["FakeExporter(on_export=hang)", "Blocking()"])
def test_a_hung_exporter_that_nobody_shuts_down_does_not_hold_up_exit(run_python, exporter):
    printed = run_python(
        PROGRAM
        + f"""
guard = GuardedExporter({exporter}, name="hung")
try:
    guard.export(Context.with_timeout(0.05), METRICS)
except DeadlineExceededError:
    print("given up")
"""
    )
    assert printed == "given up\n"


def test_a_guard_that_nobody_shuts_down_exits_in_silence(run_python):
    printed = run_python(
        PROGRAM + "guard = GuardedExporter(FakeExporter(), name='idle'); guard.export(Context.background(), METRICS)",
        options=("-W", "error"),
    )
    assert printed == ""


def test_a_thread_that_an_exporter_leaves_behind_is_named_when_it_is_shut_down(caplog):
    end = threading.Event()

    class Leaves(FakeExporter):
        def __init__(self):
            super().__init__()
            self.thread = threading.Thread(target=end.wait, args=(60,), name="left-behind", daemon=False)
            self.thread.start()

    guard = GuardedExporter(factory=Leaves, name="leaves")
    try:
        guard.shutdown(Context.with_timeout(30))
    finally:
        end.set()
    assert [record.getMessage() for record in caplog.records] == [
        (
            "exporter 'leaves' is shut down, and threads that began while it was built still run; they hold up the "
            "interpreter's exit: left-behind"
        )
    ]


@pytest.mark.parametrize("runner", ["thread", "inline"])
def test_a_thread_that_is_left_behind_is_not_asked_anything(caplog, runner):
    end, ran_on = threading.Event(), []

    class Acting(threading.Thread):
        built = False

        def act(self, *_):
            if self.built and threading.current_thread() is shutting_down:
                ran_on.append(shutting_down)

        def is_alive(self):
            self.act()
            return super().is_alive()

        def __hash__(self):
            self.act()
            return super().__hash__()

        @property
        def name(self):
            self.act()
            return "acting"

    class Leaves(FakeExporter):
        def __init__(self):
            super().__init__()
            self.thread = Acting(target=end.wait, args=(60,), daemon=False)
            self.thread.start()

    shutting_down = threading.current_thread()
    guard = GuardedExporter(factory=Leaves, name="leaves", runner=runner)
    Acting.built = True
    try:
        guard.shutdown(Context.with_timeout(30))
    finally:
        end.set()
    assert not ran_on
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["acting"]
