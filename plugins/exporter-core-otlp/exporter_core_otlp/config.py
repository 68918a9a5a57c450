"""The options that the OTLP exporters share: names, units and defaults as in OpenTelemetry's configuration schema.

What the schema calls null, or leaves out, is the default here. Options that it does not have say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from exporter_core.authoring import NullIsDefault, PreferenceOptions, RetryOptions, stated
from exporter_core.net import ClientOptions, CompressionOptions
from exporter_core_otlp.environment import network_options, preference_options

if TYPE_CHECKING:
    from collections.abc import Mapping


class OtlpConfig(PreferenceOptions, NullIsDefault):
    """The options of every OTLP exporter."""

    @classmethod
    def environment_options(cls, environ: Mapping[str, str]) -> Mapping[str, Any]:  # Any: options
        """Return the options that OpenTelemetry's variables give."""
        return preference_options(environ)


class NetworkConfig(OtlpConfig, CompressionOptions, ClientOptions):
    """The options of the OTLP exporters that send to a server."""

    retry: RetryOptions = RetryOptions.model_construct()
    """Retries of failed requests. Not in OpenTelemetry's schema."""

    max_request_size: Annotated[int, Field(strict=True, ge=1024)] | None = None
    """The same as `max_request_bytes`, by another name."""

    max_request_bytes: Annotated[int, Field(strict=True, ge=1024)] = 4_000_000
    """Bytes of one request before compression; a batch that takes more is sent as several. Servers commonly refuse
    more than 4 MiB (gRPC). Not in OpenTelemetry's schema."""

    max_request_points: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Points in one request; a batch that has more is sent as several. Not in OpenTelemetry's schema."""

    @model_validator(mode="after")
    def _one_name_of_the_limit(self) -> NetworkConfig:
        if self.max_request_size is not None and "max_request_bytes" in self.model_fields_set:
            raise stated("max_request_size and max_request_bytes are the same option: give one of them")
        return self

    @property
    def request_limit(self) -> int:
        """Bytes of one request before compression."""
        return self.max_request_bytes if self.max_request_size is None else self.max_request_size

    @classmethod
    def environment_options(cls, environ: Mapping[str, str]) -> Mapping[str, Any]:  # Any: options
        """Return the options that OpenTelemetry's variables give."""
        return network_options(environ)
