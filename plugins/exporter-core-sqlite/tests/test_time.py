"""Every call ends with its context: locks, endless statements, shutdown beside an export."""

import sqlite3
import threading
import time
from contextlib import closing, contextmanager

import pytest
from exporter_core_sqlite import read

from exporter_core import (
    Context,
    ContextCancelledError,
    DeadlineExceededError,
    ExporterError,
    ExporterShutdownError,
    InstrumentKind,
)

GENEROUS_SECONDS = 30.0


@contextmanager
def locked(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def run(call, *arguments):
    """Start the call on a thread; returns what waits for its outcome."""
    outcome = []

    def target():
        try:
            outcome.append(call(*arguments))
        except BaseException as error:  # noqa: BLE001 - the outcome, for the test to judge
            outcome.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()

    def result():
        thread.join(GENEROUS_SECONDS)
        assert not thread.is_alive(), "the call hangs"
        return outcome[0]

    return result


@pytest.fixture
def endless(make_exporter, context, data, query):
    """An exporter whose next export never ends by itself, and the event that says it is in the middle of SQLite."""
    exporter = make_exporter()
    exporter.export(context, data)
    query("CREATE VIEW endless AS WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT 1 FROM c) SELECT x FROM c")
    query("CREATE TRIGGER hang AFTER INSERT ON points BEGIN SELECT gate(); SELECT count(*) FROM endless; END")
    entered = threading.Event()
    exporter._database._connection.create_function("gate", 0, entered.set)
    return exporter, entered


def test_a_lock_held_by_another_process_is_waited_for(path, make_exporter, context, data):
    exporter = make_exporter()
    exporter.export(context, data)
    with locked(path) as other:
        result = run(exporter.export, context, data)
        other.execute("COMMIT")
        assert result() is None
    assert len(list(read(path))) == 2


@pytest.mark.parametrize("known", [True, False])
def test_a_lock_that_stays_is_an_error_when_the_busy_timeout_ends(known, path, make_exporter, context, data):
    exporter = make_exporter(busy_timeout_seconds=0.1)
    if known:
        exporter.export(context, data)
    with locked(path), pytest.raises(ExporterError) as caught:
        exporter.export(context, data)
    assert str(caught.value) == (f"{path}: another process has kept the database locked for 0.1 s; nothing was stored")


def test_a_lock_that_stays_is_a_deadline_error_at_the_deadline(path, make_exporter, context, data):
    exporter = make_exporter(busy_timeout_seconds=600)
    exporter.export(context, data)
    before = time.monotonic()
    with locked(path), pytest.raises(DeadlineExceededError, match="kept the database locked until the deadline"):
        exporter.export(Context.with_timeout(0.1), data)
    assert time.monotonic() - before < GENEROUS_SECONDS


def test_cancelling_ends_the_wait_for_a_lock(path, make_exporter, context, data):
    exporter = make_exporter(busy_timeout_seconds=600)
    exporter.export(context, data)
    cancelled = Context.background()
    with locked(path):
        result = run(exporter.export, cancelled, data)
        cancelled.cancel("enough")
        error = result()
    assert isinstance(error, ContextCancelledError)
    assert "enough" in str(error)


def test_a_statement_that_does_not_end_is_ended_by_the_deadline(endless, data, query, with_more_time):
    exporter, entered = endless

    def attempt(seconds):
        with pytest.raises(DeadlineExceededError):
            exporter.export(Context.with_timeout(seconds), data)
        return entered.is_set()

    with_more_time(attempt)
    assert query("SELECT count(*) FROM points") == [(1,)]


def test_a_statement_that_does_not_end_is_ended_by_cancelling(endless, data):
    exporter, entered = endless
    cancelled = Context.background()
    result = run(exporter.export, cancelled, data)
    assert entered.wait(GENEROUS_SECONDS)
    cancelled.cancel()
    assert isinstance(result(), ContextCancelledError)


def test_the_exporter_works_on_after_an_export_was_ended(endless, context, data_of, point, query):
    exporter, _ = endless
    with pytest.raises(DeadlineExceededError):
        exporter.export(Context.with_timeout(0.2), data_of([point(attributes={"k": 1})]))
    query("DROP TRIGGER hang")
    exporter.export(context, data_of([point(attributes={"k": 1})]))
    assert query("SELECT count(*) FROM samples") == [(2,)]
    assert query("PRAGMA foreign_key_check") == []


def test_shutdown_lets_a_running_export_finish(path, make_exporter, context, data, query):
    exporter = make_exporter()
    exporter.export(context, data)
    entered, leave = threading.Event(), threading.Event()

    def gate():
        entered.set()
        leave.wait(GENEROUS_SECONDS)

    query("CREATE TRIGGER pause AFTER INSERT ON points BEGIN SELECT gate(); END")
    exporter._database._connection.create_function("gate", 0, gate)
    exported = run(exporter.export, context, data)
    assert entered.wait(GENEROUS_SECONDS)
    shut_down = run(exporter.shutdown, context)
    leave.set()
    assert exported() is None
    assert shut_down() is None
    assert exporter._database._connection is None
    assert len(list(read(path))) == 2


@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_shutdown_ends_a_running_export_that_outlasts_it_and_the_database_is_released(seconds, endless, data, query):
    exporter, entered = endless
    exported = run(exporter.export, Context.background(), data)
    assert entered.wait(GENEROUS_SECONDS)
    with pytest.raises(DeadlineExceededError):
        exporter.shutdown(Context.with_timeout(seconds))
    error = exported()
    assert isinstance(error, ExporterShutdownError)
    assert str(error) == "the exporter was shut down before the export was done"
    assert exporter._database._connection is None
    assert query("SELECT count(*) FROM points") == [(1,)]


def test_cancelling_the_shutdown_ends_a_running_export(endless, data):
    exporter, entered = endless
    exported = run(exporter.export, Context.background(), data)
    assert entered.wait(GENEROUS_SECONDS)
    patience = Context.background()
    shut_down = run(exporter.shutdown, patience)
    patience.cancel()
    assert isinstance(shut_down(), ContextCancelledError)
    assert isinstance(exported(), ExporterShutdownError)


def test_shutdown_with_a_done_context_releases_and_raises(path, make_exporter, context, data):
    exporter = make_exporter()
    exporter.export(context, data)
    with pytest.raises(DeadlineExceededError):
        exporter.shutdown(Context.with_timeout(0))
    assert exporter._database._connection is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_after_shutdown_export_and_shutdown_raise_and_force_flush_returns(path, make_exporter, context, data):
    exporter = make_exporter()
    exporter.shutdown(context)
    for done in (context, Context.with_timeout(0)):
        with pytest.raises(ExporterShutdownError):
            exporter.export(done, data)
        with pytest.raises(ExporterShutdownError):
            exporter.shutdown(done)
        exporter.force_flush(done)
    assert not path.exists()


def test_of_many_concurrent_shutdowns_exactly_one_succeeds(make_exporter, context, data):
    exporter = make_exporter()
    exporter.export(context, data)
    barrier = threading.Barrier(8)

    def shutdown():
        barrier.wait(GENEROUS_SECONDS)
        exporter.shutdown(context)

    outcomes = [result() for result in [run(shutdown) for _ in range(8)]]
    assert outcomes.count(None) == 1
    assert sum(isinstance(outcome, ExporterShutdownError) for outcome in outcomes) == 7


def test_a_done_context_is_raised_before_anything_is_touched(path, make_exporter, data):
    exporter = make_exporter()
    cancelled = Context.background()
    cancelled.cancel()
    for operation in (lambda context: exporter.export(context, data), exporter.force_flush):
        with pytest.raises(DeadlineExceededError):
            operation(Context.with_timeout(0))
        with pytest.raises(ContextCancelledError):
            operation(cancelled)
    assert not path.exists()


def test_the_other_operations_go_on_beside_an_endless_export(endless, context, data):
    exporter, entered = endless
    stop = Context.background()
    exported = run(exporter.export, stop, data)
    assert entered.wait(GENEROUS_SECONDS)
    exporter.force_flush(context)
    assert exporter.temporality(InstrumentKind.COUNTER) is not None
    assert exporter.aggregation(InstrumentKind.COUNTER) is not None
    stop.cancel()
    assert isinstance(exported(), ContextCancelledError)


def test_a_second_export_waits_for_the_first_no_longer_than_its_context(endless, data):
    exporter, entered = endless
    stop = Context.background()
    exported = run(exporter.export, stop, data)
    assert entered.wait(GENEROUS_SECONDS)
    with pytest.raises(DeadlineExceededError):
        exporter.export(Context.with_timeout(0.05), data)
    stop.cancel()
    assert isinstance(exported(), ContextCancelledError)
