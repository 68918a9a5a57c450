"""The subject of a check: an exporter by name or class, raw or behind the guard, and the calls of its operations.

Raw, an ``async def`` operation runs as a task on an event loop, which its context cancels: that is all that the
contract promises to such an exporter. The call is over when the task is.
"""

from __future__ import annotations

import _thread
import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, wraps
from importlib import import_module
from types import new_class
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricsData
from pydantic import ValidationError

from exporter_core.bridge.inbound import InboundExporter
from exporter_core.bridge.selection import inbound_class
from exporter_core.conformance.observe.harness import Harness
from exporter_core.conformance.sdk import SdkDriver
from exporter_core.contract import HARNESS_GROUP, OPERATIONS, InstrumentKind
from exporter_core.discovery import PluginEntry, installed, select
from exporter_core.discovery.entries import SDK_GROUP
from exporter_core.discovery.index import listing
from exporter_core.errors import ExporterNotFoundError, SetupError, UnsupportedContractError
from exporter_core.exporter import ExporterConfig
from exporter_core.forking import call_after_fork
from exporter_core.guard import GuardedExporter
from exporter_core.masking import masker_for, secrets_of
from exporter_core.untrusted import place_of
from exporter_core.validation import problems_of

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.view import Aggregation

    from exporter_core.conformance.clause import Clause
    from exporter_core.conformance.observe.journal import Journal
    from exporter_core.context import Context

Mode = Literal["raw", "guarded"]


@dataclass(frozen=True)
class Subject:
    """An exporter that has been found."""

    target: str
    """The name, or ``module:Class``, that was asked for."""
    exporter_class: Any  # what an entry point refers to may be anything
    harness: type[Harness] | None
    entry: PluginEntry | None
    """Its registration; None for a class that has none."""
    options: Mapping[str, Any] | None = None
    """Options that go before those of the harness."""
    on_secrets: Callable[[Iterable[str]], object] = lambda _secrets: None
    """Called with the secrets of validated options, before the exporter has them."""

    @property
    def of_the_sdk(self) -> bool:
        """True for an exporter of the OpenTelemetry SDK behind a bridge."""
        return isinstance(self.exporter_class, type) and issubclass(self.exporter_class, InboundExporter)

    def validated(self, config: Mapping[str, Any]) -> ExporterConfig:
        """The options, with those of a harness. Raises SetupError, with the place of each that does not do."""
        model: type[ExporterConfig] = getattr(self.exporter_class, "config_model", ExporterConfig)
        try:
            options = model.model_validate({**config, **(self.options or {})})
        except ValidationError as error:
            said = "; ".join(one.message for one in problems_of(error, model))
            way_out = "" if self.harness else "; there is no harness that gives them: use --config"
            raise SetupError(f"exporter {self.target!r}: {said}{way_out}") from error
        self.on_secrets(secrets_of(options))
        return options

    def drive(self, mode: Mode, options: ExporterConfig, journal: Journal) -> Driven:
        """Build the exporter with these options, raw or behind the guard. Raises the constructor's error."""
        spied = _spied(self.exporter_class, journal)
        if mode == "guarded":
            # As the registry builds it; copy: False, as everywhere by default.
            return GuardedExporter(factory=lambda: spied(options), name=self.target, masker=masker_for(options))
        exporter = spied(options)
        return SdkDriver(exporter) if isinstance(exporter, InboundExporter) else Raw(exporter)


def resolve(target: str, *, options: Mapping[str, Any] | None = None, harness: type[Harness] | None = None) -> Subject:
    """Find the exporter and its harness.

    Raises:
        SetupError: there is no such exporter, or it cannot be imported.
    """
    try:
        entry: PluginEntry | None = select(target)
    except UnsupportedContractError:
        entry = next(one for one in installed() if target in (one.name, one.qualified_name))
    except ExporterNotFoundError:
        if ":" not in target:
            raise
        entry = next((one for one in installed() if one.value == target), None)
    value = target if entry is None else entry.value
    exporter_class = imported(value, f"exporter {target!r}")
    own = getattr(exporter_class, "conformance_harness", None)
    if (entry.group == SDK_GROUP) if entry else _is_of_the_sdk(exporter_class):
        exporter_class = inbound_class(exporter_class)
    if harness is None:
        harness = _harness_of(entry) or own
    found: Any = harness  # Any: what an entry point or an attribute refers to may be anything
    if found is not None and not (isinstance(found, type) and issubclass(found, Harness)):
        raise SetupError(f"the harness of {target!r} is not a subclass of exporter_core.conformance.Harness")
    return Subject(target, exporter_class, harness, entry, options)


def _is_of_the_sdk(found: object) -> bool:
    """True for a ``MetricExporter``, and for a function, which can only be one that makes such an exporter."""
    return issubclass(found, MetricExporter) if isinstance(found, type) else callable(found)


def inexpressible(driven: object, clause: Clause) -> str | None:
    """The reason why the exporter's interface has no channel for what the clause needs; None if it has.

    Raw, an exporter of the OpenTelemetry SDK can be told a deadline where its methods take ``timeout_millis``, and no
    cancellation.
    """
    if not isinstance(driven, SdkDriver):
        return None
    if "cancellation" in clause.needs:
        return "a MetricExporter of the OpenTelemetry SDK cannot be told that a call is cancelled"
    operation = _OPERATION_OF[clause.family] if "deadline" in clause.needs else None
    if operation is not None and operation not in driven.bounded:
        return f"its {operation} takes no timeout_millis, so that it cannot be told a deadline"
    return None


_OPERATION_OF: Final = {"EXP": "export", "FLU": "force_flush", "SHD": "shutdown"}


def _harness_of(entry: PluginEntry | None) -> Any:  # Any: what an entry point refers to may be anything
    if entry is None:
        return None
    for one in listing(None).entries:
        if one.group == HARNESS_GROUP and one.name == entry.name and one.distribution == entry.distribution:
            return imported(one.value, f"the harness of {entry.name!r}")
    return None


def imported(value: str, what: str) -> Any:  # Any: as above
    """Import what ``module:attribute`` names. SetupError says that ``what`` cannot be imported."""
    module, _, attributes = value.partition("[")[0].strip().partition(":")
    try:
        found: Any = import_module(module.strip())
        for attribute in filter(None, attributes.strip().split(".")):
            found = getattr(found, attribute)
    except Exception as error:
        place = place_of(error)
        where = f" ({place})" if place is not None else ""
        raise SetupError(f"{what} cannot be imported from {value!r}: {type(error).__name__}: {error}{where}") from error
    return found


class Raw:
    """Calls an exporter's operations of the contract as they are, with the leading part of the arguments each takes."""

    def __init__(self, exporter: Any) -> None:  # Any: an exporter need not subclass anything
        self.exporter = exporter
        self._taken: dict[str, int] = {}
        """The number of arguments that each operation takes."""

    def temporality(self, instrument_kind: InstrumentKind) -> AggregationTemporality:
        return cast("AggregationTemporality", self._call("temporality", instrument_kind))

    def aggregation(self, instrument_kind: InstrumentKind) -> Aggregation:
        return cast("Aggregation", self._call("aggregation", instrument_kind))

    def export(self, context: Context, metrics: MetricsData) -> object:
        return self._finish(context, self._call("export", context, metrics))

    def force_flush(self, context: Context) -> object:
        return self._finish(context, self._call("force_flush", context))

    def shutdown(self, context: Context) -> object:
        return self._finish(context, self._call("shutdown", context))

    def _call(self, operation: str, *arguments: object) -> object:
        method = getattr(self.exporter, operation)
        if operation not in self._taken:
            self._taken[operation] = len(inspect.signature(method).parameters)
        return method(*arguments[: self._taken[operation]])

    def _finish(self, context: Context, result: object) -> object:
        if not isinstance(result, Coroutine):
            return result
        operation = _Operation(result)
        handle = context.on_done(operation.cancel)
        try:
            return operation.wait()
        except asyncio.CancelledError:
            context.raise_if_done()
            raise
        finally:
            handle.unregister()


Driven: TypeAlias = Raw | SdkDriver | GuardedExporter
"""An exporter whose operations can be called."""


class _Operation:
    """An ``async def`` operation as a task, which is begun.

    It is over when its task is, and not when that is cancelled: it may go on, or keep its loop from cancelling it.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self._coroutine = coroutine
        self._loop = prepare()
        self._task: asyncio.Task[None] | None = None
        self._result: object = None
        self._error: BaseException | None = None
        self._over = _thread.allocate_lock()  # a real one in a schedule too, which does not see what a loop does
        self._over.acquire()
        self._loop.call_soon_threadsafe(self._begin)

    def cancel(self) -> None:
        """Have the loop cancel the task, as soon as it has taken its first step."""
        self._loop.call_soon_threadsafe(self._loop.call_soon, self._cancel)

    def wait(self) -> object:
        """Wait for the end; the result. Raises the operation's error."""
        self._over.acquire()
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error  # whose traceback holds this frame

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(lambda _: self._over.release())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            self._result = await self._coroutine
        except BaseException as error:  # noqa: BLE001 - it is the caller's; of a task, some would end the event loop
            self._error = error


@cache
def prepare() -> asyncio.AbstractEventLoop:
    """Start the one event loop for raw ``async def`` exporters, before any of them could be charged with it."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="conformance-loop", daemon=True).start()
    return loop


call_after_fork(prepare.cache_clear)  # the thread of the parent's loop does not exist in a forked child


def _spied(exporter_class: Any, journal: Journal) -> Any:  # Any: see Subject
    """The class of all exporters of a run: a subclass whose state they share, as they do that of their own class."""
    if exporter_class not in journal.spies:
        journal.spies[exporter_class] = _spy(exporter_class, journal)
    return journal.spies[exporter_class]


def _spy(exporter_class: Any, journal: Journal) -> Any:  # Any: as above
    """A subclass that stamps each entry into export, force_flush and shutdown, and each end.

    Of an exporter of the SDK it is the methods of that exporter that are entered, and not those of its bridge.
    """

    @contextmanager
    def stamped(name: str) -> Iterator[None]:
        journal.stamp("enter", name)
        try:
            yield
        finally:
            journal.stamp("leave", name)

    def spy(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def run_async(*arguments: Any, **named: Any) -> Any:
                with stamped(name):
                    return await function(*arguments, **named)

            return run_async

        @wraps(function)
        def run(*arguments: Any, **named: Any) -> Any:
            with stamped(name):
                return function(*arguments, **named)

        return run

    def call(self: InboundExporter, operation: str, *arguments: Any) -> tuple[object, list[str]]:
        with stamped(operation):
            return InboundExporter.call(self, operation, *arguments)

    if issubclass(exporter_class, InboundExporter):
        members: dict[str, Any] = {"call": call}
    else:
        members = {name: spy(name, getattr(exporter_class, name)) for name in OPERATIONS[2:]}
    members["__module__"] = exporter_class.__module__
    return new_class(exporter_class.__name__, (exporter_class,), {}, lambda namespace: namespace.update(members))
