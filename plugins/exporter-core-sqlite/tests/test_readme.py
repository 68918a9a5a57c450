"""What the README shows is true: its table, its configuration, its program and every query."""

import contextlib
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from exporter_core_sqlite import SqliteConfig, read
from exporter_core_sqlite.schema import APPLICATION_ID, SCHEMA_VERSION
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from exporter_core.option_table import option_table

pytestmark = pytest.mark.usefixtures("warm_python")

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


QUERIES = [query.strip() for block in blocks("sql") for query in block.split(";") if query.strip()]


@pytest.fixture
def filled(make_exporter, context, path):
    """A database with something for every query."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], exemplar_filter=AlwaysOnExemplarFilter()).get_meter("shop")
    orders, duration = meter.create_counter("orders"), meter.create_histogram("duration")
    exporter = make_exporter()
    for _ in range(2):
        orders.add(3, {"branch": "north"})
        duration.record(30)
        exporter.export(context, reader.get_metrics_data())
    return path


def test_the_table_of_options_is_the_one_of_the_config_model():
    assert option_table(SqliteConfig) in README, "print it with the command above the table"


def test_the_configuration_is_one():
    (document,) = map(yaml.safe_load, blocks("yaml"))
    (reader,) = document["meter_provider"]["readers"]
    config = SqliteConfig(**reader["periodic"]["exporter"]["sqlite"])
    assert config.path.name == "metrics.db"


def test_the_program_runs_and_prints_what_it_stored(tmp_path):
    (program,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert '"name": "orders"' in done.stdout
    assert len(list(read(tmp_path / "metrics.db"))) == 1


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_every_query_finds_something(query, filled):
    with contextlib.closing(sqlite3.connect(filled)) as connection:
        assert connection.execute(query).fetchall()


def test_the_queries_about_rates_and_buckets_are_right(filled):
    rate = next(query for query in QUERIES if "per_second" in query)
    buckets = next(query for query in QUERIES if "up_to" in query)
    with contextlib.closing(sqlite3.connect(filled)) as connection:
        (metric, _, _, none), (_, _, _, per_second) = connection.execute(rate).fetchall()
        (first, second) = connection.execute("SELECT time_unix_nano FROM samples WHERE metric = 'orders'").fetchall()
        assert (metric, none) == ("orders", None)
        assert per_second == pytest.approx(3e9 / (second[0] - first[0]))
        assert connection.execute(buckets).fetchall() == [("duration", 4, 50.0, 2)]


def test_the_columns_of_the_views_are_those_that_are_named(filled):
    with contextlib.closing(sqlite3.connect(filled)) as connection:
        for view in ("samples", "latest"):
            for _, name, *_ in connection.execute(f"PRAGMA table_info({view})").fetchall():
                assert f"`{name}`" in README


def test_the_marks_of_the_file_are_those_that_are_named():
    assert f"`PRAGMA application_id` is {APPLICATION_ID}" in README
    assert f"the version of the schema, {SCHEMA_VERSION}." in README
