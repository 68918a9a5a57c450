"""Builds the provider, readers and observers of a config: all of them, or none that stays behind."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - its fork hook has to come before the SDK's, which waits for its lock
import logging
import os
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk import metrics as sdk

from exporter_core import forking
from exporter_core.config import PipelineConfig, sdk_view
from exporter_core.context import Context
from exporter_core.errors import ExporterShutdownError, SetupError
from exporter_core.masking import Masker, cause_of, describe
from exporter_core.observing import Observers
from exporter_core.pipeline.provider import MeterProvider
from exporter_core.pipeline.recording import FirstMeasurement
from exporter_core.pipeline.resource import ProcessResource
from exporter_core.reader import PeriodicReader, PullReader, Scrapes, SharedCollection, finish, sharing_key
from exporter_core.routing import MetricFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from exporter_core.config import ReaderSettings
    from exporter_core.guard import GuardedExporter
    from exporter_core.registry import ExporterRegistry

_logger = logging.getLogger("exporter_core.pipeline")

OBSERVERS_SECONDS: Final = 1.0
"""The time that observers have at the end for what is queued for them."""

_DISCARD_SECONDS: Final = 5.0  # for shutting down each exporter of a pipeline that cannot be built

_EXEMPLAR_FILTERS: Final[dict[str, Callable[[], sdk.ExemplarFilter]]] = {
    "always_on": sdk.AlwaysOnExemplarFilter,
    "always_off": sdk.AlwaysOffExemplarFilter,
    "trace_based": sdk.TraceBasedExemplarFilter,
}


def build(
    config: PipelineConfig, registry: ExporterRegistry, error_handler: Callable[[Exception], object] | None
) -> tuple[sdk.MeterProvider, FirstMeasurement, tuple[PeriodicReader, ...], Observers | None]:
    """Build the provider, its exemplar filter, its readers and the observers.

    When one fails, those built before are shut down.

    Raises:
        SetupError: one of them cannot be built.
    """
    with ExitStack() as undo:
        observers = Observers([registry.observer(name) for name in config.observers]) if config.observers else None
        if observers is not None:
            undo.callback(observers.close, OBSERVERS_SECONDS)
        resource = ProcessResource(config.resource, os.environ)
        exporters, all_scrapes = [], []
        for settings in config.readers:
            scrapes = Scrapes() if settings.pull else None
            exporter = _exporter(registry, settings, observers, scrapes)
            undo.callback(_discard, exporter, error_handler)
            exporters.append(exporter)
            all_scrapes.append(scrapes)
        readers = []
        collections = _collections(config, exporters, resource)
        for settings, exporter, scrapes, collection in zip(
            config.readers, exporters, all_scrapes, collections, strict=True
        ):
            reader = _reader(exporter, settings, error_handler, resource, scrapes=scrapes, collection=collection)
            undo.callback(_stop, reader)
            readers.append(reader)
        first_measurement = FirstMeasurement(_EXEMPLAR_FILTERS[config.exemplar_filter](), partial(_prepare, readers))
        provider = _provider(config, readers, first_measurement, resource)
        undo.pop_all()
    return provider, first_measurement, tuple(readers), observers


def _collections(
    config: PipelineConfig, exporters: Sequence[GuardedExporter], resource: ProcessResource
) -> list[SharedCollection | None]:
    """Return the collection of each reader that shares one."""
    if not config.share_collection:
        return [None] * len(exporters)
    keys = [_key(settings, exporter) for settings, exporter in zip(config.readers, exporters, strict=True)]
    made: dict[Hashable, SharedCollection] = {}
    for settings, exporter, key in zip(config.readers, exporters, keys, strict=True):
        if key is not None and keys.count(key) > 1 and key not in made:
            limits = settings.cardinality_limits
            made[key] = SharedCollection(exporter, cardinality_limits=limits, resource=resource)
    return [made.get(key) for key in keys]


def _key(settings: ReaderSettings, exporter: GuardedExporter) -> Hashable | None:
    if settings.pull:
        return None  # it collects when it is asked to
    return sharing_key(exporter, settings.interval, frozenset(settings.cardinality_limits.items()))


def _exporter(
    registry: ExporterRegistry, settings: ReaderSettings, observers: Observers | None, scrapes: Scrapes | None
) -> GuardedExporter:
    load = partial(
        registry.load,
        settings.exporter,
        settings.config,
        runner=settings.runner,
        copy=settings.copy,
        observers=observers,
    )
    if scrapes is None:
        return load()
    try:
        return load(collect=scrapes)
    except SetupError as error:  # a port that is taken, say: the file names it
        place = f"{settings.place}: " if settings.place else ""
        raise type(error)(f"{place}{error}") from error.__cause__


def _reader(
    exporter: GuardedExporter,
    settings: ReaderSettings,
    error_handler: Callable[[Exception], object] | None,
    resource: ProcessResource,
    *,
    scrapes: Scrapes | None,
    collection: SharedCollection | None,
) -> PeriodicReader:
    select = MetricFilter(settings.include, settings.exclude) if settings.include or settings.exclude else None
    with _failing_as(f"reader {settings.label!r} cannot be made"):
        if scrapes is not None:
            return PullReader(
                exporter,
                scrapes,
                name=settings.label,
                cardinality_limits=settings.cardinality_limits,
                error_handler=error_handler,
                select=select,
                resource=resource,
            )
        return PeriodicReader(
            exporter,
            interval=settings.interval,
            timeout=settings.timeout,
            name=settings.label,
            cardinality_limits=settings.cardinality_limits,
            max_batch_size=settings.max_batch_size,
            error_handler=error_handler,
            select=select,
            resource=resource,
            collection=collection,
        )


def _prepare(readers: list[PeriodicReader]) -> None:
    """Have a forked child build its exporters at its first measurement, while threads can still be started."""
    forking.notice()
    for reader in readers:
        reader.prepare()


def _provider(
    config: PipelineConfig,
    readers: list[PeriodicReader],
    exemplar_filter: sdk.ExemplarFilter,
    resource: ProcessResource,
) -> sdk.MeterProvider:
    where = f"{config.source}: " if config.source else ""
    with _failing_as(f"{where}the OpenTelemetry SDK refuses the configuration"):
        make = sdk.MeterProvider if config.meters is None else partial(MeterProvider, config.meters)
        return make(
            metric_readers=list(dict.fromkeys(reader.collection for reader in readers)),
            resource=resource(),
            exemplar_filter=exemplar_filter,
            views=[sdk_view(view) for view in config.views],
            shutdown_on_exit=False,
        )


@contextmanager
def _failing_as(what: str) -> Iterator[None]:
    """Raise a SetupError of one line for an error of the SDK or of a reader."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised again in one line
        masker = Masker()
        raise SetupError(f"{what}: {describe(error, masker)}") from cause_of(error, masker)


def _stop(reader: PeriodicReader) -> None:
    """Shut down a reader of a pipeline that cannot be built."""
    job = reader.begin_shutdown(Context.with_timeout(_DISCARD_SECONDS))
    if job is not None and finish([job]) and job.error is not None:
        reader.report(job.error)


def _discard(exporter: GuardedExporter, error_handler: Callable[[Exception], object] | None) -> None:
    """Shut down an exporter of a pipeline that cannot be built."""
    try:
        exporter.shutdown(Context.with_timeout(_DISCARD_SECONDS))
    except ExporterShutdownError:
        pass  # by its reader
    except Exception as error:  # noqa: BLE001 - the error that prevented the pipeline is the one to raise
        report = error_handler or (lambda error: _logger.warning("%s", exporter.describe_error(error)))
        with suppress(Exception):
            report(error)
