"""The readers of a config file: their schedules, and their exporters' options validated by the exporters' models."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Final

from exporter_core.config.models import ExporterOptions, PeriodicReader, PullReader, sound
from exporter_core.config.settings import ReaderSettings
from exporter_core.contract import InstrumentKind
from exporter_core.discovery import PluginEntry
from exporter_core.errors import ConfigError, SetupError
from exporter_core.registry import option_warnings, validate_options
from exporter_core.untrusted import place_of_cause
from exporter_core.validation import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from exporter_core.config.findings import Findings
    from exporter_core.discovery import PluginPolicy
    from exporter_core.exporter import ExporterConfig
    from exporter_core.registry import ExporterRegistry

EXPORT_INTERVAL: Final = 60_000
"""Milliseconds between two exports unless given, as in the configuration schema."""

EXPORT_TIMEOUT: Final = 30_000
"""Milliseconds that an export may take unless given."""

_CHECK_SECONDS: Final = 10.0  # for a plugin to check its options; it may look at files


def read_readers(
    items: Sequence[object],
    runs: Mapping[str, object],
    findings: Findings,
    registry: ExporterRegistry,
    policy: PluginPolicy | None,
) -> tuple[ReaderSettings, ...]:
    """Return the valid readers, and note the problems of the others.

    Args:
        items: the list ``readers`` of the file.
        runs: the mapping ``exporter_core.exporters``: settings for running each exporter, by its name.
        findings: takes problems and warnings.
        registry: the source of the exporters' models.
        policy: checked before the registry imports a plugin; without a policy, none is imported.
    """

    @cache  # a file may name one exporter in many readers
    def model_of(name: str, pull: bool) -> type[ExporterConfig] | str:
        """Return the model of an exporter's options, or the reason why the exporter cannot be used."""
        kind = {"pull": True} if pull else {}
        try:
            entry = registry.select(name, **kind)
            reason = policy.reason_against(entry) if policy and isinstance(entry, PluginEntry) else None
            if reason is not None:
                return f"exporter '{name}' may not be used: {reason}"
            return registry.config_model(name, **kind)
        except SetupError as error:
            findings.cause = findings.cause or error.__cause__
            return f"{error}{place_of_cause(error)}"

    readers: list[ReaderSettings] = []
    used: set[str] = set()
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            continue  # the validation of the whole has reported why, here and below
        pull = "pull" in item and "periodic" not in item
        path = ("meter_provider", "readers", number, "pull" if pull else "periodic")
        raw = item.get(path[-1])
        component = raw.get("exporter") if isinstance(raw, dict) else None
        used.update(component if isinstance(component, dict) else ())
        of_kind = partial(model_of, pull=pull) if policy else None
        exporter = _read_exporter(component, (*path, "exporter"), findings, of_kind)
        reader: PeriodicReader | PullReader | None = sound(PullReader, raw) if pull else sound(PeriodicReader, raw)
        if reader is not None:
            _check_supported(reader, path, findings)
            if exporter is not None:
                run = sound(ExporterOptions, runs.get(exporter[0], {})) or ExporterOptions()
                limits = _cardinality_limits(reader, (*path, "cardinality_limits"), findings)
                place = findings.place((*path, "exporter", exporter[0]))
                readers.append(_settings(reader, number, exporter, run, limits, place=place))
    for name in runs.keys() - used:
        close = nearest(name, used)
        hint = f"; did you mean '{close}'?" if close else ""
        findings.warn(f": no reader exports to '{name}'{hint}", ("exporter_core", "exporters", name))
    return tuple(readers)


def _read_exporter(
    component: object,
    path: Sequence[str | int],
    findings: Findings,
    model_of: Callable[[str], type[ExporterConfig] | str] | None,
) -> tuple[str, ExporterConfig] | None:
    """Return name and validated options of the exporter under a reader; None when there is a problem.

    Args:
        component: the value of ``exporter:``.
        path: its path.
        findings: takes the problems.
        model_of: gives the model of an exporter's options, or the reason why it cannot be used.
    """
    names = list(component) if isinstance(component, dict) else []
    if component == {}:
        findings.error("no exporter; name one, such as 'console:'", path)
    for name in names[1:]:
        message = f"a second exporter under one reader, after '{names[0]}'; give '{name}' a reader of its own"
        findings.error(message, (*path, name), of_key=True)
    if not isinstance(component, dict) or len(names) != 1 or model_of is None:
        return None
    (name,) = names
    where, options = (*path, name), component[name] or {}
    if not isinstance(options, dict):
        return None
    model = model_of(name)
    if isinstance(model, str):
        findings.error(model, where, of_key=True, bare=True)
        return None
    title = f"exporter '{name}'"
    try:
        config = validate_options(model, options, title=title, path=where, timeout=_CHECK_SECONDS)
        for key, text in option_warnings(config, title=title, timeout=_CHECK_SECONDS).items():
            findings.warn_of_option(name, where, key, text)
        return name, config
    except ConfigError as error:
        findings.add(error.problems, exporter=name, prefix=where)
    except SetupError as error:
        findings.cause = findings.cause or error.__cause__
        findings.error(f"{error}{place_of_cause(error)}", where, of_key=True, bare=True)
    return None


def _check_supported(reader: PeriodicReader | PullReader, path: Sequence[str | int], findings: Findings) -> None:
    if reader.producers:
        message = (
            "metric producers are not supported by the OpenTelemetry Python SDK, whose readers take none; remove them"
        )
        findings.error(message, (*path, "producers"), of_key=True)


def _cardinality_limits(
    reader: PeriodicReader | PullReader, path: Sequence[str | int], findings: Findings
) -> Mapping[InstrumentKind, int]:
    """Return the limit of each kind that has one; warn where the SDK has no limits."""
    given = reader.cardinality_limits
    all_kinds = {kind: getattr(given, kind.value) or given.default for kind in InstrumentKind}
    limits = {kind: limit for kind, limit in all_kinds.items() if limit is not None}
    if limits:
        from exporter_core.instruments import NO_CARDINALITY_LIMITS  # noqa: PLC0415 - a file without limits needs no SDK

        if NO_CARDINALITY_LIMITS:
            findings.ignored(path, NO_CARDINALITY_LIMITS)
            return {}
    return limits


def _settings(
    reader: PeriodicReader | PullReader,
    position: int,
    exporter: tuple[str, ExporterConfig],
    run: ExporterOptions,
    limits: Mapping[InstrumentKind, int],
    *,
    place: str | None,
) -> ReaderSettings:
    interval: float | None = None
    timeout: float | None = None
    max_batch_size = None
    if isinstance(reader, PeriodicReader):
        interval, timeout, max_batch_size = reader.interval, reader.timeout, reader.max_export_batch_size
    interval = EXPORT_INTERVAL if interval is None else interval
    timeout = EXPORT_TIMEOUT if timeout is None else timeout
    return ReaderSettings(
        position=position,
        exporter=exporter[0],
        config=exporter[1],
        interval=interval / 1000,
        timeout=timeout / 1000 if timeout else None,
        cardinality_limits=limits,
        max_batch_size=max_batch_size,
        runner=run.runner,
        copy=run.copy_data,
        include=tuple(run.metrics.include),
        exclude=tuple(run.metrics.exclude),
        pull=isinstance(reader, PullReader),
        place=place,
    )
