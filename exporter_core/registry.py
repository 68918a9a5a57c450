"""From a name to a guarded exporter: name -> entry point -> class -> validated config -> exporter -> guard.

Selecting imports the one plugin that was named, after the allow and block lists have been asked. Whatever goes wrong
is one error that names the exporter, its distribution and version, and the cause.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import ValidationError

from exporter_core.context import Context
from exporter_core.discovery import PluginEntry, PluginPolicy, installed, select, select_observer
from exporter_core.errors import ConfigError, ConfigProblem, ContractError, PluginLoadError, SetupError
from exporter_core.exporter import ExporterConfig
from exporter_core.guard import BUILD_SECONDS, GuardedExporter, Runner, verify
from exporter_core.guard.calls import Outcome
from exporter_core.guard.lanes import ThreadLane
from exporter_core.masking import Masker, masker_for
from exporter_core.validation import problems_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from exporter_core.observing import Observers

__all__ = ["ExporterRegistry", "load_exporter"]

_T = TypeVar("_T")


def load_exporter(
    name: str, config: Mapping[str, Any] | ExporterConfig | None = None, *, runner: Runner = "thread"
) -> GuardedExporter:
    """Load the installed exporter of this name, with these options, behind the guard.

    Args:
        name: the exporter's name, or ``distribution:name``.
        config: its options; None for its defaults.
        runner: where its code runs: ``"thread"`` keeps deadlines on time, ``"inline"`` uses the caller's thread.

    Raises:
        SetupError: nothing was built; see :meth:`ExporterRegistry.load`.
    """
    return ExporterRegistry().load(name, config, runner=runner)


class ExporterRegistry:
    """The exporters that are installed, and may be used.

    Args:
        policy: the allow and block lists; everything is allowed unless given.
        path: where to look for distributions instead of ``sys.path``.
    """

    def __init__(self, *, policy: PluginPolicy | None = None, path: Sequence[str] | None = None) -> None:
        self._policy = policy or PluginPolicy()
        self._path = path
        self._classes: dict[PluginEntry, type] = {}

    @property
    def policy(self) -> PluginPolicy:
        """The allow and block lists."""
        return self._policy

    def entries(self) -> tuple[PluginEntry, ...]:
        """Every installed exporter, blocked and unusable ones included. Imports no plugin."""
        return installed(path=self._path)

    def select(self, name: str) -> PluginEntry:
        """The entry that this name selects. Imports no plugin.

        Raises:
            ExporterNotFoundError, ExporterConflictError, PluginBlockedError, UnsupportedContractError: there is none.
        """
        return select(name, policy=self._policy, path=self._path)

    def exporter_class(self, name: str) -> type:
        """The class that this name selects, imported and verified against the contract.

        Raises:
            PluginLoadError: importing it failed, or took too long.
            ContractError: it does not fit the contract.
            SetupError: as for :meth:`select`.
        """
        return self._class_of(self.select(name), name)

    def config_model(self, name: str) -> type[ExporterConfig]:
        """The model of the exporter's options; raises as :meth:`exporter_class` does."""
        return _config_model(self.exporter_class(name))

    def load(
        self,
        name: str,
        config: Mapping[str, Any] | ExporterConfig | None = None,
        *,
        runner: Runner = "thread",
        copy: bool = False,
        observers: Observers | None = None,
        timeout: float = BUILD_SECONDS,
    ) -> GuardedExporter:
        """Build the exporter of this name and put it behind the guard.

        Args:
            name: the exporter's name, or ``distribution:name``.
            config: its options, validated here unless they are an instance of its model; None for its defaults.
            runner: ``"thread"`` or ``"inline"``.
            copy: hand it a deep copy of each batch.
            observers: told of every operation.
            timeout: seconds that its constructor and first answers may take.

        Raises:
            ConfigError: the options do not fit; every problem at once.
            PluginLoadError: importing or building it failed, or took too long.
            ContractError: it does not fit the contract.
            SetupError: as for :meth:`select`.
        """
        entry = self.select(name)
        exporter_class = self._class_of(entry, name)
        options = _validated(_config_model(exporter_class), {} if config is None else config, name)
        return GuardedExporter(
            factory=lambda: exporter_class(options),
            name=name,
            runner=runner,
            copy=copy,
            origin=_origin(entry),
            masker=masker_for(options),
            observers=observers,
            timeout=timeout,
        )

    def observer(self, name: str) -> object:
        """An instance of the installed observer of this name, made without arguments.

        Raises:
            PluginLoadError: importing or building it failed, or took too long.
            SetupError: as for :meth:`select`.
        """
        entry = select_observer(name, policy=self._policy, path=self._path)
        title = f"observer {name!r} ({_origin(entry)})"
        observer = _bounded(lambda: _imported(entry), title)
        return _bounded(observer, title) if isinstance(observer, type) else observer

    def _class_of(self, entry: PluginEntry, name: str) -> type:
        found = self._classes.get(entry)
        if found is None:
            title = f"exporter {name!r} ({_origin(entry)})"
            imported = _bounded(lambda: _imported(entry), title)
            try:
                found = verify(imported)
                _config_model(found)
            except ContractError as error:
                lines = str(error).splitlines()
                raise ContractError("\n".join(f"{title} does not fit the contract: {line}" for line in lines)) from None
            self._classes[entry] = found
        return found


def _origin(entry: PluginEntry) -> str:
    return f"{entry.distribution} {entry.version}".strip()


def _imported(entry: PluginEntry) -> object:
    """Import what the entry refers to."""
    from importlib import import_module  # noqa: PLC0415 - the standard library's, beside the backport's metadata

    module, _, attributes = entry.value.partition("[")[0].strip().partition(":")
    found: object = import_module(module.strip())
    for attribute in filter(None, attributes.strip().split(".")):
        found = getattr(found, attribute)
    return found


def _config_model(exporter_class: type) -> type[ExporterConfig]:
    model = getattr(exporter_class, "config_model", ExporterConfig)
    if not (isinstance(model, type) and issubclass(model, ExporterConfig)):
        raise ContractError(
            f"{exporter_class.__module__}.{exporter_class.__qualname__}.config_model is not a subclass of "
            "exporter_core.ExporterConfig"
        )
    return model


def _validated(model: type[ExporterConfig], config: Mapping[str, Any] | ExporterConfig, name: str) -> ExporterConfig:
    if isinstance(config, model):
        return config
    if isinstance(config, ExporterConfig) or not isinstance(config, Mapping):
        raise TypeError(
            f"config of exporter {name!r}: expected {model.__name__} or a mapping, not {type(config).__name__}"
        )

    def validate() -> ExporterConfig | ValidationError:
        try:
            return model.model_validate(config)
        except ValidationError as error:
            return error

    validated = _bounded(validate, f"exporter {name!r}")  # validators are the plugin's code
    if isinstance(validated, ValidationError):
        problems = problems_of(validated, model, path=(name,))
        raise ConfigError([ConfigProblem(one.message, source=f"exporter {name!r}", path=one.path) for one in problems])
    return validated


def _bounded(function: Callable[[], _T], title: str) -> _T:
    """Run plugin code on a thread that can be left behind, within the time-out; raises PluginLoadError for its errors.

    Inside an import it runs on the calling thread: the plugin may need a module that this very thread is importing,
    and would wait for it on another.
    """
    if _importing():
        try:
            return function()
        except (Exception, SystemExit) as error:
            raise _failed(title, error) from error
    lane = ThreadLane("exporter-core-load", object())
    try:
        call = lane.perform(function, Context.with_timeout(BUILD_SECONDS), {})
    finally:
        lane.close()
    if call is None:
        return cast("_T", None)
    if call.outcome is not Outcome.ENDED:
        raise PluginLoadError(f"{title} cannot be loaded: it did not end within {BUILD_SECONDS:g} s")
    if call.error is not None:
        raise _failed(title, call.error) from call.error
    return cast("_T", call.result)


def _failed(title: str, error: BaseException) -> SetupError:
    if isinstance(error, SetupError):
        return error
    cause = Masker()(" ".join(str(error).split()))
    return PluginLoadError(f"{title} cannot be loaded: {type(error).__name__}{cause and f': {cause}'}")


def _importing() -> bool:
    """Whether the calling thread is in the middle of an import."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
