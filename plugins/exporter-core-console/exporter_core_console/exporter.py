"""The exporter: renders each batch as text and writes it before ``export`` returns.

Nothing is held between two exports, so there is never anything to flush.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING
from weakref import WeakSet

from exporter_core import Exporter, ExporterShutdownError
from exporter_core.preferences import preferred_aggregation, preferred_temporality
from exporter_core.streams import Output, Target, turn
from exporter_core_console.config import ConsoleConfig
from exporter_core_console.json_lines import json_lines

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core import Context, InstrumentKind


class ConsoleExporter(Exporter[ConsoleConfig]):
    """Show metrics on the console: a readable table on a terminal, JSON Lines otherwise.

    The deadline and the cancellation of an export are kept also where nobody reads the pipe, or the terminal is
    stopped. Where ``sys.stdout`` or ``sys.stderr`` was replaced by an object that is not a plain text file over a file
    descriptor, as in a notebook or under a test's capture, the text goes through that object's own ``write``, which
    takes as long as it takes.
    """

    def __init__(self, config: ConsoleConfig) -> None:
        super().__init__(config)
        self._shut_down = False
        self._begin_anew()
        _living.add(self)

    def _begin_anew(self) -> None:
        """Make what the operations share; in a forked child again, as whoever held it does not exist there."""
        self._state = threading.Lock()
        self._exporting = threading.Lock()
        self._running: Context | None = None
        self._output = Output(self.config.stream)

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """The temporality that ``temporality_preference`` gives this kind."""
        return preferred_temporality(self.config.temporality_preference or "cumulative", instrument_kind)

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """The SDK's default, except for histograms in exponential buckets."""
        preference = self.config.default_histogram_aggregation or "explicit_bucket_histogram"
        return preferred_aggregation(preference, instrument_kind)

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Write the metrics; an empty batch writes nothing.

        Raises DeadlineExceededError or ContextCancelledError when the context ends first (a part may have been
        written by then), ExporterShutdownError after shutdown, and ExporterError when the stream cannot be written to.
        """
        self._raise_if_shut_down()
        context.raise_if_done()
        with turn(self._exporting, context):
            running = context.child()
            with self._state:
                self._running = running
            try:
                # Shutdown may have come while this waited for its turn; from here on it sees and waits for this call.
                self._raise_if_shut_down()
                self._output.write(running, lambda target: self._render(running, metrics, target))
            finally:
                with self._state:
                    self._running = None

    def force_flush(self, context: Context) -> None:
        """Return at once, for nothing is held; raises the context's error when that is done already."""
        with self._state:
            shut_down = self._shut_down
        if not shut_down:
            context.raise_if_done()

    def shutdown(self, context: Context) -> None:
        """Refuse further exports and wait for a running one, which is cancelled when the context ends first.

        The stream stays open: it belongs to the process. Raises the context's error when the context is done, with
        the exporter shut down all the same, and ExporterShutdownError the second time.
        """
        with self._state:
            if self._shut_down:
                raise ExporterShutdownError("the console exporter is already shut down")
            self._shut_down = True
        try:
            with turn(self._exporting, context):
                context.raise_if_done()
        finally:
            with self._state:
                running = self._running
            if running is not None:
                running.cancel("the console exporter was shut down")

    def _raise_if_shut_down(self) -> None:
        with self._state:
            if self._shut_down:
                raise ExporterShutdownError("the console exporter is shut down: nothing was written")

    def _render(self, context: Context, metrics: MetricsData, target: Target) -> str:
        if self.config.format == "json" or (self.config.format == "auto" and not target.is_terminal):
            return json_lines(context, metrics)
        from exporter_core_console.table import table  # noqa: PLC0415 - rich is 70 ms that JSON Lines need not pay

        return table(context, metrics, width=target.width(), style=target.style())


_living: WeakSet[ConsoleExporter] = WeakSet()


def _after_fork_in_child() -> None:
    for exporter in list(_living):
        exporter._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
