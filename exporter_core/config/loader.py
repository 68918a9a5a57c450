"""From a config file, or the same as a mapping, to a :class:`PipelineConfig`; every problem is found in one pass."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from exporter_core.config.files import read_text
from exporter_core.config.models import (
    ExporterOptions,
    FileModel,
    MeterConfigurator,
    PeriodicReader,
    Plugins,
    Resource,
    View,
)
from exporter_core.config.readers import Models, Remembering, read_exporter, read_reader
from exporter_core.config.report import Report
from exporter_core.config.resource import read_resource
from exporter_core.config.settings import PipelineConfig, ReaderSettings, ResourceSettings
from exporter_core.config.views import read_view
from exporter_core.config.yaml import MAX_DEPTH, parse
from exporter_core.discovery import PluginPolicy, select_observer
from exporter_core.errors import ConfigError, ConfigProblem, SetupError
from exporter_core.validation import kind_of, nearest, problems_of

if TYPE_CHECKING:
    from collections.abc import Sequence

OTHER_KEYS: Final = {
    "log_level": "exporter-core leaves the log levels to Python's logging",
    "attribute_limits": "the OpenTelemetry Python SDK has no attribute limits for metrics",
    "tracer_provider": "exporter-core configures metrics only",
    "logger_provider": "exporter-core configures metrics only",
    "propagator": "exporter-core configures metrics only",
    "instrumentation/development": "exporter-core configures metrics only",
    "distribution": "exporter-core reads its own settings from 'exporter_core'",
}
"""Top-level keys of the configuration schema that are accepted and not acted on, each with the reason."""

_KEYS: Final = tuple(FileModel.model_fields)
_ModelT = TypeVar("_ModelT", bound=BaseModel)


def load_config(
    path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None, registry: Models | None = None
) -> PipelineConfig:
    """Read, check and resolve a config file.

    Args:
        path: the file: YAML, UTF-8, at most 1 MB.
        environ: the variables for ``${NAME}``; ``os.environ`` unless given.
        registry: where exporters' options are looked up; the installed plugins that the file allows unless given.

    Raises:
        ConfigError: everything that is wrong with it, in file order, each ``FILE:LINE:COLUMN: message``.
    """
    text = read_text(path)
    document = parse(text, source=os.fspath(path), environ=os.environ if environ is None else environ)
    root, data = document.root, document.root.data()
    if isinstance(data, dict):
        return _resolve(data, Report(document), registry)
    message = f"expected a mapping with the key file_format, not {kind_of(data)}"
    problem = ConfigProblem(message, source=document.source, line=root.line, column=root.column)
    raise ConfigError([*document.problems, problem])


def parse_config(mapping: Mapping[str, Any], *, registry: Models | None = None) -> PipelineConfig:
    """Check and resolve the same structure given as a mapping; nothing is substituted in it.

    Args:
        mapping: what a file would say.
        registry: as for :func:`load_config`.

    Raises:
        ConfigError: everything that is wrong with it; each problem names the path of keys.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError([ConfigProblem(f"expected a mapping with the key file_format, not {kind_of(mapping)}")])
    return _resolve(_plain(mapping, ()), Report(None), registry)


def _plain(value: Any, path: tuple[str | int, ...]) -> Any:  # Any: whatever the caller's mapping holds
    """The value with dicts for mappings and lists for tuples, as the models expect them."""
    if len(path) > MAX_DEPTH:
        raise ConfigError([ConfigProblem(f"nested deeper than {MAX_DEPTH} levels", path=path)])
    if isinstance(value, Mapping):
        return {str(key): _plain(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, number)) for number, item in enumerate(value)]
    return value


def _resolve(data: dict[str, Any], report: Report, registry: Models | None) -> PipelineConfig:  # Any: the file's values
    _check_top_level(data, report)
    try:
        FileModel.model_validate({key: data[key] for key in data if key in _KEYS})
    except ValidationError as error:
        report.add(problems_of(error, FileModel, what="key"))
    core = data.get("exporter_core")
    core = core if isinstance(core, dict) else {}
    plugins = _part(Plugins, core.get("plugins", {}))
    policy = PluginPolicy(plugins.allow, plugins.block) if plugins is not None else None
    provider = data.get("meter_provider")
    provider = provider if isinstance(provider, dict) else {}
    disabled = data.get("disabled") is True

    readers: list[ReaderSettings] = []
    observers: list[str] = []
    if disabled:
        report.warn("nothing is collected and nothing exported", ("disabled",))
    elif "meter_provider" not in data:
        report.error("missing required key 'meter_provider'; without it there is nothing to export", ())
    else:
        readers = _readers(provider.get("readers"), core.get("exporters"), report, registry, policy)
        observers = _observers(core.get("observers"), report, policy)
    views = [
        read_view(view, ("meter_provider", "views", number), report)
        for number, item in enumerate(_list(provider.get("views")))
        if (view := _part(View, item)) is not None
    ]
    _check_meters(provider.get("meter_configurator/development"), report)
    resource = _part(Resource, data.get("resource", {}))
    settings = read_resource(resource, ("resource",), report) if resource is not None else ResourceSettings()
    report.raise_problems()
    return PipelineConfig(
        source=report.document.source if report.document else None,
        disabled=disabled,
        resource=settings,
        readers=tuple(readers),
        views=tuple(views),
        exemplar_filter=provider.get("exemplar_filter", "trace_based"),
        observers=tuple(observers),
        policy=policy or PluginPolicy(),
        warnings=report.warnings,
    )


def _check_top_level(data: Mapping[str, Any], report: Report) -> None:  # Any: the file's values
    """Say what the keys beside ours come to; a key that is spelt like one of ours is an error."""
    for key in data:
        if key in _KEYS:
            continue
        reason = OTHER_KEYS.get(key)
        close = nearest(key, (*_KEYS, *OTHER_KEYS))
        if reason is not None:
            report.warn(f"is not acted on: {reason}", (key,))
        elif close is not None:
            report.error(f"unknown key '{key}'; did you mean '{close}'?", (key,), of_key=True, bare=True)
        else:
            report.warn("is not acted on: it is no key of the OpenTelemetry configuration", (key,))


def _readers(
    items: object, exporters: object, report: Report, registry: Models | None, policy: PluginPolicy | None
) -> list[ReaderSettings]:
    """The readers that are sound; the report has what is wrong with the others.

    Without a policy it is not known which plugins may be imported, and none is.
    """
    exporters = exporters if isinstance(exporters, dict) else {}
    models = registry if registry is not None or policy is None else _installed(policy)
    models = None if models is None else Remembering(models)
    readers: list[ReaderSettings] = []
    used: set[str] = set()
    for number, item in enumerate(_list(items)):
        path = ("meter_provider", "readers", number, "periodic")
        if not isinstance(item, dict):
            continue
        if "pull" in item:
            message = "pull readers are not supported: exporters here push; use 'periodic'"
            report.error(message, (*path[:-1], "pull"), of_key=True)
        raw = item.get("periodic")
        component = raw.get("exporter") if isinstance(raw, dict) else None
        exporter = None
        if isinstance(component, dict):
            used.update(component)
            exporter = read_exporter(component, (*path, "exporter"), report, models, policy)
        reader = _part(PeriodicReader, raw)
        if reader is not None:
            how = _part(ExporterOptions, exporters.get(exporter[0], {}) if exporter else {})
            settings = read_reader(reader, path, report, exporter, how or ExporterOptions())
            readers.extend([settings] if settings is not None else [])
    for name in exporters.keys() - used:
        close = nearest(name, used)
        hint = f"; did you mean '{close}'?" if close else ""
        report.warn(f"no reader exports to '{name}'{hint}", ("exporter_core", "exporters", name))
    return readers


def _check_meters(data: object, report: Report) -> None:
    """Refuse to have meters disabled, which would export what the file says not to; enabling them is no change."""
    path = ("meter_provider", "meter_configurator/development")
    configurator = _part(MeterConfigurator, data)
    if configurator is None:
        return
    enabled = [configurator.default_config.enabled, *(meter.config.enabled for meter in configurator.meters)]
    if not all(enabled):
        message = "disabling meters is not supported; use a view that selects meter_name and has the aggregation 'drop'"
        report.error(message, path, of_key=True)
    else:
        report.warn("is not acted on: every meter is enabled anyway", path)


def _observers(items: object, report: Report, policy: PluginPolicy | None) -> list[str]:
    """The names of observers that are installed and allowed."""
    names = [name for name in _list(items) if isinstance(name, str)]
    for number, name in enumerate(names if policy is not None else []):
        try:
            select_observer(name, policy=policy)
        except SetupError as error:
            report.error(
                str(error),
                ("exporter_core", "observers", number),
                bare=True,
            )
    return names


def _installed(policy: PluginPolicy) -> Models:
    from exporter_core.registry import ExporterRegistry  # noqa: PLC0415 - it imports pluggy

    return ExporterRegistry(policy=policy)


def _part(model: type[_ModelT], data: object) -> _ModelT | None:
    """A part of the file on its own; None when it is wrong, which the validation of the whole has reported."""
    try:
        return model.model_validate(data)
    except ValidationError:
        return None


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()
