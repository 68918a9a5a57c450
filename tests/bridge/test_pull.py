"""Pull exporters by name: those of exporter-core's group, and the OpenTelemetry SDK's own; each behind the guard."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from exporter_core import ConfigError, ExporterRegistry, Pipeline, PluginPolicy
from exporter_core.bridge.pull import serving_class
from exporter_core.cli.inspection import check_all
from exporter_core.config import json_schema
from exporter_core.context import Context
from exporter_core.discovery import entries, select
from exporter_core.errors import (
    ContractError,
    ExporterError,
    ExporterNotFoundError,
    PluginBlockedError,
    PluginLoadError,
    SetupError,
)
from exporter_core.exporter import ExporterConfig
from exporter_core.pull import PULL_EXPORTER_GROUP, PullExporter
from exporter_core.reader import Scrapes

PATIENCE = 30.0  # seconds; ends a test that hangs

PULL = '''
from exporter_core import ExporterConfig, PullExporter

class Options(ExporterConfig):
    drawer: str = "top"

class made(PullExporter[Options]):
    """Keeps invoices for whoever asks."""

    served = []

    def start(self, collect):
        self.collect = collect
        self.served.append(self)

    def shutdown(self, context):
        self.served.remove(self)
'''
READER = '''
from opentelemetry.sdk.metrics.export import MetricReader

class made(MetricReader):
    """Shows invoices."""

    last = None

    def __init__(self, drawer: str = "top"):
        super().__init__()
        self.drawer, self.received, self.ended = drawer, [], []
        type(self).last = self

    def _receive_metrics(self, metrics_data, timeout_millis=10_000, **kwargs):
        self.received.append(metrics_data)

    def shutdown(self, timeout_millis=30_000, **kwargs):
        self.ended.append(timeout_millis)
'''


def module(name):
    return sys.modules[f"bridged_{name}"]


def pulled(name, options=None, **arguments):
    reader = {"pull": {"exporter": {name: options}}}
    return Pipeline.from_config({"file_format": "1.1", "meter_provider": {"readers": [reader]}}, **arguments)


def values_of(metrics):
    return [
        point.value
        for resource in metrics.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


def test_the_group_is_the_one_that_discovery_knows():
    assert f"{entries.PULL_PREFIX}1" == PULL_EXPORTER_GROUP


# --- exporter-core's own kind -----------------------------------------------------------------------------------------


def test_a_pull_exporter_is_selected_under_pull_and_gets_the_metrics(installed):
    installed.add("file-cabinet", "invoices", PULL, group=PULL_EXPORTER_GROUP)
    with pulled("invoices", {"drawer": "bottom"}) as pipeline:
        (exporter,) = module("file_cabinet").made.served
        assert exporter.config.drawer == "bottom"
        pipeline.meter_provider.get_meter("m").create_counter("parcels").add(7)
        assert values_of(exporter.collect(Context.with_timeout(PATIENCE))) == [7]
        report = pipeline.flush(PATIENCE)
        assert report.ok
        assert report.readers[0].name == "0:invoices"
    assert module("file_cabinet").made.served == []


def test_one_name_may_be_of_both_kinds_without_a_conflict(installed):
    installed.add("file-cabinet", "console", PULL, group=PULL_EXPORTER_GROUP)
    assert select("console").distribution == "exporter-core-console"
    assert select("console", pull=True).distribution == "file-cabinet"


def test_a_name_of_the_other_kind_says_where_it_belongs(installed):
    installed.add("file-cabinet", "invoices", PULL, group=PULL_EXPORTER_GROUP)
    with pytest.raises(ExporterNotFoundError, match="it is a pull exporter: name it under 'pull:' instead of"):
        select("invoices")
    with pytest.raises(ExporterNotFoundError, match="it is an exporter that pushes: name it under 'periodic:'"):
        select("none", pull=True)


def test_an_exporter_that_the_sdk_gets_too_is_not_taken_for_one_of_the_sdks_pull_exporters(installed):
    installed.add("file-cabinet", "invoices", PULL, group=PULL_EXPORTER_GROUP)
    with pytest.raises(ExporterNotFoundError, match=r"name it under 'periodic:' .* installed: .*invoices"):
        select("sqlite", pull=True)


def test_a_blocked_one_is_not_imported(installed):
    installed.add("file-cabinet", "invoices", PULL, group=PULL_EXPORTER_GROUP)
    registry = ExporterRegistry(policy=PluginPolicy(block=["file-cabinet"]))
    with pytest.raises(PluginBlockedError):
        registry.config_model("invoices", pull=True)
    assert "bridged_file_cabinet" not in sys.modules


def test_a_wrong_option_is_named_with_its_place(installed, tmp_path):
    installed.add("file-cabinet", "invoices", PULL, group=PULL_EXPORTER_GROUP)
    file = tmp_path / "metrics.yaml"
    file.write_text('file_format: "1.1"\nmeter_provider:\n  readers:\n    - pull: {exporter: {invoices: {drawr: x}}}\n')
    with pytest.raises(ConfigError) as caught:
        Pipeline.from_file(file)
    assert str(caught.value) == f"{file}:4:36: exporter 'invoices': unknown option 'drawr'; did you mean 'drawer'?"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("made = 7", "is no pull exporter; subclass exporter_core.PullExporter"),
        ("class made: pass", "made is no pull exporter; subclass exporter_core.PullExporter"),
        (
            "from exporter_core import PullExporter\nclass made(PullExporter):\n    def start(self, collect): pass",
            "made is abstract: a pull exporter has to implement shutdown",
        ),
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_class_that_is_none_is_one_line(installed, code, message):
    installed.add("file-cabinet", "invoices", code, group=PULL_EXPORTER_GROUP)
    with pytest.raises((ContractError, PluginLoadError)) as caught:
        ExporterRegistry().config_model("invoices", pull=True)
    assert "exporter 'invoices' (file-cabinet 3.1)" in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class Fake(PullExporter[ExporterConfig]):
    """Does what functions say."""

    def __init__(self, config, start=lambda: None, shutdown=lambda: None):
        super().__init__(config)
        self.on_start, self.on_shutdown, self.calls = start, shutdown, []

    def start(self, collect):
        self.calls.append("start")
        self.on_start()

    def shutdown(self, context):
        self.calls.append("shutdown")
        self.on_shutdown()


def guarded(fake, **options):
    from exporter_core.guard import GuardedExporter

    made = serving_class(type("Made", (Fake,), {"__new__": lambda cls, config: fake}), of_sdk=False)
    return GuardedExporter(factory=lambda: made(ExporterConfig(), Scrapes()), name="fake", **options)


def test_one_that_cannot_start_is_shut_down_and_its_error_raised():
    def start():
        raise ExporterError("port 80 is taken")

    def shutdown():
        raise ValueError("nothing to end")

    fake = Fake(ExporterConfig(), start, shutdown)
    with pytest.raises(PluginLoadError, match="exporter 'fake' cannot be built: port 80 is taken"):
        guarded(fake)
    assert fake.calls == ["start", "shutdown"]


def test_one_that_does_not_start_in_time_is_left_behind():
    gate = threading.Event()
    with pytest.raises(PluginLoadError, match="was not built in time"):
        guarded(Fake(ExporterConfig(), gate.wait), timeout=0.2)
    gate.set()


def test_a_shutdown_that_hangs_ends_on_time_and_one_that_fails_is_an_error():
    gate = threading.Event()
    hung = guarded(Fake(ExporterConfig(), shutdown=gate.wait))
    with pytest.raises(TimeoutError):
        hung.shutdown(Context.with_timeout(0.2))
    gate.set()

    def shutdown():
        raise OSError("lost")

    with pytest.raises(ExporterError, match="exporter 'fake': shutdown failed: OSError: lost"):
        guarded(Fake(ExporterConfig(), shutdown=shutdown)).shutdown(Context.with_timeout(PATIENCE))


def test_nothing_is_exported_to_one(metrics, context):
    with guarded(Fake(ExporterConfig())) as exporter:
        exporter.force_flush(context)
        with pytest.raises(ExporterError, match="a pull exporter is not exported to"):
            exporter.export(context, metrics)


# --- the SDK's --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["opentelemetry_pull_metric_exporter", "opentelemetry_metrics_exporter"])
def test_a_reader_of_the_sdk_collects_what_the_pipeline_does(installed, group):
    installed.add("glass-case", "invoices", READER, group=group)
    with pulled("invoices", {"drawer": "bottom"}) as pipeline:
        reader = module("glass_case").made.last
        assert reader.drawer == "bottom"
        pipeline.meter_provider.get_meter("m").create_counter("parcels").add(7)
        reader.collect()
        assert [values_of(one) for one in reader.received] == [[7]]
        assert pipeline.stats()[0].collections == 1
        assert reader.ended == []
    assert len(reader.ended) == 1


def test_a_pull_exporter_of_exporter_core_counts_where_the_sdk_has_the_name_too(installed):
    installed.add("glass-case", "invoices", READER, group="opentelemetry_pull_metric_exporter")
    installed.add("file-cabinet", "invoices", PULL, group=PULL_EXPORTER_GROUP)
    assert select("invoices", pull=True).distribution == "file-cabinet"
    assert select("glass-case:invoices", pull=True).distribution == "glass-case"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("from opentelemetry.sdk.metrics.export import ConsoleMetricExporter as made", "is no MetricReader class"),
        ("def made(): return 7", "made builtins.int, no MetricReader"),
    ],
)
def test_what_is_no_reader_of_the_sdk_is_one_line(installed, code, message):
    installed.add("glass-case", "invoices", code, group="opentelemetry_pull_metric_exporter")
    with pytest.raises(SetupError) as caught:
        pulled("invoices")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- the command line -------------------------------------------------------------------------------------------------


def program(*arguments):
    command = [sys.executable, "-m", "exporter_core", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.nightly  # a dozen processes
def test_commands_know_pull_exporters_and_metric_readers_among_the_exporters(installed, tmp_path):
    installed.add("file-cabinet", "invoices", PULL, group=PULL_EXPORTER_GROUP)
    installed.add("glass-case", "bills", READER)
    mine = [entry for entry in ExporterRegistry().entries() if entry.name in ("invoices", "bills")]
    assert [result.failure for result in check_all(mine)] == [None, None]
    assert "pull v1" in program("list").stdout
    described = program("describe", "invoices").stdout
    assert "invoices  file-cabinet 3.1, pull exporter" in described
    assert "cumulative for every instrument kind" in described
    file = tmp_path / "metrics.yaml"
    assert program("init", "invoices", "bills", "-o", str(file)).returncode == 0
    assert file.read_text().count("- pull:") == 1
    file.write_text('file_format: "1.1"\nmeter_provider:\n  readers:\n    - pull: {exporter: {invoices: }}\n')
    done = program("validate", str(file))
    assert done.returncode == 0
    assert done.stderr == (
        f"{file}:4:25: note: 0:invoices serves from one process; a server of several workers needs a port for each of "
        "them, or a scrape sees one worker\n"
    )
    probed = json.loads(program("probe", "--json", str(file)).stdout)
    assert [(step["step"], step["error"]) for step in probed["steps"]] == [("load", None), ("shutdown", None)]
    schema = json_schema(ExporterRegistry())
    names = schema["$defs"]["PullReader"]["properties"]["exporter"]["properties"]
    assert {"invoices", "bills"} <= names.keys()
    assert "invoices" not in schema["$defs"]["PeriodicReader"]["properties"]["exporter"]["properties"]
