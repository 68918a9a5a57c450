"""Several writers and readers of one file, in one process and in several."""

import sqlite3
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from exporter_core_sqlite import read

from exporter_core import Context

pytestmark = pytest.mark.usefixtures("warm_python")

WRITER = """
    import sys
    from exporter_core import Context
    from exporter_core_sqlite import SqliteConfig, SqliteExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.resources import Resource

    path, name = sys.argv[1:]
    reader = InMemoryMetricReader()
    counter = MeterProvider([reader], resource=Resource({"service.name": name})).get_meter("meter").create_counter("n")
    exporter = SqliteExporter(SqliteConfig(path=path, busy_timeout_seconds=60))
    sys.stdin.read()  # the gate: closed by the test when every process has come this far
    for number in range(50):
        counter.add(1, {"number": number})
        exporter.export(Context.with_timeout(60), reader.get_metrics_data())
    exporter.shutdown(Context.with_timeout(60))
"""


def test_several_processes_write_one_new_file_and_lose_nothing(path, query):
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    writers = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for name in "abc"
    ]
    for writer in writers:
        writer.stdin.close()
    for writer in writers:
        with writer:
            assert (writer.stderr.read(), writer.wait(100)) == ("", 0)
    # The n-th export of each holds n points.
    assert query("SELECT service, count(*) FROM samples GROUP BY service") == [(name, 1275) for name in "abc"]
    assert query("SELECT count(*) FROM batches") == [(150,)]
    assert query("SELECT count(*) FROM series") == [(150,)]
    assert query("PRAGMA foreign_key_check") == []
    assert query("PRAGMA integrity_check") == [("ok",)]


def test_two_exporters_of_one_process_write_one_new_file_at_once(path, make_exporter, context, data_of, point):
    exporters = [make_exporter(busy_timeout_seconds=60) for _ in range(2)]
    barrier = threading.Barrier(2)
    errors = []

    def write(exporter):
        barrier.wait(30)
        try:
            for number in range(50):
                exporter.export(context, data_of([point(number, {"k": key}) for key in range(20)]))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test fails of it
            errors.append(error)

    threads = [threading.Thread(target=write, args=(exporter,)) for exporter in exporters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    batches = [batch.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points for batch in read(path)]
    assert [len(points) for points in batches] == [20] * 100


def test_exporters_that_make_the_same_file_at_once_all_succeed(tmp_path, make_exporter, context, data):
    for attempt in range(8):
        exporters = [make_exporter(path=tmp_path / f"{attempt}.db", busy_timeout_seconds=60) for _ in range(4)]
        barrier = threading.Barrier(4)
        with ThreadPoolExecutor(4) as threads:

            def export(exporter, barrier=barrier):
                barrier.wait(30)
                exporter.export(context, data)

            list(threads.map(export, exporters))
        for exporter in exporters:
            exporter.shutdown(context)
        assert len(list(read(tmp_path / f"{attempt}.db"))) == 4


def test_others_read_while_an_export_writes_and_an_export_writes_while_others_read(path, make_exporter, context, data):
    exporter = make_exporter(busy_timeout_seconds=0)
    exporter.export(context, data)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM samples").fetchone() == (1,)
        exporter.export(context, data)
        assert other.execute("SELECT count(*) FROM samples").fetchone() == (1,)
        with exporter._database.transaction(Context.with_timeout(30)):
            other.execute("COMMIT")
            assert other.execute("SELECT count(*) FROM samples").fetchone() == (2,)
            assert len(list(read(path))) == 2


def test_shutdown_beside_a_reader_releases_and_loses_nothing(path, make_exporter, context, data):
    exporter = make_exporter()
    exporter.export(context, data)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM samples").fetchone()
        exporter.export(context, data)
        exporter.shutdown(context)
    assert len(list(read(path))) == 2


@pytest.mark.parametrize(
    "tables", [("points", "series"), ("points", "series", "metrics", "scopes", "resources", "batches")]
)
@pytest.mark.parametrize("made_before_the_triggers", [False, True])
def test_what_someone_else_has_deleted_is_described_again(
    tables, made_before_the_triggers, make_exporter, context, data_of, query
):
    if made_before_the_triggers:
        make_exporter().export(context, data_of([0]))
        for (name,) in query("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            query(f"DROP TRIGGER {name}")
    exporter = make_exporter()
    exporter.export(context, data_of([1]))
    for table in tables:
        query(f"DELETE FROM {table}")  # noqa: S608 - the names above
    exporter.export(context, data_of([2]))
    assert query("SELECT metric, value FROM samples") == [("metric", 2)]
    assert query("PRAGMA foreign_key_check") == []


def test_reading_a_batch_costs_the_same_whatever_other_batches_hold(monkeypatch, path, make_exporter, context, data_of):
    connect = sqlite3.connect
    steps = []

    def connect_and_count(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_progress_handler(lambda: steps.append(None), 10)
        return connection

    def steps_of_the_first_batch():
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", connect_and_count)
            steps.clear()
            next(read(path))
            return len(steps)

    exporter = make_exporter()
    exporter.export(context, data_of([1]))
    alone = steps_of_the_first_batch()
    other = data_of([1])
    metrics = other.resource_metrics[0].scope_metrics[0].metrics
    for number in range(1_000):
        metrics.extend(data_of([1], name=f"metric {number}").resource_metrics[0].scope_metrics[0].metrics)
    exporter.export(context, other)
    assert steps_of_the_first_batch() <= 2 * alone + 10
