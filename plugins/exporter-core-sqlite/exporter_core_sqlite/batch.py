"""One batch of metrics data as rows: the hot path of an export.

Nothing of the data is changed or kept. A point that cannot be stored is counted with its reason, and the others are
stored.
"""

from __future__ import annotations

import json
import math
import time
from operator import is_
from typing import TYPE_CHECKING, TypeAlias

from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    NumberDataPoint,
    Sum,
)

from exporter_core_sqlite.values import UnstorableError, integer, json_of, number, optional_integer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics import Exemplar
    from opentelemetry.sdk.metrics.export import Buckets, Metric, MetricsData, ScopeMetrics

    from exporter_core import Context
    from exporter_core_sqlite.series import Described, RowIds, SeriesIds

_Row: TypeAlias = tuple[object, ...]
_DataPoint: TypeAlias = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint

_KINDS: dict[type, str] = {
    Gauge: "gauge",
    Sum: "sum",
    Histogram: "histogram",
    ExponentialHistogram: "exponential_histogram",
}

_ROWS_HELD = 20_000  # then they are inserted: a batch of any size needs memory for so many
_POINTS_BETWEEN_CHECKS = 1_000  # some two milliseconds

_INSERT_POINTS = "INSERT INTO points VALUES (?, ?, ?, ?, ?)"
_INSERT_HISTOGRAMS = "INSERT INTO histograms VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_EXPONENTIAL = "INSERT INTO exponential_histograms VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_EXEMPLARS = "INSERT INTO exemplars VALUES (?, ?, ?, ?, ?, ?, ?)"

_counts_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Batch:
    """Writes the points of one export.

    Args:
        connection: in a write transaction.
        ids: synchronised with it.
        context: the export's; writing ends with its error when it is done.

    Attributes:
        first_point_id: the id of the first point.
        rejected: the number of points that cannot be stored.
        reason: why the first of those cannot, with its metric's name.
    """

    def __init__(self, connection: sqlite3.Connection, ids: RowIds, context: Context) -> None:
        self._connection = connection
        self._ids = ids
        self._context = context
        last = connection.execute("SELECT max(id) FROM points").fetchone()[0]
        self.first_point_id: int = (last or 0) + 1
        self._next_id = self.first_point_id
        self.rejected = 0
        self.reason = ""
        self._points: list[_Row] = []
        self._histograms: list[_Row] = []
        self._exponential: list[_Row] = []
        self._exemplars: list[_Row] = []

    @property
    def stored(self) -> int:
        """The number of points stored so far."""
        return self._next_id - self.first_point_id

    def write(self, metrics: MetricsData) -> int | None:
        """Insert everything; returns the id of the batch, None if no point was stored."""
        for resource_metrics in metrics.resource_metrics:
            try:
                resource = self._ids.resource(resource_metrics)
            except UnstorableError as error:
                for scope_metrics in resource_metrics.scope_metrics:
                    self._reject_all(scope_metrics.metrics, f"the resource: {error}")
                continue
            for scope_metrics in resource_metrics.scope_metrics:
                self._write_scope(resource, scope_metrics)
        self._insert()
        if not self.stored:
            return None
        row = (time.time_ns(), self.first_point_id, self._next_id - 1)
        cursor = self._connection.execute(
            "INSERT INTO batches (exported_unix_nano, first_point_id, last_point_id) VALUES (?, ?, ?)", row
        )
        return cursor.lastrowid

    def _write_scope(self, resource: Described, scope_metrics: ScopeMetrics) -> None:
        try:
            scope = self._ids.scope(scope_metrics)
        except UnstorableError as error:
            self._reject_all(scope_metrics.metrics, f"the instrumentation scope: {error}")
            return
        for metric in scope_metrics.metrics:
            kind = _KINDS.get(type(metric.data))
            if kind is None:
                self._reject_all([metric], f"data of type {type(metric.data).__name__} is not known")
                continue
            if not metric.data.data_points:
                continue
            try:
                described = self._ids.metric(resource, scope, metric, kind)
            except UnstorableError as error:
                self._reject_all([metric], str(error))
                continue
            self._write_metric(metric, described)

    def _write_metric(self, metric: Metric, described: Described) -> None:
        points: Sequence[_DataPoint] = metric.data.data_points
        series: SeriesIds | None = None
        bounds: Sequence[float] | None = None
        for position, point in enumerate(points):
            if not position % _POINTS_BETWEEN_CHECKS:
                self._pause()
            try:
                # The SDK gives all points of a histogram the same bounds object, or equal ones with the same numbers.
                given = point.explicit_bounds if isinstance(point, HistogramDataPoint) else None
                if series is None or not _are_same(given, bounds):
                    text = _bounds(given) if isinstance(point, HistogramDataPoint) else None
                    series, bounds = self._ids.series_of(self._connection, described, text), given
                if isinstance(point, NumberDataPoint):
                    value = point.value
                    self._add(point, series, value if type(value) is float else number(value))
                elif isinstance(point, HistogramDataPoint):
                    row = (*_summary(point), _counts(point.bucket_counts))
                    self._histograms.append((self._add(point, series, None), *row))
                else:
                    row = (*_summary(point), *_exponential(point))
                    self._exponential.append((self._add(point, series, None), *row))
            except UnstorableError as error:
                self._reject(1, metric.name, error)

    def _add(self, point: _DataPoint, series: SeriesIds, value: float | None) -> int:
        """Take the point itself and its exemplars; its id. Raises UnstorableError, and has then taken nothing."""
        point_id = self._next_id
        at = integer(point.time_unix_nano)
        start = optional_integer(point.start_time_unix_nano)
        exemplars = [_exemplar_row(point_id, *pair) for pair in enumerate(point.exemplars)] if point.exemplars else ()
        # SQLite makes NULL of NaN.
        self._points.append((point_id, series.id_of(point.attributes), at, start, value))
        self._exemplars.extend(exemplars)
        self._next_id = point_id + 1
        return point_id

    def _pause(self) -> None:
        """End the batch if its context is done, and insert what has gathered if that is much."""
        self._context.raise_if_done()
        if len(self._points) >= _ROWS_HELD:
            self._insert()

    def _insert(self) -> None:
        for statement, rows in (
            (_INSERT_POINTS, self._points),
            (_INSERT_HISTOGRAMS, self._histograms),
            (_INSERT_EXPONENTIAL, self._exponential),
            (_INSERT_EXEMPLARS, self._exemplars),
        ):
            if rows:
                self._connection.executemany(statement, rows)
                rows.clear()

    def _reject_all(self, metrics: Sequence[Metric], reason: str) -> None:
        for metric in metrics:
            self._reject(len(getattr(metric.data, "data_points", ())), metric.name, reason)

    def _reject(self, points: int, name: str, reason: object) -> None:
        if points and not self.rejected:
            self.reason = f"metric {name!r}: {reason}"
        self.rejected += points


def _summary(point: HistogramDataPoint | ExponentialHistogramDataPoint) -> _Row:
    """The columns count, sum, min, max and nan_fields, which tells NaN from absent."""
    given: tuple[object, ...] = (point.sum, point.min, point.max)
    fields = [None if field is None else number(field) for field in given]
    nan_fields = sum(1 << bit for bit, field in enumerate(fields) if field is not None and math.isnan(field))
    return (integer(point.count), *fields, nan_fields)


def _exponential(point: ExponentialHistogramDataPoint) -> _Row:
    """The columns scale, zero_count, flags, and offset and counts of both sides."""
    numbers = (integer(point.scale), integer(point.zero_count), integer(point.flags))
    return (*numbers, *_side(point.positive), *_side(point.negative))


def _side(buckets: Buckets | None) -> _Row:
    return (0, "[]") if buckets is None else (integer(buckets.offset), _counts(buckets.bucket_counts))


def _counts(counts: Sequence[int] | None) -> str:
    """Bucket counts as a JSON array; integers of any size. Raises UnstorableError."""
    try:
        plain = [] if counts is None else list(counts)
        try:
            return _counts_json(plain)
        except TypeError:
            return _counts_json([number(count) for count in plain])
    except (TypeError, ValueError, UnstorableError):
        raise UnstorableError("the bucket counts are not all numbers") from None


def _bounds(bounds: Sequence[object] | None) -> str:
    """Explicit bounds as a JSON array; numbers of any size. Raises UnstorableError."""
    try:
        given = () if bounds is None else bounds
        return json_of([bound if isinstance(bound, int | float) else number(bound) for bound in given])
    except TypeError:
        raise UnstorableError("the bounds are not all numbers") from None


def _are_same(bounds: Sequence[object] | None, others: Sequence[object] | None) -> bool:
    """True if these are the same bounds: identity holds for every difference, also that of 0, 0.0 and -0.0."""
    if bounds is others:
        return True
    alike = type(bounds) is tuple and type(others) is tuple and len(bounds) == len(others)
    return alike and all(map(is_, bounds or (), others or ()))


def _exemplar_row(point_id: int, position: int, exemplar: Exemplar) -> _Row:
    trace_id, span_id = exemplar.trace_id, exemplar.span_id
    return (
        point_id,
        position,
        integer(exemplar.time_unix_nano),
        number(exemplar.value),
        None if trace_id is None else f"{trace_id:032x}",
        None if span_id is None else f"{span_id:016x}",
        None if exemplar.filtered_attributes is None else json_of(exemplar.filtered_attributes),
    )
