"""The exporter: contract operations on one connection, which export and shutdown use in turn."""

from __future__ import annotations

import shlex
import shutil
import threading
from functools import partial
from typing import TYPE_CHECKING

from exporter_core import (
    Context,
    ContextCancelledError,
    Destination,
    Exporter,
    ExporterShutdownError,
    PartialSuccessError,
)
from exporter_core.preferences import preferred_aggregation, preferred_temporality
from exporter_core_sqlite.batch import Batch
from exporter_core_sqlite.config import SqliteConfig
from exporter_core_sqlite.database import Database
from exporter_core_sqlite.forking import close_before_fork
from exporter_core_sqlite.retention import Retention
from exporter_core_sqlite.series import RowIds
from exporter_core_sqlite.turn import Turn

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core import InstrumentKind


class SqliteExporter(Exporter[SqliteConfig]):
    """Write metrics to a SQLite file."""

    def __init__(self, config: SqliteConfig) -> None:
        super().__init__(config)
        self._begin_anew()
        self._shut_down = False
        close_before_fork(self)

    def _begin_anew(self) -> None:
        """Make what the operations share; in a forked child again, as whoever held it does not exist there."""
        self._database = Database(self.config)
        self._ids = RowIds()
        self._retention = Retention(self.config)
        self._turn = Turn()  # whose it is, uses the three above
        self._state = threading.Lock()  # held for a moment only, and never while waiting
        self._running: Context | None = None

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """As the option ``temporality_preference`` says."""
        return preferred_temporality(self.config.temporality_preference, instrument_kind)

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """The SDK's default, for histograms as the option ``default_histogram_aggregation`` says."""
        return preferred_aggregation(self.config.default_histogram_aggregation, instrument_kind)

    def destination(self) -> Destination:
        """The file, and a command that shows the newest value of each series there."""
        path = str(self.config.path)
        query = "SELECT metric, attributes, value, unit FROM latest"
        if shutil.which("sqlite3"):
            return Destination(path, f"sqlite3 -box {shlex.quote(path)} {shlex.quote(query)}")
        program = f"import sqlite3; print(*sqlite3.connect({path!r}).execute({query!r}), sep='\\n')"
        return Destination(path, f"python3 -c {shlex.quote(program)}")

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Store the metrics in one transaction: all of it or, on any error but PartialSuccessError, nothing.

        What is then left of the context's time is for the deletion of old points, which never is an error.

        Raises:
            PartialSuccessError: everything was stored but points that SQLite cannot hold; the message names one.
            ExporterError: the database is missing its directory, locked, full, read-only, corrupt or not ours.
        """
        self._refuse_after_shutdown()
        context.raise_if_done()
        if not self._turn.take(context):
            context.raise_if_done()
        try:
            batch = self._store(context, metrics)
        finally:
            self._turn.give_back()
            self._close_if_shut_down()
        if batch.rejected:
            raise PartialSuccessError(
                f"{batch.rejected} of {batch.rejected + batch.stored} points cannot be stored; {batch.reason}",
                rejected_points=batch.rejected,
            )

    def force_flush(self, context: Context) -> None:
        """Return at once, or raise the error of a done context: what export has accepted is committed."""
        if not self._shut_down:
            context.raise_if_done()

    def shutdown(self, context: Context) -> None:
        """Wait for a running export while the context lasts, then end that; close the database.

        Raises the context's error if that is done; the database is closed all the same, by the running export if
        there is one.
        """
        with self._state:
            self._refuse_after_shutdown()
            self._shut_down = True
        if self._turn.take(context):
            try:
                self._database.close()
            finally:
                self._turn.give_back()
        else:
            running = self._running
            if running is not None:
                running.cancel("the exporter is shutting down")
        context.raise_if_done()

    def _store(self, context: Context, metrics: MetricsData) -> Batch:
        """Write in one transaction, then prune in others; all end with the context, or when shutdown says so."""
        running = context.child()
        with self._state:
            self._refuse_after_shutdown()
            self._running = running
        try:
            with self._database.transaction(running) as connection:
                self._ids.synchronise(connection)
                batch = Batch(connection, self._ids, running)
                batch_id = batch.write(metrics)
        except BaseException as error:
            self._ids.forget()  # rows that were rolled back may be among them
            if isinstance(error, ContextCancelledError):
                context.raise_if_done()
                raise ExporterShutdownError("shut down before the export was done; nothing was stored") from error
            raise
        else:
            self._database.tidy(running, partial(self._retention.steps, own_batch=batch_id, stored=batch.stored))
            return batch
        finally:
            self._running = None

    def _close_if_shut_down(self) -> None:
        """Close the database if a shutdown that could not wait for its turn left that to this export."""
        if self._shut_down and self._turn.take_if_free():
            try:
                self._database.close()
            finally:
                self._turn.give_back()

    def _refuse_after_shutdown(self) -> None:
        if self._shut_down:
            raise ExporterShutdownError("the exporter has been shut down")
