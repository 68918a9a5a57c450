"""Two exporters written against contract v1, which use all of its public shape. Never edited."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import assert_type

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    DropAggregation,
    LastValueAggregation,
)
from pydantic import Field, SecretStr

from exporter_core import (
    Context,
    ContextCancelledError,
    DeadlineExceededError,
    Exporter,
    ExporterConfig,
    ExporterCoreError,
    ExporterError,
    ExporterShutdownError,
    InstrumentKind,
    PartialSuccessError,
    hookimpl,
)


class V1Config(ExporterConfig):
    """Options of both."""

    path: str = Field(description="The file that every delivered batch appends one line to.")
    attempts: int = Field(default=2, description="How often a batch is tried.")
    backoff: float = Field(default=0.001, description="Seconds between two attempts.")
    refuse: int = Field(default=0, description="How many points of each batch are refused.")
    token: SecretStr = Field(default=SecretStr(""), description="Not used.")


KINDS: dict[InstrumentKind, AggregationTemporality] = {
    InstrumentKind.COUNTER: AggregationTemporality.DELTA,
    InstrumentKind.UP_DOWN_COUNTER: AggregationTemporality.CUMULATIVE,
    InstrumentKind.HISTOGRAM: AggregationTemporality.DELTA,
    InstrumentKind.GAUGE: AggregationTemporality.CUMULATIVE,
    InstrumentKind.OBSERVABLE_COUNTER: AggregationTemporality.DELTA,
    InstrumentKind.OBSERVABLE_UP_DOWN_COUNTER: AggregationTemporality.CUMULATIVE,
    InstrumentKind.OBSERVABLE_GAUGE: AggregationTemporality.CUMULATIVE,
}


def points(metrics: MetricsData) -> int:
    """How many data points there are."""
    return sum(
        len(metric.data.data_points)
        for resource in metrics.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


class SyncExporter(Exporter[V1Config]):
    """Appends one line a batch to a file; every operation carries the decorator."""

    def __init__(self, config: V1Config) -> None:
        super().__init__(config)
        self._lock = threading.Lock()
        self._closed = False

    @hookimpl
    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """Delta for what adds up."""
        return KINDS[InstrumentKind(instrument_kind.value)]

    @hookimpl
    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """The last value for gauges, and the SDK's default otherwise."""
        if instrument_kind in {InstrumentKind.GAUGE, InstrumentKind.OBSERVABLE_GAUGE}:
            return LastValueAggregation()
        return super().aggregation(instrument_kind)

    @hookimpl
    def export(self, context: Context, metrics: MetricsData) -> None:
        """Try as often as configured, and wait in between."""
        if self._closed:
            raise ExporterShutdownError("closed", exporter="v1_sync", operation="export")
        for attempt in range(self.config.attempts):
            context.raise_if_done()
            if attempt == self.config.attempts - 1:
                break
            if context.wait(self.config.backoff):
                error = context.error()
                assert_type(error, DeadlineExceededError | ContextCancelledError | None)
                raise error if error is not None else ExporterError("done without an error")
        handle = context.on_done(lambda: None)
        try:
            with self._lock, Path(self.config.path).open("a", encoding="utf-8") as file:
                file.write(f"{points(metrics)} points, {context.remaining() is not None}\n")
        except OSError as error:
            raise ExporterError(f"cannot write: {error.strerror}", operation="export") from error
        finally:
            handle.unregister()
        if self.config.refuse:
            raise PartialSuccessError("refused", rejected_points=self.config.refuse)

    @hookimpl
    def force_flush(self, context: Context) -> None:
        """Nothing is held."""
        context.raise_if_done()

    @hookimpl
    def shutdown(self, context: Context) -> None:
        """Close; a second time is an error."""
        if self._closed:
            raise ExporterShutdownError("closed", exporter="v1_sync", operation="shutdown")
        self._closed = True


class AsyncExporter(Exporter[V1Config]):
    """The same as coroutines, without a decorator, holding its lines until they are flushed."""

    def __init__(self, config: V1Config) -> None:
        super().__init__(config)
        self._lines: list[str] = []

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """Without gauges."""
        return DropAggregation() if instrument_kind is InstrumentKind.GAUGE else super().aggregation(instrument_kind)

    async def export(self, context: Context, metrics: MetricsData) -> None:
        """Hold one line."""
        if await context.sleep(self.config.backoff):
            context.raise_if_done()
        self._lines.append(f"{points(metrics)} points, {context.deadline is not None}\n")

    async def force_flush(self, context: Context) -> None:
        """Write the lines that are held, under a context of its own."""
        own: Context = context.child(timeout=30.0)
        try:
            if own.done:
                own.raise_if_done()
            with Path(self.config.path).open("a", encoding="utf-8") as file:  # noqa: ASYNC230 - one short line
                file.writelines(self._lines)
            self._lines.clear()
        except ExporterCoreError as error:
            own.cancel(error)
            raise

    async def shutdown(self, context: Context) -> None:
        """Write what is held, whatever the context says."""
        await self.force_flush(Context.background() if context.done else Context.with_timeout(30.0))
