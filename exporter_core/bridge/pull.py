"""Pull exporters as exporters of the contract, so that the guard runs them as it runs the others.

Such an exporter serves from its construction to its shutdown. Nothing is exported to it: it collects.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.sdk.metrics.export import MetricReader

from exporter_core.bridge.selection import SdkOptions, options_model, qualified_name_of
from exporter_core.context import Context
from exporter_core.errors import ContractError, ExporterError
from exporter_core.exporter import Exporter, ExporterConfig
from exporter_core.forking import renew_after_fork
from exporter_core.pull import PullExporter

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.exporter import Destination
    from exporter_core.pull import Collect

_SECONDS = 5.0  # for the shutdown of one that could not be started


class ServingExporter(Exporter[ExporterConfig]):
    """A pull exporter that serves, as an exporter of the contract.

    Args:
        exporter: the pull exporter.
        collect: gives it the metrics.
    """

    def __init__(self, exporter: PullExporter[Any], collect: Collect) -> None:  # Any: options of its own
        super().__init__(exporter.config)
        self._exporter = exporter
        try:
            exporter.start(collect)
        except BaseException:
            with suppress(Exception):  # the failure to start is the one to raise
                exporter.shutdown(Context.with_timeout(_SECONDS))
            raise
        renew_after_fork(self)

    def export(self, context: Context, metrics: MetricsData) -> None:  # noqa: ARG002 - as the contract has it
        """Refuse: it collects by itself."""
        raise ExporterError("a pull exporter is not exported to")

    def shutdown(self, context: Context) -> None:
        """End serving."""
        self._exporter.shutdown(context)

    def destination(self) -> Destination | None:
        """Return the place where the metrics can be had."""
        return self._exporter.destination()

    def _renew_after_fork(self) -> None:
        self._exporter.leave_to_parent()


def serving_class(target: object, *, of_sdk: bool) -> type[ServingExporter]:
    """Return an exporter class with a ``config_model``, whose instances start a pull exporter.

    Args:
        target: a subclass of ``PullExporter``; for ``of_sdk`` a ``MetricReader`` class, or a function that makes one.
        of_sdk: True for a pull exporter of the OpenTelemetry SDK.

    Raises:
        ContractError: it is neither.
    """
    build = _reader_builder(target) if of_sdk else _checked(target)
    model = options_model(build) if of_sdk else _checked(target).config_model

    class Serving(ServingExporter):
        config_model: ClassVar[type[ExporterConfig]] = model

        def __init__(self, config: Any, collect: Collect) -> None:  # Any: an instance of its model
            super().__init__(_SdkPullExporter(config, build) if of_sdk else _checked(target)(config), collect)

    Serving.__doc__ = inspect.getdoc(target)
    Serving.__module__ = str(getattr(target, "__module__", Serving.__module__))
    Serving.__name__ = Serving.__qualname__ = str(getattr(target, "__name__", Serving.__name__))
    return Serving


def _checked(target: object) -> type[PullExporter[Any]]:  # Any: options of its own
    """Return the target if it is a pull exporter's class."""
    if not (isinstance(target, type) and issubclass(target, PullExporter)):
        where = qualified_name_of(target)
        raise ContractError(f"{where} is no pull exporter; subclass exporter_core.PullExporter")
    missing = sorted(target.__abstractmethods__)
    if missing:
        where = qualified_name_of(target)
        raise ContractError(f"{where} is abstract: a pull exporter has to implement {' and '.join(missing)}")
    return target


def _reader_builder(target: object) -> Callable[..., object]:
    if callable(target) and not (isinstance(target, type) and not issubclass(target, MetricReader)):
        return target
    raise ContractError(
        f"{qualified_name_of(target)} is no MetricReader class, and no function that makes one; "
        "an exporter that pushes is named under 'periodic:'"
    )


class _SdkPullExporter(PullExporter[SdkOptions]):
    """A pull exporter of the SDK: a metric reader that collects when it is asked.

    Args:
        config: the options of the reader.
        build: makes it of them.
    """

    def __init__(self, config: SdkOptions, build: Callable[..., object]) -> None:
        super().__init__(config)
        reader = build(**config.arguments())
        if not isinstance(reader, MetricReader):
            raise ContractError(f"{qualified_name_of(build)} made {qualified_name_of(type(reader))}, no MetricReader")
        self._reader = reader

    def start(self, collect: Collect) -> None:
        def collect_for(reader: object, timeout_millis: float = 10_000, **_: object) -> MetricsData:  # noqa: ARG001 - as the SDK calls it
            return collect(Context.with_timeout(timeout_millis / 1000))

        # In place of a provider, which would collect once more, for this reader alone, without an end in time.
        self._reader._set_collect_callback(collect_for)

    def shutdown(self, context: Context) -> None:
        remaining = context.remaining()
        self._reader.shutdown(timeout_millis=30_000 if remaining is None else remaining * 1000)
