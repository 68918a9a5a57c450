"""What happens to a pipeline when the interpreter exits, in processes of their own."""

import os
import time
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.usefixtures("warm_python")

PRELUDE = r"""
import os, sys, threading, time
from exporter_core.config import PipelineConfig, ReaderSettings, ResourceSettings
from exporter_core.discovery import PluginPolicy
from exporter_core.exporter import ExporterConfig
from exporter_core.guard import GuardedExporter
from exporter_core.pipeline import Pipeline
from exporter_core.registry import ExporterRegistry
from exporter_core.testing import FakeExporter

on_export = None
parent = os.getpid()

def say(*words):
    line = " ".join(["parent" if os.getpid() == parent else "child", *words])
    os.write(1, f"{line}\n".encode())  # in one piece, whoever else writes

class Registry(ExporterRegistry):
    def load(self, name, config=None, **options):
        def export(context, metrics):
            if on_export is not None:
                on_export(context, metrics)
            say(name, "exported")
        return GuardedExporter(
            factory=lambda: FakeExporter(on_export=export, on_shutdown=lambda context: say(name, "shut down")),
            name=name, **options,
        )

def build(*names, **options):
    readers = tuple(ReaderSettings(n, name, ExporterConfig(), interval=3600) for n, name in enumerate(names))
    config = PipelineConfig(None, False, ResourceSettings(), readers, (), "trace_based", (), PluginPolicy(), Registry())
    return Pipeline(config, **options)
"""

OPTIONS = ("-W", "ignore::DeprecationWarning")  # from Python 3.12 on: a process with threads forks
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")


@pytest.fixture
def run(run_python: Callable[..., str]) -> Callable[[str], list[str]]:
    return lambda code: run_python(PRELUDE + code, options=OPTIONS).splitlines()


def test_what_was_recorded_is_delivered_when_the_interpreter_exits(run: Callable) -> None:
    out = run("""
pipeline = build("a", "b")
pipeline.meter_provider.get_meter("m").create_counter("c").add(1)
""")
    assert sorted(out) == ["parent a exported", "parent a shut down", "parent b exported", "parent b shut down"]


def test_it_is_delivered_though_only_an_instrument_was_kept(run: Callable) -> None:
    out = run("""
import gc
counter = build("a").meter_provider.get_meter("m").create_counter("c")
gc.collect()
counter.add(1)
""")
    assert out == ["parent a exported", "parent a shut down"]


def test_after_a_shutdown_the_exit_does_nothing_more(run: Callable) -> None:
    out = run("""
pipeline = build("a")
pipeline.shutdown()
say("end")
""")
    assert out == ["parent a shut down", "parent end"]


def test_a_hung_exporter_holds_the_exit_up_no_longer_than_the_shutdown_timeout(run: Callable) -> None:
    started = time.monotonic()
    out = run("""
def on_export(context, metrics):
    if "hung" in threading.current_thread().name:
        time.sleep(3600)

pipeline = build("hung", "good", shutdown_timeout=3)  # a quarter is for the release, on a busy machine too
pipeline.meter_provider.get_meter("m").create_counter("c").add(1)
""")
    assert time.monotonic() - started < 30
    assert sorted(out) == ["parent good exported", "parent good shut down", "parent hung shut down"]


def test_a_hung_callback_holds_the_exit_up_no_longer_than_the_shutdown_timeout(run: Callable) -> None:
    started = time.monotonic()
    out = run("""
pipeline = build("a", shutdown_timeout=3)  # as above
pipeline.meter_provider.get_meter("m").create_observable_gauge("g", [lambda options: time.sleep(3600)])
""")
    assert time.monotonic() - started < 30
    assert out == ["parent a shut down"]


@needs_fork
def test_a_forked_child_that_has_used_the_pipeline_delivers_at_its_own_exit(run: Callable) -> None:
    out = run("""
pipeline = build("a")
counter = pipeline.meter_provider.get_meter("m").create_counter("c")
counter.add(1)
if os.fork() == 0:
    counter.add(1)
    assert pipeline.flush().ok
    say("flushed")
    counter.add(1)
    sys.exit(0)
os.wait()
""")
    assert out == [
        "child a exported",
        "child flushed",
        "child a exported",
        "child a shut down",
        "parent a exported",
        "parent a shut down",
    ]


@needs_fork
def test_a_forked_child_that_has_not_used_the_pipeline_leaves_it_alone_at_its_exit(run: Callable) -> None:
    out = run("""
pipeline = build("a")
pipeline.meter_provider.get_meter("m").create_counter("c").add(1)
if os.fork() == 0:
    sys.exit(0)
assert os.wait()[1] == 0
""")
    assert out == ["parent a exported", "parent a shut down"]


@needs_fork
def test_a_forked_child_can_shut_the_pipeline_down_by_itself(run: Callable) -> None:
    out = run("""
pipeline = build("a")
counter = pipeline.meter_provider.get_meter("m").create_counter("c")
counter.add(1)
if os.fork() == 0:
    counter.add(1)
    assert pipeline.shutdown().ok
    sys.exit(0)
assert os.wait()[1] == 0
""")
    assert out == ["child a exported", "child a shut down", "parent a exported", "parent a shut down"]


SHUTTING_DOWN = """
entered, gate = threading.Event(), threading.Event()

def on_export(context, metrics):
    if os.getpid() == parent:
        entered.set()
        gate.wait(30)

pipeline = build("a")
pipeline.meter_provider.get_meter("m").create_counter("c").add(1)
shutdown = threading.Thread(target=pipeline.shutdown)
shutdown.start()
assert entered.wait(30)
"""


@needs_fork
def test_a_child_that_is_forked_during_the_shutdown_does_not_wait_for_it_at_its_exit(run: Callable) -> None:
    started = time.monotonic()
    out = run(
        SHUTTING_DOWN
        + """
if os.fork() == 0:
    sys.exit(0)
assert os.wait()[1] == 0
gate.set()
shutdown.join()
"""
    )
    assert time.monotonic() - started < 25
    assert out == ["parent a exported", "parent a shut down"]


@needs_fork
def test_a_child_that_is_forked_during_the_shutdown_does_not_wait_for_it_in_its_own(run: Callable) -> None:
    out = run(
        SHUTTING_DOWN
        + """
if os.fork() == 0:
    try:
        assert pipeline.shutdown(0.5) is pipeline.shutdown(0.5)
        say("has its report")
    finally:
        os._exit(0)
os.wait()
gate.set()
shutdown.join()
"""
    )
    assert out == ["child has its report", "parent a exported", "parent a shut down"]


@needs_fork
def test_a_child_that_is_forked_after_the_shutdown_has_the_report_of_it(run: Callable) -> None:
    out = run("""
pipeline = build("a")
report = pipeline.shutdown()
if os.fork() == 0:
    assert pipeline.shutdown(0) is report
    say("has the report")
    sys.exit(0)
os.wait()
""")
    assert out == ["parent a shut down", "child has the report"]


@needs_fork
def test_a_child_builds_its_exporter_at_exit_where_no_thread_can_be_started(run: Callable) -> None:
    out = run("""
pipeline = build("a")
counter = pipeline.meter_provider.get_meter("m").create_counter("c")
if os.fork() == 0:
    def refuse(*_, **__):
        raise RuntimeError("can't create new thread at interpreter shutdown")
    threading.Thread.start = refuse
    counter.add(1)
    sys.exit(0)
assert os.wait()[1] == 0
""")
    assert out == ["child a exported", "child a shut down", "parent a shut down"]


@needs_fork
def test_a_child_delivers_what_it_recorded_and_nothing_that_its_parent_did(run: Callable) -> None:
    out = run("""
def on_export(context, metrics):
    (resource,) = metrics.resource_metrics
    (point,) = resource.scope_metrics[0].metrics[0].data.data_points
    say(f"had {point.value}")

counter = build("a").meter_provider.get_meter("m").create_counter("c")
counter.add(100)
if os.fork() == 0:
    counter.add(1)
    sys.exit(0)
assert os.wait()[1] == 0
""")
    assert [line for line in out if "had" in line] == ["child had 1", "parent had 100"]


@needs_fork
def test_a_child_that_records_nothing_delivers_nothing(run: Callable) -> None:
    out = run("""
pipeline = build("a")
pipeline.meter_provider.get_meter("m").create_observable_gauge("g", [lambda options: say("callback") or []])
if os.fork() == 0:
    sys.exit(0)
assert os.wait()[1] == 0
say("waited")
""")
    assert out[0] == "parent waited"
