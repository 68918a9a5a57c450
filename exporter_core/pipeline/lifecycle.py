"""The life of a pipeline: made from a config, flushed as often as one likes, shut down once, at exit at the latest."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from exporter_core.config import PipelineConfig, load_config, parse_config
from exporter_core.context import Context
from exporter_core.errors import DeadlineExceededError, ExporterReentrancyError
from exporter_core.guard import GuardState
from exporter_core.pipeline.building import OBSERVERS_SECONDS, build
from exporter_core.pipeline.reports import PipelineReport, ReaderReport, report_of
from exporter_core.reader import Delivery, finish
from exporter_core.registry import ExporterRegistry
from exporter_core.sync import Latch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from opentelemetry.sdk.metrics import MeterProvider

    from exporter_core.guard import GuardedExporter
    from exporter_core.reader import PeriodicReader, ReaderStats

_logger = logging.getLogger("exporter_core.pipeline")

_SHUTDOWN_SECONDS = 30.0


class Pipeline:
    """The readers and guarded exporters of one config, behind one OpenTelemetry meter provider.

    Use it as a context manager, or call :meth:`shutdown`; what is still running when the interpreter exits is shut down
    then, in ``shutdown_timeout`` seconds. Nothing is made global: pass :attr:`meter_provider` to
    ``opentelemetry.metrics.set_meter_provider`` for that.

    Args:
        config: what to build.
        registry: where exporters and observers come from; the installed plugins that the config allows unless given.
        shutdown_timeout: seconds that leaving a ``with`` block, or the interpreter's exit, may take.
        error_handler: called with each failure that has no caller to be raised to; by default they are logged.

    Raises:
        SetupError: an exporter cannot be built. Nothing stays behind.
    """

    def __init__(
        self,
        config: PipelineConfig,
        *,
        registry: ExporterRegistry | None = None,
        shutdown_timeout: float = _SHUTDOWN_SECONDS,
        error_handler: Callable[[Exception], object] | None = None,
    ) -> None:
        for warning in config.warnings:
            _logger.warning("%s", warning)
        parts = build(config, registry or ExporterRegistry(policy=config.policy), error_handler)
        self._config = config
        self._provider = parts.provider
        self._readers = parts.readers
        for reader in self._readers:
            # Provider, meters and instruments keep the readers, and so the pipeline, which shuts down at exit.
            reader.keeps = self
        self._observers = parts.observers
        self._shutdown_timeout = shutdown_timeout
        self._pid = os.getpid()
        # The first shutdown of each process: one that was going on when the process forked ends in the parent alone.
        self._closings: dict[int, _Closing] = {}
        # What later calls are told if the first shutdown does not come to its end.
        self._report = PipelineReport(
            tuple(ReaderReport(reader.name, 0, 0, 0.0, "the shutdown was interrupted") for reader in self._readers), 0.0
        )
        self._at_exit = partial(_shut_down_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)
        self._finalizer = weakref.finalize(self, atexit.unregister, self._at_exit)
        self._finalizer.atexit = False

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        registry: ExporterRegistry | None = None,
        shutdown_timeout: float = _SHUTDOWN_SECONDS,
        error_handler: Callable[[Exception], object] | None = None,
    ) -> Self:
        """Build what a config file describes; the other arguments are those of the class.

        Raises:
            ConfigError: everything that is wrong with the file, each ``FILE:LINE:COLUMN: message``.
            SetupError: an exporter cannot be built. Nothing stays behind.
        """
        config = load_config(path, registry=registry)
        return cls(config, registry=registry, shutdown_timeout=shutdown_timeout, error_handler=error_handler)

    @classmethod
    def from_config(
        cls,
        mapping: Mapping[str, Any],  # Any: what a file may say
        *,
        registry: ExporterRegistry | None = None,
        shutdown_timeout: float = _SHUTDOWN_SECONDS,
        error_handler: Callable[[Exception], object] | None = None,
    ) -> Self:
        """Build what a mapping describes that has the structure of a config file; nothing is substituted in it.

        Raises:
            ConfigError: everything that is wrong with it; each problem names the path of keys.
            SetupError: an exporter cannot be built. Nothing stays behind.
        """
        config = parse_config(mapping, registry=registry)
        return cls(config, registry=registry, shutdown_timeout=shutdown_timeout, error_handler=error_handler)

    # --- what it consists of -------------------------------------------------------------------------------------

    @property
    def config(self) -> PipelineConfig:
        """What it was built from."""
        return self._config

    @property
    def meter_provider(self) -> MeterProvider:
        """The SDK's provider, which makes the meters. As long as it, or what it has made, is in use the pipeline is."""
        return self._provider

    @property
    def readers(self) -> tuple[PeriodicReader, ...]:
        """The readers, in the order of the config."""
        return self._readers

    @property
    def exporters(self) -> tuple[GuardedExporter, ...]:
        """The readers' exporters, in the same order."""
        return tuple(reader.exporter for reader in self._readers)

    def stats(self) -> tuple[ReaderStats, ...]:
        """What each reader and its exporter have counted so far."""
        return tuple(reader.stats() for reader in self._readers)

    # --- delivering ----------------------------------------------------------------------------------------------

    def flush(self, timeout: float = 30.0) -> PipelineReport:
        """Collect, export and flush through all readers side by side, in at most ``timeout`` seconds.

        Returns when all is delivered, or has failed: the report says which. What it says is not reported elsewhere.

        Raises:
            ExporterReentrancyError: called from a reader's own thread, or from inside an exporter.
        """
        context = Context.with_timeout(timeout)
        for reader in self._readers:
            reader._refuse_reentry("force_flush")
        deliveries = finish([reader.begin_flush(context) for reader in self._readers])
        return _report(self._readers, deliveries)

    def shutdown(self, timeout: float | None = None) -> PipelineReport:
        """Deliver what there is and shut every exporter down, side by side, in at most ``timeout`` seconds.

        Without a time-out it takes the pipeline's ``shutdown_timeout``. Every exporter is shut down, whatever fails.
        A later call returns the report of the first, for which a concurrent one waits.

        Raises:
            DeadlineExceededError: another thread's shutdown did not end in time.
            ExporterReentrancyError: called from a reader's own thread, from inside an exporter, or by a signal handler
                that interrupts this thread's own shutdown.
        """
        context = Context.with_timeout(self._shutdown_timeout if timeout is None else timeout)
        for reader in self._readers:
            reader._refuse_reentry("shutdown")
        if self._shut_down(self._readers, context) is None:
            first = self._first_closing()
            if first.is_of_this_thread:
                text = "pipeline: shutdown: called by a signal handler that interrupts this very thread's shutdown"
                raise ExporterReentrancyError(text)
            if not first.ended and not first.closed.wait(context):
                raise DeadlineExceededError("pipeline: another thread's shutdown has not ended in time")
        return self._report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def __repr__(self) -> str:
        return f"<Pipeline of {', '.join(reader.name for reader in self._readers) or 'no readers'}>"

    # --- inside --------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Shut down where nobody gets the report, so that failures are to be reported."""
        context = Context.with_timeout(self._shutdown_timeout)
        readers: Sequence[PeriodicReader] = self._readers
        if os.getpid() != self._pid:
            # An exporter that this forked child has not used cannot be built any more: no thread starts at exit.
            readers = [reader for reader in readers if reader.exporter.state is not GuardState.FORKED]
        deliveries = self._shut_down(readers, context)
        if deliveries is None:
            first = self._first_closing()
            if not first.ended and not first.is_of_this_thread:
                first.closed.wait(context)
            return
        for reader, delivery in zip(readers, deliveries, strict=True):
            if delivery.error is not None:
                reader.report(delivery.error)

    def _first_closing(self) -> _Closing:
        """The shutdown that counts: one that has ended, before a fork perhaps, or this process's own."""
        ended = (closing for closing in list(self._closings.values()) if closing.ended)
        return next(ended, None) or self._closings[os.getpid()]

    def _shut_down(self, readers: Sequence[PeriodicReader], context: Context) -> list[Delivery] | None:
        """Shut down these readers and keep the report; None if another shutdown has begun before.

        Whoever is interrupted (Ctrl-C), at whatever point, has each exporter released and lets the others through.
        """
        closing, pid = _Closing(), os.getpid()
        jobs = [reader.shutdown_job(context) for reader in readers]
        try:
            if any(one.ended for one in list(self._closings.values())):
                return None
            if self._closings.setdefault(pid, closing) is not closing:
                return None
            begun = [reader.begin(job) for reader, job in zip(readers, jobs, strict=True)]
            finished = iter(finish([job for job, first in zip(jobs, begun, strict=True) if first]))
            # A reader may have been shut down through the provider: whoever did it knows what came of it.
            deliveries = [next(finished) if first else Delivery(0, 0, 0.0, None) for first in begun]
            self._report = _report(readers, deliveries)
        except BaseException:
            if self._closings.get(pid) is closing:
                for reader, job in zip(readers, jobs, strict=True):
                    reader.give_up(job)
            raise
        else:
            return deliveries
        finally:
            if pid in self._closings and self._closings[pid] is closing:  # no call: it could be interrupted
                try:
                    self._end_closing(context)
                finally:
                    closing.ended = True
                    closing.closed.open()

    def _end_closing(self, context: Context) -> None:
        """Let go of the interpreter's exit and of the observers."""
        self._finalizer.detach()
        atexit.unregister(self._at_exit)
        if self._observers is not None:
            remaining = context.remaining()
            self._observers.close(OBSERVERS_SECONDS if remaining is None else min(OBSERVERS_SECONDS, remaining))


class _Closing:
    """One shutdown: whose it is, and whether it has ended."""

    def __init__(self) -> None:
        self._thread = threading.current_thread()
        self.ended = False
        self.closed = Latch()
        """Open when it has ended."""

    @property
    def is_of_this_thread(self) -> bool:
        """Whether the calling thread is in the middle of it, and so would wait for itself."""
        return self._thread is threading.current_thread() and not self.ended


def _report(readers: Sequence[PeriodicReader], deliveries: Sequence[Delivery]) -> PipelineReport:
    reports = tuple(report_of(*pair) for pair in zip(readers, deliveries, strict=True))
    return PipelineReport(reports, max((report.seconds for report in reports), default=0.0))


def _shut_down_at_exit(reference: weakref.ref[Pipeline]) -> None:
    pipeline = reference()
    if pipeline is not None:
        try:
            pipeline._end()
        except KeyboardInterrupt:
            _logger.warning("%r: its shutdown at exit was interrupted; what it held may not be delivered", pipeline)
