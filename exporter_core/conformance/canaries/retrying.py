"""Wrong conclusions from what a backend answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.canaries.base import Around, Canary
from exporter_core.errors import ExporterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context


class GivesUp(Canary):
    """Reports a failure that a further attempt has mended."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        self.inner.export(context, metrics)
        raise ExporterError("gave up after the first attempt")


class Swallows(Around):
    """Returns as if nothing had failed."""

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        try:
            return call(context)
        except Exception:  # noqa: BLE001 - that is the fault
            return None


class Retries(Canary):
    """Sends a batch again that was refused for good."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        try:
            self.inner.export(context, metrics)
            return self.inner.force_flush(context)
        except ExporterError:
            self.inner.export(context, metrics)
            return self.inner.force_flush(context)


class Poisoned(Around):
    """Fails for ever once it has failed."""

    _failed = False

    def export(self, context: Context, metrics: MetricsData) -> object:
        if self._failed:
            raise ExporterError("an earlier export failed")
        return super().export(context, metrics)

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        try:
            return call(context)
        except BaseException:
            self._failed = True
            raise
