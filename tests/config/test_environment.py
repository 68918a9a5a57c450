"""The environment variables of docs/in-your-service.md, each by its effect."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality

from exporter_core.config import PipelineConfig, environment_config
from exporter_core.contract import InstrumentKind
from exporter_core.errors import ConfigError, ExporterNotFoundError

PAGE = (Path(__file__).parents[2] / "docs" / "in-your-service.md").read_text(encoding="utf-8")

ALL, METRICS = "OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_METRICS_"
HTTP = {"OTEL_METRICS_EXPORTER": "otlp_http"}
GRPC = {"OTEL_METRICS_EXPORTER": "otlp_grpc"}
PULL = {"OTEL_METRICS_EXPORTER": "prometheus"}
INSECURE = {**GRPC, f"{ALL}ENDPOINT": "collector:4317"}
TLS = {**HTTP, f"{ALL}ENDPOINT": "https://collector"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resource is the SDK's, which reads the process's own environment."""
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"):
        monkeypatch.delenv(name, raising=False)


def read(**environ: str) -> PipelineConfig:
    return environment_config(environ)


def exporters(config: PipelineConfig) -> list[str]:
    return [reader.exporter for reader in config.readers]


def pulls(config: PipelineConfig) -> bool:
    return config.readers[0].pull


def option(*names: str) -> Callable[[PipelineConfig], Any]:
    def get(config: PipelineConfig) -> Any:
        value: Any = config.readers[0].config
        for name in names:
            value = getattr(value, name)
        return str(value) if isinstance(value, Path) else value

    return get


def headers(config: PipelineConfig) -> Mapping[str, str]:
    options: Any = config.readers[0].config
    return options.header_values()


def temporality(config: PipelineConfig) -> Any:
    options: Any = config.readers[0].config
    return options.temporality_of(InstrumentKind.COUNTER)


KEY = {f"{ALL}CLIENT_KEY": "/key.pem", f"{ALL}CLIENT_CERTIFICATE": "/cert.pem"}

# By variable: its value, other variables, what is looked at, and what it is then.
HONOURED: dict[str, tuple[str, dict[str, str], Callable[[PipelineConfig], Any], Any]] = {
    "OTEL_METRICS_EXPORTER": (
        "console, none ,otlp_proto_http,otlp_proto_grpc",
        {},
        exporters,
        ["console", "otlp_http", "otlp_grpc"],
    ),
    "OTEL_METRIC_EXPORT_INTERVAL": ("1500", {}, lambda config: config.readers[0].interval, 1.5),
    "OTEL_METRIC_EXPORT_TIMEOUT": ("2500", {}, lambda config: config.readers[0].timeout, 2.5),
    "OTEL_METRICS_EXEMPLAR_FILTER": ("always_off", {}, lambda config: config.exemplar_filter, "always_off"),
    f"{ALL}PROTOCOL": ("http/protobuf", {}, exporters, ["otlp_http"]),
    f"{METRICS}PROTOCOL": ("http/json", {f"{ALL}PROTOCOL": "grpc"}, option("encoding"), "json"),
    f"{ALL}ENDPOINT": ("http://collector:4318/", HTTP, option("endpoint"), "http://collector:4318/v1/metrics"),
    f"{METRICS}ENDPOINT": (
        "http://other/x",
        {**HTTP, f"{ALL}ENDPOINT": "http://collector"},
        option("endpoint"),
        "http://other/x",
    ),
    f"{ALL}HEADERS": ("a=b,c=d%20e", HTTP, headers, {"a": "b", "c": "d e"}),
    f"{METRICS}HEADERS": ("f=g", {**HTTP, f"{ALL}HEADERS": "a=b"}, headers, {"f": "g"}),
    f"{ALL}TIMEOUT": ("2.5", HTTP, option("timeout"), 2500),
    f"{METRICS}TIMEOUT": ("3", {**HTTP, f"{ALL}TIMEOUT": "4"}, option("timeout"), 3000),
    f"{ALL}COMPRESSION": ("gzip", HTTP, option("compression"), "gzip"),
    f"{METRICS}COMPRESSION": ("none", {**HTTP, f"{ALL}COMPRESSION": "gzip"}, option("compression"), "none"),
    f"{ALL}CERTIFICATE": ("/ca.pem", TLS, option("tls", "ca_file"), "/ca.pem"),
    f"{METRICS}CERTIFICATE": (
        "/own.pem",
        {**TLS, f"{ALL}CERTIFICATE": "/ca.pem"},
        option("tls", "ca_file"),
        "/own.pem",
    ),
    f"{ALL}CLIENT_KEY": ("/key.pem", {**TLS, **KEY}, option("tls", "key_file"), "/key.pem"),
    f"{METRICS}CLIENT_KEY": ("/own.pem", {**TLS, **KEY}, option("tls", "key_file"), "/own.pem"),
    f"{ALL}CLIENT_CERTIFICATE": ("/cert.pem", {**TLS, **KEY}, option("tls", "cert_file"), "/cert.pem"),
    f"{METRICS}CLIENT_CERTIFICATE": ("/own.pem", {**TLS, **KEY}, option("tls", "cert_file"), "/own.pem"),
    f"{ALL}INSECURE": ("True", INSECURE, option("tls", "insecure"), True),
    f"{METRICS}INSECURE": (
        "false",
        {**GRPC, f"{ALL}ENDPOINT": "a:1", f"{ALL}INSECURE": "true"},
        option("tls", "insecure"),
        False,
    ),
    f"{METRICS}TEMPORALITY_PREFERENCE": ("LowMemory", HTTP, temporality, AggregationTemporality.DELTA),
    f"{METRICS}DEFAULT_HISTOGRAM_AGGREGATION": (
        "base2_exponential_bucket_histogram",
        GRPC,
        option("default_histogram_aggregation"),
        "base2_exponential_bucket_histogram",
    ),
    "OTEL_EXPORTER_PROMETHEUS_HOST": ("0.0.0.0", PULL, option("host"), "0.0.0.0"),  # noqa: S104 - an option
    "OTEL_EXPORTER_PROMETHEUS_PORT": ("9999", PULL, option("port"), 9999),
    "OTEL_SERVICE_NAME": ("shop", {}, lambda config: config.resource.attributes["service.name"], "shop"),
    "OTEL_RESOURCE_ATTRIBUTES": ("a=b", {}, lambda config: config.resource.attributes["a"], "b"),
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": (
        "process",
        {},
        lambda config: "process.pid" in config.resource.attributes,
        True,
    ),
    "EXPORTER_CORE_SQLITE_PATH": ("/m.db", {"OTEL_METRICS_EXPORTER": "sqlite"}, option("path"), "/m.db"),
    "EXPORTER_CORE_OTLP_HTTP_RETRY__ENABLED": ("false", HTTP, option("retry", "enabled"), False),
}


@pytest.mark.parametrize("variable", HONOURED)
def test_a_variable_has_its_effect(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    value, others, get, expected = HONOURED[variable]
    for name, text in {**others, variable: value}.items():
        monkeypatch.setenv(name, text)
    assert get(environment_config({**others, variable: value})) == expected
    without = {**others}
    without.pop(variable, None)
    monkeypatch.delenv(variable)
    try:
        assert get(environment_config(without)) != expected
    except (ConfigError, AttributeError, KeyError):
        pass  # it is needed for this


def table(heading: str) -> list[str]:
    """The variables in the first column of the table under a heading of the page."""
    text = PAGE.partition(f"### {heading}\n")[2].partition("\n#")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)]


def test_the_page_names_the_variables_that_are_tested_here() -> None:
    elsewhere = {  # tests/bridge/test_configurator.py and tests/pipeline/test_install.py
        "OTEL_PYTHON_CONFIGURATOR",
        "OTEL_CONFIG_FILE",
        "OTEL_SDK_DISABLED",
        "EXPORTER_CORE_STRICT",
        "OTEL_TRACES_EXPORTER",
        "OTEL_LOGS_EXPORTER",
        "EXPORTER_CORE_NAME_OPTION",
    }
    named = table("Environment variables that count")
    assert len(named) == len(set(named))
    tested = {name for name in HONOURED if not name.startswith("EXPORTER_CORE_")}
    assert set(named) == tested | elsewhere


# By variable: a value that would change something if it counted.
IGNORED = {
    "OTEL_PYTHON_METER_CONFIGURATOR": "no_such_thing",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER": "no_such_thing",
    "OTEL_ATTRIBUTE_COUNT_LIMIT": "1",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1",
}


def test_the_page_names_the_variables_that_are_ignored() -> None:
    assert set(table("Environment variables that are ignored")) == set(IGNORED)
    changed, plain = read(**IGNORED, **HTTP), read(**HTTP)
    assert (changed.readers, changed.warnings, changed.views) == (plain.readers, plain.warnings, plain.views)


@pytest.mark.parametrize(
    ("value", "names"), [("", ["otlp_grpc"]), (" ", ["otlp_grpc"]), ("none", []), ("none,none", [])]
)
def test_without_exporters_it_is_otlp_and_none_is_none(value: str, names: list[str]) -> None:
    assert exporters(read(OTEL_METRICS_EXPORTER=value)) == names
    assert exporters(read()) == ["otlp_grpc"]


def test_defaults_are_those_of_the_specification() -> None:
    (reader,) = read().readers
    assert (reader.interval, reader.timeout) == (60.0, 30.0)
    assert read().exemplar_filter == "trace_based"
    assert read(OTEL_METRIC_EXPORT_TIMEOUT="0").readers[0].timeout is None


@pytest.mark.parametrize(
    ("variable", "value", "warning"),
    [
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon", "expected milliseconds, such as 5000; 60000 is used"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1", "expected milliseconds, such as 5000; 60000 is used"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "nan", "expected milliseconds, such as 5000; 30000 is used"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "1e30", "expected milliseconds, such as 5000; 30000 is used"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "some", "expected always_on, always_off, trace_based; trace_based is used"),
    ],
)
def test_a_wrong_setting_is_a_warning_and_the_default_is_used(variable: str, value: str, warning: str) -> None:
    assert [str(problem) for problem in read(**{variable: value}).warnings] == [f"{variable}: {warning}"]
    assert read(**{variable: value}).readers == read().readers


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({f"{ALL}PROTOCOL": "udp"}, f"{ALL}PROTOCOL: expected grpc, http/protobuf, http/json"),
        (
            {**HTTP, "EXPORTER_CORE_OTLP_HTTP_ENDPONT": "x"},
            "EXPORTER_CORE_OTLP_HTTP_ENDPONT: exporter 'otlp_http': unknown option 'endpont'; did you mean 'endpoint'?",
        ),
        (
            {**HTTP, "EXPORTER_CORE_OTLP_HTTP_RETRY__ENABLED": "perhaps"},
            "EXPORTER_CORE_OTLP_HTTP_RETRY__ENABLED: exporter 'otlp_http': retry.enabled: expected true or false",
        ),
        (
            {"OTEL_METRICS_EXPORTER": "sqlite"},
            "exporter 'sqlite': missing required option 'path'; its environment variables are EXPORTER_CORE_SQLITE_OP",
        ),
        (
            {**HTTP, f"{ALL}COMPRESSION": "deflate"},
            "exporter 'otlp_http': compression: expected 'none' or 'gzip'; set EXPORTER_CORE_OTLP_HTTP_COMPRESSION",
        ),
    ],
)
def test_a_wrong_option_names_the_variable(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**environ)
    assert str(caught.value).startswith(problem)


def test_an_exporter_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(ExporterNotFoundError, match="no exporter named 'sqlit' is installed; did you mean 'sqlite'"):
        read(OTEL_METRICS_EXPORTER="sqlit")


@pytest.mark.parametrize(
    ("option_name", "text", "value"),
    [
        ("HEADERS", '[{"name": "a", "value": "b"}]', {"a": "b"}),
        ("HEADERS_LIST", "a=5", {"a": "5"}),
        ("HEADERS_LIST", "a=$$b${C}", {"a": "$$b${C}"}),
    ],
)
def test_lists_are_json_and_texts_are_taken_as_they_are(option_name: str, text: str, value: dict[str, str]) -> None:
    assert headers(read(**HTTP, **{f"EXPORTER_CORE_OTLP_HTTP_{option_name}": text})) == value


def test_a_text_that_looks_like_a_number_is_a_text_where_one_is_expected() -> None:
    own = {"EXPORTER_CORE_SQLITE_PATH": "7", "EXPORTER_CORE_SQLITE_MAX_BYTES": "2000000"}
    config = read(OTEL_METRICS_EXPORTER="sqlite", **own)
    assert option("path")(config).endswith("/7")
    assert option("max_bytes")(config) == 2_000_000


def test_files_for_tls_count_only_where_the_endpoint_has_tls() -> None:
    """They are commonly set for all signals."""
    config = read(**HTTP, **KEY, OTEL_EXPORTER_OTLP_ENDPOINT="http://collector")
    assert option("tls", "key_file")(config) is None


def test_a_pull_exporter_gets_a_reader_of_its_kind() -> None:
    config = read(OTEL_METRICS_EXPORTER="prometheus,otlp_http")
    assert [(reader.exporter, reader.pull) for reader in config.readers] == [("prometheus", True), ("otlp_http", False)]


def test_a_random_instance_id_is_left_to_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the SDK has drawn for this process would be that of its forked children, too."""
    assert "service.instance.id" not in read().resource.attributes


def test_an_exporters_own_variable_overrides_opentelemetrys() -> None:
    config = read(**TLS, EXPORTER_CORE_OTLP_HTTP_ENDPOINT="http://own")
    assert option("endpoint")(config) == "http://own"


def test_no_value_shows_in_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        read(**HTTP, OTEL_EXPORTER_OTLP_ENDPOINT="ftp://user:hunter2@x", EXPORTER_CORE_OTLP_HTTP_TIMEOUT="hunter2")
    assert "hunter2" not in str(caught.value)
