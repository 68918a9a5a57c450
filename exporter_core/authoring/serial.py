"""The base class that keeps the exporter contract: a subclass says how to deliver a batch and what to release."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import TYPE_CHECKING

from exporter_core.authoring.preferences import PreferenceOptions
from exporter_core.errors import ContextCancelledError, DeadlineExceededError, ExporterShutdownError
from exporter_core.exporter import ConfigT, Exporter
from exporter_core.forking import renew_after_fork
from exporter_core.log import log
from exporter_core.masking import describe, masker_for
from exporter_core.sync import Once, Turn

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.context import Context
    from exporter_core.contract import InstrumentKind

_logger = logging.getLogger(__name__)


class SerialExporter(Exporter[ConfigT]):
    """Base class of exporters that deliver one batch at a time and hold nothing between two exports.

    A subclass writes :meth:`deliver`, and :meth:`release` if it owns something. The base class refuses done contexts
    and whatever comes after a shutdown, lets concurrent exports take turns, and ends the running export when a shutdown
    cannot wait for it. :meth:`deliver` and :meth:`release` never run at the same time.

    Both are plain functions: an ``async def`` exporter subclasses :class:`exporter_core.Exporter`.

    Args:
        config: the validated options. The two of :class:`PreferenceOptions`, if there, answer for temporality and
            aggregation.
    """

    timeout: float | None = None
    """Seconds that one export may take, including the wait for its turn; None leaves that to the caller's context."""

    def __init__(self, config: ConfigT) -> None:
        super().__init__(config)
        self._shutdown = Once()
        self._turn = Turn()
        self._running: Context | None = None
        self._is_left = False  # to be released by the thread that has the turn: the shutdown could not wait for it
        renew_after_fork(self)

    # --- for subclasses ----------------------------------------------------------------------------------------------

    @abstractmethod
    def deliver(self, context: Context, metrics: MetricsData) -> None:
        """Deliver the metrics before returning, or raise.

        Ask ``context.raise_if_done()`` before each step, and pass ``context.remaining()`` as its time-out. The context
        is done at the deadline, when the caller cancels, after :attr:`timeout` seconds, and when a shutdown cannot wait
        any longer. The metrics are not to be changed.
        """

    def release(self, context: Context) -> None:
        """Release everything that the exporter owns, also when the context is done. Called once, after the last export.

        When the shutdown could not wait for a running export, the thread of that export calls this as it ends, and
        what this raises is logged.
        """

    def begin_anew(self) -> None:
        """Replace what cannot be used in a forked child: connections, locks, threads. Called there; must not block.

        Closing what was inherited may disturb the parent: hand it to :func:`keep_untouched`.
        """

    @property
    def is_shut_down(self) -> bool:
        """True once a shutdown has begun."""
        return self._shutdown.taken

    # --- the contract ------------------------------------------------------------------------------------------------

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """Return what the option ``temporality_preference`` says for this kind; without it, cumulative."""
        if isinstance(self.config, PreferenceOptions):
            return self.config.temporality_of(instrument_kind)
        return super().temporality(instrument_kind)

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """Return the SDK's default, for histograms what the option ``default_histogram_aggregation`` says."""
        if isinstance(self.config, PreferenceOptions):
            return self.config.aggregation_of(instrument_kind)
        return super().aggregation(instrument_kind)

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Wait for the turn, then deliver the metrics.

        Raises:
            ExporterShutdownError: a shutdown came before, or ended the export.
            DeadlineExceededError, ContextCancelledError: the context was done before the metrics were delivered.
        """
        self._raise_if_shut_down()
        context.raise_if_done()
        running = context.child(timeout=self.timeout)
        turn = self._turn  # a fork inside deliver() leaves the child with another
        try:
            with turn.held(running):
                # A shutdown marks first and looks second, this is listed first and looks second: one sees the other.
                self._running = running
                try:
                    self._raise_if_shut_down()
                    self.deliver(running, metrics)
                finally:
                    self._running = None
        except ContextCancelledError as error:
            context.raise_if_done()
            if not self.is_shut_down:
                raise
            _, semicolon, failure = str(error).partition("; ")
            message = f"the exporter was shut down before the export was done{semicolon}{failure}"
            raise ExporterShutdownError(message) from error
        except DeadlineExceededError as error:
            if context.done or not running.done:
                raise
            text, semicolon, failure = str(error).partition("; ")
            raise DeadlineExceededError(f"{text} (timeout: {self.timeout:g} s){semicolon}{failure}") from error
        finally:
            self._release_if_left(turn, running)

    def force_flush(self, context: Context) -> None:
        """Return at once, or raise the error of a done context: no export leaves anything to flush."""
        if not self.is_shut_down:
            context.raise_if_done()

    def shutdown(self, context: Context) -> None:
        """Wait for the running export while the context lasts, then cancel it; release everything.

        Raises ExporterShutdownError the second time. Raises the error of a done context, with the exporter shut down
        all the same: if an export still runs, it releases everything as it ends.
        """
        if not self._shutdown.take(object()):
            raise ExporterShutdownError("the exporter has been shut down already")
        turn, has_turn = self._turn, False
        try:
            has_turn = turn.take(context)
        finally:  # also when Ctrl-C ends the wait
            if has_turn:
                try:
                    self.release(context)
                finally:
                    turn.give_back()
            else:
                self._is_left = True
                running = self._running
                if running is not None:
                    running.cancel("the exporter is shutting down")
                self._release_if_left(turn, context)
        context.raise_if_done()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _raise_if_shut_down(self) -> None:
        if self.is_shut_down:
            raise ExporterShutdownError("the exporter has been shut down")

    def _release_if_left(self, turn: Turn, context: Context) -> None:
        """Release what a shutdown has left, unless another thread has the turn: that thread does it as it ends."""
        if not (self._is_left and turn.take_if_free()):
            return
        try:
            if self._is_left:  # nobody was faster
                self._is_left = False
                self.release(context)
        except Exception as error:  # noqa: BLE001 - the shutdown has returned, and the export's outcome is its own
            reason = describe(error, masker_for(self.config))
            log(_logger, logging.ERROR, "%s: release after the shutdown failed: %s", type(self).__qualname__, reason)
        finally:
            turn.give_back()

    def _renew_after_fork(self) -> None:
        self._turn = Turn()
        self._running = None
        self.begin_anew()
