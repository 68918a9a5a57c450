# ruff: noqa: D102 - the methods are the contract's; what each class changes stands in its docstring
"""Wrappers that break one promise each, on the user's own exporter: a clause that they survive proved nothing there.

A wrapper stands outside, around the raw or the guarded exporter.
"""

from __future__ import annotations

import copy
import socket
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.metrics.view import Aggregation, DefaultAggregation

from exporter_core.contract import InstrumentKind
from exporter_core.errors import ExporterError, ExporterShutdownError

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context

__all__ = ["Canary"]


class Canary:
    """Passes everything on; each subclass changes one thing."""

    def __init__(self, case: Case, inner: Driven) -> None:
        self.case = case
        self.inner = inner
        self.released = threading.Event()

    def temporality(self, kind: InstrumentKind) -> AggregationTemporality:
        return self.inner.temporality(kind)

    def aggregation(self, kind: InstrumentKind) -> Aggregation:
        return self.inner.aggregation(kind)

    def export(self, context: Context, metrics: MetricsData) -> object:
        return self.inner.export(context, metrics)

    def force_flush(self, context: Context) -> object:
        return self.inner.force_flush(context)

    def shutdown(self, context: Context) -> object:
        return self.inner.shutdown(context)

    def release(self) -> None:
        """Let go of what the fault holds: the clause is over."""
        self.released.set()


class NoneForGauge(Canary):
    """Answers None for gauges."""

    def temporality(self, kind: InstrumentKind) -> Any:
        return None if kind is InstrumentKind.GAUGE else self.inner.temporality(kind)


class Flips(Canary):
    """Answers another temporality once it has exported."""

    _exported = False

    def temporality(self, kind: InstrumentKind) -> AggregationTemporality:
        answer = self.inner.temporality(kind)
        cumulative, delta = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA
        return (delta if answer == cumulative else cumulative) if self._exported else answer

    def export(self, context: Context, metrics: MetricsData) -> object:
        self._exported = True
        return self.inner.export(context, metrics)


class _Options(DefaultAggregation):
    shared: dict[str, object]


class SharesAnswer(Canary):
    """Hands out one dictionary of its own in every answer."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._shared: dict[str, object] = {}

    def aggregation(self, kind: InstrumentKind) -> Aggregation:  # noqa: ARG002 - the same for all
        answer = _Options()
        answer.shared = self._shared
        return answer


class LocksAnswers(Canary):
    """Answers under the lock that it exports under."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._lock = threading.Lock()

    def temporality(self, kind: InstrumentKind) -> AggregationTemporality:
        with self._lock:
            return self.inner.temporality(kind)

    def export(self, context: Context, metrics: MetricsData) -> object:
        with self._lock:
            return self.inner.export(context, metrics)

    def force_flush(self, context: Context) -> object:
        with self._lock:
            return self.inner.force_flush(context)


class DropsPoint(Canary):
    """Leaves out the last point."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        fewer = copy.deepcopy(metrics)
        for of_resource in fewer.resource_metrics:
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    object.__setattr__(metric.data, "data_points", list(metric.data.data_points)[:-1])
        return self.inner.export(context, fewer)


class Corrupts(Canary):
    """Changes an attribute of every point, and drops those of the scope."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        changed = copy.deepcopy(metrics)
        for of_resource in changed.resource_metrics:
            for of_scope in of_resource.scope_metrics:
                of_scope.scope._attributes = {}  # type: ignore[assignment]  # the SDK's own has no other way in
                for metric in of_scope.metrics:
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


class IgnoresContext(Canary):
    """Hands the exporter a context without deadline or cancellation."""

    def export(self, context: Context, metrics: MetricsData) -> object:  # noqa: ARG002 - that is the fault
        return self.inner.export(self.case.background(), metrics)

    def force_flush(self, context: Context) -> object:  # noqa: ARG002 - that is the fault
        return self.inner.force_flush(self.case.background())


class WallClock(Canary):
    """Counts the deadline on the wall clock."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        return self._run(context, lambda own: self.inner.export(own, metrics))

    def force_flush(self, context: Context) -> object:
        return self._run(context, self.inner.force_flush)

    def _run(self, context: Context, function: Callable[[Context], object]) -> object:
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
            return function(own)
        finally:
            own.cancel("done")
            watcher.join()


class GivesUp(Canary):
    """Reports a failure that a further attempt has mended."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        self.inner.export(context, metrics)
        raise ExporterError("gave up after the first attempt")


class Swallows(Canary):
    """Returns as if nothing had failed."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        return self._run(lambda: self.inner.export(context, metrics))

    def force_flush(self, context: Context) -> object:
        return self._run(lambda: self.inner.force_flush(context))

    def _run(self, function: Callable[[], object]) -> object:
        try:
            return function()
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


class Poisoned(Canary):
    """Fails for ever once it has failed."""

    _failed = False

    def export(self, context: Context, metrics: MetricsData) -> object:
        if self._failed:
            raise ExporterError("an earlier export failed")
        return self._run(lambda: self.inner.export(context, metrics))

    def force_flush(self, context: Context) -> object:
        return self._run(lambda: self.inner.force_flush(context))

    def _run(self, function: Callable[[], object]) -> object:
        try:
            return function()
        except BaseException:
            self._failed = True
            raise


class TellsSecret(Canary):
    """Raises an error of no type, without its cause, with the secret in it."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        return self._run(lambda: self.inner.export(context, metrics))

    def force_flush(self, context: Context) -> object:
        return self._run(lambda: self.inner.force_flush(context))

    def _run(self, function: Callable[[], object]) -> object:
        try:
            return function()
        except Exception:  # noqa: BLE001 - that is the fault
            secret = self.case.harness.secret if self.case.has_harness else None
            raise RuntimeError(f"failed with {secret}") from None


class HoldsReference(Canary):
    """Keeps the caller's own batch until the flush or the shutdown."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._held: list[MetricsData] = []

    def export(self, context: Context, metrics: MetricsData) -> object:  # noqa: ARG002 - that is the fault
        self._held.append(metrics)
        return None

    def force_flush(self, context: Context) -> object:
        while self._held:
            self.inner.export(context, self._held.pop())
        return self.inner.force_flush(context)


class Annotates(Canary):
    """Adds an attribute to the caller's points."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        result = self.inner.export(context, metrics)
        for of_resource in metrics.resource_metrics:
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    for point in metric.data.data_points:
                        point.attributes["exported"] = True  # type: ignore[index]  # made by the kit, of dictionaries
        return result


class FlushesEarly(Canary):
    """Accepts everything, and returns from a flush before it is delivered."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._held: list[MetricsData] = []

    def export(self, context: Context, metrics: MetricsData) -> object:  # noqa: ARG002 - that is the fault
        self._held.append(copy.deepcopy(metrics))
        return None

    def force_flush(self, context: Context) -> object:  # noqa: ARG002 - that is the fault
        return None


class FlushWaits(Canary):
    """Waits in a flush for what never comes."""

    def force_flush(self, context: Context) -> object:  # noqa: ARG002 - that is the fault
        self.released.wait()
        return None


class DropsBuffer(FlushesEarly):
    """Accepts everything, and lets go of it in shutdown."""


class Leaks(Canary):
    """Opens a pair of sockets and starts a thread for each export, and keeps them."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._sockets: list[socket.socket] = []

    def export(self, context: Context, metrics: MetricsData) -> object:
        self._sockets += socket.socketpair()
        threading.Thread(target=self.released.wait, name="leaked", daemon=True).start()
        return self.inner.export(context, metrics)

    def release(self) -> None:
        super().release()
        for one in self._sockets:
            one.close()


class ShutdownLeavesEarly(Canary):
    """Does not shut down with a context that is done."""

    def shutdown(self, context: Context) -> object:
        context.raise_if_done()
        return self.inner.shutdown(context)


class ShutdownJoins(Canary):
    """Waits in shutdown for the running export, however long it takes."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._lock = threading.Lock()

    def export(self, context: Context, metrics: MetricsData) -> object:
        with self._lock:
            return self.inner.export(context, metrics)

    def force_flush(self, context: Context) -> object:
        with self._lock:
            return self.inner.force_flush(context)

    def shutdown(self, context: Context) -> object:
        with self._lock:
            return self.inner.shutdown(context)


class StillSends(Canary):
    """Sends after its shutdown, and says that it did not."""

    _down = False

    def export(self, context: Context, metrics: MetricsData) -> object:
        result = self.inner.export(context, metrics)
        if self._down:
            self.inner.force_flush(context)
            raise ExporterShutdownError("shut down")
        return result

    def shutdown(self, context: Context) -> object:
        self._down = True
        return self.inner.force_flush(context)


class ReturnsAfterShutdown(Swallows):
    """Returns from an export after shutdown."""


class SecondShutdownReturns(Canary):
    """Returns from every shutdown."""

    def shutdown(self, context: Context) -> object:
        try:
            return self.inner.shutdown(context)
        except ExporterShutdownError:
            return None


class Resurrects(Canary):
    """Works again after a shutdown that failed."""

    def shutdown(self, context: Context) -> object:
        try:
            return self.inner.shutdown(context)
        except Exception:
            self.inner = self.case.plain_exporter()
            raise


class InheritsLock(Canary):
    """Exports under a lock that a forked child inherits."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self._lock = threading.Lock()

    def export(self, context: Context, metrics: MetricsData) -> object:
        with self._lock:
            return self.inner.export(context, metrics)

    def force_flush(self, context: Context) -> object:
        with self._lock:
            return self.inner.force_flush(context)


class NonDaemonThread(Canary):
    """Starts a thread in an export that holds up the interpreter's exit."""

    def export(self, context: Context, metrics: MetricsData) -> object:
        threading.Thread(target=self.released.wait, daemon=False).start()
        return self.inner.export(context, metrics)
