"""The schema: its marks, its views, and the way up from version 1."""

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest
from exporter_core_sqlite import read
from exporter_core_sqlite.schema import APPLICATION_ID, SCHEMA_VERSION
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Histogram,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
)

from exporter_core import DeadlineExceededError, ExporterError
from exporter_core.testing import FakeClock

VERSION_1 = (Path(__file__).parent / "version_1.sql").read_text()


@pytest.fixture
def version_1(path):
    """A database file of schema version 1."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
        connection.execute("PRAGMA journal_mode = WAL")
    return path


def schema_of(path):
    """Names, columns, indexes and views, without comments and layout."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        objects = connection.execute(
            "SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2"
        ).fetchall()
        columns = {name: connection.execute(f"PRAGMA table_info({name})").fetchall() for _, name, _ in objects}
        indexes = {name: connection.execute(f"PRAGMA index_xinfo({name})").fetchall() for _, name, _ in objects}
        views = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'view' ORDER BY name").fetchall()
    return objects, columns, indexes, views


def test_a_database_says_whose_it_is_and_which_version_and_is_in_wal_mode(make_exporter, context, data, query):
    make_exporter().export(context, data)
    assert query("PRAGMA application_id") == [(APPLICATION_ID,)]
    assert query("PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert query("PRAGMA journal_mode") == [("wal",)]
    assert query("PRAGMA auto_vacuum") == [(2,)]


def test_a_version_1_database_is_migrated_with_everything_in_it(version_1, make_exporter, context, query):
    make_exporter().export(context, MetricsData([]))
    assert query("PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert query("PRAGMA foreign_key_check") == []
    assert query("PRAGMA integrity_check") == [("ok",)]
    first, second = read(version_1)
    orders, temperature, duration, size, later = first.resource_metrics[0].scope_metrics[0].metrics
    assert (orders.name, orders.unit, orders.data.data_points[0].value) == ("orders", "1", 7)
    assert (temperature.description, temperature.data.data_points[0].value) == (None, 21.5)
    assert duration.data == Histogram(
        [
            HistogramDataPoint(
                {"path": "/"}, 1795431540000000000, 1795431548000000000, 3, 0.7, (1, 2, 0), (0.1, 0.5), 0.1, 0.4
            )
        ],
        AggregationTemporality.DELTA,
    )
    assert size.data == ExponentialHistogram(
        [
            ExponentialHistogramDataPoint(
                attributes={},
                start_time_unix_nano=1795431540000000000,
                time_unix_nano=1795431548000000000,
                count=2,
                sum=6,
                scale=20,
                zero_count=0,
                positive=Buckets(1048575, (1, 1)),
                negative=Buckets(0, ()),
                flags=0,
                min=2,
                max=4,
            )
        ],
        AggregationTemporality.CUMULATIVE,
    )
    assert later.data.data_points[0].explicit_bounds == (0.1, 0.5)
    assert [metric.name for metric in second.resource_metrics[0].scope_metrics[0].metrics] == [
        "orders",
        "temperature",
        "duration",
    ]
    other_bounds = second.resource_metrics[0].scope_metrics[0].metrics[2].data.data_points[0]
    assert (other_bounds.explicit_bounds, other_bounds.bucket_counts) == ((1.0,), (0, 1))


def test_a_migrated_database_has_the_schema_of_one_made_anew(version_1, tmp_path, make_exporter, context, data):
    make_exporter().export(context, data)
    make_exporter(path=tmp_path / "anew.db").export(context, data)
    assert schema_of(version_1) == schema_of(tmp_path / "anew.db")


def test_a_migrated_series_is_continued_not_repeated(version_1, make_exporter, context, data_of, query):
    histogram = HistogramDataPoint({"path": "/"}, 1, 2, 1, 0.2, [0, 1, 0], [0.1, 0.5], 0.2, 0.2)
    exporter = make_exporter()
    exporter.export(context, MetricsData([]))
    before = query("SELECT count(*) FROM series")
    first = next(read(version_1))
    scope = first.resource_metrics[0].scope_metrics[0]
    scope.metrics[:] = [metric for metric in scope.metrics if metric.name == "duration"]
    scope.metrics[0].data.data_points[:] = [histogram]
    exporter.export(context, first)
    assert query("SELECT count(*) FROM series") == before


def test_a_failed_migration_leaves_version_1(version_1, make_exporter, context, data, query):
    query("CREATE TABLE exemplars (in_the_way)")
    with pytest.raises(ExporterError, match="table exemplars already exists"):
        make_exporter().export(context, data)
    assert query("PRAGMA user_version") == [(1,)]
    assert query("SELECT count(*) FROM points") == [(8,)]
    query("DROP TABLE exemplars")
    make_exporter().export(context, data)
    assert query("PRAGMA user_version") == [(SCHEMA_VERSION,)]


@pytest.fixture
def many_histograms(version_1, query):
    """A version 1 database of 2,000 more histograms: 500 series, each with two kinds of bounds."""
    numbers = "WITH RECURSIVE c (x) AS (SELECT 1001 UNION ALL SELECT x + 1 FROM c WHERE x < 3000) "
    query(numbers + "INSERT INTO series SELECT x, 3, json_object('n', x) FROM c WHERE x <= 1500")  # noqa: S608 - the line above
    query(numbers + "INSERT INTO points SELECT x, 1001 + x % 500, x, 1, NULL FROM c")  # noqa: S608 - as above
    bounds = "iif(x % 3, '[1.0]', '[2.0]')"
    query(numbers + f"INSERT INTO histograms SELECT x, x, 1, 1, 1, 0, '[1,0]', {bounds} FROM c")  # noqa: S608 - as above
    query("INSERT INTO batches VALUES (3, 1795431550000000000, 1001, 3000)")
    return version_1


@pytest.fixture
def expire_at(monkeypatch, query):
    """Makes a context whose deadline passes in the statement that migrates the point with this id."""

    def at(point_id):
        clock = FakeClock()
        expiring = clock.context(timeout=5)
        connect = sqlite3.connect

        def connect_with_function(*arguments, **options):
            connection = connect(*arguments, **options)
            connection.create_function("expire", 0, lambda: clock.advance(5))
            return connection

        monkeypatch.setattr(sqlite3, "connect", connect_with_function)
        query("DROP TRIGGER IF EXISTS stop")
        query("DROP VIEW IF EXISTS endless")
        query("CREATE VIEW endless AS WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT 1 FROM c) SELECT x FROM c")
        when = f"AFTER UPDATE ON points WHEN old.id = {point_id}"
        query(f"CREATE TRIGGER stop {when} BEGIN SELECT expire(); SELECT count(*) FROM endless; END")  # noqa: S608 - the line above
        return expiring

    return at


def test_a_migration_that_takes_longer_than_an_export_goes_on_in_the_next(
    many_histograms, make_exporter, context, data, query, expire_at
):
    exporter = make_exporter()
    for point_id, left in ((1_900, 1_500), (2_700, 500)):
        with pytest.raises(DeadlineExceededError, match="its migration to schema version 2 has not ended by the dead"):
            exporter.export(expire_at(point_id), data)
        assert left <= query("SELECT count(*) FROM histograms_1")[0][0] < left + 500
        with pytest.raises(ExporterError, match="its migration has not ended: export into it until it has"):
            list(read(many_histograms))
    query("DROP TRIGGER stop")
    exporter.export(context, data)
    assert query("PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert query("PRAGMA foreign_key_check") == []
    assert query("SELECT count(*) FROM series WHERE metric_id = 3") == [(2 + 1_000,)]
    points = list(read(many_histograms))[2].resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert [(point.count, point.attributes, point.explicit_bounds) for point in points] == [
        (number, {"n": 1_001 + number % 500}, (1.0,) if number % 3 else (2.0,)) for number in range(1_001, 3_001)
    ]


def test_two_exporters_that_open_a_version_1_database_at_once_both_succeed(
    many_histograms, make_exporter, context, data
):
    barrier = threading.Barrier(2)
    errors = []

    def export():
        exporter = make_exporter()
        barrier.wait(30)
        try:
            exporter.export(context, data)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test fails of it
            errors.append(error)

    threads = [threading.Thread(target=export) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert len(list(read(many_histograms))) == 5


def test_reading_an_old_version_says_what_to_do(version_1):
    with pytest.raises(ExporterError, match="has schema version 1: export into it once, which migrates it"):
        list(read(version_1))


def test_latest_has_the_newest_value_of_each_series(make_exporter, context, data_of, point, query):
    exporter = make_exporter()
    a, b = {"s": "a"}, {"s": "b"}
    exporter.export(context, data_of([point(1, a, at=10), point(5, a, at=30), point(2, b, at=10)]))
    exporter.export(context, data_of([point(9, a, at=20), point(3, b, at=10)]))
    assert query("SELECT attributes, value FROM latest ORDER BY attributes") == [('{"s":"a"}', 5), ('{"s":"b"}', 3)]


def test_samples_show_every_point_in_words(make_exporter, context, data_of, point, query):
    exporter = make_exporter()
    exporter.export(context, data_of([point(1.5, {"k": True}, at=1_700_000_000_123_456_789)]))
    exporter.export(context, data_of([point(float("nan"), at=0)], name="nothing"))
    columns = "time, service, scope, metric, type, unit, temporality, attributes, value, is_nan, count"
    assert query(f"SELECT {columns} FROM samples") == [  # noqa: S608 - the line above
        ("2023-11-14T22:13:20.123Z", "test", "scope", "metric", "gauge", "", None, '{"k":true}', 1.5, 0, None),
        ("1970-01-01T00:00:00.000Z", "test", "scope", "nothing", "gauge", "", None, "{}", None, 1, None),
    ]


def test_samples_show_the_summary_of_both_kinds_of_histogram(make_exporter, context, data_of, query):
    explicit = HistogramDataPoint({}, 1, 2, 3, 6, [1, 2], [2.0], 1, 3)
    exponential = ExponentialHistogramDataPoint({}, 1, 2, 3, 7, 0, 0, Buckets(0, [3]), Buckets(0, []), 0, 1, 4)
    exporter = make_exporter()
    exporter.export(context, data_of(Histogram([explicit], AggregationTemporality.DELTA)))
    exporter.export(context, data_of(ExponentialHistogram([exponential], AggregationTemporality.CUMULATIVE)))
    assert query("SELECT type, temporality, value, is_nan, count, sum, min, max FROM samples") == [
        ("histogram", "delta", None, 0, 3, 6, 1, 3),
        ("exponential_histogram", "cumulative", None, 0, 3, 7, 1, 4),
    ]


def test_exemplars_have_their_trace_and_span_in_hexadecimal(make_exporter, context, data_of, query):
    exemplar = Exemplar({"user": "ü"}, 1.5, 9, span_id=0xABC, trace_id=0xDEF)
    make_exporter().export(context, data_of([NumberDataPoint({}, 1, 2, 3, [exemplar])]))
    assert query("SELECT value, time_unix_nano, trace_id, span_id, filtered_attributes FROM exemplars") == [
        (1.5, 9, "00000000000000000000000000000def", "0000000000000abc", '{"user":"ü"}')
    ]


def test_a_series_is_stored_once_however_often_it_is_exported(make_exporter, context, data_of, point, query):
    for _ in range(2):
        exporter = make_exporter()
        for _ in range(3):
            exporter.export(context, data_of([point(attributes={"k": number, "l": [number]}) for number in range(5)]))
    for table, rows in {"resources": 1, "scopes": 1, "metrics": 1, "series": 5, "points": 30}.items():
        assert len(query(f"SELECT * FROM {table}")) == rows  # noqa: S608 - the line above
