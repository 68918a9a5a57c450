"""The options of prometheus_remote_write: their names, what is wrong said in one line, and that secrets do not show."""

import re
from pathlib import Path

import pytest
import yaml
from exporter_core_prometheus import RemoteWriteConfig, RemoteWriteExporter
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

from exporter_core import ConfigError, ExporterRegistry, InstrumentKind, load_exporter
from exporter_core.config import parse_config
from exporter_core.option_table import option_table

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_table_of_options_is_the_one_of_the_config_model():
    assert option_table(RemoteWriteConfig) in README, "print it with the command above the table"


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
def test_the_configurations_of_the_page_are_valid(text):
    assert parse_config(yaml.safe_load(text)).readers


def test_the_entry_point_is_the_class():
    assert ExporterRegistry().exporter_class("prometheus_remote_write") is RemoteWriteExporter


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "localhost:9090"}, "endpoint: expected a URL such as http://host:8080/path"),
        ({"protocol": "3.0"}, r"protocol: expected '1\.0', '2\.0' or 'auto'"),
        ({"translation_strategy": "none"}, "translation_strategy: expected 'underscore_escaping_with_suffixes'"),
        ({"max_request_samples": 0}, "max_request_samples: expected a value of at least 1"),
        ({"resource_constant_labels": {"include": ["a"]}}, "resource_constant_labels: unknown option 'include'"),
        ({"temporality_preference": "delta"}, "unknown option 'temporality_preference'"),
        ({"bearer_token": "s3cret", "basic_auth": {"username": "u", "password": "s3cret"}}, "not both"),
        *(
            ({"headers": [{"name": name, "value": "x"}]}, "headers: entry 1 is one that the exporter sets itself")
            for name in ("Content-Encoding", "Content-Type", "User-Agent", "X-Prometheus-Remote-Write-Version")
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_exporter("prometheus_remote_write", options)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_null_is_the_default_and_secrets_do_not_show():
    names = ("endpoint", "protocol", "resource_constant_labels", "translation_strategy", "scope_info_enabled", "tls")
    assert RemoteWriteConfig(**dict.fromkeys(names)) == RemoteWriteConfig()
    assert "s3cret" not in repr(RemoteWriteConfig(bearer_token="s3cret", proxy="http://u:s3cret@proxy:1"))  # noqa: S106


@pytest.mark.parametrize(
    ("labels", "key", "taken"),
    [
        ({"included": ["k8s.*"]}, "k8s.pod.name", True),
        ({"included": ["k8s.*"]}, "host.name", False),
        ({"included": ["k8s.?"]}, "k8s.pod", False),
        ({"excluded": ["*.id"]}, "host.id", False),
        ({"excluded": ["*.id"]}, "host.name", True),
        ({"included": ["host.*"], "excluded": ["host.id"]}, "host.id", False),
        ({"included": ["[ab]"]}, "a", False),
        ({"included": ["[ab]"]}, "[ab]", True),
        (None, "host.name", False),
    ],
)
def test_constant_labels_are_chosen_by_patterns(labels, key, taken):
    config = RemoteWriteConfig(resource_constant_labels=labels)
    options = config.translation_options(target_info_enabled=True, job_and_instance=True)
    assert options.is_constant_label(key) is taken


def test_temporality_is_cumulative_and_histograms_are_what_the_option_says():
    for aggregation in ("explicit_bucket_histogram", "base2_exponential_bucket_histogram"):
        exporter = RemoteWriteExporter(RemoteWriteConfig(default_histogram_aggregation=aggregation))
        assert {exporter.temporality(kind) for kind in InstrumentKind} == {AggregationTemporality.CUMULATIVE}
        found = {
            kind: isinstance(exporter.aggregation(kind), ExponentialBucketHistogramAggregation)
            for kind in InstrumentKind
        }
        assert found.pop(InstrumentKind.HISTOGRAM) is (aggregation != "explicit_bucket_histogram")
        assert not any(found.values())
