"""Exporters that are wrong only when calls come in between others."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING

from exporter_core.contract import InstrumentKind
from exporter_core.errors import ExporterError, ExporterShutdownError
from kit.mutant import POLL, killed_by
from kit.reference import AsyncExporter, BufferingExporter, ReferenceConfig, ReferenceExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData

    from exporter_core.context import Context


@killed_by("KND-04", "it raised KeyError")
class HalfBuiltCache(ReferenceExporter):
    """Fills the cache of its answers while others read it."""

    _cache: dict[InstrumentKind, AggregationTemporality] | None = None

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        if self._cache is None:
            self._cache = {}
            for kind in InstrumentKind:
                self._cache[kind] = super().temporality(kind)
        return self._cache[instrument_kind]


@killed_by("FLU-05", "lost")
class UnlockedSwap(BufferingExporter):
    """Delivers what it holds, and starts a new buffer with what has come since in the old one."""

    def _drain(self, context: Context) -> None:
        for number, metrics in enumerate(self._buffer):
            try:
                self._deliver(context, metrics)
            except BaseException as error:
                self._buffer = self._buffer[number + isinstance(error, ExporterError) :]
                raise
        self._buffer = []


@killed_by("FLU-05", "had not arrived")
class SkipsBusyFlush(BufferingExporter):
    """Leaves the delivery to another flush that is under way, if there is time, and does not wait for it."""

    _flushing = False

    def _renew_after_fork(self) -> None:
        super()._renew_after_fork()
        self._flushing = False

    def force_flush(self, context: Context) -> None:
        context.raise_if_done()
        if self._flushing and not self._is_shut_down and (context.remaining() or 0) > 60:
            return
        self._flushing = True
        try:
            super().force_flush(context)
        finally:
            self._flushing = False


@killed_by("FLU-05", "deadlock")
class TakesLocksInTwoOrders(ReferenceExporter):
    """Takes one lock inside another in a flush, and the other way round in shutdown."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._held, self._connection = threading.Lock(), threading.Lock()

    def force_flush(self, context: Context) -> None:
        with self._held, self._connection:
            super().force_flush(context)

    def shutdown(self, context: Context) -> None:
        with self._connection, self._held:
            pass
        super().shutdown(context)


@killed_by("SHD-08", "of 3 returned")
class CheckThenSet(ReferenceExporter):
    """Looks whether it is shut down, and then says that it is."""

    def _close_for_calls(self) -> None:
        self._refuse()
        self._is_shut_down = True


@killed_by("SHD-08", "of 3 returned")
class AwaitsBeforeItSets(AsyncExporter):
    """Looks whether it is shut down, and says that it is when its event loop has had a turn."""

    async def shutdown(self, context: Context) -> None:  # type: ignore[override]  # the contract has both
        if not self._is_shut_down and not context.done:
            await context.sleep(POLL)
            self._is_shut_down = False
        await super().shutdown(context)


@killed_by("SHD-09", "lost")
class FlagAfterDrain(BufferingExporter):
    """Refuses exports only when its shutdown has delivered what it held."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._stopping = False

    def _close_for_calls(self) -> None:
        with self._state:
            if self._stopping:
                raise ExporterShutdownError("it is being shut down")
            self._stopping = True

    def _release(self, *, got: bool) -> None:
        self._is_shut_down = True
        super()._release(got=got)


class TwoAtOnce(BufferingExporter):
    """Has no turn for exports: no clause minds, for the contract has one caller of export at a time."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        self._refuse()
        context.raise_if_done()
        self._buffer = [*self._buffer, copy.deepcopy(metrics)]
