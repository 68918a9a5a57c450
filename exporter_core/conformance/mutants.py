"""Deliberately wrong exporters: the reference exporters, each with one fault that one clause is there to find.

:data:`MUTANTS` says which clause kills which mutant, and with what words.
"""

from __future__ import annotations

import copy
import socket
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.metrics.view import Aggregation, DefaultAggregation

from exporter_core.conformance.reference import BufferingExporter, ReferenceConfig, ReferenceExporter
from exporter_core.context import Context
from exporter_core.contract import InstrumentKind
from exporter_core.errors import ContextCancelledError, DeadlineExceededError, ExporterError, ExporterShutdownError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter_core.conformance.memory import Response, Wait

__all__ = ["MUTANTS", "Mutant"]

_POLL = 0.002


class ExtraArgument(ReferenceExporter):
    """Requires one argument more than the contract has."""

    def export(self, context: Context, metrics: MetricsData, retries: int) -> None:  # type: ignore[override]  # noqa: ARG002 - the fault
        super().export(context, metrics)


class NoneForGauge(ReferenceExporter):
    """Has no answer for gauges."""

    def temporality(self, instrument_kind: InstrumentKind) -> Any:
        return None if instrument_kind is InstrumentKind.GAUGE else AggregationTemporality.CUMULATIVE


class Flips(ReferenceExporter):
    """Answers otherwise once it has exported."""

    _exported = False

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:  # noqa: ARG002 - the same for all
        return AggregationTemporality.DELTA if self._exported else AggregationTemporality.CUMULATIVE

    def export(self, context: Context, metrics: MetricsData) -> None:
        self._exported = True
        super().export(context, metrics)


class _Options(DefaultAggregation):
    def __init__(self, options: dict[str, object]) -> None:
        self.options = options


class SharesAnswer(ReferenceExporter):
    """Hands out one dictionary in every answer."""

    _options: ClassVar[dict[str, object]] = {}

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:  # noqa: ARG002 - the same for all
        return _Options(self._options)


class LocksAnswers(ReferenceExporter):
    """Answers in the turn of its exports."""

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        with self._turn._lock:
            return super().temporality(instrument_kind)


class DropsPoint(ReferenceExporter):
    """Leaves out the last point of each metric."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        fewer = copy.deepcopy(metrics)
        for of_resource in fewer.resource_metrics:
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    object.__setattr__(metric.data, "data_points", list(metric.data.data_points)[:-1])
        super()._deliver(context, fewer)


class ClaimsToHoldNothing(BufferingExporter):
    """Holds data, and says that it does not."""

    conformance_harness = ReferenceExporter.conformance_harness


class DropsScopeAttributes(ReferenceExporter):
    """Forgets the attributes of scopes."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        changed = copy.deepcopy(metrics)
        for of_resource in changed.resource_metrics:
            for of_scope in of_resource.scope_metrics:
                of_scope.scope._attributes = {}  # type: ignore[assignment]  # the SDK's own has no other way in
        super()._deliver(context, changed)


class SendsTwice(ReferenceExporter):
    """Sends each batch two times."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        super()._deliver(context, metrics)
        super()._deliver(context, metrics)


class ReturnsFuture(ReferenceExporter):
    """Returns a future."""

    def export(self, context: Context, metrics: MetricsData) -> Any:
        super().export(context, metrics)
        future: Future[None] = Future()
        future.set_result(None)
        return future


class DoesNotLook(ReferenceExporter):
    """Exports with a context that is done."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(Context.background() if context.done else context, metrics)


class DropsDeadline(ReferenceExporter):
    """Waits for a response without a deadline; a cancellation ends it."""

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind == "response":
            own = Context.background()
            handle = _on_cancel(context, own)
            try:
                wait.block(own)
            finally:
                handle.set()
        else:
            super()._wait(context, wait)


class PerReadTimeout(ReferenceExporter):
    """Has a time-out for each read alone."""

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind == "piece":
            wait.block(Context.with_timeout(1.0))
        else:
            super()._wait(context, wait)


class NoConnectTimeout(ReferenceExporter):
    """Connects without a time-out."""

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind == "connect":
            wait.block(Context.background())
        else:
            super()._wait(context, wait)


class SleepsRetryAfter(ReferenceExporter):
    """Waits as long as the backend asks; a cancellation ends it."""

    def _back_off(self, context: Context, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._sink.is_closed and not _cancelled(context):
            time.sleep(_POLL)
        context.raise_if_done()


class IgnoresCancel(ReferenceExporter):
    """Waits for a response to the deadline, cancelled or not."""

    def _wait(self, context: Context, wait: Wait) -> None:
        if wait.kind == "response":
            wait.block(Context(deadline=context.deadline))
        super()._wait(context, wait)


class SleepsInBackoff(ReferenceExporter):
    """Sleeps between attempts, to the deadline, cancelled or not."""

    def _back_off(self, context: Context, seconds: float) -> None:
        remaining = context.remaining()
        until = time.monotonic() + (seconds if remaining is None else min(seconds, remaining))
        while time.monotonic() < until and not self._sink.is_closed:
            time.sleep(_POLL)
        context.raise_if_done()


class WallClock(ReferenceExporter):
    """Counts its deadline on the wall clock."""

    def _wait(self, context: Context, wait: Wait) -> None:
        remaining = context.remaining()
        end = time.time() + (3600 if remaining is None else remaining)
        while time.time() < end and not _cancelled(context) and not self._sink.is_closed:
            try:
                wait.block(Context.with_timeout(_POLL))
            except DeadlineExceededError:
                continue
            if wait._ready() or wait.kind == "piece":
                return
        context.raise_if_done()
        raise DeadlineExceededError("the wall clock says that it is late")


class OneAttempt(ReferenceExporter):
    """Never tries again."""

    def _back_off(self, context: Context, seconds: float) -> None:
        context.raise_if_done()
        raise ExporterError(f"gave up instead of waiting {seconds:g} s")


class SwallowsFailure(ReferenceExporter):
    """Logs a refusal, and returns."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if response.status in (400, 500) else super()._failure_of(response)


class RetriesRefusals(ReferenceExporter):
    """Tries again what was refused for good."""

    def _transient(self, response: Response) -> bool:  # noqa: ARG002 - the fault
        return True


class Storms(ReferenceExporter):
    """Comes back at once, for ever, if the backend says Retry-After: 0."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        while self._sink.script[0] == "retry-after:0":
            self._exchange(context, metrics)
            context.raise_if_done()
        super()._deliver(context, metrics)


class IgnoresPartialSuccess(ReferenceExporter):
    """Takes partial success for success."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if response.rejected else super()._failure_of(response)


class Poisoned(ReferenceExporter):
    """Fails for ever once a backend has refused something."""

    _failed = False

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        self._failed = self._failed or (failure is not None and not self._transient(response))
        return ExporterError("an earlier export failed") if self._failed else failure


class RedirectIsFine(ReferenceExporter):
    """Takes 2xx and 3xx for success, whatever the body is."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        return None if 200 <= response.status < 400 and not response.rejected else super()._failure_of(response)  # noqa: PLR2004 - status codes


class DiscardsErrors(ReferenceExporter):
    """Swallows the shutdown error of exports that a reader makes."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        try:
            super().export(context, metrics)
        except ExporterShutdownError:
            scopes = [one.scope.name for of in metrics.resource_metrics for one in of.scope_metrics]
            if not self._is_shut_down or "conformance.counter" not in _names(metrics) or not scopes:
                raise


class TellsSecret(ReferenceExporter):
    """Puts the backend's answer, token and all, into the message."""

    def _failure_of(self, response: Response) -> ExporterError | None:
        failure = super()._failure_of(response)
        return failure and type(failure)(f"{response.status}: {response.body}") if response.status == 401 else failure  # noqa: PLR2004 - a status code


class HoldsReference(BufferingExporter):
    """Holds the caller's own batch."""

    def _accept(self, metrics: MetricsData) -> None:
        self._buffer.append(metrics)


class Annotates(ReferenceExporter):
    """Adds an attribute to the caller's points, once it has sent them."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        super().export(context, metrics)
        for of_resource in metrics.resource_metrics:
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    for point in metric.data.data_points:
                        point.attributes["exported"] = True  # type: ignore[index]  # made by the kit, of dictionaries


class FlushesEarly(BufferingExporter):
    """Starts a delivery in a flush, and returns if nothing comes back soon."""

    def force_flush(self, context: Context) -> None:
        context.raise_if_done()
        errors: list[BaseException] = []

        def deliver() -> None:
            try:
                BufferingExporter.force_flush(self, context)
            except BaseException as error:  # noqa: BLE001 - passed on below, if it comes in time
                errors.append(error)

        thread = threading.Thread(target=deliver, daemon=True)
        thread.start()
        while thread.is_alive() and not context.done and not (context.deadline or 0) > time.monotonic() + 60:
            thread.join(_POLL)
        if (context.deadline or 0) > time.monotonic() + 60:
            thread.join(_POLL)
        for error in errors:
            raise error
        context.raise_if_done()


class FlushDoesNotLook(ReferenceExporter):
    """Returns from a flush with a context that is done."""

    def force_flush(self, context: Context) -> None:
        """Return: nothing is held."""


class FlushWaits(ReferenceExporter):
    """Waits in a flush for the running export, however long that takes."""

    def force_flush(self, context: Context) -> None:
        super().force_flush(context)
        with self._turn._lock:
            pass


class FlushSwallows(BufferingExporter):
    """Returns from a flush whose delivery was refused with 400."""

    def force_flush(self, context: Context) -> None:
        points = sum(1 for _ in self._buffer)
        try:
            super().force_flush(context)
        except ExporterError as error:
            if points != 1 or "400" not in str(error) or self._sink.requests > 1:
                raise


class DropsBuffer(BufferingExporter):
    """Lets go of what is held in shutdown."""

    def _last(self, context: Context) -> None:  # noqa: ARG002 - the fault
        self._buffer.clear()


class LeaksSocket(ReferenceExporter):
    """Never closes its sockets."""

    _kept: ClassVar[list[socket.socket]] = []

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._kept.extend(socket.socketpair())


class ShutdownLeavesEarly(ReferenceExporter):
    """Does not shut down with a context that is done."""

    def shutdown(self, context: Context) -> None:
        context.raise_if_done()
        super().shutdown(context)


class ShutdownJoins(ReferenceExporter):
    """Waits in shutdown for the running export, however long that takes."""

    def shutdown(self, context: Context) -> None:
        while self._running is not None and not self._sink.is_closed:
            time.sleep(_POLL)
        super().shutdown(context)


class StillSends(ReferenceExporter):
    """Sends after its shutdown, then says that it did not."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if self._is_shut_down and not context.done:
            for wait in self._sink.connect():
                self._wait(context, wait)
            for wait in self._sink.request(metrics):
                self._wait(context, wait)
            self._sink.disconnect()
        super().export(context, metrics)


class ReturnsAfterShutdown(ReferenceExporter):
    """Returns from an export after shutdown."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        if not self._is_shut_down:
            super().export(context, metrics)


class SecondShutdownReturns(ReferenceExporter):
    """Returns from every shutdown after a good one."""

    _timed_out = False

    def shutdown(self, context: Context) -> None:
        if self._is_shut_down and not self._timed_out:
            return
        try:
            super().shutdown(context)
        except (DeadlineExceededError, ContextCancelledError):
            self._timed_out = True
            raise


class Resurrects(ReferenceExporter):
    """Works again after a shutdown that timed out beside a running export."""

    def shutdown(self, context: Context) -> None:
        beside = self._running is not None
        try:
            super().shutdown(context)
        except DeadlineExceededError:
            self._is_shut_down = not beside
            raise


class InheritsLock(ReferenceExporter):
    """Keeps the lock that a fork has copied."""

    def _renew(self) -> None:
        if not hasattr(self, "_turn"):
            super()._renew()


class NonDaemonThread(ReferenceExporter):
    """Has a thread that holds up the interpreter's exit while a request is under way."""

    def _deliver(self, context: Context, metrics: MetricsData) -> None:
        threading.Thread(target=self._watch, args=(context,), daemon=False).start()
        super()._deliver(context, metrics)

    def _watch(self, context: Context) -> None:
        while self._running is not None and not context.done and not self._sink.is_closed:
            time.sleep(_POLL)


class ThreadPerExporter(ReferenceExporter):
    """Starts a thread for each exporter that only a shutdown ends."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self._stop = threading.Event()
        threading.Thread(target=self._stop.wait, name="housekeeping", daemon=True).start()

    def shutdown(self, context: Context) -> None:
        self._stop.set()
        super().shutdown(context)


def _names(metrics: MetricsData) -> Iterator[str]:
    for of_resource in metrics.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                yield metric.name


def _cancelled(context: Context) -> bool:
    return isinstance(context.error(), ContextCancelledError)


def _on_cancel(context: Context, own: Context) -> threading.Event:
    """Cancel ``own`` when ``context`` is cancelled, deadlines apart, until the event is set."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL):
            if _cancelled(context):
                own.cancel("cancelled")

    threading.Thread(target=watch, daemon=True).start()
    return over


class Mutant(NamedTuple):
    """A wrong exporter, the clause that finds it, and a part of what is then seen."""

    clause: str
    exporter: type[ReferenceExporter]
    seen: str

    @property
    def target(self) -> str:
        """What ``check`` is asked for."""
        return f"{__name__}:{self.exporter.__name__}"


MUTANTS = (
    Mutant("INT-01", ExtraArgument, "has the parameter 'retries', one too many"),
    Mutant("KND-01", NoneForGauge, "it is None"),
    Mutant("KND-02", Flips, "it was"),
    Mutant("KND-03", SharesAnswer, "a change of one answer is in the next"),
    Mutant("KND-05", LocksAnswers, "temporality had not ended"),
    Mutant("EXP-01", DropsPoint, "lost"),
    Mutant("EXP-01", ClaimsToHoldNothing, "lost"),
    Mutant("EXP-02", DropsScopeAttributes, "scope_attributes"),
    Mutant("EXP-03", SendsTwice, "duplicated"),
    Mutant("EXP-04", ReturnsFuture, "it returned Future"),
    Mutant("EXP-05", DoesNotLook, "it returned"),
    Mutant("EXP-06", DropsDeadline, "while the gate was shut"),
    Mutant("EXP-07", PerReadTimeout, "export had not ended"),
    Mutant("EXP-08", NoConnectTimeout, "export had not ended"),
    Mutant("EXP-09", SleepsRetryAfter, "export had not ended"),
    Mutant("EXP-10", IgnoresCancel, "while the gate was shut"),
    Mutant("EXP-11", SleepsInBackoff, "export had not ended"),
    Mutant("EXP-12", WallClock, "while the gate was shut"),
    Mutant("EXP-13", OneAttempt, "gave up"),
    Mutant("EXP-14", SwallowsFailure, "it returned"),
    Mutant("EXP-15", RetriesRefusals, "attempts"),
    Mutant("EXP-15", Storms, "attempts in 0.1 s"),
    Mutant("EXP-16", IgnoresPartialSuccess, "it returned"),
    Mutant("EXP-17", Poisoned, "an earlier export failed"),
    Mutant("EXP-18", RedirectIsFine, "it returned"),
    Mutant("HND-01", DiscardsErrors, "not one report"),
    Mutant("HND-02", TellsSecret, "the secret of the options"),
    Mutant("DAT-01", HoldsReference, "lost"),
    Mutant("DAT-02", Annotates, "attributes"),
    Mutant("FLU-01", FlushesEarly, "it returned while the gate was shut"),
    Mutant("FLU-02", FlushDoesNotLook, "it returned"),
    Mutant("FLU-03", FlushWaits, "force_flush had not ended"),
    Mutant("FLU-04", FlushSwallows, "it returned"),
    Mutant("SHD-01", DropsBuffer, "lost"),
    Mutant("SHD-02", LeaksSocket, "socket"),
    Mutant("SHD-03", ShutdownLeavesEarly, "export afterwards: it returned"),
    Mutant("SHD-04", ShutdownJoins, "shutdown had not ended"),
    Mutant("SHD-05", StillSends, "points arrived"),
    Mutant("SHD-06", ReturnsAfterShutdown, "it returned"),
    Mutant("SHD-07", SecondShutdownReturns, "it returned"),
    Mutant("SHD-10", Resurrects, "it returned"),
    Mutant("PY-01", InheritsLock, "the child had not ended"),
    Mutant("PY-02", NonDaemonThread, "the child had not ended"),
    Mutant("PY-03", ThreadPerExporter, "housekeeping"),
)
"""Every mutant. That of INT-02 is a registration, not a class: it takes an entry point of another version."""
