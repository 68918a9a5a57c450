"""A database that cannot be used is an error that says so, and what is not ours stays as it is."""

import os
import sqlite3
import struct
import subprocess
import sys
import tempfile
import textwrap
from contextlib import closing, contextmanager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from exporter_core_sqlite import read
from exporter_core_sqlite.schema import SCHEMA_VERSION
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, HistogramDataPoint, NumberDataPoint

from exporter_core import Context, ExporterError, PartialSuccessError

pytestmark = pytest.mark.usefixtures("warm_python")


def test_a_missing_directory_is_named_and_not_created(tmp_path, make_exporter, context, data):
    path = tmp_path / "missing" / "metrics.db"
    with pytest.raises(ExporterError) as caught:
        make_exporter(path=path).export(context, data)
    assert str(caught.value) == (f"{path}: the directory {path.parent} does not exist: create it, or change `path`")
    assert not path.parent.exists()


def test_the_next_export_finds_what_was_mended_meanwhile(tmp_path, make_exporter, context, data):
    exporter = make_exporter(path=tmp_path / "later" / "metrics.db")
    with pytest.raises(ExporterError):
        exporter.export(context, data)
    (tmp_path / "later").mkdir()
    exporter.export(context, data)
    assert len(list(read(tmp_path / "later" / "metrics.db"))) == 1


def test_a_directory_in_place_of_the_file_is_refused(tmp_path, make_exporter, context, data):
    with pytest.raises(ExporterError, match="expected a file, not a directory: change `path`"):
        make_exporter(path=tmp_path).export(context, data)


def test_a_pipe_in_place_of_the_file_is_refused_without_waiting_for_its_writer(path, make_exporter, context, data):
    os.mkfifo(path)
    with pytest.raises(ExporterError, match="expected a file, not a device, pipe or socket"):
        make_exporter().export(context, data)


@pytest.mark.parametrize("content", [b"x", b"a text file\n" * 500, b"SQLite format 3\0", b"\0" * 8192])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(content, path, make_exporter, context, data):
    path.write_bytes(content)
    with pytest.raises(ExporterError, match="not a SQLite database; it was left as it is: choose another path"):
        make_exporter().export(context, data)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("pragma", ["journal_mode = delete", "journal_mode = wal", "application_id = 1234"])
def test_a_database_of_another_application_is_refused_and_left_as_it_is(pragma, path, make_exporter, context, data):
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute(f"PRAGMA {pragma}")
        foreign.execute("CREATE TABLE invoices (number)")
        foreign.commit()
    content = path.read_bytes()
    with pytest.raises(ExporterError, match="a SQLite database of another application; it was left as it is"):
        make_exporter().export(context, data)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_an_empty_file_becomes_a_database(path, make_exporter, context, data):
    path.touch()
    make_exporter().export(context, data)
    assert len(list(read(path))) == 1


def test_a_database_of_a_newer_schema_is_refused_and_left_as_it_is(path, make_exporter, context, data):
    first = make_exporter()
    first.export(context, data)
    first.shutdown(context)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    content = path.read_bytes()
    with pytest.raises(ExporterError, match=f"has schema version {SCHEMA_VERSION + 1}.*: upgrade it, or choose"):
        make_exporter().export(context, data)
    assert path.read_bytes() == content


def test_an_open_exporter_notices_that_the_schema_became_newer(make_exporter, context, data, query):
    exporter = make_exporter()
    exporter.export(context, data)
    query(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(ExporterError, match=f"has schema version {SCHEMA_VERSION + 1}"):
        exporter.export(context, data)
    assert query("SELECT count(*) FROM points") == [(1,)]


def test_a_corrupt_database_is_an_error_that_says_what_to_do(path, make_exporter, context, data_of, point):
    exporter = make_exporter()
    exporter.export(context, data_of([point(attributes={"k": number}) for number in range(5_000)]))
    exporter.shutdown(context)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    with pytest.raises(ExporterError, match=r"the database is corrupt: move the file away, and try .*\.recover"):
        make_exporter().export(context, data_of([1]))


def test_a_database_that_is_marked_read_only_is_an_error(path, make_exporter, context, data):
    exporter = make_exporter()
    exporter.export(context, data)
    exporter.shutdown(context)
    with path.open("r+b") as file:
        file.seek(18)
        file.write(struct.pack("B", 3))  # a write version above 2 makes a database read-only, whoever opens it
    with pytest.raises(ExporterError, match="it cannot be written"):
        make_exporter().export(context, data)


@contextmanager
def without_privileges():
    """As a user whom permissions apply to."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_without_write_permission_is_an_error_and_nothing_is_lost_silently(make_exporter, context, data):
    with tempfile.TemporaryDirectory() as name:  # pytest's own directories are closed to other users
        path = Path(name, "metrics.db")
        exporter = make_exporter(path=path)
        exporter.export(context, data)
        exporter.shutdown(context)
        path.chmod(0o444)
        path.parent.chmod(0o555)
        try:
            with without_privileges(), pytest.raises(ExporterError, match="check the permissions of the file and its"):
                make_exporter(path=path).export(context, data)
        finally:
            path.parent.chmod(0o755)
        assert len(list(read(path))) == 1


def test_a_full_disk_is_an_error_that_leaves_earlier_exports_and_later_ones_work(
    make_exporter, context, data_of, point, query
):
    exporter = make_exporter()
    exporter.export(context, data_of([1]))
    exporter._database._connection.execute("PRAGMA max_page_count = 1")  # not below what it has
    with pytest.raises(ExporterError, match="the disk, or the file's allowed size, is full"):
        exporter.export(context, data_of([point(attributes={"k": number}) for number in range(5_000)]))
    assert query("SELECT count(*), (SELECT count(*) FROM series) FROM points") == [(1, 1)]
    exporter.export(context, data_of([point(attributes={"k": number}) for number in range(5_000)]))
    assert query("SELECT count(*), (SELECT count(*) FROM series) FROM points") == [(5_001, 5_001)]
    assert query("PRAGMA foreign_key_check") == []


LIMITED = """
    import resource, sys
    from exporter_core import Context, ExporterError
    from exporter_core_sqlite import SqliteConfig, SqliteExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    gauge = MeterProvider([reader]).get_meter("meter").create_gauge("gauge")
    exporter = SqliteExporter(SqliteConfig(path=sys.argv[1]))
    gauge.set(1)
    exporter.export(Context.with_timeout(30), reader.get_metrics_data())
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    for number in range(1_500):
        gauge.set(number, {"number": str(number) * 100})
    try:
        exporter.export(Context.with_timeout(30), reader.get_metrics_data())
    except ExporterError as error:
        print(error)
"""


def test_a_write_that_the_system_refuses_is_an_error_that_leaves_earlier_exports(path):
    command = [sys.executable, "-c", textwrap.dedent(LIMITED), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == (f"{path}: reading or writing failed; the disk may be full or failing (disk I/O error)\n"), (
        done.stderr
    )
    assert len(list(read(path))) == 1


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_a_file_that_was_taken_away_while_it_was_open_is_made_again(change, path, make_exporter, context, data_of):
    exporter = make_exporter()
    exporter.export(context, data_of([1]))
    for name in ("", "-wal", "-shm"):
        Path(f"{path}{name}").unlink()
    if change == "replaced":
        path.touch()
    exporter.export(context, data_of([2]))
    values = [
        sample.value
        for batch in read(path)
        for sample in batch.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    ]
    assert values == [2]


HISTOGRAM = {"attributes": {}, "start_time_unix_nano": 1, "time_unix_nano": 2, "count": 1, "sum": 1, "min": 1, "max": 1}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (NumberDataPoint({}, 1, 2, 2**63), "an integer does not fit into 64 bits"),
        (NumberDataPoint({}, 1, 2, -(2**63) - 1), "an integer does not fit into 64 bits"),
        (NumberDataPoint({}, 1, 2**64, 1), "an integer does not fit into 64 bits"),
        (NumberDataPoint({}, -(2**70), 2, 1), "an integer does not fit into 64 bits"),
        (NumberDataPoint({}, 1, 2, "5"), "expected a number, not str"),
        (NumberDataPoint({}, 1, 2, None), "expected a number, not NoneType"),
        (
            NumberDataPoint({}, 1, 2, Decimal("sNaN")),
            "a value of type Decimal cannot be read: cannot convert signaling",
        ),
        (NumberDataPoint({}, 1, 2, Fraction(10**400)), "a value of type Fraction cannot be read: integer division"),
        (NumberDataPoint({}, 1, Decimal(2), 1), "expected an integer, not Decimal"),
        (NumberDataPoint({}, 1, None, 1), "expected an integer, not NoneType"),
        (NumberDataPoint({}, 1, 2, 1, [Exemplar({}, 2**70, 1)]), "an integer does not fit into 64 bits"),
        (NumberDataPoint({"k": 10**5000}, 1, 2, 1), "an attribute cannot be written: Exceeds the limit"),
    ],
)
def test_a_point_that_cannot_be_stored_is_named_and_counted_and_the_others_are_stored(
    bad, reason, path, make_exporter, data_of
):
    with pytest.raises(PartialSuccessError) as caught:
        make_exporter().export(Context.with_timeout(30), data_of([1, bad, 2], name="the metric"))
    assert str(caught.value).startswith(f"1 of 3 points cannot be stored; metric 'the metric': {reason}")
    assert caught.value.rejected_points == 1
    (batch,) = read(path)
    assert [sample.value for sample in batch.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points] == [1, 2]


@pytest.mark.parametrize(
    "bad",
    [
        {"count": 2**63},
        {"sum": 2**63},
        {"min": "1"},
        {"bucket_counts": [object()]},
        {"explicit_bounds": [10**5000]},
        {"explicit_bounds": ["1"]},
    ],
)
def test_a_histogram_that_cannot_be_stored_leaves_nothing_of_itself(bad, make_exporter, context, data_of, query):
    good = {**HISTOGRAM, "bucket_counts": [1, 0], "explicit_bounds": [1.0]}
    points = [HistogramDataPoint(**good), HistogramDataPoint(**{**good, **bad}), HistogramDataPoint(**good)]
    with pytest.raises(PartialSuccessError, match="1 of 3 points"):
        make_exporter().export(context, data_of(Histogram(points, AggregationTemporality.DELTA)))
    assert query("SELECT point_id FROM histograms") == [(1,), (2,)]
    assert query("SELECT count(*) FROM points") == [(2,)]


def test_histograms_with_the_same_unstorable_bounds_are_all_refused(make_exporter, context, data_of, query):
    good = {**HISTOGRAM, "bucket_counts": [1, 0], "explicit_bounds": [1.0]}
    bad = {**good, "explicit_bounds": [10**5000]}
    points = [HistogramDataPoint(**options) for options in (good, bad, bad, good)]
    with pytest.raises(PartialSuccessError, match="2 of 4 points"):
        make_exporter().export(context, data_of(Histogram(points, AggregationTemporality.DELTA)))
    assert query("SELECT explicit_bounds FROM series") == [("[1.0]",)]


def test_attributes_that_nest_too_deeply_cost_their_point_only(make_exporter, context, data_of, point):
    deep = []
    deep.append(deep)
    with pytest.raises(PartialSuccessError, match=r"1 of 2 points cannot be stored; .*nested too deeply"):
        make_exporter().export(context, data_of([point(attributes={"k": deep}), point()]))


def test_a_name_that_is_no_text_costs_its_metric_only(make_exporter, context, data_of, query):
    data = data_of([1], name=None)
    data.resource_metrics[0].scope_metrics[0].metrics.extend(data_of([1]).resource_metrics[0].scope_metrics[0].metrics)
    with pytest.raises(PartialSuccessError, match="metric None: expected a text, not NoneType"):
        make_exporter().export(context, data)
    assert query("SELECT metric FROM samples") == [("metric",)]


def test_reading_a_file_that_is_missing_or_strange_says_so(tmp_path):
    with pytest.raises(ExporterError, match="no such file"):
        list(read(tmp_path / "missing.db"))
    (tmp_path / "text").write_text("text")
    with pytest.raises(ExporterError, match="not a SQLite database"):
        list(read(tmp_path / "text"))


def test_a_path_that_is_no_unicode_is_a_path(tmp_path, make_exporter, context, data):
    path = tmp_path / os.fsdecode(b"p\xff?.db")
    for _ in range(2):
        make_exporter(path=path).export(context, data)
    assert len(list(read(path))) == 2


def test_what_describes_no_stored_point_is_neither_stored_nor_remembered_for_ever(
    monkeypatch, make_exporter, context, data_of, query
):
    monkeypatch.setattr("exporter_core_sqlite.series._REMEMBERED_AT_MOST", 10)
    exporter = make_exporter()
    for number in range(30):
        data = data_of([2**70], name=f"rejected {number}")
        metrics = data.resource_metrics[0].scope_metrics[0].metrics
        metrics += data_of([1], name="stored").resource_metrics[0].scope_metrics[0].metrics
        with pytest.raises(PartialSuccessError, match="1 of 2 points"):
            exporter.export(context, data)
    assert query("SELECT name FROM metrics") == [("stored",)]
    assert query("SELECT count(*) FROM samples") == [(30,)]
    assert len(exporter._ids._series) < 15


@pytest.mark.parametrize(("file_mode", "expected"), [(None, 0o644), ("0600", 0o600), ("660", 0o660)])
def test_a_database_is_created_with_the_mode_that_the_option_says(
    path, make_exporter, context, data, file_mode, expected
):
    before = os.umask(0o022)
    try:
        make_exporter(file_mode=file_mode).export(context, data)
    finally:
        os.umask(before)
    files = [one for one in path.parent.iterdir() if one.name.startswith(path.name)]
    assert len(files) == 3, "the database, its log and the log's index"
    assert {one.stat().st_mode & 0o777 for one in files} == {expected}
    assert len(list(read(path))) == 1


def test_a_database_that_is_there_keeps_its_mode_and_a_symbolic_link_is_followed(
    path, make_exporter, context, data, tmp_path
):
    target = tmp_path / "target.db"
    target.touch()
    target.chmod(0o640)
    path.symlink_to(target)
    make_exporter(file_mode="0600").export(context, data)
    assert target.stat().st_mode & 0o777 == 0o640
    assert len(list(read(target))) == 1
