"""Deletes the oldest points by age and by size: a bounded number after each export, while its context lasts.

Each step deletes a part of an earlier batch. The batch of the export itself is never touched, however small the limits
are. Nor does the size limit ever delete the newest batch, whichever export stored it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from exporter_core_sqlite.config import SqliteConfig

_POINTS_AT_LEAST = 10_000  # that may be deleted by one export; a tenth of a second
_POINTS_A_STEP = 1_000  # at most, between two looks at the size
_PAGES_AT_ONCE = 2_000  # given back to the file system by one export
_PAGES_A_STEP = 100
_EMPTY_SHARE = 4  # a file is made smaller when more than one page in so many is empty

_OLDEST = """
SELECT id, first_point_id, last_point_id, exported_unix_nano FROM batches WHERE id IS NOT ? AND id IS NOT ?
ORDER BY exported_unix_nano, id LIMIT 1
"""

_SIZES = "SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"

# Deletes the series that have points in the range and nowhere else.
_DELETE_SERIES = """
DELETE FROM series WHERE id IN (SELECT series_id FROM points WHERE id BETWEEN :first AND :last)
AND NOT EXISTS (SELECT 1 FROM points p WHERE p.series_id = series.id AND p.id NOT BETWEEN :first AND :last)
"""

_DELETE_UNUSED = (
    "DELETE FROM metrics WHERE NOT EXISTS (SELECT 1 FROM series WHERE metric_id = metrics.id)",
    "DELETE FROM scopes WHERE id NOT IN (SELECT scope_id FROM metrics)",
    "DELETE FROM resources WHERE id NOT IN (SELECT resource_id FROM metrics)",
)


class Retention:
    """Deletes what the config's limits do not allow.

    Args:
        config: the limits.
    """

    def __init__(self, config: SqliteConfig) -> None:
        self._config = config
        self._points_a_step = _POINTS_A_STEP
        self._unused_left = False  # descriptions of series that were deleted

    def steps(self, connection: sqlite3.Connection, *, own_batch: int | None, stored: int) -> Iterator[None]:
        """Delete points, and make the file smaller. At each yield the database is consistent: commit it.

        One call deletes at most twice the points that the export stored, or 10,000 if that is more. A file far beyond
        its limits is brought back to them over several exports, also when calls are ended early.

        Args:
            connection: in a write transaction, whenever this goes on.
            own_batch: the id of the export's own batch, if it has one.
            stored: the number of points in that batch.
        """
        budget = max(_POINTS_AT_LEAST, 2 * stored)
        while budget > 0:
            found = _to_delete(connection, self._config, own_batch)
            if found is None:
                break
            batch_id, first, last = found
            points = self._points_a_step
            self._points_a_step = max(points // 4, 1)  # if this one is ended, the next has to get by with less time
            until = min(last, first + min(budget, points) - 1)
            self._unused_left |= _delete_points(connection, first, until)
            if until == last:
                connection.execute("DELETE FROM batches WHERE id = ?", (batch_id,))
            else:
                connection.execute("UPDATE batches SET first_point_id = ? WHERE id = ?", (until + 1, batch_id))
            budget -= until - first + 1
            yield
            self._points_a_step = min(points * 2, _POINTS_A_STEP)
        if self._unused_left:
            for statement in _DELETE_UNUSED:
                connection.execute(statement)
            yield
            self._unused_left = False
        yield from _shrink(connection, self._config.max_bytes)


def _to_delete(
    connection: sqlite3.Connection, config: SqliteConfig, own_batch: int | None
) -> tuple[int, int, int] | None:
    """Find the oldest batch that the limits do not allow: its id, and the ids of its first and its last point."""
    if config.retention_seconds is None and config.max_bytes is None:
        return None
    oldest = connection.execute(_OLDEST, (own_batch, own_batch)).fetchone()
    if oldest is None:
        return None
    age_seconds = (time.time_ns() - oldest[3]) / 1e9
    if config.retention_seconds is not None and age_seconds > config.retention_seconds:
        return oldest[0], oldest[1], oldest[2]
    pages, empty, page_bytes = _sizes(connection)
    if config.max_bytes is None or (pages - empty) * page_bytes <= config.max_bytes:
        return None
    # An export that stores nothing has no batch; then the newest is still that of an earlier one.
    newest = connection.execute("SELECT max(id) FROM batches").fetchone()[0]
    oldest = connection.execute(_OLDEST, (own_batch, newest)).fetchone()
    return None if oldest is None else (oldest[0], oldest[1], oldest[2])


def _delete_points(connection: sqlite3.Connection, first: int, last: int) -> bool:
    """Delete the points of these ids and what belongs to them alone; return True if that includes series."""
    between = (first, last)
    for table in ("exemplars", "histograms", "exponential_histograms"):
        connection.execute(f"DELETE FROM {table} WHERE point_id BETWEEN ? AND ?", between)  # noqa: S608 - names from the line above
    series_deleted = connection.execute(_DELETE_SERIES, {"first": first, "last": last}).rowcount > 0
    connection.execute("DELETE FROM points WHERE id BETWEEN ? AND ?", between)
    return series_deleted


def _shrink(connection: sqlite3.Connection, max_bytes: int | None) -> Iterator[None]:
    """Cut empty pages off the file: those beyond its limit, and all but a few where much of it is empty."""
    pages, empty, page_bytes = _sizes(connection)
    beyond = 0 if max_bytes is None else pages - max_bytes // page_bytes
    if empty > max(pages // _EMPTY_SHARE, 1):
        beyond = max(beyond, empty)
    for number in range(1, min(beyond, empty, _PAGES_AT_ONCE) + 1):
        # One at a time: sqlite3 in Python 3.11 ends the statement after its first page, whatever number it is given.
        connection.execute("PRAGMA incremental_vacuum(1)")
        if not number % _PAGES_A_STEP:
            yield


def _sizes(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Return the file's pages, how many of them are empty, and the bytes of a page."""
    row: tuple[int, int, int] = connection.execute(_SIZES).fetchone()
    return row
