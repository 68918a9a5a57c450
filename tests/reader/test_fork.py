"""Forks, each in a process of its own: what a forked child does, and that no fork waits for ever."""

import os
from collections.abc import Callable

import pytest

pytestmark = [
    pytest.mark.usefixtures("warm_python"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork"),
]

PRELUDE = """
import os, sys, threading, time, traceback
from opentelemetry.sdk.metrics import MeterProvider
from exporter_core.guard import GuardedExporter
from exporter_core.reader import PeriodicReader
from exporter_core.testing import FakeExporter

LONG = 30.0
on_export = None
made = []

def factory():
    made.append(FakeExporter(on_export=on_export))
    return made[-1]

def build(name="fake", **options):
    options.setdefault("interval", 3600)
    return PeriodicReader(GuardedExporter(factory=factory, name=name), **options)

def until(condition):
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)

def in_child(function):
    "Fork, call the function in the child, which has to go well; how many seconds the fork took."
    started = time.monotonic()
    child = os.fork()
    took = time.monotonic() - started
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    return took
"""

OPTIONS = ("-W", "ignore::DeprecationWarning")  # from Python 3.12 on: a process with threads forks


@pytest.fixture
def forking(run_python: Callable[..., str]) -> Callable[[str], list[str]]:
    return lambda code: run_python(PRELUDE + code, options=OPTIONS).splitlines()


def test_in_a_child_the_reader_goes_on_by_itself_with_an_exporter_of_its_own(forking: Callable) -> None:
    out = forking("""
reader = build()
provider = MeterProvider([reader], shutdown_on_exit=False)
counter = provider.get_meter("m").create_counter("c")
counter.add(1)
provider.force_flush()

def child():
    assert reader.stats().collections == 0
    counter.add(1)
    assert provider.force_flush()
    print("child", len(made), made[0].calls, made[1].calls)
    provider.shutdown()
    print("child", made[0].calls, made[1].calls)

in_child(child)
provider.shutdown()
print("parent", len(made), made[0].calls)
""")
    assert out == [
        "child 2 ['export', 'force_flush'] ['export', 'force_flush']",
        "child ['export', 'force_flush'] ['export', 'force_flush', 'export', 'shutdown']",
        "parent 1 ['export', 'force_flush', 'export', 'shutdown']",
    ]


def test_in_a_child_the_schedule_goes_on(forking: Callable) -> None:
    out = forking("""
from exporter_core.reader import forking
forking.FORK_SECONDS = LONG  # as the thread may be in the middle of a collection
reader = build(interval=0.01)
provider = MeterProvider([reader], shutdown_on_exit=False)
counter = provider.get_meter("m").create_counter("c")
counter.add(1)

def child():
    counter.add(1)
    until(lambda: len(made) == 2 and made[1].exported)
    print("the child exports")

in_child(child)
provider.shutdown()
""")
    assert out == ["the child exports"]


def test_a_fork_in_mid_export_hangs_neither_the_child_nor_the_fork(forking: Callable) -> None:
    out = forking("""
entered, gate = threading.Event(), threading.Event()
parent = os.getpid()

def on_export(context, metrics):
    if os.getpid() == parent:
        entered.set()
        gate.wait(LONG)

reader = build()
provider = MeterProvider([reader], shutdown_on_exit=False)
counter = provider.get_meter("m").create_counter("c")
counter.add(1)
flush = threading.Thread(target=reader.force_flush, args=(LONG * 1000,))
flush.start()
assert entered.wait(LONG)

def child():
    counter.add(1)
    assert not reader.exporter.busy
    assert reader.force_flush(LONG * 1000)
    reader.shutdown(LONG * 1000)
    print("the child exports", made[1].calls)

in_child(child)
gate.set()
flush.join(LONG)
provider.shutdown()
print("parent", made[0].calls)
""")
    assert out == [
        "the child exports ['export', 'force_flush', 'export', 'shutdown']",
        "parent ['export', 'force_flush', 'export', 'shutdown']",
    ]


def test_a_fork_in_mid_collect_waits_for_it_so_that_the_child_can_collect(forking: Callable) -> None:
    out = forking("""
from exporter_core.reader import forking
forking.FORK_SECONDS = LONG
entered, gate = threading.Event(), threading.Event()
waited = []

def callback(options):
    entered.set()
    gate.wait(LONG)
    return []

readers = [build("a"), build("b")]
provider = MeterProvider(readers, shutdown_on_exit=False)
provider.get_meter("m").create_observable_gauge("g", [callback])
provider.get_meter("m").create_counter("c").add(1)
flush = threading.Thread(target=readers[0].force_flush, args=(LONG * 1000,))
flush.start()
assert entered.wait(LONG)
opener = threading.Timer(0.05, gate.set)
opener.start()

def child():
    for reader in readers:
        assert reader.force_flush(LONG * 1000)
    print("the child collects")

in_child(child)
flush.join(LONG)
opener.join(LONG)
provider.shutdown()
print("done")
""")
    assert out == ["the child collects", "done"]


def test_a_fork_waits_no_longer_than_its_bound_for_a_collect_that_hangs_and_the_child_says_so(
    forking: Callable,
) -> None:
    out = forking("""
from exporter_core.errors import ExporterForkedError
from exporter_core.reader import forking
forking.FORK_SECONDS = 0.05
entered, gate = threading.Event(), threading.Event()

def callback(options):
    entered.set()
    gate.wait(LONG)
    return []

readers, other = [build("a"), build("b")], build("other")
provider = MeterProvider(readers, shutdown_on_exit=False)
provider.get_meter("m").create_observable_gauge("g", [callback])
provider.get_meter("m").create_counter("c").add(1)
unconcerned = MeterProvider([other], shutdown_on_exit=False)
flush = threading.Thread(target=readers[0].force_flush, args=(LONG * 1000,))
flush.start()
assert entered.wait(LONG)

def child():
    started = time.monotonic()
    for reader in readers:
        try:
            reader.force_flush(LONG * 1000)
        except ExporterForkedError as error:
            print(error)
    assert other.force_flush(LONG * 1000)
    for reader in (*readers, other):
        try:
            reader.shutdown(LONG * 1000)
        except ExporterForkedError:
            print("shut down")
    assert time.monotonic() - started < LONG / 2

assert in_child(child) < LONG / 2
gate.set()
flush.join(LONG)
provider.shutdown()
unconcerned.shutdown()
""")
    text = "collect: the process forked while metrics were collected: the SDK cannot collect in this child"
    assert out == [f"reader 'a': {text}", f"reader 'b': {text}", "shut down", "shut down"]


def test_a_callback_may_fork(forking: Callable) -> None:
    out = forking(
        """
def callback(options):
    took = in_child(lambda: print("forked in a callback"))
    assert took < LONG / 2
    return []

reader = build()
provider = MeterProvider([reader], shutdown_on_exit=False)
provider.get_meter("m").create_observable_gauge("g", [callback])
assert reader.force_flush(LONG * 1000)
reader.shutdown()
print("done")
"""
    )
    assert out == ["forked in a callback", "forked in a callback", "done"]


def test_threads_may_fork_at_once_while_readers_collect(forking: Callable) -> None:
    out = forking("""
from exporter_core.reader import forking
forking.FORK_SECONDS = LONG  # a second is not enough for the collections of a busy machine
readers = [build(str(number), interval=0.001) for number in range(3)]
provider = MeterProvider(readers, shutdown_on_exit=False)
provider.get_meter("m").create_counter("c").add(1)
went_well = []

def fork():
    for _ in range(5):
        in_child(lambda: [reader.force_flush(LONG * 1000) for reader in readers])
    went_well.append(True)

threads = [threading.Thread(target=fork) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(2 * LONG)
provider.shutdown()
print(len(went_well))
""")
    assert out == ["2"]


def test_a_reader_outside_a_pipeline_begins_with_nothing_recorded(forking: Callable) -> None:
    out = forking("""
def values(exporter):
    return [point.value for batch in exporter.exported for resource in batch.resource_metrics
            for scope in resource.scope_metrics for metric in scope.metrics for point in metric.data.data_points]

reader = build()
provider = MeterProvider([reader], shutdown_on_exit=False)
counter = provider.get_meter("m").create_counter("c")
provider.get_meter("m").create_observable_gauge("g", [lambda options: []])
counter.add(3)

def child():
    counter.add(1)
    assert provider.force_flush()
    print("child", values(made[1]))

in_child(child)
provider.shutdown()
print("parent", values(made[0]))
""")
    assert out == ["child [1]", "parent [3]"]


def test_a_reader_that_was_shut_down_stays_so_in_a_child(forking: Callable) -> None:
    out = forking("""
from exporter_core.errors import ExporterShutdownError
reader = build()
provider = MeterProvider([reader], shutdown_on_exit=False)
provider.shutdown()

def child():
    try:
        reader.force_flush()
    except ExporterShutdownError as error:
        print(error)

in_child(child)
""")
    assert out == ["reader 'fake': force_flush: it has been shut down"]


def test_a_child_says_so_where_a_reader_that_is_not_ours_was_collecting(forking: Callable) -> None:
    out = forking("""
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from exporter_core.errors import ExporterForkedError
entered, gate = threading.Event(), threading.Event()

def callback(options):
    entered.set()
    gate.wait(LONG)
    return []

reader, other = build(), InMemoryMetricReader()
provider = MeterProvider([reader, other], shutdown_on_exit=False)
provider.get_meter("m").create_observable_gauge("g", [callback])
collecting = threading.Thread(target=other.collect)
collecting.start()
assert entered.wait(LONG)

def child():
    try:
        reader.force_flush(LONG * 1000)
    except ExporterForkedError as error:
        print(error)

in_child(child)
gate.set()
collecting.join(LONG)
provider.shutdown()
""")
    assert out == [
        "reader 'fake': collect: the process forked while metrics were collected: the SDK cannot collect in this child"
    ]
