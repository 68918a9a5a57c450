"""``GuardedExporter``: what stands between a caller and an exporter, and keeps the contract for it.

One state machine, ACTIVE -> SHUTTING_DOWN -> SHUT_DOWN. Each operation has a lane (:mod:`.runners`) that makes its
calls; how a call came out is put into words by :mod:`.errors`. Each rule stands at the method that keeps it. The
guard raises and does not report: reporting belongs to whoever has no caller to raise to.
"""

from __future__ import annotations

import logging
import threading
import warnings
import weakref
from functools import partial
from inspect import CORO_CREATED, getcoroutinestate
from time import monotonic
from types import CoroutineType
from typing import TYPE_CHECKING, Literal, Self

from exporter_core import forking
from exporter_core.context import CallContext, Context
from exporter_core.contract import InstrumentKind
from exporter_core.errors import (
    DeadlineExceededError,
    ExporterCoreError,
    ExporterForkedError,
    ExporterReentrancyError,
    ExporterShutdownError,
    PartialSuccessError,
    SetupError,
)
from exporter_core.guard.assembly import Assembly, assemble
from exporter_core.guard.call import Call, Outcome
from exporter_core.guard.copying import copy_metrics
from exporter_core.guard.errors import Reporter, is_hosts_own
from exporter_core.guard.reentrancy import inside, owners
from exporter_core.guard.stats import ExporterStats, GuardState, Tally, count_points
from exporter_core.masking import Masker
from exporter_core.sync import Latch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.exporter import Destination
    from exporter_core.guard.runners.thread import Lane
    from exporter_core.observing import Observers

Runner = Literal["thread", "inline"]

_logger = logging.getLogger(__name__)

_ACTIVE = GuardState.ACTIVE

BUILD_SECONDS = 30.0
"""How long an exporter's constructor and its first answers may take."""

SHUTDOWN_SECONDS = 30.0
"""How long leaving a ``with`` block may take; the SDK's default for shutting down."""


class GuardedExporter:
    """An exporter behind the guard: the contract's five operations, kept whatever the exporter does.

    The ``thread`` runner keeps every deadline on time. The ``inline`` runner runs the exporter on the caller's thread
    and cannot: it looks at the deadline when a call returns, lets KeyboardInterrupt and SystemExit of the main thread
    pass, and refuses ``async def`` exporters. Neither can stop C code that holds the interpreter's lock, a crash, or
    ``os._exit``; those need a process of their own.

    Args:
        exporter: the exporter, or None if there is a ``factory``.
        factory: makes the exporter, once here and once in each forked child that uses it.
        name: the exporter's name in configuration and messages.
        runner: ``"thread"`` or ``"inline"``.
        copy: hand the exporter a deep copy of each batch, so that it cannot change the application's data.
        origin: where the exporter comes from, such as distribution and version, for messages.
        masker: masks the config's secrets in every text.
        observers: told of every operation.
        timeout: seconds that the factory and the exporter's first answers may take.

    Raises:
        ContractError: the exporter's class or its answers do not fit the contract.
        PluginLoadError: the factory failed or took too long.
    """

    _state: GuardState
    _mutex: threading.Lock
    _building: threading.Lock
    _tally: Tally
    _closed: Latch
    _release: _Release | None  # of the first shutdown

    def __init__(
        self,
        exporter: object | None = None,
        *,
        factory: Callable[[], object] | None = None,
        name: str,
        runner: Runner = "thread",
        copy: bool = False,
        origin: str | None = None,
        masker: Masker | None = None,
        observers: Observers | None = None,
        timeout: float = BUILD_SECONDS,
    ) -> None:
        if (exporter is None) == (factory is None):
            raise TypeError("GuardedExporter takes an exporter or a factory, and not both")
        if runner not in ("thread", "inline"):
            raise ValueError(f"runner: expected 'thread' or 'inline', not {runner!r}")
        self._name = name
        self._runner: Runner = runner
        self._inline = runner == "inline"
        self._copy = copy
        self._factory = factory
        self._build_timeout = timeout
        # What calls from inside the exporter are recognised by; not the guard, which its threads must not keep alive.
        self._mark = object()
        self._title = f"exporter {name!r}" if origin is None else f"exporter {name!r} ({origin})"
        self._reporter = Reporter(name, masker or Masker(), observers)
        self._renew(GuardState.ACTIVE)
        self._attach(self._assemble(factory or (lambda: exporter), Context.with_timeout(timeout)))
        instance = self._assembly.instance
        self._temporalities = instance.temporalities
        self._aggregations = instance.aggregations
        self._destination = self._reporter.destination(instance.destination)
        forking.renew_after_fork(self)

    # --- the contract --------------------------------------------------------------------------------------------

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """The exporter's answer, asked once when the guard was made: no lock, ever."""
        try:
            return self._temporalities[instrument_kind]
        except KeyError:
            raise _unknown_kind(instrument_kind) from None

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """The exporter's answer, asked once when the guard was made: no lock, ever."""
        try:
            return self._aggregations[instrument_kind]
        except KeyError:
            raise _unknown_kind(instrument_kind) from None

    def export(self, context: Context, metrics: MetricsData) -> None:
        """Hand the batch to the exporter, one at a time; returns when it is accepted, or raises, on time.

        Raises:
            ExporterShutdownError: after shutdown, whatever the context says; the exporter is not called.
            DeadlineExceededError: the context's deadline passed. The exporter still owns the batch until its call
                really ends; meanwhile further exports raise ExporterBusyError.
            ContextCancelledError: the context was cancelled; the same holds.
            ExporterBusyError: an earlier export was given up at its deadline and has not ended.
            ExporterReentrancyError: called from inside the exporter's own operation.
            PartialSuccessError: the backend refused some of the points.
            ExporterError: the exporter failed; its error is chained.
        """
        if self._state is not _ACTIVE:
            self._become_active(context)
        if self._mark in owners():
            self._refuse_reentry("export")
        assembly, tally, clock = self._assembly, self._tally, context._clock
        points = count_points(metrics)
        if self._copy:
            metrics = copy_metrics(metrics)
        started = clock.monotonic()
        child = None
        try:
            child = context._for_call(started)
            data = {"context": child, "metrics": metrics}
            call = assembly.export.perform(assembly.hooks.export, child, data, self._export_ended_late, points)
        except BaseException as failure:
            self._count_unmade(points, clock.monotonic() - started, child, failure)
            raise
        ended = clock.monotonic()
        late = self._inline and child._deadline is not None and ended >= child._deadline
        if call is None and not late:
            tally.succeeded.append((points, ended - started))
            if len(tally.succeeded) > tally.MANY:
                tally.fold()
            if self._reporter.observers is not None:
                self._reporter.tell("export", ended - started, points=points)
            return
        if call is None:
            tally.export_ended_late(points)
        if call is None or call.outcome is Outcome.ABANDONED:
            tally.export_abandoned()
        error = self._error_of("export", call, context)
        accepted = points - error.rejected_points if isinstance(error, PartialSuccessError) else 0
        self._count_failure(points, max(accepted, 0), ended - started, self._reporter.describe(error))
        raise error

    def force_flush(self, context: Context) -> None:
        """Return when everything accepted before is delivered, or raise, on time; runs beside everything else.

        After shutdown it does nothing and returns. Raises what :meth:`export` raises, the shutdown error apart.
        """
        if self._state in (GuardState.SHUT_DOWN, GuardState.FORKED):
            return  # in a forked child that has not exported nothing was accepted
        self._admit("force_flush", context)
        self._perform("force_flush", context)

    def shutdown(self, context: Context) -> None:
        """Refuse new exports, let the running one finish while the context lasts, flush, release; on time and final.

        The exporter's own shutdown is always called, so that it can release, even with a context that is done or
        beside a hung export. A concurrent or later call waits for the first one to end.

        Raises:
            ExporterShutdownError: it was not the first call.
            DeadlineExceededError, ContextCancelledError: the context was done before the exporter was.
            ExporterReentrancyError: called from inside the exporter's own operation; nothing is shut down.
            ExporterError: the exporter's shutdown failed; it counts as shut down.
        """
        self._refuse_reentry("shutdown")
        # Whoever is interrupted (Ctrl-C), at whatever point, knows by this whether the shutdown is theirs to end.
        release = _Release()
        try:
            before = self._begin_shutdown(release)
            if before is GuardState.ACTIVE:
                self._end_exports(context)
                self._perform("shutdown", context, release.bound_to(self._assembly))
            elif before is GuardState.FORKED:  # this child never used the exporter: there is nothing to release
                self._closed.open()
            else:
                self._refuse_another_shutdown(before, context)
        except BaseException as error:
            if self._release is release and not (release.called or isinstance(error, ExporterCoreError)):
                self._release_at_once(release, context, error)
            raise
        finally:
            if self._release is release:
                self._state = GuardState.SHUT_DOWN
                try:
                    self._finalizer.detach()
                    self._assembly.close()
                finally:
                    self._closed.open()
                self._tell_of_threads_left()

    # --- beside the contract -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The exporter's name in the configuration."""
        return self._name

    @property
    def runner(self) -> Runner:
        """Where the exporter's code runs."""
        return self._runner

    @property
    def state(self) -> GuardState:
        """Where in its life the exporter is."""
        return self._state

    @property
    def busy(self) -> bool:
        """Whether an export is running, abandoned ones included: another would wait, or raise ExporterBusyError."""
        return self._state is not GuardState.FORKED and self._assembly.export.running is not None

    @property
    def destination(self) -> Destination | None:
        """Where the data goes, if the exporter says it; secrets masked."""
        return self._destination

    def stats(self) -> ExporterStats:
        """What has been counted so far."""
        return self._tally.snapshot(name=self._name, runner=self._runner, state=self._state, busy=self.busy)

    def describe_error(self, error: BaseException) -> str:
        """The error in one line that may be shown: the config's secrets masked, causes left out."""
        return self._reporter.describe(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.shutdown(Context.with_timeout(SHUTDOWN_SECONDS))
        except ExporterShutdownError:
            pass  # shut down inside the block

    def __repr__(self) -> str:
        return f"<GuardedExporter {self._name!r} {self._state}, runner {self._runner}>"

    # --- making calls --------------------------------------------------------------------------------------------

    def _admit(self, operation: str, context: Context) -> None:
        context.raise_if_done()
        self._refuse_reentry(operation)

    def _refuse_reentry(self, operation: str) -> None:
        if inside(self._mark):
            raise self._reporter.error(
                ExporterReentrancyError, operation, "called from inside one of the exporter's own operations"
            )

    def _begin_shutdown(self, release: _Release) -> GuardState:
        """Refuse new exports, if this is the first shutdown; the state before."""
        with self._mutex:  # nothing is called meanwhile, so nobody is interrupted
            before = self._state
            if before is GuardState.ACTIVE:
                self._state = GuardState.SHUTTING_DOWN
                self._release = release
            elif before is GuardState.FORKED:
                self._state = GuardState.SHUT_DOWN
        return before

    def _refuse_another_shutdown(self, before: GuardState, context: Context) -> None:
        """Wait for the first shutdown, if it still runs, and raise."""
        if before is GuardState.SHUTTING_DOWN and not self._closed.wait(context):
            context.raise_if_done()
        raise self._reporter.shut_down("shutdown")

    def _release_at_once(self, release: _Release, context: Context, interrupt: BaseException) -> None:
        """Have the exporter release though whoever shuts it down was interrupted, and does not wait."""
        hurried = context.child()
        hurried.cancel(interrupt)
        try:
            self._perform("shutdown", hurried, release.bound_to(self._assembly))
        except ExporterCoreError:
            pass  # it was the one interrupted call; the host has something better to raise

    def _tell_of_threads_left(self) -> None:
        if left := self._assembly.instance.threads_left():
            _logger.warning(
                "%s is shut down, and threads that began while it was built still run; they hold up the "
                "interpreter's exit: %s",
                self._title,
                ", ".join(left),
            )

    def _perform(
        self,
        operation: Literal["force_flush", "shutdown"],
        context: Context,
        function: Callable[..., object] | None = None,
    ) -> None:
        lane: Lane = getattr(self._assembly, operation)
        started = context._clock.monotonic()
        child = CallContext(deadline=context.deadline, parent=context, clock=context._clock)
        call = lane.perform(
            function or getattr(self._assembly.hooks, operation),
            child,
            {"context": child},
            partial(self._ended_late, operation),
            certain=operation == "shutdown",
        )
        seconds = child._clock.monotonic() - started
        if call is None and not (self._inline and child.remaining() == 0):
            self._reporter.tell(operation, seconds)
            return
        error = self._error_of(operation, call, context)
        text = self._reporter.describe(error)
        self._tally.note_error(text)
        self._reporter.tell(operation, seconds, error=text)
        raise error

    def _count_unmade(self, points: int, seconds: float, child: Context | None, error: BaseException) -> None:
        """Count an export whose context was done before, or whose caller was interrupted while it waited."""
        if child is None:
            self._count_failure(points, 0, seconds, self._reporter.describe(error))
        else:
            self._tally.export_interrupted(points, seconds, abandoned=self._assembly.export.left_behind(child))

    def _count_failure(self, points: int, accepted: int, seconds: float, text: str) -> None:
        """Count an export that raises, and tell of it."""
        self._tally.export_failed(points, accepted, seconds, text)
        self._reporter.tell("export", seconds, points=points, error=text)

    def _error_of(self, operation: str, call: Call | None, context: Context) -> BaseException:
        """What a call raises that did not go well; None stands for an inline call that returned after its deadline."""
        if call is None:
            return self._reporter.late(operation)
        if call.error is not None and is_hosts_own(call.error, inline=self._inline):
            return call.error
        _close_coroutine(call.result)
        return self._reporter.error_of(operation, call, context, active=self._state is GuardState.ACTIVE)

    def _export_ended_late(self, call: Call) -> None:
        self._ended_late("export", call)

    def _ended_late(self, operation: str, call: Call) -> None:
        """Tell of the end of a call that its caller had given up; runs on the lane."""
        _close_coroutine(call.result)
        text, accepted = self._reporter.late_error(call)
        if operation == "export":
            self._tally.export_ended_late(accepted, well=text is None)
        self._reporter.tell(operation, monotonic() - call.started, points=call.points, error=text, late=True)

    def _end_exports(self, context: Context) -> None:
        """Refuse the exports that wait, let the one that runs finish while the context lasts, then cancel it."""
        lane = self._assembly.export
        lane.refuse()
        # A call of nothing has its turn when nobody is inside the exporter any more. One that was given up before is
        # not waited for: its context has told it to end.
        if lane.perform(_nothing, context.child(), {}, certain=True) is not None:
            running = lane.running
            if running is not None:
                running.cancel("the exporter is being shut down")

    # --- being made, and made anew -------------------------------------------------------------------------------

    def _renew(self, state: GuardState) -> None:
        self._state = state
        self._mutex = threading.Lock()
        """Held by whoever changes the state, for a moment."""
        self._building = threading.Lock()
        """Held by whoever rebuilds the exporter in a forked child."""
        self._tally = Tally()
        self._closed = Latch()
        self._release = None
        if state is GuardState.SHUT_DOWN:
            self._closed.open()

    def _assemble(self, factory: Callable[[], object], context: Context) -> Assembly:
        return assemble(
            factory,
            name=self._name,
            title=self._title,
            runner=self._runner,
            owner=self._mark,
            context=context,
            reporter=self._reporter,
        )

    def _attach(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._finalizer = weakref.finalize(self, _dropped, self._title, assembly)
        self._finalizer.atexit = False

    def _become_active(self, context: Context) -> None:
        """Rebuild the exporter in a forked child; raises unless the guard is active afterwards."""
        if self._state is GuardState.FORKED:
            self._admit("export", context)
            factory = self._factory
            if factory is None:
                text = (
                    "the process forked; an exporter given as an instance cannot be rebuilt: load it by name and config"
                )
                raise self._reporter.error(ExporterForkedError, "export", text)
            self._rebuild(factory, context)
        if self._state is not GuardState.ACTIVE:
            raise self._reporter.shut_down("export")

    def _rebuild(self, factory: Callable[[], object], context: Context) -> None:
        """Rebuild the exporter in a forked child, unless another thread has done it, or shut the guard down."""
        remaining = context.remaining()
        if not self._building.acquire(timeout=-1 if remaining is None else min(remaining, threading.TIMEOUT_MAX)):
            raise DeadlineExceededError(
                f"exporter {self._name!r}: export: the process forked and the exporter was not rebuilt in time"
            )
        try:
            if self._state is GuardState.FORKED:
                assembly = self._assemble(factory, context.child(timeout=self._build_timeout))
                with self._mutex:
                    wanted = self._state is GuardState.FORKED
                    if wanted:
                        self._attach(assembly)
                        self._state = GuardState.ACTIVE
                if not wanted:  # shut down meanwhile, by another thread, which has nothing to release
                    child = context.child()
                    assembly.shutdown.perform(assembly.hooks.shutdown, child, {"context": child}, certain=True)
                    assembly.close()
        except SetupError as error:
            context.raise_if_done()
            text = f"the process forked and the exporter could not be rebuilt: {self._reporter.describe(error)}"
            raise self._reporter.error(ExporterForkedError, "export", text) from error
        finally:
            self._building.release()

    def _renew_after_fork(self) -> None:
        """Start anew in a forked child, leaving all that was the parent's untouched."""
        if self._state is not GuardState.FORKED:
            self._finalizer.detach()
            forking.keep_untouched(self._assembly)
            self._assembly.export.running = None  # in the parent alone
        alive = self._state in (GuardState.ACTIVE, GuardState.FORKED)
        self._renew(GuardState.FORKED if alive else GuardState.SHUT_DOWN)


class _Release:
    """The exporter's own shutdown, made once though it is handed to the lane twice.

    Whoever is interrupted while handing it over cannot know whether it was.
    """

    def __init__(self) -> None:
        self.called = False
        self._function: Callable[..., object] | None = None

    def bound_to(self, assembly: Assembly) -> Self:
        self._function = assembly.hooks.shutdown
        return self

    def __call__(self, context: Context) -> object:
        function = self._function
        if self.called or function is None:
            return None
        self.called = True
        return function(context=context)


def _nothing() -> None:
    """Do nothing; see where it is used."""


def _close_coroutine(result: object) -> None:
    """A coroutine that a plain function returned would warn that nobody awaited it.

    One that has begun would not, and closing it would run its code here.
    """
    # isinstance() would ask the plugin's object for its __class__.
    if type(result) is CoroutineType and getcoroutinestate(result) == CORO_CREATED:
        result.close()


def _dropped(title: str, assembly: Assembly) -> None:
    """End the threads of a guard that was dropped without a shutdown; the exporter may have held data."""
    assembly.close()
    warnings.warn(f"{title} was never shut down", ResourceWarning, stacklevel=2)


def _unknown_kind(instrument_kind: object) -> ValueError:
    kinds = ", ".join(InstrumentKind)
    return ValueError(f"{instrument_kind!r} is not an instrument kind; the kinds are {kinds}")
