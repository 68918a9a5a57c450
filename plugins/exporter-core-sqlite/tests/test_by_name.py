"""The exporter as its users meet it: by name, behind the guard."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import textwrap

import pytest
from exporter_core_sqlite import SqliteExporter, read

from exporter_core import (
    ConfigError,
    ExporterError,
    ExporterShutdownError,
    PartialSuccessError,
    load_exporter,
)

pytestmark = pytest.mark.usefixtures("warm_python")


@pytest.fixture(params=["thread", "inline"])
def guarded(request, path, context):
    exporter = load_exporter("sqlite", {"path": str(path)}, runner=request.param)
    yield exporter
    try:
        exporter.shutdown(context)
    except ExporterShutdownError:
        pass  # by the test


def test_it_is_found_by_its_name_and_stores(guarded, path, context, data):
    guarded.export(context, data)
    guarded.force_flush(context)
    guarded.shutdown(context)
    assert [batch.resource_metrics[0].resource.attributes["service.name"] for batch in read(path)] == ["test"]


def test_a_partial_success_keeps_its_count_and_its_words(guarded, context, data_of):
    with pytest.raises(PartialSuccessError, match="metric 'metric': an integer does not fit into 64 bits") as caught:
        guarded.export(context, data_of([1, 2**64]))
    assert caught.value.rejected_points == 1


def test_a_file_that_is_not_its_own_is_an_error_of_the_exporter(guarded, path, context, data):
    path.write_text("not a database")
    with pytest.raises(ExporterError, match="not a SQLite database; it was left as it is") as caught:
        guarded.export(context, data)
    assert (caught.value.exporter, caught.value.operation) == ("sqlite", "export")


def test_a_misspelt_option_is_named():
    with pytest.raises(ConfigError, match="path"):
        load_exporter("sqlite", {"pth": "metrics.db"})


def test_after_shutdown_it_refuses(guarded, context, data):
    guarded.shutdown(context)
    with pytest.raises(ExporterShutdownError):
        guarded.export(context, data)
    guarded.force_flush(context)


FORKING = """
    import os, sys
    from exporter_core import Context, load_exporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    MeterProvider([reader]).get_meter("meter").create_gauge("gauge").set(1)
    exporter = load_exporter("sqlite", {"path": sys.argv[1]})
    data = reader.get_metrics_data()
    exporter.export(Context.with_timeout(30), data)
    child = os.fork()
    exporter.export(Context.with_timeout(30), data)
    exporter.shutdown(Context.with_timeout(30))
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_leaves_two_exporters_that_write_the_same_file(path, query):
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(read(path))) == 3
    assert query("PRAGMA integrity_check") == [("ok",)]


FORKING_MEANWHILE = """
    import os, sys, threading
    from exporter_core import Context, ContextCancelledError, ExporterError
    from exporter_core_sqlite import SqliteConfig, SqliteExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    MeterProvider([reader]).get_meter("meter").create_gauge("gauge").set(1)
    data = reader.get_metrics_data()
    exporter = SqliteExporter(SqliteConfig(path=sys.argv[1]))
    exporter.export(Context.with_timeout(30), data)
    entered, leave = threading.Event(), threading.Event()
    connection = exporter._database._connection
    connection.create_function("gate", 0, lambda: (entered.set(), leave.wait(60)) and 0)
    connection.execute("CREATE TEMP TRIGGER pause AFTER INSERT ON points BEGIN SELECT gate(); END")
    running = threading.Thread(target=exporter.export, args=(Context.with_timeout(60), data))
    running.start()
    entered.wait(60)
    child = os.fork()
    if not child:
        try:
            SqliteExporter(SqliteConfig(path=sys.argv[1])).export(Context.with_timeout(30), data)
        except ExporterError as error:
            print(error, flush=True)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    leave.set()
    running.join(60)
    exporter.shutdown(Context.with_timeout(30))
    sys.exit(status)
"""


def test_a_fork_in_the_middle_of_a_long_export_is_an_error_in_the_child_and_loses_nothing(path, query):
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING_MEANWHILE), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = "this process was forked while an export was writing and cannot use the file"
    assert done.stdout.startswith(f"{path}: {said}")
    assert len(list(read(path))) == 2
    assert query("PRAGMA integrity_check") == [("ok",)]


FORKING_IN_A_WAIT = """
    import os, sys, threading
    from exporter_core import Context
    from exporter_core_sqlite import SqliteConfig, SqliteExporter
    from exporter_core_sqlite.database import Database
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    MeterProvider([reader]).get_meter("meter").create_gauge("gauge").set(1)
    data = reader.get_metrics_data()
    entered, wait = threading.Event(), Database._wait

    def announced_wait(*arguments):
        entered.set()
        wait(*arguments)

    Database._wait = announced_wait
    exporter = SqliteExporter(SqliteConfig(path=sys.argv[1], busy_timeout_seconds=60))
    running = threading.Thread(target=exporter.export, args=(Context.with_timeout(60), data))
    running.start()
    entered.wait(60)
    child = os.fork()
    if not child:
        print("forked", flush=True)
        exporter.export(Context.with_timeout(60), data)
        exporter.shutdown(Context.with_timeout(60))
        os._exit(0)
    running.join(60)
    exporter.shutdown(Context.with_timeout(60))
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_while_an_export_waits_for_another_process_leaves_two_exporters_that_write_the_same_file(
    path, make_exporter, context, data, query
):
    make_exporter().export(context, data)
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING_IN_A_WAIT), str(path)]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
            assert program.stdout.readline() == "forked\n"
            other.execute("COMMIT")
            _, error = program.communicate(timeout=100)
    assert (program.returncode, error) == (0, "")
    assert len(list(read(path))) == 3
    assert query("PRAGMA integrity_check") == [("ok",)]


def test_the_entry_point_is_the_class():
    from exporter_core import ExporterRegistry

    assert ExporterRegistry().exporter_class("sqlite") is SqliteExporter


@pytest.mark.parametrize("sqlite3_is_installed", [True, False])
def test_it_says_where_its_data_is_and_how_to_read_it(path, context, data, tmp_path, monkeypatch, sqlite3_is_installed):
    if sqlite3_is_installed:
        # Not every machine has the program; this one passes the query on to the library.
        stand_in = tmp_path / "bin" / "sqlite3"
        stand_in.parent.mkdir()
        stand_in.write_text(
            f"#!{sys.executable}\nimport sqlite3, sys\nprint(*sqlite3.connect(sys.argv[2]).execute(sys.argv[3]))\n"
        )
        stand_in.chmod(0o755)
        monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    else:
        monkeypatch.setattr("shutil.which", lambda name: None)
    with load_exporter("sqlite", {"path": str(path)}) as exporter:
        destination = exporter.destination
        exporter.export(context, data)
    assert destination.location == str(path)
    shown = subprocess.run(["bash", "-c", destination.command], capture_output=True, text=True, check=True, timeout=60)
    assert "metric" in shown.stdout
