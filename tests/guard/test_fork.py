"""Forks: the child rebuilds the exporter at first use and never touches the inherited one; the parent goes on.

Each test runs a program of its own, in which the parent's export is in flight and holds the exporter's lock.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("warm_python")

runners = pytest.mark.parametrize("runner", ["thread", "inline"])

PROGRAM = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, from Python 3.12
from opentelemetry.sdk.metrics.export import MetricsData
from exporter_core import Context, ExporterBusyError, ExporterForkedError, ExporterShutdownError
from exporter_core.guard import GuardedExporter
from exporter_core.testing import FakeExporter

RUNNER = sys.argv[1]
PARENT = os.getpid()
entered, go_on = threading.Event(), threading.Event()

class Locking(FakeExporter):
    built = 0

    def __init__(self):
        super().__init__(on_export=self.locked)
        self.lock = threading.Lock()
        self.pid = os.getpid()
        Locking.built += 1

    def locked(self, context, metrics):
        assert self.pid == os.getpid(), "an inherited exporter was called"
        if not self.lock.acquire(timeout=30):
            raise RuntimeError("the lock is held for ever")
        try:
            if os.getpid() == PARENT and not go_on.is_set():
                entered.set()
                go_on.wait(30)
            self.exported.append(metrics)
        finally:
            self.lock.release()

    def force_flush(self, context):
        assert self.pid == os.getpid(), "an inherited exporter was flushed"
        return super().force_flush(context)

    def shutdown(self, context):
        assert self.pid == os.getpid(), "an inherited exporter was shut down"
        return super().shutdown(context)

    def __del__(self):
        if self.pid != os.getpid():
            print("an inherited exporter was finalised", flush=True)

def context():
    return Context.with_timeout(30)

METRICS = MetricsData([])

def export_in_flight(guard):
    thread = threading.Thread(target=guard.export, args=(context(), METRICS))
    thread.start()
    assert entered.wait(30)
    return thread

def forked(in_child):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            in_child()
            sys.stdout.flush()
        except BaseException as error:
            print("child failed:", repr(error), flush=True)
        os._exit(0)
    os.waitpid(child, 0)

def outcome(function, *arguments):
    try:
        return function(*arguments)
    except BaseException as error:
        return type(error).__name__
"""


@runners
def test_the_child_rebuilds_the_exporter_and_the_parents_goes_on(run_python, runner):
    printed = run_python(
        PROGRAM
        + """
guard = GuardedExporter(factory=Locking, name="forked", runner=RUNNER)
flying = export_in_flight(guard)

def in_child():
    print(guard.state, guard.busy, Locking.built, guard.stats().exports_ok)
    guard.export(context(), METRICS)
    guard.export(context(), METRICS)
    print(guard.state, guard.busy, Locking.built, guard.stats().exports_ok)
    guard.force_flush(context())
    print(outcome(guard.shutdown, context()), outcome(guard.shutdown, context()), guard.state)

forked(in_child)
go_on.set()
flying.join()
guard.export(context(), METRICS)
print(guard.state, Locking.built, guard.stats().exports_ok)
guard.shutdown(context())
""",
        runner,
    )
    assert printed.splitlines() == [
        "forked False 1 0",
        "active False 2 2",
        "None ExporterShutdownError shut_down",
        "active 1 2",
    ]


@runners
def test_the_inherited_exporter_is_not_finalised_in_the_child(run_python, runner):
    printed = run_python(
        PROGRAM
        + """
import gc
guard = GuardedExporter(factory=Locking, name="forked", runner=RUNNER)
go_on.set()
guard.export(context(), METRICS)

def in_child():
    global guard
    guard.export(context(), METRICS)
    guard.shutdown(context())
    del guard
    gc.collect()
    print("child done")

forked(in_child)
guard.shutdown(context())
""",
        runner,
    )
    assert printed == "child done\n"


@runners
def test_a_child_that_exports_nothing_flushes_and_shuts_down_at_once(run_python, runner):
    printed = run_python(
        PROGRAM
        + """
guard = GuardedExporter(factory=Locking, name="forked", runner=RUNNER)
flying = export_in_flight(guard)

def in_child():
    print(outcome(guard.force_flush, Context.with_timeout(0)))
    print(outcome(guard.shutdown, Context.with_timeout(0)), guard.state, guard.busy)
    print(outcome(guard.shutdown, context()), outcome(guard.export, context(), METRICS), Locking.built)

forked(in_child)
go_on.set()
flying.join()
guard.shutdown(context())
""",
        runner,
    )
    assert printed.splitlines() == ["None", "None shut_down False", "ExporterShutdownError ExporterShutdownError 1"]


@runners
def test_a_bare_instance_cannot_be_rebuilt(run_python, runner):
    printed = run_python(
        PROGRAM
        + """
guard = GuardedExporter(Locking(), name="forked", runner=RUNNER)
flying = export_in_flight(guard)

def in_child():
    for _ in range(2):
        try:
            guard.export(context(), METRICS)
        except ExporterForkedError as error:
            print(error, error.operation)
    print(outcome(guard.export, Context.with_timeout(0), METRICS))
    print(guard.temporality("counter").name, outcome(guard.shutdown, context()))

forked(in_child)
go_on.set()
flying.join()
guard.export(context(), METRICS)
print(guard.stats().exports_ok)
guard.shutdown(context())
""",
        runner,
    )
    text = (
        "exporter 'forked': export: the process forked; an exporter given as an instance cannot be rebuilt: "
        "load it by name and config export"
    )
    assert printed.splitlines() == [text, text, "DeadlineExceededError", "CUMULATIVE None", "2"]


@runners
def test_what_was_shut_down_before_the_fork_stays_so(run_python, runner):
    printed = run_python(
        PROGRAM
        + """
go_on.set()
guard = GuardedExporter(factory=Locking, name="forked", runner=RUNNER)
guard.shutdown(context())

def in_child():
    print(guard.state, outcome(guard.export, context(), METRICS), outcome(guard.force_flush, context()))
    print(outcome(guard.shutdown, context()), Locking.built)

forked(in_child)
""",
        runner,
    )
    assert printed.splitlines() == ["shut_down ExporterShutdownError None", "ExporterShutdownError 1"]


def test_a_fork_during_shutdown_leaves_the_child_shut_down(run_python):
    printed = run_python(
        PROGRAM
        + """
guard = GuardedExporter(factory=Locking, name="forked", runner=RUNNER)
flying = export_in_flight(guard)
closing = threading.Thread(target=guard.shutdown, args=(context(),))
closing.start()
while guard.state != "shutting_down":
    time.sleep(0.001)

def in_child():
    print(guard.state, guard.busy, outcome(guard.export, context(), METRICS), outcome(guard.shutdown, context()))

forked(in_child)
go_on.set()
flying.join()
closing.join()
print(guard.state, guard.stats().exports_ok)
""",
        "thread",
    )
    assert printed.splitlines() == ["shut_down False ExporterShutdownError ExporterShutdownError", "shut_down 1"]


@runners
def test_a_grandchild_rebuilds_for_itself(run_python, runner):
    printed = run_python(
        PROGRAM
        + """
go_on.set()
guard = GuardedExporter(factory=Locking, name="forked", runner=RUNNER)

def grandchild():
    print("grandchild", guard.state, outcome(guard.export, context(), METRICS), guard.stats().exports_ok)

def unused():
    forked(grandchild)

def used():
    guard.export(context(), METRICS)
    forked(grandchild)
    guard.export(context(), METRICS)
    print("child", guard.stats().exports_ok)
    guard.shutdown(context())

forked(unused)
forked(used)
guard.shutdown(context())
""",
        runner,
    )
    assert printed.splitlines() == ["grandchild forked None 1", "grandchild forked None 1", "child 2"]


@runners
def test_a_factory_that_fails_in_the_child_is_a_forked_error_and_tried_again(run_python, runner):
    printed = run_python(
        PROGRAM
        + """
go_on.set()
attempts = []

def factory():
    attempts.append(os.getpid())
    if os.getpid() != PARENT and len(attempts) < 3:
        raise OSError("no route")
    return Locking()

guard = GuardedExporter(factory=factory, name="forked", runner=RUNNER)

def in_child():
    try:
        guard.export(context(), METRICS)
    except ExporterForkedError as error:
        print(error)
    print(outcome(guard.export, context(), METRICS), guard.state)

forked(in_child)
guard.shutdown(context())
""",
        runner,
    )
    error = "the exporter could not be rebuilt: exporter 'forked' cannot be built: OSError: no route"
    assert printed.splitlines() == [f"exporter 'forked': export: the process forked and {error}", "None active"]


def test_a_rebuild_that_hangs_keeps_nobody_longer_than_their_contexts(run_python):
    printed = run_python(
        PROGRAM
        + """
go_on.set()
building, built = threading.Event(), threading.Event()

def factory():
    if os.getpid() != PARENT:
        building.set()
        built.wait(30)
    return Locking()

guard = GuardedExporter(factory=factory, name="forked")

def in_child():
    answers = []
    first = threading.Thread(target=lambda: answers.append(outcome(guard.export, context(), METRICS)))
    first.start()
    building.wait(30)
    print(outcome(guard.export, Context.with_timeout(0.01), METRICS))
    print(outcome(guard.shutdown, Context.with_timeout(30)), guard.state)
    built.set()
    first.join()
    print(answers, guard.state)

forked(in_child)
guard.shutdown(context())
""",
        "thread",
    )
    assert printed.splitlines() == ["DeadlineExceededError", "None shut_down", "['ExporterShutdownError'] shut_down"]


def test_an_async_exporter_is_rebuilt_with_a_loop_of_its_own(run_python):
    printed = run_python(
        PROGRAM
        + """
import asyncio

class Async(FakeExporter):
    async def export(self, context, metrics):
        if os.getpid() == PARENT and not go_on.is_set():
            entered.set()
            await asyncio.to_thread(go_on.wait, 30)
        await asyncio.to_thread(self.exported.append, metrics)

    async def shutdown(self, context):
        print("shut down", "parent" if os.getpid() == PARENT else "child", len(self.exported), flush=True)

guard = GuardedExporter(factory=Async, name="forked")
flying = export_in_flight(guard)

def in_child():
    guard.export(context(), METRICS)
    guard.shutdown(context())

forked(in_child)
go_on.set()
flying.join()
guard.shutdown(context())
""",
        "thread",
    )
    assert printed.splitlines() == ["shut down child 1", "shut down parent 1"]


@runners
def test_the_childs_exit_is_not_held_up(run_python, runner):
    printed = run_python(
        PROGRAM
        + """
guard = GuardedExporter(factory=Locking, name="forked", runner=RUNNER)
flying = export_in_flight(guard)
sys.stdout.flush()
child = os.fork()
if child == 0:
    guard.export(context(), METRICS)
    print("child exports", guard.stats().exports_ok)
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
go_on.set()
flying.join()
guard.shutdown(context())
""",
        runner,
    )
    assert printed.splitlines() == ["child exports 1", "7"]


FORKS_INSIDE = """
from exporter_core.clock import MonotonicClock

queued = threading.Event()
A, B = MetricsData([]), MetricsData([])

class Telling(MonotonicClock):
    def wait(self, signal, timeout):
        queued.set()  # who waits has handed its call over
        super().wait(signal, timeout)

class Forking(FakeExporter):
    def work(self, metrics):
        if os.getpid() != PARENT:
            print("the child exports", flush=True)
            os._exit(1)
        if metrics is A:
            entered.set()
            assert queued.wait(30)
            if child := os.fork():
                print("the child ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        self.exported.append(metrics)

    def export(self, context, metrics):
        self.work(metrics)

class AsyncForking(Forking):
    async def export(self, context, metrics):
        self.work(metrics)

class ExecutorForking(Forking):
    async def export(self, context, metrics):
        await asyncio.to_thread(self.work, metrics)

def run(factory):
    guard = GuardedExporter(factory=factory, name="forks")
    first = threading.Thread(target=guard.export, args=(context(), A))
    first.start()
    assert entered.wait(30)
    second = threading.Thread(target=guard.export, args=(Context(clock=Telling()), B))
    second.start()
    first.join()
    second.join()
    guard.shutdown(context())
    print(guard.stats().exports_ok)
"""


@pytest.mark.parametrize("factory", ["Forking", "AsyncForking", "ExecutorForking"])
def test_a_call_that_forks_and_returns_in_the_child_too_makes_no_other_call_there(run_python, factory):
    printed = run_python(f"import asyncio\n{PROGRAM}{FORKS_INSIDE}\nrun({factory})", "thread")
    assert printed.splitlines() == ["the child ended with 0", "2"]
