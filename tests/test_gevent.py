"""Beside gevent, which puts greenlets in the place of threads: before the package is imported, or later."""

from collections.abc import Callable

import pytest

PATCH = """
from gevent import monkey
monkey.patch_all()
"""
FIRST = PATCH + "from exporter_core import Pipeline\n"
LATER = "from exporter_core import Pipeline\n" + PATCH

PRELUDE = """
import gevent, os, socket, sys, threading, time

backend = socket.create_server(("127.0.0.1", 0))  # takes connections, and never answers
endpoint = f"http://127.0.0.1:{backend.getsockname()[1]}/v1/metrics"

def build(exporter, **options):
    reader = {"periodic": {"interval": 3600000, "timeout": 500, "exporter": exporter}}
    return Pipeline.from_config({"file_format": "1.1", "meter_provider": {"readers": [reader]}}, **options)

beats, stopped = [], []

def beat():
    while not stopped:
        gevent.sleep(0.01)
        beats.append(time.monotonic())

heart = gevent.spawn(beat)
"""


@pytest.fixture(params=[FIRST, pytest.param(LATER, marks=pytest.mark.nightly)], ids=["patched first", "patched later"])
def run(run_python: Callable[..., str], request: pytest.FixtureRequest) -> Callable[[str], list[str]]:
    return lambda code: run_python(request.param + PRELUDE + code).splitlines()


def test_other_greenlets_go_on_while_one_flushes_to_a_hung_backend(run):
    # A wait that is not a greenlet's would stop the heart for the whole second.
    assert (
        run("""
pipeline = build({"otlp_http": {"endpoint": endpoint}}, shutdown_timeout=1)
pipeline.meter_provider.get_meter("m").create_counter("c").add(1)

def flush():
    before = len(beats)
    report = pipeline.flush(timeout=1)
    print(report.ok, len(beats) - before >= 5)

flush()
gevent.spawn(flush).join()
before = len(beats)
print(pipeline.shutdown().ok, len(beats) - before >= 3)
stopped.append(True)
""")
        == ["False True"] * 3
    )


def test_other_greenlets_keep_a_heartbeat_of_100_ms_while_one_flushes_to_a_hung_backend(run):
    # A machine that is busy keeps a native thread waiting, too: what it waits is allowed beside the 100 ms, and one of
    # ten flushes has to do. A wait that is not a greenlet's would stop the heart for the whole second in each of them.
    assert run("""
from gevent.monkey import get_original
pipeline = build({"otlp_http": {"endpoint": endpoint}}, shutdown_timeout=1)
pipeline.meter_provider.get_meter("m").create_counter("c").add(1)
native = []

def beat_natively(sleep=get_original("time", "sleep")):
    while not stopped:
        sleep(0.01)
        native.append(time.monotonic())

get_original("_thread", "start_new_thread")(beat_natively, ())

def longest_pause(times, began, ended):
    within = [began, *(time for time in times if began < time < ended), ended]
    return max(after - before for before, after in zip(within, within[1:]))

def excess():
    began = time.monotonic()
    assert not pipeline.flush(timeout=1).ok
    ended = time.monotonic()
    return longest_pause(beats, began, ended) - longest_pause(native, began, ended)

print(any(excess() <= 0.1 for _ in range(10)))
stopped.append(True)
pipeline.shutdown(0)
""") == ["True"]


def test_an_exporter_waits_for_its_backend_without_an_event_loop_on_its_thread(run):
    assert run("""
import gc
from gevent.hub import Hub
pipeline = build({"otlp_http": {"endpoint": endpoint.replace("127.0.0.1", "localhost")}}, shutdown_timeout=1)
pipeline.meter_provider.get_meter("m").create_counter("c").add(1)
pipeline.flush(timeout=0.5)
backend.settimeout(10)
backend.accept()  # it did reach the backend
print([hub for hub in gc.get_objects() if isinstance(hub, Hub) and hub and hub is not gevent.get_hub()])
stopped.append(True)
pipeline.shutdown(0)
""") == ["[]"]


def test_a_deadline_holds_beside_a_greenlet_that_lets_no_other_run(run):
    assert run("""
ended = []
pipeline = build({"otlp_http": {"endpoint": endpoint}}, error_handler=lambda error: ended.append(time.monotonic()))
pipeline.meter_provider.get_meter("m").create_counter("c").add(1)
reader = pipeline.readers[0]
gevent.sleep(0.05)
began, before = time.monotonic(), len(beats)
reader._schedule._start = began - 3600  # the next tick is due
reader._thread.wake()
while not ended and time.monotonic() < began + 20:
    pass  # no other greenlet runs
print(len(ended), len(beats) - before)
stopped.append(True)
pipeline.shutdown(0)
""") == ["1 0"]


def test_what_greenlets_record_while_it_is_collected_is_delivered_once(run, tmp_path):
    assert (
        run("""
import json
pipeline = build({"otlp_file/development": {}})
counter = pipeline.meter_provider.get_meter("m").create_counter("c")

def record():
    for _ in range(200):
        counter.add(1)
        gevent.sleep(0)

greenlets = [gevent.spawn(record) for _ in range(10)]
while not all(greenlets):
    pipeline.flush()
gevent.joinall(greenlets)
print()
pipeline.shutdown()
stopped.append(True)
""")[-1].count('"asInt":"2000"')
        == 1
    )


def test_a_forked_child_delivers_what_it_records(run, tmp_path):
    out = run("""
pipeline = build({"otlp_file/development": {}})
counter = pipeline.meter_provider.get_meter("m").create_counter("c")
counter.add(1)
if os.fork() == 0:
    counter.add(5)
    sys.exit()
os.wait()
stopped.append(True)
""")
    assert sorted(line.split('"asInt":"')[1][0] for line in out) == ["1", "5"]
