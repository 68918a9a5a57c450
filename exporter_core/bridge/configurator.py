"""Sets up a program under ``opentelemetry-instrument``, without a line of code in it.

Chosen by ``OTEL_PYTHON_CONFIGURATOR=exporter_core``. Metrics are exporter-core's. Traces, logs and everything else are
OpenTelemetry's own: the distribution ``opentelemetry-configuration`` does the rest of a file, the SDK's configurator
does what environment variables say.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import entry_points
from importlib.util import find_spec
from tempfile import NamedTemporaryFile
from traceback import walk_stack
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import set_meter_provider
from opentelemetry.propagate import get_global_textmap, set_global_textmap

# There is no public name for the SDK's configuration by environment variables; distributions derive from this class.
from opentelemetry.sdk._configuration import _OTelSDKConfigurator

from exporter_core.config import environment_config, load_config
from exporter_core.config.files import read_text
from exporter_core.config.loader import OTHER_KEYS
from exporter_core.config.yaml import parse
from exporter_core.errors import ConfigError, SetupError
from exporter_core.masking import Masker, describe
from exporter_core.pipeline.configuring import configure_once
from exporter_core.validation import texts_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from exporter_core.config import PipelineConfig

_logger: Final = logging.getLogger("exporter_core")

_NAME: Final = "exporter_core"  # in the group of configurators
_GROUP: Final = "opentelemetry_configurator"
_STRICT: Final = "EXPORTER_CORE_STRICT"
_STRICT_STATUS: Final = 2
_METRICS_EXPORTER: Final = "OTEL_METRICS_EXPORTER"
_OF_OTHERS: Final = OTHER_KEYS.keys() - {"distribution"}
_OF_METRICS: Final = {"meter_provider", "exporter_core"}


class Configurator(_OTelSDKConfigurator):
    """The configurator of programs under ``opentelemetry-instrument``.

    A wrong file, or wrong variables, are one line of the log, and the program starts without metrics; with
    ``EXPORTER_CORE_STRICT=true`` it ends with status 2.

    Installing a distribution does not choose its configurator: unless ``OTEL_PYTHON_CONFIGURATOR`` names this one,
    another one that is installed does the work.
    """

    def _configure(self, **options: Any) -> None:  # Any: the SDK's
        if os.environ.get("OTEL_PYTHON_CONFIGURATOR", "").strip() != _NAME:
            _configure_by_another(options)
        elif source := os.environ.get("OTEL_CONFIG_FILE", "").strip():
            _configure_by_file(source)
        else:
            version = options.get("auto_instrumentation_version")
            resource = {"telemetry.auto.version": version} if version else {}
            try:
                configure_once("", lambda: environment_config(os.environ, resource=resource))
            except SetupError as error:
                _fail(error)
            with _metrics_left_alone():
                super()._configure(**options)  # type: ignore[no-untyped-call]  # the SDK's


def _configure_by_another(options: dict[str, Any]) -> None:  # Any: see above
    for entry in entry_points(group=_GROUP):
        if entry.name != _NAME:
            entry.load()().configure(**options)
            return


def _configure_by_file(source: str) -> None:
    keys: set[str] = set()

    def read() -> PipelineConfig:
        config = load_config(source)
        others = [warning for warning in config.warnings if warning.path and warning.path[0] in _OF_OTHERS]
        keys.update(str(warning.path[0]) for warning in others)
        return replace(config, warnings=tuple(warning for warning in config.warnings if warning not in others))

    try:
        configure_once(source, read)
    except ConfigError as error:
        _fail(error, source)
        if all(problem.path and problem.path[0] in _OF_METRICS for problem in error.problems):
            _configure_others(source, _OF_OTHERS)
    except SetupError as error:
        _fail(error)
        _configure_others(source, keys)
    else:
        _configure_others(source, keys)


def _configure_others(source: str, keys: Collection[str]) -> None:
    """Have the official distribution configure these parts of the file."""
    if not keys:
        return
    if find_spec("opentelemetry.configuration") is None:
        names = ", ".join(key for key in OTHER_KEYS if key in keys)
        _logger.warning("%s: not configured: %s; pip install opentelemetry-configuration", source, names)
        return
    from opentelemetry.configuration import configure_sdk, load_config_file  # noqa: PLC0415 - optional, and slow

    data = parse(read_text(source), source=source, environ=os.environ).root.data()
    assert isinstance(data, dict)  # noqa: S101 - else it would have been refused
    others = {key: _quoted(value) for key, value in data.items() if key not in _OF_METRICS}
    try:
        # Its only public way in is a file. That is readable to this user alone, as it may have secrets.
        with NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump(others, file)
            file.flush()
            config = load_config_file(file.name)
        propagator = get_global_textmap()
        configure_sdk(config)
        if "propagator" not in others:
            # It sets one without propagators, whose extract() returns None in place of a context: Flask's
            # instrumentation, and whatever looks for the current span, would fail.
            set_global_textmap(propagator)
    except Exception as error:  # noqa: BLE001 - metrics go on without the others
        text = describe(error, Masker(texts_in(others)))
        _logger.error("%s: opentelemetry-configuration configures no traces and no logs: %s", source, text)  # noqa: TRY400 - one line


def _quoted(value: Any) -> Any:  # Any: the file's values
    """Return a value in which nothing is substituted again."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _quoted(item) for key, item in value.items()}
    return [_quoted(item) for item in value] if isinstance(value, list) else value


def _fail(error: SetupError, source: str = "") -> None:
    """Log why there are no metrics, in one line; end the program if it must not start without them."""
    first, *more = str(error).splitlines()
    hint = f" (and {len(more)} more: exporter-core validate {source} shows them)" if more and source else ""
    _logger.error("no metrics are exported: %s%s", first, hint)
    if os.environ.get(_STRICT, "").strip().lower() != "true":
        return
    if any(frame.f_code.co_name == "execsitecustomize" for frame, _ in walk_stack(None)):
        sys.stderr.flush()
        os._exit(_STRICT_STATUS)  # SystemExit would be a fatal error of the interpreter, with a traceback
    raise SystemExit(_STRICT_STATUS)


@contextmanager
def _metrics_left_alone() -> Iterator[None]:
    """Keep the SDK's configurator from building exporters of metrics, and from saying that its provider came too late.

    It always sets a provider of its own; that the first one stays is what is wanted here.
    """
    before = os.environ.get(_METRICS_EXPORTER)
    os.environ[_METRICS_EXPORTER] = "none"
    logger = logging.getLogger(set_meter_provider.__globals__["__name__"])  # its __module__ names the public package
    logger.addFilter(_not_overriding)
    try:
        yield
    finally:
        logger.removeFilter(_not_overriding)
        if before is None:
            del os.environ[_METRICS_EXPORTER]
        else:
            os.environ[_METRICS_EXPORTER] = before


def _not_overriding(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Overriding of current MeterProvider")
