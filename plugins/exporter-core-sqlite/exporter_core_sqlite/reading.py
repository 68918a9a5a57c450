"""Reads a database back as the OpenTelemetry SDK's own types, exactly as they were exported."""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core_sqlite.database import connect_to_read
from exporter_core_sqlite.values import text_from, value_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from opentelemetry.sdk.metrics.export import DataT

# sqlite3.Row gives values as Any: their types are the schema's.

_POINTS = """
SELECT p.id, p.time_unix_nano, p.start_time_unix_nano, p.value, s.attributes, s.explicit_bounds,
    s.metric_id, m.scope_id, m.resource_id
FROM points p JOIN series s ON s.id = p.series_id JOIN metrics m ON m.id = s.metric_id
WHERE p.id BETWEEN ? AND ? ORDER BY p.id
"""


def read(path: str | os.PathLike[str]) -> Iterator[MetricsData]:
    """Yield what each export stored, the oldest first, without what retention has deleted.

    Consecutive points of one resource, scope and metric come under one of each. A resource, scope or metric without
    points is not there. Absent attributes read as empty ones and sequences as tuples; everything else is as it was.
    Other processes may write meanwhile.

    Raises ExporterError for a file that is missing, not of this exporter, or of another schema version, and
    sqlite3.Error when reading it fails.
    """
    connection = connect_to_read(Path(path))
    try:
        connection.row_factory = sqlite3.Row
        for (batch_id,) in connection.execute("SELECT id FROM batches ORDER BY id").fetchall():
            data = _read_batch(connection, batch_id)
            if data is not None:
                yield data
    finally:
        connection.close()


def _read_batch(connection: sqlite3.Connection, batch_id: int) -> MetricsData | None:
    """Read what retention has left of the batch, in one transaction, as it may be at work; None if nothing is left."""
    connection.execute("BEGIN")
    try:
        batch = connection.execute(
            "SELECT first_point_id, last_point_id FROM batches WHERE id = ?", (batch_id,)
        ).fetchone()
        if batch is None:
            return None
        return _Batch(connection, tuple(batch)).metrics_data()
    finally:
        connection.execute("COMMIT")


class _Batch:
    """The rows of one batch, and what is made of them."""

    def __init__(self, connection: sqlite3.Connection, between: tuple[Any, ...]) -> None:
        self._points = connection.execute(_POINTS, between).fetchall()
        self._metrics = _by_id(connection, "metrics", {row["metric_id"] for row in self._points})
        self._scopes = _by_id(connection, "scopes", {row["scope_id"] for row in self._points})
        self._resources = _by_id(connection, "resources", {row["resource_id"] for row in self._points})
        self._histograms = _of_points(connection, "histograms", between)
        self._exponential = _of_points(connection, "exponential_histograms", between)
        self._exemplars: defaultdict[int, list[Exemplar]] = defaultdict(list)
        statement = "SELECT * FROM exemplars WHERE point_id BETWEEN ? AND ? ORDER BY point_id, position"
        for row in connection.execute(statement, between):
            self._exemplars[row["point_id"]].append(_exemplar(row))

    def metrics_data(self) -> MetricsData:
        resources = []
        for resource_id, of_resource in groupby(self._points, itemgetter("resource_id")):
            scopes = []
            for scope_id, of_scope in groupby(of_resource, itemgetter("scope_id")):
                metrics = [
                    self._metric(self._metrics[metric_id], list(of_metric))
                    for metric_id, of_metric in groupby(of_scope, itemgetter("metric_id"))
                ]
                row = self._scopes[scope_id]
                scopes.append(ScopeMetrics(_scope(row), metrics, text_from(row["metrics_schema_url"])))
            row = self._resources[resource_id]
            resource = Resource(value_of(row["attributes"]), text_from(row["schema_url"]))
            resources.append(ResourceMetrics(resource, scopes, text_from(row["metrics_schema_url"])))
        return MetricsData(resources)

    def _metric(self, row: sqlite3.Row, points: list[sqlite3.Row]) -> Metric:
        name, description, unit = text_from(row["name"]), _optional(row["description"]), _optional(row["unit"])
        return Metric(name, description, unit, self._data(row, points))

    def _data(self, row: sqlite3.Row, points: list[sqlite3.Row]) -> DataT:
        if row["type"] == "gauge":
            return Gauge([self._number(point) for point in points])
        temporality = AggregationTemporality[row["temporality"].upper()]
        if row["type"] == "sum":
            return Sum([self._number(point) for point in points], temporality, bool(row["is_monotonic"]))
        if row["type"] == "histogram":
            return Histogram([self._histogram(point) for point in points], temporality)
        return ExponentialHistogram([self._exponential_histogram(point) for point in points], temporality)

    def _common(self, point: sqlite3.Row) -> dict[str, Any]:
        return {
            "attributes": value_of(point["attributes"]),
            "start_time_unix_nano": point["start_time_unix_nano"],
            "time_unix_nano": point["time_unix_nano"],
            "exemplars": self._exemplars.get(point["id"], []),
        }

    def _number(self, point: sqlite3.Row) -> NumberDataPoint:
        return NumberDataPoint(**self._common(point), value=_not_null(point["value"]))

    def _histogram(self, point: sqlite3.Row) -> HistogramDataPoint:
        row = self._histograms[point["id"]]
        return HistogramDataPoint(
            **self._common(point),
            **_summary(row),
            bucket_counts=value_of(row["bucket_counts"]),
            explicit_bounds=value_of(point["explicit_bounds"]),
        )

    def _exponential_histogram(self, point: sqlite3.Row) -> ExponentialHistogramDataPoint:
        row = self._exponential[point["id"]]
        return ExponentialHistogramDataPoint(
            **self._common(point),
            **_summary(row),
            scale=row["scale"],
            zero_count=row["zero_count"],
            flags=row["flags"],
            positive=Buckets(row["positive_offset"], value_of(row["positive_counts"])),
            negative=Buckets(row["negative_offset"], value_of(row["negative_counts"])),
        )


def _by_id(connection: sqlite3.Connection, table: str, ids: set[int]) -> dict[int, sqlite3.Row]:
    statement = f"SELECT * FROM {table} WHERE id = ?"  # noqa: S608 - names from this module
    return {row_id: connection.execute(statement, (row_id,)).fetchone() for row_id in ids}


def _of_points(connection: sqlite3.Connection, table: str, between: tuple[Any, ...]) -> dict[int, sqlite3.Row]:
    rows = connection.execute(f"SELECT * FROM {table} WHERE point_id BETWEEN ? AND ?", between)  # noqa: S608 - names from this module
    return {row["point_id"]: row for row in rows}


def _scope(row: sqlite3.Row) -> InstrumentationScope:
    name, version, url = text_from(row["name"]), _optional(row["version"]), text_from(row["schema_url"])
    return InstrumentationScope(name, version, url, value_of(row["attributes"]))


def _exemplar(row: sqlite3.Row) -> Exemplar:
    attributes = row["filtered_attributes"]
    return Exemplar(
        filtered_attributes=None if attributes is None else value_of(attributes),
        value=_not_null(row["value"]),
        time_unix_nano=row["time_unix_nano"],
        span_id=None if row["span_id"] is None else int(row["span_id"], 16),
        trace_id=None if row["trace_id"] is None else int(row["trace_id"], 16),
    )


def _summary(row: sqlite3.Row) -> dict[str, Any]:
    summary = {"count": row["count"]}
    for bit, name in enumerate(("sum", "min", "max")):
        summary[name] = math.nan if row["nan_fields"] & (1 << bit) else row[name]
    return summary


def _not_null(value: float | None) -> float:
    return math.nan if value is None else value


def _optional(value: str | bytes | None) -> str | None:
    return None if value is None else text_from(value)
