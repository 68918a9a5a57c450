"""The readers of a config file: their schedules, and their exporters' options validated by the plugins' own models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from pydantic import ValidationError

from exporter_core.config.settings import ReaderSettings
from exporter_core.contract import InstrumentKind
from exporter_core.discovery import PluginEntry, PluginPolicy
from exporter_core.errors import SetupError
from exporter_core.masking import Masker, describe
from exporter_core.untrusted import CodeFailedError, TookTooLongError, call_within
from exporter_core.validation import problems_of, texts_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exporter_core.config.models import ExporterOptions, PeriodicReader
    from exporter_core.config.report import Report
    from exporter_core.errors import ConfigProblem
    from exporter_core.exporter import ExporterConfig

_INTERVAL: Final = 60_000  # milliseconds, as in the configuration schema
_TIMEOUT: Final = 30_000
_CHECK_SECONDS: Final = 10.0  # for a plugin to check its options; it may look at files


class Models(Protocol):
    """What is asked of a registry of exporters."""

    def select(self, name: str) -> object:
        """The installed entry of a name, or something else for a built-in exporter; imports nothing."""
        raise NotImplementedError

    def config_model(self, name: str) -> type[ExporterConfig]:
        """The model of an exporter's options; imports that plugin."""
        raise NotImplementedError


class Remembering:
    """A registry that is asked once for each name: a file may name one exporter in many readers."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._answers: dict[tuple[str, str], Any] = {}  # Any: an entry, a model, or the error

    def select(self, name: str) -> object:
        """The registry's answer."""
        return self._once("select", name)

    def config_model(self, name: str) -> type[ExporterConfig]:
        """The registry's answer."""
        return cast("type[ExporterConfig]", self._once("config_model", name))

    def _once(self, question: str, name: str) -> object:
        if (question, name) not in self._answers:
            try:
                self._answers[question, name] = getattr(self._models, question)(name)
            except SetupError as error:
                self._answers[question, name] = error
        answer = self._answers[question, name]
        if isinstance(answer, SetupError):
            raise answer.with_traceback(None)  # it would grow by each time it is raised
        return answer


def read_exporter(
    component: Mapping[str, Any],
    path: Sequence[str | int],
    report: Report,
    models: Models | None,
    policy: PluginPolicy | None,
) -> tuple[str, ExporterConfig] | None:
    """Name and validated options of the exporter under a reader; None when there is a problem, which is reported.

    Args:
        component: what stands under ``exporter:``.
        path: where that is.
        report: takes the problems.
        models: the registry.
        policy: asked before the registry imports a plugin; without one, none is imported.
    """
    names = list(component)
    if len(names) != 1:
        if not names:
            report.error("no exporter; name one, such as 'console:'", path)
        for name in names[1:]:
            message = f"a second exporter under one reader, after '{names[0]}'; give '{name}' a reader of its own"
            report.error(message, (*path, name), of_key=True)
        return None
    name = names[0]
    where = (*path, name)
    options = component[name]
    if models is None or policy is None or not (options is None or isinstance(options, dict)):
        return None  # the validation of the whole has reported why
    try:
        entry = models.select(name)
        reason = policy.reason_against(entry) if isinstance(entry, PluginEntry) else None
        if reason is not None:
            report.error(f"exporter '{name}' may not be used: {reason}", where, of_key=True, bare=True)
            return None
        model = models.config_model(name)
    except SetupError as error:
        report.error(str(error), where, of_key=True, bare=True)
        return None
    config = _validated(name, model, options or {}, where, report)
    return (name, config) if config is not None else None


def read_reader(
    reader: PeriodicReader,
    path: Sequence[str | int],
    report: Report,
    exporter: tuple[str, ExporterConfig] | None,
    how: ExporterOptions,
) -> ReaderSettings | None:
    """The settings of one periodic reader; None without an exporter to go with it.

    Args:
        reader: the reader.
        path: where it is; ends with its position and ``periodic``.
        report: takes the problems.
        exporter: name and validated options of its exporter.
        how: how to run it.
    """
    interval = _INTERVAL if reader.interval is None else reader.interval
    timeout = _TIMEOUT if reader.timeout is None else reader.timeout
    if reader.producers:
        message = "metric producers are not supported by the OpenTelemetry Python SDK; remove them"
        report.error(message, (*path, "producers"), of_key=True)
    if reader.max_export_batch_size is not None:
        key = "max_export_batch_size/development"
        report.warn("is not acted on: a collection is exported as a whole", (*path, key))
    if exporter is None:
        return None
    name, config = exporter
    limits = reader.cardinality_limits
    given = {kind: getattr(limits, kind.value) or limits.default for kind in InstrumentKind}
    return ReaderSettings(
        position=next(part for part in reversed(path) if isinstance(part, int)),
        exporter=name,
        config=config,
        interval=interval / 1000,
        timeout=timeout / 1000 if timeout else None,
        cardinality_limits={kind: limit for kind, limit in given.items() if limit is not None},
        runner=how.runner,
        copy=how.copy_data,
    )


def _validated(
    name: str, model: type[ExporterConfig], options: Mapping[str, Any], path: Sequence[str | int], report: Report
) -> ExporterConfig | None:
    """The options as the plugin's model has them; its validators are the plugin's code, and may do anything."""

    def validate() -> ExporterConfig | list[ConfigProblem]:
        try:
            return model.model_validate(options)
        except ValidationError as error:
            return problems_of(error, model, path=path)

    try:
        validated = call_within(validate, _CHECK_SECONDS)
    except TookTooLongError:
        cause = f"it took longer than {_CHECK_SECONDS:g} s"
    except CodeFailedError as failed:
        cause = describe(failed.snapshot, Masker(texts_in(options)))
    else:
        if not isinstance(validated, list):
            return validated
        report.add(validated, exporter=name, prefix=path)
        return None
    report.error(f"exporter '{name}': checking the options failed: {cause}", path, of_key=True, bare=True)
    return None
