"""The ``service.instance.id`` of each process: its own, or the one that it is given."""

import json
import os
from collections.abc import Callable
from uuid import UUID

import pytest

from exporter_core.testing import FakeExporter

pytestmark = pytest.mark.usefixtures("warm_python")

KEY = "service.instance.id"
GIVEN = {"resource": {"attributes": [{"name": KEY, "value": "the-one"}]}}

FORKING = """
import os, sys
from exporter_core import Pipeline

attributes = [{"name": "service.instance.id", "value": sys.argv[1]}] if sys.argv[1:] else []
pipeline = Pipeline.from_config({
    "file_format": "1.1",
    "resource": {"attributes": [{"name": "service.name", "value": "shop"}, *attributes]},
    "meter_provider": {"readers": [{"periodic": {"interval": 3600000, "exporter": {"otlp_file/development": {}}}}]},
})
counter = pipeline.meter_provider.get_meter("m").create_counter("c")

def deliver():
    counter.add(1)
    pipeline.flush()

for _ in range(2):
    sys.stdout.flush()
    if os.fork() == 0:
        deliver()
        os._exit(0)
    os.wait()
deliver()
deliver()
"""


def instance_of(exporter: FakeExporter) -> object:
    (resource,) = exporter.exported[-1].resource_metrics
    return resource.resource.attributes[KEY]


def test_each_pipeline_has_a_random_one_that_all_its_readers_give(pipeline: Callable) -> None:
    exporters = [FakeExporter() for _ in range(3)]
    first = pipeline(a=exporters[0], b=exporters[1])
    second = pipeline(c=exporters[2])
    for one in (first, second):
        one.meter_provider.get_meter("m").create_counter("c").add(1)
        assert one.flush().ok
    a, b, c = (instance_of(exporter) for exporter in exporters)
    assert a == b != c
    assert UUID(str(a)).version == 4


def test_the_one_of_the_file_is_kept(pipeline: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"{KEY}=another")
    exporter = FakeExporter()
    one = pipeline(a=exporter, parts=GIVEN)
    one.meter_provider.get_meter("m").create_counter("c").add(1)
    assert one.flush().ok
    assert instance_of(exporter) == "the-one"


def test_the_one_of_the_environment_is_kept_and_nothing_else_of_it(
    pipeline: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"{KEY}=worker-7,team=blue")
    exporter = FakeExporter()
    one = pipeline(a=exporter)
    one.meter_provider.get_meter("m").create_counter("c").add(1)
    assert one.flush().ok
    assert instance_of(exporter) == "worker-7"
    (resource,) = exporter.exported[-1].resource_metrics
    assert "team" not in resource.resource.attributes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.parametrize("given", ["", "the-one"])
def test_a_forked_child_has_one_of_its_own_unless_it_is_given(given: str, run_python: Callable) -> None:

    out = run_python(FORKING, *([given] if given else []), options=("-W", "ignore::DeprecationWarning"))
    found = []
    for line in out.splitlines():
        (resource,) = json.loads(line)["resourceMetrics"]
        attributes = {one["key"]: one["value"]["stringValue"] for one in resource["resource"]["attributes"]}
        assert attributes["service.name"] == "shop"
        found.append(attributes[KEY])
    one, other, parent, *again = found
    assert set(again) == {parent}
    assert len({one, other, parent}) == (1 if given else 3)
    assert not given or parent == given
