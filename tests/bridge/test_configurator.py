"""Real programs under ``opentelemetry-instrument``, which know nothing of exporter-core."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from exporter_core.conformance.sinks import OtlpHttpSink

BIN = Path(sys.executable).parent

# Ends by itself: it serves one request with the framework's own client, records, and prints what it sees.
APP = """
import json
import sys

from flask import Flask
from opentelemetry import metrics, trace
from opentelemetry._logs import LogRecord, get_logger
from opentelemetry.propagate import extract
from opentelemetry.sdk.metrics import MeterProvider

app = Flask("shop")
orders = metrics.get_meter("shop").create_counter("orders")


@app.get("/")
def index():
    with trace.get_tracer("shop").start_as_current_span("order"):
        orders.add(1)
        get_logger("shop").emit(LogRecord(body="ordered"))
    return "ok"


assert extract({}) is not None, "it would be the current context of a request"
assert app.test_client().get("/").text == "ok"
if "configure" in sys.argv:
    import exporter_core

    pipeline = exporter_core.configure()
    assert pipeline.meter_provider is metrics.get_meter_provider(), pipeline
print(json.dumps({"set": isinstance(metrics.get_meter_provider(), MeterProvider)}))
"""

# Initializes itself, in an environment without opentelemetry-configuration.
DRIVER = """
import importlib.util
import runpy

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "opentelemetry.configuration" else find_spec(name)

from opentelemetry.instrumentation.auto_instrumentation import initialize

initialize()
runpy.run_path("app.py")
"""

REST = """
resource:
  attributes: [{name: service.name, value: checkout}]
tracer_provider:
  processors:
    - simple: {exporter: {console: }}
"""
PROPAGATOR = 'propagator: {composite_list: "tracecontext"}\n'
FILE = (
    """file_format: "1.1"
exporter_core: {plugins: {block: [nothing]}}
meter_provider:
  readers:
    - periodic: {exporter: {console: {format: json}}}
"""
    + REST
)
METRICS_ONLY = FILE.removesuffix(REST)


@dataclass
class Ran:
    """What a program printed."""

    status: int
    provider_is_set: bool | None
    points: list[dict[str, Any]]
    spans: list[dict[str, Any]]
    logs: list[dict[str, Any]]
    errors: list[str]


def values_in(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, one after the other."""
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


@pytest.fixture
def instrumented(tmp_path: Path) -> Callable[..., Ran]:
    """Run the program under opentelemetry-instrument, with these variables and no other of OpenTelemetry."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "driver.py").write_text(DRIVER)

    def run(
        environ: Mapping[str, str],
        *arguments: str,
        file: str | None = None,
        program: str = "app.py",
    ) -> Ran:
        own = {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "OTEL_PYTHON_CONFIGURATOR": "exporter_core",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "system_metrics",
        }
        if file is not None:
            (tmp_path / "otel.yaml").write_text(file)
            own["OTEL_CONFIG_FILE"] = "otel.yaml"
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("OTEL_", "EXPORTER_CORE_"))}
        ran = subprocess.run(
            [*(["opentelemetry-instrument"] if program == "app.py" else []), "python", program, *arguments],
            cwd=tmp_path,
            env={**kept, **own, **environ},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        found = values_in(ran.stdout)
        return Ran(
            ran.returncode,
            next((value["set"] for value in found if "set" in value), None),
            [value for value in found if "metric" in value],
            [value for value in found if "trace_id" in value.get("context", {})],
            [value for value in found if "body" in value],
            ran.stderr.splitlines(),
        )

    return run


@pytest.fixture(scope="module")
def sink() -> Iterator[OtlpHttpSink]:
    with OtlpHttpSink() as started:
        yield started


def test_a_file_configures_metrics_here_and_traces_by_the_official_distribution(instrumented: Callable) -> None:
    ran = instrumented({"OTEL_METRICS_EXPORTER": "no_such_thing"}, "configure", file=FILE + PROPAGATOR)
    assert (ran.status, ran.errors, ran.provider_is_set) == (0, [], True)
    (point,) = ran.points
    assert (point["metric"], point["value"]) == ("orders", 1)
    assert point["resource"]["attributes"]["service.name"] == "checkout"
    (span,) = ran.spans
    assert (span["name"], span["resource"]["attributes"]["service.name"]) == ("order", "checkout")


def test_without_the_official_distribution_a_warning_names_what_is_not_configured(
    instrumented: Callable,
) -> None:
    ran = instrumented({}, "configure", file=FILE + PROPAGATOR, program="driver.py")
    assert (ran.status, ran.provider_is_set, len(ran.points), ran.spans) == (0, True, 1, [])
    assert ran.errors == [
        "otel.yaml: not configured: tracer_provider, propagator; pip install opentelemetry-configuration"
    ]
    assert instrumented({}, "configure", file=METRICS_ONLY, program="driver.py").errors == []


@pytest.mark.nightly
def test_strictness_in_a_program_that_initializes_itself_is_an_exit_that_it_can_see(instrumented: Callable) -> None:
    strict = {"EXPORTER_CORE_STRICT": "true"}
    ran = instrumented(strict, file=FILE.replace("periodic", "perodic"), program="driver.py")
    assert (ran.status, len(ran.errors)) == (2, 1)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        (
            FILE.replace("periodic", "perodic"),
            "otel.yaml:5:7: meter_provider.readers[0]: unknown key 'perodic'; did you mean 'periodic'?",
        ),
        pytest.param(
            FILE.replace("{exporter: {console: {format: json}}}", "{interval: 0, exporter: {sqlite: }}"),
            (
                "otel.yaml:5:28: meter_provider.readers[0].periodic.interval: 0 would export without a pause; expected "
                "at least 1 (milliseconds) (and 1 more: exporter-core validate otel.yaml shows them)"
            ),
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_a_wrong_file_is_one_line_and_the_program_runs_without_metrics(
    instrumented: Callable, file: str, line: str
) -> None:
    ran = instrumented({}, file=file)
    assert (ran.status, ran.provider_is_set, ran.points) == (0, False, [])
    assert ran.errors == [f"no metrics are exported: {line}"]
    assert len(ran.spans) == 1  # the rest of the file is right


@pytest.mark.nightly
def test_a_file_that_is_no_yaml_is_one_line(instrumented: Callable) -> None:
    ran = instrumented({}, file="file_format: [")
    assert (ran.status, ran.provider_is_set) == (0, False)
    (line,) = ran.errors
    assert line.startswith("no metrics are exported: otel.yaml:2:1: not valid YAML")


def test_a_program_that_needs_its_metrics_does_not_start_without(instrumented: Callable) -> None:
    ran = instrumented({"EXPORTER_CORE_STRICT": "true"}, file=FILE.replace("periodic", "perodic"))
    assert (ran.status, ran.provider_is_set, len(ran.errors)) == (2, None, 1)


def test_without_a_file_variables_configure_metrics_and_traces_are_the_sdks(instrumented: Callable) -> None:
    ran = instrumented(
        {
            "OTEL_METRICS_EXPORTER": "console",
            "EXPORTER_CORE_CONSOLE_FORMAT": "json",
            "OTEL_TRACES_EXPORTER": "console",
            "OTEL_LOGS_EXPORTER": "console",
            "OTEL_SERVICE_NAME": "checkout",
            "OTEL_RESOURCE_ATTRIBUTES": "a=b",
        },
        "configure",
    )
    assert (ran.status, ran.errors, ran.provider_is_set) == (0, [], True)
    (point,), (span,), (log,) = ran.points, ran.spans, ran.logs
    assert (log["body"], log["resource"]["attributes"]["service.name"]) == ("ordered", "checkout")
    for resource in (point["resource"], span["resource"]):
        attributes = resource["attributes"]
        assert (attributes["service.name"], attributes["a"]) == ("checkout", "b")
        assert attributes["telemetry.auto.version"]


def test_otlp_follows_the_protocol_and_the_endpoint(instrumented: Callable, sink: OtlpHttpSink) -> None:
    before = len(sink.points())
    ran = instrumented(
        {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint.removesuffix("/v1/metrics"),
            "OTEL_METRIC_EXPORT_INTERVAL": "600000",
        }
    )
    assert (ran.status, ran.errors) == (0, [])
    assert [point.metric for point in sink.points()[before:]] == ["orders"]


@pytest.mark.nightly
def test_wrong_variables_are_one_line_and_traces_are_exported(instrumented: Callable) -> None:
    ran = instrumented({"OTEL_METRICS_EXPORTER": "sqlite", "OTEL_TRACES_EXPORTER": "console"})
    assert (ran.status, ran.points, len(ran.spans)) == (0, [], 1)
    (line,) = ran.errors
    assert line.startswith(
        "no metrics are exported: exporter 'sqlite': missing required option 'path'; its environment"
    )


def test_a_disabled_sdk_is_one_line(instrumented: Callable) -> None:
    ran = instrumented({"OTEL_SDK_DISABLED": "true", "OTEL_METRICS_EXPORTER": "console"})
    assert (ran.points, ran.errors) == ([], ["OTEL_SDK_DISABLED is true: nothing is measured and nothing exported"])


@pytest.mark.nightly
def test_a_program_that_does_not_choose_it_is_left_alone(instrumented: Callable) -> None:
    ran = instrumented({"OTEL_PYTHON_CONFIGURATOR": ""}, file=FILE)
    assert (ran.status, ran.provider_is_set, ran.spans) == (0, False, [])
