"""The files of a plugin to start from that are others where its exporter posts over HTTP."""

# ruff: noqa: E501 - the table of options has long lines

from __future__ import annotations

from typing import Final

HTTP_FILES: Final = {
    "README.md": """
# $distribution

An exporter plugin for exporter-core: `$name` posts metrics to a URL, as OTLP JSON.

```sh
pip install $distribution
exporter-core describe $name
exporter-core init $name -o metrics.yaml
```

```yaml
file_format: "1.1"
meter_provider:
  readers:
    - periodic:
        exporter:
          $name:
            endpoint: http://localhost:8080/metrics
```

## Options

| option | type | default | description |
|---|---|---|---|
| `endpoint` | text | `http://localhost:8080/metrics` | The URL that metrics are posted to. |
| `tls` | mapping | `{"ca_file": null, "key_file": null, "cert_file": null}` | TLS towards the server, for an endpoint with `https://`. |
| `tls.ca_file` | path | none | Certificates (PEM) that the server's is checked against, instead of the system's. |
| `tls.key_file` | path | none | The client's private key (PEM), for mutual TLS. Needs `cert_file`. |
| `tls.cert_file` | path | none | The client's certificate (PEM), for mutual TLS. Needs `key_file`. |
| `headers` | list of {name: text, value: text (secret)}, at least 1 item | none | Headers to send with each request; they override those of `headers_list`. |
| `headers_list` | text (secret) | none | Headers as one text, `name=value,name=value`, values percent-encoded, as in `OTEL_EXPORTER_OTLP_HEADERS`. |
| `timeout` | integer, at least 0, at most 9223372036000 | `10000` | Milliseconds that one export may take with all its attempts, besides the reader's own timeout; 0 for no limit. |
| `retry` | mapping | `{"enabled": true, "initial_interval": 1000, "max_interval": 5000, "max_elapsed_time": 60000}` | Retries of failed requests. |
| `retry.enabled` | boolean | `true` | Retry at all. |
| `retry.initial_interval` | integer, more than 0, at most 9223372036000 | `1000` | Milliseconds before the second attempt, with ±50 % jitter; each wait is 1.5 times the last. A server that asks for a longer wait gets it. |
| `retry.max_interval` | integer, more than 0, at most 9223372036000 | `5000` | Milliseconds that the wait grows to. |
| `retry.max_elapsed_time` | integer, at least 0, at most 9223372036000 | `60000` | Milliseconds after which there is no further attempt; 0 for no such limit. |
| `max_response_size` | integer, at least 1 | `4194304` | Bytes of an answer that are received; the request of a longer one has failed. |
| `compression` | `none`, `gzip` | `none` | Compression of requests. |
| `basic_auth` | mapping | none | User and password, sent as `Authorization: Basic`. |
| `basic_auth.username` | text | required | The user. |
| `basic_auth.password` | text (secret) | required | The password. |
| `bearer_token` | text (secret) | none | A token, sent as `Authorization: Bearer`. |

`python -m exporter_core.option_table $package:${title}Config` prints this table.

${about_conformance}
""",
    "$package/exporter.py": """
\"\"\"The exporter `$name` and its options.\"\"\"

from exporter_core import Context, PartialSuccessError
from exporter_core.net import AuthOptions, CompressionOptions, HttpClient, HttpOptions, HttpUrl, NetworkExporter
from exporter_core.otlp import JsonEncoder
from opentelemetry.sdk.metrics.export import MetricsData

__all__ = ["${title}Config", "${title}Exporter"]


class ${title}Config(AuthOptions, CompressionOptions, HttpOptions):
    \"\"\"Options of the exporter: those of every exporter over HTTP. A secret among yours is a `pydantic.SecretStr`.\"\"\"

    endpoint: HttpUrl = "http://localhost:8080/metrics"
    \"\"\"The URL that metrics are posted to.\"\"\"


class ${title}Exporter(NetworkExporter[${title}Config, HttpClient]):
    \"\"\"Post metrics to a URL, as OTLP JSON.

    The base class keeps the exporter contract: exports take turns, and end at their deadline or on cancellation; a
    shutdown ends the export that runs, and closes the connection.
    \"\"\"

    def __init__(self, config: ${title}Config) -> None:
        # With policy=..., you decide which answers are errors, and which of them are worth another attempt.
        super().__init__(config, HttpClient(config, user_agent="$distribution/0.1.0"))
        self._encoder = JsonEncoder()

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        \"\"\"Deliver the metrics before returning, or raise: there is no other way to say that it failed.\"\"\"
        encoded = self._encoder.encode(metrics)
        if encoded.points:
            self.client.post(context, encoded.data, content_type="application/json")
        if encoded.dropped:
            first = encoded.dropped[0]
            raise PartialSuccessError(f"metric {first.metric!r}: {first.reason}", rejected_points=len(encoded.dropped))
""",
    "$package/harness.py": """
\"\"\"Shows the conformance checker what the exporter delivers, and lets its backend fail.\"\"\"

from collections.abc import Iterable

from exporter_core.conformance import Capabilities, Point, SinkHarness, flatten
from exporter_core.otlp import decode_json

__all__ = ["${title}Harness"]


class ${title}Harness(SinkHarness):
    \"\"\"An HTTP server of its own for each clause.\"\"\"

    capabilities = Capabilities(not_applicable={"EXP-16": "the server takes a request as a whole or not at all"})
    kind = "http"
    secret = "canary-5f3a9e"

    def config(self) -> dict[str, object]:
        \"\"\"The options that point the exporter at the server, with short waits that only its caller ends.\"\"\"
        retry = {"initial_interval": 20, "max_interval": 50, "max_elapsed_time": 0}
        return {"endpoint": self.endpoint, "bearer_token": self.secret, "timeout": 0, "retry": retry}

    def decode(self, content: bytes) -> Iterable[Point]:
        \"\"\"The points of a request.\"\"\"
        return flatten(decode_json(content))
""",
    "tests/test_conformance.py": """
${suite_head}

ACCEPTED = {
    "EXP-16": ("NOT_APPLICABLE", "the server takes a request as a whole or not at all"),
    "EXP-19": ("NOT_APPLICABLE", "its protocol has no one status for success"),
    "FLU-04": ("NOT_APPLICABLE", "it holds nothing, so that no flush delivers anything"),
}

${suite}
""",
    "tests/test_exporter.py": """
\"\"\"The exporter as its users get it: by name, behind the guard.\"\"\"

import pytest
from exporter_core import ConfigError, Context, ExporterError, load_exporter
from exporter_core.conformance.sinks import HttpSink
from exporter_core.otlp import decode_json
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader


@pytest.fixture
def server():
    with HttpSink() as sink:
        yield sink


${metrics_fixture}


def test_metrics_arrive(server, metrics):
    with load_exporter("$name", {"endpoint": server.endpoint, "compression": "gzip"}) as exporter:
        exporter.export(Context.with_timeout(10), metrics)
        exporter.export(Context.with_timeout(10), metrics)
    assert [names(request.body) for request in server.requests()] == [["requests", "duration"]] * 2


def names(body):
    (resource,) = decode_json(body).resource_metrics
    return [metric.name for scope in resource.scope_metrics for metric in scope.metrics]


def test_the_error_has_the_servers_words_and_no_secret(server, metrics):
    server.script(then="status:403")
    options = {"endpoint": server.endpoint, "bearer_token": "hunter22"}
    with load_exporter("$name", options) as exporter:
        with pytest.raises(ExporterError, match="403 Forbidden: scripted") as caught:
            exporter.export(Context.with_timeout(10), metrics)
    assert "hunter22" not in str(caught.value)
    assert server.requests()[0].header("authorization")


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'endpoint'"):
        load_exporter("$name", {"endpont": "http://localhost/"})
""",
}
"""Templates of the paths and texts."""
