"""Exports that lose, change or repeat data, or that outlive their context."""

from __future__ import annotations

import copy
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from exporter_core.conformance.canaries.base import Around, Canary
from exporter_core.conformance.observe.tokens import metrics_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context


def without_last_points(metrics: MetricsData) -> MetricsData:
    """A copy in which each metric lacks its last point."""
    fewer = copy.deepcopy(metrics)
    for metric in metrics_in(fewer):
        object.__setattr__(metric.data, "data_points", list(metric.data.data_points)[:-1])
    return fewer


def without_scope_attributes(metrics: MetricsData) -> MetricsData:
    """A copy in which no scope has attributes."""
    changed = copy.deepcopy(metrics)
    for of_resource in changed.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            of_scope.scope._attributes = {}  # type: ignore[assignment]  # the SDK's own has no other way in
    return changed


class DropsPoint(Canary):
    """Leaves out the last point."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        return self.inner.export(context, without_last_points(metrics))


class Corrupts(Canary):
    """Changes an attribute of every point, and drops those of the scope."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        changed = without_scope_attributes(metrics)
        for metric in metrics_in(changed):
            for point in metric.data.data_points:
                point.attributes["text"] = "corrupted"  # type: ignore[index]  # made by the kit, of dictionaries
        return self.inner.export(context, changed)


class SendsTwice(Canary):
    """Exports every batch twice."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        self.inner.export(context, metrics)
        return self.inner.export(context, metrics)


class ReturnsFuture(Canary):
    """Returns before the export is done."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        future: Future[object] = Future()
        self.case.start("detached export", lambda: future.set_result(self.inner.export(context, metrics)))
        return future


class IgnoresContext(Around):
    """Hands the exporter a context without deadline or cancellation."""

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        with self.holding(lambda: context.done):
            return call(self.case.background())


class WallClock(Around):
    """Counts the deadline on the wall clock."""

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        remaining = context.remaining()
        end = time.time() + (3600 if remaining is None else remaining)
        own = self.case.background()

        def watch() -> None:
            while not own.done and not self.released.wait(0.001):
                if time.time() >= end:
                    own.cancel("the wall clock says that it is late")

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            with self.holding(lambda: context.done and not own.done):
                return call(own)
        finally:
            own.cancel("done")
            watcher.join()
