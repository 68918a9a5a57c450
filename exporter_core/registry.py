"""``ExporterRegistry``: from a name to a guarded exporter.

name -> entry point -> class -> validated options -> exporter -> guard. The allow and block lists are checked first, and
only the plugin that was named is imported. Every error names the exporter, its distribution and version, and the cause.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import ValidationError

from exporter_core.discovery import PluginEntry, PluginPolicy, installed, origin_of, select, select_observer
from exporter_core.errors import ConfigError, ConfigProblem, ContractError, PluginLoadError
from exporter_core.exporter import ExporterConfig
from exporter_core.guard import BUILD_SECONDS, GuardedExporter, RunnerName, verify
from exporter_core.masking import Masker, cause_of, describe, masker_for
from exporter_core.untrusted import CodeFailedError, TookTooLongError, call_here, call_within, is_a
from exporter_core.validation import problems_of, texts_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from exporter_core.errors import SetupError
    from exporter_core.observing import Observers
    from exporter_core.pull import Collect

__all__ = ["ExporterRegistry", "load_exporter"]

_T = TypeVar("_T")


def load_exporter(
    name: str, config: Mapping[str, Any] | ExporterConfig | None = None, *, runner: RunnerName = "thread"
) -> GuardedExporter:
    """Load the installed exporter of this name, with these options, behind the guard.

    Args:
        name: the exporter's name, or ``distribution:name``.
        config: its options; None for its defaults.
        runner: ``"thread"`` runs its code on threads of its own and keeps deadlines; ``"inline"`` on the caller's.

    Raises:
        SetupError: nothing was built; see :meth:`ExporterRegistry.load`.
    """
    return ExporterRegistry().load(name, config, runner=runner)


class ExporterRegistry:
    """The installed exporters that may be used; imports and verifies each at most once.

    It has those of the entry-point group ``opentelemetry_metrics_exporter`` too, each made an exporter of the contract
    by :class:`exporter_core.bridge.inbound.InboundExporter`.

    Args:
        policy: the allow and block lists; everything is allowed unless given.
        path: where to look for distributions instead of ``sys.path``.
    """

    def __init__(self, *, policy: PluginPolicy | None = None, path: Sequence[str] | None = None) -> None:
        self._policy = policy or PluginPolicy()
        self._path = path
        self._plugins: dict[tuple[PluginEntry, bool], _Plugin] = {}

    @property
    def policy(self) -> PluginPolicy:
        """The allow and block lists."""
        return self._policy

    def entries(self) -> tuple[PluginEntry, ...]:
        """Return every installed exporter, blocked and unusable ones included. Imports no plugin."""
        return installed(path=self._path)

    def select(self, name: str, *, pull: bool = False) -> PluginEntry:
        """Return the entry that this name selects, among the pull exporters if ``pull``. Imports no plugin.

        Raises:
            ExporterNotFoundError, ExporterConflictError, PluginBlockedError, UnsupportedContractError: there is none.
        """
        return select(name, pull=pull, policy=self._policy, path=self._path)

    def exporter_class(self, name: str, *, pull: bool = False) -> type:
        """Return the class that this name selects, imported and verified against the contract.

        Raises:
            PluginLoadError: importing it failed, or took too long.
            ContractError: it does not fit the contract.
            SetupError: as for :meth:`select`.
        """
        return self._plugin(self.select(name, pull=pull), name, pull=pull).exporter_class

    def config_model(self, name: str, *, pull: bool = False) -> type[ExporterConfig]:
        """Return the model of the exporter's options; raises as :meth:`exporter_class` does."""
        return self._plugin(self.select(name, pull=pull), name, pull=pull).config_model

    def load(
        self,
        name: str,
        config: Mapping[str, Any] | ExporterConfig | None = None,
        *,
        runner: RunnerName = "thread",
        copy: bool = False,
        observers: Observers | None = None,
        timeout: float = BUILD_SECONDS,
        collect: Collect | None = None,
    ) -> GuardedExporter:
        """Build the exporter of this name and put it behind the guard.

        Args:
            name: the exporter's name, or ``distribution:name``.
            config: its options, validated here unless they are an instance of its model; None for its defaults.
            runner: ``"thread"`` or ``"inline"``.
            copy: hand it a deep copy of the metrics.
            observers: told of every operation.
            timeout: seconds that each may take: importing it, checking its options, and building it with its first
                answers.
            collect: for a pull exporter, which begins to serve: gives it the metrics.

        Raises:
            ConfigError: the options do not fit; every problem at once.
            PluginLoadError: importing or building it failed, or took too long.
            ContractError: it does not fit the contract.
            SetupError: as for :meth:`select`.
        """
        pull = collect is not None
        entry = self.select(name, pull=pull)
        title = _title(name, entry)
        exporter_class, model = self._plugin(entry, name, timeout, pull=pull)
        given = (collect,) if pull else ()
        if isinstance(config, model):
            options = config
        elif config is None or isinstance(config, Mapping):
            try:
                options = validate_options(model, config or {}, title=title, path=(name,), timeout=timeout)
            except ConfigError as error:
                source = f"exporter {name!r}"
                problems = [ConfigProblem(one.message, source=source, path=one.path) for one in error.problems]
                raise ConfigError(problems) from None
        else:
            expected = f"expected {model.__name__} or a mapping"
            raise TypeError(f"config of exporter {name!r}: {expected}, not {type(config).__name__}")
        return GuardedExporter(
            factory=lambda: exporter_class(options, *given),
            name=name,
            runner=runner,
            copy=copy,
            origin=origin_of(entry),
            masker=run_plugin_code(lambda: masker_for(options), title, timeout),  # it runs code of the options' types
            observers=observers,
            timeout=timeout,
        )

    def observer(self, name: str) -> object:
        """Return an instance of the installed observer of this name, made without arguments.

        Raises:
            PluginLoadError: importing or building it failed, or took too long.
            SetupError: as for :meth:`select`.
        """
        entry = select_observer(name, policy=self._policy, path=self._path)
        title = f"observer {name!r} ({origin_of(entry)})"

        def build() -> object:
            observer = _imported(entry)
            return observer() if isinstance(observer, type) else observer

        return run_plugin_code(build, title)

    def _plugin(self, entry: PluginEntry, name: str, timeout: float = BUILD_SECONDS, *, pull: bool = False) -> _Plugin:
        found = self._plugins.get((entry, pull))
        if found is None:
            found = run_plugin_code(lambda: _verified(entry, pull=pull), _title(name, entry), timeout)
            self._plugins[entry, pull] = found
        return found


def validate_options(
    model: type[ExporterConfig],
    given: Mapping[str, Any],
    *,
    title: str,
    path: Sequence[str | int] = (),
    timeout: float = BUILD_SECONDS,
) -> ExporterConfig:
    """Validate an exporter's options by its model, whose validators are the plugin's code, and may do anything.

    Args:
        model: the exporter's ``config_model``.
        given: the options.
        title: the exporter, in messages.
        path: the keys that lead to the options; they precede the path of each problem.
        timeout: seconds that it may take.

    Raises:
        ConfigError: the options do not fit; every problem at once.
        PluginLoadError: a validator failed, or took too long.
        ContractError: the model makes something else of them.
    """

    def validate() -> ExporterConfig | list[ConfigProblem]:
        try:
            options = model.model_validate(given)
        except ValidationError as error:
            return problems_of(error, model, path=path)
        if not isinstance(options, model):
            raise ContractError(f"{model.__module__}.{model.__qualname__} validates options to something else")
        return options

    failed = ": checking the options failed"
    validated = run_plugin_code(validate, title, timeout, masker=Masker(texts_in(given)), failed=failed)
    if isinstance(validated, list):
        raise ConfigError(validated)
    return validated


def option_warnings(options: ExporterConfig, *, title: str, timeout: float = BUILD_SECONDS) -> dict[str, str]:
    """Return the warnings about valid options, secrets masked, by the option's key.

    Raises:
        PluginLoadError: the plugin's code failed, or took too long.
    """
    if type(options).config_warnings is ExporterConfig.config_warnings:
        return {}

    def warnings() -> dict[str, str]:
        masker = masker_for(options)
        return {str(key): masker(str(text)) for key, text in options.config_warnings().items()}

    return run_plugin_code(warnings, title, timeout, failed=": checking the options failed")


class _Plugin(NamedTuple):
    """An entry's exporter class, imported, which fits the contract."""

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


def _verified(entry: PluginEntry, *, pull: bool) -> _Plugin:
    """Import and verify; looking at a class can run code of its metaclass, so this is plugin code as a whole."""
    found = _imported(entry)
    if pull:
        from exporter_core.bridge.pull import serving_class  # noqa: PLC0415 - few need it, and it imports the SDK

        found = serving_class(found, of_sdk=entry.of_sdk)
    elif entry.of_sdk:
        from exporter_core.bridge.selection import inbound_class  # noqa: PLC0415 - few need it, and it imports the SDK

        found = inbound_class(found)
    exporter_class = verify(found)
    model = getattr(exporter_class, "config_model", ExporterConfig)
    if not (isinstance(model, type) and issubclass(model, ExporterConfig)):
        raise ContractError(
            f"{exporter_class.__module__}.{exporter_class.__qualname__}.config_model is not a subclass of "
            "exporter_core.ExporterConfig"
        )
    model.model_rebuild()  # a model that cannot validate anything is a fault of the plugin, not of the options
    return _Plugin(exporter_class, model)


def run_plugin_code(
    function: Callable[[], _T],
    title: str,
    timeout: float = BUILD_SECONDS,
    *,
    masker: Masker | None = None,
    failed: str = " cannot be loaded",
) -> _T:
    """Run plugin code on a thread that can be left behind, and return its result.

    Inside an import it runs on the calling thread: the plugin may need a module that this very thread is importing,
    and would wait for it on another.

    Args:
        function: called without arguments.
        title: what it is about, with which each message begins.
        timeout: seconds that it may take.
        masker: masks secrets in the message.
        failed: follows the title.

    Raises:
        ContractError: the function raised one.
        PluginLoadError: it raised something else, or took too long.
    """
    masker = masker or Masker()
    try:
        return call_here(function) if _importing() else call_within(function, timeout)
    except TookTooLongError:
        raise PluginLoadError(f"{title}{failed}: it did not end within {timeout:g} s") from None
    except CodeFailedError as error:
        snapshot = error.snapshot
        raised: SetupError = PluginLoadError(f"{title}{failed}: {describe(snapshot, masker)}")
        if is_a(snapshot.error, ContractError):
            problems = masker(snapshot.text).splitlines()
            raised = ContractError("\n".join(f"{title} does not fit the contract: {problem}" for problem in problems))
        raise raised from cause_of(snapshot, masker)


def _importing() -> bool:
    """Return True while the calling thread is in the middle of an import."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
