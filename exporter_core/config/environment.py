"""The pipeline that environment variables describe, where no config file does.

OpenTelemetry's variables mean what they mean to OpenTelemetry Python. Each option of an exporter also has a variable of
its own, ``EXPORTER_CORE_NAME_OPTION``.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from exporter_core.config.nodes import resolve_scalar
from exporter_core.config.readers import EXPORT_INTERVAL, EXPORT_TIMEOUT
from exporter_core.config.settings import PipelineConfig, ReaderSettings, ResourceSettings
from exporter_core.discovery import PluginPolicy
from exporter_core.errors import ConfigError, ConfigProblem, ExporterNotFoundError, SetupError
from exporter_core.registry import ExporterRegistry, option_warnings, run_plugin_code, validate_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exporter_core.exporter import ExporterConfig

_EXPORTER: Final = "OTEL_METRICS_EXPORTER"
_PROTOCOLS: Final = {"grpc": "otlp_grpc", "http/protobuf": "otlp_http", "http/json": "otlp_http"}
_ALIASES: Final = {"otlp_proto_grpc": "otlp_grpc", "otlp_proto_http": "otlp_http"}  # of OpenTelemetry Python
_FILTERS: Final = ("always_on", "always_off", "trace_based")
_LONGEST: Final = 9_223_372_036_000.0  # milliseconds that a thread can wait at most


def environment_config(
    environ: Mapping[str, str],
    *,
    resource: Mapping[str, Any] | None = None,  # Any: attribute values
    registry: ExporterRegistry | None = None,
) -> PipelineConfig:
    """Return the config that these variables describe: a reader for each exporter of ``OTEL_METRICS_EXPORTER``.

    Args:
        environ: the variables.
        resource: attributes of the resource that the variables override.
        registry: the source of exporters; that of the installed plugins unless given.

    Raises:
        ConfigError: variables do not fit; each problem names one.
        SetupError: an exporter cannot be used.
    """
    registry = registry or ExporterRegistry()
    warnings: list[ConfigProblem] = []
    interval = _milliseconds(environ, "OTEL_METRIC_EXPORT_INTERVAL", EXPORT_INTERVAL, warnings) or EXPORT_INTERVAL
    timeout = _milliseconds(environ, "OTEL_METRIC_EXPORT_TIMEOUT", EXPORT_TIMEOUT, warnings)
    readers = tuple(
        ReaderSettings(
            position=position,
            exporter=name,
            config=_options(name, environ, registry, warnings, pull=pull),
            interval=interval / 1000,
            timeout=timeout / 1000 if timeout else None,
            pull=pull,
        )
        for position, name in enumerate(_exporter_names(environ))
        for pull in [_is_pull(name, registry)]
    )
    return PipelineConfig(
        source=None,
        disabled=False,
        resource=_resource(resource or {}),
        readers=readers,
        views=(),
        exemplar_filter=_exemplar_filter(environ, warnings),
        observers=(),
        policy=PluginPolicy(),
        registry=registry,
        warnings=tuple(warnings),
    )


def environment_options(
    name: str, model: type[ExporterConfig], environ: Mapping[str, str]
) -> dict[str, Any]:  # Any: options, which the model checks
    """Return the options that variables give the exporter of this name, as they are written.

    Args:
        name: the exporter's name.
        model: the model of its options, which may know variables of its own.
        environ: the variables.
    """
    options = dict(run_plugin_code(lambda: model.environment_options(environ), f"exporter {name!r}"))
    for variable in sorted(environ):
        keys = _keys_of(variable, name)
        if not keys:
            continue
        inner = options
        for key in keys[:-1]:
            inner[key] = inner = dict(inner[key]) if isinstance(inner.get(key), dict) else {}
        inner[keys[-1]] = _value(environ[variable])
    return options


def validated_environment_options(name: str, model: type[ExporterConfig], environ: Mapping[str, str]) -> ExporterConfig:
    """Return the options that variables give the exporter of this name, validated.

    Raises:
        ConfigError: they do not fit; every problem, each with the option's variable.
    """
    options = environment_options(name, model, environ)
    title = f"exporter {name!r}"
    try:
        return validate_options(model, options, title=title)
    except ConfigError as error:
        problems = error.problems
    # What looks like a number or the like may be meant as a text: a variable cannot say so by quotes.
    texts = [problem.path for problem in problems if _variable(name, problem.path) in environ]
    for path in texts:
        inner: Any = options  # Any: options of options
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = environ[_variable(name, path)]
    if texts:
        try:
            return validate_options(model, options, title=title)
        except ConfigError:
            pass  # the first problems are about what was probably meant
    raise ConfigError([_with_variable(name, problem, environ) for problem in problems])


def _with_variable(name: str, problem: ConfigProblem, environ: Mapping[str, str]) -> ConfigProblem:
    """Return a problem of an exporter's options with the variable that it is about."""
    variable = _variable(name, problem.path)
    if variable in environ:
        return ConfigProblem(f"exporter {name!r}: {problem.message}", source=variable)
    hint = f"; its environment variables are {_prefix(name)}OPTION" if not problem.path else f"; set {variable}"
    return ConfigProblem(f"exporter {name!r}: {problem.message}{hint}")


def _exporter_names(environ: Mapping[str, str]) -> list[str]:
    """Return the exporters' names; without the variable that of OTLP, as the specification has it."""
    given = (environ.get(_EXPORTER) or "").strip() or "otlp"
    names = [_ALIASES.get(name, name) for name in map(str.strip, given.split(",")) if name not in {"", "none"}]
    return [_otlp(environ) if name == "otlp" else name for name in names]


def _otlp(environ: Mapping[str, str]) -> str:
    """Return the exporter for the protocol that variables choose; gRPC without them, as in OpenTelemetry Python."""
    for variable in ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = environ.get(variable, "").strip()
        if protocol in _PROTOCOLS:
            return _PROTOCOLS[protocol]
        if protocol:
            raise ConfigError([ConfigProblem(f"expected {', '.join(_PROTOCOLS)}", source=variable)])
    return "otlp_grpc"


def _is_pull(name: str, registry: ExporterRegistry) -> bool:
    """Return True for the name of a pull exporter, such as `prometheus`, unless an exporter of the contract has it."""
    try:
        if not registry.select(name).of_sdk:
            return False
    except ExporterNotFoundError:
        pass
    try:
        return registry.select(name, pull=True).pull
    except SetupError:
        return False  # that it is no exporter either is the error to raise


def _options(
    name: str, environ: Mapping[str, str], registry: ExporterRegistry, warnings: list[ConfigProblem], *, pull: bool
) -> ExporterConfig:
    model = registry.config_model(name, pull=True) if pull else registry.config_model(name)
    config = validated_environment_options(name, model, environ)
    for key, text in option_warnings(config, title=f"exporter {name!r}").items():
        warnings.append(ConfigProblem(f"exporter {name!r}: {key}: {text}"))
    return config


def _prefix(name: str) -> str:
    return f"EXPORTER_CORE_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}_"


def _variable(name: str, path: Sequence[str | int]) -> str:
    """Return the variable of an exporter's option."""
    return _prefix(name) + "__".join(map(str, path)).upper()


def _keys_of(variable: str, name: str) -> list[str]:
    """Return the option's keys if the variable gives an option of the exporter of this name."""
    prefix = _prefix(name)
    return variable[len(prefix) :].lower().split("__") if variable.startswith(prefix) else []


def _value(text: str) -> Any:  # Any: what a file could say in its place
    """Return a value: lists and mappings from JSON, anything else as a scalar of YAML."""
    if text[:1] in {"[", "{"}:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return resolve_scalar(text)


def _milliseconds(environ: Mapping[str, str], variable: str, default: float, warnings: list[ConfigProblem]) -> float:
    text = environ.get(variable, "").strip()
    try:
        value = float(text or default)
    except ValueError:
        value = math.nan
    if 0 <= value <= _LONGEST:
        return value
    warnings.append(ConfigProblem(f"expected milliseconds, such as 5000; {default} is used", source=variable))
    return default


def _exemplar_filter(environ: Mapping[str, str], warnings: list[ConfigProblem]) -> Any:  # Any: one of the filters
    variable = "OTEL_METRICS_EXEMPLAR_FILTER"
    given = environ.get(variable, "").strip().lower() or "trace_based"
    if given in _FILTERS:
        return given
    warnings.append(ConfigProblem(f"expected {', '.join(_FILTERS)}; trace_based is used", source=variable))
    return "trace_based"


def _resource(attributes: Mapping[str, Any]) -> ResourceSettings:  # Any: attribute values
    """Return the SDK's resource of this process: its variables, and the detectors that they name."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - reading a file works without the SDK

    resource = Resource.create(dict(attributes))
    values: dict[str, Any] = dict(resource.attributes)  # Any: attribute values
    values.pop("service.instance.id", None)  # the pipeline sets it, anew in each process unless a variable gives it
    return ResourceSettings(attributes=values, schema_url=resource.schema_url)
