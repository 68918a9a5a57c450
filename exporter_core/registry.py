"""From a name to a guarded exporter: name -> entry point -> class -> validated config -> exporter -> guard.

Selecting imports the one plugin that was named, after the allow and block lists have been asked. Whatever goes wrong
is one error that names the exporter, its distribution and version, and the cause.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import ValidationError

from exporter_core.discovery import PluginEntry, PluginPolicy, installed, origin_of, select, select_observer
from exporter_core.errors import ConfigError, ConfigProblem, ContractError, PluginLoadError, SetupError
from exporter_core.exporter import ExporterConfig
from exporter_core.guard import BUILD_SECONDS, GuardedExporter, RunnerName, verify
from exporter_core.masking import Masker, cause_of, describe, masker_for
from exporter_core.untrusted import CodeFailedError, ErrorSnapshot, TookTooLongError, call_here, call_within, is_a
from exporter_core.validation import problems_of, texts_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from exporter_core.observing import Observers

__all__ = ["ExporterRegistry", "load_exporter"]

_T = TypeVar("_T")


def load_exporter(
    name: str, config: Mapping[str, Any] | ExporterConfig | None = None, *, runner: RunnerName = "thread"
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

    Those of the entry-point group ``opentelemetry_metrics_exporter`` are among them, each made an exporter of the
    contract by :class:`exporter_core.bridge.inbound.InboundExporter`.

    Args:
        policy: the allow and block lists; everything is allowed unless given.
        path: where to look for distributions instead of ``sys.path``.
    """

    def __init__(self, *, policy: PluginPolicy | None = None, path: Sequence[str] | None = None) -> None:
        self._policy = policy or PluginPolicy()
        self._path = path
        self._plugins: dict[PluginEntry, _Plugin] = {}

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
        return self._plugin(self.select(name), name).exporter_class

    def config_model(self, name: str) -> type[ExporterConfig]:
        """The model of the exporter's options; raises as :meth:`exporter_class` does."""
        return self._plugin(self.select(name), name).config_model

    def load(
        self,
        name: str,
        config: Mapping[str, Any] | ExporterConfig | None = None,
        *,
        runner: RunnerName = "thread",
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
            timeout: seconds that each may take: importing it, checking its options, and building it with its first
                answers.

        Raises:
            ConfigError: the options do not fit; every problem at once.
            PluginLoadError: importing or building it failed, or took too long.
            ContractError: it does not fit the contract.
            SetupError: as for :meth:`select`.
        """
        entry = self.select(name)
        exporter_class, model = self._plugin(entry, name, timeout)
        given = {} if config is None else config
        options, masker = _validated(model, given, name, _title(name, entry), timeout)
        return GuardedExporter(
            factory=lambda: exporter_class(options),
            name=name,
            runner=runner,
            copy=copy,
            origin=origin_of(entry),
            masker=masker,
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
        title = f"observer {name!r} ({origin_of(entry)})"

        def build() -> object:
            observer = _imported(entry)
            return observer() if isinstance(observer, type) else observer

        return _bounded(build, title)

    def _plugin(self, entry: PluginEntry, name: str, timeout: float = BUILD_SECONDS) -> _Plugin:
        found = self._plugins.get(entry)
        if found is None:
            found = self._plugins[entry] = _bounded(lambda: _verified(entry), _title(name, entry), timeout)
        return found


class _Plugin(NamedTuple):
    """What has been imported for an entry, and fits the contract."""

    exporter_class: type
    config_model: type[ExporterConfig]


def _title(name: str, entry: PluginEntry) -> str:
    return f"exporter {name!r} ({origin_of(entry)})"


def _imported(entry: PluginEntry) -> object:
    """Import what the entry refers to."""
    from importlib import import_module  # noqa: PLC0415 - the standard library's, beside the backport's metadata

    module, _, attributes = entry.value.partition("[")[0].strip().partition(":")
    found: object = import_module(module.strip())
    for attribute in filter(None, attributes.strip().split(".")):
        found = getattr(found, attribute)
    return found


def _verified(entry: PluginEntry) -> _Plugin:
    """Import and verify; looking at a class can run code of its metaclass, so this is plugin code as a whole."""
    found = _imported(entry)
    if entry.of_sdk:
        from exporter_core.bridge.selection import inbound_class  # noqa: PLC0415 - few need it, and it imports the SDK

        found = inbound_class(found)
    exporter_class = verify(found)
    model = getattr(exporter_class, "config_model", ExporterConfig)
    if not (isinstance(model, type) and issubclass(model, ExporterConfig)):
        raise ContractError(
            f"{exporter_class.__module__}.{exporter_class.__qualname__}.config_model is not a subclass of "
            "exporter_core.ExporterConfig"
        )
    return _Plugin(exporter_class, model)


def _validated(
    model: type[ExporterConfig], given: Mapping[str, Any] | ExporterConfig, name: str, title: str, timeout: float
) -> tuple[ExporterConfig, Masker]:
    """The options as the model has them, with the masker of their secrets."""
    if not isinstance(given, (model, Mapping)):
        raise TypeError(
            f"config of exporter {name!r}: expected {model.__name__} or a mapping, not {type(given).__name__}"
        )

    def validate() -> tuple[ExporterConfig, Masker] | list[ConfigProblem]:
        try:
            options = given if isinstance(given, model) else model.model_validate(given)
        except ValidationError as error:
            return problems_of(error, model, path=(name,))
        if not isinstance(options, model):
            raise ContractError(f"{model.__module__}.{model.__qualname__} validates options to something else")
        return options, masker_for(options)

    # Validators are the plugin's code, and so are the models that a masker walks through.
    validated = _bounded(validate, title, timeout, Masker(texts_in(given) if isinstance(given, Mapping) else ()))
    if isinstance(validated, list):
        problems = [ConfigProblem(one.message, source=f"exporter {name!r}", path=one.path) for one in validated]
        raise ConfigError(problems)
    return validated


def _bounded(
    function: Callable[[], _T], title: str, timeout: float = BUILD_SECONDS, masker: Masker | None = None
) -> _T:
    """Run plugin code on a thread that can be left behind; a SetupError that begins with ``title`` for its errors.

    Inside an import it runs on the calling thread: the plugin may need a module that this very thread is importing,
    and would wait for it on another.
    """
    masker = masker or Masker()
    try:
        return call_here(function) if _importing() else call_within(function, timeout)
    except TookTooLongError:
        raise PluginLoadError(f"{title} cannot be loaded: it did not end within {timeout:g} s") from None
    except CodeFailedError as failed:
        raise _failed(title, failed.snapshot, masker) from cause_of(failed.snapshot, masker)


def _failed(title: str, told: ErrorSnapshot, masker: Masker) -> SetupError:
    if is_a(told.error, ContractError):
        problems = masker(told.text).splitlines()
        return ContractError("\n".join(f"{title} does not fit the contract: {problem}" for problem in problems))
    return PluginLoadError(f"{title} cannot be loaded: {describe(told, masker)}")


def _importing() -> bool:
    """Whether the calling thread is in the middle of an import."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
