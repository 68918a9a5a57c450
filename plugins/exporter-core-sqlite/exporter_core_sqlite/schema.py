"""The database's schema: its tables and views, and the migration from older versions.

``PRAGMA application_id`` marks a file as this exporter's, and ``PRAGMA user_version`` is the version of its schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

APPLICATION_ID: Final = int.from_bytes(b"OTMx", "big")  # PRAGMA application_id of the files of this exporter
SCHEMA_VERSION: Final = 2  # PRAGMA user_version of the schema below
# PRAGMA user_version of a file on its way from version 1: larger than any that an exporter of an old version accepts.
MIGRATING: Final = 1_000_001

# Columns that hold a number exactly as it was given have no type: a type would turn 1.0 into 1 or back.
_HISTOGRAMS = """
CREATE TABLE histograms (
    point_id INTEGER PRIMARY KEY REFERENCES points (id),
    count INTEGER NOT NULL,
    sum,
    min,
    max,
    nan_fields INTEGER NOT NULL, -- which of the NULLs are NaN: 1 sum, 2 min, 4 max
    bucket_counts TEXT NOT NULL  -- JSON array; bucket i ends at explicit_bounds[i] of the series, the last has no end
)
"""

_SERIES_IDENTITY = "CREATE UNIQUE INDEX series_identity ON series (metric_id, attributes, ifnull(explicit_bounds, x''))"

_EXEMPLARS = """
CREATE TABLE exemplars (
    point_id INTEGER NOT NULL REFERENCES points (id),
    position INTEGER NOT NULL,
    time_unix_nano INTEGER NOT NULL,
    value,                       -- NULL is NaN
    trace_id TEXT,               -- 32 hexadecimal digits
    span_id TEXT,                -- 16 hexadecimal digits
    filtered_attributes TEXT,    -- JSON object
    PRIMARY KEY (point_id, position)
) WITHOUT ROWID
"""

_TABLES = (
    """
CREATE TABLE state (
    series_generation INTEGER NOT NULL -- raised whenever series or what describes them is deleted, by whomever, so that
                                       -- writers forget the ids they hold
)
""",
    "INSERT INTO state VALUES (0)",
    """
CREATE TABLE batches (                 -- one row an export
    id INTEGER PRIMARY KEY,
    exported_unix_nano INTEGER NOT NULL,
    first_point_id INTEGER NOT NULL,
    last_point_id INTEGER NOT NULL
)
""",
    "CREATE INDEX batches_by_age ON batches (exported_unix_nano, id)",
    """
CREATE TABLE resources (
    id INTEGER PRIMARY KEY,
    attributes TEXT NOT NULL,          -- JSON object
    schema_url TEXT NOT NULL,
    metrics_schema_url TEXT NOT NULL,  -- of the ResourceMetrics around the resource; nearly always the same
    UNIQUE (attributes, schema_url, metrics_schema_url)
)
""",
    """
CREATE TABLE scopes (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT,
    schema_url TEXT NOT NULL,
    attributes TEXT NOT NULL,          -- JSON object
    metrics_schema_url TEXT NOT NULL   -- of the ScopeMetrics around the scope; nearly always the same
)
""",
    (
        "CREATE UNIQUE INDEX scopes_identity ON scopes"
        " (name, ifnull(version, x''), schema_url, attributes, metrics_schema_url)"
    ),
    """
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY,
    resource_id INTEGER NOT NULL REFERENCES resources (id),
    scope_id INTEGER NOT NULL REFERENCES scopes (id),
    name TEXT NOT NULL,
    type TEXT NOT NULL,                -- gauge, sum, histogram or exponential_histogram
    unit TEXT,
    description TEXT,
    temporality TEXT,                  -- cumulative, delta or unspecified; NULL for gauges
    is_monotonic INTEGER               -- 1 or 0; NULL unless the type is sum
)
""",
    (
        "CREATE UNIQUE INDEX metrics_identity ON metrics (name, resource_id, scope_id, type,"
        " ifnull(unit, x''), ifnull(description, x''), ifnull(temporality, x''), ifnull(is_monotonic, x''))"
    ),
    """
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    metric_id INTEGER NOT NULL REFERENCES metrics (id),
    attributes TEXT NOT NULL,          -- JSON object
    explicit_bounds TEXT               -- JSON array; NULL unless the metric is a histogram
)
""",
    _SERIES_IDENTITY,
    """
CREATE TABLE points (
    id INTEGER PRIMARY KEY,
    series_id INTEGER NOT NULL REFERENCES series (id),
    time_unix_nano INTEGER NOT NULL,
    start_time_unix_nano INTEGER,
    value                              -- of sums and gauges, where NULL is NaN
)
""",
    "CREATE INDEX points_by_series ON points (series_id, time_unix_nano)",
    _HISTOGRAMS,
    """
CREATE TABLE exponential_histograms (
    point_id INTEGER PRIMARY KEY REFERENCES points (id),
    count INTEGER NOT NULL,
    sum,
    min,
    max,
    nan_fields INTEGER NOT NULL,       -- as in histograms
    scale INTEGER NOT NULL,
    zero_count INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    positive_offset INTEGER NOT NULL,
    positive_counts TEXT NOT NULL,     -- JSON array
    negative_offset INTEGER NOT NULL,
    negative_counts TEXT NOT NULL      -- JSON array
)
""",
    _EXEMPLARS,
)

_READABLE = """
    p.id AS point_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', p.time_unix_nano / 1e9, 'unixepoch') AS time,
    json_extract(r.attributes, '$."service.name"') AS service,
    c.name AS scope,
    m.name AS metric,
    m.type,
    m.unit,
    m.temporality,
    s.attributes,
    p.value,
    m.type IN ('gauge', 'sum') AND p.value IS NULL AS is_nan,
    ifnull(h.count, e.count) AS count,
    ifnull(h.sum, e.sum) AS sum,
    ifnull(h.min, e.min) AS min,
    ifnull(h.max, e.max) AS max,
    s.id AS series_id,
    p.time_unix_nano,
    p.start_time_unix_nano
"""

_JOINS = """
JOIN metrics m ON m.id = s.metric_id
JOIN scopes c ON c.id = m.scope_id
JOIN resources r ON r.id = m.resource_id
LEFT JOIN histograms h ON h.point_id = p.id
LEFT JOIN exponential_histograms e ON e.point_id = p.id
"""

_VIEWS = (
    f"CREATE VIEW samples AS SELECT {_READABLE} FROM points p JOIN series s ON s.id = p.series_id {_JOINS}",  # noqa: S608 - constants of this module
    (
        f"CREATE VIEW latest AS SELECT {_READABLE} FROM series s JOIN points p ON p.id = ("  # noqa: S608 - constants of this module
        "SELECT id FROM points WHERE series_id = s.id ORDER BY time_unix_nano DESC, id DESC LIMIT 1"
        f") {_JOINS}"
    ),
)

_TRIGGERS: Final = {
    f"{table}_deleted": (
        f"CREATE TRIGGER IF NOT EXISTS {table}_deleted AFTER DELETE ON {table} BEGIN"  # noqa: S608 - the names below
        " UPDATE state SET series_generation = series_generation + 1; END"
    )
    for table in ("resources", "scopes", "metrics", "series")
}

# Version 1 repeated the bounds in every histogram and dropped exemplars. A histogram's bounds belong to its series:
# each pair of a version 1 series and bounds becomes a series. Each transaction does so to some histograms, so that no
# deadline has to be long enough for all of them.
_BEGIN_FROM_1 = (
    "DROP VIEW samples",
    "DROP VIEW latest",
    "DROP INDEX series_identity",
    "ALTER TABLE series ADD COLUMN explicit_bounds TEXT",
    _SERIES_IDENTITY,
    "ALTER TABLE histograms RENAME TO histograms_1",
    _HISTOGRAMS,
    _EXEMPLARS,
)
_HISTOGRAMS_A_STEP: Final = 500  # some hundredths of a second
_STEP_FROM_1 = (
    (  # CROSS has SQLite begin with the histograms, as it would not by itself
        "INSERT OR IGNORE INTO series (metric_id, attributes, explicit_bounds)"
        " SELECT DISTINCT s.metric_id, s.attributes, h.explicit_bounds"
        " FROM histograms_1 h CROSS JOIN points p ON p.id = h.point_id CROSS JOIN series s ON s.id = p.series_id"
        " WHERE h.point_id <= ?"
    ),
    (
        "UPDATE points SET series_id = ("
        "SELECT n.id FROM histograms_1 h JOIN series o JOIN series n"
        " ON n.metric_id = o.metric_id AND n.attributes = o.attributes AND n.explicit_bounds = h.explicit_bounds"
        " WHERE h.point_id = points.id AND o.id = points.series_id"
        ") WHERE id IN (SELECT point_id FROM histograms_1 WHERE point_id <= ?)"
    ),
    (
        "INSERT INTO histograms SELECT point_id, count, sum, min, max, nan_fields, bucket_counts FROM histograms_1"
        " WHERE point_id <= ?"
    ),
    "DELETE FROM histograms_1 WHERE point_id <= ?",
)
_END_FROM_1 = (
    (
        "DELETE FROM series WHERE explicit_bounds IS NULL"
        " AND metric_id IN (SELECT id FROM metrics WHERE type = 'histogram')"
    ),
    "DROP TABLE histograms_1",
    *_VIEWS,
    # A version 1 writer that still has the file open holds ids of series that are gone.
    "UPDATE state SET series_generation = series_generation + 1",
)


def create(connection: sqlite3.Connection) -> None:
    """Make the current schema but its triggers in an empty database, inside the caller's transaction."""
    _run(connection, (*_TABLES, *_VIEWS))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def has_triggers(connection: sqlite3.Connection) -> bool:
    """Return True if the triggers exist: files of the current version can be older than they are."""
    triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    return _TRIGGERS.keys() <= {name for (name,) in triggers}


def add_triggers(connection: sqlite3.Connection) -> None:
    """Make the triggers that are not there, inside the caller's transaction."""
    _run(connection, tuple(_TRIGGERS.values()))


def migrate(connection: sqlite3.Connection) -> None:
    """Take a step from an older version to the current one, in the caller's transaction.

    Call it until the version is the current one, then :func:`add_triggers`.
    """
    if connection.execute("PRAGMA user_version").fetchone()[0] != MIGRATING:
        _run(connection, _BEGIN_FROM_1)
        connection.execute(f"PRAGMA user_version = {MIGRATING}")
        return
    last = connection.execute(
        "SELECT max(point_id) FROM (SELECT point_id FROM histograms_1 ORDER BY point_id LIMIT ?)", (_HISTOGRAMS_A_STEP,)
    ).fetchone()[0]
    if last is not None:
        for statement in _STEP_FROM_1:
            connection.execute(statement, (last,))
        return
    _run(connection, _END_FROM_1)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _run(connection: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    for statement in statements:
        connection.execute(statement.strip())
