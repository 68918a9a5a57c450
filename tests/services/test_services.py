"""What a service records under a real server is delivered, or reported; see ``make services`` for all of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import rig

from exporter_core.conformance.sinks import OtlpHttpSink

PAGE = (Path(__file__).parents[2] / "docs" / "in-your-service.md").read_text(encoding="utf-8")
ONE_OF_EACH_KIND = (
    "gunicorn sync --preload",
    "gunicorn gevent --preload",
    "uvicorn --workers",
    "uwsgi",
    "process-fork",
)
OTHERS = (
    "celery",
    "gunicorn sync",
    "gunicorn sync --preload --max-requests",
    "gunicorn gthread --preload --max-requests",
    "gunicorn gevent --preload --max-requests",
    "gunicorn gthread --preload",
    "gunicorn gevent",
    "process-forkserver",
    "pool-fork",
    "thread",
    "fork",
    "daemon",
)


@pytest.mark.parametrize(
    "service", [*ONE_OF_EACH_KIND, *(pytest.param(one, marks=pytest.mark.nightly) for one in OTHERS)]
)
def test_what_a_service_records_reaches_a_healthy_backend_once(service, tmp_path):
    with OtlpHttpSink() as sink:
        setup = rig.Setup(tmp_path, "otlp_http", {"endpoint": sink.endpoint, "temporality_preference": "delta"})
        outcome = rig.run(service, setup)
        delivered = [point.attributes["number"] for point in sink.points()]
    assert outcome.recorded, outcome.log
    assert sorted(delivered) == sorted(outcome.recorded), outcome.log


@pytest.mark.nightly
@pytest.mark.parametrize("service", ["gunicorn sync --preload", "gunicorn gevent --preload", "process-fork"])
@pytest.mark.parametrize("fault", ["refuse", "hang", "status:400"])
def test_what_a_backend_does_not_take_is_reported_with_its_count(service, fault, tmp_path):
    with OtlpHttpSink() as sink:
        sink.script(then=fault)
        setup = rig.Setup(tmp_path, "otlp_http", {"endpoint": sink.endpoint, "temporality_preference": "delta"})
        outcome = rig.run(service, setup)
        outcome.delivered = [point.attributes["number"] for point in sink.points()]
    assert outcome.holds, outcome.log


@pytest.mark.nightly
@pytest.mark.parametrize("service", ["gunicorn sync", "gunicorn gthread --preload", "gunicorn gevent", "uwsgi"])
def test_a_hung_backend_slows_no_request_and_no_end_of_a_worker(service, tmp_path):
    with OtlpHttpSink() as sink:
        sink.script(then="hang")
        options = {"endpoint": sink.endpoint, "temporality_preference": "delta", "timeout": 0}
        # A request that waits for the backend waits for the time-out of an export, which is longer than all of the run.
        setup = rig.Setup(tmp_path, "otlp_http", options, interval=200, timeout=600_000)
        outcome = rig.run(service, setup)
    assert outcome.holds, outcome.log
    assert len(outcome.recorded) == rig.REQUESTS
    assert outcome.slowest_request < rig.PATIENCE
    assert outcome.exit_seconds < rig.GRACE  # the pipeline's shutdown time-out is a quarter of it


@pytest.mark.nightly
def test_three_workers_of_one_file_have_series_of_their_own(tmp_path):
    with OtlpHttpSink() as sink:
        outcome = rig.run("gunicorn sync -w 3", rig.Setup(tmp_path, "otlp_http", {"endpoint": sink.endpoint}))
        points = sink.points()
    instance_of = {str(point.attributes["number"]): point.resource["service.instance.id"] for point in points}
    lines = (tmp_path / "records").read_text().splitlines()
    worker_of = dict(line.split() for line in lines)
    assert set(instance_of) == set(worker_of), outcome.log
    of_workers = {(worker_of[number], instance) for number, instance in instance_of.items()}
    assert len(of_workers) == len(set(worker_of.values())) == len(set(instance_of.values())), of_workers


@pytest.mark.nightly
def test_numbered_workers_keep_their_instance_ids(tmp_path):
    (tmp_path / "numbered.py").write_text(re.search(r"```python\n(# numbered.py.*?)```", PAGE, re.DOTALL)[1])
    assert_ids_of_workers("gunicorn numbered", tmp_path, {f"{os.uname().nodename}-{number}" for number in range(3)})


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("row", "service", "ids"), [("uWSGI with", "uwsgi --lazy-apps", {"1", "2"}), ("Celery", "celery", {"0", "1"})]
)
def test_a_line_of_the_page_numbers_workers(row, service, ids, tmp_path):
    (line,) = re.findall(rf"^\| {row}[^|]*\| `(os\.environ[^`]+)`", PAGE, re.MULTILINE)
    module = re.search(r"str\((\w+)\.", line)[1]
    assert_ids_of_workers(service, tmp_path, ids, first=f"import os, {module}; {line}")


def assert_ids_of_workers(service, folder, ids, first=""):
    """Run the service twice; each worker has an id of these to itself."""
    for number in range(2):
        with OtlpHttpSink() as sink:
            path = folder / str(number)
            path.mkdir()
            for file in folder.glob("*.py"):
                (path / file.name).write_bytes(file.read_bytes())
            options = {"endpoint": sink.endpoint}
            outcome = rig.run(service, rig.Setup(path, "otlp_http", options, instance="${SERVICE_WORKER}", first=first))
            instance_of = {
                str(point.attributes["number"]): point.resource["service.instance.id"] for point in sink.points()
            }
        worker_of = dict(line.split() for line in (path / "records").read_text().splitlines())
        assert set(instance_of) == set(worker_of), outcome.log
        assert set(instance_of.values()) <= ids, outcome.log
        pairs = {(worker_of[number], instance) for number, instance in instance_of.items()}
        assert len(pairs) == len(set(worker_of.values())) == len(set(instance_of.values())), pairs


@pytest.mark.nightly
def test_a_child_stores_what_it_records_in_sqlite_and_nothing_of_its_parents(tmp_path):
    setup = rig.Setup(tmp_path, "sqlite", {"path": str(tmp_path / "metrics.db"), "temporality_preference": "delta"})
    outcome = rig.run("gunicorn sync --preload", setup)
    assert sorted(rig.points_in_sqlite(tmp_path / "metrics.db")) == sorted(outcome.recorded), outcome.log


@pytest.mark.nightly
@pytest.mark.parametrize("service", ["uwsgi", "uwsgi --enable-threads", "gunicorn sync --preload"])
@pytest.mark.parametrize("interval", [60_000, 200])
def test_a_pipeline_beside_another_provider_delivers_in_workers_too(service, interval, tmp_path):
    options = {"temporality_preference": "delta"}
    with OtlpHttpSink() as sink:
        options["endpoint"] = sink.endpoint
        outcome = rig.run(service, rig.Setup(tmp_path, "otlp_http", options, interval=interval, foreign=True))
        delivered = [point.attributes["number"] for point in sink.points()]
    assert outcome.recorded, outcome.log
    assert sorted(delivered) == sorted(outcome.recorded), outcome.log
    assert ("will share the service.instance.id" in outcome.log) is service.startswith("uwsgi"), outcome.log
