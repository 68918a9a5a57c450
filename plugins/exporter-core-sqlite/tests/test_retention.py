"""Old points go, by age and by size, a bounded number at a time; the newest export always stays."""

import contextlib

import pytest
from exporter_core_sqlite import read

from exporter_core import Context, PartialSuccessError

MEBIBYTE = 1_048_576


@pytest.fixture
def age(query):
    """Makes everything that is stored so many seconds older."""

    def by(seconds):
        query("UPDATE batches SET exported_unix_nano = exported_unix_nano - ?", int(seconds * 1e9))

    return by


def stored_bytes(query):
    return query("PRAGMA page_count")[0][0] * query("PRAGMA page_size")[0][0]


def test_nothing_is_deleted_unless_it_was_asked_for(make_exporter, context, data, age, query):
    exporter = make_exporter()
    exporter.export(context, data)
    age(10**8)
    exporter.export(context, data)
    assert query("SELECT count(*) FROM points") == [(2,)]


def test_points_beyond_their_age_go_with_all_that_described_them_alone(make_exporter, context, data_of, age, query):
    exporter = make_exporter(retention_seconds=50)
    exporter.export(context, data_of([1, 2], name="old"))
    exporter.export(context, data_of([3], name="lasting"))
    age(60)
    exporter.export(context, data_of([4], name="lasting"))
    assert query("SELECT metric, value FROM samples") == [("lasting", 4)]
    assert query("SELECT name FROM metrics") == [("lasting",)]
    assert query("SELECT count(*) FROM series") == [(1,)]
    assert query("PRAGMA foreign_key_check") == []


def test_points_within_their_age_stay(make_exporter, context, data, age, query):
    exporter = make_exporter(retention_seconds=5000)
    exporter.export(context, data)
    age(60)
    exporter.export(context, data)
    assert query("SELECT count(*) FROM points") == [(2,)]


def test_an_export_without_points_still_deletes_what_is_too_old(make_exporter, context, data, data_of, age):
    exporter = make_exporter(retention_seconds=50)
    exporter.export(context, data)
    age(60)
    exporter.export(context, data_of([]))
    assert list(read(exporter.config.path)) == []


def test_a_series_that_was_deleted_is_stored_again_by_everyone(make_exporter, context, data_of, age, query):
    """Ids of deleted rows are given to other rows: whoever remembers one has to forget it."""
    forgetful, other = make_exporter(retention_seconds=50), make_exporter()
    for exporter in (forgetful, other):
        exporter.export(context, data_of([1], name="first"))
    age(60)
    forgetful.export(context, data_of([2], name="second"))
    for exporter in (other, forgetful):
        exporter.export(context, data_of([3], name="first"))
    assert query("SELECT metric, value FROM samples") == [("second", 2), ("first", 3), ("first", 3)]
    assert query("PRAGMA foreign_key_check") == []


def test_one_export_deletes_a_bounded_number_of_points(make_exporter, context, data, data_of, age, query):
    exporter = make_exporter(retention_seconds=50)
    exporter.export(context, data_of([*range(25_000)]))
    age(60)
    left = []
    for _ in range(3):
        exporter.export(context, data)
        left += query("SELECT count(*) FROM points WHERE id <= 25000")
    assert left == [(15_000,), (5_000,), (0,)]
    assert query("SELECT count(*) FROM batches") == [(3,)]


def test_a_batch_that_was_deleted_in_part_reads_back_as_the_rest(path, make_exporter, context, data, data_of, age):
    exporter = make_exporter(retention_seconds=50)
    exporter.export(context, data_of([*range(12_000)]))
    age(60)
    exporter.export(context, data)
    values = [
        [point.value for point in batch.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points]
        for batch in read(path)
    ]
    assert values == [[*range(10_000, 12_000)], [1]]


def test_the_file_stays_within_its_size_and_holds_the_newest_points(
    path, make_exporter, context, data_of, point, query
):
    exporter = make_exporter(max_bytes=MEBIBYTE)
    for number in range(40):
        exporter.export(context, data_of([point(number, {"k": key}) for key in range(2_000)]))
        assert stored_bytes(query) <= MEBIBYTE
    assert query("SELECT count(*) FROM points WHERE value = 39") == [(2_000,)]
    assert query("SELECT count(*) > 4000 FROM points") == [(1,)]
    exporter.shutdown(context)
    assert path.stat().st_size <= MEBIBYTE


def test_series_that_come_once_and_never_again_do_not_fill_the_file(make_exporter, context, data_of, point, query):
    exporter = make_exporter(max_bytes=MEBIBYTE)
    for number in range(30):
        exporter.export(context, data_of([point(attributes={"id": f"{number}-{key}" * 9}) for key in range(500)]))
        assert stored_bytes(query) <= MEBIBYTE
    assert query("SELECT count(*) FROM series WHERE id NOT IN (SELECT series_id FROM points)") == [(0,)]


def test_an_export_larger_than_the_limit_is_kept_whole_until_the_next(make_exporter, context, data, data_of, query):
    exporter = make_exporter(max_bytes=MEBIBYTE)
    exporter.export(context, data_of([*range(40_000)]))
    assert query("SELECT count(*) FROM points") == [(40_000,)]
    exporter.export(context, data)
    assert query("SELECT count(*) FROM points") == [(30_001,)]


def unstorable(data_of):
    return data_of([2**70])


@pytest.mark.parametrize("nothing", [lambda data_of: data_of([]), unstorable], ids=["empty", "rejected"])
def test_an_export_that_stores_nothing_leaves_the_newest_that_did(nothing, make_exporter, context, data_of, query):
    exporter = make_exporter(max_bytes=MEBIBYTE)
    exporter.export(context, data_of([1]))
    exporter.export(context, data_of([*range(40_000)]))
    for _ in range(5):
        with contextlib.suppress(PartialSuccessError):
            exporter.export(context, nothing(data_of))
    assert query("SELECT count(*) FROM points") == [(40_000,)]


def test_a_file_far_beyond_a_new_limit_shrinks_over_some_exports(path, make_exporter, context, data_of, point, query):
    unlimited = make_exporter()
    for _ in range(5):
        unlimited.export(context, data_of([point(attributes={"k": key}) for key in range(20_000)]))
    unlimited.shutdown(context)
    assert path.stat().st_size > 4 * MEBIBYTE
    limited = make_exporter(max_bytes=MEBIBYTE)
    for _ in range(15):
        limited.export(context, data_of([1]))
    assert stored_bytes(query) <= MEBIBYTE
    limited.shutdown(context)
    assert path.stat().st_size <= MEBIBYTE


def test_space_that_age_has_freed_is_given_back(path, make_exporter, context, data, data_of, age):
    exporter = make_exporter(retention_seconds=50)
    exporter.export(context, data_of([*range(10_000)]))
    exporter.export(context, data)
    age(60)
    exporter.export(context, data)
    exporter.shutdown(context)
    assert path.stat().st_size < MEBIBYTE / 4


@pytest.fixture
def stopped(query):
    """Has the deletion of the point with this id stop: the context is cancelled, and the statement never ends."""

    def at(point_id, exporter):
        context = Context.background()
        query("DROP TRIGGER IF EXISTS stop")
        query("DROP VIEW IF EXISTS endless")
        query("CREATE VIEW endless AS WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT 1 FROM c) SELECT x FROM c")
        when = f"AFTER DELETE ON points WHEN old.id = {point_id}"
        query(f"CREATE TRIGGER stop {when} BEGIN SELECT stop(); SELECT count(*) FROM endless; END")  # noqa: S608 - the line above
        exporter._database._connection.create_function("stop", 0, context.cancel)
        return context

    return at


def test_deletion_that_is_ended_costs_neither_the_new_points_nor_what_it_has_done(
    make_exporter, context, data_of, age, query, stopped
):
    exporter = make_exporter(retention_seconds=50)
    exporter.export(context, data_of([*range(5_000)], name="old"))
    age(60)
    exporter.export(stopped(2_500, exporter), data_of([1], name="new"))
    assert query("SELECT min(id), max(id) FROM points") == [(2_001, 5_001)]
    assert query("SELECT metric FROM samples WHERE point_id > 5000") == [("new",)]
    query("DROP TRIGGER stop")
    exporter.export(context, data_of([2], name="new"))
    assert query("SELECT metric, value FROM samples") == [("new", 1), ("new", 2)]
    assert query("SELECT name FROM metrics") == [("new",)]


def test_deletion_that_is_ended_again_and_again_takes_smaller_steps(
    make_exporter, context, data_of, age, query, stopped
):
    exporter = make_exporter(retention_seconds=50)
    exporter.export(context, data_of([*range(900)]))
    age(60)
    exporter.export(stopped(300, exporter), data_of([1]))
    assert query("SELECT min(id) FROM points") == [(1,)]
    exporter.export(stopped(300, exporter), data_of([1]))
    assert query("SELECT min(id) FROM points") == [(251,)]


def test_deletion_that_fails_is_a_warning_and_the_new_points_are_stored(
    make_exporter, context, data, age, query, caplog
):
    exporter = make_exporter(retention_seconds=50)
    exporter.export(context, data)
    age(60)
    query("CREATE TRIGGER fail AFTER DELETE ON points BEGIN SELECT raise(ABORT, 'no way'); END")
    exporter.export(context, data)
    assert query("SELECT count(*) FROM points") == [(2,)]
    assert f"{exporter.config.path}: old points were not deleted: no way" in caplog.text
    exporter.export(context, data)
    assert query("SELECT count(*) FROM points") == [(3,)]
