"""The exporter: each batch is one transaction on one connection."""

from __future__ import annotations

import shlex
import shutil
from functools import partial
from typing import TYPE_CHECKING

from exporter_core import Destination, PartialSuccessError
from exporter_core.authoring import SerialExporter, keep_untouched
from exporter_core_sqlite.batch import Batch
from exporter_core_sqlite.config import SqliteConfig
from exporter_core_sqlite.database import Database
from exporter_core_sqlite.forking import refuse_to_open
from exporter_core_sqlite.retention import Retention
from exporter_core_sqlite.series import RowIds

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core import Context


class SqliteExporter(SerialExporter[SqliteConfig]):
    """Write metrics to a SQLite file."""

    keeps_metrics_unchanged = True

    def __init__(self, config: SqliteConfig) -> None:
        super().__init__(config)
        self._make()

    def _make(self) -> None:
        self._database = Database(self.config)
        self._ids = RowIds()
        self._retention = Retention(self.config)

    def destination(self) -> Destination:
        """Return the file, and a command that shows the newest value of each series there."""
        path = str(self.config.path)
        query = "SELECT metric, attributes, value, unit FROM latest"
        if shutil.which("sqlite3"):
            return Destination(path, f"sqlite3 -box {shlex.quote(path)} {shlex.quote(query)}")
        program = f"import sqlite3; print(*sqlite3.connect({path!r}).execute({query!r}), sep='\\n')"
        return Destination(path, f"python3 -c {shlex.quote(program)}")

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        """Store the metrics in one transaction: all of it or, on any error but PartialSuccessError, nothing.

        The rest of the context's time goes to the deletion of old points, which is never an error.

        Raises:
            PartialSuccessError: everything was stored but points that SQLite cannot hold; the message names one.
            ExporterError: the database is missing its directory, locked, full, read-only, corrupt or not ours.
        """
        try:
            with self._database.transaction(context) as connection:
                self._ids.synchronise(connection)
                batch = Batch(connection, self._ids, context)
                batch_id = batch.write(metrics)
        except BaseException:
            self._ids.forget()  # rows that were rolled back may be among them
            raise
        self._database.tidy(context, partial(self._retention.steps, own_batch=batch_id, stored=batch.stored))
        if batch.rejected:
            raise PartialSuccessError(
                f"{batch.rejected} of {batch.rejected + batch.stored} points cannot be stored; {batch.reason}",
                rejected_points=batch.rejected,
            )

    def release(self, context: Context) -> None:  # noqa: ARG002 - closing takes no time
        """Close the database."""
        self._database.close()

    def begin_anew(self) -> None:
        """Use another connection in a forked child, or none if SQLite was at work during the fork."""
        if not self._database.is_held:
            keep_untouched(self._database, self._ids)
            refuse_to_open(self.config.path)
        self._make()
