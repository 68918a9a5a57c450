import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.metrics.export import ExponentialHistogram, Gauge

from exporter_core import hookimpl
from exporter_core.config import PipelineConfig, parse_config
from exporter_core.config.models import Aggregation, View, ViewSelector, ViewStream
from exporter_core.errors import ConfigError, ContractError, PluginLoadError, SetupError
from exporter_core.exporter import ExporterConfig
from exporter_core.guard import GuardState, verify
from exporter_core.guard.stats import count_points
from exporter_core.instruments import NO_CARDINALITY_LIMITS
from exporter_core.observing import Observation
from exporter_core.pipeline import Pipeline
from exporter_core.testing import FakeExporter

LONG = 30.0


UNKNOWN = Aggregation.model_construct(_fields_set={"sum"}, sum=[("no", 1)])  # an argument that the SDK does not have


def broken() -> object:
    raise OSError("no such host")


def install(site: Path, module: str, source: str, entry_points: str) -> None:
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    (site / f"{module}.py").write_text(source)


def test_a_file_is_built_and_named_in_its_errors(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        'file_format: "1.1"\nmeter_provider:\n  readers:\n    - periodic: {exporter: {none: {}}}\n', encoding="utf-8"
    )
    with Pipeline.from_file(file) as one:
        assert [exporter.name for exporter in one.exporters] == ["none"]
        assert one.config.source == str(file)
        assert repr(one) == "<Pipeline of 0:none>"
    file.write_text('file_format: "1.1"\nmeter_provider: {readers: [{periodic: {exporter: {nnone: {}}}}]}\n')
    with pytest.raises(ConfigError, match=r"pipeline\.yaml:2:\d+: .*did you mean 'none'"):
        Pipeline.from_file(file)


def test_a_reader_gets_what_the_config_says_of_it(registry: Callable) -> None:
    options = {
        "interval": 5000,
        "timeout": 3000,
        "cardinality_limits": {"default": 5, "counter": 2},
        "exporter": {"a": {}},
    }
    mapping = {
        "file_format": "1.1",
        "meter_provider": {"readers": [{"periodic": options}]},
        "exporter_core": {"exporters": {"a": {"runner": "inline"}}},
    }
    exporter = FakeExporter()
    with Pipeline.from_config(mapping, registry=registry(a=exporter)) as one:
        assert one.exporters[0].runner == "inline"
        assert repr(one.readers[0]) == "<PeriodicReader '0:a', every 5 s>"
        counter = one.meter_provider.get_meter("m").create_counter("c")
        for number in range(9):
            counter.add(1, {"number": number})
        limited = not one.config.warnings  # an SDK without limits
        assert limited is (not NO_CARDINALITY_LIMITS)
        assert one.flush().readers[0].points_handed_over == (3 if limited else 9)  # the third is for all the others


def test_the_resource_the_views_and_the_exemplar_filter_are_the_configs(registry: Callable, config: Callable) -> None:
    exporter = FakeExporter()
    view = {
        "selector": {"instrument_name": "h"},
        "stream": {"name": "renamed", "aggregation": {"base2_exponential_bucket_histogram": {}}},
    }
    mapping = config(
        "a",
        provider={"views": [view], "exemplar_filter": "always_on"},
        resource={"attributes": [{"name": "service.name", "value": "shop"}]},
    )
    with Pipeline.from_config(mapping, registry=registry(a=exporter)) as one:
        one.meter_provider.get_meter("m").create_histogram("h").record(1)
        one.meter_provider.get_meter("m").create_gauge("g").set(1)
        assert one.flush().ok
    (resource,) = exporter.exported[0].resource_metrics
    assert resource.resource.attributes["service.name"] == "shop"
    data = {metric.name: metric.data for metric in resource.scope_metrics[0].metrics}
    assert isinstance(data["renamed"], ExponentialHistogram)
    assert isinstance(data["g"], Gauge)
    assert data["renamed"].data_points[0].exemplars


def test_a_disabled_meter_records_nothing(registry: Callable, config: Callable) -> None:
    exporter = FakeExporter()
    meters = {"default_config": {"enabled": False}, "meters": [{"name": "shop.*", "config": {"enabled": True}}]}
    mapping = config("fake", provider={"meter_configurator/development": meters})
    with Pipeline.from_config(mapping, registry=registry(fake=exporter)) as pipeline:
        for name in ("shop.cart", "noisy.library"):
            pipeline.meter_provider.get_meter(name, "1.0").create_counter(name).add(1)
        assert isinstance(pipeline.meter_provider.get_meter("noisy.library"), NoOpMeter)
        report = pipeline.flush()
    assert (report.ok, report.readers[0].points_accepted) == (True, 1)
    (scope,) = exporter.exported[0].resource_metrics[0].scope_metrics
    assert (scope.scope.name, scope.scope.version) == ("shop.cart", "1.0")


def test_a_batch_size_reaches_the_exporter(registry: Callable, config: Callable) -> None:
    exporter = FakeExporter()
    mapping = config("fake")
    mapping["meter_provider"]["readers"][0]["periodic"]["max_export_batch_size/development"] = 2
    with Pipeline.from_config(mapping, registry=registry(fake=exporter)) as pipeline:
        counter = pipeline.meter_provider.get_meter("m").create_counter("c")
        for number in range(3):
            counter.add(1, {"n": number})
        report = pipeline.flush()
    assert report.readers[0].points_accepted == 3
    assert [count_points(batch) for batch in exporter.exported[:2]] == [2, 1]


def test_construction_that_fails_half_way_leaves_nothing_behind(registry: Callable, config: Callable) -> None:
    before = set(threading.enumerate())
    exporter = FakeExporter()
    made = registry(good=exporter, broken=broken)
    with pytest.raises(PluginLoadError, match="exporter 'broken' cannot be built: OSError: no such host") as caught:
        Pipeline.from_config(config("good", "broken"), registry=made)
    assert "\n" not in str(caught.value)
    assert exporter.calls == ["shutdown"]
    assert made.made[0].state is GuardState.SHUT_DOWN
    for thread in set(threading.enumerate()) - before:
        thread.join(LONG)
        assert not thread.is_alive(), thread.name


def test_what_is_shut_down_in_vain_and_fails_is_reported_beside_the_error(registry: Callable, config: Callable) -> None:
    def shutdown(context: object) -> None:
        raise OSError("the connection broke")

    reported: list[Exception] = []
    made = registry(bad=FakeExporter(on_shutdown=shutdown), broken=broken)
    with pytest.raises(PluginLoadError, match="no such host"):
        Pipeline.from_config(config("bad", "broken"), registry=made, error_handler=reported.append)
    (error,) = reported
    assert "the connection broke" in str(error)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            {"views": (View(selector=ViewSelector(instrument_name="h*"), stream=ViewStream(name="renamed")),)},
            "the OpenTelemetry SDK refuses the configuration: ",
        ),
        (
            {"views": (View(selector=ViewSelector(instrument_name="h"), stream=ViewStream(aggregation=UNKNOWN)),)},
            "the OpenTelemetry SDK refuses the configuration: TypeError: ",
        ),
    ],
)
def test_what_the_sdk_refuses_is_one_line_and_leaves_nothing_behind(
    part: dict[str, Any], message: str, registry: Callable, config: Callable
) -> None:
    exporter = FakeExporter()
    described = dataclasses.replace(parse_config(config("a"), registry=registry(a=exporter)), **part)
    with pytest.raises(SetupError, match=message) as caught:
        Pipeline(described, registry=registry(a=exporter))
    assert "\n" not in str(caught.value)
    assert exporter.calls == ["shutdown"]


def test_a_reader_that_cannot_be_made_is_one_line_and_leaves_nothing_behind(
    registry: Callable, config: Callable
) -> None:
    exporter = FakeExporter()
    described: PipelineConfig = parse_config(config("a"), registry=registry(a=exporter))
    reader = dataclasses.replace(described.readers[0], interval=0.0)
    with pytest.raises(SetupError, match=r"^reader '0:a' cannot be made: ValueError: interval: expected at least"):
        Pipeline(dataclasses.replace(described, readers=(reader,)), registry=registry(a=exporter))
    assert exporter.calls == ["shutdown"]


def test_a_disabled_pipeline_does_nothing(
    caplog: pytest.LogCaptureFixture, registry: Callable, config: Callable
) -> None:
    def callback(options: object) -> list[object]:
        raise AssertionError("nothing is collected")

    with Pipeline.from_config(config("a", disabled=True), registry=registry(a=broken)) as one:
        meter = one.meter_provider.get_meter("m")
        meter.create_counter("c").add(1)
        meter.create_observable_gauge("g", [callback])
        report = one.flush()
        assert (report.ok, report.readers, report.seconds) == (True, (), 0.0)
        assert (one.readers, one.exporters, one.stats()) == ((), (), ())
        assert repr(one) == "<Pipeline of no readers>"
    assert one.shutdown().ok
    (line,) = caplog.messages
    assert "nothing is collected and nothing exported" in line


def test_the_configs_warnings_are_logged_once(
    registry: Callable, config: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    mapping = config("a", tracer_provider={})
    with Pipeline.from_config(mapping, registry=registry(a=FakeExporter())) as one:
        one.flush()
    (line,) = caplog.messages
    assert "tracer_provider" in line
    assert caplog.records[0].name == "exporter_core.pipeline"


class Watch:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    @hookimpl
    def on_operation(self, observation: Observation) -> None:
        self.seen.append(observation)


def test_observers_hear_of_everything_up_to_the_last_shutdown(registry: Callable, config: Callable) -> None:
    watch = Watch()
    made = registry(observers={"watch": watch}, a=FakeExporter())
    described = dataclasses.replace(parse_config(config("a"), registry=made), observers=("watch",))
    with Pipeline(described, registry=made) as one:
        one.meter_provider.get_meter("m").create_counter("c").add(1)
        one.flush()
    assert [seen.operation for seen in watch.seen] == ["export", "force_flush", "export", "shutdown"]
    assert {seen.exporter for seen in watch.seen} == {"a"}


def test_an_observer_whose_hooks_do_not_fit_is_one_line(registry: Callable, config: Callable) -> None:
    class Wrong:
        @hookimpl
        def on_opration(self, observation: Observation) -> None: ...

    exporter = FakeExporter()
    made = registry(observers={"wrong": Wrong()}, a=exporter)
    described = dataclasses.replace(parse_config(config("a"), registry=made), observers=("wrong",))
    with pytest.raises(ContractError, match="on_opration") as caught:
        Pipeline(described, registry=made)
    assert "\n" not in str(caught.value)


def test_an_installed_observer_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "from exporter_core import hookimpl\n"
        "SEEN = []\n"
        "class Watch:\n"
        "    @hookimpl\n"
        "    def on_operation(self, observation):\n"
        "        SEEN.append(observation.operation)\n"
    )
    entry = "[exporter_core.observers.v1]\nwatch = watching_for_a_test:Watch\n"
    install(tmp_path, "watching_for_a_test", source, entry)
    monkeypatch.syspath_prepend(str(tmp_path))
    readers = [{"periodic": {"exporter": {"none": {}}}}]
    mapping = {
        "file_format": "1.1",
        "meter_provider": {"readers": readers},
        "exporter_core": {"observers": ["watch"]},
    }
    with Pipeline.from_config(mapping) as one:
        one.flush()
    import watching_for_a_test

    assert watching_for_a_test.SEEN == ["force_flush", "shutdown"]


ONCE = """\
from pathlib import Path
from exporter_core import Exporter, ExporterConfig
from pydantic import field_validator

def log(line):
    with Path(__file__).with_name("log").open("a") as file:
        file.write(f"{line}\\n")

log("imported")

class Options(ExporterConfig):
    path: str = "x"

    @field_validator("path")
    @classmethod
    def read(cls, value):
        log("validated")
        return value

class Once(Exporter[Options]):
    def __init__(self, config):
        log("built")
        super().__init__(config)

    def export(self, context, metrics):
        pass
"""


def test_loading_a_file_and_building_its_pipeline_imports_a_plugin_once_and_validates_its_options_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "only_once_for_a_test"
    install(tmp_path, name, ONCE, f"[exporter_core.exporters.v1]\nonce = {name}:Once\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    verified: list[object] = []
    monkeypatch.setattr("exporter_core.registry.verify", lambda cls: (verified.append(cls), verify(cls))[1])
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        'file_format: "1.1"\nmeter_provider: {readers: [{periodic: {exporter: {once: {path: y}}}}]}\n', encoding="utf-8"
    )
    with Pipeline.from_file(file) as one:
        assert one.config.readers[0].config.path == "y"
    assert (tmp_path / "log").read_text().split() == ["imported", "validated", "built"]
    assert len(verified) == 1


def test_an_exporter_of_the_sdk_is_built_from_a_file(tmp_path: Path) -> None:
    """Its model of options is made from its constructor, by the registry: it has to be the same one throughout."""
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        'file_format: "1.1"\nmeter_provider: {readers: [{periodic: {exporter: {"opentelemetry-sdk:console": }}}]}\n',
        encoding="utf-8",
    )
    with Pipeline.from_file(file) as one:
        one.meter_provider.get_meter("m").create_counter("orders").add(1)
        assert one.flush().readers[0].points_accepted == 1


def test_an_exporter_gets_the_options_that_the_config_has_for_it(registry: Callable, config: Callable) -> None:
    """The registry gets the validated options, so that they are not validated twice."""
    made = registry(a=FakeExporter())
    seen: list[object] = []
    load = made.load
    made.load = lambda name, options=None, **more: (seen.append(options), load(name, options, **more))[1]
    with Pipeline.from_config(config("a"), registry=made):
        pass
    assert seen == [ExporterConfig()]
