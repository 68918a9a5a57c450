"""Building a guarded exporter: its instance, its hooks, its first answers, and the lanes that call it.

Constructors are plugin code like any other: with the ``thread`` runner they run on a lane, within a time-out.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, cast

from exporter_core.contract import InstrumentKind
from exporter_core.errors import ContractError, PluginLoadError, SetupError
from exporter_core.exporter import Destination
from exporter_core.guard.call import Call, Outcome
from exporter_core.guard.errors import is_hosts_own
from exporter_core.guard.hooks import bind
from exporter_core.guard.runners.thread import InlineLane, Lane, LoopLane, SerialInlineLane, ThreadLane
from exporter_core.guard.verifier import asynchronous_operations, verify
from exporter_core.untrusted import ErrorSnapshot, blocking_threads, exact_text, is_a

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import AggregationTemporality
    from opentelemetry.sdk.metrics.view import Aggregation
    from pluggy import HookRelay

    from exporter_core.context import Context
    from exporter_core.guard.errors import Reporter
    from exporter_core.guard.runners.loop import LoopThread


class _PluginError(Exception):
    """Carries an error of the plugin's own that would be taken for one of the guard's."""

    def __init__(self, snapshot: ErrorSnapshot) -> None:
        super().__init__(snapshot.text)
        self.snapshot = snapshot


class Instance:
    """An exporter that has been built and has answered what it is asked once. Everything here ran plugin code."""

    def __init__(self, factory: Callable[[], object]) -> None:
        before = blocking_threads()
        try:
            self.exporter = factory()
        except SetupError as error:
            raise _PluginError(ErrorSnapshot.of(error)) from error
        self._threads = [(weakref.ref(thread), _name_of(thread)) for thread in blocking_threads(but=before)]
        exporter_class = verify(type(self.exporter))
        self.asynchronous = asynchronous_operations(exporter_class)
        self.hooks: HookRelay = bind(self.exporter)
        self.temporalities = {kind: _temporality(self.hooks, kind, exporter_class) for kind in InstrumentKind}
        self.destination = _destination(self.exporter)
        self.aggregations = {kind: _aggregation(self.hooks, kind, exporter_class) for kind in InstrumentKind}

    def threads_left(self) -> list[str]:
        """The names of threads that began while it was built, still run, and hold up the interpreter's exit.

        Asks no thread, whose class may be the exporter's own.
        """
        alive = threading.enumerate()
        found = [(thread(), name) for thread, name in self._threads]
        return sorted(name for thread, name in found if any(thread is one for one in alive))


class Assembly:
    """An instance with a lane for each of the operations that make calls."""

    def __init__(
        self, instance: Instance, *, export: Lane, force_flush: Lane, shutdown: Lane, loop: LoopThread | None = None
    ) -> None:
        self.instance = instance
        self.hooks = instance.hooks
        self.export = export
        self.force_flush = force_flush
        self.shutdown = shutdown
        self._loop = loop

    def close(self) -> None:
        """Let go of the threads, each when its last call is over. Does not wait."""
        for lane in (self.export, self.force_flush, self.shutdown):
            lane.close()
        if self._loop is not None:
            self._loop.close()


def assemble(
    factory: Callable[[], object],
    *,
    name: str,
    title: str,
    runner: str,
    owner: object,
    context: Context,
    reporter: Reporter,
) -> Assembly:
    """Build the exporter and its lanes.

    Args:
        factory: makes the exporter.
        name: the exporter's name, which its threads carry.
        title: how messages call the exporter.
        runner: ``"thread"`` or ``"inline"``.
        owner: what identifies the guard to calls that come back to it.
        context: bounds the factory and the exporter's first answers.
        reporter: puts errors into words without secrets.

    Raises:
        ContractError: the exporter does not fit the contract.
        PluginLoadError: its code failed, or took too long.
    """
    inline = runner == "inline"

    def lane(operation: str) -> Lane:
        if inline:
            return SerialInlineLane(owner) if operation == "export" else InlineLane(owner)
        return ThreadLane(f"exporter-core-{name}-{operation}", owner)

    with _threads_starting(title), ExitStack() as undo:
        first = lane("export")
        undo.callback(first.close)
        instance = _build(factory, first, inline=inline, title=title, context=context, reporter=reporter)
        loop = None
        if instance.asynchronous:
            from exporter_core.guard.runners.loop import LoopThread  # noqa: PLC0415 - few exporters need an event loop

            loop = LoopThread(f"exporter-core-{name}", owner)
            undo.callback(loop.close)

        def lane_of(operation: str) -> Lane:
            made = LoopLane(loop) if loop is not None and operation in instance.asynchronous else lane(operation)
            undo.callback(made.close)
            return made

        # The lane that built the exporter goes on as its export lane, unless the event loop does that.
        if "export" in instance.asynchronous:
            first.close()
        export = lane_of("export") if "export" in instance.asynchronous else first
        assembly = Assembly(
            instance, export=export, force_flush=lane_of("force_flush"), shutdown=lane_of("shutdown"), loop=loop
        )
        undo.pop_all()
    return assembly


@contextmanager
def _threads_starting(title: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what else could raise one runs on a lane
        raise PluginLoadError(f"{title} cannot be built: {error}") from error


def _build(
    factory: Callable[[], object],
    lane: Lane,
    *,
    inline: bool,
    title: str,
    context: Context,
    reporter: Reporter,
) -> Instance:
    call = cast("Call", lane.perform(Instance, context, {"factory": factory}))  # it has a result, so there is a call
    if call.outcome is not Outcome.ENDED:
        raise PluginLoadError(f"{title} was not built in time: its constructor or its first answers take too long")
    if call.snapshot is not None:
        error, snapshot = call.snapshot.error, call.snapshot
        if type(error) is _PluginError:
            snapshot = error.snapshot
        elif is_hosts_own(error, inline=inline):
            raise error
        elif is_a(error, ContractError):
            lines = [reporter.describe(ContractError(line)) for line in snapshot.text.splitlines()]
            raise ContractError("\n".join(f"{title} does not fit the contract: {line}" for line in lines)) from None
        raise PluginLoadError(f"{title} cannot be built: {reporter.describe(snapshot)}") from reporter.cause(snapshot)
    instance = cast("Instance", call.result)
    if inline and instance.asynchronous:
        operations = ", ".join(sorted(instance.asynchronous))
        raise ContractError(f"{title}: {operations} is async, which the inline runner cannot run; use runner 'thread'")
    return instance


def _name_of(thread: threading.Thread) -> str:
    try:
        return exact_text(thread.name)
    except BaseException:  # noqa: BLE001 - a property of the plugin's
        return "(its name cannot be shown)"


def _temporality(hooks: HookRelay, kind: InstrumentKind, exporter_class: type) -> AggregationTemporality:
    from opentelemetry.sdk.metrics.export import AggregationTemporality  # noqa: PLC0415 - see exporter_core.exporter

    answer = hooks.temporality(instrument_kind=kind)
    if answer not in (AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA) or isinstance(answer, bool):
        raise ContractError(
            f"{exporter_class.__module__}.{exporter_class.__qualname__}.temporality({kind}) answered "
            f"{_shown(answer)}; it must be AggregationTemporality.CUMULATIVE or .DELTA"
        )
    return AggregationTemporality(answer)


def _aggregation(hooks: HookRelay, kind: InstrumentKind, exporter_class: type) -> Aggregation:
    from opentelemetry.sdk.metrics.view import Aggregation  # noqa: PLC0415 - see exporter_core.exporter

    answer = hooks.aggregation(instrument_kind=kind)
    if not isinstance(answer, Aggregation):
        raise ContractError(
            f"{exporter_class.__module__}.{exporter_class.__qualname__}.aggregation({kind}) answered "
            f"{_shown(answer)}; it must be an Aggregation of opentelemetry.sdk.metrics.view"
        )
    return answer


def _destination(exporter: object) -> Destination | None:
    """Where the data goes, if the exporter says it; the one thing asked that is not in the contract."""
    ask = getattr(exporter, "destination", None)
    answer = ask() if callable(ask) else None
    if not isinstance(answer, Destination):
        return None
    return Destination(exact_text(answer.location), None if answer.command is None else exact_text(answer.command))


def _shown(answer: object) -> str:
    return "None" if answer is None else f"an object of type {type(answer).__name__}"
