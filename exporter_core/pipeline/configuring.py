"""``configure``: a program's metrics from a file or the environment, in one call."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from exporter_core.config import environment_config, load_config
from exporter_core.errors import SetupError
from exporter_core.forking import renew_after_fork
from exporter_core.pipeline.installing import is_disabled
from exporter_core.pipeline.lifecycle import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.config import PipelineConfig


class _Configured:
    """The pipeline of this program, and what it was made from."""

    def __init__(self) -> None:
        self.file = ""
        self.pipeline: Pipeline | None = None
        self._renew_after_fork()
        renew_after_fork(self)

    def _renew_after_fork(self) -> None:
        self.mutex = threading.Lock()


_configured: Final = _Configured()


def configure(path: str | os.PathLike[str] | None = None) -> Pipeline:
    """Set up the program's metrics and return their pipeline, which is shut down at exit at the latest.

    It serves the meters of ``opentelemetry.metrics.get_meter``, as :meth:`Pipeline.install` says. A second call for the
    same file returns the same pipeline. Under ``OTEL_SDK_DISABLED`` the pipeline has no readers, and nothing is set.

    Args:
        path: a config file; that of ``OTEL_CONFIG_FILE`` unless given, and without that the other environment variables
            describe the pipeline: ``OTEL_METRICS_EXPORTER``, ``OTEL_METRIC_EXPORT_INTERVAL`` and so on.

    Raises:
        ConfigError: the file or the environment is wrong, or does not fit the provider that is set already.
        SetupError: an exporter cannot be built, or the pipeline cannot be installed, or an earlier call was about
            another file. Nothing stays behind.
    """
    source = os.fspath(path) if path is not None else os.environ.get("OTEL_CONFIG_FILE", "").strip()
    return configure_once(source, lambda: load_config(source) if source else environment_config(os.environ))


def configure_once(source: str, read: Callable[[], PipelineConfig]) -> Pipeline:
    """Build the program's pipeline and install it, unless that is done already.

    Args:
        source: the config file; empty for environment variables.
        read: returns the config.

    Raises:
        SetupError: as for :func:`configure`.
    """
    with _configured.mutex:
        pipeline = _configured.pipeline
        file = os.path.realpath(source) if source else ""
        if pipeline is None or pipeline.is_shut_down:
            pipeline = _configured.pipeline = _installed(read())
            _configured.file = file
        elif file != _configured.file:
            told = f"the file {_configured.file}" if _configured.file else "environment variables"
            raise SetupError(f"metrics are configured already, by {told}; shut that pipeline down first")
        return pipeline


def _installed(config: PipelineConfig) -> Pipeline:
    if is_disabled(config):
        config = replace(config, disabled=True, readers=())
    pipeline = Pipeline(config)
    try:
        pipeline.install()
    except SetupError:
        pipeline.shutdown()
        raise
    return pipeline
