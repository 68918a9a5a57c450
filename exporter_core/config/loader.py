"""Reads a config file, or the same as a mapping, into a :class:`PipelineConfig`; finds every problem in one pass."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from exporter_core.config.files import read_text
from exporter_core.config.findings import Findings
from exporter_core.config.models import FileModel, MeterConfigurator, Plugins, Resource, View, sound
from exporter_core.config.readers import read_readers
from exporter_core.config.resource import read_resource
from exporter_core.config.settings import PipelineConfig, ReaderSettings, ResourceSettings
from exporter_core.config.views import check_view
from exporter_core.config.yaml import MAX_DEPTH, parse
from exporter_core.discovery import PluginPolicy, failed_over, installed_observers, normalize, select_observer
from exporter_core.errors import ConfigError, ConfigProblem, SetupError
from exporter_core.registry import ExporterRegistry
from exporter_core.validation import kind_of, nearest, problems_of, shown_path

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
"""Top-level keys of the configuration schema that are accepted and ignored, each with the reason."""

_PROVIDER_KEYS: Final = (
    ("resource",),
    ("meter_provider", "views"),
    ("meter_provider", "exemplar_filter"),
    ("meter_provider", "meter_configurator/development"),
)
_OF_PROVIDER: Final = (
    "cannot apply to the MeterProvider that is set already: remove it, or set exporter-core up before that provider"
)
_NEWEST_MINOR: Final = 1  # of the file format that FileModel describes
_KEYS: Final = tuple(FileModel.model_fields)


def load_config(
    path: str | os.PathLike[str],
    *,
    environ: Mapping[str, str] | None = None,
    registry: ExporterRegistry | None = None,
) -> PipelineConfig:
    """Read, check and resolve a config file.

    Args:
        path: the file: YAML, UTF-8, at most 1 MB.
        environ: the variables for ``${NAME}``; ``os.environ`` unless given.
        registry: the source of exporters; that of the installed plugins that the file allows unless given.

    Raises:
        ConfigError: every problem, in file order, each ``FILE:LINE:COLUMN: message``.
    """
    text = read_text(path)
    document = parse(text, source=os.fspath(path), environ=os.environ if environ is None else environ)
    root, data = document.root, document.root.data()
    if isinstance(data, dict):
        return _resolve(data, Findings(document), registry)
    message = f"expected a mapping with the key file_format, not {kind_of(data)}"
    problem = ConfigProblem(message, source=document.source, line=root.line, column=root.column)
    raise ConfigError([*document.problems, problem])


def parse_config(mapping: Mapping[str, Any], *, registry: ExporterRegistry | None = None) -> PipelineConfig:
    """Check and resolve a mapping with the structure of a config file; nothing is substituted in it.

    Args:
        mapping: the file's content.
        registry: as for :func:`load_config`.

    Raises:
        ConfigError: every problem, each with its path of keys.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError([ConfigProblem(f"expected a mapping with the key file_format, not {kind_of(mapping)}")])
    return _resolve(_plain(mapping, ()), Findings(None), registry)


def _plain(value: Any, path: tuple[str | int, ...]) -> Any:  # Any: whatever the caller's mapping holds
    """Return the value with dicts for mappings and lists for tuples, as the models expect them."""
    if len(path) > MAX_DEPTH:
        raise ConfigError([ConfigProblem(f"nested deeper than {MAX_DEPTH} levels", path=path)])
    if isinstance(value, Mapping):
        return {str(key): _plain(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, number)) for number, item in enumerate(value)]
    return value


def _resolve(
    data: dict[str, Any],  # Any: the file's values
    findings: Findings,
    registry: ExporterRegistry | None,
) -> PipelineConfig:
    _check_top_level(data, findings)
    data = _with_known_format(data, findings)
    try:
        FileModel.model_validate({key: data[key] for key in data if key in _KEYS})
    except ValidationError as error:
        findings.add(problems_of(error, FileModel, what="key"))
    except Exception as error:
        broken = failed_over(error)
        if not broken:
            raise
        raise ConfigError([ConfigProblem(line) for line in broken]) from error
    # Each part is validated on its own, so that a fault in one part does not hide those of the others.
    core, provider = _mapping(data.get("exporter_core")), _mapping(data.get("meter_provider"))
    plugins = sound(Plugins, core.get("plugins", {}))
    policy = PluginPolicy(plugins.allow, plugins.block) if plugins is not None else None
    registry = registry or ExporterRegistry(policy=policy)
    if policy is not None:
        _warn_of_misspelt(policy, findings, registry)
    readers: tuple[ReaderSettings, ...] = ()
    observers: tuple[str, ...] = ()
    if data.get("disabled") is True:
        findings.warn(": nothing is collected and nothing exported", ("disabled",))
    elif "meter_provider" not in data:
        findings.note("there is no 'meter_provider', so no metrics are exported", ())
    else:
        findings.warn_of_unset(_KEYS)
        readers = read_readers(
            _list(provider.get("readers")), _mapping(core.get("exporters")), findings, registry, policy
        )
        observers = _observers(core.get("observers"), findings, policy)
    views = []
    for number, item in enumerate(_list(provider.get("views"))):
        view = sound(View, item)
        if view is not None:
            check_view(view, ("meter_provider", "views", number), findings)
            views.append(view)
    resource = sound(Resource, data.get("resource", {}))
    settings = read_resource(resource, ("resource",), findings) if resource is not None else ResourceSettings()
    findings.raise_problems()
    return PipelineConfig(
        source=findings.document.source if findings.document else None,
        disabled=data.get("disabled") is True,
        resource=settings,
        readers=readers,
        views=tuple(views),
        exemplar_filter=provider.get("exemplar_filter", "trace_based"),
        observers=observers,
        policy=policy or PluginPolicy(),
        registry=registry,
        share_collection=core.get("share_collection", True) is True,
        warnings=findings.warnings,
        meters=sound(MeterConfigurator, provider.get("meter_configurator/development")),
        of_provider=tuple(
            findings.located(f"{shown_path(path)} {_OF_PROVIDER}", path, of_key=True)
            for path in _PROVIDER_KEYS
            if path[-1] in (data if len(path) == 1 else provider)
        ),
    )


def _with_known_format(data: dict[str, Any], findings: Findings) -> dict[str, Any]:  # Any: the file's values
    """Return the values with the newest known file format in place of a newer minor one, which is a warning."""
    given = data.get("file_format")
    if not isinstance(given, str) or not re.fullmatch(r"1\.\d{1,4}", given) or int(given[2:]) <= _NEWEST_MINOR:
        return data
    text = f"file_format: {given} is newer than 1.{_NEWEST_MINOR}, as which the file is read; newer keys are errors"
    findings.note(text, ("file_format",))
    return {**data, "file_format": f"1.{_NEWEST_MINOR}"}


def _check_top_level(data: Mapping[str, Any], findings: Findings) -> None:  # Any: the file's values
    """Warn about top-level keys that are ignored; one that is spelt like a known key is an error."""
    for key in data:
        if key in _KEYS:
            continue
        reason = OTHER_KEYS.get(key)
        close = nearest(key, (*_KEYS, *OTHER_KEYS))
        if reason is None and close is not None:
            findings.error(f"unknown key '{key}'; did you mean '{close}'?", (key,), of_key=True, bare=True)
        else:
            findings.ignored((key,), reason or "it is no key of the OpenTelemetry configuration")


def _warn_of_misspelt(policy: PluginPolicy, findings: Findings, registry: ExporterRegistry) -> None:
    """Warn about items of the lists that no installed plugin has for a name, if one has a similar name.

    Other items may be meant for other machines.
    """
    lists = {"allow": policy.allow or (), "block": policy.block}
    if not any(lists.values()):
        return
    plugins = (*registry.entries(), *installed_observers())
    names = {normalize(name): name for plugin in plugins for name in (plugin.name, plugin.distribution)}
    for key, items in lists.items():
        for number, item in enumerate(items):
            close = None if normalize(item) in names else nearest(item, names.values())
            if close is not None:
                place = ("exporter_core", "plugins", key, number)
                unknown = f"no installed plugin is called '{item}'; did you mean '{close}'?"
                findings.note(f"{shown_path(place)}: {unknown}", place)


def _observers(items: object, findings: Findings, policy: PluginPolicy | None) -> tuple[str, ...]:
    """Return the names of observers, and check that they are installed and allowed."""
    names = tuple(name for name in _list(items) if isinstance(name, str))
    for number, name in enumerate(names if policy is not None else ()):
        try:
            select_observer(name, policy=policy)
        except SetupError as error:
            findings.error(str(error), ("exporter_core", "observers", number), bare=True)
    return names


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _mapping(value: object) -> Mapping[str, Any]:  # Any: the file's values
    return value if isinstance(value, dict) else {}
