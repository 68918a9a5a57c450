"""Builds a guarded exporter: its instance, its hooks, its first answers, and the runners that call it.

A constructor is plugin code like any other: with the ``thread`` runner it runs on a thread that can be left behind.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

from exporter_core.context import CallContext
from exporter_core.contract import InstrumentKind
from exporter_core.errors import ContractError, PluginLoadError, SetupError
from exporter_core.exporter import Destination
from exporter_core.guard.call import Call, Outcome
from exporter_core.guard.errors import is_hosts_own
from exporter_core.guard.hooks import bind
from exporter_core.guard.runners.inline import InlineRunner, SerialInlineRunner
from exporter_core.guard.runners.thread import ThreadRunner
from exporter_core.guard.verifier import asynchronous_operations, verify
from exporter_core.untrusted import ErrorSnapshot, blocking_threads, exact_text, is_a

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import AggregationTemporality
    from opentelemetry.sdk.metrics.view import Aggregation
    from pluggy import HookRelay

    from exporter_core.context import Context
    from exporter_core.guard.errors import Errors
    from exporter_core.guard.runners.protocol import Runner


class _PluginError(Exception):
    """Carries a SetupError that the plugin raised, which would be taken for one of the guard's."""

    def __init__(self, snapshot: ErrorSnapshot) -> None:
        super().__init__(snapshot.text)
        self.snapshot = snapshot


class Instance:
    """An exporter that has been built and has given its first answers. Everything here runs plugin code."""

    def __init__(self, factory: Callable[[], object]) -> None:
        before = blocking_threads()
        try:
            exporter = factory()
        except SetupError as error:
            raise _PluginError(ErrorSnapshot.of(error)) from error
        self._threads = [(weakref.ref(thread), _name_of(thread)) for thread in blocking_threads(but=before)]
        exporter_class = verify(type(exporter))
        self.asynchronous = asynchronous_operations(exporter_class)
        self.keeps_metrics_unchanged = getattr(exporter_class, "keeps_metrics_unchanged", False) is True
        self.hooks: HookRelay = bind(exporter)
        self.temporalities = {kind: _temporality(self.hooks, kind, exporter_class) for kind in InstrumentKind}
        self.destination = _destination(exporter)
        self.aggregations = {kind: _aggregation(self.hooks, kind, exporter_class) for kind in InstrumentKind}

    def threads_left(self) -> list[str]:
        """Return the names of threads that began while it was built, still run, and hold up the interpreter's exit.

        Asks no thread, whose class may be the exporter's own.
        """
        alive = threading.enumerate()
        found = [(thread(), name) for thread, name in self._threads]
        return sorted(name for thread, name in found if any(thread is one for one in alive))


class Assembly:
    """An instance, and a runner for each of the operations that make calls.

    Args:
        factory: makes the exporter.
        name: the exporter's name, which its threads carry.
        title: the exporter's name in messages.
        inline: run the exporter on its callers' threads.
        guard: identifies the guard to calls that come back to it.
        context: bounds the factory and the exporter's first answers.
        errors: describes errors without secrets.
        exiting: make do without threads of its own where none can be started any more, as at interpreter exit. The
            caller then has to be a thread that nobody waits for longer than the context lasts.

    Raises:
        ContractError: the exporter does not fit the contract.
        PluginLoadError: its code failed, or took too long.
    """

    def __init__(
        self,
        factory: Callable[[], object],
        *,
        name: str,
        title: str,
        inline: bool,
        guard: object,
        context: Context,
        errors: Errors,
        exiting: bool = False,
    ) -> None:
        self._closing = ExitStack()

        def runner(operation: str) -> Runner:
            made = _runner(operation, f"exporter-core-{name}-{operation}", guard, inline=inline, exiting=exiting)
            self._closing.callback(made.close)
            return made

        try:
            first = runner("export")
            self.instance = _build(factory, first, inline=inline, title=title, context=context, errors=errors)
            self.hooks = self.instance.hooks
            asynchronous = self.instance.asynchronous
            plain = {"force_flush", "shutdown"} - asynchronous
            self.runners = {operation: runner(operation) for operation in plain}
            if "export" not in asynchronous:
                self.runners["export"] = first  # that it has built the exporter does not keep it from going on
            else:
                first.close()
            if asynchronous:
                from exporter_core.guard.runners.loop import LoopRunner, LoopThread  # noqa: PLC0415 - few need a loop

                loop = LoopThread(f"exporter-core-{name}", guard)
                self._closing.callback(loop.close)
                for operation in asynchronous:
                    self.runners[operation] = LoopRunner(loop)
                    self._closing.callback(self.runners[operation].close)
        except BaseException as error:
            self.close()
            if isinstance(error, RuntimeError):  # no thread can be started; what else could raise one runs on a runner
                raise PluginLoadError(f"{title} cannot be built: {error}") from error
            raise

    def close(self) -> None:
        """Let go of the threads, each when its last call is over. Does not wait."""
        self._closing.close()


def _runner(operation: str, thread: str, guard: object, *, inline: bool, exiting: bool) -> Runner:
    if not inline:
        try:
            return ThreadRunner(thread, guard)
        except RuntimeError:  # no thread can be started
            if not exiting:
                raise
    return SerialInlineRunner(guard) if operation == "export" else InlineRunner(guard)


def _build(
    factory: Callable[[], object], runner: Runner, *, inline: bool, title: str, context: Context, errors: Errors
) -> Instance:
    child = CallContext(deadline=context.deadline, parent=context, clock=context._clock)
    result = runner.perform(Call("build", Instance, child, {"factory": factory}))
    if result.outcome in (Outcome.WITHDRAWN, Outcome.ABANDONED):
        raise PluginLoadError(f"{title} was not built in time: its constructor or its first answers take too long")
    if result.error is not None:
        error, snapshot = result.error.error, result.error
        if type(error) is _PluginError:
            snapshot = error.snapshot
        elif is_hosts_own(error, inline=inline):
            raise error
        elif is_a(error, ContractError):
            lines = [errors.describe(ContractError(line)) for line in snapshot.text.splitlines()]
            raise ContractError("\n".join(f"{title} does not fit the contract: {line}" for line in lines)) from None
        raise PluginLoadError(f"{title} cannot be built: {errors.describe(snapshot)}") from errors.cause(snapshot)
    instance = cast("Instance", result.value)
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
        expected = "AggregationTemporality.CUMULATIVE or .DELTA"
        raise _wrong_answer(exporter_class, f"temporality({kind})", answer, expected)
    return AggregationTemporality(answer)


def _aggregation(hooks: HookRelay, kind: InstrumentKind, exporter_class: type) -> Aggregation:
    from opentelemetry.sdk.metrics.view import Aggregation  # noqa: PLC0415 - see exporter_core.exporter

    answer = hooks.aggregation(instrument_kind=kind)
    if not isinstance(answer, Aggregation):
        expected = "an Aggregation of opentelemetry.sdk.metrics.view"
        raise _wrong_answer(exporter_class, f"aggregation({kind})", answer, expected)
    return answer


def _wrong_answer(exporter_class: type, question: str, answer: object, expected: str) -> ContractError:
    shown = "None" if answer is None else f"an object of type {type(answer).__name__}"
    where = f"{exporter_class.__module__}.{exporter_class.__qualname__}.{question}"
    return ContractError(f"{where} answered {shown}; it must be {expected}")


def _destination(exporter: object) -> Destination | None:
    """Return where the data goes, if the exporter says it; the one thing asked that is not in the contract."""
    ask = getattr(exporter, "destination", None)
    answer = ask() if callable(ask) else None
    if not isinstance(answer, Destination):
        return None
    return Destination(exact_text(answer.location), None if answer.command is None else exact_text(answer.command))
