"""The options of the pull exporter, with the names of OpenTelemetry's configuration schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from exporter_core_prometheus.config import TranslationConfig

if TYPE_CHECKING:
    from collections.abc import Mapping


class PrometheusConfig(TranslationConfig):
    """Options of the pull exporter `prometheus`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The address to serve on: `127.0.0.1` for this machine alone, `0.0.0.0` for every one that reaches it, without
    authentication."""

    port: Annotated[int, Field(strict=True, ge=0, le=65535)] = 9464
    """The port to serve on; 0 takes a free one. Each process needs a port of its own."""

    target_info_enabled: bool = Field(default=True, alias="target_info_enabled/development")
    """Describe the resource by the series `target_info`."""

    @classmethod
    def environment_options(cls, environ: Mapping[str, str]) -> Mapping[str, Any]:  # Any: options
        """Return the options that OpenTelemetry's variables for Prometheus give."""
        port = environ.get("OTEL_EXPORTER_PROMETHEUS_PORT", "").strip()
        given = {"host": environ.get("OTEL_EXPORTER_PROMETHEUS_HOST", "").strip(), "port": port}
        options: dict[str, Any] = {key: value for key, value in given.items() if value}
        return {**options, "port": int(port)} if port.isascii() and port.isdigit() else options
