-- A database as schema version 1 made it: histograms had their bounds themselves, and there were no exemplars.
PRAGMA application_id = 1330924920;
PRAGMA user_version = 1;
PRAGMA auto_vacuum = INCREMENTAL;
CREATE TABLE state (series_generation INTEGER NOT NULL);
INSERT INTO state VALUES (3);
CREATE TABLE batches (
    id INTEGER PRIMARY KEY,
    exported_unix_nano INTEGER NOT NULL,
    first_point_id INTEGER NOT NULL,
    last_point_id INTEGER NOT NULL
);
CREATE INDEX batches_by_age ON batches (exported_unix_nano, id);
INSERT INTO batches VALUES (1, 1795431548000000000, 1, 5), (2, 1795431549000000000, 6, 8);
CREATE TABLE resources (
    id INTEGER PRIMARY KEY,
    attributes TEXT NOT NULL,
    schema_url TEXT NOT NULL,
    metrics_schema_url TEXT NOT NULL,
    UNIQUE (attributes, schema_url, metrics_schema_url)
);
INSERT INTO resources VALUES (1, '{"service.name":"shop"}', '', '');
CREATE TABLE scopes (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT,
    schema_url TEXT NOT NULL,
    attributes TEXT NOT NULL,
    metrics_schema_url TEXT NOT NULL
);
CREATE UNIQUE INDEX scopes_identity ON scopes (name, ifnull(version, x''), schema_url, attributes, metrics_schema_url);
INSERT INTO scopes VALUES (1, 'shop.orders', NULL, '', '{}', '');
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY,
    resource_id INTEGER NOT NULL REFERENCES resources (id),
    scope_id INTEGER NOT NULL REFERENCES scopes (id),
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    unit TEXT,
    description TEXT,
    temporality TEXT,
    is_monotonic INTEGER
);
CREATE UNIQUE INDEX metrics_identity ON metrics (name, resource_id, scope_id, type, ifnull(unit, x''),
    ifnull(description, x''), ifnull(temporality, x''), ifnull(is_monotonic, x''));
INSERT INTO metrics VALUES
    (1, 1, 1, 'orders', 'sum', '1', 'Orders taken', 'cumulative', 1),
    (2, 1, 1, 'temperature', 'gauge', 'Cel', NULL, NULL, NULL),
    (3, 1, 1, 'duration', 'histogram', 's', '', 'delta', NULL),
    (4, 1, 1, 'size', 'exponential_histogram', 'By', '', 'cumulative', NULL);
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    metric_id INTEGER NOT NULL REFERENCES metrics (id),
    attributes TEXT NOT NULL
);
CREATE UNIQUE INDEX series_identity ON series (metric_id, attributes);
INSERT INTO series VALUES (1, 1, '{"shop":"north"}'), (2, 2, '{}'), (3, 3, '{"path":"/"}'), (4, 4, '{}');
CREATE TABLE points (
    id INTEGER PRIMARY KEY,
    series_id INTEGER NOT NULL REFERENCES series (id),
    time_unix_nano INTEGER NOT NULL,
    start_time_unix_nano INTEGER,
    value
);
CREATE INDEX points_by_series ON points (series_id, time_unix_nano);
INSERT INTO points VALUES
    (1, 1, 1795431548000000000, 1795431540000000000, 7),
    (2, 2, 1795431548000000000, NULL, 21.5),
    (3, 3, 1795431548000000000, 1795431540000000000, NULL),
    (4, 4, 1795431548000000000, 1795431540000000000, NULL),
    (5, 3, 1795431548500000000, 1795431548000000000, NULL),
    (6, 1, 1795431549000000000, 1795431540000000000, 9),
    (7, 2, 1795431549000000000, NULL, NULL),
    (8, 3, 1795431549000000000, 1795431548500000000, NULL);
CREATE TABLE histograms (
    point_id INTEGER PRIMARY KEY REFERENCES points (id),
    count INTEGER NOT NULL,
    sum,
    min,
    max,
    nan_fields INTEGER NOT NULL,
    bucket_counts TEXT NOT NULL,
    explicit_bounds TEXT NOT NULL
);
INSERT INTO histograms VALUES
    (3, 3, 0.7, 0.1, 0.4, 0, '[1,2,0]', '[0.1,0.5]'),
    (5, 1, 0.2, 0.2, 0.2, 0, '[0,1,0]', '[0.1,0.5]'),
    (8, 1, NULL, 2.5, 2.5, 1, '[0,1]', '[1.0]');
CREATE TABLE exponential_histograms (
    point_id INTEGER PRIMARY KEY REFERENCES points (id),
    count INTEGER NOT NULL,
    sum,
    min,
    max,
    nan_fields INTEGER NOT NULL,
    scale INTEGER NOT NULL,
    zero_count INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    positive_offset INTEGER NOT NULL,
    positive_counts TEXT NOT NULL,
    negative_offset INTEGER NOT NULL,
    negative_counts TEXT NOT NULL
);
INSERT INTO exponential_histograms VALUES (4, 2, 6, 2, 4, 0, 20, 0, 0, 1048575, '[1,1]', 0, '[]');
CREATE VIEW samples AS SELECT p.id AS point_id, m.name AS metric, s.attributes, p.value
    FROM points p JOIN series s ON s.id = p.series_id JOIN metrics m ON m.id = s.metric_id;
CREATE VIEW latest AS SELECT m.name AS metric, s.attributes, p.value FROM series s JOIN points p ON p.id = (
    SELECT id FROM points WHERE series_id = s.id ORDER BY time_unix_nano DESC, id DESC LIMIT 1
) JOIN metrics m ON m.id = s.metric_id;
