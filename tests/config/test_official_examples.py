"""OpenTelemetry's own example files load, or are refused for a reason that is true.

The files in ``official`` are those of the folders examples and snippets of
https://github.com/open-telemetry/opentelemetry-configuration, as of August 2026 (Apache License 2.0).
"""

import re
from importlib import resources
from pathlib import Path

import pytest
import yaml

from exporter_core.config import load_config
from exporter_core.errors import ConfigError

FILES = sorted((Path(__file__).parent / "official").glob("*.yaml"))

CONTAINER = "unknown resource detector 'container'; valid here: host, os, otel, process, service"
TLS = "tls.ca_file needs an endpoint with TLS"
# What is refused: a detector that is not installed here, and files for TLS that a URL without TLS would ignore.
REFUSED = {
    "OtlpGrpcMetricExporter_metrics_kitchen_sink.yaml": [f"7:11: exporter 'otlp_grpc': {TLS}"],
    "OtlpHttpMetricExporter_metrics_kitchen_sink.yaml": [f"7:11: exporter 'otlp_http': {TLS}"],
    "Resource_kitchen_sink.yaml": [f"40:9: resource.detection/development.detectors[0].container: {CONTAINER}"],
    "otel-getting-started.yaml": [f"22:9: resource.detection/development.detectors[3].container: {CONTAINER}"],
}
NOT_OF_METRICS = re.compile(
    r"there is no 'meter_provider'|"
    r"(log_level|attribute_limits|(tracer|logger)_provider|propagator|instrumentation/development) is ignored|"
    r".*the environment variable \w+ is not set|.*the file \S+ does not exist|.*cardinality_limit\w* is ignored"
)


def test_there_are_examples_of_every_part_of_the_schema() -> None:
    assert len(FILES) == 38
    parts = {key for file in FILES for key in yaml.safe_load(file.read_text(encoding="utf-8"))}
    schema = yaml.safe_load(
        (resources.files("opentelemetry.configuration") / "schema.json").read_text(encoding="utf-8")
    )
    assert set(schema["properties"]) - parts <= {"distribution"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_official_example_loads_or_is_refused_for_a_true_reason(file: Path) -> None:
    try:
        config = load_config(file, environ={})
    except ConfigError as error:
        found = [str(problem).partition(f"{file.name}:")[2] for problem in error.problems]
        assert [line.startswith(start) for line, start in zip(found, REFUSED[file.name], strict=True)] == [True]
        return
    assert file.name not in REFUSED
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert len(config.readers) == len(data.get("meter_provider", {}).get("readers", []))
    for warning in config.warnings:
        assert NOT_OF_METRICS.match(warning.message), warning
