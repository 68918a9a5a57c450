"""Pipelines that serve a whole program: `Pipeline.install` and `configure`."""

import importlib
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.metrics import NoOpMeterProvider, _internal as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.util._once import Once

from exporter_core import configure
from exporter_core.errors import ConfigError, SetupError
from exporter_core.pipeline import Pipeline
from exporter_core.testing import FakeExporter

FILE = """file_format: "1.1"
meter_provider:
  readers:
    - periodic: {exporter: {console: {format: json}}}
"""


@pytest.fixture(autouse=True)
def no_global_provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A program that has set nothing yet."""
    for name in [name for name in os.environ if name.startswith(("OTEL_", "EXPORTER_CORE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(api, "_METER_PROVIDER", None)
    monkeypatch.setattr(api, "_METER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(api, "_PROXY_METER_PROVIDER", api._ProxyMeterProvider())
    module = importlib.import_module("exporter_core.pipeline.configuring")
    monkeypatch.setattr(module, "_configured", module._Configured())
    yield
    if (pipeline := module._configured.pipeline) is not None:
        pipeline.shutdown()


@pytest.fixture
def made(registry: Callable, config: Callable) -> Iterator[Callable[..., tuple[Pipeline, FakeExporter]]]:
    pipelines: list[Pipeline] = []

    def make(**more: Any) -> tuple[Pipeline, FakeExporter]:
        exporter = FakeExporter()
        pipelines.append(Pipeline.from_config(config("fake", **more), registry=registry(fake=exporter)))
        return pipelines[-1], exporter

    yield make
    for pipeline in pipelines:
        pipeline.shutdown()


def record() -> None:
    metrics.get_meter("shop").create_counter("orders").add(1)


def values(exporter: FakeExporter) -> list[int | float]:
    return [
        point.value
        for batch in exporter.exported
        for scope in batch.resource_metrics[0].scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


# --- install ----------------------------------------------------------------------------------------------------------


def test_the_pipelines_provider_becomes_the_global_one(made: Callable) -> None:
    early = metrics.get_meter("early").create_counter("early")
    pipeline, exporter = made()
    pipeline.install()
    pipeline.install()
    assert metrics.get_meter_provider() is pipeline.meter_provider
    early.add(2)
    record()
    assert pipeline.flush().ok
    assert sorted(values(exporter)) == [1, 2]


def test_the_readers_are_added_to_a_provider_that_exists_and_the_pipeline_flushes_them_at_the_end(
    made: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = InMemoryMetricReader()
    provider = MeterProvider([theirs], shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    record()
    pipeline, exporter = made()
    pipeline.install()
    assert pipeline.meter_provider is provider
    record()
    assert pipeline.flush().readers[0].points_accepted == 1
    provider.shutdown()
    record()
    assert not exporter.is_shut_down
    pipeline._end()  # what happens at exit
    assert exporter.is_shut_down
    assert values(exporter)[0] == 1  # what was recorded before the reader came is not its to deliver
    assert [line for line in caplog.messages if "verriding" in line] == []


def test_what_a_provider_that_exists_cannot_take_is_refused_with_line_and_key(tmp_path: Path) -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    file = tmp_path / "otel.yaml"
    file.write_text(
        FILE
        + "  exemplar_filter: always_on\n  views: [{selector: {unit: s}, stream: {}}]\n"
        + "  meter_configurator/development: {default_config: {enabled: false}}\n"
        + "resource: {attributes_list: a=b}\n"
    )
    with pytest.raises(ConfigError) as caught:
        configure(file)
    end = (
        "cannot apply to the MeterProvider that is set already: remove it, or set exporter-core up before that provider"
    )
    assert str(caught.value).splitlines() == [
        f"{file}:{place} {end}"
        for place in (
            "8:1: resource",
            "6:3: meter_provider.views",
            "5:3: meter_provider.exemplar_filter",
            "7:3: meter_provider.meter_configurator/development",
        )
    ]
    assert metrics.get_meter_provider() is provider


def test_a_provider_that_records_nothing_is_refused(made: Callable) -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    provider.shutdown()
    metrics.set_meter_provider(provider)
    pipeline, _ = made()
    with pytest.raises(SetupError, match="gives meters that record nothing: it was shut down, or disables them"):
        pipeline.install()


def test_a_provider_that_is_not_the_sdks_is_refused(made: Callable) -> None:
    metrics.set_meter_provider(NoOpMeterProvider())
    pipeline, _ = made()
    with pytest.raises(
        SetupError, match=r"the global MeterProvider has the class opentelemetry\.metrics.*NoOpMeterProvider"
    ):
        pipeline.install()


def test_a_pipeline_that_was_shut_down_cannot_be_installed(made: Callable) -> None:
    pipeline, _ = made()
    pipeline.shutdown()
    with pytest.raises(SetupError, match="the pipeline has been shut down; make another one"):
        pipeline.install()


@pytest.mark.parametrize("variable", [True, False])
def test_a_disabled_pipeline_installs_nothing(
    made: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: bool
) -> None:
    if variable:
        monkeypatch.setenv("OTEL_SDK_DISABLED", " True ")
    pipeline, _ = made(**({} if variable else {"disabled": True}))
    pipeline.install()
    assert metrics.get_meter_provider() is not pipeline.meter_provider
    (line,) = caplog.messages
    assert line == (
        "OTEL_SDK_DISABLED is true: nothing is measured and nothing exported"
        if variable
        else "disabled: nothing is collected and nothing exported"
    )


def test_a_forked_child_of_a_program_with_another_provider_delivers_what_it_records(tmp_path: Path) -> None:
    """Only its own: what the parent recorded is the parent's."""
    metrics.set_meter_provider(MeterProvider(shutdown_on_exit=False))
    file = tmp_path / "metrics.jsonl"
    text = FILE.replace("console: {format: json}", f"otlp_file: {{output_stream: 'file://{file}'}}")
    (tmp_path / "otel.yaml").write_text(text)
    pipeline = configure(tmp_path / "otel.yaml")
    for _ in range(3):
        record()
    process = multiprocessing.get_context("fork").Process(target=record)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    (line,) = file.read_text().splitlines()
    assert values_in(line) == ["1"]
    assert pipeline.shutdown().ok
    assert [values_in(line) for line in file.read_text().splitlines()] == [["1"], ["3"]]


def values_in(line: str) -> list[str]:
    (resource,) = json.loads(line)["resourceMetrics"]
    return [
        point["asInt"]
        for scope in resource["scopeMetrics"]
        for metric in scope["metrics"]
        for point in metric["sum"]["dataPoints"]
    ]


# --- configure --------------------------------------------------------------------------------------------------------


def test_a_file_is_configured_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "otel.yaml"
    file.write_text(FILE)
    pipeline = configure(file)
    assert metrics.get_meter_provider() is pipeline.meter_provider
    record()
    assert configure(str(file)) is pipeline
    assert configure(os.path.relpath(file)) is pipeline
    with pytest.raises(SetupError, match=r"by the file .*otel\.yaml; shut that pipeline down first"):
        configure(tmp_path / "other.yaml")
    assert pipeline.shutdown().ok
    assert json.loads(capfd.readouterr().out)["metric"] == "orders"


def test_a_program_can_be_configured_again_once_its_pipeline_is_shut_down(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The provider stays, and the new pipeline's readers are added to it."""
    file, other = tmp_path / "otel.yaml", tmp_path / "other.yaml"
    for one in (file, other):
        one.write_text(FILE)
    first = configure(file)
    first.shutdown()
    second = configure(other)
    assert second is not first
    assert second.meter_provider is first.meter_provider
    record()
    assert second.shutdown().readers[0].points_accepted == 1
    assert json.loads(capfd.readouterr().out)["value"] == 1


def test_without_a_path_the_file_is_that_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "otel.yaml"
    file.write_text(FILE)
    monkeypatch.setenv("OTEL_CONFIG_FILE", str(file))
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "no_such_exporter")  # a file stands for all other variables
    pipeline = configure()
    assert pipeline.config.source == str(file)


def test_without_any_file_the_variables_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "console")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    pipeline = configure()
    assert [reader.name for reader in pipeline.readers] == ["0:console"]
    assert configure() is pipeline
    with pytest.raises(SetupError, match="metrics are configured already, by environment variables"):
        configure("other.yaml")


def test_a_wrong_file_sets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "otel.yaml"
    file.write_text(FILE.replace("readers", "reader"))
    with pytest.raises(ConfigError):
        configure(file)
    assert not isinstance(metrics.get_meter_provider(), MeterProvider)
    file.write_text(FILE)
    assert configure(file).readers


def test_a_disabled_program_has_a_pipeline_without_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "otel.yaml"
    file.write_text(FILE)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    pipeline = configure(file)
    assert pipeline.readers == ()
    assert not isinstance(metrics.get_meter_provider(), MeterProvider)
    assert caplog.messages == ["OTEL_SDK_DISABLED is true: nothing is measured and nothing exported"]


@pytest.mark.parametrize(("worker", "warned"), [(0, True), (1, False)])
def test_beside_a_provider_that_uwsgi_forks_a_line_says_whose_series_collide(
    made: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, worker: int, warned: bool
) -> None:
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(worker_id=lambda: worker))
    metrics.set_meter_provider(MeterProvider(shutdown_on_exit=False))
    pipeline, _ = made()
    pipeline.install()
    assert ("start uWSGI with --lazy-apps" in caplog.text) is warned
