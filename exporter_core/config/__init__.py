"""The config file: OpenTelemetry declarative configuration, read with positions and resolved to plain settings.

``load_config`` and ``parse_config`` return a :class:`PipelineConfig` or raise every problem at once;
``environment_config`` makes one of environment variables; ``json_schema`` describes the file for editors;
``sdk_resource`` and ``sdk_view`` make the SDK's objects.

``files`` reads the text, ``yaml`` parses it to ``nodes`` with ``substitution``, ``models`` validate it, ``loader``,
``readers``, ``views`` and ``resource`` check what the models cannot, ``findings`` collects the problems, and
``settings`` is the result.
"""

from __future__ import annotations

from exporter_core.config.environment import environment_config, validated_environment_options
from exporter_core.config.loader import load_config, parse_config
from exporter_core.config.resource import sdk_resource
from exporter_core.config.schema import json_schema
from exporter_core.config.settings import PipelineConfig, ReaderSettings, ResourceSettings
from exporter_core.config.sharing import sharing_of
from exporter_core.config.views import sdk_view

__all__ = [
    "PipelineConfig",
    "ReaderSettings",
    "ResourceSettings",
    "environment_config",
    "json_schema",
    "load_config",
    "parse_config",
    "sdk_resource",
    "sdk_view",
    "sharing_of",
    "validated_environment_options",
]
