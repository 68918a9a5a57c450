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
from exporter_core.errors import DeadlineExceededError
from exporter_core.guard import GuardState
from exporter_core.guard.calls import Latch
from exporter_core.pipeline.building import OBSERVERS_SECONDS, build
from exporter_core.pipeline.reports import PipelineReport, ReaderReport, report_of
from exporter_core.reader import Delivery, finish
from exporter_core.registry import ExporterRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from opentelemetry.sdk.metrics import MeterProvider

    from exporter_core.guard import GuardedExporter
    from exporter_core.reader import PeriodicReader, ReaderStats

__all__ = ["Pipeline"]

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
        self._closing = threading.Lock()  # taken once, by the first shutdown
        self._closed = Latch()
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
            ExporterReentrancyError: called from a reader's own thread, or from inside an exporter.
        """
        context = Context.with_timeout(self._shutdown_timeout if timeout is None else timeout)
        for reader in self._readers:
            reader._refuse_reentry("shutdown")
        if self._closing.acquire(blocking=False):
            self._shut_down(self._readers, context)
        elif not self._closed.wait(context):
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
        if not self._closing.acquire(blocking=False):
            if os.getpid() == self._pid:
                self._closed.wait(context)
            return
        readers: Sequence[PeriodicReader] = self._readers
        if os.getpid() != self._pid:
            # An exporter that this forked child has not used cannot be built any more: no thread starts at exit.
            readers = [reader for reader in readers if reader.exporter.state is not GuardState.FORKED]
        for reader, delivery in zip(readers, self._shut_down(readers, context), strict=True):
            if delivery.error is not None:
                reader.report(delivery.error)

    def _shut_down(self, readers: Sequence[PeriodicReader], context: Context) -> list[Delivery]:
        """Shut down these readers, which is this thread's to do, and keep the report."""
        try:
            jobs = [reader.begin_shutdown(context) for reader in readers]
            finished = iter(finish([job for job in jobs if job is not None]))
            # A reader may have been shut down through the provider: whoever did it knows what came of it.
            deliveries = [Delivery(0, 0, 0.0, None) if job is None else next(finished) for job in jobs]
            self._report = _report(readers, deliveries)
            return deliveries
        finally:
            self._finalizer.detach()
            atexit.unregister(self._at_exit)
            if self._observers is not None:
                remaining = context.remaining()
                self._observers.close(OBSERVERS_SECONDS if remaining is None else min(OBSERVERS_SECONDS, remaining))
            self._closed.open()


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
