"""Row ids of resources, scopes, metrics and series: looked up or inserted, and remembered between exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Sum
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core_sqlite.values import json_of, optional_text, text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Hashable

    from opentelemetry.sdk.metrics.export import Metric, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.util.types import Attributes

# A row that describes points: the name of its table and its values, where a row that it refers to is one of these.
# It is stored with the first point that it describes, as a metric may have none that can be stored.
Described: TypeAlias = tuple[object, ...]

_COLUMNS = {
    "resources": ("attributes", "schema_url", "metrics_schema_url"),
    "scopes": ("name", "version", "schema_url", "attributes", "metrics_schema_url"),
    "metrics": ("name", "resource_id", "scope_id", "type", "unit", "description", "temporality", "is_monotonic"),
    "series": ("metric_id", "attributes", "explicit_bounds"),
}

_REMEMBERED_AT_MOST: Final = 200_000  # series and what describes them; some 100 MB at the worst

# Of these types, a value and its type say everything; the hash of a pair of them is a fifth of the cost of their JSON.
# Floats are not among them, since 0.0 == -0.0.
_PLAIN_TYPES = frozenset({str, int, bool})

_TEMPORALITY = {
    AggregationTemporality.CUMULATIVE: "cumulative",
    AggregationTemporality.DELTA: "delta",
    AggregationTemporality.UNSPECIFIED: "unspecified",
}


class RowIds:
    """The ids of rows that describe points. Only to be used inside a write transaction.

    :meth:`synchronise` has to come first in each transaction, and :meth:`forget` after one that was rolled back.
    """

    def __init__(self) -> None:
        self._described: dict[Described, int] = {}
        self._series: dict[tuple[Described, str | None], SeriesIds] = {}
        self._valid_for: tuple[sqlite3.Connection, int] | None = None

    def synchronise(self, connection: sqlite3.Connection) -> None:
        """Forget everything if the database was opened again or anyone deleted such rows since the last transaction."""
        valid_for = (connection, connection.execute("SELECT series_generation FROM state").fetchone()[0])
        remembered = len(self._described) + len(self._series) + sum(map(len, self._series.values()))
        if valid_for != self._valid_for or remembered > _REMEMBERED_AT_MOST:
            self.forget()
        self._valid_for = valid_for

    def forget(self) -> None:
        """Drop every id."""
        self._described.clear()
        self._series.clear()
        self._valid_for = None

    @staticmethod
    def resource(metrics: ResourceMetrics) -> Described:
        """The row of the resource. Raises UnstorableError."""
        resource: Resource | None = metrics.resource
        attributes, schema_url = (
            ({}, "") if resource is None else (resource.attributes or {}, resource.schema_url or "")
        )
        return ("resources", json_of(attributes), text(schema_url), text(metrics.schema_url or ""))

    @staticmethod
    def scope(metrics: ScopeMetrics) -> Described:
        """The row of the instrumentation scope. Raises UnstorableError."""
        given: InstrumentationScope | None = metrics.scope
        scope = InstrumentationScope("") if given is None else given
        return (
            "scopes",
            text(scope.name),
            optional_text(scope.version),
            text(scope.schema_url or ""),
            json_of(scope.attributes or {}),
            text(metrics.schema_url or ""),
        )

    @staticmethod
    def metric(resource: Described, scope: Described, metric: Metric, kind: str) -> Described:
        """The row of the metric of type ``kind``. Raises UnstorableError."""
        data = metric.data
        return (
            "metrics",
            text(metric.name),
            resource,
            scope,
            kind,
            optional_text(metric.unit),
            optional_text(metric.description),
            None if isinstance(data, Gauge) else _TEMPORALITY[data.aggregation_temporality],
            int(data.is_monotonic) if isinstance(data, Sum) else None,
        )

    def series_of(self, connection: sqlite3.Connection, metric: Described, bounds: str | None) -> SeriesIds:
        """The ids of the metric's series that have these explicit bounds, for the rest of the transaction."""
        known = self._series.get((metric, bounds))
        if known is None:
            known = self._series[metric, bounds] = SeriesIds(self, connection, metric, bounds)
        return known

    def id_of(self, connection: sqlite3.Connection, described: Described) -> int:
        """The id of this row, and of those that it refers to."""
        found = self._described.get(described)
        if found is None:
            table, *values = described
            row = tuple(self.id_of(connection, value) if isinstance(value, tuple) else value for value in values)
            found = self._described[described] = _row_id(connection, str(table), row)
        return found


class SeriesIds:
    """The ids of the series of one metric with the same explicit bounds."""

    __slots__ = ("_bounds", "_connection", "_ids", "_known", "_metric")

    def __init__(self, ids: RowIds, connection: sqlite3.Connection, metric: Described, bounds: str | None) -> None:
        self._ids = ids
        self._connection = connection
        self._metric = metric
        self._bounds = bounds
        self._known: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def id_of(self, attributes: Attributes) -> int:
        """The id of the series with these attributes. Raises UnstorableError."""
        # What is equal for equal attributes only, types included: 1 == True == 1.0, but they are three series.
        key: Hashable = ()
        if attributes:
            values = attributes.values()
            types = tuple(map(type, values))
            key = (*attributes, *values, *types) if _PLAIN_TYPES.issuperset(types) else json_of(attributes)
        found = self._known.get(key)
        if found is None:
            as_json = json_of(attributes or {})
            row = (self._ids.id_of(self._connection, self._metric), as_json, self._bounds)
            found = _row_id(self._connection, "series", row)
            self._known[key] = found
        return found


def _row_id(connection: sqlite3.Connection, table: str, row: tuple[object, ...]) -> int:
    """The id of the row, which is inserted unless it is there."""
    insert, select = _STATEMENTS[table]
    cursor = connection.execute(insert, row)
    row_id = cursor.lastrowid if cursor.rowcount else connection.execute(select, row).fetchone()[0]
    assert isinstance(row_id, int)  # noqa: S101 - tells mypy what an INSERT promises
    return row_id


def _statements(table: str, columns: tuple[str, ...]) -> tuple[str, str]:
    """Insert a row unless it is there, and find it. Names come from this module, values are bound."""
    places = ", ".join("?" * len(columns))
    conditions = " AND ".join(f"{column} IS ?" for column in columns)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}) ON CONFLICT DO NOTHING",  # noqa: S608 - no input in it
        f"SELECT id FROM {table} WHERE {conditions}",  # noqa: S608 - no input in it
    )


_STATEMENTS = {table: _statements(table, columns) for table, columns in _COLUMNS.items()}
