"""The SDK's meter provider, with meters that a config file disables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.sdk import metrics as sdk

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes

    from exporter_core.config.models import MeterConfigurator


class MeterProvider(sdk.MeterProvider):
    """A provider whose disabled meters make instruments that record nothing.

    Args:
        meters: says which meters are enabled.
        options: those of the SDK's provider.
    """

    def __init__(self, meters: MeterConfigurator, **options: Any) -> None:  # Any: see the SDK
        super().__init__(**options)
        self._meters_config = meters

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Meter:
        """Return the meter of this name, without an effect if it is disabled."""
        if self._meters_config.enables(name):
            return super().get_meter(name, version, schema_url, attributes)
        return NoOpMeter(name, version=version, schema_url=schema_url)
