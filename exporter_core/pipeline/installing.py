"""Makes a pipeline's provider the program's global one, or finds the one that exists for its readers."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider

from exporter_core.errors import ConfigError, SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter_core.config import PipelineConfig
    from exporter_core.errors import ConfigProblem

_logger = logging.getLogger("exporter_core.pipeline")


def is_disabled(config: PipelineConfig) -> bool:
    """Return True if nothing is to be measured; log it where the SDK's own variable says so."""
    if config.disabled:
        return True
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled:
        _logger.warning("OTEL_SDK_DISABLED is true: nothing is measured and nothing exported")
    return disabled


def global_provider(own: MeterProvider, of_provider: Sequence[ConfigProblem]) -> MeterProvider:
    """Return the SDK provider that serves the program's meters: the one that exists, else ``own``, set now.

    Args:
        own: the pipeline's provider.
        of_provider: the parts of the file that a provider that exists cannot take.

    Raises:
        ConfigError: a provider exists, and the file has such parts.
        SetupError: the provider that exists is not the SDK's, or gives no working meters.
    """
    current = metrics.get_meter_provider()
    if not isinstance(current, MeterProvider):
        metrics.set_meter_provider(own)
        current = metrics.get_meter_provider()
        if current is not own:
            kind = f"{type(current).__module__}.{type(current).__qualname__}"
            raise SetupError(
                f"the global MeterProvider has the class {kind}, from which nothing can be collected: "
                "set exporter-core up before it, or remove the code that sets it"
            )
    elif current is not own:
        if of_provider:
            raise ConfigError(of_provider)
        if isinstance(current.get_meter(__name__), metrics.NoOpMeter):
            raise SetupError(
                "the global MeterProvider gives meters that record nothing: it was shut down, or disables them"
            )
        _warn_of_uwsgi()
    return current


def _warn_of_uwsgi() -> None:
    """Warn where uWSGI is going to fork in C, of which the provider that exists does not get to know."""
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None and uwsgi.worker_id() == 0:
        _logger.warning(
            "uWSGI's workers will share the service.instance.id of the MeterProvider that exists, and overwrite one "
            "another's series: start uWSGI with --lazy-apps, or set exporter-core up before that provider"
        )
