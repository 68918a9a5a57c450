"""``GuardedExporter``: stands between a caller and an exporter, and keeps the contract for it.

One state machine, ACTIVE -> SHUTTING_DOWN -> SHUT_DOWN. Each operation has a runner (:mod:`.runners`) that makes its
calls; :mod:`.errors` makes the errors of those that failed. The guard raises and does not report: reporting is for code
that has no caller to raise to.
"""

from __future__ import annotations

import logging
import warnings
import weakref
from inspect import CORO_CREATED, getcoroutinestate
from types import CoroutineType
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from exporter_core import forking
from exporter_core.context import CallContext, Context
from exporter_core.contract import InstrumentKind
from exporter_core.errors import (
    ExporterCoreError,
    ExporterError,
    ExporterForkedError,
    ExporterReentrancyError,
    ExporterShutdownError,
    PartialSuccessError,
    SetupError,
)
from exporter_core.guard.assembly import Assembly
from exporter_core.guard.call import SUCCESS, Call, Outcome, Result
from exporter_core.guard.copying import copy_metrics
from exporter_core.guard.errors import Errors, is_hosts_own
from exporter_core.guard.reentrancy import guards_entered
from exporter_core.guard.stats import ExporterStats, GuardState, Tally, count_points
from exporter_core.masking import Masker
from exporter_core.observing import Observation
from exporter_core.sync import Latch, Lock, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.exporter import Destination
    from exporter_core.observing import Observers

RunnerName = Literal["thread", "inline"]

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)

_ACTIVE = GuardState.ACTIVE

BUILD_SECONDS = 30.0
"""Seconds that an exporter's constructor and its first answers may take."""

SHUTDOWN_SECONDS = 30.0
"""Seconds that leaving a ``with`` block may take; the SDK's default for shutting down."""


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
    _mutex: Lock
    _building: Turn
    _tally: Tally
    _closed: Latch
    _first_shutdown: object | None
    _released: bool

    def __init__(
        self,
        exporter: object | None = None,
        *,
        factory: Callable[[], object] | None = None,
        name: str,
        runner: RunnerName = "thread",
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
        self._runner: RunnerName = runner
        self._inline = runner == "inline"
        self._copy = copy
        self._factory = factory
        self._build_timeout = timeout
        # What calls from inside the exporter are recognised by; not the guard, which its threads must not keep alive.
        self._mark = object()
        self._title = f"exporter {name!r}" if origin is None else f"exporter {name!r} ({origin})"
        self._errors = Errors(name, masker or Masker())
        self._observers = observers
        self._renew(GuardState.ACTIVE)
        self._attach(self._assemble(factory or (lambda: exporter), Context.with_timeout(timeout)))
        instance = self._assembly.instance
        self._keeps_metrics_unchanged = copy or instance.keeps_metrics_unchanged
        self._temporalities = instance.temporalities
        self._aggregations = instance.aggregations
        self._destination = self._errors.name_destination(instance.destination)
        forking.renew_after_fork(self)

    # --- the contract --------------------------------------------------------------------------------------------

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        """Return the exporter's answer, asked once when the guard was made: no lock, also during and after shutdown."""
        return _answer(self._temporalities, instrument_kind)

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        """Return the exporter's answer, asked once when the guard was made: no lock, also during and after shutdown."""
        return _answer(self._aggregations, instrument_kind)

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
        if self._mark in guards_entered():
            self._refuse_reentry("export")
        points = count_points(metrics)
        if self._copy:
            metrics = copy_metrics(metrics)
        self._perform("export", self._assembly.hooks.export, context, {"metrics": metrics}, points)

    def force_flush(self, context: Context) -> None:
        """Return when everything accepted before is delivered, or raise, on time; runs beside everything else.

        After shutdown it does nothing and returns. Raises what :meth:`export` raises, the shutdown error apart.
        """
        if self._state in (GuardState.SHUT_DOWN, GuardState.FORKED):
            return  # in a forked child that has not exported nothing was accepted
        self._refuse_reentry("force_flush")
        self._perform("force_flush", self._assembly.hooks.force_flush, context, {})

    def shutdown(self, context: Context) -> None:
        """Refuse new exports at once, let the running one finish while the context lasts, then cancel it, and release.

        The exporter's own shutdown is always called, so that it can release, even beside a hung export or with a
        context that is done; final whatever happened. A concurrent or later call waits for the first one to end.

        Raises:
            ExporterShutdownError: it was not the first call.
            DeadlineExceededError, ContextCancelledError: the context was done before the exporter was.
            ExporterReentrancyError: called from inside the exporter's own operation; nothing is shut down.
            ExporterError: the exporter's shutdown failed; it counts as shut down.
        """
        self._refuse_reentry("shutdown")
        # A caller interrupted (Ctrl-C) at whatever point knows by this whether it is the first shutdown's.
        this = object()
        try:
            before = self._begin_shutdown(this)
            if before is GuardState.ACTIVE:
                self._end_exports(context)
                self._release(context)
            elif before is GuardState.FORKED:  # this child never used the exporter: there is nothing to release
                self._closed.open()
            else:
                self._refuse_another_shutdown(before, context)
        except BaseException as error:
            if self._first_shutdown is this and not (self._released or isinstance(error, ExporterCoreError)):
                self._release_at_once(context, error)
            raise
        finally:
            if self._first_shutdown is this:
                self._state = GuardState.SHUT_DOWN
                try:
                    self._finalizer.detach()
                    self._assembly.close()
                finally:
                    self._closed.open()
                self._tell_of_threads_left()

    def rebuild(self, context: Context) -> None:
        """Build the exporter anew in a forked child, where that has not been done yet.

        Raises:
            ExporterForkedError: it could not be built.
            DeadlineExceededError, ContextCancelledError: the context was done before.
        """
        self._become_active(context)

    # --- beside the contract -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The exporter's name in the configuration."""
        return self._name

    @property
    def runner(self) -> RunnerName:
        """The name of the runner, which says where the exporter's code runs."""
        return self._runner

    @property
    def keeps_metrics_unchanged(self) -> bool:
        """True if a batch can be handed to other exporters, too: this one promises not to change it, or gets a copy."""
        return self._keeps_metrics_unchanged

    @property
    def state(self) -> GuardState:
        """The state of the exporter's life."""
        return self._state

    @property
    def busy(self) -> bool:
        """True while an export is running, an abandoned one too: another would wait, or raise ExporterBusyError."""
        return self._state is not GuardState.FORKED and self._assembly.runners["export"].running is not None

    @property
    def destination(self) -> Destination | None:
        """The place where the data goes, secrets masked; None if the exporter does not say it."""
        return self._destination

    def stats(self) -> ExporterStats:
        """Return the counts so far."""
        return self._tally.snapshot(name=self._name, runner=self._runner, state=self._state, busy=self.busy)

    @property
    def last_failed_attempt(self) -> str | None:
        """The failure of the last attempt of the export that is running, secrets masked; None if there is none."""
        running = None if self._state is GuardState.FORKED else self._assembly.runners["export"].running
        return None if running is None else self._errors.last_attempt(running)

    def describe_error(self, error: BaseException) -> str:
        """Return the error in one line that may be shown: the config's secrets masked, causes left out."""
        return self._errors.describe(error)

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

    def _perform(
        self,
        operation: str,
        function: Callable[..., object],
        context: Context,
        arguments: dict[str, object],
        points: int | None = None,
        *,
        must_run: bool = False,
    ) -> None:
        """Have the exporter called; count the call, tell the observers of it, and raise unless it succeeded."""
        clock = context._clock
        child = context._descendant(CallContext, context._deadline)
        child._attempts = None
        arguments["context"] = child
        started = clock.monotonic()
        call = Call(operation, function, child, arguments, started, points, self._ended_late, must_run)
        try:
            # A context that is done: its error, counted as a failure; the exporter is not called.
            dead = not must_run and context._done_at(started)
            result = _DEAD if dead else self._assembly.runners[operation].perform(call)
        except BaseException:  # Ctrl-C, while the caller waited or, inline, made the call
            if points is not None:
                text = str(self._errors.new(ExporterError, operation, " was interrupted"))
                seconds, left = clock.monotonic() - call.started, call.abandoned
                self._tally.export_failed(points, seconds, text, abandoned=left, still_runs=left)
            raise
        ended = clock.monotonic()
        seconds = ended - call.started
        if call.context._attempts is not None:
            self._tally.count_repeated(call.context._attempts.repeated)
        if result is SUCCESS and self._inline and child._deadline is not None and ended >= child._deadline:
            result = _LATE
        if result is SUCCESS:
            if points is not None:
                tally = self._tally
                tally.succeeded.append((points, seconds))
                if len(tally.succeeded) > tally.MANY:
                    tally.fold()
            if self._observers is not None:
                self._tell(call, seconds)
            return
        raise self._failure(call, result, seconds, context)

    def _failure(self, call: Call, result: Result, seconds: float, context: Context) -> BaseException:
        """Count a call that did not succeed, and tell of it; return the error that it raises."""
        if result.error is not None and is_hosts_own(result.error.error, inline=self._inline):
            error = result.error.error
        else:
            _close_coroutine(result.value)
            error = self._errors.error_of(call, result, context, active=self._state is GuardState.ACTIVE)
        text = self._errors.describe(error)
        self._tell(call, seconds, text)
        points = call.points
        if points is None:
            self._tally.note_error(text)
            return error
        late, abandoned = result is _LATE, result.outcome is Outcome.ABANDONED
        with self._tally.mutex:  # between the two, points that were accepted would count as lost
            self._tally.export_failed(points, seconds, text, abandoned=late or abandoned, still_runs=abandoned)
            if late or isinstance(error, PartialSuccessError):
                rejected = error.rejected_points if isinstance(error, PartialSuccessError) else 0
                self._tally.accepted_beside(points - rejected, late_ok=late)
        return error

    def _ended_late(self, call: Call, result: Result) -> None:
        """Count the late end of a call that its caller had abandoned, and tell of it; runs on the runner's thread."""
        _close_coroutine(result.value)
        text, accepted = self._errors.late_error(call, result)
        if call.points is not None:
            self._tally.accepted_beside(accepted, late_ok=text is None, settled=call.points)
        self._tell(call, call.context._clock.monotonic() - call.started, text, late=True)

    def _tell(self, call: Call, seconds: float, error: str | None = None, *, late: bool = False) -> None:
        if self._observers is not None:
            self._observers.tell(Observation(self._name, call.operation, seconds, call.points, error, late))

    def _refuse_reentry(self, operation: str) -> None:
        if self._mark in guards_entered():
            text = ": called from inside one of the exporter's own operations"
            raise self._errors.new(ExporterReentrancyError, operation, text)

    # --- shutting down -------------------------------------------------------------------------------------------

    def _begin_shutdown(self, this: object) -> GuardState:
        """Refuse new exports, if this is the first shutdown; return the state before."""
        with self._mutex:  # nothing is called meanwhile, so nobody is interrupted
            before = self._state
            if before is GuardState.ACTIVE:
                self._state = GuardState.SHUTTING_DOWN
                self._first_shutdown = this
            elif before is GuardState.FORKED:
                self._state = GuardState.SHUT_DOWN
        return before

    def _end_exports(self, context: Context) -> None:
        """Refuse the exports that wait, let the one that runs finish while the context lasts, then cancel it."""
        runner = self._assembly.runners["export"]
        runner.refuse()
        if (running := runner.running) is not None:
            running.context._attempts_of_call().end()  # what its exporter waits for may never come
        # A call of nothing has its turn when nobody is inside the exporter any more. An abandoned one is not waited
        # for: its context has told it to end.
        child = context._descendant(CallContext, context._deadline)
        if runner.perform(Call("export", _nothing, child, {}, must_run=True)) is not SUCCESS:
            running = runner.running
            if running is not None:
                running.context.cancel("the exporter is being shut down")

    def _release(self, context: Context) -> None:
        """Have the exporter's own shutdown called, so that it can release: always, and once."""
        hook = self._assembly.hooks.shutdown

        def shutdown(context: Context) -> object:
            # Once, though it may be handed over twice: a caller interrupted meanwhile cannot know whether it was.
            if self._released:
                return None
            self._released = True
            return hook(context=context)

        self._perform("shutdown", shutdown, context, {}, must_run=True)

    def _release_at_once(self, context: Context, interrupt: BaseException) -> None:
        """Have the exporter release though its shutdown was interrupted, without waiting for it."""
        hurried = context.child()
        hurried.cancel(interrupt)
        try:
            self._release(hurried)
        except ExporterCoreError:
            pass  # it was the one interrupted call; the host has something better to raise

    def _refuse_another_shutdown(self, before: GuardState, context: Context) -> None:
        """Wait for the first shutdown, if it still runs, and raise."""
        if before is GuardState.SHUTTING_DOWN and not self._closed.wait(context):
            context.raise_if_done()
        raise self._errors.shut_down("shutdown")

    def _tell_of_threads_left(self) -> None:
        if left := self._assembly.instance.threads_left():
            _logger.warning(
                "%s is shut down, and threads that began while it was built still run; they hold up the "
                "interpreter's exit: %s",
                self._title,
                ", ".join(left),
            )

    # --- being made, and made anew -------------------------------------------------------------------------------

    def _renew(self, state: GuardState) -> None:
        self._state = state
        self._mutex = Lock()
        """Held while the state changes, for a moment."""
        self._building = Turn()
        """Held while the exporter is rebuilt in a forked child."""
        self._tally = Tally()
        self._closed = Latch()
        self._first_shutdown = None
        self._released = False
        if state is GuardState.SHUT_DOWN:
            self._closed.open()

    def _assemble(self, factory: Callable[[], object], context: Context, *, exiting: bool = False) -> Assembly:
        return Assembly(
            factory,
            name=self._name,
            title=self._title,
            inline=self._inline,
            guard=self._mark,
            context=context,
            errors=self._errors,
            exiting=exiting,
        )

    def _attach(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._finalizer = weakref.finalize(self, _dropped, self._title, assembly)
        self._finalizer.atexit = False

    def _become_active(self, context: Context) -> None:
        """Rebuild the exporter in a forked child; raises unless the guard is active afterwards."""
        if self._state is GuardState.FORKED:
            context.raise_if_done()
            self._refuse_reentry("export")
            factory = self._factory
            if factory is None:
                text = (
                    ": the process forked; an exporter given as an instance cannot be rebuilt: "
                    "load it by name and config"
                )
                raise self._errors.new(ExporterForkedError, "export", text)
            with self._building.held(context):
                self._rebuild(factory, context)
        if self._state is not GuardState.ACTIVE:
            raise self._errors.shut_down("export")

    def _rebuild(self, factory: Callable[[], object], context: Context) -> None:
        """Rebuild the exporter in a forked child, unless another thread has done it, or shut the guard down."""
        if self._state is not GuardState.FORKED:
            return
        try:
            # A child may end before it has used the exporter: it is built at its exit then, by the reader's thread.
            assembly = self._assemble(factory, context.child(timeout=self._build_timeout), exiting=True)
        except SetupError as error:
            context.raise_if_done()
            text = f": the process forked and the exporter could not be rebuilt: {self._errors.describe(error)}"
            raise self._errors.new(ExporterForkedError, "export", text) from error
        with self._mutex:
            wanted = self._state is GuardState.FORKED
            if wanted:
                self._attach(assembly)
                self._destination = self._errors.name_destination(assembly.instance.destination)
                self._state = GuardState.ACTIVE
        if not wanted:  # shut down meanwhile, by another thread, which has nothing to release
            child = context._descendant(CallContext, context._deadline)
            call = Call("shutdown", assembly.hooks.shutdown, child, {"context": child}, must_run=True)
            assembly.runners["shutdown"].perform(call)
            assembly.close()

    def _renew_after_fork(self) -> None:
        """Begin anew in a forked child, leaving all that was the parent's untouched."""
        if self._state is not GuardState.FORKED:
            self._finalizer.detach()
            forking.keep_untouched(self._assembly)
            self._assembly.runners["export"].running = None  # in the parent alone
        alive = self._state in (GuardState.ACTIVE, GuardState.FORKED)
        self._renew(GuardState.FORKED if alive else GuardState.SHUT_DOWN)


_DEAD = Result(Outcome.WITHDRAWN)
_LATE = Result(Outcome.LATE)


def _nothing() -> None:
    """Do nothing; see where it is used."""


def _close_coroutine(result: object) -> None:
    """Close a coroutine that a plain function returned, which would warn that nobody awaited it.

    One that has begun would not, and closing it would run its code here.
    """
    # isinstance() would ask the plugin's object for its __class__.
    if type(result) is CoroutineType and getcoroutinestate(result) == CORO_CREATED:
        result.close()


def _dropped(title: str, assembly: Assembly) -> None:
    """End the threads of a guard that was dropped without a shutdown; the exporter may have held data."""
    assembly.close()
    warnings.warn(f"{title} was never shut down", ResourceWarning, stacklevel=2)


def _answer(answers: Mapping[InstrumentKind, _T], instrument_kind: InstrumentKind) -> _T:
    try:
        return answers[instrument_kind]
    except KeyError:
        kinds = ", ".join(InstrumentKind)
        raise ValueError(f"{instrument_kind!r} is not an instrument kind; the kinds are {kinds}") from None
