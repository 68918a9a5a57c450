"""``Pipeline``: made from a config, flushed any number of times, shut down once, at exit at the latest."""

from __future__ import annotations

import logging
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Self, cast

from exporter_core.config import PipelineConfig, load_config, parse_config
from exporter_core.context import Context
from exporter_core.errors import DeadlineExceededError, ExporterReentrancyError, SetupError
from exporter_core.forking import renew_after_fork
from exporter_core.guard import GuardState
from exporter_core.pipeline.building import OBSERVERS_SECONDS, build
from exporter_core.pipeline.installing import global_provider, is_disabled
from exporter_core.pipeline.reports import PipelineReport, ReaderReport
from exporter_core.process_end import ProcessEnd
from exporter_core.reader import Job, begin_flushes, finish
from exporter_core.sync import Latch, Lock, Once

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from opentelemetry.sdk.metrics import MeterProvider

    from exporter_core.guard import GuardedExporter
    from exporter_core.reader import PeriodicReader, ReaderStats
    from exporter_core.registry import ExporterRegistry

_logger = logging.getLogger("exporter_core.pipeline")

_SHUTDOWN_SECONDS = 30.0


class Pipeline:
    """The readers and guarded exporters of one config, behind one OpenTelemetry meter provider.

    Use it as a context manager, or call :meth:`shutdown`. A pipeline that still runs when the interpreter exits is shut
    down then, in ``shutdown_timeout`` seconds. Nothing is made global before :meth:`install`.

    Args:
        config: what to build.
        registry: the source of exporters and observers; the one that read the config unless given.
        shutdown_timeout: seconds that leaving a ``with`` block, or the interpreter's exit, may take.
        error_handler: called with each failure that has no caller to be raised to; by default they are logged.

    Raises:
        SetupError: an exporter cannot be built. Nothing stays behind.
        ValueError: the time-out is negative.
    """

    def __init__(
        self,
        config: PipelineConfig,
        *,
        registry: ExporterRegistry | None = None,
        shutdown_timeout: float = _SHUTDOWN_SECONDS,
        error_handler: Callable[[Exception], object] | None = None,
    ) -> None:
        if not shutdown_timeout >= 0:  # in this form it refuses NaN too
            raise ValueError(f"shutdown_timeout: expected at least 0 seconds, not {shutdown_timeout!r}")
        for warning in config.warnings:
            _logger.warning("%s", warning)
        self._config = config
        built = build(config, registry or config.registry, error_handler)
        self._provider, self._first_measurement, self._readers, self._observers = built
        for reader in self._readers:
            # Provider, meters and instruments keep the readers, and so the pipeline, which shuts down at exit.
            reader.keeps = self
        self._shutdown_timeout = shutdown_timeout
        self._closing = Once()  # taken by the first shutdown
        self._installing = Lock()
        self._installed = False
        self._recorded_elsewhere = False  # by a provider whose first measurement cannot be noticed
        renew_after_fork(self)
        # What later calls are told if the first shutdown does not come to its end.
        self._report = PipelineReport(
            tuple(ReaderReport(reader.name, 0, 0, 0.0, "the shutdown was interrupted") for reader in self._readers), 0.0
        )
        self._at_exit = partial(_shut_down_at_exit, weakref.ref(self))
        self._process_end = ProcessEnd(self._at_exit)
        self._finalizer = weakref.finalize(self, self._process_end.undo)
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
        """Build the pipeline of a config file; the other arguments are those of the class.

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
        """Build the pipeline of a mapping with the structure of a config file; nothing is substituted in it.

        Raises:
            ConfigError: everything that is wrong with it; each problem names the path of keys.
            SetupError: an exporter cannot be built. Nothing stays behind.
        """
        config = parse_config(mapping, registry=registry)
        return cls(config, registry=registry, shutdown_timeout=shutdown_timeout, error_handler=error_handler)

    # --- its parts -----------------------------------------------------------------------------------------------

    @property
    def config(self) -> PipelineConfig:
        """The config that it was built from."""
        return self._config

    @property
    def meter_provider(self) -> MeterProvider:
        """The SDK's provider, which makes the meters.

        The pipeline lives while its provider, a meter or an instrument is referenced.
        """
        return self._provider

    @property
    def readers(self) -> tuple[PeriodicReader, ...]:
        """The readers, in the order of the config."""
        return self._readers

    @property
    def exporters(self) -> tuple[GuardedExporter, ...]:
        """The readers' exporters, in the same order."""
        return tuple(reader.exporter for reader in self._readers)

    @property
    def is_shut_down(self) -> bool:
        """True once a shutdown has begun."""
        return self._closing.taken

    def stats(self) -> tuple[ReaderStats, ...]:
        """The counts of each reader and its exporter so far."""
        return tuple(reader.stats() for reader in self._readers)

    def install(self) -> None:
        """Serve the meters of ``opentelemetry.metrics.get_meter``: make the provider the global one.

        Where an SDK provider is the global one already, the readers are added to it. It neither flushes nor shuts them
        down, so the pipeline does, at exit at the latest. Under ``OTEL_SDK_DISABLED``, and for a file with
        ``disabled: true``, nothing is installed. A second call does nothing.

        Raises:
            ConfigError: an SDK provider exists, and the file has views, a resource, an exemplar filter or a meter
                configurator, which only a new provider can have.
            SetupError: the provider that exists is not the SDK's or was shut down, or the pipeline was.
        """
        with self._installing:
            if self._closing.taken:
                raise SetupError("the pipeline has been shut down; make another one and install that")
            if not self._installed and not is_disabled(self._config):
                provider = global_provider(self._provider, self._config.of_provider)
                if provider is not self._provider:
                    for collection in dict.fromkeys(reader.collection for reader in self._readers):
                        collection.move(self._provider, provider)
                    self._provider, self._recorded_elsewhere = provider, True
                self._installed = True

    # --- delivering ----------------------------------------------------------------------------------------------

    def flush(self, timeout: float = 30.0) -> PipelineReport:
        """Collect, export and flush through all readers side by side, in at most ``timeout`` seconds.

        Returns when all is delivered or has failed; the report says which. Its errors are not reported elsewhere.

        Raises:
            ExporterReentrancyError: called from a reader's own thread, or from inside an exporter.
        """
        context = Context.with_timeout(timeout)
        for reader in self._readers:
            reader._refuse_reentry("force_flush")
        return PipelineReport.of(finish(begin_flushes(self._readers, context)))

    def shutdown(self, timeout: float | None = None) -> PipelineReport:
        """Deliver the last metrics and shut every exporter down, side by side, in at most ``timeout`` seconds.

        The default is the pipeline's ``shutdown_timeout``. Every exporter is shut down, whatever fails. A later call
        returns the report of the first; a concurrent one waits for it.

        Raises:
            DeadlineExceededError: another thread's shutdown did not end in time.
            ExporterReentrancyError: called from a reader's own thread, from inside an exporter, or by a signal handler
                that interrupts this thread's own shutdown.
        """
        context = Context.with_timeout(self._shutdown_timeout if timeout is None else timeout)
        for reader in self._readers:
            reader._refuse_reentry("shutdown")
        jobs = self._shut_down(self._readers, context)
        if jobs is None:
            first = self._first_closing
            if first.is_of_this_thread:
                text = "pipeline: shutdown: called by a signal handler that interrupts this thread's own shutdown"
                raise ExporterReentrancyError(text)
            if not first.ended and not first.closed.wait(context):
                raise DeadlineExceededError("pipeline: shutdown timed out: another thread's shutdown is still running")
        for job in jobs or ():
            job.reader.conclude(job, told=True)
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

    @property
    def _first_closing(self) -> _Closing:
        return cast("_Closing", self._closing.owner)

    def _end(self) -> None:
        """Shut down where nobody gets the report, and report the failures instead."""
        context = Context.with_timeout(self._shutdown_timeout)
        # A forked child that has neither recorded anything nor used its exporters has nothing to deliver.
        recorded = self._recorded_elsewhere or self._first_measurement.has_recorded
        readers = [reader for reader in self._readers if recorded or reader.exporter.state is not GuardState.FORKED]
        jobs = self._shut_down(readers, context)
        if jobs is None:
            first = self._first_closing
            if not first.ended and not first.is_of_this_thread:
                first.closed.wait(context)
            return
        for job in jobs:
            job.reader.conclude(job, told=False)

    def _shut_down(self, readers: Sequence[PeriodicReader], context: Context) -> list[Job[PeriodicReader]] | None:
        """Shut down these readers and keep the report; return None if another shutdown has begun before.

        A caller that is interrupted (Ctrl-C), at whatever point, has each exporter shut down and wakes the others.
        """
        closing = _Closing()
        jobs = [Job(reader, "shutdown", context) for reader in readers]
        try:
            if not self._closing.take(closing):
                return None
            # A reader may have been shut down through the provider, whose caller got its errors.
            finish([job for job in jobs if job.reader.begin(job)])
            self._report = PipelineReport.of(jobs)
        except BaseException:
            if self._closing.owner is closing:
                for job in jobs:
                    job.reader.give_up(job)
            raise
        else:
            return jobs
        finally:
            try:
                if self._closing.owner is closing:
                    self._end_closing(context)
            finally:  # of a shutdown that is not the first nobody waits for the end
                closing.ended = True
                closing.closed.open()

    def _end_closing(self, context: Context) -> None:
        """Unregister from the interpreter's exit, and close the observers."""
        self._finalizer.detach()
        self._process_end.undo()
        if self._observers is not None:
            remaining = context.remaining()
            self._observers.close(OBSERVERS_SECONDS if remaining is None else min(OBSERVERS_SECONDS, remaining))

    def _renew_after_fork(self) -> None:
        """Forget a shutdown that goes on: what the parent has begun ends in the parent alone."""
        self._installing = Lock()
        if self._closing.taken and not self._first_closing.ended:
            self._closing = Once()


class _Closing:
    """One shutdown: its thread, and its end."""

    def __init__(self) -> None:
        self._thread = threading.current_thread()
        self.ended = False
        self.closed = Latch()
        """Opened at its end."""

    @property
    def is_of_this_thread(self) -> bool:
        """True where the calling thread is in the middle of it, and so would wait for itself."""
        return self._thread is threading.current_thread() and not self.ended


def _shut_down_at_exit(reference: weakref.ref[Pipeline]) -> None:
    pipeline = reference()
    if pipeline is not None:
        try:
            pipeline._end()
        except KeyboardInterrupt:
            pass  # each reader has reported it
