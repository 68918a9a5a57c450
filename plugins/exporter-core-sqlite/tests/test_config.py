"""The options, and what the exporter tells the SDK by them."""

import os
from pathlib import Path

import pytest
from exporter_core_sqlite import SqliteConfig, SqliteExporter
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import DefaultAggregation, ExponentialBucketHistogramAggregation
from pydantic import ValidationError

from exporter_core import ExporterConfig, InstrumentKind

CUMULATIVE, DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA


@pytest.mark.parametrize(
    ("preference", "delta"),
    [
        ("cumulative", set()),
        ("delta", {"counter", "observable_counter", "histogram"}),
        ("low_memory", {"counter", "histogram"}),
    ],
)
def test_the_temporality_of_each_kind_is_what_the_preference_means_in_opentelemetry(preference, delta, tmp_path):
    exporter = SqliteExporter(SqliteConfig(path=tmp_path / "m.db", temporality_preference=preference))
    assert {kind: exporter.temporality(kind) for kind in InstrumentKind} == {
        kind: DELTA if kind in delta else CUMULATIVE for kind in InstrumentKind
    }


def test_histograms_are_exponential_when_that_is_asked_for_and_nothing_else_is(tmp_path):
    options = {"path": tmp_path / "m.db", "default_histogram_aggregation": "base2_exponential_bucket_histogram"}
    exporter = SqliteExporter(SqliteConfig(**options))
    kinds = {kind: type(exporter.aggregation(kind)) for kind in InstrumentKind}
    assert kinds.pop(InstrumentKind.HISTOGRAM) is ExponentialBucketHistogramAggregation
    assert set(kinds.values()) == {DefaultAggregation}


def test_aggregation_is_the_default_of_the_sdk_unless_told_otherwise(tmp_path):
    exporter = SqliteExporter(SqliteConfig(path=tmp_path / "m.db"))
    assert {type(exporter.aggregation(kind)) for kind in InstrumentKind} == {DefaultAggregation}


def test_the_path_is_absolute_with_the_home_directory_in_place_and_links_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert SqliteConfig(path="~/m.db").path == tmp_path / "m.db"
    assert SqliteConfig(path="sub/../link/m.db").path == Path(os.getcwd(), "link/m.db")  # noqa: PTH109 - as the shell says


def test_making_an_exporter_touches_nothing(tmp_path):
    SqliteExporter(SqliteConfig(path=tmp_path / "m.db"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "expected the path of a file, not an empty text"),
        (" ", "expected the path of a file, not an empty text"),
        (":memory:", "a database in memory and SQLite URIs are not supported"),
        ("file:m.db?mode=memory", "a database in memory and SQLite URIs are not supported"),
        ("a\0b", "without NUL characters"),
        ("~nobody-of-this-name/m.db", "a path whose home directory is known"),
        (5, "not a valid path"),
        (None, "not a valid path"),
    ],
)
def test_a_path_that_names_no_file_is_refused(path, message):
    with pytest.raises(ValidationError, match=message):
        SqliteConfig(path=path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"retention_seconds": 0},
        {"retention_seconds": float("inf")},
        {"retention_seconds": float("nan")},
        {"max_bytes": 1000},
        {"max_bytes": 1.5e6 + 0.5},
        {"synchronous": "extra"},
        {"busy_timeout_seconds": -1},
        {"temporality_preference": "Delta"},
        {"pth": "m.db"},
    ],
)
def test_a_wrong_option_is_refused(wrong, tmp_path):
    with pytest.raises(ValidationError):
        SqliteConfig(path=tmp_path / "m.db", **wrong)


def test_every_option_is_described():
    assert issubclass(SqliteConfig, ExporterConfig)
    for name, option in SqliteConfig.model_json_schema()["properties"].items():
        assert option.get("description"), name


@pytest.mark.parametrize(("synchronous", "level"), [("off", 0), ("normal", 1), ("full", 2)])
def test_the_connection_syncs_as_the_option_says(synchronous, level, make_exporter, context, data):
    exporter = make_exporter(synchronous=synchronous)
    exporter.export(context, data)
    assert exporter._database._connection.execute("PRAGMA synchronous").fetchone() == (level,)
