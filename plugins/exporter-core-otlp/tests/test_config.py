"""The options: OpenTelemetry's schema, fields and nulls, and what is wrong said in one line."""

import json
from pathlib import Path

import jsonschema
import opentelemetry.configuration
import pytest
from exporter_core_otlp import OtlpFileConfig, OtlpGrpcConfig, OtlpHttpConfig
from exporter_core_otlp.grpc.config import parse_endpoint
from pydantic import ValidationError

from exporter_core import ConfigError, load_exporter

SCHEMA = json.loads((Path(opentelemetry.configuration.__path__[0]) / "schema.json").read_text(encoding="utf-8"))
MODELS = {
    "OtlpHttpMetricExporter": OtlpHttpConfig,
    "OtlpGrpcMetricExporter": OtlpGrpcConfig,
    "ExperimentalOtlpFileMetricExporter": OtlpFileConfig,
}
NETWORK = {name: model for name, model in MODELS.items() if model is not OtlpFileConfig}
FULL = {
    "endpoint": "https://collector:4318",
    "tls": {"ca_file": "/ca.pem", "key_file": "/key.pem", "cert_file": "/cert.pem"},
    "headers": [{"name": "api-key", "value": "abcdef"}, {"name": "ignored", "value": None}],
    "headers_list": "tenant=blue,Api-Key=overridden,escaped=a%2Cb",
    "compression": "gzip",
    "timeout": 0,
    "encoding": "json",
    "temporality_preference": "low_memory",
    "default_histogram_aggregation": "base2_exponential_bucket_histogram",
    "output_stream": "file:///var/log/metrics.jsonl",
}


def official(definition):
    """A validator, which takes the official schema for a sound one: to look takes longer than all else here."""
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{definition}", "$defs": SCHEMA["$defs"]})


@pytest.mark.parametrize(("definition", "model"), MODELS.items())
def test_every_field_of_the_official_schema_is_an_option_and_so_are_those_within(definition, model):
    fields = SCHEMA["$defs"][definition]["properties"]
    assert set(fields) <= set(model.model_fields)
    if "tls" in fields:
        tls = SCHEMA["$defs"][fields["tls"]["$ref"].rpartition("/")[2]]["properties"]
        assert set(tls) == set(model.model_fields["tls"].annotation.model_fields)


@pytest.mark.parametrize(("definition", "model"), MODELS.items())
def test_null_means_the_default_wherever_the_official_schema_has_null(definition, model):
    fields = SCHEMA["$defs"][definition]["properties"]
    given = dict.fromkeys(name for name in fields if name != "headers")
    # The official enumerations name null as a type and not as a value, so that its validators refuse it there.
    official(definition).validate({name: None for name in given if "$ref" not in fields[name]})
    assert model(**given) == model()
    jsonschema.validate(given, model.model_json_schema())


@pytest.mark.parametrize(("definition", "model"), MODELS.items())
def test_what_the_official_schema_takes_is_taken(definition, model):
    given = {name: value for name, value in FULL.items() if name in model.model_fields}
    official(definition).validate(given)
    jsonschema.validate(given, model.model_json_schema())
    assert model(**given)


@pytest.mark.parametrize("model", NETWORK.values())
def test_headers_are_put_together_and_no_timeout_is_no_limit(model):
    config = model(**{name: value for name, value in FULL.items() if name in model.model_fields})
    assert config.header_values() == {"tenant": "blue", "api-key": "abcdef", "escaped": "a,b"}
    assert config.timeout_seconds is None


def test_the_defaults_are_the_official_ones():
    config = OtlpHttpConfig()
    assert config.endpoint == "http://localhost:4318/v1/metrics"
    assert (config.compression, config.timeout_seconds, config.encoding) == ("none", 10.0, "protobuf")
    assert config.temporality_preference == "cumulative"
    assert config.default_histogram_aggregation == "explicit_bucket_histogram"
    assert config.header_values() == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "localhost:4318"}, "endpoint: expected a URL such as http://host:8080/path"),
        ({"endpoint": "http://host:port/"}, "endpoint: expected a URL such as"),
        ({"endpoint": "http://host/a b"}, "endpoint: expected a URL without spaces"),
        ({"endpoint": "http://host/ü"}, "endpoint: expected a URL of ASCII characters"),
        ({"tls": {"key_file": "key.pem"}}, "tls: key_file and cert_file belong together"),
        ({"tls": {"ca_file": "ca.pem"}}, "tls.ca_file needs an endpoint with TLS"),
        ({"tls": {"insecure": True}}, "tls: unknown option 'insecure'"),
        ({"headers": []}, "headers: expected at least one item"),
        ({"headers": [{"name": "a b", "value": "c"}]}, r"headers\[0\].name: expected the name of a header"),
        ({"headers": [{"name": "a", "value": "c\nd"}]}, r"headers\[0\].value: expected the value of a header on one"),
        ({"headers": [{"name": "a"}]}, r"headers\[0\]: missing required option 'value'"),
        (
            {"headers": [{"name": "Content-Length", "value": "10"}]},
            "headers: entry 1 is one that the exporter sets itself",
        ),
        (
            {"headers_list": "host"},
            "headers_list: expected name=value,name=value, values percent-encoded, which entry 1 is not",
        ),
        ({"headers_list": "content-type=a"}, "headers_list: entry 1 is one that the exporter sets itself"),
        ({"compression": "zstd"}, "compression: expected 'none' or 'gzip'"),
        ({"timeout": -1}, "timeout: expected a value of at least 0"),
        ({"timeout": True}, "timeout: expected whole milliseconds, such as 5000"),
        ({"retry": {"max_interval": "5 s"}}, r"retry.max_interval: expected whole milliseconds, such as 5000"),
        ({"max_request_size": 1000}, "max_request_size: expected a value of at least 1024"),
        (
            {"max_request_size": 5000, "max_request_bytes": 5000},
            "max_request_size and max_request_bytes are the same option: give one of them",
        ),
        ({"max_response_size": 0}, "max_response_size: expected a value of at least 1"),
        ({"retry": {"initial_interval": 0}}, r"retry.initial_interval: expected a value greater than 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_exporter("otlp_http", options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "localhost"}, "endpoint: expected .*: the port is missing"),
        ({"endpoint": "ftp://host:1"}, "endpoint: expected http://host:4317, https://host:4317, host:4317 or unix"),
        ({"endpoint": "host:port"}, "endpoint: expected http://host:4317"),
        ({"endpoint": f"http://{'a' * 64}:4317"}, "endpoint: .*: the host name is not valid"),
        ({"endpoint": "http://.host:4317"}, "endpoint: .*: the host name is not valid"),
        ({"endpoint": "unix:"}, "endpoint: expected http://host:4317"),
        ({"endpoint": "unix://host/socket"}, "endpoint: expected http://host:4317"),
        ({"endpoint": "http://host:4317/v1/metrics"}, "endpoint: .* without a path: gRPC knows the service by its"),
        ({"endpoint": "http://me:s3cret@host:4317"}, "endpoint: .* user and password go into headers"),
        ({"endpoint": "host: 4317"}, "endpoint: expected an endpoint without spaces"),
        ({"tls": {"ca_file": "ca.pem"}}, "tls.ca_file needs an endpoint with TLS"),
        ({"headers": [{"name": "trace-bin", "value": "AA"}]}, r"headers: entry 1 has a name that gRPC cannot"),
        ({"headers_list": "grpc-timeout=1"}, "headers_list: entry 1 has a name that gRPC cannot"),
        ({"headers": [{"name": "te", "value": "x"}]}, "headers: entry 1 is one that the exporter sets itself"),
        ({"headers": [{"name": "key", "value": "ü"}]}, "a header has a value that gRPC cannot send"),
        # What is given may stand in the text of the help, which stays readable.
        ({"endpoint": "http://"}, "endpoint: expected http://host:4317, https://host:4317, host:4317 or unix:///path"),
        ({"endpoint": "host"}, "endpoint: expected http://host:4317, https://host:4317, host:4317 or .* is missing"),
        ({"headers": [{"name": "grpc-", "value": "x"}]}, "without grpc- in front and -bin at the end"),
        ({"headers_list": "transfer-encoding=te"}, r"\(connection, .*, te, transfer-encoding, upgrade\); remove it"),
        ({"tls": {"insecure": 0}}, r"tls.insecure: expected true or false, not a number"),
    ],
)
def test_what_grpc_cannot_do_is_said_in_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_exporter("otlp_grpc", options)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "authority", "socket_path", "tls"),
    [
        ("http://localhost:4317", "localhost:4317", None, False),
        ("https://collector.example:4317/", "collector.example:4317", None, True),
        ("https://collector.example", "collector.example:443", None, True),
        ("http://[::1]", "[::1]:80", None, False),
        ("collector:4317", "collector:4317", None, None),
        ("http://bücher.example:4317", "xn--bcher-kva.example:4317", None, False),
        ("unix:///run/otlp.sock", "localhost", "/run/otlp.sock", None),
        ("unix:/run/otlp.sock", "localhost", "/run/otlp.sock", None),
        ("unix:otlp.sock", "localhost", "otlp.sock", None),
    ],
)
def test_an_endpoint_of_grpc_has_one_of_these_forms(endpoint, authority, socket_path, tls):
    found = parse_endpoint(endpoint)
    assert (found.authority, found.socket_path, found.tls) == (authority, socket_path, tls)


@pytest.mark.parametrize("insecure", [False, True])
def test_insecure_decides_where_the_endpoint_has_no_scheme_and_nowhere_else(insecure):
    def secure(endpoint):
        return OtlpGrpcConfig(endpoint=endpoint, tls={"insecure": insecure}).secure

    assert secure("collector:4317") is not insecure
    assert secure("unix:///run/otlp.sock") is not insecure
    assert secure("https://collector:4317")
    assert not secure("http://collector:4317")


@pytest.mark.parametrize("name", ["otlp_file", "otlp_file/development"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_stream": "stderr"}, "output_stream: expected stdout, or file:///absolute/path"),
        ({"output_stream": "file://"}, "output_stream: expected stdout, or file:///absolute/path/to/file.jsonl"),
        ({"output_stream": "/var/log/metrics.jsonl"}, "output_stream: expected stdout, or file:///absolute/path"),
        ({"output_stream": "file://metrics.jsonl"}, "output_stream: expected stdout, or file:///absolute/path"),
        ({"output_stream": "file:///logs/"}, "output_stream: expected stdout, or file:///absolute/path"),
        ({"output_stream": "file:///a%00b"}, "output_stream: expected stdout, or file:///absolute/path"),
        ({"output_stream": "file:///a?b"}, "output_stream: .* is written %3F"),
        ({"max_file_bytes": 0}, "max_file_bytes: expected a value of at least 1"),
        ({"max_file_bytes": 1000}, "max_file_bytes is for a file; output_stream is stdout"),
        ({"fsync": True}, "fsync is for a file; output_stream is stdout"),
        ({"file_mode": "0600"}, "file_mode is for a file; output_stream is stdout"),
        ({"file_mode": "0999"}, 'file_mode: expected an octal mode in quotes, such as "0640"'),
    ],
)
def test_what_a_file_cannot_do_is_said_in_one_line(name, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_exporter(name, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("output_stream", "path"),
    [
        ("stdout", None),
        (None, None),
        ("file:///var/log/metrics.jsonl", "/var/log/metrics.jsonl"),
        ("file://localhost/a%20b%3F", "/a b?"),
    ],
)
def test_an_output_is_standard_output_or_a_file(output_stream, path):
    assert OtlpFileConfig(output_stream=output_stream).path == (None if path is None else Path(path))


@pytest.mark.parametrize("model", NETWORK.values())
def test_the_limit_of_a_request_has_two_names(model):
    assert model().request_limit == 4_000_000
    assert model(max_request_bytes=5000).request_limit == 5000
    assert model(max_request_size=6000).request_limit == 6000
    assert model(max_request_size=None, max_request_bytes=5000).request_limit == 5000


@pytest.mark.parametrize(
    ("model", "endpoint"), [(OtlpHttpConfig, "https://host/v1/metrics"), (OtlpGrpcConfig, "https://host")]
)
def test_files_of_tls_that_do_not_exist_are_warned_of(model, endpoint, tmp_path):
    there = tmp_path / "key.pem"
    there.touch()
    tls = {"ca_file": "/none/ca.pem", "cert_file": str(tmp_path / "none.pem"), "key_file": str(there)}
    assert model(endpoint=endpoint, tls=tls).config_warnings() == {
        "tls.ca_file": "the file /none/ca.pem does not exist: create it, or change the path",
        "tls.cert_file": f"the file {tmp_path}/none.pem does not exist: create it, or change the path",
    }
    assert model(endpoint=endpoint).config_warnings() == {}


def test_no_secret_shows_in_a_config_or_in_what_is_wrong_with_it():
    config = OtlpHttpConfig(headers=[{"name": "key", "value": "s3cret"}], headers_list="token=s3cret")
    assert "s3cret" not in repr(config)
    with pytest.raises(ValidationError) as caught:
        OtlpHttpConfig(headers_list="s3cret")
    assert "s3cret" not in str(caught.value)
