"""Exporters of the contract under OpenTelemetry's own reader: what of their promises it lets the guard keep."""

import json
import logging
import multiprocessing
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)

from exporter_core import ConfigError, OutboundExporter
from exporter_core.discovery import FIRST_PARTY, installed as all_installed
from exporter_core.registry import ExporterRegistry

PAGE = (Path(__file__).parents[2] / "docs" / "in-your-service.md").read_text(encoding="utf-8")
LONG = 30.0

PLUGIN = """
from exporter_core import Exporter, ExporterConfig
from opentelemetry.sdk.metrics.export import AggregationTemporality
from pydantic import SecretStr


class Options(ExporterConfig):
    path: str
    delta: bool = False
    token: SecretStr | None = None


def behave(self, context, metrics):
    with open(self.config.path, "a") as file:
        file.write(metrics.to_json(indent=None) + "\\\\n")


class Acme(Exporter[Options]):
    def temporality(self, instrument_kind):
        return AggregationTemporality.DELTA if self.config.delta else super().temporality(instrument_kind)

    def export(self, context, metrics):
        behave(self, context, metrics)


made = Acme
"""

tested: set[str] = set()


def promise(row: str) -> Callable[[Any], Any]:
    """Say which row of the page's table a test is about."""
    tested.add(row)
    return lambda test: test


class AcmeMetricExporter(OutboundExporter, exporter="acme"):
    """The exporter `acme`."""


@pytest.fixture
def acme(installed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of an installed plugin; its function ``behave`` is what an export does."""
    installed.add("acme-plugin", "acme", PLUGIN.replace("\\\\n", "\\n"), group="exporter_core.exporters.v1")
    monkeypatch.setenv("EXPORTER_CORE_ACME_PATH", str(tmp_path / "acme.jsonl"))
    ExporterRegistry().exporter_class("acme")
    return sys.modules["bridged_acme_plugin"]


@pytest.fixture
def provider() -> Iterator[Callable[..., MeterProvider]]:
    providers: list[MeterProvider] = []

    def make(exporter: MetricExporter, **options: Any) -> MeterProvider:
        reader = PeriodicExportingMetricReader(exporter, **{"export_interval_millis": float("inf"), **options})
        providers.append(MeterProvider([reader], shutdown_on_exit=False))
        return providers[-1]

    yield make
    for one in providers:
        if not one._shutdown:
            one.shutdown()


def delivered(tmp_path: Path) -> list[int]:
    lines = (tmp_path / "acme.jsonl").read_text().splitlines()
    return [
        point["value"]
        for line in lines
        for resource in json.loads(line)["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
        for point in metric["data"]["data_points"]
    ]


def test_the_page_has_a_row_for_each_promise_that_is_tested_here() -> None:
    text = PAGE.partition("| promise |")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in text.splitlines()[2:] if line.startswith("|")]
    assert set(rows) == tested
    assert len(rows) == len(tested)


@promise("wrong options are named at the start")
def test_wrong_options_are_named(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPORTER_CORE_ACME_PTH", "x")
    with pytest.raises(ConfigError, match="EXPORTER_CORE_ACME_PTH: exporter 'acme': unknown option 'pth'; did"):
        AcmeMetricExporter()
    with pytest.raises(ConfigError, match="exporter 'acme': unknown option 'pth'; did you mean 'path'"):
        AcmeMetricExporter(pth="x")


def test_options_come_from_the_file_or_else_from_variables(acme: Any, tmp_path: Path, provider: Callable) -> None:
    for exporter in (AcmeMetricExporter(), AcmeMetricExporter(path=str(tmp_path / "other.jsonl"))):
        one = provider(exporter)
        one.get_meter("m").create_counter("c").add(1)
        assert one.force_flush()
    assert delivered(tmp_path) == [1]
    assert len((tmp_path / "other.jsonl").read_text().splitlines()) == 1


def test_the_exporters_preferences_are_the_readers(acme: Any) -> None:
    exporter = AcmeMetricExporter(path="x", delta=True)
    assert exporter._preferred_temporality[Counter] is AggregationTemporality.DELTA
    assert set(exporter._preferred_aggregation) == set(exporter._preferred_temporality) >= {Counter, Histogram}
    exporter.shutdown()


@promise("an export ends at its deadline")
def test_an_export_ends_at_its_deadline(acme: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    gate = threading.Event()
    monkeypatch.setattr(acme, "behave", lambda self, context, metrics: gate.wait(LONG))
    exporter = AcmeMetricExporter()
    try:
        assert exporter.export(metrics_of(1), timeout_millis=50) is MetricExportResult.FAILURE
        (line,) = caplog.messages
        assert "exporter 'acme': export timed out" in line
    finally:
        gate.set()
        exporter.shutdown()


def metrics_of(points: int) -> Any:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    counter = MeterProvider([reader], shutdown_on_exit=False).get_meter("m").create_counter("c")
    for number in range(points):
        counter.add(1, {"n": number})
    return reader.get_metrics_data()


@promise("a failure is one line of the log, with the points that it cost")
@promise("`force_flush` says what failed")
def test_a_failure_is_one_line_and_the_providers_flush_does_not_tell(
    acme: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any, provider: Callable
) -> None:
    def fail(self: Any, context: Any, metrics: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(acme, "behave", fail)
    one = provider(AcmeMetricExporter())
    one.get_meter("m").create_counter("c").add(1)
    assert one.force_flush() is True
    (line,) = caplog.messages
    assert re.search(r"exporter 'acme': export.* failed: OSError: disk full; 1 data point was not delivered$", line)


@promise("a failure that is repeated is counted")
def test_a_repeated_failure_is_counted(acme: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def fail(self: Any, context: Any, metrics: Any) -> None:
        raise OSError("disk full")

    exporter = AcmeMetricExporter()
    with monkeypatch.context() as failing:
        failing.setattr(acme, "behave", fail)
        for _ in range(10):
            exporter.export(metrics_of(2))
    assert [line.partition("disk full")[2] for line in caplog.messages] == [
        "; 2 data points were not delivered",
        " (10 times in a row); 18 data points were not delivered",
    ]
    assert exporter.export(metrics_of(1)) is MetricExportResult.SUCCESS
    assert "delivers again, after 10 failures in a row" in caplog.messages[-1]
    exporter.shutdown()


@promise("no secret shows")
def test_no_secret_shows(acme: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def fail(self: Any, context: Any, metrics: Any) -> None:
        raise OSError(f"refused {self.config.token.get_secret_value()}")

    monkeypatch.setattr(acme, "behave", fail)
    monkeypatch.setenv("EXPORTER_CORE_ACME_TOKEN", "hunter2")
    exporter = AcmeMetricExporter()
    exporter.export(metrics_of(1))
    exporter.shutdown()
    assert "OSError: refused ***" in caplog.text
    assert "hunter2" not in caplog.text


@promise("the last metrics are delivered at exit")
def test_the_last_metrics_are_delivered(acme: Any, tmp_path: Path, provider: Callable) -> None:
    one = provider(AcmeMetricExporter(), export_interval_millis=3_600_000)
    one.get_meter("m").create_counter("c").add(7)
    one.shutdown()
    assert delivered(tmp_path) == [7]


@promise("a hung exporter holds up the exit no longer than the time-out")
def test_a_hung_exporter_holds_up_the_end_for_the_time_out_alone(
    acme: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any, provider: Callable
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(acme, "behave", lambda self, context, metrics: gate.wait(LONG))
    one = provider(AcmeMetricExporter(), export_interval_millis=3_600_000)
    one.get_meter("m").create_counter("c").add(1)
    one.shutdown(timeout_millis=300)
    assert not gate.is_set()  # it returned although the export still runs
    gate.set()


@promise("a busy exporter loses no delta data")
def test_a_busy_exporter_loses_delta_data_and_says_so(
    acme: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any, provider: Callable, tmp_path: Path
) -> None:
    gate, entered = threading.Event(), threading.Event()
    behave = acme.behave

    def hang(self: Any, context: Any, metrics: Any) -> None:
        entered.set()
        gate.wait(LONG)

    with monkeypatch.context() as hanging:
        hanging.setattr(acme, "behave", hang)
        one = provider(AcmeMetricExporter(path=str(tmp_path / "acme.jsonl"), delta=True))
        counter = one.get_meter("m").create_counter("c")
        counter.add(1)
        one.force_flush(timeout_millis=50)
        assert entered.wait(LONG)
        counter.add(2)
        one.force_flush(timeout_millis=50)
    assert "ExporterBusyError" in caplog.text or "earlier export" in caplog.text
    acme.behave = behave
    gate.set()
    deadline = time.monotonic() + LONG
    while one._metric_readers[0]._exporter._guarded.busy and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    counter.add(4)
    one.force_flush()
    assert delivered(tmp_path) == [4]  # 2 is lost


@promise("a forked child exports what it records")
@promise("a forked child begins with nothing recorded")
def test_a_forked_child_exports_its_own_points_and_its_parents(acme: Any, tmp_path: Path, provider: Callable) -> None:
    one = provider(AcmeMetricExporter())
    counter = one.get_meter("m").create_counter("c")
    counter.add(1)

    def work() -> None:
        counter.add(10)
        one.force_flush()

    run_forked(work)
    assert delivered(tmp_path) == [11]


@promise("a `multiprocessing` child delivers at its end")
def test_a_child_of_multiprocessing_loses_what_it_has(acme: Any, tmp_path: Path, provider: Callable) -> None:
    one = provider(AcmeMetricExporter(), export_interval_millis=3_600_000)
    counter = one.get_meter("m").create_counter("c")
    run_forked(lambda: counter.add(10))
    assert not (tmp_path / "acme.jsonl").exists()


def run_forked(work: Callable[[], object]) -> None:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(LONG)
    assert process.exitcode == 0


@promise("ticks keep their schedule")
def test_an_interval_begins_when_an_export_has_ended(
    acme: Any, monkeypatch: pytest.MonkeyPatch, provider: Callable
) -> None:
    times: list[tuple[float, float]] = []
    third = threading.Event()

    def slow(self: Any, context: Any, metrics: Any) -> None:
        started = time.monotonic()
        threading.Event().wait(0.1)
        times.append((started, time.monotonic()))
        if len(times) > 2:
            third.set()

    monkeypatch.setattr(acme, "behave", slow)
    one = provider(AcmeMetricExporter(), export_interval_millis=100)
    one.get_meter("m").create_counter("c").add(1)
    assert third.wait(LONG)
    assert all(later[0] >= earlier[1] + 0.099 for earlier, later in pairwise(times))


# --- what is registered -----------------------------------------------------------------------------------------------


def test_every_first_party_exporter_is_registered_under_a_name_that_is_free() -> None:
    taken_by_the_official_route = {"console", "otlp_grpc", "otlp_http", "otlp_file"}
    for name in {name.partition("/")[0] for name in FIRST_PARTY}:
        registered = f"exporter_core_{name}" if name in taken_by_the_official_route else name
        (entry,) = entry_points(group="opentelemetry_metrics_exporter", name=registered)
        made = entry.load()
        assert issubclass(made, MetricExporter)
        assert made._name == name


def test_they_are_not_listed_as_exporters_of_their_own() -> None:
    names = [entry.qualified_name for entry in all_installed()]
    assert len(names) == len(set(names))
    assert not [name for name in names if "exporter_core_" in name]


def test_the_sdks_own_configuration_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Both routes: by environment variables, and the official distribution's file."""
    from opentelemetry.configuration import configure_sdk, load_config_file
    from opentelemetry.sdk._configuration import _OTelSDKConfigurator

    set_providers: list[MeterProvider] = []
    monkeypatch.setattr("opentelemetry.sdk._configuration.set_meter_provider", set_providers.append)
    monkeypatch.setattr("opentelemetry.metrics.set_meter_provider", set_providers.append)
    for name in ("set_tracer_provider", "set_logger_provider"):
        monkeypatch.setattr(f"opentelemetry.sdk._configuration.{name}", lambda provider: None)
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "sqlite")
    monkeypatch.setenv("EXPORTER_CORE_SQLITE_PATH", str(first))
    _OTelSDKConfigurator().configure()
    file = tmp_path / "otel.yaml"
    file.write_text(
        'file_format: "1.0"\nmeter_provider:\n  readers:\n'
        f"    - periodic: {{exporter: {{sqlite: {{path: {second}}}}}}}\n"
        "    - periodic: {exporter: {exporter_core_otlp_http: {endpoint: 'http://127.0.0.1:9/x', timeout: 9}}}\n"
    )
    configure_sdk(load_config_file(file))
    assert len(set_providers) == 2
    with caplog.at_level(logging.ERROR):
        for provider in set_providers:
            provider.get_meter("m").create_counter("c").add(1)
            provider.shutdown()
    import sqlite3
    from contextlib import closing

    for database in (first, second):
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("SELECT metric, value FROM latest").fetchall() == [("c", 1)]
    assert "exporter 'otlp_http': export to http://127.0.0.1:9/x" in caplog.text
